//! NFC Forum Type 2 cards, MIFARE Ultralight and NTAG: told apart for their name only. They carry no credential of ours.
//!
//! Readers mostly call all of them Ultralight in their ATR. The card knows better: by `GET_VERSION` where a reader passes
//! commands through, else by its capability container, page 3, which is what its first owner has written there.

use core::fmt;

/// What a Type 2 card says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type2 {
    /// MIFARE Ultralight EV1 and its kin.
    Ultralight,
    /// NTAG with 144 bytes for its user.
    Ntag213,
    /// NTAG with 504 bytes.
    Ntag215,
    /// NTAG with 888 bytes.
    Ntag216,
    /// An NTAG of another size.
    Ntag,
    /// Something else with so many bytes for data, by its capability container; zero where that is not written.
    Sized {
        /// Data area in bytes.
        bytes: u16,
    },
}

/// `GET_VERSION`, as the card hears it.
pub const GET_VERSION: u8 = 0x60;

/// The page of the capability container.
pub const CAPABILITY_CONTAINER: u8 = 3;

impl Type2 {
    /// Reads the eight bytes of an answer to `GET_VERSION`: 00, vendor, product type, subtype, two of version, storage size,
    /// protocol. `None` where it is no chip of NXP or no Type 2 card.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, table 26 (vendor 04, product type 04, size 0F is 144 bytes, the
    /// lowest bit meaning "between two powers of two"). UNVERIFIED: product type 03 for Ultralight, sizes 11 and 13 for 215
    /// and 216, from memory of their data sheets.
    pub fn from_version(version: &[u8; 8]) -> Option<Self> {
        match *version {
            [0x00, 0x04, 0x03, _, _, _, _, 0x03] => Some(Self::Ultralight),
            [0x00, 0x04, 0x04, _, _, _, size, 0x03] => Some(match size {
                0x0F => Self::Ntag213,
                0x11 => Self::Ntag215,
                0x13 => Self::Ntag216,
                _ => Self::Ntag,
            }),
            _ => None,
        }
    }

    /// Reads page 3: E1, version, data area in units of eight bytes, access. What is not written there is zero.
    ///
    /// Source: NFC Forum "Type 2 Tag Operation" 1.1, section 6.1, as quoted in NXP community thread 748580, with `E1 10 12 00`
    /// from an NTAG213.
    pub fn from_capability_container(page: &[u8; 4]) -> Self {
        match *page {
            [0xE1, _, 0x12, _] => Self::Ntag213,
            [0xE1, _, eighths, _] => Self::Sized { bytes: u16::from(eighths) * 8 },
            _ => Self::Sized { bytes: 0 },
        }
    }
}

impl fmt::Display for Type2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ultralight => f.write_str("MIFARE Ultralight"),
            Self::Ntag213 => f.write_str("NTAG213"),
            Self::Ntag215 => f.write_str("NTAG215"),
            Self::Ntag216 => f.write_str("NTAG216"),
            Self::Ntag => f.write_str("NTAG"),
            Self::Sized { bytes: 0 } => f.write_str("Ultralight or NTAG"),
            Self::Sized { bytes } => write!(f, "Ultralight or NTAG, {bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use hex_literal::hex;

    #[test]
    fn cards_of_documents_have_their_names() {
        // NTAG213F: NXP NTAG213F/216F data sheet, table 26.
        assert_eq!(Type2::from_version(&hex!("0004040101000F03")), Some(Type2::Ntag213));
        // Another vendor, another protocol.
        assert_eq!(Type2::from_version(&hex!("0005040101000F03")), None);
        assert_eq!(Type2::from_version(&hex!("0004040101000F05")), None);
        // NXP community thread 748580: an NTAG213; 06 is 48 bytes.
        assert_eq!(Type2::from_capability_container(&hex!("E1101200")), Type2::Ntag213);
        let small = Type2::from_capability_container(&hex!("E1100600"));
        assert_eq!((small, small.to_string().as_str()), (Type2::Sized { bytes: 48 }, "Ultralight or NTAG, 48 bytes"));
        assert_eq!(Type2::from_capability_container(&hex!("00000000")), Type2::Sized { bytes: 0 });
    }
}
