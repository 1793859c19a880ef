//! NFC Forum Type 2 cards: MIFARE Ultralight, EV1 and C, NTAG213, 215 and 216.
//!
//! | file | what |
//! | --- | --- |
//! | `memory` | what lies where when the card is new, lock bits, what may be written |
//!
//! Source: NXP data sheets MF0ICU1, MF0ULx1, MF0ICU2, NTAG213/215/216 (section "Command overview" of each). One line each
//! where a card is known to do something that they do not say.

mod memory;

use super::{Activation, CardError, DumpError, Request, Wear};
use crate::family::type2::{GET_VERSION, PageNumber, Password, Type2Kind};
use crate::family::ultralight_c::{self, AUTHENTICATE, DONE, MORE};
use crate::id::{Target, Uid};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use memory::Protection;

/// Commands on the air.
mod command {
    pub(super) const READ: u8 = 0x30;
    pub(super) const READ_COUNTER: u8 = 0x39;
    pub(super) const FAST_READ: u8 = 0x3A;
    pub(super) const READ_SIGNATURE: u8 = 0x3C;
    pub(super) const CHECK_TEARING: u8 = 0x3E;
    pub(super) const PASSWORD: u8 = 0x1B;
    pub(super) const COMPATIBILITY_WRITE: u8 = 0xA0;
    pub(super) const WRITE: u8 = 0xA2;
    pub(super) const INCREMENT_COUNTER: u8 = 0xA5;
}

/// What a card answers to a command that it carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AirAnswer {
    /// Four bits of 1010.
    Ack,
    /// Bytes, without their CRC.
    Bytes(Vec<u8>),
}

/// What a command leads to.
pub(super) enum Deed {
    /// An answer at once.
    Answer(AirAnswer),
    /// A page's new content, and ACK when it is there.
    Store(PageNumber, [u8; 4]),
    /// Not a command of this card: it does not answer and falls back.
    Unknown,
}

/// What the next command is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// The second message of a mutual authentication, for this random number.
    Proof([u8; 8]),
    /// Sixteen bytes for this page, of which four count.
    Write(PageNumber),
}

/// Bits of a page that an interrupted write left between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WeakBits {
    page: PageNumber,
    mask: [u8; 4],
    inverted: bool,
}

/// A Type 2 card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type2Card {
    kind: Type2Kind,
    uid: Uid,
    pages: Vec<[u8; 4]>,
    activation: Activation,
    /// What AUTH0 and ACCESS said when power came; what they say by now counts from the next time on.
    ///
    /// Source: NTAG213/215/216 data sheet, 8.5.7; NXP community thread 795227. UNVERIFIED: that an Ultralight C latches as well.
    protection: Protection,
    is_open: bool,
    pending: Pending,
    /// Wrong passwords since the last right one, while AUTHLIM counts them. Outlasts power.
    failures: u8,
    counters: [u32; 3],
    /// How many random numbers it has made.
    randoms: u64,
    next_random: Option<[u8; 8]>,
    weak_bits: Option<WeakBits>,
    wear: BTreeMap<PageNumber, Wear>,
}

impl Type2Card {
    /// A card as it leaves the factory.
    ///
    /// A UID of another length than seven bytes is brought to seven: no Type 2 card of NXP has another.
    pub fn blank(kind: Type2Kind, uid: Uid) -> Self {
        let uid = memory::seven_bytes(uid);
        Self::with_pages(kind, uid, memory::delivered(kind, uid))
    }

    /// A card with the content of a raw dump, passwords and keys included: the form of libnfc's `nfc-mfultralight`.
    ///
    /// # Errors
    /// [`DumpError`] when the length is not the kind's or pages 0 to 2 hold no UID with its check bytes.
    pub fn from_dump(kind: Type2Kind, dump: &[u8]) -> Result<Self, DumpError> {
        let need = usize::from(kind.pages()) * 4;
        if dump.len() != need {
            return Err(DumpError::Length { need, have: dump.len() });
        }
        let pages = dump.as_chunks::<4>().0.to_vec();
        let uid = memory::uid_of(&pages).ok_or(DumpError::NoUid)?;
        Ok(Self::with_pages(kind, uid, pages))
    }

