//! What a reader's ATR tells of a contactless card: a hint, never proof.
//!
//! Source: PC/SC part 3, 3.1.3.2.3 (ATR of contactless cards), as quoted in ACS "ACR122U Application Programming
//! Interface" 2.04, section 3.1, and Gemalto's Prox-DU manual, page 101.

use crate::id::{AtrCard, Technology};
use alloc::vec::Vec;

/// RID of the PC/SC workgroup, after category indicator, tag and length of the application identifier.
const STORAGE: [u8; 8] = [0x80, 0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06];

/// `SS` of a card that follows ISO/IEC 14443 A, part 3.
pub const STANDARD_14443A_3: u8 = 0x03;

/// Names of storage cards, `NN NN`.
pub mod name {
    /// MIFARE Classic 1K.
    pub const CLASSIC_1K: u16 = 0x0001;
    /// MIFARE Classic 4K.
    pub const CLASSIC_4K: u16 = 0x0002;
    /// MIFARE Ultralight, and most often NTAG too.
    pub const ULTRALIGHT: u16 = 0x0003;
    /// MIFARE Mini.
    pub const CLASSIC_MINI: u16 = 0x0026;
}

/// How a reader names storage cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As PC/SC part 3 does.
    Standard,
    /// Access-IS ATR110: 0003, 0004, 0005 for Classic 1K, 4K and Ultralight.
    ///
    /// Source: ATR110 manual, page 35.
    AccessIs,
}

impl Names {
    fn standard(self, name: u16) -> u16 {
        match (self, name) {
            (Self::AccessIs, 0x0003) => name::CLASSIC_1K,
            (Self::AccessIs, 0x0004) => name::CLASSIC_4K,
            (Self::AccessIs, 0x0005) => name::ULTRALIGHT,
            (Self::AccessIs | Self::Standard, name) => name,
        }
    }
}

/// Reads what card an ATR names.
///
/// `3B 8n 80 01` with the historical bytes of PC/SC part 3 is a storage card, with others a card of ISO/IEC 14443-4. A
/// wrong check byte or length makes it [`AtrCard::Other`], as does a contact card's ATR.
pub fn parse(atr: &[u8], names: Names) -> AtrCard {
    let Some(history) = contactless(atr) else { return AtrCard::Other };
    let Some(rest) = history.strip_prefix(&STORAGE) else { return AtrCard::Iso14443Part4 };
    match *rest {
        [standard, ..] if standard != STANDARD_14443A_3 => technology(standard),
        [_, 0xF0, 0x11 | 0x12, 0x00, 0x00, 0x00, 0x00] => AtrCard::Technology(Technology::Felica),
        // FF 28 is JCOP 30 to ACS, and SAK 28 is what such a card answers: both say the same.
        [_, 0xFF, sak, 0x00, 0x00, 0x00, 0x00] => AtrCard::Sak(sak),
        [_, high, low, 0x00, 0x00, 0x00, 0x00] => AtrCard::Named(names.standard(u16::from_be_bytes([high, low]))),
        _ => AtrCard::Other,
    }
}

/// The technology of a storage card that is not of ISO/IEC 14443 A, part 3.
///
/// Source: smart card list of pcsc-tools, "as per PCSC std part3": 05 to 07 type B, 09 to 0C ISO 15693, 11 `FeliCa` (name
/// 003B). ACS says `FeliCa` with standard 03 and the names F011 and F012: ACR122U API 2.04, section 7.3.
///
/// What follows the standard is not looked at: some of these cards have bytes of their own where others have zeros, and
/// none can be written.
fn technology(standard: u8) -> AtrCard {
    match standard {
        0x05..=0x07 => AtrCard::Technology(Technology::TypeB),
        0x09..=0x0C => AtrCard::Technology(Technology::Iso15693),
        0x11 => AtrCard::Technology(Technology::Felica),
        _ => AtrCard::Other,
    }
}

/// The historical bytes of a contactless card's ATR with a right check byte.
fn contactless(atr: &[u8]) -> Option<&[u8]> {
    let [0x3B, t0, 0x80, 0x01, rest @ ..] = atr else { return None };
    let (_tck, history) = rest.split_last()?;
    // T0 to TCK together are zero.
    let check = atr.iter().skip(1).fold(0, |check, byte| check ^ byte);
    (t0 & 0xF0 == 0x80 && usize::from(t0 & 0x0F) == history.len() && check == 0).then_some(history)
}

