//! The cards on a reader, and how they leave it in the middle of a write.

use super::part4::RATS;
use super::type2::{AirAnswer, Deed};
use super::{Card, CardError, ClassicCard, KeySlot, Request, Type2Card, ValueOperation};
use crate::family::classic::BlockNumber;
use crate::family::type2::PageNumber;
use crate::id::{Target, Uid};
use alloc::vec::Vec;

/// What a block or a page holds after the card left while it was written. Of a page's four bytes, the first four count.
///
/// UNVERIFIED: which of these a real card shows; no source measures it, a tear-off bench would. Together they
/// span erased, programmed and every mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The card leaves before the write reaches it; nothing is written and nothing counted.
    Before,
    /// The old content.
    Old,
    /// The new content.
    New,
    /// All bits 0.
    Zero,
    /// All bits 1.
    Ones,
    /// The first bytes new, the rest old.
    Prefix(usize),
    /// Bits set here are new, the rest old.
    Mask([u8; 16]),
    /// Exactly this.
    Exact([u8; 16]),
}

impl Torn {
    /// The torn content of a block or page that held `old` and should have held `new`.
    pub fn content<const N: usize>(self, old: &[u8; N], new: &[u8; N]) -> [u8; N] {
        let mixed = |is_new: &dyn Fn(usize) -> u8| {
            let mut content = [0; N];
            for (index, ((byte, old), new)) in content.iter_mut().zip(old).zip(new).enumerate() {
                let mask = is_new(index);
                *byte = old & !mask | new & mask;
            }
            content
        };
        match self {
            Self::Before | Self::Old => *old,
            Self::New => *new,
            Self::Zero => [0x00; N],
            Self::Ones => [0xFF; N],
            Self::Prefix(len) => mixed(&|index| if index < len { 0xFF } else { 0x00 }),
            Self::Mask(mask) => mixed(&|index| mask.get(index).copied().unwrap_or_default()),
            Self::Exact(exact) => {
                let mut content = *old;
                content.iter_mut().zip(exact).for_each(|(to, byte)| *to = byte);
                content
            }
        }
    }
}

/// A card that cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A card with this UID lies there; two equal ones answer as one and neither can be used.
    #[error("a card with UID {0} lies there already")]
    SameUid(Uid),
}

/// A planned tear: at the n-th write from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tear {
    writes_left: u32,
    torn: Torn,
}

/// The cards on a reader.
///
/// Cards keep their memory when they leave. A card that was torn away is kept aside until [`Field::remove_all`]
/// or [`Field::put_back`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    cards: Vec<Card>,
    torn_away: Vec<Card>,
    tear: Option<Tear>,
    writes: u64,
    auths: u64,
}

impl Field {
    /// An empty field.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a card on the reader.
    ///
    /// # Errors
    /// [`PlaceError::SameUid`] when a card with the same UID lies there.
    pub fn place(&mut self, card: Card) -> Result<(), PlaceError> {
        let uid = card.uid();
        if self.cards.iter().any(|placed| placed.uid() == uid) {
            return Err(PlaceError::SameUid(uid));
        }
        let mut card = card;
        card.power_off();
        self.cards.push(card);
        Ok(())
    }

    /// Takes all cards away, with those that were torn away before. A planned tear is forgotten.
    pub fn remove_all(&mut self) -> Vec<Card> {
        self.tear = None;
        self.cards.append(&mut self.torn_away);
        let mut cards = core::mem::take(&mut self.cards);
        cards.iter_mut().for_each(Card::power_off);
        cards
    }

    /// Lays the cards that were torn away on the reader again.
    pub fn put_back(&mut self) {
        for card in core::mem::take(&mut self.torn_away) {
            // A card with the same UID that was placed meanwhile wins; the copy is dropped.
            let _ = self.place(card);
        }
    }

    /// The cards on the reader.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The card with this UID, to look at or change its memory.
    pub fn card_mut(&mut self, uid: Uid) -> Option<&mut Card> {
        self.cards.iter_mut().find(|card| card.uid() == uid)
    }

    /// The only Classic card on the reader, or `None` when there is another number of them.
    pub fn classic(&self) -> Option<&ClassicCard> {
        let mut classics = self.cards.iter().filter_map(|card| match card {
            Card::Classic(card) => Some(card),
            Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => None,
        });
        classics.next().filter(|_| classics.next().is_none())
    }

    /// The only Type 2 card on the reader, or `None` when there is another number of them.
    pub fn type2(&self) -> Option<&Type2Card> {
        let mut type2s = self.cards.iter().filter_map(|card| match card {
            Card::Type2(card) => Some(card),
            Card::Classic(_) | Card::Part4(_) | Card::Unknown(_) => None,
        });
        type2s.next().filter(|_| type2s.next().is_none())
    }

