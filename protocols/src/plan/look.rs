//! Looking at a card of ours: what both slots hold, with as few round trips as possible, without writing.
//!
//! A card with one valid slot of n blocks in S sectors and one empty slot costs S + n + 2 round trips.

use crate::family::classic::{BlockNumber, DataBlock, Key, SectorNumber};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{self, SealState, Sealed, Slot, SlotState};
use crate::layout::seal::Seal;
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
    /// Nothing more: the outcome is there.
    Done,
}

impl LookStep {
    /// How many exchanges with the reader it costs. A refused login costs one more: the card must be selected again.
    pub fn round_trips(&self) -> usize {
        match self {
            Self::Login { .. } | Self::Read(_) => 1,
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
    /// The card is there and refuses to give the block. It is silent after that too: select it again.
    fn refused(&mut self);
}

/// What the card's two slots hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardView {
    /// Slot A, then slot B.
    pub slots: [SlotState; 2],
}

impl CardView {
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
                Some(LookOutcome::Ours(CardView { slots }))
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
                    SlotState::Unreadable { sector } => *sector == slot.first_sector(),
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
            At::Login | At::Payload { .. } => self.conclude(SlotState::Unreadable { sector: self.sector() }),
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
            At::Seal | At::Payload { .. } => self.conclude(SlotState::Unreadable { sector: self.sector() }),
            At::Login | At::Done => {}
        }
    }
}