/// The ATR of a storage card of ISO/IEC 14443 A with this name.
pub fn storage_card(name: u16) -> Vec<u8> {
    let [high, low] = name.to_be_bytes();
    let mut history = STORAGE.to_vec();
    history.extend([STANDARD_14443A_3, high, low, 0x00, 0x00, 0x00, 0x00]);
    with_history(&history)
}

/// The ATR of an ISO/IEC 14443-4 card with these historical bytes, at most 15.
pub fn part4_card(history: &[u8]) -> Vec<u8> {
    with_history(history.get(..history.len().min(15)).unwrap_or_default())
}

fn with_history(history: &[u8]) -> Vec<u8> {
    let t0 = 0x80 | u8::try_from(history.len()).unwrap_or_default() & 0x0F;
    let mut atr = [&[0x3B, t0, 0x80, 0x01], history].concat();
    atr.push(atr.iter().skip(1).fold(0, |check, byte| check ^ byte));
    atr
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn atrs_of_manuals_are_understood() {
        let standard = |atr: &[u8]| parse(atr, Names::Standard);
        // Gemalto Prox-DU, page 101; ACR1283L manual, page 18.
        assert_eq!(standard(&hex!("3B8F8001804F0CA000000306030001000000006A")), AtrCard::Named(0x0001));
        assert_eq!(standard(&hex!("3B8F8001804F0CA0000003060300020000000069")), AtrCard::Named(0x0002));
        assert_eq!(standard(&hex!("3B8F8001804F0CA0000003060300030000000068")), AtrCard::Named(0x0003));
        // ACR122U API 2.04, section 7.3: FeliCa 212K.
        assert_eq!(
            standard(&hex!("3B8F8001804F0CA00000030603F011000000008A")),
            AtrCard::Technology(Technology::Felica)
        );
        // Smart card list of pcsc-tools: Infineon, Philips ICode, iCLASS 16K; CryptoRF, Andante; FeliCa (generic).
        for (atr, technology) in [
            (hex!("3B8F8001804F0CA0000003060B000E000000006D"), Technology::Iso15693),
            (hex!("3B8F8001804F0CA0000003060B00140000000077"), Technology::Iso15693),
            (hex!("3B8F8001804F0CA0000003060A001C000000007E"), Technology::Iso15693),
            (hex!("3B8F8001804F0CA000000306070000000000006F"), Technology::TypeB),
            (hex!("3B8F8001804F0CA0000003060743446002 01E4EF"), Technology::TypeB),
            (hex!("3B8F8001804F0CA00000030611003B0000000042"), Technology::Felica),
        ] {
            assert_eq!(standard(&atr), AtrCard::Technology(technology), "{atr:02x?}");
        }
        // ACR122U API 2.04, section 3.1.2; ACR122L manual, page 14.
        assert_eq!(standard(&hex!("3B868001067577810280 00")), AtrCard::Iso14443Part4);
        assert_eq!(standard(&hex!("3B8180018080")), AtrCard::Iso14443Part4);
        // ATR110 manual, page 35: names of its own.
        let atr = hex!("3B8F8001804F0CA0000003060300030000000068");
        assert_eq!(parse(&atr, Names::AccessIs), AtrCard::Named(name::CLASSIC_1K));
    }

    #[test]
    fn an_atr_that_is_none_is_other() {
        for atr in [&[][..], &hex!("3B"), &hex!("3B8F8001"), &hex!("3B8F8001804F0CA000000306030001000000006B")] {
            assert_eq!(parse(atr, Names::Standard), AtrCard::Other, "{atr:02x?}");
        }
        // A contact card: OpenPGP card 3.4, from the smart card list of pcsc-tools.
        let contact = hex!("3BDA18FF81B1FE751F030031F573C001600090001C");
        assert_eq!(parse(&contact, Names::Standard), AtrCard::Other);
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(name: u16, history in proptest::collection::vec(any::<u8>(), 0..=7)) {
            let expected = match name {
                0xFF00.. => AtrCard::Sak(name.to_be_bytes()[1]),
                0xF011 | 0xF012 => AtrCard::Technology(Technology::Felica),
                _ => AtrCard::Named(name),
            };
            prop_assert_eq!(parse(&storage_card(name), Names::Standard), expected);
            prop_assert_eq!(parse(&part4_card(&history), Names::Standard), AtrCard::Iso14443Part4);
        }

        #[test]
        fn any_bytes_are_some_card(atr in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse(&atr, Names::Standard);
            parse(&atr, Names::AccessIs);
        }

        #[test]
        fn one_flipped_bit_is_never_the_same_card(name in 0_u16..0xFF00, at in 8_usize..160) {
            let mut atr = storage_card(name);
            atr[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(parse(&atr, Names::Standard), AtrCard::Other);
        }
    }
}
