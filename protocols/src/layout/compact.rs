//! The compact form of a record, for cards of 48 bytes and for NTAG213 behind an NDEF message.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | credential number: the last four bytes of the credential id |
//! | 4 | 3 | `starts_at` in minutes since 2020-01-01T00:00:00Z, rounded down |
//! | 7 | 3 | `ends_at` in minutes since 2020-01-01T00:00:00Z, rounded up; FFFFFF: no end |
//! | 10 | 2 | door in the upper 12 bits (FFF: none), flags in the lower 4 |
//!
//! Big-endian. Three bytes of minutes last until 2051-11-24. The property's id is not on the card, and the seal covers it.

#[cfg(feature = "alloc")]
use crate::layout::record::Record;
use crate::layout::record::{CredentialId, Flags, PropertyId};
use core::fmt;

/// How long a compact record is, in bytes.
pub const COMPACT_BYTES: usize = 12;

/// How many doors it has at most.
pub const COMPACT_DOORS_MAX: u8 = 1;

/// The highest door that it can name.
pub const COMPACT_DOOR_MAX: u16 = 0x0FFE;

/// 2020-01-01T00:00:00Z in seconds since 1970.
const EPOCH: u32 = 1_577_836_800;

/// The last minute that can be named; the one above it stands for no end.
const MINUTES_MAX: u32 = 0x00FF_FFFE;

/// What is left of a credential's id: its last four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialNumber(pub [u8; 4]);

impl From<CredentialId> for CredentialNumber {
    fn from(id: CredentialId) -> Self {
        let [.., a, b, c, d] = id.0;
        Self([a, b, c, d])
    }
}

impl fmt::Display for CredentialNumber {
    /// Eight digits of lower-case hex, as a UUID ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A moment in minutes since 2020-01-01T00:00:00Z, in three bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(u32);

impl Minute {
    /// No end: FFFFFF on the card.
    pub const NEVER: Self = Self(MINUTES_MAX + 1);

    /// The minute that the second lies in; the first one for anything before 2020. `None` behind 2051.
    pub fn floor(seconds: u32) -> Option<Self> {
        Self::new(seconds.saturating_sub(EPOCH) / 60)
    }

    /// The first minute that is not before the second. `None` behind 2051.
    pub fn ceil(seconds: u32) -> Option<Self> {
        if seconds == u32::MAX { Some(Self::NEVER) } else { Self::new(seconds.saturating_sub(EPOCH).div_ceil(60)) }
    }

    fn new(minutes: u32) -> Option<Self> {
        (minutes <= MINUTES_MAX).then_some(Self(minutes))
    }

    /// Seconds since 1970 UTC; the last second of all for no end, as in the full form.
    pub fn seconds(self) -> u32 {
        // 2^24 minutes from 2020 on end in 2051; 32 bits of seconds last until 2106.
        if self == Self::NEVER { u32::MAX } else { self.0.saturating_mul(60).saturating_add(EPOCH) }
    }

    fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    fn from_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

/// A credential as a small card carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactRecord {
    /// Where it is valid. Not on the card: the seal holds for this property only.
    pub property_id: PropertyId,
    /// Whose it is, as far as four bytes say.
    pub number: CredentialNumber,
    /// What else a lock is to do.
    pub flags: Flags,
    /// Valid from this minute on.
    pub starts_at: Minute,
    /// Valid until this minute.
    pub ends_at: Minute,
    /// The door that it opens, at most [`COMPACT_DOOR_MAX`].
    pub door: Option<u16>,
}

/// Why a credential does not fit a card. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// More doors than fit.
    #[error("{have} doors, the card holds {max}")]
    TooManyDoors {
        /// How many doors the record has.
        have: usize,
        /// How many fit.
        max: usize,
    },
    /// A door that the compact form cannot name.
    #[error("door {door}, the card can name doors up to {max}")]
    DoorTooHigh {
        /// Which.
        door: u16,
        /// The highest that it can name.
        max: u16,
    },
    /// A time that the compact form cannot hold.
    #[error("the credential is valid beyond the year 2051, the last that the card can name")]
    TooLate,
}

