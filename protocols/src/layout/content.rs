//! What a slot says, in whichever form.

use crate::layout::compact::{CompactRecord, CredentialNumber, Misfit};
use crate::layout::form::{Form, RecordForm};
use crate::layout::ocl1::SlotFault;
use crate::layout::record::{CredentialId, Flags, PropertyId, Record};

/// A credential as a card carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Full(Record),
    /// What fits a small card.
    Compact(CompactRecord),
}

impl Content {
    /// What of a record this card carries.
    ///
    /// # Errors
    /// [`Misfit`] for what it has no room for.
    pub fn fit(record: &Record, form: Form) -> Result<Self, Misfit> {
        match form.record_form() {
            RecordForm::Full => {
                let (have, max) = (record.doors.len(), usize::from(form.doors_max()));
                if have > max { Err(Misfit::TooManyDoors { have, max }) } else { Ok(Self::Full(record.clone())) }
            }
            RecordForm::Compact => CompactRecord::of(record).map(Self::Compact),
        }
    }

    /// The record, where the card has room for all of it.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Full(record) => Some(record),
            Self::Compact(_) => None,
        }
    }

    /// Whose it is, where the card has room for the whole id.
    pub fn credential_id(&self) -> Option<CredentialId> {
        self.record().map(|record| record.credential_id)
    }

    /// Whose it is, as far as the last four bytes of the id say.
    pub fn number(&self) -> CredentialNumber {
        match self {
            Self::Full(record) => record.credential_id.into(),
            Self::Compact(compact) => compact.number,
        }
    }

    /// Where it is valid.
    pub fn property_id(&self) -> PropertyId {
        match self {
            Self::Full(record) => record.property_id,
            Self::Compact(compact) => compact.property_id,
        }
    }

    /// What else a lock is to do.
    pub fn flags(&self) -> Flags {
        match self {
            Self::Full(record) => record.flags,
            Self::Compact(compact) => compact.flags,
        }
    }

    /// Valid from this second on, since 1970 UTC.
    pub fn starts_at(&self) -> u32 {
        match self {
            Self::Full(record) => record.starts_at,
            Self::Compact(compact) => compact.starts_at.seconds(),
        }
    }

    /// Valid until this second, since 1970 UTC.
    pub fn ends_at(&self) -> u32 {
        match self {
            Self::Full(record) => record.ends_at,
            Self::Compact(compact) => compact.ends_at.seconds(),
        }
    }

    /// When it was made, where the card has room for that.
    pub fn issued_at(&self) -> Option<u32> {
        self.record().map(|record| record.issued_at)
    }

    /// The doors that it opens.
    pub fn doors(&self) -> &[u16] {
        match self {
            Self::Full(record) => &record.doors,
            Self::Compact(compact) => compact.door.as_slice(),
        }
    }
}

/// A credential whose seal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its place in the order of this card's credentials.
    pub sequence: u32,
    /// Which property key it was sealed with.
    pub key_id: u8,
    /// What it says.
    pub content: Content,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing: the seal is zero, from the factory or because the slot was retired.
    Empty,
    /// Something that is no credential of ours: torn, or written by somebody else.
    Invalid(SlotFault),
    /// It cannot be read: our key does not open this sector, or the card refuses a block or a page of it.
    Unreadable {
        /// The first such place.
        at: super::form::Spot,
    },
    /// A credential. Any property's: the key made it, and a plan must not lose it.
    Valid(Sealed),
}

impl SlotState {
    /// The credential whose seal holds.
    pub fn valid(&self) -> Option<&Sealed> {
        match self {
            Self::Valid(sealed) => Some(sealed),
            Self::Empty | Self::Invalid(_) | Self::Unreadable { .. } => None,
        }
    }
}
