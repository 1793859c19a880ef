//! What a card answers at activation: UID, ATQA, SAK.

use core::fmt;
use core::str::FromStr;

/// A card's UID of 4, 7 or 10 bytes.
///
/// Source: ISO/IEC 14443-3, 6.5.4 (single, double and triple size UID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid {
    bytes: [u8; 10],
    len: u8,
}

impl Uid {
    /// Takes the UID's bytes, most significant first as the card sends them; `None` unless there are 4, 7 or 10.
    pub fn new(uid: &[u8]) -> Option<Self> {
        let len = match uid.len() {
            4 => 4,
            7 => 7,
            10 => 10,
            _ => return None,
        };
        let mut bytes = [0; 10];
        bytes.get_mut(..uid.len())?.copy_from_slice(uid);
        Some(Self { bytes, len })
    }

    /// The UID's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The last four bytes, which MIFARE Classic authentication takes for UIDs of every size.
    ///
    /// Source: libnfc `utils/nfc-mfclassic.c`, which hands the last four bytes of any UID to the reader.
    pub fn last_four(&self) -> [u8; 4] {
        self.as_bytes().last_chunk::<4>().copied().unwrap_or_default()
    }
}

impl fmt::Display for Uid {
    /// Lower-case hex without separators: the API's `card_number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

/// Not 4, 7 or 10 bytes of hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UID is 4, 7 or 10 bytes in hex, such as 04a1b2c3")]
pub struct UidParseError;

impl FromStr for Uid {
    type Err = UidParseError;

    fn from_str(text: &str) -> Result<Self, UidParseError> {
        let digits = text.as_bytes();
        let mut bytes = [0; 10];
        if !digits.len().is_multiple_of(2) || digits.len() > 20 {
            return Err(UidParseError);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| UidParseError)?;
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(UidParseError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| UidParseError)?;
        }
        Self::new(bytes.get(..digits.len() / 2).ok_or(UidParseError)?).ok_or(UidParseError)
    }
}

/// What a reader found in its field: one activated card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The card's UID.
    pub uid: Uid,
    /// What else is known of it.
    pub activation: Activation,
}

/// What a reader tells of a card besides its UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The card's own answers.
    TypeA {
        /// ATQA, most significant byte first as the PN532 prints it (`0004` for a Classic 1K).
        atqa: [u8; 2],
        /// SAK of the last cascade level.
        sak: u8,
    },
    /// What a PC/SC reader made of them in its ATR. A hint: readers differ in it.
    Atr(AtrCard),
}

/// The card that an ATR names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtrCard {
    /// A storage card with this name, `NN NN` of PC/SC part 3.
    Named(u16),
    /// A storage card with this SAK, as ACS readers say it: `FF SAK` in place of a name.
    Sak(u8),
    /// A card that speaks ISO/IEC 14443-4.
    Iso14443Part4,
    /// A storage card of another radio technology.
    Technology(Technology),
    /// Anything else, contact cards among them.
    Other,
}

/// A radio technology beside ISO/IEC 14443 A, as a reader behind PC/SC tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Technology {
    /// ISO/IEC 14443 B.
    TypeB,
    /// `FeliCa`.
    Felica,
    /// ISO/IEC 15693, the vicinity cards.
    Iso15693,
}

impl fmt::Display for Technology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TypeB => "ISO/IEC 14443 B",
            Self::Felica => "FeliCa",
            Self::Iso15693 => "ISO/IEC 15693",
        })
    }
}

impl Target {
    /// A card that told ATQA and SAK.
    pub fn type_a(uid: Uid, atqa: [u8; 2], sak: u8) -> Self {
        Self { uid, activation: Activation::TypeA { atqa, sak } }
    }

    /// ATQA and SAK, where the reader tells them.
    pub fn atqa_sak(&self) -> Option<([u8; 2], u8)> {
        match self.activation {
            Activation::TypeA { atqa, sak } => Some((atqa, sak)),
            Activation::Atr(_) => None,
        }
    }
}

/// What a look at the field found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Nothing answered.
    None,
    /// One card, activated.
    One(Target),
    /// Two cards or more. Nothing may be written.
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn uid_has_four_seven_or_ten_bytes() {
        for len in 0..=12_usize {
            let uid = Uid::new(&[0xA5; 12][..len]);
            assert_eq!(uid.is_some(), matches!(len, 4 | 7 | 10), "{len}");
        }
    }

    #[test]
    fn uid_text_is_hex_both_ways() {
        let uid: Uid = "04A1b2c3d4e5f6".parse().unwrap();
        assert_eq!(uid.as_bytes(), [0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6]);
        assert_eq!(uid.to_string(), "04a1b2c3d4e5f6");
        assert_eq!(uid.last_four(), [0xC3, 0xD4, 0xE5, 0xF6]);
        for bad in ["", "04a1b2", "04a1b2c", "+4a1b2c3", "zza1b2c3", "04a1b2c3d4e5f60718293a4b"] {
            assert_eq!(bad.parse::<Uid>(), Err(UidParseError), "{bad}");
        }
    }
}
