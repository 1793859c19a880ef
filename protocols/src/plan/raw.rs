//! Writing somebody else's image: blocks with contents, in the order that their maker gives.
//!
//! Such an image is written **in place**: the promise of two slots does not hold, and a card that leaves in the middle
//! holds a mixture. What can be done is done: the card is looked at first ([`ReadMemory`](super::ReadMemory)), everything
//! that would go wrong is refused before a byte is written, only what differs is written, and all that is not volatile is
//! read back twice in a new session. Block 0 cannot be named; a trailer only with leave, and never one that locks its
//! sector for ever or shows key B, unless that is asked for too.

use crate::family::access::{Allowed, DataRights, KeySlot, TrailerRights};
use crate::family::classic::{
    AccessBits, BlockNumber, ClassicSize, DataBlock, Key, KeyA, KeyB, SectorNumber, SectorTrailer,
};
use crate::plan::memory::{ClassicMemory, SectorContents, SectorKeys, TrailerContents};
use crate::plan::{PersonalizeStep, SafePoint, Step, key_letter, list};
use alloc::vec::Vec;
use core::fmt;

/// What is to be on a card, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicImage {
    /// Keys of the card as it is, by sector.
    pub keys: Vec<(SectorNumber, Key)>,
    /// What is written, in this order.
    pub writes: Vec<ClassicWrite>,
    /// What beyond data may be written.
    pub leave: TrailerLeave,
}

/// One block of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassicWrite {
    /// A data block.
    Data {
        /// Which.
        block: DataBlock,
        /// What.
        data: [u8; 16],
        /// Others change it as they like, a lock that counts for instance: it is not compared afterwards.
        volatile: bool,
    },
    /// A sector's keys and access bits.
    Trailer {
        /// Which.
        sector: SectorNumber,
        /// What.
        trailer: SectorTrailer,
    },
}

impl ClassicWrite {
    /// The block that it writes.
    pub fn block(&self) -> BlockNumber {
        match self {
            Self::Data { block, .. } => block.number(),
            Self::Trailer { sector, .. } => sector.trailer(),
        }
    }
}

/// What of trailers may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrailerLeave {
    /// Trailers at all.
    pub write: bool,
    /// Access bits that can never be changed again.
    pub lock_for_ever: bool,
    /// Access bits that let key B be read, and so take it out of use as a key.
    pub show_key_b: bool,
}

/// Why an image is not written. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// Nothing is to be written.
    #[error("the image has no block to write")]
    Empty,
    /// The card is smaller.
    #[error("the card has no block {block}")]
    BeyondCard {
        /// The first such block.
        block: BlockNumber,
    },
    /// A block has two contents.
    #[error("the image has block {block} twice")]
    Twice {
        /// The first such block.
        block: BlockNumber,
    },
    /// A trailer without leave.
    #[error("the image writes the trailer of sector {sector} without leave to write trailers")]
    TrailerWithoutLeave {
        /// Whose.
        sector: SectorNumber,
    },
    /// Access bits that nobody can change again.
    #[error("the access bits for sector {sector} could never be changed again")]
    LocksForEver {
        /// Which.
        sector: SectorNumber,
    },
    /// Access bits with which key B is no key.
    #[error("the access bits for sector {sector} let everybody read key B")]
    ShowsKeyB {
        /// Which.
        sector: SectorNumber,
    },
    /// No key that was given opens the sector.
    #[error("no key at hand opens sector {sector}")]
    Closed {
        /// Which.
        sector: SectorNumber,
    },
    /// Its access bits let no key at hand write this block.
    #[error("the access bits of sector {sector} let no key at hand write block {block}", sector = block.sector())]
    NotWritable {
        /// Which.
        block: BlockNumber,
    },
    /// What is written there could not be read back.
    #[error("block {block} could not be read back after writing; name it volatile if that is meant")]
    NotReadable {
        /// Which.
        block: BlockNumber,
    },
}

