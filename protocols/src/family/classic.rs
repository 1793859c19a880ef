//! MIFARE Classic: sectors of blocks, each sector closed by a trailer with two keys and access bits.
//!
//! | card | sectors | blocks in a sector | bytes |
//! | --- | --- | --- | --- |
//! | Mini | 5 | 4 | 320 |
//! | 1K | 16 | 4 | 1024 |
//! | 4K | 32 and 8 | 4 and 16 | 4096 |
//!
//! What the family gets wrong: Crypto1 is broken, so sector keys keep nobody out who tries; the layout's seal does
//! not depend on them. Clones play it whose UID can be changed: a gen1a is told by its back door
//! (`CardCommand::ProbeBackdoor`), a gen2 only by writing block 0, which is never done. A trailer torn while it is written can destroy its sector.
//!
//! Source: NXP MF1S50yyX/V1 data sheet, sections 8.6 (memory organization) and 8.7 (memory access); NXP AN10833 for the SAK values.

use crate::family::CardKind;
use crate::id::{Activation, AtrCard, Target};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// How large a Classic card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassicSize {
    /// 5 sectors.
    Mini,
    /// 16 sectors.
    K1,
    /// 40 sectors.
    K4,
}

impl ClassicSize {
    /// How many sectors there are.
    pub fn sectors(self) -> u8 {
        match self {
            Self::Mini => 5,
            Self::K1 => 16,
            Self::K4 => 40,
        }
    }

    /// How many blocks there are, trailers included.
    pub fn blocks(self) -> u16 {
        match self {
            Self::Mini => 20,
            Self::K1 => 64,
            Self::K4 => 256,
        }
    }

    /// Its sectors in order.
    pub fn sector_numbers(self) -> impl Iterator<Item = SectorNumber> {
        (0..self.sectors()).map(SectorNumber)
    }

    /// Whether the card has this sector.
    pub fn has(self, sector: SectorNumber) -> bool {
        sector.0 < self.sectors()
    }
}

impl fmt::Display for ClassicSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mini => "MIFARE Classic Mini",
            Self::K1 => "MIFARE Classic 1K",
            Self::K4 => "MIFARE Classic 4K",
        })
    }
}

/// Recognises a Classic card by its SAK.
///
/// Source: NXP AN10833, table "SAK coding": 09 Mini, 08 1K, 18 4K; 28 and 38 are Classic 1K and 4K emulated on a
/// smart card; 88 is Infineon's 1K. PC/SC part 3, "Card Name": 0001 1K, 0002 4K, 0026 Mini, as quoted by Gemalto's
/// Prox-DU manual, page 101.
pub fn recognise(target: &Target) -> Option<CardKind> {
    let size = match target.activation {
        Activation::TypeA { sak, .. } | Activation::Atr(AtrCard::Sak(sak)) => match sak {
            0x09 => ClassicSize::Mini,
            0x08 | 0x28 | 0x88 => ClassicSize::K1,
            0x18 | 0x38 => ClassicSize::K4,
            _ => return None,
        },
        Activation::Atr(AtrCard::Named(name)) => match name {
            0x0026 => ClassicSize::Mini,
            0x0001 => ClassicSize::K1,
            0x0002 => ClassicSize::K4,
            _ => return None,
        },
        Activation::Atr(AtrCard::Iso14443Part4 | AtrCard::Technology(_) | AtrCard::Other) => return None,
    };
    Some(CardKind::Classic(size))
}

/// A sector, 0 to 39.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectorNumber(u8);

