//! NFC Forum Type 2 cards: MIFARE Ultralight, Ultralight EV1, Ultralight C, NTAG213, 215 and 216. Memory in pages of four bytes.
//!
//! | card | pages | user pages | told by | closed by |
//! | --- | --- | --- | --- | --- |
//! | Ultralight | 16 | 4 to 15 | refuses `GET_VERSION` and 3DES | nothing |
//! | Ultralight EV1, 48 bytes | 20 | 4 to 15 | `GET_VERSION` | password |
//! | Ultralight EV1, 128 bytes | 41 | 4 to 35 | `GET_VERSION` | password |
//! | Ultralight C | 48 | 4 to 39 | answers 3DES | 3DES key |
//! | NTAG213 | 45 | 4 to 39 | `GET_VERSION` | password |
//! | NTAG215 | 135 | 4 to 129 | `GET_VERSION` | password |
//! | NTAG216 | 231 | 4 to 225 | `GET_VERSION` | password |
//!
//! What the family gets wrong: user pages have no tear protection; a password of 32 bits in clear on the air is a speed
//! bump; AUTH0 and ACCESS act only after the field was off.
//!
//! Source: NXP "NTAG213F/216F" data sheet rev. 3.1; NXP MF0ULx1 and MF0ICU2 data sheets.

use crate::family::CardKind;
use crate::id::{Activation, AtrCard, Target};
use crate::secret::Secret;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Which Type 2 card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type2Kind {
    /// MIFARE Ultralight, 48 bytes for its user.
    Ultralight,
    /// MIFARE Ultralight EV1, 48 bytes (MF0UL11).
    UltralightEv1Small,
    /// MIFARE Ultralight EV1, 128 bytes (MF0UL21).
    UltralightEv1Large,
    /// MIFARE Ultralight C, 144 bytes.
    UltralightC,
    /// NTAG213, 144 bytes.
    Ntag213,
    /// NTAG215, 504 bytes.
    Ntag215,
    /// NTAG216, 888 bytes.
    Ntag216,
}