impl ClassicImage {
    /// Judges the image by itself, without a card.
    ///
    /// # Errors
    /// [`RawError`], the first in the image's order.
    pub fn check(&self, size: ClassicSize) -> Result<(), RawError> {
        if self.writes.is_empty() {
            return Err(RawError::Empty);
        }
        for (index, write) in self.writes.iter().enumerate() {
            let block = write.block();
            if !size.has(block.sector()) {
                return Err(RawError::BeyondCard { block });
            }
            if self.writes.iter().take(index).any(|earlier| earlier.block() == block) {
                return Err(RawError::Twice { block });
            }
            match write {
                ClassicWrite::Trailer { sector, trailer } => self.check_trailer(*sector, trailer)?,
                ClassicWrite::Data { .. } => {}
            }
        }
        Ok(())
    }

    fn check_trailer(&self, sector: SectorNumber, trailer: &SectorTrailer) -> Result<(), RawError> {
        let rights = TrailerRights::of(trailer.access_bits.trailer);
        if !self.leave.write {
            return Err(RawError::TrailerWithoutLeave { sector });
        }
        if rights.access_bits_write == Allowed::Never && !self.leave.lock_for_ever {
            return Err(RawError::LocksForEver { sector });
        }
        if !rights.key_b_is_a_key() && !self.leave.show_key_b {
            return Err(RawError::ShowsKeyB { sector });
        }
        Ok(())
    }

    /// The sectors that it writes to, in the order of the card.
    pub fn sectors(&self) -> Vec<SectorNumber> {
        let mut sectors: Vec<_> = self.writes.iter().map(|write| write.block().sector()).collect();
        sectors.sort_unstable();
        sectors.dedup();
        sectors
    }

    /// What to try on the card: the image's keys, then those that an earlier try may have left there, then `others`.
    pub fn keys_to_try(&self, others: impl Fn(SectorNumber) -> Vec<Key>) -> Vec<SectorKeys> {
        let of = |sector| {
            let given = self.keys.iter().filter(|(of, _)| *of == sector).map(|(_, key)| key.clone());
            let left = self.writes.iter().flat_map(|write| match write {
                ClassicWrite::Trailer { sector: of, trailer } if *of == sector => {
                    Vec::from([Key::A(trailer.key_a.clone()), Key::B(trailer.key_b.clone())])
                }
                ClassicWrite::Trailer { .. } | ClassicWrite::Data { .. } => Vec::new(),
            });
            SectorKeys { sector, keys: given.chain(left).chain(others(sector)).collect() }
        };
        self.sectors().into_iter().map(of).collect()
    }
}

/// A step of a raw plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawStep {
    /// A step that other plans have too.
    Step(PersonalizeStep),
    /// Read a trailer and compare what of it is no key.
    ReadBackTrailer {
        /// Whose.
        sector: SectorNumber,
        /// What must be there.
        expect: TrailerContents,
    },
}

impl From<Step> for RawStep {
    fn from(step: Step) -> Self {
        Self::Step(step.into())
    }
}

impl RawStep {
    /// How many exchanges with the reader it costs.
    pub fn round_trips(&self) -> usize {
        match self {
            Self::Step(step) => step.round_trips(),
            Self::ReadBackTrailer { .. } => 1,
        }
    }
}

impl fmt::Display for RawStep {
    /// In words: block numbers, never contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(PersonalizeStep::Step(Step::Write { block, .. })) => write!(f, "write block {block}"),
            // Zero is a content too.
            Self::Step(PersonalizeStep::Step(Step::WritePage { page, .. })) => write!(f, "write page {page}"),
            Self::Step(PersonalizeStep::Step(Step::ReadBack { block, .. })) => {
                write!(f, "read block {block} back and compare")
            }
            Self::Step(PersonalizeStep::Step(Step::Login { sector, key })) => {
                write!(f, "open sector {sector} with key {}", key_letter(key))
            }
            Self::Step(PersonalizeStep::Step(Step::Reached(point))) if point.is_success() => {
                f.write_str("reached: everything is verified")
            }
            Self::Step(PersonalizeStep::Step(Step::Reached(_))) => {
                f.write_str("from here on the card must stay: it is written in place")
            }
            Self::Step(PersonalizeStep::WriteTrailer { sector, .. }) => {
                write!(f, "write block {}: keys and access bits of sector {sector}", sector.trailer())
            }
            Self::Step(step) => step.fmt(f),
            Self::ReadBackTrailer { sector, .. } => {
                write!(f, "read block {} back and compare the access bits", sector.trailer())
            }
        }
    }
}

