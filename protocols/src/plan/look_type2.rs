//! Looking at a Type 2 card of ours: what both slots hold, without writing.
//!
//! A card that has `FAST_READ` gives both slots and its protection in one round trip. What a card with a valid seal says
//! needs no password; a card without one proves with its password or key that it is ours.

use crate::family::type2::{PageNumber, Type2Kind};
use crate::layout::content::SlotState;
use crate::layout::form::{Place, Spot};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::Slot;
use crate::layout::pages;
use crate::layout::record::PropertyId;
use crate::plan::hand::{pages_at_once, unlock};
use crate::plan::look::{CardView, Examine, LookOutcome, LookStep};
use crate::plan::protection::Config;
use alloc::vec::Vec;

/// Looks at both slots of a Type 2 card.
#[derive(Clone, Debug)]
pub struct LookType2 {
    keys: CardKeys,
    property: PropertyId,
    place: Place,
    begun: bool,
    at: At,
    /// What the reading at work has given so far.
    read: Vec<[u8; 4]>,
    /// Both slots, once they were read in one.
    area: Vec<[u8; 4]>,
    found: [Option<SlotState>; 2],
    ours: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Both slots, and the protection where one reading reaches so far.
    Area,
    /// One slot alone, because a page of the area is refused.
    Slot(Slot),
    /// The protection, from its own page on: near a closed page other readings may begin anew at page 0.
    Config,
    Unlock,
    Done,
}

impl LookType2 {
    /// Of a card of this kind. `ndef`: whether cards of this desk carry an NDEF message; a prepared card says itself how it
    /// was prepared. `begun`: the desk's journal says that this very card was begun here; it counts on a plain Ultralight,
    /// which no password closes.
    pub fn new(kind: Type2Kind, ndef: bool, keys: CardKeys, property: PropertyId, begun: bool) -> Self {
        Self {
            keys,
            property,
            place: Place::of(kind, ndef),
            begun,
            at: At::Area,
            read: Vec::new(),
            area: Vec::new(),
            found: [None, None],
            ours: false,
        }
    }

