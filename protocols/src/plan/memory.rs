//! Reading a MIFARE Classic card whole, with whatever keys are at hand. Reads only.
//!
//! Of each sector the keys are tried in their order; the trailer is read first, since its access bits say which blocks a
//! key may read: no card is asked for what it would refuse.

use crate::family::access::{DataRights, KeySlot, TrailerRights};
use crate::family::classic::{
    AccessBits, BlockNumber, ClassicSize, Key, KeyA, KeyB, SectorKey, SectorNumber, SectorTrailer,
};
use crate::plan::look::{Examine, LookStep};
use alloc::vec::Vec;

/// What a card holds, as far as keys and access conditions let it be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemory {
    /// How large the card is.
    pub size: ClassicSize,
    /// Its sectors in order.
    pub sectors: Vec<SectorContents>,
}

impl ClassicMemory {
    /// The content of a block that is no trailer, where it could be read.
    pub fn block(&self, block: BlockNumber) -> Option<[u8; 16]> {
        let sector = self.sectors.iter().find(|contents| contents.sector == block.sector())?;
        let index = usize::from(block.get() - block.sector().first_block().get());
        sector.blocks.get(index).copied().flatten()
    }
}

/// What a sector holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorContents {
    /// Which.
    pub sector: SectorNumber,
    /// Key A, if one opened it.
    pub key_a: Option<KeyA>,
    /// Key B, if one opened it or the access bits let it be read.
    pub key_b: Option<KeyB>,
    /// Its blocks but the trailer, block 0 included; `None` for what could not be read.
    pub blocks: Vec<Option<[u8; 16]>>,
    /// What of the trailer is no key.
    pub trailer: Option<TrailerContents>,
}

impl SectorContents {
    fn unread(sector: SectorNumber) -> Self {
        let blocks = core::iter::repeat_n(None, usize::from(sector.blocks()) - 1).collect();
        Self { sector, key_a: None, key_b: None, blocks, trailer: None }
    }

    /// Whether a key opened it.
    pub fn opened(&self) -> bool {
        self.trailer.is_some() || self.blocks.iter().any(Option::is_some)
    }

    /// The access bits; `None` when unknown, or when their inverted copy disagrees.
    pub fn access_bits(&self) -> Option<AccessBits> {
        AccessBits::from_bytes(self.trailer.as_ref()?.access_bits)
    }

    /// The trailer, where both keys and sound access bits are known.
    pub fn whole_trailer(&self) -> Option<SectorTrailer> {
        Some(SectorTrailer {
            key_a: self.key_a.clone()?,
            access_bits: self.access_bits()?,
            general_purpose: self.trailer.as_ref()?.general_purpose,
            key_b: self.key_b.clone()?,
        })
    }
}

/// What of a trailer is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailerContents {
    /// Bytes 6 to 8 as they are on the card.
    pub access_bits: [u8; 3],
    /// The general purpose byte.
    pub general_purpose: u8,
}

/// How much of the keys is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysWanted {
    /// As many as it takes to read what can be read.
    ForReading,
    /// Key A and key B of every sector, for a dump that is complete.
    Both,
}

/// Which keys to try on a sector, the likeliest first.
#[derive(Clone, Debug)]
pub struct SectorKeys {
    /// Which sector.
    pub sector: SectorNumber,
    /// The keys.
    pub keys: Vec<Key>,
}

/// Reads a card sector by sector.
#[derive(Clone, Debug)]
pub struct ReadMemory {
    size: ClassicSize,
    wanted: KeysWanted,
    todo: Vec<SectorKeys>,
    read: Vec<SectorContents>,
    at: At,
}

/// Where it is in the sector that is next.
#[derive(Clone, Debug, Default)]
struct At {
    /// Which of its keys.
    key: usize,
    opened: bool,
    /// Blocks that this key was refused, the trailer among them.
    refused: Vec<BlockNumber>,
    contents: Option<SectorContents>,
}

impl ReadMemory {
    /// Reads these sectors with these keys.
    pub fn new(size: ClassicSize, wanted: KeysWanted, mut todo: Vec<SectorKeys>) -> Self {
        todo.retain(|keys| size.has(keys.sector));
        let mut machine = Self { size, wanted, todo, read: Vec::new(), at: At::default() };
        machine.settle();
        machine
    }

