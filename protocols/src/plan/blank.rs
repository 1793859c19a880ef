//! Is a card as it left the factory? Only such a card may be personalised.

use crate::family::classic::{AccessBits, BlockNumber, ClassicSize, DataBlock, Key, SectorNumber};
use crate::plan::look::{Examine, LookStep};

/// Why a sector is not as it left the factory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBlank {
    /// The transport key does not open it.
    #[error("the transport key does not open it")]
    KeyRefused,
    /// A data block is not zero.
    #[error("block {block} is not empty")]
    Data {
        /// The first such block.
        block: BlockNumber,
    },
    /// The access bits are others.
    #[error("its access bits are not those of a new card")]
    AccessBits,
    /// A block cannot be read.
    #[error("block {block} cannot be read")]
    Refused {
        /// Which.
        block: BlockNumber,
    },
}

/// What a [`BlankCheck`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlankOutcome {
    /// Every sector opens with the transport key, all data is zero and all access bits are the transport ones.
    Blank,
    /// It is in use, or was.
    NotBlank {
        /// The first sector that is not blank.
        sector: SectorNumber,
        /// What is wrong with it.
        why: NotBlank,
    },
}

/// Looks at every sector of a card; ends at the first that is not blank.
///
/// Block 0 holds the manufacturer's data and is not looked at. A card of n sectors of four blocks costs 5n − 1 round trips.
#[derive(Clone, Debug)]
pub struct BlankCheck {
    size: ClassicSize,
    sector: Option<SectorNumber>,
    /// How many blocks of the open sector have been read; `None` before it is open.
    read: Option<usize>,
    not_blank: Option<(SectorNumber, NotBlank)>,
}

/// What is read of a sector: its data blocks, then its trailer.
pub(super) fn contents(sector: SectorNumber) -> impl Iterator<Item = BlockNumber> {
    sector.data_blocks().map(DataBlock::number).chain([sector.trailer()])
}

/// The access bits in a trailer as it reads; `None` when their inverted copy disagrees.
pub(super) fn access_bits(trailer: &[u8; 16]) -> Option<AccessBits> {
    let [.., c6, c7, c8, _, _, _, _, _, _, _] = *trailer;
    AccessBits::from_bytes([c6, c7, c8])
}

/// The sector after this one, if the card has it.
pub(super) fn following(sector: SectorNumber, size: ClassicSize) -> Option<SectorNumber> {
    SectorNumber::new(sector.get() + 1).filter(|&next| size.has(next))
}

impl BlankCheck {
    /// Starts with sector 0.
    pub fn new(size: ClassicSize) -> Self {
        Self { size, sector: size.sector_numbers().next(), read: None, not_blank: None }
    }

    /// Starts with a later sector.
    pub(super) fn from_sector(sector: Option<SectorNumber>, size: ClassicSize) -> Self {
        Self { size, sector, read: None, not_blank: None }
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<BlankOutcome> {
        match (self.not_blank, self.sector) {
            (Some((sector, why)), _) => Some(BlankOutcome::NotBlank { sector, why }),
            (None, None) => Some(BlankOutcome::Blank),
            (None, Some(_)) => None,
        }
    }

    fn end(&mut self, why: NotBlank) {
        self.not_blank = self.sector.take().map(|sector| (sector, why));
    }

    /// The block that is to be read next in the open sector.
    fn next_block(&self) -> Option<BlockNumber> {
        contents(self.sector?).nth(self.read?)
    }
}

impl Examine for BlankCheck {
    fn poll(&self) -> LookStep {
        match (self.sector, self.next_block()) {
            (_, Some(block)) => LookStep::Read(block),
            (Some(sector), None) => LookStep::Login { sector, key: Key::transport_a() },
            (None, None) => LookStep::Done,
        }
    }

    fn login_ok(&mut self) {
        if self.read.is_none() && self.sector.is_some() {
            self.read = Some(0);
        }
    }

    fn login_failed(&mut self) {
        if self.read.is_none() {
            self.end(NotBlank::KeyRefused);
        }
    }

    fn block(&mut self, data: [u8; 16]) {
        let (Some(sector), Some(read), Some(block)) = (self.sector, self.read, self.next_block()) else { return };
        if !block.is_trailer() {
            if data != [0; 16] {
                self.end(NotBlank::Data { block });
            }
            self.read = Some(read + 1);
        } else if access_bits(&data) != Some(AccessBits::TRANSPORT) {
            self.end(NotBlank::AccessBits);
        } else {
            self.read = None;
            self.sector = following(sector, self.size);
        }
    }

    fn refused(&mut self) {
        if let Some(block) = self.next_block() {
            self.end(NotBlank::Refused { block });
        }
    }
}
