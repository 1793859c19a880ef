//! OCL/1 on the pages of Type 2 cards: what a slot's memory means, and what is written there.
//!
//! A slot is one run of pages: the seal, then the payload. In the full form what follows the record is zero to the end of
//! its last page; pages behind it are not looked at. Where slots lie: [`Place`].

#[cfg(feature = "alloc")]
use crate::family::type2::DataPage;
use crate::layout::compact::{COMPACT_BYTES, CompactRecord};
#[cfg(feature = "alloc")]
use crate::layout::content::{Content, Sealed, SlotState};
use crate::layout::form::{Place, RecordForm};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{Slot, SlotFault};
use crate::layout::record::{PropertyId, RecordView};
use crate::layout::seal::{COMPACT_SEAL_BYTES, Seal, VERSION, VERSION_COMPACT};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// A credential whose seal holds, in the memory that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked<'a> {
    /// Its place in the order of this card's credentials.
    pub sequence: u32,
    /// Which property key it was sealed with.
    pub key_id: u8,
    /// What it says.
    pub content: ContentView<'a>,
}

/// A credential in the memory that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentView<'a> {
    /// All of it.
    Full(RecordView<'a>),
    /// What fits a small card.
    Compact(CompactRecord),
}

/// Checks a slot of a Type 2 card from its memory, seal first; `None` for an empty one. Allocates nothing.
///
/// The property is that whose compact records are valid: their seal covers it, and it is not on the card.
///
/// # Errors
/// [`SlotFault`]: the MAC's before the record's. Nothing unsealed is interpreted but the door count.
pub fn check<'a>(
    keys: &CardKeys,
    property: PropertyId,
    place: Place,
    slot: Slot,
    memory: &'a [u8],
) -> Result<Option<Checked<'a>>, SlotFault> {
    match place.record_form() {
        RecordForm::Full => {
            let (seal, payload) = memory.split_first_chunk::<16>().ok_or(SlotFault::Mac)?;
            if *seal == [0; 16] {
                return Ok(None);
            }
            let seal = Seal::from_block(seal).ok_or(SlotFault::Padding)?;
            of_ours(&seal, VERSION, keys)?;
            let payload = payload.get(..place.payload_bytes().min(payload.len())).unwrap_or_default();
            let record = check_full(keys, slot, &seal, payload, 4)?;
            Ok(Some(Checked { sequence: seal.sequence, key_id: seal.key_id, content: ContentView::Full(record) }))
        }
        RecordForm::Compact => {
            let (seal, payload) = memory.split_first_chunk::<COMPACT_SEAL_BYTES>().ok_or(SlotFault::Mac)?;
            if *seal == [0; COMPACT_SEAL_BYTES] {
                return Ok(None);
            }
            let seal = Seal::from_compact(seal);
            of_ours(&seal, VERSION_COMPACT, keys)?;
            let payload = payload.first_chunk::<COMPACT_BYTES>().ok_or(SlotFault::Mac)?;
            if !seal.holds_compact(keys, slot, property, payload) {
                return Err(SlotFault::Mac);
            }
            let content = ContentView::Compact(CompactRecord::decode(property, payload));
            Ok(Some(Checked { sequence: seal.sequence, key_id: seal.key_id, content }))
        }
    }
}

/// Checks a full record under a seal of ours: door count, MAC, zeros to the end of the last unit of so many bytes, form.
pub(super) fn check_full<'a>(
    keys: &CardKeys,
    slot: Slot,
    seal: &Seal,
    payload: &'a [u8],
    unit: usize,
) -> Result<RecordView<'a>, SlotFault> {
    let found = payload.get(RecordView::DOOR_COUNT_OFFSET).copied().ok_or(SlotFault::Mac)?;
    let (record, rest) =
        payload.split_at_checked(RecordView::bytes_for(found)).ok_or(SlotFault::DoorCount { found })?;
    if !seal.holds(keys, slot, record) {
        return Err(SlotFault::Mac);
    }
    let padding = record.len().next_multiple_of(unit) - record.len();
    if rest.iter().take(padding).any(|&byte| byte != 0) {
        return Err(SlotFault::Padding);
    }
    RecordView::decode(record).map_err(SlotFault::Record)
}