impl SectorNumber {
    /// `None` beyond 39, the last sector of a 4K card.
    pub fn new(sector: u8) -> Option<Self> {
        (sector < 40).then_some(Self(sector))
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// How many blocks it has, the trailer included: 4, or 16 from sector 32 on.
    pub fn blocks(self) -> u8 {
        if self.0 < 32 { 4 } else { 16 }
    }

    /// Its first block.
    pub fn first_block(self) -> BlockNumber {
        // Sectors 0 to 31 end at block 127; 128 + 7 × 16 = 240 is the first block of sector 39, so nothing overflows.
        BlockNumber(if self.0 < 32 { self.0 * 4 } else { 128 + (self.0 - 32) * 16 })
    }

    /// Its last block, which holds keys and access bits.
    pub fn trailer(self) -> BlockNumber {
        BlockNumber(self.first_block().0 + (self.blocks() - 1))
    }

    /// The blocks that hold data: all but the trailer, and in sector 0 all but the manufacturer's block.
    pub fn data_blocks(self) -> impl Iterator<Item = DataBlock> {
        let first = self.first_block().0;
        (first..self.trailer().0).filter_map(|block| DataBlock::new(BlockNumber(block)))
    }
}

impl fmt::Display for SectorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Any block, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNumber(u8);

impl BlockNumber {
    /// Every `u8` is a block of a 4K card.
    pub fn new(block: u8) -> Self {
        Self(block)
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The sector it lies in.
    pub fn sector(self) -> SectorNumber {
        SectorNumber(if self.0 < 128 { self.0 / 4 } else { 32 + (self.0 - 128) / 16 })
    }

    /// Whether it is its sector's trailer.
    pub fn is_trailer(self) -> bool {
        self == self.sector().trailer()
    }

    /// Its place in the access bits: 0, 1, 2 for data, 3 for the trailer. In a sector of 16 blocks, five blocks share one.
    ///
    /// Source: MF1S70yyX/V1 data sheet, section 8.7.1.
    pub fn access_group(self) -> u8 {
        let offset = self.0 - self.sector().first_block().0;
        if self.sector().blocks() == 4 { offset } else { offset / 5 }
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A block that may be written as data: neither a trailer nor block 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataBlock(BlockNumber);

impl DataBlock {
    /// `None` for a trailer and for block 0, the manufacturer's.
    pub fn new(block: BlockNumber) -> Option<Self> {
        (block.0 != 0 && !block.is_trailer()).then_some(Self(block))
    }

    /// The block's number.
    pub fn number(self) -> BlockNumber {
        self.0
    }

    /// The sector it lies in.
    pub fn sector(self) -> SectorNumber {
        self.0.sector()
    }
}

impl fmt::Display for DataBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Six bytes of a sector key: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SectorKey([u8; 6]);

impl SectorKey {
    /// The key of a card as it leaves the factory. Source: MF1S50yyX/V1 data sheet, section 8.6.3.
    pub const TRANSPORT: [u8; 6] = [0xFF; 6];

    /// Takes the key's bytes.
    pub fn new(key: [u8; 6]) -> Self {
        Self(key)
    }

    /// The transport key.
    pub fn transport() -> Self {
        Self(Self::TRANSPORT)
    }

    /// The bytes, for a frame or a card's memory and nothing else.
    pub fn expose(&self) -> &[u8; 6] {
        &self.0
    }
}

impl fmt::Debug for SectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SectorKey(..)")
    }
}

/// Key A of a sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyA(pub SectorKey);

/// Key B of a sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyB(pub SectorKey);

/// A key to authenticate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Key A, command 60.
    A(KeyA),
    /// Key B, command 61.
    B(KeyB),
}

impl Key {
    /// The key's bytes, for a frame and nothing else.
    pub fn secret(&self) -> &SectorKey {
        match self {
            Self::A(KeyA(key)) | Self::B(KeyB(key)) => key,
        }
    }

    /// The transport key in slot A.
    pub fn transport_a() -> Self {
        Self::A(KeyA(SectorKey::transport()))
    }
}

/// The access condition of one group of blocks: bits C1, C2, C3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    c1: bool,
    c2: bool,
    c3: bool,
}

impl Condition {
    /// Data 000: key A or B may read, write, increment and decrement.
    pub const DATA_TRANSPORT: Self = Self::new(false, false, false);
    /// Data 100: key A or B may read, only key B may write.
    pub const DATA_WRITE_WITH_KEY_B: Self = Self::new(true, false, false);
    /// Trailer 001: key A may do everything, key B is readable and no key.
    pub const TRAILER_TRANSPORT: Self = Self::new(false, false, true);
    /// Trailer 011: only key B may write keys and access bits.
    pub const TRAILER_WRITE_WITH_KEY_B: Self = Self::new(false, true, true);

    /// From the three bits in the data sheet's order.
    pub const fn new(c1: bool, c2: bool, c3: bool) -> Self {
        Self { c1, c2, c3 }
    }

    /// C1, C2, C3 as one number, C1 the most significant: the data sheet's `100` is 4.
    pub fn code(self) -> u8 {
        u8::from(self.c1) << 2 | u8::from(self.c2) << 1 | u8::from(self.c3)
    }
}

/// Access bits of a sector: three data groups and the trailer. The inverted copy on the card is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessBits {
    /// For the data groups 0, 1, 2.
    pub data: [Condition; 3],
    /// For the trailer.
    pub trailer: Condition,
}

impl AccessBits {
    /// As a card leaves the factory: `FF 07 80`.
    pub const TRANSPORT: Self = Self { data: [Condition::DATA_TRANSPORT; 3], trailer: Condition::TRAILER_TRANSPORT };
    /// As a personalised sector has them: read with key A or B, everything else with key B. `78 77 88`.
    pub const PERSONALIZED: Self =
        Self { data: [Condition::DATA_WRITE_WITH_KEY_B; 3], trailer: Condition::TRAILER_WRITE_WITH_KEY_B };

    /// Bytes 6, 7 and 8 of the trailer.
    ///
    /// Source: MF1S50yyX/V1 data sheet, section 8.7.1, figure "Access conditions": byte 6 = ¬C2 ¬C1, byte 7 = C1 ¬C3,
    /// byte 8 = C3 C2, the trailer's bit in bit 3 of each nibble.
    pub fn to_bytes(self) -> [u8; 3] {
        let [g0, g1, g2] = self.data;
        let nibble = |bit: fn(Condition) -> bool| {
            [g0, g1, g2, self.trailer].into_iter().rev().fold(0_u8, |bits, group| bits << 1 | u8::from(bit(group)))
        };
        let (c1, c2, c3) = (nibble(|c| c.c1), nibble(|c| c.c2), nibble(|c| c.c3));
        [(!c2 & 0xF) << 4 | (!c1 & 0xF), c1 << 4 | (!c3 & 0xF), c3 << 4 | c2]
    }