    /// How many sectors are done, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        (self.read.len(), self.todo.len())
    }

    /// What was read; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<ClassicMemory> {
        let done = self.read.len() == self.todo.len();
        done.then(|| ClassicMemory { size: self.size, sectors: self.read.clone() })
    }

    fn current(&self) -> Option<&SectorKeys> {
        self.todo.get(self.read.len())
    }

    fn key(&self) -> Option<&Key> {
        self.current()?.keys.get(self.at.key)
    }

    /// The block that the open sector is to give next.
    fn next_block(&self) -> Option<BlockNumber> {
        let slot = slot_of(self.key()?);
        let contents = self.at.contents.as_ref()?;
        let sector = contents.sector;
        let trailer = sector.trailer();
        if contents.trailer.is_none() && !self.at.refused.contains(&trailer) {
            return Some(trailer);
        }
        let access = contents.access_bits();
        let first = sector.first_block().get();
        let unread = (first..trailer.get()).zip(&contents.blocks).filter(|(_, content)| content.is_none());
        let mut unread = unread.map(|(block, _)| BlockNumber::new(block));
        unread.find(|block| {
            let allowed = access.is_none_or(|access| {
                let usable = slot == KeySlot::A || TrailerRights::of(access.trailer).key_b_is_a_key();
                usable && DataRights::of(access.of(*block)).read.to(slot)
            });
            allowed && !self.at.refused.contains(block)
        })
    }

    /// Whether there is a reason to try this key.
    fn worth_trying(&self, key: &Key) -> bool {
        let Some(contents) = &self.at.contents else { return true };
        let known = match slot_of(key) {
            KeySlot::A => contents.key_a.is_some(),
            KeySlot::B => contents.key_b.is_some(),
        };
        let complete = contents.trailer.is_some() && contents.blocks.iter().all(Option::is_some);
        !known && (self.wanted == KeysWanted::Both || !complete)
    }

    /// Goes on to what is next: another key of this sector, or another sector.
    fn settle(&mut self) {
        while let Some(sector) = self.current().map(|keys| keys.sector) {
            if self.at.contents.is_none() {
                self.at.contents = Some(SectorContents::unread(sector));
            }
            match self.key() {
                Some(_) if self.at.opened && self.next_block().is_some() => return,
                Some(key) if !self.at.opened && self.worth_trying(key) => return,
                Some(_) => {
                    self.at.key += 1;
                    self.at.opened = false;
                    self.at.refused.clear();
                }
                None => {
                    let contents = self.at.contents.take();
                    self.read.push(contents.unwrap_or_else(|| SectorContents::unread(sector)));
                    self.at = At::default();
                }
            }
        }
    }
}

fn slot_of(key: &Key) -> KeySlot {
    match key {
        Key::A(_) => KeySlot::A,
        Key::B(_) => KeySlot::B,
    }
}

impl Examine for ReadMemory {
    fn poll(&self) -> LookStep {
        match (self.current(), self.key()) {
            (Some(keys), Some(key)) if !self.at.opened => LookStep::Login { sector: keys.sector, key: key.clone() },
            (Some(_), Some(_)) => self.next_block().map_or(LookStep::Done, LookStep::Read),
            (Some(_) | None, _) => LookStep::Done,
        }
    }

    fn login_ok(&mut self) {
        if self.at.opened {
            return;
        }
        let key = self.key().cloned();
        self.at.opened = key.is_some();
        if let Some(contents) = &mut self.at.contents {
            match key {
                Some(Key::A(key)) => contents.key_a = Some(key),
                Some(Key::B(key)) => contents.key_b = Some(key),
                None => {}
            }
        }
        self.settle();
    }

    fn login_failed(&mut self) {
        if !self.at.opened && self.key().is_some() {
            self.at.key += 1;
            self.at.refused.clear();
            self.settle();
        }
    }

    fn block(&mut self, data: [u8; 16]) {
        let block = self.next_block().filter(|_| self.at.opened);
        let (Some(block), Some(contents)) = (block, &mut self.at.contents) else { return };
        if block.is_trailer() {
            let [_, _, _, _, _, _, c6, c7, c8, general_purpose, b0, b1, b2, b3, b4, b5] = data;
            contents.trailer = Some(TrailerContents { access_bits: [c6, c7, c8], general_purpose });
            let readable = |access: AccessBits| !TrailerRights::of(access.trailer).key_b_is_a_key();
            if AccessBits::from_bytes([c6, c7, c8]).is_some_and(readable) {
                contents.key_b = Some(KeyB(SectorKey::new([b0, b1, b2, b3, b4, b5])));
            }
        } else {
            let index = usize::from(block.get() - block.sector().first_block().get());
            if let Some(content) = contents.blocks.get_mut(index) {
                *content = Some(data);
            }
        }
        self.settle();
    }

    fn refused(&mut self) {
        if let Some(block) = self.next_block().filter(|_| self.at.opened) {
            self.at.refused.push(block);
            // A refusal closes the sector: it is opened again with the same key, unless that key gives nothing more.
            if self.next_block().is_some() {
                self.at.opened = false;
                if let Some(contents) = &mut self.at.contents {
                    match self.todo.get(self.read.len()).and_then(|keys| keys.keys.get(self.at.key)) {
                        Some(Key::A(_)) => contents.key_a = None,
                        Some(Key::B(_)) => contents.key_b = None,
                        None => {}
                    }
                }
            }
            self.settle();
        }
    }
}
