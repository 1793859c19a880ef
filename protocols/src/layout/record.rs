//! What a card says: whose credential it is, when it holds and which doors it opens.
//!
//! The full form, big-endian throughout:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 16 | credential id |
//! | 16 | 16 | property id |
//! | 32 | 1 | flags |
//! | 33 | 4 | `starts_at` |
//! | 37 | 4 | `ends_at` |
//! | 41 | 4 | `issued_at` |
//! | 45 | 1 | how many doors follow |
//! | 46 | 2 each | doors |
//!
//! The times are seconds since 1970-01-01T00:00:00Z, which 32 bits hold until 2106.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::BitOr;

/// The credential's id: the 16 bytes of its UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(pub [u8; 16]);

/// The property's id: the 16 bytes of its UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyId(pub [u8; 16]);

/// What a lock is to do beside opening. Reserved bits cannot be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The cards of the previous guest of these doors end with this one's first use.
    pub const OVERRIDE_PREVIOUS_GUEST: Self = Self(0x01);
    /// One more card for the same stay: it overrides nobody.
    pub const JOINER: Self = Self(0x02);
    /// Opens once.
    pub const ONE_TIME: Self = Self(0x04);
    /// Opens the property's common doors too.
    pub const COMMON_DOOR: Self = Self(0x08);

    const KNOWN: u8 = 0x0F;

    /// From the byte on the card; `None` when a reserved bit is set.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }

    /// The byte on the card.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A credential as the card carries it.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub credential_id: CredentialId,
    /// Where it is valid. A lock refuses another property's record even when the seal holds.
    pub property_id: PropertyId,
    /// What else a lock is to do.
    pub flags: Flags,
    /// Valid from this second on, since 1970 UTC.
    pub starts_at: u32,
    /// Valid until this second, since 1970 UTC.
    pub ends_at: u32,
    /// Made at this second, since 1970 UTC.
    pub issued_at: u32,
    /// The doors that it opens, in the property's own numbering.
    pub doors: Vec<u16>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Bytes are missing.
    #[error("the record ends too early: {have} bytes of {need}")]
    Truncated {
        /// How many bytes the record has by its door count, or up to the count.
        need: usize,
        /// How many there are.
        have: usize,
    },
    /// Bytes follow that belong to no field.
    #[error("{extra} bytes follow the record")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A reserved flag is set: the record says something that this version does not know.
    #[error("reserved flags are set: {bits:02x}")]
    ReservedFlags {
        /// The whole flags byte.
        bits: u8,
    },
}

/// More doors than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{have} doors, there is room for {max}")]
pub struct TooManyDoors {
    /// How many doors the record has.
    pub have: usize,
    /// How many fit.
    pub max: usize,
}

#[cfg(feature = "alloc")]
impl Record {
    /// Where the door count lies in the payload.
    pub const DOOR_COUNT_OFFSET: usize = RecordView::DOOR_COUNT_OFFSET;
    /// How long a record without doors is, in bytes.
    pub const BYTES_MIN: usize = RecordView::BYTES_MIN;

    /// How long a record with that many doors is, in bytes.
    pub fn bytes_for(doors: u8) -> usize {
        RecordView::bytes_for(doors)
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// [`TooManyDoors`] beyond 255, what the count's byte holds; how many fit a card is the layout's to say.
    pub fn encode(&self) -> Result<Vec<u8>, TooManyDoors> {
        let too_many = |_| TooManyDoors { have: self.doors.len(), max: usize::from(u8::MAX) };
        let count = u8::try_from(self.doors.len()).map_err(too_many)?;
        let mut payload = Vec::with_capacity(Self::bytes_for(count));
        payload.extend(self.credential_id.0);
        payload.extend(self.property_id.0);
        payload.push(self.flags.bits());
        for time in [self.starts_at, self.ends_at, self.issued_at] {
            payload.extend(time.to_be_bytes());
        }
        payload.push(count);
        payload.extend(self.doors.iter().flat_map(|door| door.to_be_bytes()));
        Ok(payload)
    }

    /// Reads a payload of exactly the record's length.
    ///
    /// # Errors
    /// [`RecordError::Truncated`], [`RecordError::Trailing`] or [`RecordError::ReservedFlags`].
    pub fn decode(payload: &[u8]) -> Result<Self, RecordError> {
        RecordView::decode(payload).map(|view| view.to_record())
    }
}

/// A record in the memory that it was read into: nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// As in a record.
    pub credential_id: CredentialId,
    /// As in a record.
    pub property_id: PropertyId,
    /// As in a record.
    pub flags: Flags,
    /// As in a record.
    pub starts_at: u32,
    /// As in a record.
    pub ends_at: u32,
    /// As in a record.
    pub issued_at: u32,
    doors: &'a [[u8; 2]],
}

