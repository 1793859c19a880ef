//! A MIFARE Classic card: memory, keys, access conditions, value blocks.
//!
//! Source: NXP MF1S50yyX/V1 and MF1S70yyX/V1 data sheets, sections 8.6 (memory organization), 8.7 (memory access),
//! 10 and 12 (commands). One line each where a card is known to do something that they do not say.

use super::{Activation, Request, Wear};
pub use crate::family::access::KeySlot;
use crate::family::access::{Allowed, DataRights, TrailerRights};
use crate::family::classic::{AccessBits, BlockNumber, ClassicSize, SectorNumber, SectorTrailer};
use crate::id::{Target, Uid};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How a card says no. Either way it forgets the authentication and is no longer selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The card answers a 4-bit NAK.
    #[error("the card answered NAK")]
    Nak,
    /// The card does not answer.
    #[error("the card did not answer")]
    Silent,
}

/// A dump that is no card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// The number of bytes is not that of the card.
    #[error("the dump has {have} bytes, the card {need}")]
    Length {
        /// What the card's size asks for.
        need: usize,
        /// What the dump has.
        have: usize,
    },
    /// Block 0 holds neither a 4-byte UID with its check byte nor a 7-byte UID with SAK and ATQA.
    #[error("block 0 holds no UID")]
    NoUid,
}

/// What is done to a value block on its way into the transfer buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOperation {
    /// C1: adds the operand.
    Increment,
    /// C0: subtracts the operand.
    Decrement,
    /// C2: takes the value as it is.
    Restore,
}

/// The sector that the last authentication opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenSector {
    sector: SectorNumber,
    slot: KeySlot,
}

/// Bits of a block that an interrupted write left between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WeakBits {
    block: BlockNumber,
    mask: [u8; 16],
    inverted: bool,
}

/// Cards that play MIFARE Classic and let their UID be changed.
///
/// Source: Proxmark client, "Magic cards notes", sections "Gen1A" and "Gen2 / CUID".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloneKind {
    /// Two short frames, 40 with seven bits and 43, open everything without a key.
    Gen1a,
    /// Block 0 is written as any other.
    Gen2,
}

/// How far a gen1a card was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Closed,
    Half,
    Open,
}

/// A MIFARE Classic card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicCard {
    size: ClassicSize,
    clone: Option<CloneKind>,
    magic: Magic,
    uid: Uid,
    blocks: Vec<[u8; 16]>,
    activation: Activation,
    open: Option<OpenSector>,
    /// What increment, decrement and restore leave for transfer.
    transfer_buffer: Option<[u8; 16]>,
    weak_bits: Option<WeakBits>,
    wear: BTreeMap<BlockNumber, Wear>,
}

impl ClassicCard {
    /// A card as it leaves the factory: transport keys and access bits, data zero.
    ///
    /// Block 0 holds the UID (with its check byte when it has four bytes), SAK, ATQA low byte first, and made-up
    /// manufacturer's data. A UID of ten bytes, which no Classic card has, is cut to its last seven.
    ///
    /// Source: MF1S50yyX/V1 data sheet, 8.6.1 (manufacturer block) and 8.6.3 (delivery configuration of trailers).
    pub fn blank(size: ClassicSize, uid: Uid) -> Self {
        let uid = uid.as_bytes().last_chunk::<7>().and_then(|last| Uid::new(last)).unwrap_or(uid);
        let mut blocks: Vec<[u8; 16]> = (0..size.blocks()).map(|_| [0; 16]).collect();
        for sector in size.sector_numbers() {
            if let Some(trailer) = blocks.get_mut(usize::from(sector.trailer().get())) {
                *trailer = SectorTrailer::transport().to_bytes();
            }
        }
        if let Some(first) = blocks.first_mut() {
            *first = manufacturer_block(&target(size, uid));
        }
        Self::with_blocks(size, uid, blocks)
    }

    /// The same as a clone.
    pub fn blank_clone(kind: CloneKind, size: ClassicSize, uid: Uid) -> Self {
        Self { clone: Some(kind), ..Self::blank(size, uid) }
    }

    /// Which clone it is, if it is one.
    pub fn clone_kind(&self) -> Option<CloneKind> {
        self.clone
    }

