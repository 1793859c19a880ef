//! Looking at a card of ours: what both slots hold, with as few round trips as possible, without writing.
//!
//! A card with one valid slot of n blocks in S sectors and one empty slot costs S + n + 2 round trips.

use crate::family::classic::{BlockNumber, DataBlock, Key, SectorNumber};
use crate::family::type2::PageNumber;
use crate::layout::content::{Sealed, SlotState};
use crate::layout::form::Spot;
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{self, SealState, Slot};
use crate::layout::seal::Seal;
use crate::plan::Unlock;
use alloc::vec::Vec;

/// What a machine that examines a card wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookStep {
    /// Open a sector. Answer: `login_ok` or `login_failed`.
    Login {
        /// Which.
        sector: SectorNumber,
        /// With what.
        key: Key,
    },
    /// Read a block of the open sector. Answer: `block` or `refused`.
    Read(BlockNumber),
    /// Ask a Type 2 card what it is (`GET_VERSION`). Answer: `version`, or `refused`.
    Version,
    /// Ask a Type 2 card for the first half of the 3DES authentication, with any key. Answer: `probed` when the card has
    /// answered it, whatever it said to the key; else `refused`.
    UltralightCProbe,
    /// Read pages of a Type 2 card, at most four of one that has no `FAST_READ`. Answer: `pages` with as many, or `refused`.
    Pages {
        /// The first of them.
        first: PageNumber,
        /// How many.
        count: u8,
    },
    /// Open a Type 2 card. Answer: `unlocked`, or `login_failed` for a wrong password, PACK or key.
    Unlock(Unlock),
    /// Nothing more: the outcome is there.
    Done,
}

impl LookStep {
    /// How many exchanges with the reader it costs. A refused login costs one more: the card must be selected again.
    pub fn round_trips(&self) -> usize {
        match self {
            Self::Login { .. }
            | Self::Read(_)
            | Self::Version
            | Self::UltralightCProbe
            | Self::Pages { .. }
            | Self::Unlock(Unlock::Password { .. }) => 1,
            Self::Unlock(Unlock::UltralightC(_)) => 2,
            Self::Done => 0,
        }
    }
}

/// A machine that reads a card and never writes. Ask [`Examine::poll`], do what it says, answer with one of the others.
///
/// A card that leaves or a reader that fails is no answer: drop the machine and begin again. An answer that does not
/// belong to the last [`LookStep`] changes nothing.
pub trait Examine {
    /// What to do next; the same until it is answered.
    fn poll(&self) -> LookStep;
    /// The sector is open.
    fn login_ok(&mut self);
    /// The key does not open the sector. A Classic card is silent after that: select it again before the next step.
    fn login_failed(&mut self);
    /// The block that was read.
    fn block(&mut self, data: [u8; 16]);
    /// The card is there and refuses the read or the question. It is silent after that too: select it again.
    fn refused(&mut self);
    /// What the card said to `GET_VERSION`.
    fn version(&mut self, _version: &[u8]) {}
    /// The card has answered the first half of a 3DES authentication.
    fn probed(&mut self) {}
    /// The pages that were read.
    fn pages(&mut self, _pages: &[[u8; 4]]) {}
    /// The card is open.
    fn unlocked(&mut self) {}
}

/// What the card's two slots hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardView {
    /// Slot A, then slot B.
    pub slots: [SlotState; 2],
    /// What was read of a Type 2 card: a plan does not write again what is there.
    pages: Option<(PageNumber, Vec<[u8; 4]>)>,
}

impl CardView {
    /// From what the slots hold.
    pub fn new(slots: [SlotState; 2]) -> Self {
        Self { slots, pages: None }
    }

    /// With the pages that were read, from this one on.
    pub(super) fn with_pages(self, first: PageNumber, pages: Vec<[u8; 4]>) -> Self {
        Self { pages: Some((first, pages)), ..self }
    }

