//! What a card is whose sector 1 our key does not open: blank, of ours and unfinished, of ours and damaged, or foreign.
//!
//! A personalisation that was interrupted leaves some of the sectors 0 to 4 with our keys and the rest as the factory
//! left them. The sectors of ours prove whose card it is, so that the next attempt may go on. A trailer torn in the
//! middle may leave a mixture; what can still be opened and rewritten is, what cannot is damage. When it was the very
//! first trailer, nothing else on the card is ours: a card that is blank but for that one sector, which no key opens, is
//! called damaged too.

use crate::family::classic::{AccessBits, BlockNumber, ClassicSize, Key, KeyB, SectorKey, SectorNumber};
use crate::layout::keys::CardKeys;
use crate::layout::mad::Mad;
use crate::plan::blank::{BlankCheck, BlankOutcome, NotBlank, access_bits, contents};
use crate::plan::look::{Examine, LookStep};
use crate::plan::personalize::PersonalizePlan;

/// Which key opens a sector so that its trailer can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The transport key as key A: the sector is as it left the factory.
    TransportA,
    /// Our key A, access bits still the transport ones: the trailer was torn behind key A.
    DerivedA,
    /// Our key B, key A lost: the trailer was torn in key A.
    DerivedB,
    /// The transport key as key B: the trailer was torn before key B.
    TransportB,
}

impl Opening {
    /// In the order in which they are tried.
    const ALL: [Self; 4] = [Self::TransportA, Self::DerivedA, Self::DerivedB, Self::TransportB];

    /// The key itself.
    pub fn key(self, sector: SectorNumber, keys: &CardKeys) -> Key {
        match self {
            Self::TransportA => Key::transport_a(),
            Self::DerivedA => Key::A(keys.key_a(sector)),
            Self::DerivedB => Key::B(keys.key_b(sector)),
            Self::TransportB => Key::B(KeyB(SectorKey::transport())),
        }
    }

    fn after(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|&opening| opening != self).nth(1)
    }
}

/// How far a sector is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorPreparation {
    /// Its trailer is to be written; this key does it.
    Remaining(Opening),
    /// Both our keys open it.
    Ready,
}

/// A card of ours whose personalisation is unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Sectors 0 to 4.
    pub sectors: [SectorPreparation; 5],
    /// Whether the directory in sector 0 is already right.
    pub directory_written: bool,
}

/// What a [`Survey`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyOutcome {
    /// As [`BlankOutcome::Blank`].
    Blank,
    /// Ours; the rest of the trailers can be written.
    Unfinished(Unfinished),
    /// Ours, and nothing remains to be prepared.
    Ready,
    /// Not ours, and not blank.
    Foreign {
        /// The first sector that shows it.
        sector: SectorNumber,
        /// What is there.
        why: NotBlank,
    },
    /// Ours, but a sector is lost for good.
    Damaged {
        /// The first such sector.
        sector: SectorNumber,
    },
}

/// What one of the sectors 0 to 4 turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surveyed {
    preparation: Option<SectorPreparation>,
    /// A key that only we can have made opens it.
    ours: bool,
    /// What keeps it from being blank.
    not_blank: Option<NotBlank>,
    /// A slot sector holds data.
    data: Option<BlockNumber>,
}

/// Looks at the sectors 0 to 4 with our keys and the transport key, then, on a card that shows no sign of ours, at the others.
#[derive(Clone, Debug)]
pub struct Survey {
    keys: CardKeys,
    size: ClassicSize,
    at: At,
    found: [Option<Surveyed>; 5],
    directory: [Option<[u8; 16]>; 2],
    /// The only sector that is not blank, and it opens with no key.
    lost: Option<SectorNumber>,
}

#[derive(Clone, Debug)]
enum At {
    Login { sector: SectorNumber, opening: Opening, seen: Seen },
    Read { sector: SectorNumber, opening: Opening, seen: Seen, read: usize },
    Rest(BlankCheck),
    Done(SurveyOutcome),
}

/// What is known of a sector so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The key A that opened it.
    key_a: Option<Opening>,
    access: Option<AccessBits>,
    data: Option<BlockNumber>,
    refused: Option<BlockNumber>,
    contents: bool,
}