    fn with_pages(kind: Type2Kind, uid: Uid, pages: Vec<[u8; 4]>) -> Self {
        Self {
            kind,
            uid,
            protection: Protection::of(kind, &pages),
            pages,
            activation: Activation::Idle,
            is_open: false,
            pending: Pending::Nothing,
            failures: 0,
            counters: [0; 3],
            randoms: 0,
            next_random: None,
            weak_bits: None,
            wear: BTreeMap::new(),
        }
    }

    /// The whole memory, passwords and keys included.
    pub fn dump(&self) -> Vec<u8> {
        self.pages.concat()
    }

    /// Replaces memory and UID by those of a dump of the same kind. The card is as if it had just been placed.
    ///
    /// # Errors
    /// As [`Type2Card::from_dump`]; the card stays as it was.
    pub fn load(&mut self, dump: &[u8]) -> Result<(), DumpError> {
        *self = Self::from_dump(self.kind, dump)?;
        Ok(())
    }

    /// Which one it is.
    pub fn kind(&self) -> Type2Kind {
        self.kind
    }

    /// Its UID.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// What it answers at activation. Source: NXP AN10833, tables "SAK coding" and "ATQA coding".
    pub fn target(&self) -> Target {
        Target::type_a(self.uid, [0x00, 0x44], 0x00)
    }

    /// A page as it lies in memory, whatever may be read; `None` beyond the card's end.
    pub fn memory(&self, page: PageNumber) -> Option<&[u8; 4]> {
        self.pages.get(usize::from(page.get()))
    }

    /// Changes memory behind the card's back: what a torn write leaves, or what a test wants there. What AUTH0 and ACCESS
    /// say acts when power comes next.
    pub fn set_memory(&mut self, page: PageNumber, content: [u8; 4]) {
        if let Some(memory) = self.pages.get_mut(usize::from(page.get())) {
            *memory = content;
            if self.weak_bits.is_some_and(|weak| weak.page == page) {
                self.weak_bits = None;
            }
        }
    }

    /// Makes bits of one page weak: every other read shows them inverted, until the page is written.
    ///
    /// Source: Quarkslab, "EEPROM: When Tearing-Off Becomes a Security Issue": interrupted writes leave such bits.
    pub fn set_weak_bits(&mut self, page: PageNumber, mask: [u8; 4]) {
        self.weak_bits = Some(WeakBits { page, mask, inverted: false });
    }

    /// Wears a page out.
    pub fn wear_out(&mut self, page: PageNumber, wear: Wear) {
        self.wear.insert(page, wear);
    }

    /// How a page is worn, if it is.
    pub fn wear(&self, page: PageNumber) -> Option<Wear> {
        self.wear.get(&page).copied()
    }

    /// How many wrong passwords it has counted.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// Determines the random number of its next authentication, for published examples.
    pub fn set_next_random(&mut self, random: [u8; 8]) {
        self.next_random = Some(random);
    }

    /// Takes REQA or WUPA; true when it answers. A selected card does not and falls back to IDLE or HALT.
    pub fn request(&mut self, request: Request) -> bool {
        self.forget_session();
        self.activation.request(request)
    }

    /// Selects the card, from whatever state it is in, closed.
    pub fn select(&mut self) -> Target {
        self.forget_session();
        self.activation = self.activation.selected();
        self.target()
    }

    /// Sends it to HALT, from where only WUPA wakes it.
    pub fn halt(&mut self) {
        self.forget_session();
        self.activation = Activation::Halt;
    }

    /// Takes its power away: memory stays, everything else is forgotten, and AUTH0 and ACCESS act as they are by then.
    pub fn power_off(&mut self) {
        self.forget_session();
        self.activation = Activation::Idle;
        self.protection = Protection::of(self.kind, &self.pages);
    }

