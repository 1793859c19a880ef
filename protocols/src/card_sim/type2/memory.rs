//! What lies where on a Type 2 card, what locks what, and what a write leaves.

use crate::family::type2::{CAPABILITY_CONTAINER, PageNumber, Type2Kind};
use crate::id::Uid;
use alloc::vec;
use alloc::vec::Vec;

/// Manufacturer's code of NXP. Source: ISO/IEC 7816-6, as quoted in the data sheets.
const NXP: u8 = 0x04;
/// Exclusive-ored into the first check byte: the cascade tag. Source: ISO/IEC 14443-3, 6.5.4.
const CASCADE_TAG: u8 = 0x88;
/// AUTH0 of a card whose memory is open to all.
const NOTHING_PROTECTED: u8 = 0xFF;

/// The page of AUTH0.
fn auth0_page(kind: Type2Kind) -> Option<u8> {
    kind.config_page().map(PageNumber::get)
}

/// The page of the dynamic lock bytes.
fn lock_page(kind: Type2Kind) -> Option<u8> {
    kind.dynamic_lock_page().map(PageNumber::get)
}

/// What AUTH0 and ACCESS ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// The first page that is closed; behind the last page: none.
    pub(super) first: u8,
    /// Reading is closed as well.
    pub(super) is_read: bool,
    /// The two pages of configuration can no longer be written.
    pub(super) is_config_locked: bool,
    /// After so many wrong passwords what is closed stays so for ever; 0: no limit.
    pub(super) failures_max: u8,
    /// The counter can be read.
    pub(super) counts: bool,
}

impl Protection {
    const NONE: Self =
        Self { first: NOTHING_PROTECTED, is_read: false, is_config_locked: false, failures_max: 0, counts: false };

    /// Source: MF0ICU2 data sheet, tables 13 and 14 (AUTH0, AUTH1); NTAG213/215/216 data sheet, tables 9 to 11.
    pub(super) fn of(kind: Type2Kind, pages: &[[u8; 4]]) -> Self {
        let first = auth0_page(kind).map(usize::from);
        let two = first.and_then(|first| Some((pages.get(first)?, pages.get(first + 1)?)));
        let Some((first, second)) = two else { return Self::NONE };
        let ([first_byte, .., auth0], [access, ..]) = (first, second);
        if kind == Type2Kind::UltralightC {
            return Self { first: *first_byte, is_read: access & 0x01 == 0, ..Self::NONE };
        }
        Self {
            first: *auth0,
            is_read: access & 0x80 != 0,
            is_config_locked: access & 0x40 != 0,
            failures_max: access & 0x07,
            counts: access & 0x10 != 0,
        }
    }
}

/// Seven bytes in place of whatever a caller had.
pub(super) fn seven_bytes(uid: Uid) -> Uid {
    let bytes = uid.as_bytes();
    let mut seven = [NXP, 0, 0, 0, 0, 0, 0];
    match bytes.last_chunk::<7>() {
        Some(last) => seven = *last,
        None => seven.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, byte)| *to = *byte),
    }
    Uid::new(&seven).unwrap_or(uid)
}

/// The UID in pages 0 and 1, with both check bytes right.
pub(super) fn uid_of(pages: &[[u8; 4]]) -> Option<Uid> {
    let [[u0, u1, u2, check0], [u3, u4, u5, u6], [check1, ..], ..] = *pages else { return None };
    let is_right = check0 == CASCADE_TAG ^ u0 ^ u1 ^ u2 && check1 == u3 ^ u4 ^ u5 ^ u6;
    is_right.then(|| Uid::new(&[u0, u1, u2, u3, u4, u5, u6])).flatten()
}