impl RecordView<'_> {
    /// Where the door count lies in the payload.
    pub const DOOR_COUNT_OFFSET: usize = 45;
    /// How long a record without doors is, in bytes.
    pub const BYTES_MIN: usize = 46;

    /// How long a record with that many doors is, in bytes.
    pub fn bytes_for(doors: u8) -> usize {
        Self::BYTES_MIN + 2 * usize::from(doors)
    }
}

impl<'a> RecordView<'a> {
    /// Reads a payload of exactly the record's length.
    ///
    /// # Errors
    /// [`RecordError::Truncated`], [`RecordError::Trailing`] or [`RecordError::ReservedFlags`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, RecordError> {
        let truncated = |need| RecordError::Truncated { need, have: payload.len() };
        let least = truncated(Self::BYTES_MIN);
        let mut rest = payload;
        let credential_id = take::<16>(&mut rest).ok_or(least)?;
        let property_id = take::<16>(&mut rest).ok_or(least)?;
        let [bits] = take::<1>(&mut rest).ok_or(least)?;
        let mut time = || take::<4>(&mut rest).map(u32::from_be_bytes).ok_or(least);
        let (starts_at, ends_at, issued_at) = (time()?, time()?, time()?);
        let [count] = take::<1>(&mut rest).ok_or(least)?;
        let (doors, _) = rest.as_chunks::<2>();
        if rest.len() < 2 * usize::from(count) {
            return Err(truncated(Self::bytes_for(count)));
        }
        if rest.len() > 2 * usize::from(count) {
            return Err(RecordError::Trailing { extra: rest.len() - 2 * usize::from(count) });
        }
        Ok(Self {
            credential_id: CredentialId(credential_id),
            property_id: PropertyId(property_id),
            flags: Flags::from_bits(bits).ok_or(RecordError::ReservedFlags { bits })?,
            starts_at,
            ends_at,
            issued_at,
            doors,
        })
    }

    /// The doors that it opens.
    pub fn doors(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.doors.iter().copied().map(u16::from_be_bytes)
    }

    /// A copy of its own.
    #[cfg(feature = "alloc")]
    pub fn to_record(&self) -> Record {
        let Self { credential_id, property_id, flags, starts_at, ends_at, issued_at, doors: _ } = *self;
        Record { credential_id, property_id, flags, starts_at, ends_at, issued_at, doors: self.doors().collect() }
    }
}

/// Cuts the next `N` bytes off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn record(doors: Vec<u16>) -> Record {
        Record {
            credential_id: CredentialId([0xC1; 16]),
            property_id: PropertyId([0xB2; 16]),
            flags: Flags::JOINER | Flags::COMMON_DOOR,
            starts_at: 0x0102_0304,
            ends_at: 0x0506_0708,
            issued_at: 0x090A_0B0C,
            doors,
        }
    }

    #[test]
    fn fields_lie_where_the_table_says() {
        let payload = record(vec![0x0101, 0xABCD]).encode().unwrap();
        assert_eq!(payload.len(), 50);
        assert_eq!(payload[..16], [0xC1; 16]);
        assert_eq!(payload[16..32], [0xB2; 16]);
        assert_eq!(payload[32..46], [0x0A, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 2]);
        assert_eq!(payload[46..], [0x01, 0x01, 0xAB, 0xCD]);
    }

    #[test]
    fn wrong_length_names_what_is_missing_or_too_much() {
        let payload = record(vec![7]).encode().unwrap();
        assert_eq!(Record::decode(&payload[..45]), Err(RecordError::Truncated { need: 46, have: 45 }));
        assert_eq!(Record::decode(&payload[..47]), Err(RecordError::Truncated { need: 48, have: 47 }));
        let long = [payload.as_slice(), &[0]].concat();
        assert_eq!(Record::decode(&long), Err(RecordError::Trailing { extra: 1 }));
    }

    #[test]
    fn reserved_flags_are_refused() {
        let mut payload = record(vec![]).encode().unwrap();
        for bit in 4..8 {
            payload[32] = 1 << bit;
            assert_eq!(Record::decode(&payload), Err(RecordError::ReservedFlags { bits: 1 << bit }));
        }
    }

    #[test]
    fn more_doors_than_the_count_holds_are_refused() {
        let too_many = record(vec![1; 256]).encode();
        assert_eq!(too_many, Err(TooManyDoors { have: 256, max: 255 }));
        assert!(record(vec![1; 255]).encode().is_ok());
    }
}