    /// What a write does to memory that can still be written, torn or not.
    pub(super) fn store(&mut self, page: PageNumber, new: [u8; 4], torn: Option<[u8; 4]>) {
        if self.wear(page) == Some(Wear::Stuck) {
            return;
        }
        let old = self.memory(page).copied().unwrap_or_default();
        let content = match torn {
            Some(torn) if memory::is_tearing_proof(self.kind, page) => memory::whole(old, new, torn),
            Some(torn) => torn,
            None => new,
        };
        self.set_memory(page, content);
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    pub(super) fn activation_mut(&mut self) -> &mut Activation {
        &mut self.activation
    }

    pub(super) fn forget_session(&mut self) {
        self.is_open = false;
        self.pending = Pending::Nothing;
    }

    /// Falls back as after anything that it refuses: whatever it refuses, it has to be selected again.
    fn fail<T>(&mut self, error: CardError) -> Result<T, CardError> {
        self.forget_session();
        self.activation = self.activation.fallen();
        Err(error)
    }

    /// Takes a command, without its CRC.
    ///
    /// # Errors
    /// `Nak` for what it refuses or does not know; `Silent` when it is not selected. Either way it falls back. The first
    /// Ultralight says nothing at all to what it does not know, the C says NAK (Proxmark client, `GetHF14AMfU_Type`; libnfc's
    /// `nfc-mfultralight` gets on with the one and not with the other).
    pub(super) fn handle(&mut self, bytes: &[u8]) -> Result<Deed, CardError> {
        if !matches!(self.activation, Activation::Active { .. }) {
            return self.fail(CardError::Silent);
        }
        let pending = core::mem::replace(&mut self.pending, Pending::Nothing);
        match self.carry_out(bytes, pending) {
            Some(deed) => Ok(deed),
            None if self.kind == Type2Kind::Ultralight && !is_first_commands(bytes) => self.fail(CardError::Silent),
            None => self.fail(CardError::Nak),
        }
    }

    /// `None`: NAK.
    fn carry_out(&mut self, bytes: &[u8], pending: Pending) -> Option<Deed> {
        match pending {
            Pending::Nothing => {}
            Pending::Proof(random) => return self.prove(bytes, random),
            Pending::Write(page) => {
                let data = bytes.first_chunk::<4>().filter(|_| bytes.len() == 16)?;
                return self.write(page, *data);
            }
        }
        let has_commands = self.kind.has_password();
        let is_ev1 = matches!(self.kind, Type2Kind::UltralightEv1Small | Type2Kind::UltralightEv1Large);
        match *bytes {
            [command::READ, page] => self.read(page).map(bytes_answer),
            [command::WRITE, page, b0, b1, b2, b3] => self.write(PageNumber::new(page), [b0, b1, b2, b3]),
            [command::COMPATIBILITY_WRITE, page] => {
                let page = PageNumber::new(page);
                let old = *self.memory(page)?;
                self.written(page, old)?;
                self.pending = Pending::Write(page);
                Some(Deed::Answer(AirAnswer::Ack))
            }
            [GET_VERSION] if has_commands => memory::version(self.kind).map(bytes_answer),
            [command::FAST_READ, first, last] if has_commands => self.fast_read(first, last).map(bytes_answer),
            [command::PASSWORD, p0, p1, p2, p3] if has_commands => self.open(&Password::new([p0, p1, p2, p3])),
            // A signature by NXP's key, which nobody else can make.
            [command::READ_SIGNATURE, 0x00] if has_commands => Some(bytes_answer(vec![0; 32])),
            [command::READ_COUNTER, number] if has_commands => self.counter(number).map(bytes_answer),
            [command::INCREMENT_COUNTER, number, low, middle, high, _] if is_ev1 => {
                let counter = self.counters.get_mut(usize::from(number))?;
                *counter = counter
                    .checked_add(u32::from_le_bytes([low, middle, high, 0]))
                    .filter(|sum| *sum <= 0x00FF_FFFF)?;
                Some(Deed::Answer(AirAnswer::Ack))
            }
            [command::CHECK_TEARING, 0..=2] if is_ev1 => Some(bytes_answer(vec![0xBD])),
            [AUTHENTICATE, 0x00] if self.kind == Type2Kind::UltralightC => {
                let random = self.random();
                self.is_open = false;
                self.pending = Pending::Proof(random);
                let encrypted = ultralight_c::encrypted_random(&self.key()?, random);
                Some(bytes_answer([&[MORE], &encrypted[..]].concat()))
            }
            _ => None,
        }
    }

    /// Four pages, after the last one from page 0 on.
    ///
    /// Source: NTAG213/215/216 data sheet, 10.2: behind what may be read it goes on with page 0, whether the card's end or a
    /// protected page comes first. UNVERIFIED: the second for an Ultralight C.
    fn read(&mut self, first: u8) -> Option<Vec<u8>> {
        let mut end = memory::readable_end(self.kind);
        if self.protection.is_read && !self.is_open {
            end = end.min(self.protection.first);
        }
        if first >= end {
            return None;
        }
        let mut bytes = Vec::with_capacity(16);
        for offset in 0..4_u16 {
            let page = u8::try_from((u16::from(first) + offset) % u16::from(end)).ok()?;
            bytes.extend(self.shown(PageNumber::new(page))?);
        }
        Some(bytes)
    }

    fn fast_read(&mut self, first: u8, last: u8) -> Option<Vec<u8>> {
        let is_closed = self.protection.is_read && !self.is_open && last >= self.protection.first;
        if first > last || last >= memory::readable_end(self.kind) || is_closed {
            return None;
        }
        let mut bytes = Vec::with_capacity(4 * usize::from(last - first + 1));
        for page in first..=last {
            bytes.extend(self.shown(PageNumber::new(page))?);
        }
        Some(bytes)
    }

    /// A page as a read shows it.
    fn shown(&mut self, page: PageNumber) -> Option<[u8; 4]> {
        if self.wear(page) == Some(Wear::Dead) {
            return None;
        }
        if memory::is_never_shown(self.kind, page) {
            return Some([0; 4]);
        }
        let mut content = *self.memory(page)?;
        if let Some(weak) = self.weak_bits.as_mut().filter(|weak| weak.page == page) {
            if weak.inverted {
                content.iter_mut().zip(weak.mask).for_each(|(byte, mask)| *byte ^= mask);
            }
            weak.inverted = !weak.inverted;
        }
        Some(content)
    }

    fn write(&self, page: PageNumber, data: [u8; 4]) -> Option<Deed> {
        let content = self.written(page, data)?;
        Some(Deed::Store(page, content))
    }

    /// What a write would leave in the page, after all checks.
    fn written(&self, page: PageNumber, data: [u8; 4]) -> Option<[u8; 4]> {
        let is_closed = page.get() >= self.protection.first && !self.is_open;
        let locks_config = self.protection.is_config_locked;
        if is_closed || self.wear(page) == Some(Wear::Dead) {
            return None;
        }
        memory::written(self.kind, &self.pages, page, data, locks_config)
    }

    fn open(&mut self, password: &Password) -> Option<Deed> {
        let limit = self.protection.failures_max;
        if limit > 0 && self.failures >= limit {
            return None;
        }
        let place = self.kind.pages() - 2;
        if self.memory(PageNumber::new(place)) != Some(password.expose()) {
            self.failures = if limit > 0 { self.failures.saturating_add(1) } else { 0 };
            return None;
        }
        self.failures = 0;
        self.is_open = true;
        let pack = self.memory(PageNumber::new(place + 1))?;
        pack.first_chunk::<2>().map(|pack| bytes_answer(pack.to_vec()))
    }

    fn counter(&self, number: u8) -> Option<Vec<u8>> {
        let is_ev1 = matches!(self.kind, Type2Kind::UltralightEv1Small | Type2Kind::UltralightEv1Large);
        // NTAG has the last one alone, and only when ACCESS says so.
        let counts = is_ev1 || number == 2 && self.protection.counts;
        let [low, middle, high, _] = self.counters.get(usize::from(number)).filter(|_| counts)?.to_le_bytes();
        Some(vec![low, middle, high])
    }

    fn prove(&mut self, bytes: &[u8], random: [u8; 8]) -> Option<Deed> {
        let [MORE, token @ ..] = bytes else { return None };
        let proof = ultralight_c::proof(&self.key()?, random, token.try_into().ok()?)?;
        self.is_open = true;
        Some(bytes_answer([&[DONE], &proof[..]].concat()))
    }

    fn key(&self) -> Option<crate::family::type2::UltralightCKey> {
        let pages = self.pages.get(44..48)?.first_chunk::<4>()?;
        Some(ultralight_c::key_of_pages(pages))
    }

    /// A number that differs from time to time and from card to card; it need not be hard to guess.
    fn random(&mut self) -> [u8; 8] {
        if let Some(random) = self.next_random.take() {
            return random;
        }
        self.randoms += 1;
        let seed = self
            .uid
            .as_bytes()
            .iter()
            .fold(self.randoms, |seed, byte| (seed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        seed.to_be_bytes()
    }
}

/// Whether these are bytes that every Type 2 card knows.
fn is_first_commands(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(command::READ | command::WRITE | command::COMPATIBILITY_WRITE)))
}

fn bytes_answer(bytes: impl Into<Vec<u8>>) -> Deed {
    Deed::Answer(AirAnswer::Bytes(bytes.into()))
}

#[cfg(test)]
mod tests;