    /// A card with the content of a raw dump, keys included: the form of libnfc's `.mfd` files.
    ///
    /// # Errors
    /// [`DumpError`] when the length is not the size's or block 0 holds no UID.
    pub fn from_dump(size: ClassicSize, dump: &[u8]) -> Result<Self, DumpError> {
        let need = usize::from(size.blocks()) * 16;
        let (blocks, rest) = dump.as_chunks::<16>();
        if dump.len() != need || !rest.is_empty() {
            return Err(DumpError::Length { need, have: dump.len() });
        }
        let uid = blocks.first().and_then(|block| uid_of(size, block)).ok_or(DumpError::NoUid)?;
        Ok(Self::with_blocks(size, uid, blocks.to_vec()))
    }

    fn with_blocks(size: ClassicSize, uid: Uid, blocks: Vec<[u8; 16]>) -> Self {
        Self {
            size,
            clone: None,
            magic: Magic::Closed,
            uid,
            blocks,
            activation: Activation::Idle,
            open: None,
            transfer_buffer: None,
            weak_bits: None,
            wear: BTreeMap::new(),
        }
    }

    /// The whole memory, keys included.
    pub fn dump(&self) -> Vec<u8> {
        self.blocks.concat()
    }

    /// Replaces memory and UID by those of a dump of the same size. The card is as if it had just been placed.
    ///
    /// # Errors
    /// As [`ClassicCard::from_dump`]; the card stays as it was.
    pub fn load(&mut self, dump: &[u8]) -> Result<(), DumpError> {
        *self = Self { clone: self.clone, ..Self::from_dump(self.size, dump)? };
        Ok(())
    }

    /// How large it is.
    pub fn size(&self) -> ClassicSize {
        self.size
    }

    /// Its UID.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// What it answers at activation.
    pub fn target(&self) -> Target {
        target(self.size, self.uid)
    }

    /// A block as it lies in memory, whatever the access conditions; `None` beyond the card's end.
    pub fn memory(&self, block: BlockNumber) -> Option<&[u8; 16]> {
        self.blocks.get(usize::from(block.get()))
    }

    /// Changes memory behind the card's back: what a torn write leaves, or what a test wants there.
    pub fn set_memory(&mut self, block: BlockNumber, content: [u8; 16]) {
        if let Some(memory) = self.blocks.get_mut(usize::from(block.get())) {
            *memory = content;
            if self.weak_bits.is_some_and(|weak| weak.block == block) {
                self.weak_bits = None;
            }
        }
    }

    /// Makes bits of one block weak: every other read shows them inverted, until the block is written.
    ///
    /// Source: Quarkslab, "EEPROM: When Tearing-Off Becomes a Security Issue": interrupted writes leave such bits.
    pub fn set_weak_bits(&mut self, block: BlockNumber, mask: [u8; 16]) {
        self.weak_bits = Some(WeakBits { block, mask, inverted: false });
    }

    /// Wears a block out. A sector whose trailer is dead no longer opens.
    pub fn wear_out(&mut self, block: BlockNumber, wear: Wear) {
        self.wear.insert(block, wear);
    }

    /// How a block is worn, if it is.
    pub fn wear(&self, block: BlockNumber) -> Option<Wear> {
        self.wear.get(&block).copied()
    }

    /// Takes REQA or WUPA; true when it answers. A selected card does not and falls back to IDLE or HALT.
    pub fn request(&mut self, request: Request) -> bool {
        self.forget_session();
        self.activation.request(request)
    }

    /// Selects the card, from whatever state it is in, without an open sector.
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

    /// Takes its power away: memory stays, everything else is forgotten.
    pub fn power_off(&mut self) {
        self.forget_session();
        self.activation = Activation::Idle;
        // What was written to block 0 of a clone is its UID from now on.
        let written = self.blocks.first().filter(|_| self.clone.is_some());
        self.uid = written.and_then(|block| uid_of(self.size, block)).unwrap_or(self.uid);
    }

    /// Hears 40 in seven bits, or 43 in eight: how a gen1a clone is opened. True when it answers ACK.
    pub(super) fn magic(&mut self, byte: u8) -> bool {
        self.magic = match (self.clone, byte, self.magic) {
            (Some(CloneKind::Gen1a), 0x40, Magic::Closed | Magic::Half | Magic::Open) => Magic::Half,
            (Some(CloneKind::Gen1a), 0x43, Magic::Half) => Magic::Open,
            (Some(CloneKind::Gen1a | CloneKind::Gen2) | None, _, Magic::Closed | Magic::Half | Magic::Open) => {
                return false;
            }
        };
        self.activation = self.activation.selected();
        true
    }