/// Whether it is a seal that we could have made, with the current key or an older one.
pub(super) fn of_ours(seal: &Seal, version: u8, keys: &CardKeys) -> Result<(), SlotFault> {
    if seal.version != version {
        return Err(SlotFault::Version { found: seal.version });
    }
    if keys.seal_key_of(seal.key_id).is_none() {
        return Err(SlotFault::KeyId { found: seal.key_id });
    }
    Ok(())
}

/// Judges a slot from its memory, as [`check`] does.
#[cfg(feature = "alloc")]
pub fn judge(keys: &CardKeys, property: PropertyId, place: Place, slot: Slot, memory: &[[u8; 4]]) -> SlotState {
    match check(keys, property, place, slot, memory.as_flattened()) {
        Ok(None) => SlotState::Empty,
        Ok(Some(Checked { sequence, key_id, content })) => {
            let content = match content {
                ContentView::Full(record) => Content::Full(record.to_record()),
                ContentView::Compact(compact) => Content::Compact(compact),
            };
            SlotState::Valid(Sealed { sequence, key_id, content })
        }
        Err(fault) => SlotState::Invalid(fault),
    }
}

/// A slot's content as it is written: the pages in use.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageImage {
    /// On which card.
    pub place: Place,
    /// Which slot.
    pub slot: Slot,
    /// The seal's pages.
    pub seal: Vec<[u8; 4]>,
    /// The payload's pages in order, padded with zero.
    pub payload: Vec<[u8; 4]>,
}

#[cfg(feature = "alloc")]
impl PageImage {
    /// Seals a credential for a slot. `None` when it does not fit, which [`Content::fit`] says before, or when the sequence
    /// has come to its end.
    pub fn new(keys: &CardKeys, place: Place, slot: Slot, sequence: u32, content: &Content) -> Option<Self> {
        let (seal, payload) = match (content, place.record_form()) {
            (Content::Full(record), RecordForm::Full) => {
                let bytes = record.encode().ok().filter(|bytes| bytes.len() <= place.payload_bytes())?;
                (pages(&Seal::new(keys, slot, sequence, &bytes).to_block()), pages(&bytes))
            }
            (Content::Compact(compact), RecordForm::Compact) => {
                let seal = Seal::compact(keys, slot, u16::try_from(sequence).ok()?, compact);
                (pages(&seal.to_compact()), pages(&compact.encode()))
            }
            (Content::Full(_), RecordForm::Compact) | (Content::Compact(_), RecordForm::Full) => return None,
        };
        Some(Self { place, slot, seal, payload })
    }

    /// The seal's pages with their places.
    pub fn seal_pages(&self) -> impl Iterator<Item = (DataPage, [u8; 4])> {
        self.place.pages(self.slot).zip(self.seal.iter().copied())
    }

    /// The payload's pages with their places.
    pub fn payload_pages(&self) -> impl Iterator<Item = (DataPage, [u8; 4])> {
        self.place.pages(self.slot).skip(self.seal.len()).zip(self.payload.iter().copied())
    }

    /// All pages in use, the seal first.
    pub fn pages(&self) -> impl Iterator<Item = (DataPage, [u8; 4])> {
        self.seal_pages().chain(self.payload_pages())
    }
}

#[cfg(feature = "alloc")]
fn pages(bytes: &[u8]) -> Vec<[u8; 4]> {
    let padded = |chunk: &[u8]| {
        let mut page = [0; 4];
        for (byte, value) in page.iter_mut().zip(chunk) {
            *byte = *value;
        }
        page
    };
    bytes.chunks(4).map(padded).collect()
}