    /// The pages that were read, from the first on.
    pub(super) fn pages(&self) -> Option<(PageNumber, &[[u8; 4]])> {
        self.pages.as_ref().map(|(first, pages)| (*first, pages.as_slice()))
    }

    /// The same card with a slot that took no write and holds no valid record: it is as dead as one that cannot be read.
    #[must_use]
    pub fn with_dead(mut self, slot: Slot, at: Spot) -> Self {
        let [a, b] = &mut self.slots;
        let state = match slot {
            Slot::A => a,
            Slot::B => b,
        };
        if state.valid().is_none() {
            *state = SlotState::Unreadable { at };
        }
        self
    }

    /// What a slot holds.
    pub fn slot(&self, slot: Slot) -> &SlotState {
        let [a, b] = &self.slots;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }

    /// The current credential: the valid slot with the highest sequence, as a lock takes it. Slot A should both be equal,
    /// which no plan of ours leaves behind.
    pub fn current(&self) -> Option<(Slot, &Sealed)> {
        match (self.slot(Slot::A).valid(), self.slot(Slot::B).valid()) {
            (Some(a), Some(b)) if b.sequence > a.sequence => Some((Slot::B, b)),
            (Some(a), _) => Some((Slot::A, a)),
            (None, Some(b)) => Some((Slot::B, b)),
            (None, None) => None,
        }
    }

    /// Whether an earlier encode left something behind: anything but an empty slot beside the current one.
    pub fn is_unfinished(&self) -> bool {
        let untidy = |slot: Slot| *self.slot(slot) != SlotState::Empty;
        self.current().map_or(untidy(Slot::A) || untidy(Slot::B), |(slot, _)| untidy(slot.other()))
    }
}

/// What a [`Look`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookOutcome {
    /// A card of ours.
    Ours(CardView),
    /// Our keys do not open it: blank, of somebody else, or its personalisation is unfinished; a
    /// [`Survey`](super::Survey) tells which.
    NotOurs,
}

/// Looks at both slots.
///
/// A card whose sector 1 does not open is still ours when slot B holds something: one dead sector does not kill both
/// slots. Personalisation gives sector 1 its keys last, so that an unfinished card is never taken for that.
#[derive(Clone, Debug)]
pub struct Look {
    keys: CardKeys,
    slot: Slot,
    at: At,
    found: [Option<SlotState>; 2],
    not_ours: bool,
}

#[derive(Clone, Debug)]
enum At {
    Login,
    Seal,
    Payload { seal: Seal, blocks: Vec<[u8; 16]>, in_use: usize, opened: SectorNumber },
    Done,
}