    /// Reads bytes 6, 7 and 8 of a trailer; `None` when the inverted copy disagrees, for which a card blocks the sector.
    pub fn from_bytes([byte6, byte7, byte8]: [u8; 3]) -> Option<Self> {
        let (c1, c2, c3) = (byte7 >> 4, byte8 & 0xF, byte8 >> 4);
        let group = |index: u8| Condition::new(c1 >> index & 1 == 1, c2 >> index & 1 == 1, c3 >> index & 1 == 1);
        let bits = Self { data: [group(0), group(1), group(2)], trailer: group(3) };
        (bits.to_bytes() == [byte6, byte7, byte8]).then_some(bits)
    }

    /// The condition of a block of the sector.
    pub fn of(self, block: BlockNumber) -> Condition {
        let [g0, g1, g2] = self.data;
        match block.access_group() {
            0 => g0,
            1 => g1,
            2 => g2,
            _ => self.trailer,
        }
    }
}

/// The last block of a sector. Only this type can be written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorTrailer {
    /// Key A.
    pub key_a: KeyA,
    /// Access bits.
    pub access_bits: AccessBits,
    /// The general purpose byte: 69 from the factory, the MAD's in sector 0.
    pub general_purpose: u8,
    /// Key B.
    pub key_b: KeyB,
}

impl SectorTrailer {
    /// The general purpose byte of a new card. Source: MF1S50yyX/V1 data sheet, section 8.7.
    pub const GENERAL_PURPOSE_TRANSPORT: u8 = 0x69;

    /// A trailer as it leaves the factory.
    pub fn transport() -> Self {
        Self {
            key_a: KeyA(SectorKey::transport()),
            access_bits: AccessBits::TRANSPORT,
            general_purpose: Self::GENERAL_PURPOSE_TRANSPORT,
            key_b: KeyB(SectorKey::transport()),
        }
    }

    /// The 16 bytes on the card: key A, access bits, general purpose byte, key B.
    pub fn to_bytes(&self) -> [u8; 16] {
        let [a0, a1, a2, a3, a4, a5] = *self.key_a.0.expose();
        let [c6, c7, c8] = self.access_bits.to_bytes();
        let [b0, b1, b2, b3, b4, b5] = *self.key_b.0.expose();
        [a0, a1, a2, a3, a4, a5, c6, c7, c8, self.general_purpose, b0, b1, b2, b3, b4, b5]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn trailers_lie_where_the_data_sheets_put_them() {
        for (sector, trailer) in [(0, 3), (1, 7), (15, 63), (31, 127), (32, 143), (39, 255)] {
            let sector = SectorNumber::new(sector).unwrap();
            assert_eq!(sector.trailer().get(), trailer);
            assert!(sector.trailer().is_trailer());
            assert_eq!(DataBlock::new(sector.trailer()), None);
        }
        assert_eq!(DataBlock::new(BlockNumber::new(0)), None);
        assert_eq!(SectorNumber::new(40), None);
    }

    #[test]
    fn access_bits_are_those_of_the_data_sheet() {
        assert_eq!(AccessBits::TRANSPORT.to_bytes(), hex!("FF0780"));
        assert_eq!(AccessBits::PERSONALIZED.to_bytes(), hex!("787788"));
        assert_eq!(AccessBits::from_bytes(hex!("FF0F80")), None);
        assert_eq!(AccessBits::from_bytes(hex!("000000")), None);
    }

    proptest! {
        #[test]
        fn every_block_lies_in_its_sector(block: u8) {
            let block = BlockNumber::new(block);
            let sector = block.sector();
            prop_assert!(sector.first_block() <= block && block <= sector.trailer());
            prop_assert!(block.access_group() <= 3);
            prop_assert_eq!(block.access_group() == 3, block.is_trailer());
        }

        #[test]
        fn access_bits_read_back_or_are_refused(bytes: [u8; 3]) {
            if let Some(bits) = AccessBits::from_bytes(bytes) {
                prop_assert_eq!(bits.to_bytes(), bytes);
            }
        }

        #[test]
        fn one_flipped_bit_is_never_accepted(codes: [u8; 4], flip in 0_usize..24) {
            let group = |code: u8| Condition::new(code & 4 != 0, code & 2 != 0, code & 1 != 0);
            let [a, b, c, t] = codes;
            let bits = AccessBits { data: [group(a), group(b), group(c)], trailer: group(t) };
            let mut bytes = bits.to_bytes();
            prop_assert_eq!(AccessBits::from_bytes(bytes), Some(bits));
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert_eq!(AccessBits::from_bytes(bytes), None);
        }
    }
}