impl Survey {
    /// Starts with sector 0.
    pub fn new(size: ClassicSize, keys: CardKeys) -> Self {
        let at = match size.sector_numbers().next() {
            Some(sector) => At::Login { sector, opening: Opening::TransportA, seen: Seen::default() },
            None => At::Done(SurveyOutcome::Blank),
        };
        Self { keys, size, at, found: [None; 5], directory: [None; 2], lost: None }
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<SurveyOutcome> {
        match &self.at {
            At::Done(outcome) => Some(*outcome),
            At::Login { .. } | At::Read { .. } | At::Rest(_) => None,
        }
    }

    /// The sector is open and its contents are known: is that all, or is key B to be tried?
    fn opened(&mut self, sector: SectorNumber, opening: Opening, mut seen: Seen) {
        let transport = seen.access == Some(AccessBits::TRANSPORT);
        let personalized = seen.access == Some(AccessBits::PERSONALIZED);
        match opening {
            Opening::TransportA | Opening::DerivedA if transport => {
                self.conclude(sector, opening, seen, Some(SectorPreparation::Remaining(opening)));
            }
            Opening::TransportA | Opening::DerivedA if personalized => {
                seen.key_a = Some(opening);
                self.at = At::Login { sector, opening: Opening::DerivedB, seen };
            }
            Opening::DerivedB if personalized && seen.key_a == Some(Opening::DerivedA) => {
                self.conclude(sector, opening, seen, Some(SectorPreparation::Ready));
            }
            Opening::DerivedB | Opening::TransportB if personalized => {
                self.conclude(sector, opening, seen, Some(SectorPreparation::Remaining(opening)));
            }
            Opening::TransportA | Opening::DerivedA | Opening::DerivedB | Opening::TransportB => {
                self.conclude(sector, opening, seen, None);
            }
        }
    }

    fn conclude(&mut self, sector: SectorNumber, opening: Opening, seen: Seen, preparation: Option<SectorPreparation>) {
        // The public key of a directory proves nothing, and neither does a transport key. What failed to open the
        // sector does not come here but as the last of all, a transport key.
        let derived_a = |opening| opening == Opening::DerivedA && sector.get() != 0;
        let ours = derived_a(opening) || opening == Opening::DerivedB || seen.key_a.is_some_and(derived_a);
        let opens_as_blank = seen.key_a == Some(Opening::TransportA) || opening == Opening::TransportA;
        let not_blank = if !opens_as_blank {
            Some(NotBlank::KeyRefused)
        } else if let Some(block) = seen.data {
            Some(NotBlank::Data { block })
        } else if let Some(block) = seen.refused {
            Some(NotBlank::Refused { block })
        } else {
            let blank = preparation == Some(SectorPreparation::Remaining(Opening::TransportA));
            (!blank).then_some(NotBlank::AccessBits)
        };
        let surveyed = Surveyed { preparation, ours, not_blank, data: seen.data.filter(|_| sector.get() != 0) };
        if let Some(found) = self.found.get_mut(usize::from(sector.get())) {
            *found = Some(surveyed);
        }
        let next = SectorNumber::new(sector.get() + 1).filter(|next| usize::from(next.get()) < self.found.len());
        self.at = match next {
            Some(sector) => At::Login { sector, opening: Opening::TransportA, seen: Seen::default() },
            None => self.judge(SectorNumber::new(sector.get() + 1).filter(|&rest| self.size.has(rest))),
        };
    }

    /// All of sectors 0 to 4 are known.
    fn judge(&mut self, rest: Option<SectorNumber>) -> At {
        let found = || self.size.sector_numbers().zip(self.found.iter().copied().flatten());
        if !found().any(|(_, surveyed)| surveyed.ours) {
            let mut foreign = found().filter_map(|(sector, surveyed)| Some((sector, surveyed.not_blank?)));
            let (first, only) = (foreign.next(), foreign.next().is_none());
            return match (first, rest) {
                (Some((sector, NotBlank::KeyRefused)), rest) if only && sector == PersonalizePlan::first_sector() => {
                    self.lost = Some(sector);
                    rest.map_or(At::Done(SurveyOutcome::Damaged { sector }), |rest| {
                        At::Rest(BlankCheck::from_sector(Some(rest), self.size))
                    })
                }
                (Some((sector, why)), _) => At::Done(SurveyOutcome::Foreign { sector, why }),
                (None, Some(rest)) => At::Rest(BlankCheck::from_sector(Some(rest), self.size)),
                (None, None) => At::Done(SurveyOutcome::Blank),
            };
        }
        if let Some((sector, _)) = found().find(|(_, surveyed)| surveyed.preparation.is_none()) {
            return At::Done(SurveyOutcome::Damaged { sector });
        }
        let mut preparations = found().filter_map(|(_, surveyed)| surveyed.preparation);
        let sectors = [(); 5].map(|()| preparations.next().unwrap_or(SectorPreparation::Ready));
        let directory_written = self.directory == Mad::for_card(self.size).to_blocks().map(Some);
        if sectors == [SectorPreparation::Ready; 5] && directory_written {
            return At::Done(SurveyOutcome::Ready);
        }
        // A credential comes after the last trailer: data in a slot belongs to nobody's unfinished card.
        if let Some((sector, block)) = found().find_map(|(sector, surveyed)| Some((sector, surveyed.data?))) {
            return At::Done(SurveyOutcome::Foreign { sector, why: NotBlank::Data { block } });
        }
        At::Done(SurveyOutcome::Unfinished(Unfinished { sectors, directory_written }))
    }

    /// Asks the check of the remaining sectors whether it is done.
    fn rest(&mut self) {
        let outcome = match &self.at {
            At::Rest(check) => check.outcome(),
            At::Login { .. } | At::Read { .. } | At::Done(_) => None,
        };
        match outcome {
            Some(BlankOutcome::Blank) => {
                let damaged = self.lost.map(|sector| SurveyOutcome::Damaged { sector });
                self.at = At::Done(damaged.unwrap_or(SurveyOutcome::Blank));
            }
            Some(BlankOutcome::NotBlank { sector, why }) => {
                self.at = At::Done(SurveyOutcome::Foreign { sector, why });
            }
            None => {}
        }
    }

    fn note(&mut self, block: BlockNumber, data: [u8; 16], seen: &mut Seen) {
        if block.is_trailer() {
            seen.access = access_bits(&data);
        } else if data != [0; 16] {
            seen.data = seen.data.or(Some(block));
        }
        let [block_1, block_2] = &mut self.directory;
        match block.get() {
            1 => *block_1 = Some(data),
            2 => *block_2 = Some(data),
            _ => {}
        }
    }
}

impl Examine for Survey {
    fn poll(&self) -> LookStep {
        match &self.at {
            At::Login { sector, opening, .. } => {
                LookStep::Login { sector: *sector, key: opening.key(*sector, &self.keys) }
            }
            At::Read { sector, read, .. } => contents(*sector).nth(*read).map_or(LookStep::Done, LookStep::Read),
            At::Rest(check) => check.poll(),
            At::Done(_) => LookStep::Done,
        }
    }