    /// Opens the sector of `block`.
    ///
    /// # Errors
    /// `Silent` for a wrong key, a sector whose access bits are inconsistent, and a card that is not selected;
    /// `Nak` for a block that the card does not have.
    ///
    /// A key B that can be read opens the sector, but every access is then refused.
    pub fn authenticate(&mut self, block: BlockNumber, slot: KeySlot, key: &[u8; 6]) -> Result<(), CardError> {
        self.forget_session();
        self.require_selected()?;
        let sector = block.sector();
        let Some(trailer) = self.memory(sector.trailer()) else {
            return self.fail(CardError::Nak);
        };
        let (Some(key_a), Some(key_b)) = (trailer.first_chunk::<6>(), trailer.last_chunk::<6>()) else {
            return self.fail(CardError::Silent);
        };
        let stored = match slot {
            KeySlot::A => key_a,
            KeySlot::B => key_b,
        };
        let is_dead = self.wear(sector.trailer()) == Some(Wear::Dead);
        if stored != key || is_dead || self.access_bits(sector).is_none() {
            return self.fail(CardError::Silent);
        }
        self.open = Some(OpenSector { sector, slot });
        Ok(())
    }

    /// Reads a block of the open sector. In a trailer, key A reads as zeros, and key B and access bits as their
    /// conditions allow.
    ///
    /// # Errors
    /// `Nak` without the right to read or outside the open sector; `Silent` when the card is not selected.
    pub fn read(&mut self, block: BlockNumber) -> Result<[u8; 16], CardError> {
        if self.magic == Magic::Open {
            return self.memory(block).copied().ok_or(CardError::Nak);
        }
        let (slot, bits) = self.session(block)?;
        let readable = if block.is_trailer() {
            let rights = TrailerRights::of(bits.trailer);
            trailer_mask(
                false,
                // UNVERIFIED: bytes 6 to 9 read as zeros for a key that may not read them; the data sheet says "never" only.
                rights.access_bits_read.to(slot),
                rights.key_b_read.to(slot),
            )
        } else if DataRights::of(bits.of(block)).read.to(slot) {
            [0xFF; 16]
        } else {
            return self.fail(CardError::Nak);
        };
        let mut content = self.memory(block).copied().unwrap_or_default();
        if let Some(weak) = self.weak_bits.as_mut().filter(|weak| weak.block == block) {
            if weak.inverted {
                combine(&mut content, &weak.mask, |byte, mask| byte ^ mask);
            }
            weak.inverted = !weak.inverted;
        }
        combine(&mut content, &readable, |byte, mask| byte & mask);
        Ok(content)
    }

    /// Writes a block of the open sector. In a trailer only those parts change that the key may write.
    ///
    /// # Errors
    /// `Nak` without the right to write, outside the open sector, and for block 0; `Silent` when the card is not
    /// selected.
    pub fn write(&mut self, block: BlockNumber, data: &[u8; 16]) -> Result<(), CardError> {
        let content = self.prepare_write(block, data)?;
        self.store(block, content);
        Ok(())
    }

    /// Takes a value block into the transfer buffer and changes it on the way.
    ///
    /// # Errors
    /// `Nak` without the right, outside the open sector, or when the block holds no value.
    pub fn value(&mut self, operation: ValueOperation, block: BlockNumber, operand: u32) -> Result<(), CardError> {
        let (slot, bits) = self.session(block)?;
        let rights = DataRights::of(bits.of(block));
        let allowed = match operation {
            ValueOperation::Increment => rights.increment,
            ValueOperation::Decrement | ValueOperation::Restore => rights.decrement,
        };
        let value = self.memory(block).and_then(value_of);
        let Some((value, address)) = value.filter(|_| !block.is_trailer() && allowed.to(slot)) else {
            return self.fail(CardError::Nak);
        };
        // UNVERIFIED: a value that overflows wraps; the data sheet says nothing about it.
        let value = match operation {
            ValueOperation::Increment => value.wrapping_add(operand),
            ValueOperation::Decrement => value.wrapping_sub(operand),
            ValueOperation::Restore => value,
        };
        self.transfer_buffer = Some(value_block(value, address));
        Ok(())
    }