/// The steps that put an image on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPlan {
    /// In order.
    pub steps: Vec<RawStep>,
    /// Numbers of the blocks or pages that held what they should before.
    pub unchanged: Vec<u8>,
    /// What the card's memory is counted in.
    pub unit: RawUnit,
}

/// What a card's memory is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawUnit {
    /// Blocks, of MIFARE Classic.
    #[default]
    Blocks,
    /// Pages, of Type 2 cards.
    Pages,
}

impl fmt::Display for RawUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "blocks",
            Self::Pages => "pages",
        })
    }
}

impl RawPlan {
    /// How many exchanges with the reader it costs.
    pub fn round_trips(&self) -> usize {
        self.steps.iter().map(RawStep::round_trips).sum()
    }

    /// How many blocks or pages it writes.
    pub fn writes(&self) -> usize {
        let writes = |step: &&RawStep| match step {
            RawStep::Step(PersonalizeStep::Step(step)) => step.writes(),
            RawStep::Step(PersonalizeStep::WriteTrailer { .. } | PersonalizeStep::WriteConfigPage { .. }) => true,
            RawStep::ReadBackTrailer { .. } => false,
        };
        self.steps.iter().filter(writes).count()
    }
}

impl fmt::Display for RawPlan {
    /// A numbered listing without contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (writes, unchanged, unit) = (self.writes(), self.unchanged.len(), self.unit);
        writeln!(
            f,
            "write {writes} {unit} in place, leave {unchanged} that are right already, {} round trips",
            self.round_trips()
        )?;
        list(f, &self.steps)
    }
}

/// A sector as it is at some point of the plan.
struct Sector {
    number: SectorNumber,
    key_a: Option<KeyA>,
    key_b: Option<KeyB>,
    access: Option<AccessBits>,
}

impl Sector {
    fn of(contents: &SectorContents) -> Self {
        Self {
            number: contents.sector,
            key_a: contents.key_a.clone(),
            key_b: contents.key_b.clone(),
            access: contents.access_bits(),
        }
    }

    fn take(&mut self, trailer: &SectorTrailer) {
        self.key_a = Some(trailer.key_a.clone());
        self.key_b = Some(trailer.key_b.clone());
        self.access = Some(trailer.access_bits);
    }

    /// A key at hand that the sector lets do it; key B before key A, as the stronger one.
    fn key_for(&self, allowed: impl Fn(AccessBits) -> Allowed) -> Option<Key> {
        let access = self.access?;
        let allowed = allowed(access);
        let b = self.key_b.clone().filter(|_| TrailerRights::of(access.trailer).key_b_is_a_key());
        let b = b.filter(|_| allowed.to(KeySlot::B)).map(Key::B);
        b.or_else(|| self.key_a.clone().filter(|_| allowed.to(KeySlot::A)).map(Key::A))
    }

    fn to_write(&self, block: BlockNumber) -> Option<Key> {
        self.key_for(|access| DataRights::of(access.of(block)).write)
    }

    fn to_read(&self, block: BlockNumber) -> Option<Key> {
        self.key_for(|access| DataRights::of(access.of(block)).read)
    }

    /// A key that may write keys and access bits, all of them: a card that takes a part of a trailer only is not asked to.
    fn to_write_trailer(&self) -> Option<Key> {
        self.key_for(|access| {
            let rights = TrailerRights::of(access.trailer);
            let all = [rights.key_a_write, rights.access_bits_write, rights.key_b_write];
            let may = |slot| all.into_iter().all(|allowed| allowed.to(slot));
            match (may(KeySlot::A), may(KeySlot::B)) {
                (true, true) => Allowed::Either,
                (true, false) => Allowed::KeyA,
                (false, true) => Allowed::KeyB,
                (false, false) => Allowed::Never,
            }
        })
    }
}