impl Type2Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ultralight,
        Self::UltralightEv1Small,
        Self::UltralightEv1Large,
        Self::UltralightC,
        Self::Ntag213,
        Self::Ntag215,
        Self::Ntag216,
    ];

    /// How many pages there are, configuration included.
    pub fn pages(self) -> u8 {
        match self {
            Self::Ultralight => 16,
            Self::UltralightEv1Small => 20,
            Self::UltralightEv1Large => 41,
            Self::UltralightC => 48,
            Self::Ntag213 => 45,
            Self::Ntag215 => 135,
            Self::Ntag216 => 231,
        }
    }

    /// The last page that is the user's; the first is 4 on all of them.
    pub fn last_user_page(self) -> u8 {
        match self {
            Self::Ultralight | Self::UltralightEv1Small => 15,
            Self::UltralightEv1Large => 35,
            Self::UltralightC | Self::Ntag213 => 39,
            Self::Ntag215 => 129,
            Self::Ntag216 => 225,
        }
    }

    /// Whether a password of 32 bits closes it (`PWD_AUTH`).
    pub fn has_password(self) -> bool {
        match self {
            Self::Ultralight | Self::UltralightC => false,
            Self::UltralightEv1Small | Self::UltralightEv1Large | Self::Ntag213 | Self::Ntag215 | Self::Ntag216 => true,
        }
    }

    /// Whether it knows `FAST_READ`; the others give four pages at a time.
    pub fn has_fast_read(self) -> bool {
        self.has_password()
    }

    /// The page that holds AUTH0, from which page on the card is closed; the page after it holds how. On a card with a
    /// password AUTH0 is byte 3 and ACCESS byte 0 of the next page, then come PWD and PACK. On an Ultralight C AUTH0 is
    /// byte 0 and AUTH1 byte 0 of the next page, then comes the key.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.7; NXP MF0ULx1 data sheet, section 8.5.6; NXP MF0ICU2
    /// data sheet, section 7.5.8.
    pub fn config_page(self) -> Option<PageNumber> {
        let page = match self {
            Self::Ultralight => return None,
            Self::UltralightEv1Small => 16,
            Self::UltralightEv1Large => 37,
            Self::UltralightC => 42,
            Self::Ntag213 => 41,
            Self::Ntag215 => 131,
            Self::Ntag216 => 227,
        };
        Some(PageNumber(page))
    }

    /// The page of the dynamic lock bytes, behind user memory. The first two bytes count on an Ultralight C, three on others.
    pub fn dynamic_lock_page(self) -> Option<PageNumber> {
        match self {
            Self::Ultralight | Self::UltralightEv1Small => None,
            Self::UltralightEv1Large | Self::UltralightC | Self::Ntag213 | Self::Ntag215 | Self::Ntag216 => {
                Some(PageNumber(self.last_user_page() + 1))
            }
        }
    }

    /// The capability container of a card that may carry an NDEF message; `None` for cards that this program puts none on.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.6: E1, version 1.0, memory in units of 8 bytes, no
    /// access conditions.
    pub fn capability_container(self) -> Option<[u8; 4]> {
        let size = match self {
            Self::Ntag213 => 0x12,
            Self::Ntag215 => 0x3E,
            Self::Ntag216 => 0x6D,
            Self::Ultralight | Self::UltralightEv1Small | Self::UltralightEv1Large | Self::UltralightC => return None,
        };
        Some([0xE1, 0x10, size, 0x00])
    }

    /// What the factory writes from page 4 on, other than zero: an empty NDEF message.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.6 (213: a lock control TLV in front).
    pub fn factory_message(self) -> &'static [[u8; 4]] {
        match self {
            Self::Ntag213 => &[[0x01, 0x03, 0xA0, 0x0C], [0x34, 0x03, 0x00, 0xFE]],
            Self::Ntag215 | Self::Ntag216 => &[[0x03, 0x00, 0xFE, 0x00]],
            Self::Ultralight | Self::UltralightEv1Small | Self::UltralightEv1Large | Self::UltralightC => &[],
        }
    }

    /// Reads the eight bytes of an answer to `GET_VERSION`: 00, vendor, product type, subtype, two of version, storage size,
    /// protocol. `None` where it is no card of this family that is known.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, table 26 (vendor 04, product type 04, size 0F is 144 bytes, the
    /// lowest bit meaning "between two powers of two"). UNVERIFIED: product type 03 for Ultralight, sizes 11 and 13 for 215
    /// and 216, from memory of their data sheets.
    pub fn from_version(version: &[u8; 8]) -> Option<Self> {
        match *version {
            [0x00, 0x04, 0x03, _, _, _, 0x0B, 0x03] => Some(Self::UltralightEv1Small),
            [0x00, 0x04, 0x03, _, _, _, 0x0E, 0x03] => Some(Self::UltralightEv1Large),
            [0x00, 0x04, 0x04, _, _, _, 0x0F, 0x03] => Some(Self::Ntag213),
            [0x00, 0x04, 0x04, _, _, _, 0x11, 0x03] => Some(Self::Ntag215),
            [0x00, 0x04, 0x04, _, _, _, 0x13, 0x03] => Some(Self::Ntag216),
            _ => None,
        }
    }
}

impl fmt::Display for Type2Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ultralight => "MIFARE Ultralight",
            Self::UltralightEv1Small => "MIFARE Ultralight EV1, 48 bytes",
            Self::UltralightEv1Large => "MIFARE Ultralight EV1, 128 bytes",
            Self::UltralightC => "MIFARE Ultralight C",
            Self::Ntag213 => "NTAG213",
            Self::Ntag215 => "NTAG215",
            Self::Ntag216 => "NTAG216",
        })
    }
}

/// Recognises a Type 2 card by its SAK; which one it is, the card itself has to say.
///
/// Source: NXP AN10833, table "SAK coding": 00 with ATQA 0044. PC/SC part 3, "Card Name": 0003 Ultralight (and NTAG).
pub fn recognise(target: &Target) -> Option<CardKind> {
    let is_type2 = match target.activation {
        Activation::TypeA { sak, .. } | Activation::Atr(AtrCard::Sak(sak)) => sak == 0x00,
        Activation::Atr(AtrCard::Named(name)) => name == 0x0003 || name == 0x003A,
        Activation::Atr(AtrCard::Iso14443Part4 | AtrCard::Technology(_) | AtrCard::Other) => false,
    };
    is_type2.then_some(CardKind::Type2)
}

/// `GET_VERSION`, as the card hears it.
pub const GET_VERSION: u8 = 0x60;

