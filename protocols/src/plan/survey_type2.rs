//! What a Type 2 card is that a [`LookType2`](super::LookType2) does not call ours: blank, ours and unfinished, locked, or
//! foreign.
//!
//! A card is ours when our password or 3DES key opens it. A card that counts wrong passwords is never tried. A plain
//! Ultralight, which nothing closes, is ours when the desk's own journal says that it was begun here.

use crate::family::type2::{CAPABILITY_CONTAINER, PageNumber, Type2Kind};
use crate::layout::form::Place;
use crate::layout::keys::CardKeys;
use crate::plan::hand::unlock;
use crate::plan::look::{Examine, LookStep};
use crate::plan::look_type2::next_run;
use crate::plan::protection::Config;
use alloc::vec::Vec;

/// Why a Type 2 card is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBlankType2 {
    /// User memory holds something.
    #[error("page {page} is not empty")]
    Data {
        /// The first such page.
        page: PageNumber,
    },
    /// Another password or key closes it.
    #[error("another password closes it")]
    Password,
    /// It counts wrong passwords, so that ours is not tried.
    #[error("it counts wrong passwords")]
    AttemptsLimited,
    /// It is not closed, and its configuration is not that of a new card.
    #[error("its configuration is not that of a new card")]
    Configuration,
    /// A page is not given out: reading is closed, or the page is dead.
    #[error("page {page} cannot be read")]
    Refused {
        /// The first such page, or one of those after it.
        page: PageNumber,
    },
}

/// What a card's memory holds before it is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    pub(super) place: Place,
    pub(super) config: Option<Config>,
    /// All pages up to the last of user memory.
    pub(super) memory: Vec<[u8; 4]>,
    /// Our password or key is on the card already.
    pub(super) ours: bool,
}

impl Preparation {
    /// Where the slots will lie.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// What a [`SurveyType2`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurveyType2Outcome {
    /// As it left the factory: user memory zero or the factory's empty NDEF message, nothing locked, nothing closed.
    Blank(Preparation),
    /// Ours; what remains can be written.
    Unfinished(Preparation),
    /// Ours, and nothing remains to be prepared.
    Ready(Place),
    /// Not ours, and not blank.
    Foreign {
        /// What shows it.
        why: NotBlankType2,
    },
    /// Lock bits are set: pages that it would need take no more writes.
    Locked {
        /// The page of the lock bits.
        page: PageNumber,
    },
    /// An NDEF message is to lie on it, and its capability container does not say that it may.
    WrongCapabilityContainer {
        /// What page 3 says.
        found: [u8; 4],
    },
    /// Ours, but its configuration is locked for good as it is.
    Damaged {
        /// The page of the configuration.
        page: PageNumber,
    },
}

/// Looks at a whole Type 2 card, and tries our password or key where that costs the card nothing.
#[derive(Clone, Debug)]
pub struct SurveyType2 {
    keys: CardKeys,
    place: Place,
    ndef: bool,
    begun: bool,
    at: At,
    read: Vec<[u8; 4]>,
    config: Option<Config>,
    memory: Vec<[u8; 4]>,
    locks: Option<[u8; 4]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Config(PageNumber),
    Memory,
    Locks(PageNumber),
    Unlock { otherwise: NotBlankType2 },
    Done(SurveyType2Outcome),
}

