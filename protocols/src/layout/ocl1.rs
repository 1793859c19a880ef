//! OCL/1 on MIFARE Classic: two slots of two sectors.
//!
//! | | slot A | slot B |
//! | --- | --- | --- |
//! | seal | block 4 | block 12 |
//! | payload | blocks 5, 6, 8, 9, 10 | blocks 13, 14, 16, 17, 18 |
//! | sectors | 1, 2 | 3, 4 |
//!
//! The same on Mini, 1K and 4K. Only the blocks in use are read and written; what follows the record in its last block
//! is zero. The seal comes first in memory, so that an empty slot is known after one read, and last in time.

use crate::family::classic::{BlockNumber, ClassicSize, DataBlock, SectorNumber};
#[cfg(feature = "alloc")]
use crate::layout::content::{Content, Sealed};
use crate::layout::keys::CardKeys;
#[cfg(feature = "alloc")]
use crate::layout::pages::check_full;
use crate::layout::pages::of_ours;
#[cfg(feature = "alloc")]
use crate::layout::record::{Record, TooManyDoors};
use crate::layout::record::{RecordError, RecordView};
use crate::layout::seal::{Seal, VERSION};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

/// One of the two places for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Sectors 1 and 2, or the first of two runs of pages.
    A,
    /// Sectors 3 and 4, or the second run.
    B,
}

/// Payload blocks in a slot: two sectors of three data blocks, less the seal's.
pub const PAYLOAD_BLOCKS_MAX: usize = 5;

impl Slot {
    /// Both slots in the order in which they are read.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other slot.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its byte in the MAC's input.
    pub fn code(self) -> u8 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// Its sectors; the seal lies in the first.
    #[expect(clippy::expect_used, reason = "a Classic card of any size has sectors 1 to 4")]
    pub fn sectors(self) -> [SectorNumber; 2] {
        let sectors = match self {
            Self::A => [1, 2],
            Self::B => [3, 4],
        };
        sectors.map(|sector| SectorNumber::new(sector).expect("sectors 1 to 4 exist"))
    }

    /// The sector that holds the seal.
    pub fn first_sector(self) -> SectorNumber {
        let [first, _] = self.sectors();
        first
    }

    /// The seal's block, then the payload's in order.
    pub fn blocks(self) -> impl Iterator<Item = DataBlock> {
        self.sectors().into_iter().flat_map(SectorNumber::data_blocks)
    }

    /// The seal's block.
    #[expect(clippy::expect_used, reason = "every sector has data blocks")]
    pub fn seal_block(self) -> DataBlock {
        self.blocks().next().expect("a slot sector has three data blocks")
    }

    /// The payload's blocks in order.
    pub fn payload_blocks(self) -> impl Iterator<Item = DataBlock> {
        self.blocks().skip(1)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// How many doors a record may have on a card: 17 on every size, because the slots are the same.
pub fn doors_max(size: ClassicSize) -> u8 {
    match size {
        // 5 blocks of 16 bytes, 46 of them for the rest of the record, 2 for each door.
        ClassicSize::Mini | ClassicSize::K1 | ClassicSize::K4 => 17,
    }
}

/// How many payload blocks a record with that many doors fills; `None` when a slot does not hold it.
pub fn payload_blocks_for(doors: u8) -> Option<usize> {
    let blocks = RecordView::bytes_for(doors).div_ceil(16);
    (blocks <= PAYLOAD_BLOCKS_MAX).then_some(blocks)
}

/// Which payload block holds the door count, counted from 0: the first that tells how many follow.
pub const DOOR_COUNT_BLOCK: usize = RecordView::DOOR_COUNT_OFFSET / 16;

/// A slot's content as it is written: the blocks in use.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotImage {
    /// Which slot.
    pub slot: Slot,
    /// The seal's block.
    pub seal: [u8; 16],
    /// The payload's blocks in order, padded with zero.
    pub payload: Vec<[u8; 16]>,
}

#[cfg(feature = "alloc")]
impl SlotImage {
    /// Seals a record for a slot.
    ///
    /// # Errors
    /// [`TooManyDoors`] when the slot does not hold it.
    pub fn new(keys: &CardKeys, slot: Slot, sequence: u32, record: &Record) -> Result<Self, TooManyDoors> {
        let bytes = record.encode()?;
        let payload: Vec<_> = bytes.chunks(16).map(padded).collect();
        if payload.len() > PAYLOAD_BLOCKS_MAX {
            let max = usize::from(doors_max(ClassicSize::Mini));
            return Err(TooManyDoors { have: record.doors.len(), max });
        }
        let seal = Seal::new(keys, slot, sequence, &bytes).to_block();
        Ok(Self { slot, seal, payload })
    }

    /// The payload's blocks with their places.
    pub fn payload_blocks(&self) -> impl Iterator<Item = (DataBlock, [u8; 16])> {
        self.slot.payload_blocks().zip(self.payload.iter().copied())
    }