    /// Where the slots lie on this card: what [`encode`](super::encode) and others take as the card's form. Certain after
    /// [`LookStep::Done`].
    pub fn place(&self) -> Place {
        self.place
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<LookOutcome> {
        if self.at != At::Done {
            return None;
        }
        if !self.ours {
            return Some(LookOutcome::NotOurs);
        }
        let view = CardView::new(self.found.clone().map(|state| state.unwrap_or(SlotState::Empty)));
        let (first, _) = self.whole_area();
        Some(LookOutcome::Ours(view.with_pages(first, self.area.clone())))
    }

    fn kind(&self) -> Type2Kind {
        self.place.kind()
    }

    /// First page and number of pages of what is read at first.
    fn whole_area(&self) -> (PageNumber, u8) {
        let kind = self.kind();
        // An NTAG213 tells by its protection where its slots begin.
        let first = [false, true].into_iter().map(|ndef| Place::of(kind, ndef).first_page()).min();
        let first = first.unwrap_or(self.place.first_page());
        let last = match kind.config_page() {
            Some(config) if kind.has_fast_read() => config.get() + 1,
            Some(_) | None => kind.last_user_page(),
        };
        (first, last + 1 - first.get())
    }

    /// First page and number of pages of the reading at work.
    fn wanted(&self) -> Option<(PageNumber, u8)> {
        match self.at {
            At::Area => Some(self.whole_area()),
            At::Slot(slot) => Some((self.place.slot_page(slot), self.place.slot_pages())),
            At::Config => Some((self.kind().config_page()?, 2)),
            At::Unlock | At::Done => None,
        }
    }

    /// What is to be read next of it.
    fn next(&self) -> Option<(PageNumber, u8)> {
        next_run(self.kind(), self.wanted()?, self.read.len())
    }

    fn area_read(&mut self, read: Vec<[u8; 4]>) {
        let kind = self.kind();
        let (first, _) = self.whole_area();
        let from = |page: PageNumber| read.get(usize::from(page.get().checked_sub(first.get())?)..);
        let auth0 = kind.config_page().and_then(from).and_then(|pages| Config::new(kind, pages));
        if let Some(place) = auth0.and_then(|config| Place::by_auth0(kind, config.auth0())) {
            self.place = place;
        }
        for slot in Slot::BOTH {
            let memory = from(self.place.slot_page(slot)).unwrap_or_default();
            let memory = memory.get(..self.place.slot_pages().into()).unwrap_or_default();
            let state = pages::judge(&self.keys, self.property, self.place, slot, memory);
            self.found(slot, state);
        }
        self.area = read;
        self.slots_known();
    }

    fn found(&mut self, slot: Slot, state: SlotState) {
        let [a, b] = &mut self.found;
        match slot {
            Slot::A => *a = Some(state),
            Slot::B => *b = Some(state),
        }
    }

    fn slot_known(&mut self, slot: Slot, state: SlotState) {
        self.found(slot, state);
        match slot {
            Slot::A => self.at = At::Slot(Slot::B),
            Slot::B => self.slots_known(),
        }
    }

    fn slots_known(&mut self) {
        let valid = self.found.iter().flatten().any(|state| state.valid().is_some());
        if valid || self.kind().config_page().is_none() {
            self.ours = valid || self.begun;
            self.at = At::Done;
        } else {
            self.at = At::Config;
        }
    }

    fn config_read(&mut self, pages: &[[u8; 4]]) {
        let config = Config::new(self.kind(), pages);
        let place = config.and_then(|config| Place::by_auth0(self.kind(), config.auth0()));
        // A card that is closed otherwise is somebody else's, or not finished: a survey tells.
        let ours = config.zip(place).is_some_and(|(config, place)| config.is_ours(place) && place == self.place);
        self.at = if ours { At::Unlock } else { At::Done };
    }
}

/// What is to be read next of so many pages, when this many have been read.
pub(super) fn next_run(kind: Type2Kind, (first, count): (PageNumber, u8), read: usize) -> Option<(PageNumber, u8)> {
    let read = u8::try_from(read).ok()?;
    let rest = count.checked_sub(read).filter(|&rest| rest > 0)?;
    let at_once = u8::try_from(pages_at_once(kind)).unwrap_or(u8::MAX);
    Some((PageNumber::new(first.get().checked_add(read)?), rest.min(at_once)))
}

impl Examine for LookType2 {
    fn poll(&self) -> LookStep {
        match self.at {
            At::Area | At::Slot(_) | At::Config => {
                self.next().map_or(LookStep::Done, |(first, count)| LookStep::Pages { first, count })
            }
            At::Unlock => unlock(self.kind(), &self.keys).map_or(LookStep::Done, LookStep::Unlock),
            At::Done => LookStep::Done,
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
            At::Area => self.area_read(read),
            At::Slot(slot) => {
                let state = pages::judge(&self.keys, self.property, self.place, slot, &read);
                self.slot_known(slot, state);
            }
            At::Config => self.config_read(&read),
            At::Unlock | At::Done => {}
        }
    }

    fn refused(&mut self) {
        let at = self.next().map(|(first, _)| Spot::Page(first));
        self.read.clear();
        match (self.at, at) {
            (At::Area, _) => self.at = At::Slot(Slot::A),
            (At::Slot(slot), Some(at)) => self.slot_known(slot, SlotState::Unreadable { at }),
            (At::Slot(_) | At::Config | At::Unlock, _) => self.at = At::Done,
            (At::Done, _) => {}
        }
    }

    fn unlocked(&mut self) {
        if self.at == At::Unlock {
            self.ours = true;
            self.at = At::Done;
        }
    }

    fn login_failed(&mut self) {
        if self.at == At::Unlock {
            self.at = At::Done;
        }
    }

    fn login_ok(&mut self) {}

    fn block(&mut self, _data: [u8; 16]) {}
}