impl SurveyType2 {
    /// Of a card of this kind; `ndef` and `begun` as in [`LookType2::new`](super::LookType2::new).
    pub fn new(kind: Type2Kind, ndef: bool, keys: CardKeys, begun: bool) -> Self {
        let at = kind.config_page().map_or(At::Memory, At::Config);
        let place = Place::of(kind, ndef);
        Self { keys, place, ndef, begun, at, read: Vec::new(), config: None, memory: Vec::new(), locks: None }
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<SurveyType2Outcome> {
        match &self.at {
            At::Done(outcome) => Some(outcome.clone()),
            At::Config(_) | At::Memory | At::Locks(_) | At::Unlock { .. } => None,
        }
    }

    fn kind(&self) -> Type2Kind {
        self.place.kind()
    }

    fn wanted(&self) -> Option<(PageNumber, u8)> {
        match self.at {
            At::Config(page) => Some((page, 2)),
            At::Memory => Some((PageNumber::new(0), self.kind().last_user_page() + 1)),
            At::Locks(page) => Some((page, 1)),
            At::Unlock { .. } | At::Done(_) => None,
        }
    }

    fn next(&self) -> Option<(PageNumber, u8)> {
        next_run(self.kind(), self.wanted()?, self.read.len())
    }

    fn end(&mut self, outcome: SurveyType2Outcome) {
        self.at = At::Done(outcome);
    }

    fn preparation(&self, ours: bool) -> Preparation {
        Preparation { place: self.place, config: self.config, memory: self.memory.clone(), ours }
    }

    /// Whatever can be read has been.
    fn judge(&mut self) {
        if let Some(config) = self.config
            && (config.limits_attempts() || !config.is_open())
        {
            let why = if config.limits_attempts() { NotBlankType2::AttemptsLimited } else { NotBlankType2::Password };
            self.not_blank(why);
        } else if let Some(page) = self.locked() {
            self.end(SurveyType2Outcome::Locked { page });
        } else if let Some(page) = self.data() {
            self.not_blank(NotBlankType2::Data { page });
        } else if self.config.is_some_and(|config| !config.is_factory()) {
            self.not_blank(NotBlankType2::Configuration);
        } else {
            self.prepare(false);
        }
    }

    /// Ours all the same?
    fn not_blank(&mut self, why: NotBlankType2) {
        match self.config {
            Some(config) if config.limits_attempts() => self.end(SurveyType2Outcome::Foreign { why }),
            Some(_) => self.at = At::Unlock { otherwise: why },
            None if self.begun => self.prepare(true),
            None => self.end(SurveyType2Outcome::Foreign { why }),
        }
    }

    /// The card is blank, or ours.
    fn prepare(&mut self, ours: bool) {
        if let Some(config) = self.config.filter(|_| ours) {
            let by_auth0 = Place::by_auth0(self.kind(), config.auth0());
            if let Some(place) = by_auth0.filter(|&place| config.is_ours(place)) {
                return self.end(SurveyType2Outcome::Ready(place));
            }
            if let Some(page) = self.kind().config_page().filter(|_| config.is_locked()) {
                return self.end(SurveyType2Outcome::Damaged { page });
            }
        }
        if let Some(page) = self.locked() {
            return self.end(SurveyType2Outcome::Locked { page });
        }
        if let Some(found) = self.wrong_capability_container() {
            return self.end(SurveyType2Outcome::WrongCapabilityContainer { found });
        }
        let preparation = self.preparation(ours);
        self.end(if ours {
            SurveyType2Outcome::Unfinished(preparation)
        } else {
            SurveyType2Outcome::Blank(preparation)
        });
    }

    /// The page of the first lock bit that is set.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, sections 8.5.2 and 8.5.3: bytes 2 and 3 of page 2; three bytes behind
    /// user memory. Two of an Ultralight C (MF0ICU2 data sheet, section 7.5.3).
    fn locked(&self) -> Option<PageNumber> {
        let fixed = self.memory.get(2).is_some_and(|&[_, _, first, second]| [first, second] != [0; 2]);
        let [first, second, third, _] = self.locks.unwrap_or_default();
        let third = if self.kind() == Type2Kind::UltralightC { 0 } else { third };
        let dynamic = [first, second, third] != [0; 3];
        if fixed { Some(PageNumber::new(2)) } else { self.kind().dynamic_lock_page().filter(|_| dynamic) }
    }

    /// The first page of user memory that holds something else than a new card's; that a part of the factory's message is
    /// missing shows in its first page.
    fn data(&self) -> Option<PageNumber> {
        let user = self.memory.get(4..).unwrap_or_default();
        let factory = || self.kind().factory_message().iter().copied().chain(core::iter::repeat([0; 4]));
        if user.iter().all(|page| *page == [0; 4])
            || user.iter().copied().zip(factory()).all(|(found, new)| found == new)
        {
            return None;
        }
        let is_other = |(found, new): ([u8; 4], [u8; 4])| found != [0; 4] && found != new;
        let at = user.iter().copied().zip(factory()).position(is_other).unwrap_or_default();
        u8::try_from(4 + at).ok().map(PageNumber::new)
    }

    fn wrong_capability_container(&self) -> Option<[u8; 4]> {
        let found = self.memory.get(usize::from(CAPABILITY_CONTAINER)).copied()?;
        let right = self.kind().capability_container().filter(|_| self.ndef && self.place.ndef_pages().is_some())?;
        (found != right).then_some(found)
    }
}

impl Examine for SurveyType2 {
    fn poll(&self) -> LookStep {
        match &self.at {
            At::Config(_) | At::Memory | At::Locks(_) => {
                self.next().map_or(LookStep::Done, |(first, count)| LookStep::Pages { first, count })
            }
            At::Unlock { .. } => unlock(self.kind(), &self.keys).map_or(LookStep::Done, LookStep::Unlock),
            At::Done(_) => LookStep::Done,
        }
    }

    fn pages(&mut self, pages: &[[u8; 4]]) {
        let Some((_, count)) = self.next().filter(|(_, count)| usize::from(*count) == pages.len()) else { return };
        self.read.extend(pages.iter().take(count.into()));
        if self.next().is_some() {
            return;
        }
        let read = core::mem::take(&mut self.read);
        match self.at {
            At::Config(_) => {
                self.config = Config::new(self.kind(), &read);
                self.at = At::Memory;
            }
            At::Memory => {
                self.memory = read;
                match self.kind().dynamic_lock_page() {
                    Some(page) => self.at = At::Locks(page),
                    None => self.judge(),
                }
            }
            At::Locks(_) => {
                self.locks = read.first().copied();
                self.judge();
            }
            At::Unlock { .. } | At::Done(_) => {}
        }
    }

    fn refused(&mut self) {
        let page = self.next().map(|(first, _)| first);
        self.read.clear();
        match (&self.at, page) {
            (At::Config(_) | At::Memory | At::Locks(_), Some(page)) => {
                self.end(SurveyType2Outcome::Foreign { why: NotBlankType2::Refused { page } });
            }
            (At::Unlock { otherwise }, _) => {
                let why = *otherwise;
                self.end(SurveyType2Outcome::Foreign { why });
            }
            (At::Config(_) | At::Memory | At::Locks(_) | At::Done(_), _) => {}
        }
    }

    fn unlocked(&mut self) {
        if let At::Unlock { .. } = self.at {
            self.prepare(true);
        }
    }

    fn login_failed(&mut self) {
        if let At::Unlock { otherwise } = &self.at {
            let why = *otherwise;
            self.end(SurveyType2Outcome::Foreign { why });
        }
    }

    fn login_ok(&mut self) {}

    fn block(&mut self, _data: [u8; 16]) {}
}
