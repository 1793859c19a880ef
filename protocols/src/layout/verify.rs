//! What a lock does with a card's memory: does it open this door now, and if not, why.
//!
//! Nothing here allocates, needs a standard library, reads a clock or writes to a card: the crate without its feature `alloc`
//! is this and what lies below it. What a lock has to keep between cards is in `docs/locks.md`.

use crate::family::type2::Type2Kind;
use crate::layout::compact::CredentialNumber;
use crate::layout::form::Place;
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{self, SealState, Slot, SlotFault};
use crate::layout::pages::{Checked, ContentView, check, check_full};
use crate::layout::record::{Flags, PropertyId};

/// A card's memory, as far as it was read. What was not read counts as empty.
#[derive(Clone, Copy, Debug)]
pub enum Memory<'a> {
    /// A MIFARE Classic card from block 0 on, 16 bytes a block; 19 blocks are enough.
    Classic(&'a [u8]),
    /// A Type 2 card from page 0 on, 4 bytes a page.
    Pages {
        /// Where the slots lie: [`Place::of`], or [`place`] for a card that says so itself.
        place: Place,
        /// The pages.
        pages: &'a [u8],
    },
}

/// Where the slots lie on a Type 2 card of which all pages are there: on an NTAG213 its AUTH0 says so.
pub fn place(kind: Type2Kind, pages: &[u8]) -> Place {
    let auth0 = kind.config_page().filter(|_| kind.has_password()).and_then(|page| {
        let at = 4 * usize::from(page.get()) + 3;
        pages.get(at).copied()
    });
    auth0.and_then(|auth0| Place::by_auth0(kind, auth0)).unwrap_or(Place::of(kind, false))
}

/// What a lock knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The property that it belongs to.
    pub property: PropertyId,
    /// Its door, in the property's numbering.
    pub door: u16,
    /// Whether it is one of the property's common doors.
    pub is_common: bool,
    /// When the newest credential was made that was used here and that overrides previous guests; see [`Opened::remember`].
    pub newest: Option<u32>,
}

/// A credential that opens the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whose it is, as far as the last four bytes of its id say.
    pub credential: CredentialNumber,
    /// Until when, in seconds since 1970 UTC.
    pub ends_at: u32,
    /// What else the lock is to do.
    pub flags: Flags,
    /// What the lock has to remember as [`Lock::newest`]: earlier guests' cards no longer open this door.
    pub remember: Option<u32>,
}

/// Why the door stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No slot holds a credential of this property's key. With what is wrong with the slots that are not empty.
    #[error("the card holds no valid credential")]
    NoCredential {
        /// Slot A.
        a: Option<SlotFault>,
        /// Slot B.
        b: Option<SlotFault>,
    },
    /// It is valid at another property.
    #[error("the credential is another property's")]
    OtherProperty,
    /// It is not valid yet.
    #[error("the credential is valid from {starts_at} on, in seconds since 1970")]
    NotYet {
        /// From when on, in seconds since 1970 UTC.
        starts_at: u32,
    },
    /// It is not valid any more.
    #[error("the credential was valid until {ends_at}, in seconds since 1970")]
    Expired {
        /// Until when, in seconds since 1970 UTC.
        ends_at: u32,
    },
    /// It is for other doors.
    #[error("the credential is for other doors")]
    OtherDoor,
    /// A later guest has used this door.
    #[error("a later guest's card has taken this one's place")]
    Overridden,
}

/// Whether a card opens this door at this second, since 1970 UTC.
///
/// Of two valid slots the one with the higher sequence counts, and it alone: an older credential beside it is not asked.
///
/// # Errors
/// [`Refusal`].
pub fn verify(memory: Memory<'_>, keys: &CardKeys, lock: &Lock, now: u32) -> Result<Opened, Refusal> {
    let mut buffers = [[0; 80]; 2];
    let [a_buffer, b_buffer] = &mut buffers;
    let a = slot(memory, keys, lock.property, Slot::A, a_buffer);
    let b = slot(memory, keys, lock.property, Slot::B, b_buffer);
    let current = match (a, b) {
        (Ok(Some(a)), Ok(Some(b))) if b.sequence > a.sequence => b,
        (Ok(Some(current)), _) | (_, Ok(Some(current))) => current,
        (a, b) => return Err(Refusal::NoCredential { a: a.err(), b: b.err() }),
    };
    judge(&current.content, lock, now)
}

fn judge(content: &ContentView<'_>, lock: &Lock, now: u32) -> Result<Opened, Refusal> {
    let (property, starts_at, ends_at, flags, made_at, credential, lists_door) = match content {
        ContentView::Full(record) => (
            record.property_id,
            record.starts_at,
            record.ends_at,
            record.flags,
            record.issued_at,
            record.credential_id.into(),
            record.doors().any(|door| door == lock.door),
        ),
        // The compact form does not say when it was made: its beginning stands in.
        ContentView::Compact(record) => (
            record.property_id,
            record.starts_at.seconds(),
            record.ends_at.seconds(),
            record.flags,
            record.starts_at.seconds(),
            record.number,
            record.door == Some(lock.door),
        ),
    };
    if property != lock.property {
        return Err(Refusal::OtherProperty);
    }
    if now < starts_at {
        return Err(Refusal::NotYet { starts_at });
    }
    if now >= ends_at {
        return Err(Refusal::Expired { ends_at });
    }
    let is_common = lock.is_common && flags.contains(Flags::COMMON_DOOR);
    if !lists_door && !is_common {
        return Err(Refusal::OtherDoor);
    }
    if lock.newest.is_some_and(|newest| made_at < newest) {
        return Err(Refusal::Overridden);
    }
    let remember = flags.contains(Flags::OVERRIDE_PREVIOUS_GUEST).then_some(made_at);
    Ok(Opened { credential, ends_at, flags, remember })
}

/// Checks one slot; `None` for an empty one. The buffer takes a Classic card's payload, which lies in two sectors.
fn slot<'a>(
    memory: Memory<'a>,
    keys: &CardKeys,
    property: PropertyId,
    slot: Slot,
    buffer: &'a mut [u8; 80],
) -> Result<Option<Checked<'a>>, SlotFault> {
    match memory {
        Memory::Classic(blocks) => {
            let block = |number: u8| blocks.as_chunks::<16>().0.get(usize::from(number)).copied().unwrap_or_default();
            let seal = match ocl1::judge_seal(keys, &block(slot.seal_block().number().get())) {
                SealState::Empty => return Ok(None),
                SealState::Invalid(fault) => return Err(fault),
                SealState::Present(seal) => seal,
            };
            for (place, payload) in buffer.as_chunks_mut::<16>().0.iter_mut().zip(slot.payload_blocks()) {
                *place = block(payload.number().get());
            }
            let record = check_full(keys, slot, &seal, buffer.as_slice(), 16)?;
            Ok(Some(Checked { sequence: seal.sequence, key_id: seal.key_id, content: ContentView::Full(record) }))
        }
        Memory::Pages { place, pages } => {
            let first = 4 * usize::from(place.slot_page(slot).get());
            let end = first + 4 * usize::from(place.slot_pages());
            match pages.get(first..end.min(pages.len())) {
                Some(memory) if !memory.is_empty() => check(keys, property, place, slot, memory),
                Some(_) | None => Ok(None),
            }
        }
    }
}