/// How many pages one exchange of `FAST_READ` asks for: with everything around them they fit a normal frame of a PN532 (255
/// bytes) and a short APDU (256).
pub const FAST_READ_PAGES_MAX: u8 = 60;

/// The page of the capability container.
pub const CAPABILITY_CONTAINER: u8 = 3;

/// Any page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageNumber(u8);

impl PageNumber {
    /// Every `u8` may be asked for; a card refuses what it does not have.
    pub fn new(page: u8) -> Self {
        Self(page)
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A page of user memory, which may be written as data: never UID, lock bytes, OTP or configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataPage(PageNumber);

impl DataPage {
    /// `None` outside of this card's user memory.
    pub fn new(kind: Type2Kind, page: PageNumber) -> Option<Self> {
        (4..=kind.last_user_page()).contains(&page.0).then_some(Self(page))
    }

    /// The page's number.
    pub fn number(self) -> PageNumber {
        self.0
    }
}

impl fmt::Display for DataPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A page of configuration: passwords, keys, where protection begins. Only a personalisation or a raw image holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigPage(PageNumber);

impl ConfigPage {
    /// `None` for a page that is not configuration of this card: behind user memory and dynamic lock bytes.
    pub fn new(kind: Type2Kind, page: PageNumber) -> Option<Self> {
        let first = match kind {
            Type2Kind::Ultralight => return None,
            Type2Kind::UltralightEv1Small => 16,
            Type2Kind::UltralightEv1Large => 37,
            Type2Kind::UltralightC => 42,
            Type2Kind::Ntag213 => 41,
            Type2Kind::Ntag215 => 131,
            Type2Kind::Ntag216 => 227,
        };
        (first..kind.pages()).contains(&page.0).then_some(Self(page))
    }

    /// The page's number.
    pub fn number(self) -> PageNumber {
        self.0
    }
}

/// Four bytes of password: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Password([u8; 4]);

impl Password {
    /// Takes the password's bytes.
    pub fn new(password: [u8; 4]) -> Self {
        Self(password)
    }

    /// The bytes, for a frame or a card's memory and nothing else.
    pub fn expose(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Sixteen bytes of 3DES key (two keys) of an Ultralight C: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct UltralightCKey([u8; 16]);

impl UltralightCKey {
    /// Takes the key's bytes, first key first.
    pub fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// The bytes, for a computation or a card's memory and nothing else.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key as pages 44 to 47 hold it: each half with its last byte first.
    ///
    /// Source: NXP MF0ICU2 data sheet, table "Memory organization" and its example: 49 45 4D 4B 41 45 52 42 and 21 4E 41 43
    /// 55 4F 59 46 stand as 42 52 45 41, 4B 4D 45 49, 46 59 4F 55, 43 41 4E 21.
    pub fn to_pages(&self) -> [Secret<4>; 4] {
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15] = self.0;
        [[k7, k6, k5, k4], [k3, k2, k1, k0], [k15, k14, k13, k12], [k11, k10, k9, k8]].map(Secret::new)
    }
}

impl fmt::Debug for UltralightCKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UltralightCKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn cards_of_documents_have_their_names() {
        // NTAG213F: NXP NTAG213F/216F data sheet, table 26.
        assert_eq!(Type2Kind::from_version(&hex!("0004040101000F03")), Some(Type2Kind::Ntag213));
        // Another vendor, another protocol.
        assert_eq!(Type2Kind::from_version(&hex!("0005040101000F03")), None);
        assert_eq!(Type2Kind::from_version(&hex!("0004040101000F05")), None);
    }

    #[test]
    fn key_of_the_data_sheet_stands_in_its_pages() {
        let key = UltralightCKey::new(hex!("49454D4B41455242 214E4143554F5946"));
        let pages = key.to_pages().map(|page| *page.expose());
        assert_eq!(pages.as_flattened(), b"BREAKMEIFYOUCAN!");
    }

    #[test]
    fn only_user_memory_can_be_named_as_data() {
        for kind in Type2Kind::ALL {
            let data = |page| DataPage::new(kind, PageNumber::new(page)).is_some();
            assert!((0..4).all(|page| !data(page)), "{kind}");
            assert!((4..=kind.last_user_page()).all(data), "{kind}");
            assert!((kind.last_user_page() + 1..=255).all(|page| !data(page)), "{kind}");
        }
    }
}