    /// Plans that all cards leave at the n-th write from now (1: the next), with this left in the block.
    /// 0 plans nothing and forgets an earlier plan.
    pub fn tear(&mut self, nth: u32, torn: Torn) {
        self.tear = (nth > 0).then_some(Tear { writes_left: nth, torn });
    }

    /// How many writes reached a card's memory, torn ones included.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// How many authentications a card was asked for.
    pub fn auths(&self) -> u64 {
        self.auths
    }

    /// The reader's field goes off: every card forgets its state.
    pub fn power_off(&mut self) {
        self.cards.iter_mut().for_each(Card::power_off);
    }

    /// One REQA or WUPA with anticollision and selection: the card with the lowest UID, or the wanted one, is
    /// selected; the others that answered fall back.
    pub fn activate(&mut self, request: Request, wanted: Option<Uid>) -> Option<Target> {
        let mut answering: Vec<&mut Card> =
            self.cards.iter_mut().filter_map(|card| card.request(request).then_some(card)).collect();
        answering.sort_by_key(|card| card.uid());
        let mut selected = None;
        for card in answering {
            if selected.is_none() && wanted.is_none_or(|uid| uid == card.uid()) {
                card.select();
                selected = Some(card.target());
            } else {
                // It lost the anticollision; what follows is nothing that it expects.
                let activation = card.activation();
                *activation = activation.fallen();
            }
        }
        selected
    }