    /// All blocks in use with their places, the seal first.
    pub fn blocks(&self) -> impl Iterator<Item = (DataBlock, [u8; 16])> {
        core::iter::once((self.slot.seal_block(), self.seal)).chain(self.payload_blocks())
    }
}

#[cfg(feature = "alloc")]
fn padded(chunk: &[u8]) -> [u8; 16] {
    let mut block = [0; 16];
    for (byte, value) in block.iter_mut().zip(chunk) {
        *byte = *value;
    }
    block
}

/// Why a slot that holds something is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotFault {
    /// The seal has another version.
    #[error("the seal has version {found}")]
    Version {
        /// Which.
        found: u8,
    },
    /// The seal was made with a property key that is not among the known ones.
    #[error("the seal was made with key {found}")]
    KeyId {
        /// Which.
        found: u8,
    },
    /// A byte that belongs to no field is not zero.
    #[error("a byte outside of seal and record is not zero")]
    Padding,
    /// The record counts more doors than a slot holds.
    #[error("the record counts {found} doors, more than a slot holds")]
    DoorCount {
        /// How many.
        found: u8,
    },
    /// The seal does not hold for this payload in this slot of this card.
    #[error("the seal does not hold")]
    Mac,
    /// The seal holds, but the record has a form that this version does not know.
    #[error("the sealed record cannot be understood")]
    Record(#[source] RecordError),
}

/// What the seal's block alone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealState {
    /// No seal.
    Empty,
    /// No seal of ours; the payload need not be read.
    Invalid(SlotFault),
    /// A seal that may hold.
    Present(Seal),
}

/// Judges the seal's block before the payload is read.
pub fn judge_seal(keys: &CardKeys, block: &[u8; 16]) -> SealState {
    if *block == [0; 16] {
        return SealState::Empty;
    }
    let Some(seal) = Seal::from_block(block) else { return SealState::Invalid(SlotFault::Padding) };
    if let Err(fault) = of_ours(&seal, VERSION, keys) {
        return SealState::Invalid(fault);
    }
    SealState::Present(seal)
}

/// How many payload blocks are in use, from the block that counts the doors.
///
/// # Errors
/// [`SlotFault::DoorCount`] when a slot does not hold so many.
pub fn payload_blocks_in_use(door_count_block: &[u8; 16]) -> Result<usize, SlotFault> {
    let found = door_count_block.get(RecordView::DOOR_COUNT_OFFSET % 16).copied().unwrap_or_default();
    payload_blocks_for(found).ok_or(SlotFault::DoorCount { found })
}

/// Judges a slot whose seal may hold, from the payload blocks in use.
///
/// # Errors
/// [`SlotFault`], the MAC's before the record's: nothing unsealed is interpreted but the door count.
#[cfg(feature = "alloc")]
pub fn open(keys: &CardKeys, slot: Slot, seal: &Seal, payload: &[[u8; 16]]) -> Result<Sealed, SlotFault> {
    let record = check_full(keys, slot, seal, payload.as_flattened(), 16)?;
    Ok(Sealed { sequence: seal.sequence, key_id: seal.key_id, content: Content::Full(record.to_record()) })
}

/// Says in words what a block of the card is for.
pub fn role(block: BlockNumber) -> Role {
    let of_slot = |slot: Slot| {
        let index = slot.blocks().position(|data| data.number() == block)?;
        Some(if index == 0 { Role::Seal(slot) } else { Role::Payload(slot, index) })
    };
    if let Some(role) = Slot::BOTH.into_iter().find_map(of_slot) {
        return role;
    }
    match block.get() {
        0 => Role::Manufacturer,
        1 | 2 => Role::Directory,
        _ if block.is_trailer() => Role::Trailer(block.sector()),
        _ => Role::Unused,
    }
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Block 0.
    Manufacturer,
    /// The directory in sector 0.
    Directory,
    /// A slot's seal.
    Seal(Slot),
    /// A slot's payload block, counted from 1.
    Payload(Slot, usize),
    /// A sector's trailer.
    Trailer(SectorNumber),
    /// Nothing of this layout.
    Unused,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manufacturer => f.write_str("manufacturer block"),
            Self::Directory => f.write_str("directory"),
            Self::Seal(slot) => write!(f, "slot {slot} seal"),
            Self::Payload(slot, index) => write!(f, "slot {slot} payload {index}"),
            Self::Trailer(sector) => write!(f, "trailer of sector {sector}"),
            Self::Unused => f.write_str("unused block"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lie_in_the_blocks_of_the_table() {
        let blocks = |slot: Slot| slot.blocks().map(|block| block.number().get()).collect::<Vec<_>>();
        assert_eq!(blocks(Slot::A), [4, 5, 6, 8, 9, 10]);
        assert_eq!(blocks(Slot::B), [12, 13, 14, 16, 17, 18]);
        assert_eq!(Slot::A.payload_blocks().count(), PAYLOAD_BLOCKS_MAX);
    }

    #[test]
    fn seventeen_doors_fill_a_slot() {
        for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
            let max = doors_max(size);
            assert!(max >= 16);
            assert_eq!(payload_blocks_for(max), Some(PAYLOAD_BLOCKS_MAX));
            assert_eq!(payload_blocks_for(max + 1), None);
        }
        assert_eq!([0, 1, 2, 9, 10, 16].map(payload_blocks_for), [3, 3, 4, 4, 5, 5].map(Some));
    }
}