    /// Adds to a value block; see [`ClassicCard::value`].
    ///
    /// # Errors
    /// As [`ClassicCard::value`].
    pub fn increment(&mut self, block: BlockNumber, operand: u32) -> Result<(), CardError> {
        self.value(ValueOperation::Increment, block, operand)
    }

    /// Subtracts from a value block; see [`ClassicCard::value`].
    ///
    /// # Errors
    /// As [`ClassicCard::value`].
    pub fn decrement(&mut self, block: BlockNumber, operand: u32) -> Result<(), CardError> {
        self.value(ValueOperation::Decrement, block, operand)
    }

    /// Copies a value block into the transfer buffer; see [`ClassicCard::value`].
    ///
    /// # Errors
    /// As [`ClassicCard::value`].
    pub fn restore(&mut self, block: BlockNumber) -> Result<(), CardError> {
        self.value(ValueOperation::Restore, block, 0)
    }

    /// Writes the transfer buffer to a block of the open sector.
    ///
    /// # Errors
    /// `Nak` without the right, without a value in the buffer, or outside the open sector.
    pub fn transfer(&mut self, block: BlockNumber) -> Result<(), CardError> {
        let content = self.prepare_transfer(block)?;
        self.store(block, content);
        Ok(())
    }

    /// What a write does to memory that can still be written.
    pub(super) fn store(&mut self, block: BlockNumber, content: [u8; 16]) {
        if self.wear(block) != Some(Wear::Stuck) {
            self.set_memory(block, content);
        }
    }

    /// The content that a write would leave in the block, after all checks.
    pub(super) fn prepare_write(&mut self, block: BlockNumber, data: &[u8; 16]) -> Result<[u8; 16], CardError> {
        if self.magic == Magic::Open {
            return self.memory(block).map(|_| *data).ok_or(CardError::Nak);
        }
        let (slot, bits) = self.session(block)?;
        let writable = if block.get() == 0 && self.clone != Some(CloneKind::Gen2) {
            [0; 16]
        } else if block.is_trailer() {
            let rights = TrailerRights::of(bits.trailer);
            trailer_mask(rights.key_a_write.to(slot), rights.access_bits_write.to(slot), rights.key_b_write.to(slot))
        } else if DataRights::of(bits.of(block)).write.to(slot) {
            [0xFF; 16]
        } else {
            [0; 16]
        };
        if writable == [0; 16] {
            return self.fail(CardError::Nak);
        }
        let mut content = self.memory(block).copied().unwrap_or_default();
        combine(&mut content, &writable, |byte, mask| byte & !mask);
        let mut new = *data;
        combine(&mut new, &writable, |byte, mask| byte & mask);
        combine(&mut content, &new, |byte, new| byte | new);
        Ok(content)
    }

    /// The content that a transfer would leave in the block, after all checks. Empties the buffer.
    pub(super) fn prepare_transfer(&mut self, block: BlockNumber) -> Result<[u8; 16], CardError> {
        let (slot, bits) = self.session(block)?;
        let allowed = if block.is_trailer() || block.get() == 0 {
            Allowed::Never
        } else {
            DataRights::of(bits.of(block)).decrement
        };
        match self.transfer_buffer.take().filter(|_| allowed.to(slot)) {
            Some(content) => Ok(content),
            None => self.fail(CardError::Nak),
        }
    }