    /// What a reader's search does: WUPA until a card answers or `tries` are used up, then HLTA and REQA for the
    /// next one, up to `max`. The last one found stays selected.
    ///
    /// UNVERIFIED: that readers wake with WUPA (a card in HALT is found again: libnfc issue 476) and look for the
    /// second card with REQA; a trace of the air would tell.
    pub fn list(&mut self, max: usize, tries: u16, wanted: Option<Uid>) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut tries_left = tries.max(1);
        while targets.len() < max && tries_left > 0 {
            let request = if targets.is_empty() { Request::WakeUp } else { Request::Idle };
            match self.activate(request, wanted) {
                Some(target) => {
                    targets.push(target);
                    if targets.len() < max {
                        self.halt();
                    }
                }
                None => tries_left -= 1,
            }
        }
        if let Some(last) = targets.last() {
            self.select(last.uid);
        }
        targets
    }

    /// Selects the card with this UID, the others stay or go to HALT; false when it does not answer.
    pub fn select(&mut self, uid: Uid) -> bool {
        for card in &mut self.cards {
            if card.uid() != uid && card.is_active() {
                card.halt();
            }
        }
        let Some(card) = self.card_mut(uid) else { return false };
        if !card.is_active() && card.request(Request::WakeUp) {
            card.select();
        }
        card.is_active()
    }

    /// Whether the card with this UID is the selected one.
    pub fn is_selected(&self, uid: Uid) -> bool {
        self.cards.iter().any(|card| card.uid() == uid && card.is_active())
    }

    /// What the selected card answered at activation.
    pub fn selected_target(&self) -> Option<Target> {
        self.cards.iter().find(|card| card.is_active()).map(Card::target)
    }

    /// The selected card goes to HALT (HLTA).
    pub fn halt(&mut self) {
        self.cards.iter_mut().filter(|card| card.is_active()).for_each(Card::halt);
    }

    /// The selected card hears something that it does not know, and falls back.
    pub fn disturb(&mut self) {
        for card in self.cards.iter_mut().filter(|card| card.is_active()) {
            card.disturb();
        }
    }

    /// Opens a sector of the selected card, with the four UID bytes that the reader was given.
    ///
    /// # Errors
    /// As [`ClassicCard::authenticate`]; wrong UID bytes fail as a wrong key does, since they enter the cipher.
    pub fn authenticate(
        &mut self,
        block: BlockNumber,
        slot: KeySlot,
        key: &[u8; 6],
        uid: [u8; 4],
    ) -> Result<(), CardError> {
        self.auths += 1;
        let card = self.selected_classic()?;
        if card.uid().last_four() == uid { card.authenticate(block, slot, key) } else { card.fail(CardError::Silent) }
    }

    /// Reads a block of the selected card, or four pages: the command is the same.
    ///
    /// # Errors
    /// As [`ClassicCard::read`], or `Nak` where the page cannot be read.
    pub fn read(&mut self, block: BlockNumber) -> Result<[u8; 16], CardError> {
        match self.selected()? {
            Card::Classic(card) => card.read(block),
            Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => match self.exchange(&[0x30, block.get()])? {
                AirAnswer::Bytes(bytes) => bytes.try_into().map_err(|_| CardError::Silent),
                AirAnswer::Ack => Err(CardError::Silent),
            },
        }
    }

    /// Writes a block of the selected card, or with the first four bytes a page, or tears it.
    ///
    /// # Errors
    /// As [`ClassicCard::write`], or `Nak` where the page cannot be written; `Silent` when the card is torn away.
    pub fn write(&mut self, block: BlockNumber, data: &[u8; 16]) -> Result<(), CardError> {
        match self.selected()? {
            Card::Classic(card) => {
                let content = card.prepare_write(block, data)?;
                self.store(block, content)
            }
            // COMPATIBILITY WRITE, in two steps.
            Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => {
                self.exchange(&[0xA0, block.get()])?;
                self.exchange(data).map(drop)
            }
        }
    }

    /// Sends a command to the selected card, both without CRC. What a Classic card says after its authentication is
    /// enciphered and not for this.
    ///
    /// # Errors
    /// `Nak` and `Silent` as the card has it; `Silent` when it is torn away.
    pub fn exchange(&mut self, command: &[u8]) -> Result<AirAnswer, CardError> {
        let deed = match self.selected()? {
            Card::Type2(card) => card.handle(command),
            Card::Part4(card) => match command {
                [RATS, _parameters] => return card.rats().map(|ats| AirAnswer::Bytes(ats.to_vec())),
                _ => Ok(Deed::Unknown),
            },
            Card::Classic(_) | Card::Unknown(_) => Ok(Deed::Unknown),
        };
        self.auths += u64::from(matches!(command.first(), Some(0x1A | 0x1B)));
        match deed? {
            Deed::Answer(answer) => Ok(answer),
            Deed::Store(page, content) => self.store_page(page, content).map(|()| AirAnswer::Ack),
            Deed::Unknown => {
                self.disturb();
                Err(CardError::Silent)
            }
        }
    }

    /// Sends one of the two frames that open a gen1a clone, wherever it stands; true when one answers ACK.
    pub fn magic(&mut self, byte: u8) -> bool {
        self.cards.iter_mut().any(|card| match card {
            Card::Classic(card) => card.magic(byte),
            Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => false,
        })
    }

    /// Sends a command to the selected card in blocks of ISO/IEC 14443-4.
    ///
    /// # Errors
    /// `Silent` where the card does not speak that, or has not answered RATS.
    pub fn command(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
        match self.selected()? {
            Card::Part4(card) => card.command(command),
            Card::Classic(_) | Card::Type2(_) | Card::Unknown(_) => {
                self.disturb();
                Err(CardError::Silent)
            }
        }
    }

    /// Works on a value block of the selected card; only [`Field::transfer`] writes.
    ///
    /// # Errors
    /// As [`ClassicCard::value`].
    pub fn value(&mut self, operation: ValueOperation, block: BlockNumber, operand: u32) -> Result<(), CardError> {
        self.selected_classic()?.value(operation, block, operand)
    }

    /// Writes the selected card's transfer buffer to a block, or tears that write.
    ///
    /// # Errors
    /// As [`ClassicCard::transfer`]; `Silent` when the card is torn away.
    pub fn transfer(&mut self, block: BlockNumber) -> Result<(), CardError> {
        let content = self.selected_classic()?.prepare_transfer(block)?;
        self.store(block, content)
    }

    fn store(&mut self, block: BlockNumber, new: [u8; 16]) -> Result<(), CardError> {
        let torn = self.count_down();
        if torn != Some(Torn::Before) {
            self.writes += 1;
            let card = self.selected_classic()?;
            let old = card.memory(block).copied().unwrap_or_default();
            card.store(block, torn.map_or(new, |torn| torn.content(&old, &new)));
        }
        self.survives(torn)
    }

    fn store_page(&mut self, page: PageNumber, new: [u8; 4]) -> Result<(), CardError> {
        let torn = self.count_down();
        if let (true, Card::Type2(card)) = (torn != Some(Torn::Before), self.selected()?) {
            let old = card.memory(page).copied().unwrap_or_default();
            card.store(page, new, torn.map(|torn| torn.content(&old, &new)));
            self.writes += 1;
        }
        self.survives(torn)
    }

    /// All cards leave where a write was torn.
    fn survives(&mut self, torn: Option<Torn>) -> Result<(), CardError> {
        if torn.is_none() {
            return Ok(());
        }
        self.cards.iter_mut().for_each(Card::power_off);
        self.torn_away.append(&mut self.cards);
        Err(CardError::Silent)
    }

    /// Counts a write towards the planned tear; `Some` when it is this one.
    fn count_down(&mut self) -> Option<Torn> {
        let tear = self.tear.take()?;
        if tear.writes_left <= 1 {
            return Some(tear.torn);
        }
        self.tear = Some(Tear { writes_left: tear.writes_left - 1, ..tear });
        None
    }

    fn selected(&mut self) -> Result<&mut Card, CardError> {
        self.cards.iter_mut().find(|card| card.is_active()).ok_or(CardError::Silent)
    }

    /// The selected Classic card; anything else stays silent.
    fn selected_classic(&mut self) -> Result<&mut ClassicCard, CardError> {
        match self.selected()? {
            Card::Classic(card) => Ok(card),
            other @ (Card::Type2(_) | Card::Part4(_) | Card::Unknown(_)) => {
                other.disturb();
                Err(CardError::Silent)
            }
        }
    }
}