    fn login_ok(&mut self) {
        match &mut self.at {
            At::Login { sector, opening, seen } => {
                let (sector, opening, seen) = (*sector, *opening, *seen);
                if seen.contents {
                    self.opened(sector, opening, seen);
                } else {
                    self.at = At::Read { sector, opening, seen, read: 0 };
                }
            }
            At::Rest(check) => check.login_ok(),
            At::Read { .. } | At::Done(_) => {}
        }
        self.rest();
    }

    fn login_failed(&mut self) {
        match &mut self.at {
            At::Login { sector, opening, seen } => {
                let (sector, opening, seen) = (*sector, *opening, *seen);
                match opening.after() {
                    Some(opening) => self.at = At::Login { sector, opening, seen },
                    // The last key did not open it: nothing can write this trailer any more.
                    None => self.conclude(sector, opening, seen, None),
                }
            }
            At::Rest(check) => check.login_failed(),
            At::Read { .. } | At::Done(_) => {}
        }
        self.rest();
    }

    fn block(&mut self, data: [u8; 16]) {
        match &mut self.at {
            At::Read { sector, opening, seen, read } => {
                let (sector, opening, mut seen, read) = (*sector, *opening, *seen, *read);
                if let Some(block) = contents(sector).nth(read) {
                    self.note(block, data, &mut seen);
                }
                if contents(sector).nth(read + 1).is_some() {
                    self.at = At::Read { sector, opening, seen, read: read + 1 };
                } else {
                    seen.contents = true;
                    self.opened(sector, opening, seen);
                }
            }
            At::Rest(check) => check.block(data),
            At::Login { .. } | At::Done(_) => {}
        }
        self.rest();
    }

    fn refused(&mut self) {
        match &mut self.at {
            At::Read { sector, opening, seen, read } => {
                let (sector, opening, mut seen) = (*sector, *opening, *seen);
                seen.refused = contents(sector).nth(*read);
                self.conclude(sector, opening, seen, None);
            }
            At::Rest(check) => check.refused(),
            At::Login { .. } | At::Done(_) => {}
        }
        self.rest();
    }
}