    /// Falls back as after anything unexpected.
    pub(super) fn fail<T>(&mut self, error: CardError) -> Result<T, CardError> {
        self.forget_session();
        self.activation = self.activation.fallen();
        Err(error)
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    pub(super) fn activation_mut(&mut self) -> &mut Activation {
        &mut self.activation
    }

    /// The key slot and access bits for an access to `block`, or the refusal.
    fn session(&mut self, block: BlockNumber) -> Result<(KeySlot, AccessBits), CardError> {
        self.require_selected()?;
        let is_dead = self.wear(block) == Some(Wear::Dead);
        let open = self.open.filter(|open| open.sector == block.sector() && self.memory(block).is_some() && !is_dead);
        let bits = self.access_bits(block.sector());
        let (Some(open), Some(bits)) = (open, bits) else {
            return self.fail(CardError::Nak);
        };
        if open.slot == KeySlot::B && !TrailerRights::of(bits.trailer).key_b_is_a_key() {
            return self.fail(CardError::Nak);
        }
        Ok((open.slot, bits))
    }

    fn require_selected(&mut self) -> Result<(), CardError> {
        match self.activation {
            Activation::Active { .. } => Ok(()),
            Activation::Idle | Activation::Ready { .. } | Activation::Halt => self.fail(CardError::Silent),
        }
    }

    fn access_bits(&self, sector: SectorNumber) -> Option<AccessBits> {
        let trailer = self.memory(sector.trailer())?;
        let [.., byte6, byte7, byte8, _] = *trailer.first_chunk::<10>()?;
        AccessBits::from_bytes([byte6, byte7, byte8])
    }

    pub(super) fn forget_session(&mut self) {
        self.magic = Magic::Closed;
        self.open = None;
        self.transfer_buffer = None;
    }
}

/// SAK and ATQA by size. Source: NXP AN10833, tables "SAK coding" and "ATQA coding" (bit 7: UID of seven bytes).
fn target(size: ClassicSize, uid: Uid) -> Target {
    let (low, sak) = match size {
        ClassicSize::Mini => (0x04, 0x09),
        ClassicSize::K1 => (0x04, 0x08),
        ClassicSize::K4 => (0x02, 0x18),
    };
    let double_size = if uid.as_bytes().len() > 4 { 0x40 } else { 0x00 };
    Target::type_a(uid, [0x00, low | double_size], sak)
}

fn manufacturer_block(target: &Target) -> [u8; 16] {
    let uid = target.uid.as_bytes();
    let ([atqa_high, atqa_low], sak) = target.atqa_sak().unwrap_or_default();
    let check = (uid.len() == 4).then(|| check_byte(uid));
    let bytes = uid.iter().copied().chain(check).chain([sak, atqa_low, atqa_high]);
    let mut block = *b"\0\0\0\0\0\0\0\0\0\0encodr";
    for (to, byte) in block.iter_mut().zip(bytes) {
        *to = byte;
    }
    block
}

/// BCC: exclusive or of the four UID bytes. Source: ISO/IEC 14443-3, 6.5.3.
fn check_byte(uid: &[u8]) -> u8 {
    uid.iter().fold(0, |check, byte| check ^ byte)
}

/// The UID in a manufacturer block: seven bytes where SAK and a double-size ATQA follow them, else four with their
/// check byte. A four-byte card has the zero of its ATQA where the other has its SAK, so the two do not meet.
fn uid_of(size: ClassicSize, block: &[u8; 16]) -> Option<Uid> {
    let [u0, u1, u2, u3, b4, b5, b6, sak, atqa_low, ..] = *block;
    let sak_fits = matches!(
        (size, sak),
        (ClassicSize::Mini, 0x09 | 0x89) | (ClassicSize::K1, 0x08 | 0x88) | (ClassicSize::K4, 0x18 | 0x98)
    );
    if sak_fits && atqa_low & 0xC0 == 0x40 {
        return Uid::new(&[u0, u1, u2, u3, b4, b5, b6]);
    }
    let uid = [u0, u1, u2, u3];
    (check_byte(&uid) == b4).then(|| Uid::new(&uid)).flatten()
}

fn trailer_mask(key_a: bool, access_bits: bool, key_b: bool) -> [u8; 16] {
    let mut mask = [0; 16];
    for (index, byte) in mask.iter_mut().enumerate() {
        let chosen = match index {
            0..6 => key_a,
            6..10 => access_bits,
            _ => key_b,
        };
        *byte = if chosen { 0xFF } else { 0x00 };
    }
    mask
}

fn combine(left: &mut [u8; 16], right: &[u8; 16], with: fn(u8, u8) -> u8) {
    for (left, right) in left.iter_mut().zip(right) {
        *left = with(*left, *right);
    }
}

/// Value and address of a value block: value, its inverse, value, then address and inverse twice.
///
/// Source: MF1S50yyX/V1 data sheet, 8.6.2.1.
fn value_of(block: &[u8; 16]) -> Option<(u32, u8)> {
    let [v0, v1, v2, v3, .., address, _, _, _] = *block;
    let value = u32::from_le_bytes([v0, v1, v2, v3]);
    (value_block(value, address) == *block).then_some((value, address))
}

fn value_block(value: u32, address: u8) -> [u8; 16] {
    let [v0, v1, v2, v3] = value.to_le_bytes();
    let [n0, n1, n2, n3] = (!value).to_le_bytes();
    [v0, v1, v2, v3, n0, n1, n2, n3, v0, v1, v2, v3, address, !address, address, !address]
}
