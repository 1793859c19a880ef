//! The MIFARE Application Directory, version 1: which application owns which sector.
//!
//! It fills blocks 1 and 2 of sector 0: CRC, info byte, then two bytes for each of the sectors 1 to 15. Version 1
//! is enough on a 4K card: it lists the sectors that OCL/1 uses, and a reader that sees version 1 in the general
//! purpose byte does not look for the second directory in sector 16. The sectors above 15 stay as the factory left them.
//!
//! Source: NXP AN10787, chapters "Coding of the application directories" and "CRC calculation", as reprinted at
//! gorferay.com/coding-of-the-application-directories and gorferay.com/crc-calculation; libfreefare `libfreefare/mad.c`.

use crate::family::classic::{AccessBits, ClassicSize, KeyA, SectorKey, SectorNumber, SectorTrailer};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1;
use crc::{CRC_8_MIFARE_MAD, Crc};

/// Polynomial 1D, preset C7: the note prints the preset bit-reversed as E3.
const CRC: Crc<u8> = Crc::<u8>::new(&CRC_8_MIFARE_MAD);

/// The key A with which everybody may read a directory. Source: libfreefare `mad_public_key_a`.
pub const PUBLIC_KEY_A: [u8; 6] = [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5];

/// The general purpose byte of sector 0: directory available (80), card of several applications (40), version 1 (01).
///
/// Source: the bits as libfreefare `mad_read` and Proxmark3 `MADCheck` read them.
pub const GENERAL_PURPOSE: u8 = 0xC1;

/// Whose a sector is: function cluster in the high byte, application code in the low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aid(u16);

impl Aid {
    /// The sector is free. Source: AN10787, administration codes.
    pub const FREE: Self = Self(0x0000);
    /// The card has no such sector. Source: AN10787, administration codes.
    pub const NOT_APPLICABLE: Self = Self(0x0005);
    /// A slot sector of OCL/1.
    ///
    /// UNVERIFIED: nobody has registered it with NXP, and that cluster 48 stands for access control is from memory. An
    /// entry in NXP's register (an AID costs a form to the MAD registration office) would settle both. Until then a
    /// reader must not take the AID as proof of anything; this crate never does.
    pub const OCL1: Self = Self(0x48FE);

    /// From function cluster and application code.
    pub fn new(function_cluster: u8, application: u8) -> Self {
        Self(u16::from_be_bytes([function_cluster, application]))
    }

    /// The two bytes in the directory: the application code comes first.
    fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mad {
    /// Bits 0 to 5 name the card publisher's sector, 0 for none.
    pub info: u8,
    /// The owners of the sectors 1 to 15.
    pub aids: [Aid; 15],
}

impl Mad {
    /// The directory of a card that `personalize` has prepared: the four slot sectors are OCL/1's.
    pub fn for_card(size: ClassicSize) -> Self {
        let aid = |sector: u8| {
            let Some(sector) = SectorNumber::new(sector).filter(|&sector| size.has(sector)) else {
                return Aid::NOT_APPLICABLE;
            };
            if ocl1::Slot::BOTH.iter().any(|slot| slot.sectors().contains(&sector)) { Aid::OCL1 } else { Aid::FREE }
        };
        let mut sectors = 1..;
        Self { info: 0, aids: [(); 15].map(|()| sectors.next().map_or(Aid::NOT_APPLICABLE, aid)) }
    }

    /// Blocks 1 and 2 of sector 0.
    pub fn to_blocks(&self) -> [[u8; 16]; 2] {
        let mut bytes = [0; 32];
        let fields = core::iter::once(self.info).chain(self.aids.into_iter().flat_map(Aid::to_bytes));
        for (byte, field) in bytes.iter_mut().skip(1).zip(fields) {
            *byte = field;
        }
        let [crc, covered @ ..] = &mut bytes;
        *crc = CRC.checksum(covered);
        let (blocks, _) = bytes.as_chunks::<16>();
        blocks.first_chunk::<2>().copied().unwrap_or_default()
    }

    /// Reads blocks 1 and 2; `None` when the CRC disagrees.
    pub fn from_blocks([block_1, block_2]: [[u8; 16]; 2]) -> Option<Self> {
        let [crc, info, low @ ..] = block_1;
        let mut aids = low.as_chunks::<2>().0.iter().chain(block_2.as_chunks::<2>().0).copied().map(u16::from_le_bytes);
        let mad = Self { info, aids: [(); 15].map(|()| Aid(aids.next().unwrap_or_default())) };
        let [[expected, ..], _] = mad.to_blocks();
        (crc == expected).then_some(mad)
    }
}

/// The trailer of sector 0 on a prepared card: everybody may read the directory, only the property may change it.
pub fn trailer(keys: &CardKeys, sector_0: SectorNumber) -> SectorTrailer {
    SectorTrailer {
        key_a: KeyA(SectorKey::new(PUBLIC_KEY_A)),
        access_bits: AccessBits::PERSONALIZED,
        general_purpose: GENERAL_PURPOSE,
        key_b: keys.key_b(sector_0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// The vectors: AN10787 table 11; `mifare-classic-write-ndef` of libfreefare 0.4.0; fifteen NDEF sectors.
    #[test]
    fn crc_is_that_of_the_note_and_of_libfreefare() {
        let vectors = [
            (hex!("01010801080108000000000000040003100310021002100000000000001130"), 0x89),
            (hex!("0003e100000000000000000000000000000000000000000000000000000000"), 0xDB),
            (hex!("0103e103e103e103e103e103e103e103e103e103e103e103e103e103e103e1"), 0x14),
        ];
        for (covered, crc) in vectors {
            assert_eq!(CRC.checksum(&covered), crc);
            let mut bytes = [0; 32];
            bytes[0] = crc;
            bytes[1..].copy_from_slice(&covered);
            let blocks = [bytes[..16].try_into().unwrap(), bytes[16..].try_into().unwrap()];
            assert_eq!(Mad::from_blocks(blocks).unwrap().to_blocks(), blocks);
        }
    }

    #[test]
    fn directory_lists_the_slot_sectors_and_what_a_mini_lacks() {
        for (size, above) in
            [(ClassicSize::Mini, Aid::NOT_APPLICABLE), (ClassicSize::K1, Aid::FREE), (ClassicSize::K4, Aid::FREE)]
        {
            let mad = Mad::for_card(size);
            assert_eq!(mad.aids[..4], [Aid::OCL1; 4]);
            assert_eq!(mad.aids[4..], [above; 11]);
            assert_eq!(Mad::from_blocks(mad.to_blocks()), Some(mad));
        }
    }

    #[test]
    fn directory_with_a_wrong_crc_is_none() {
        let mut blocks = Mad::for_card(ClassicSize::K1).to_blocks();
        blocks[1][3] ^= 1;
        assert_eq!(Mad::from_blocks(blocks), None);
        assert_eq!(Mad::from_blocks([[0; 16]; 2]), None);
    }

    #[test]
    fn aid_lies_in_the_directory_with_the_application_code_first() {
        assert_eq!(Aid::new(0xE1, 0x03).to_bytes(), [0x03, 0xE1]);
    }
}