impl CompactRecord {
    /// What of a record fits a small card.
    ///
    /// # Errors
    /// [`Misfit`]: more than one door, a door above [`COMPACT_DOOR_MAX`], a time behind 2051.
    #[cfg(feature = "alloc")]
    pub fn of(record: &Record) -> Result<Self, Misfit> {
        let door = match *record.doors.as_slice() {
            [] => None,
            [door] if door > COMPACT_DOOR_MAX => return Err(Misfit::DoorTooHigh { door, max: COMPACT_DOOR_MAX }),
            [door] => Some(door),
            ref doors => {
                return Err(Misfit::TooManyDoors { have: doors.len(), max: usize::from(COMPACT_DOORS_MAX) });
            }
        };
        Ok(Self {
            property_id: record.property_id,
            number: record.credential_id.into(),
            flags: record.flags,
            starts_at: Minute::floor(record.starts_at).ok_or(Misfit::TooLate)?,
            ends_at: Minute::ceil(record.ends_at).ok_or(Misfit::TooLate)?,
            door,
        })
    }

    /// The payload's bytes.
    pub fn encode(&self) -> [u8; COMPACT_BYTES] {
        let [n0, n1, n2, n3] = self.number.0;
        let [s0, s1, s2] = self.starts_at.to_bytes();
        let [e0, e1, e2] = self.ends_at.to_bytes();
        let door = self.door.unwrap_or(COMPACT_DOOR_MAX + 1);
        let [d0, d1] = (door << 4 | u16::from(self.flags.bits())).to_be_bytes();
        [n0, n1, n2, n3, s0, s1, s2, e0, e1, e2, d0, d1]
    }

    /// Reads the payload of a card of this property. Every payload is a record: what it says is for the seal to prove.
    pub fn decode(property_id: PropertyId, payload: &[u8; COMPACT_BYTES]) -> Self {
        let [n0, n1, n2, n3, s0, s1, s2, e0, e1, e2, d0, d1] = *payload;
        let door = u16::from_be_bytes([d0, d1]) >> 4;
        Self {
            property_id,
            number: CredentialNumber([n0, n1, n2, n3]),
            // Four bits, all of which are known.
            flags: Flags::from_bits(d1 & 0x0F).unwrap_or_default(),
            starts_at: Minute::from_bytes([s0, s1, s2]),
            ends_at: Minute::from_bytes([e0, e1, e2]),
            door: (door <= COMPACT_DOOR_MAX).then_some(door),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn record() -> Record {
        Record {
            credential_id: CredentialId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xDE, 0xAD, 0xBE, 0xEF]),
            property_id: PropertyId([0xB2; 16]),
            flags: Flags::JOINER | Flags::COMMON_DOOR,
            starts_at: EPOCH + 60 * 0x0001_0203 + 59,
            ends_at: EPOCH + 60 * 0x0004_0505 + 1,
            issued_at: 7,
            doors: vec![0xABC],
        }
    }

    #[test]
    fn fields_lie_where_the_table_says() {
        let bytes = CompactRecord::of(&record()).unwrap().encode();
        assert_eq!(bytes, [0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4, 5, 6, 0xAB, 0xCA]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let with = |doors, ends_at| CompactRecord::of(&Record { ends_at, doors, ..record() });
        assert_eq!(with(vec![1, 2], 0), Err(Misfit::TooManyDoors { have: 2, max: 1 }));
        assert_eq!(with(vec![4095], 0), Err(Misfit::DoorTooHigh { door: 4095, max: 4094 }));
        assert_eq!(with(vec![1], u32::MAX - 1), Err(Misfit::TooLate));
        assert_eq!(with(vec![], EPOCH).unwrap().door, None);
        assert!(with(vec![4094], EPOCH + 60 * MINUTES_MAX).is_ok());
        assert_eq!(with(vec![4094], EPOCH + 60 * MINUTES_MAX + 1), Err(Misfit::TooLate));
    }

    #[test]
    fn what_has_no_end_has_none_on_the_card() {
        let endless = Record { ends_at: u32::MAX, ..record() };
        let bytes = CompactRecord::of(&endless).unwrap().encode();
        assert_eq!(bytes[7..10], [0xFF; 3]);
        assert_eq!(CompactRecord::decode(endless.property_id, &bytes).ends_at.seconds(), u32::MAX);
    }

    #[test]
    fn validity_is_never_shorter_than_asked_for() {
        let compact = CompactRecord::of(&record()).unwrap();
        assert_eq!(record().starts_at - compact.starts_at.seconds(), 59);
        assert_eq!(compact.ends_at.seconds() - record().ends_at, 59);
    }
}