/// Memory as delivered.
///
/// Source: NTAG213/215/216 data sheet, 8.5.3, 8.5.6 and tables 6 to 8; MF0ULx1, 8.5.3 to 8.5.6; MF0ICU2, 7.5.1 and 7.5.8.
/// UNVERIFIED: that user memory of Ultralight, EV1 and C is zero.
pub(super) fn delivered(kind: Type2Kind, uid: Uid) -> Vec<[u8; 4]> {
    let mut pages = vec![[0; 4]; usize::from(kind.pages())];
    let mut put = |page: u8, content: [u8; 4]| {
        if let Some(memory) = pages.get_mut(usize::from(page)) {
            *memory = content;
        }
    };
    if let [u0, u1, u2, u3, u4, u5, u6] = *uid.as_bytes() {
        put(0, [u0, u1, u2, CASCADE_TAG ^ u0 ^ u1 ^ u2]);
        put(1, [u3, u4, u5, u6]);
        // The internal byte is 48 on all of them.
        put(2, [u3 ^ u4 ^ u5 ^ u6, 0x48, 0x00, 0x00]);
    }
    match kind {
        Type2Kind::Ultralight | Type2Kind::UltralightEv1Small | Type2Kind::UltralightEv1Large => {}
        Type2Kind::UltralightC => {
            put(42, [0x30, 0x00, 0x00, 0x00]);
            // "BREAKMEIFYOUCAN!".
            put(44, *b"BREA");
            put(45, *b"KMEI");
            put(46, *b"FYOU");
            put(47, *b"CAN!");
        }
        Type2Kind::Ntag213 => {
            put(CAPABILITY_CONTAINER, [0xE1, 0x10, 0x12, 0x00]);
            put(4, [0x01, 0x03, 0xA0, 0x0C]);
            put(5, [0x34, 0x03, 0x00, 0xFE]);
        }
        Type2Kind::Ntag215 => {
            put(CAPABILITY_CONTAINER, [0xE1, 0x10, 0x3E, 0x00]);
            put(4, [0x03, 0x00, 0xFE, 0x00]);
        }
        Type2Kind::Ntag216 => {
            put(CAPABILITY_CONTAINER, [0xE1, 0x10, 0x6D, 0x00]);
            put(4, [0x03, 0x00, 0xFE, 0x00]);
        }
    }
    if kind.has_password() {
        let is_ntag = matches!(kind, Type2Kind::Ntag213 | Type2Kind::Ntag215 | Type2Kind::Ntag216);
        let first = kind.pages() - 4;
        // The first byte holds the modulation, strong on NTAG.
        put(first, [if is_ntag { 0x04 } else { 0x00 }, 0x00, 0x00, NOTHING_PROTECTED]);
        put(first + 1, [0x00, 0x05, 0x00, 0x00]);
        put(first + 2, [0xFF; 4]);
        if let Some(page) = lock_page(kind) {
            put(page, [0x00, 0x00, 0x00, 0xBD]);
        }
    }
    pages
}

/// The answer to `GET_VERSION`.
///
/// Source: NTAG213/215/216 data sheet, table 28; MF0ULx1 data sheet, table 15.
pub(super) fn version(kind: Type2Kind) -> Option<[u8; 8]> {
    let (product, subtype, size) = match kind {
        Type2Kind::Ultralight | Type2Kind::UltralightC => return None,
        Type2Kind::UltralightEv1Small => (0x03, 0x01, 0x0B),
        Type2Kind::UltralightEv1Large => (0x03, 0x01, 0x0E),
        Type2Kind::Ntag213 => (0x04, 0x02, 0x0F),
        Type2Kind::Ntag215 => (0x04, 0x02, 0x11),
        Type2Kind::Ntag216 => (0x04, 0x02, 0x13),
    };
    Some([0x00, NXP, product, subtype, 0x01, 0x00, size, 0x03])
}

/// The first page that no READ names. An Ultralight C never tells its key.
pub(super) fn readable_end(kind: Type2Kind) -> u8 {
    if kind == Type2Kind::UltralightC { 44 } else { kind.pages() }
}

/// Password and PACK read as zeros.
pub(super) fn is_never_shown(kind: Type2Kind, page: PageNumber) -> bool {
    kind.has_password() && page.get() + 2 >= kind.pages()
}

/// Whether a write to this page leaves the old or the new content when it is torn, and nothing between.
///
/// Source: NTAG213F/216F data sheet rev. 3.1, page 44: lock bytes and capability container. UNVERIFIED for EV1 and C, whose
/// writes are taken to be as those of the others.
pub(super) fn is_tearing_proof(kind: Type2Kind, page: PageNumber) -> bool {
    kind.has_password() && (matches!(page.get(), 2 | 3) || lock_page(kind) == Some(page.get()))
}

/// What a write leaves in the page, after lock bits; `None` where it is refused.
pub(super) fn written(
    kind: Type2Kind,
    pages: &[[u8; 4]],
    page: PageNumber,
    new: [u8; 4],
    is_config_locked: bool,
) -> Option<[u8; 4]> {
    let number = page.get();
    let old = *pages.get(usize::from(number))?;
    let first_config = auth0_page(kind);
    match number {
        0 | 1 => None,
        2 => Some(static_locks(old, new)),
        3 => (!is_locked(kind, pages, number)).then(|| or(old, new)),
        _ if lock_page(kind) == Some(number) => Some(dynamic_locks(kind, old, new)),
        41 if kind == Type2Kind::UltralightC => (!is_locked(kind, pages, number)).then(|| counted(old, new)).flatten(),
        _ if kind.has_password() && is_config_locked && first_config.is_some_and(|c| (c..c + 2).contains(&number)) => {
            None
        }
        _ => (!is_locked(kind, pages, number)).then_some(new),
    }
}

fn or(old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let mut both = old;
    both.iter_mut().zip(new).for_each(|(old, new)| *old |= new);
    both
}

/// The sixteen-bit counter of an Ultralight C: its first value is free, later ones are steps of 1 to 15.
///
/// Source: MF0ICU2 data sheet, 7.5.11.
fn counted(old: [u8; 4], new: [u8; 4]) -> Option<[u8; 4]> {
    let ([o0, o1, ..], [n0, n1, ..]) = (old, new);
    let (before, asked) = (u16::from_le_bytes([o0, o1]), u16::from_le_bytes([n0, n1]));
    let now = match (before, asked) {
        (0, first) => first,
        (_, step @ 1..=15) => before.checked_add(step)?,
        (_, _) => return None,
    };
    let [low, high] = now.to_le_bytes();
    Some([low, high, 0, 0])
}