impl Look {
    /// Starts with slot A. Nothing depends on the card's size: slots lie in the same blocks on every Classic card.
    pub fn new(keys: CardKeys) -> Self {
        Self { keys, slot: Slot::A, at: At::Login, found: [None, None], not_ours: false }
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<LookOutcome> {
        match &self.at {
            At::Login | At::Seal | At::Payload { .. } => None,
            At::Done if self.not_ours => Some(LookOutcome::NotOurs),
            At::Done => {
                let slots = self.found.clone().map(|state| state.unwrap_or(SlotState::Empty));
                Some(LookOutcome::Ours(CardView::new(slots)))
            }
        }
    }

    fn login(&self, sector: SectorNumber) -> LookStep {
        LookStep::Login { sector, key: Key::A(self.keys.key_a(sector)) }
    }

    /// The sector of the payload block with this index.
    fn payload_sector(&self, index: usize) -> SectorNumber {
        self.slot.payload_blocks().nth(index).map_or(self.slot.first_sector(), DataBlock::sector)
    }

    /// The sector that the next step needs.
    fn sector(&self) -> SectorNumber {
        match &self.at {
            At::Login | At::Seal | At::Done => self.slot.first_sector(),
            At::Payload { blocks, .. } => self.payload_sector(blocks.len()),
        }
    }

    fn conclude(&mut self, state: SlotState) {
        let [a, b] = &mut self.found;
        match self.slot {
            Slot::A => {
                *a = Some(state);
                self.slot = Slot::B;
                self.at = At::Login;
            }
            Slot::B => {
                // Sector 1 dead and slot B empty: no sign that this card was ever finished.
                let dead = |state: &SlotState, slot: Slot| match state {
                    SlotState::Unreadable { at } => *at == Spot::Sector(slot.first_sector()),
                    SlotState::Empty | SlotState::Invalid(_) | SlotState::Valid(_) => false,
                };
                let a_dead = a.as_ref().is_some_and(|a| dead(a, Slot::A));
                self.not_ours = a_dead && (state == SlotState::Empty || dead(&state, Slot::B));
                *b = Some(state);
                self.at = At::Done;
            }
        }
    }

    fn payload_block(&mut self, seal: Seal, mut blocks: Vec<[u8; 16]>, mut in_use: usize, data: [u8; 16]) {
        if blocks.len() == ocl1::DOOR_COUNT_BLOCK {
            match ocl1::payload_blocks_in_use(&data) {
                Ok(count) => in_use = count,
                Err(fault) => return self.conclude(SlotState::Invalid(fault)),
            }
        }
        let opened = self.payload_sector(blocks.len());
        blocks.push(data);
        if blocks.len() < in_use {
            self.at = At::Payload { seal, blocks, in_use, opened };
            return;
        }
        let opened = ocl1::open(&self.keys, self.slot, &seal, &blocks);
        self.conclude(opened.map_or_else(SlotState::Invalid, SlotState::Valid));
    }
}

impl Examine for Look {
    fn poll(&self) -> LookStep {
        match &self.at {
            At::Login => self.login(self.slot.first_sector()),
            At::Seal => LookStep::Read(self.slot.seal_block().number()),
            At::Payload { opened, .. } if *opened != self.sector() => self.login(self.sector()),
            At::Payload { blocks, .. } => match self.slot.payload_blocks().nth(blocks.len()) {
                Some(block) => LookStep::Read(block.number()),
                None => LookStep::Done,
            },
            At::Done => LookStep::Done,
        }
    }

    fn login_ok(&mut self) {
        let sector = self.sector();
        match &mut self.at {
            At::Login => self.at = At::Seal,
            At::Payload { opened, .. } => *opened = sector,
            At::Seal | At::Done => {}
        }
    }

    fn login_failed(&mut self) {
        match self.at {
            At::Login | At::Payload { .. } => self.conclude(SlotState::Unreadable { at: Spot::Sector(self.sector()) }),
            At::Seal | At::Done => {}
        }
    }

    fn block(&mut self, data: [u8; 16]) {
        match core::mem::replace(&mut self.at, At::Done) {
            At::Seal => match ocl1::judge_seal(&self.keys, &data) {
                SealState::Empty => self.conclude(SlotState::Empty),
                SealState::Invalid(fault) => self.conclude(SlotState::Invalid(fault)),
                SealState::Present(seal) => {
                    // The count is known with its block; until then no more is read than leads up to it.
                    let in_use = ocl1::DOOR_COUNT_BLOCK + 1;
                    self.at = At::Payload { seal, blocks: Vec::new(), in_use, opened: self.slot.first_sector() };
                }
            },
            At::Payload { seal, blocks, in_use, opened } if opened == self.payload_sector(blocks.len()) => {
                self.payload_block(seal, blocks, in_use, data);
            }
            at @ (At::Login | At::Payload { .. } | At::Done) => self.at = at,
        }
    }

    fn refused(&mut self) {
        match self.at {
            At::Seal | At::Payload { .. } => self.conclude(SlotState::Unreadable { at: Spot::Sector(self.sector()) }),
            At::Login | At::Done => {}
        }
    }
}