/// Plans what is to be done with a card that holds `memory`.
///
/// # Errors
/// [`RawError`]: what would go wrong is known before the first write.
pub fn raw(image: &ClassicImage, memory: &ClassicMemory) -> Result<RawPlan, RawError> {
    image.check(memory.size)?;
    let mut sectors = Vec::new();
    for number in image.sectors() {
        let contents = memory.sectors.iter().find(|contents| contents.sector == number);
        let contents = contents.filter(|contents| contents.opened()).ok_or(RawError::Closed { sector: number })?;
        sectors.push((Sector::of(contents), contents));
    }
    let mut steps = Vec::new();
    let mut unchanged = Vec::new();
    let mut open: Option<(SectorNumber, Key)> = None;
    for write in &image.writes {
        let block = write.block();
        let closed = RawError::Closed { sector: block.sector() };
        let (sector, contents) =
            sectors.iter_mut().find(|(sector, _)| sector.number == block.sector()).ok_or(closed)?;
        let (key, step) = match write {
            ClassicWrite::Data { block, data, .. } if memory.block(block.number()) == Some(*data) => {
                unchanged.push(block.number().get());
                continue;
            }
            ClassicWrite::Trailer { trailer, .. } if contents.whole_trailer().as_ref() == Some(trailer) => {
                unchanged.push(block.get());
                continue;
            }
            ClassicWrite::Data { block, data, .. } => {
                (sector.to_write(block.number()), Step::Write { block: *block, data: *data }.into())
            }
            ClassicWrite::Trailer { sector: number, trailer } => {
                let step = PersonalizeStep::WriteTrailer { sector: *number, trailer: trailer.clone() };
                (sector.to_write_trailer(), step)
            }
        };
        let key = key.ok_or(RawError::NotWritable { block })?;
        if steps.is_empty() {
            steps.push(Step::Reached(SafePoint::Sealed).into());
        }
        login(&mut steps, &mut open, sector.number, key);
        steps.push(RawStep::Step(step));
        if let ClassicWrite::Trailer { trailer, .. } = write {
            sector.take(trailer);
            // The card still has the sector open with the old key; the new one has to prove itself.
            open = None;
        }
    }
    steps.push(Step::NewSession.into());
    for (sector, _) in &sectors {
        verify(&mut steps, sector, image)?;
    }
    steps.push(Step::Reached(SafePoint::Verified).into());
    Ok(RawPlan { steps, unchanged, unit: RawUnit::Blocks })
}

fn login(steps: &mut Vec<RawStep>, open: &mut Option<(SectorNumber, Key)>, sector: SectorNumber, key: Key) {
    let wanted = Some((sector, key.clone()));
    if *open != wanted {
        steps.push(Step::Login { sector, key }.into());
        *open = wanted;
    }
}

/// Reads what the image has in a sector back twice; both keys of a written trailer must open it.
fn verify(steps: &mut Vec<RawStep>, sector: &Sector, image: &ClassicImage) -> Result<(), RawError> {
    let number = sector.number;
    let mut open = None;
    for write in image.writes.iter().filter(|write| write.block().sector() == number) {
        if let ClassicWrite::Trailer { trailer, .. } = write {
            let expect = TrailerContents {
                access_bits: trailer.access_bits.to_bytes(),
                general_purpose: trailer.general_purpose,
            };
            login(steps, &mut open, number, Key::A(trailer.key_a.clone()));
            steps.push(RawStep::ReadBackTrailer { sector: number, expect });
            if TrailerRights::of(trailer.access_bits.trailer).key_b_is_a_key() {
                login(steps, &mut open, number, Key::B(trailer.key_b.clone()));
            }
        }
    }
    for _ in 0..2 {
        for write in image.writes.iter().filter(|write| write.block().sector() == number) {
            match write {
                ClassicWrite::Data { block, data, volatile: false } => {
                    let key = sector.to_read(block.number());
                    let key = key.ok_or(RawError::NotReadable { block: block.number() })?;
                    login(steps, &mut open, number, key);
                    steps.push(Step::ReadBack { block: *block, expect: *data }.into());
                }
                ClassicWrite::Data { volatile: true, .. } | ClassicWrite::Trailer { .. } => {}
            }
        }
    }
    Ok(())
}