/// Pages 2: the lower bits of its third byte freeze lock bits, the others and its fourth lock pages 3 to 15.
///
/// Source: NTAG213/215/216 data sheet, 8.5.2 and figure 8; the same on all of the family.
fn static_locks(old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let ([o0, o1, o2, o3], [_, _, n2, n3]) = (old, new);
    let frozen = |bit: u8, mask: u8| if o2 & bit == 0 { 0 } else { mask };
    let third = n2 & !(frozen(0x01, 0x08) | frozen(0x02, 0xF0));
    let fourth = n3 & !(frozen(0x02, 0x03) | frozen(0x04, 0xFC));
    [o0, o1, o2 | third, o3 | fourth]
}

/// What one bit of the dynamic lock bytes stands for.
struct Locks {
    /// Byte and bit.
    bit: (usize, u8),
    first: u8,
    last: u8,
    /// Byte and bit that freeze it.
    frozen_by: (usize, u8),
}

/// What the dynamic lock bytes lock.
///
/// Source: NTAG213/215/216 data sheet, figures 9 to 11; MF0ULx1, figure 8. UNVERIFIED: those of the Ultralight C (MF0ICU2, 7.5.3), as
/// libfreefare and the Proxmark client print them.
fn dynamic(kind: Type2Kind) -> Vec<Locks> {
    let (step, last_user) = match kind {
        Type2Kind::Ultralight | Type2Kind::UltralightEv1Small => return Vec::new(),
        Type2Kind::UltralightC => return ultralight_c_locks(),
        Type2Kind::UltralightEv1Large | Type2Kind::Ntag213 => (2, kind.last_user_page()),
        Type2Kind::Ntag215 | Type2Kind::Ntag216 => (16, kind.last_user_page()),
    };
    (16..=last_user)
        .step_by(usize::from(step))
        .zip(0_u8..)
        .map(|(first, index)| Locks {
            bit: (usize::from(index / 8), 1 << (index % 8)),
            first,
            last: first.saturating_add(step - 1).min(last_user),
            // One bit freezes two.
            frozen_by: (2, 1 << (index / 2)),
        })
        .collect()
}

fn ultralight_c_locks() -> Vec<Locks> {
    let lock = |bit, pages: core::ops::RangeInclusive<u8>, frozen_by| Locks {
        bit,
        first: *pages.start(),
        last: *pages.end(),
        frozen_by,
    };
    vec![
        lock((0, 0x02), 16..=19, (0, 0x01)),
        lock((0, 0x04), 20..=23, (0, 0x01)),
        lock((0, 0x08), 24..=27, (0, 0x01)),
        lock((0, 0x20), 28..=31, (0, 0x10)),
        lock((0, 0x40), 32..=35, (0, 0x10)),
        lock((0, 0x80), 36..=39, (0, 0x10)),
        lock((1, 0x10), 41..=41, (1, 0x01)),
        lock((1, 0x20), 42..=42, (1, 0x02)),
        lock((1, 0x40), 43..=43, (1, 0x04)),
        lock((1, 0x80), 44..=47, (1, 0x08)),
    ]
}

fn is_set(bytes: [u8; 4], (byte, bit): (usize, u8)) -> bool {
    bytes.get(byte).is_some_and(|byte| byte & bit != 0)
}

/// The lock bytes' page after a write: bits are added, frozen ones and the last byte stay.
fn dynamic_locks(kind: Type2Kind, old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let mut added = new;
    for lock in dynamic(kind).iter().filter(|lock| is_set(old, lock.frozen_by)) {
        let (byte, bit) = lock.bit;
        if let Some(byte) = added.get_mut(byte) {
            *byte &= !bit;
        }
    }
    if let Some(last) = added.last_mut() {
        *last = 0;
    }
    or(old, added)
}

/// Whether a lock bit closes this page.
fn is_locked(kind: Type2Kind, pages: &[[u8; 4]], number: u8) -> bool {
    let page = |number: u8| pages.get(usize::from(number)).copied();
    if (3..16).contains(&number) {
        let bit = if number < 8 { (2, 1 << number) } else { (3, 1 << (number - 8)) };
        return page(2).is_some_and(|locks| is_set(locks, bit));
    }
    let closes = |lock: &Locks, bytes| (lock.first..=lock.last).contains(&number) && is_set(bytes, lock.bit);
    lock_page(kind).and_then(page).is_some_and(|bytes| dynamic(kind).iter().any(|lock| closes(lock, bytes)))
}

/// What is left of a torn write that is all or nothing.
pub(super) fn whole(old: [u8; 4], new: [u8; 4], torn: [u8; 4]) -> [u8; 4] {
    if torn == new { new } else { old }
}
