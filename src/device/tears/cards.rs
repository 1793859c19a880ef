//! Cards to start from, and what lies on a card, read without a reader.

pub(super) use encoder_protocols::card_sim::Card;

use super::rig::{Job, PROPERTY, Rig, block_on, property_key};
use super::suite::{Kind, Stage};
use encoder_protocols::card_sim::{AirAnswer, ClassicCard, Field, KeySlot, Request, Type2Card};
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key};
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::id::Uid;
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::{Form, Place};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::ocl1::{Slot, SlotImage};
use encoder_protocols::layout::pages::{PageImage, judge};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use encoder_protocols::plan::{Examine, Look, LookOutcome, LookStep};
use std::fmt;

/// A kind of card, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Classic(ClassicSize),
    Type2 { kind: Type2Kind, ndef: bool },
}

const fn type2(kind: Type2Kind) -> Family {
    Family::Type2 { kind, ndef: false }
}

/// Every kind.
pub(super) const FAMILIES: &[Family] = &[
    Family::Classic(ClassicSize::Mini),
    Family::Classic(ClassicSize::K1),
    Family::Classic(ClassicSize::K4),
    type2(Type2Kind::Ultralight),
    type2(Type2Kind::UltralightEv1Small),
    type2(Type2Kind::UltralightEv1Large),
    type2(Type2Kind::UltralightC),
    type2(Type2Kind::Ntag213),
    Family::Type2 { kind: Type2Kind::Ntag213, ndef: true },
    type2(Type2Kind::Ntag215),
    type2(Type2Kind::Ntag216),
];

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic(ClassicSize::Mini) => "classic-mini",
            Self::Classic(ClassicSize::K1) => "classic-1k",
            Self::Classic(ClassicSize::K4) => "classic-4k",
            Self::Type2 { kind: Type2Kind::Ultralight, .. } => "ultralight",
            Self::Type2 { kind: Type2Kind::UltralightEv1Small, .. } => "ultralight-ev1-48",
            Self::Type2 { kind: Type2Kind::UltralightEv1Large, .. } => "ultralight-ev1",
            Self::Type2 { kind: Type2Kind::UltralightC, .. } => "ultralight-c",
            Self::Type2 { kind: Type2Kind::Ntag213, ndef: false } => "ntag213",
            Self::Type2 { kind: Type2Kind::Ntag213, ndef: true } => "ntag213 behind NDEF",
            Self::Type2 { kind: Type2Kind::Ntag215, .. } => "ntag215",
            Self::Type2 { kind: Type2Kind::Ntag216, .. } => "ntag216",
        })
    }
}

fn uid4() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3]).unwrap()
}

fn uid7() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0x80]).unwrap()
}

fn keys(card: &Card) -> CardKeys {
    property_key().for_card(&card.uid())
}

/// A record that differs from another number's in every field that may differ, and in every minute.
pub(super) fn record(number: u8, doors: u8) -> Record {
    Record {
        credential_id: CredentialId([number; 16]),
        property_id: PropertyId(PROPERTY),
        flags: Flags::OVERRIDE_PREVIOUS_GUEST,
        starts_at: 1_760_000_000 + 0x1_0101 * u32::from(number),
        ends_at: 1_790_300_000 + 0x1_0101 * u32::from(number),
        issued_at: 1_759_990_000 + 0x1_0101 * u32::from(number),
        doors: (0..doors).map(|door| 100 + u16::from(door) + u16::from(number)).collect(),
    }
}

/// A card, and what the desk's journal knows of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) card: Card,
    /// This desk has begun to write it and has not verified it.
    pub(super) begun: bool,
}

/// A card, and what is to be done with it.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// What is on the card, in words.
    pub(super) name: String,
    pub(super) item: Item,
    pub(super) job: Job,
    /// Records that may be found on it before, between and after.
    pub(super) known: Vec<Record>,
}

/// What both slots hold.
#[derive(Debug)]
pub(super) struct Sight(Vec<SlotState>);

impl Sight {
    /// Reads a card without a reader. The card is as if it had not been read.
    pub(super) fn of(card: &Card, form: Form) -> Self {
        let [first, _] = Self::twice(card, form);
        first
    }

    /// Reads it a second time, when weak bits read the other way round.
    pub(super) fn twice(card: &Card, form: Form) -> [Self; 2] {
        let keys = keys(card);
        let mut field = Field::new();
        field.place(card.clone()).unwrap();
        [(); 2].map(|()| {
            field.power_off();
            field.activate(Request::WakeUp, None);
            Self(match form {
                Form::Classic(_) => classic_slots(&mut field, keys.clone()),
                Form::Type2(place) => page_slots(&mut field, &keys, place),
            })
        })
    }

    /// Every valid credential, the current one last.
    pub(super) fn valid(&self) -> Vec<Content> {
        let mut valid: Vec<_> = self.0.iter().filter_map(SlotState::valid).collect();
        valid.sort_by_key(|sealed| sealed.sequence);
        valid.into_iter().map(|sealed| sealed.content.clone()).collect()
    }

    /// What a lock takes.
    pub(super) fn current(&self) -> Option<Content> {
        self.valid().pop()
    }

    /// How many slots hold something, valid or not.
    pub(super) fn filled(&self) -> usize {
        self.0.iter().filter(|slot| **slot != SlotState::Empty).count()
    }
}

/// None for a card that is not ours yet.
fn classic_slots(field: &mut Field, keys: CardKeys) -> Vec<SlotState> {
    let mut look = Look::new(keys);
    loop {
        match look.poll() {
            LookStep::Login { sector, key } => {
                let slot = if matches!(key, Key::A(_)) { KeySlot::A } else { KeySlot::B };
                if field.authenticate(sector.first_block(), slot, key.secret().expose(), uid4().last_four()).is_ok() {
                    look.login_ok();
                } else {
                    field.activate(Request::WakeUp, None);
                    look.login_failed();
                }
            }
            LookStep::Read(block) => {
                if let Ok(data) = field.read(block) {
                    look.block(data);
                } else {
                    field.activate(Request::WakeUp, None);
                    look.refused();
                }
            }
            LookStep::Done => break,
            step @ (LookStep::Version | LookStep::UltralightCProbe | LookStep::Pages { .. } | LookStep::Unlock(_)) => {
                panic!("no step of a Classic card: {step:?}")
            }
        }
    }
    match look.outcome() {
        Some(LookOutcome::Ours(view)) => view.slots.into(),
        Some(LookOutcome::NotOurs) | None => Vec::new(),
    }
}

/// None for a card that does not let itself be read.
fn page_slots(field: &mut Field, keys: &CardKeys, place: Place) -> Vec<SlotState> {
    let mut states = Vec::new();
    for slot in Slot::BOTH {
        let mut memory = Vec::new();
        while memory.len() < usize::from(place.slot_pages()) {
            let page = place.slot_page(slot).get() + u8::try_from(memory.len()).unwrap();
            match field.exchange(&[0x30, page]) {
                Ok(AirAnswer::Bytes(bytes)) => memory.extend_from_slice(bytes.as_chunks::<4>().0),
                Ok(AirAnswer::Ack) | Err(_) => return Vec::new(),
            }
        }
        memory.truncate(place.slot_pages().into());
        states.push(judge(keys, PropertyId(PROPERTY), place, slot, &memory));
    }
    states
}

/// Bytes that one write changes.
pub(super) fn unit(card: &Card) -> usize {
    match card {
        Card::Classic(_) => 16,
        Card::Type2(_) => 4,
        Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// The whole memory.
pub(super) fn dump(card: &Card) -> Vec<u8> {
    match card {
        Card::Classic(card) => card.dump(),
        Card::Type2(card) => card.dump(),
        Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// Makes bits of one unit read differently every other time, as an interrupted write leaves them: first as they are, or
/// first the other way round.
pub(super) fn weaken(card: &mut Card, at: usize, mask: [u8; 16], inverted: bool) {
    let at = u8::try_from(at).unwrap();
    match card {
        Card::Classic(card) => {
            let block = BlockNumber::new(at);
            let content = *card.memory(block).unwrap();
            if inverted {
                card.set_memory(block, std::array::from_fn(|at| content[at] ^ mask[at]));
            }
            card.set_weak_bits(block, mask);
        }
        Card::Type2(card) => {
            let page = PageNumber::new(at);
            let content = *card.memory(page).unwrap();
            if inverted {
                card.set_memory(page, std::array::from_fn(|at| content[at] ^ mask[at]));
            }
            card.set_weak_bits(page, *mask.first_chunk().unwrap());
        }
        Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// Whether a write there can destroy what it changes for good: a trailer holds its own keys.
pub(super) fn is_perilous(card: &Card, at: usize) -> bool {
    match card {
        Card::Classic(_) => BlockNumber::new(u8::try_from(at).unwrap()).is_trailer(),
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => false,
    }
}

/// A valid record: where, with which sequence, what.
type OnCard<'a> = (Slot, u32, &'a Record);

/// Puts records on an empty card.
struct Starter {
    family: Family,
    empty: Item,
}

impl Starter {
    fn start(&self, name: &str, on_card: &[OnCard<'_>], torn: &[Slot], job: Job) -> Start {
        let mut item = self.empty.clone();
        for &valid in on_card {
            self.family.put(&mut item, valid);
        }
        for &slot in torn {
            self.family.put_torn(&mut item, slot);
        }
        let of_job = match &job {
            Job::Encode(record) => Some(record.clone()),
            Job::Erase => None,
        };
        let known = on_card.iter().map(|(_, _, record)| (*record).clone()).chain(of_job);
        Start { name: name.to_owned(), item, known: known.chain([self.family.other()]).collect(), job }
    }
}

impl Family {
    /// As it leaves the factory.
    pub(super) fn blank(self) -> Item {
        let card = match self {
            Self::Classic(size) => Card::Classic(ClassicCard::blank(size, uid4())),
            Self::Type2 { kind, .. } => Card::Type2(Type2Card::blank(kind, uid7())),
        };
        Item { card, begun: false }
    }

    /// What the layout takes it for.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Classic(size) => size.into(),
            Self::Type2 { kind, ndef } => Place::of(kind, ndef).into(),
        }
    }

    /// What phones are shown of it.
    pub(super) fn ndef(self) -> Option<Ndef> {
        match self {
            Self::Type2 { ndef: true, .. } => Some(Ndef::uri("https://example.org/").unwrap()),
            Self::Type2 { ndef: false, .. } | Self::Classic(_) => None,
        }
    }

    /// Whether a card of this kind is closed by a password or a 3DES key.
    pub(super) fn needs_opening(self) -> bool {
        match self {
            Self::Classic(_) => false,
            Self::Type2 { kind, .. } => kind.has_password() || kind == Type2Kind::UltralightC,
        }
    }

    /// How many doors it carries at most.
    pub(super) fn doors(self) -> u8 {
        self.form().doors_max()
    }

    /// A record with so many doors, or as many as it carries.
    fn record(self, number: u8, doors: u8) -> Record {
        record(number, doors.min(self.doors()))
    }

    /// What another guest's card says.
    pub(super) fn other(self) -> Record {
        self.record(77, 5)
    }

    /// Numbers of doors for which round trips are written down.
    pub(super) fn doors_counted(self) -> Vec<u8> {
        let mut doors = vec![self.doors().min(2), self.doors().min(16)];
        doors.dedup();
        doors
    }

    /// Personalised, without a credential.
    pub(super) fn empty(self) -> Item {
        let mut item = self.blank();
        block_on(async {
            let mut rig = Rig::new("pn532").await;
            rig.ndef = self.ndef();
            rig.run(&mut item, &Job::Encode(record(9, 0)), None).await.expect("a blank card is encoded");
            rig.run(&mut item, &Job::Erase, None).await.expect("it is erased");
        });
        item
    }

    /// All memory but the slots, as it is on every prepared card. Of the two pages of configuration only what acts: a torn
    /// write may leave anything in bits that are reserved.
    pub(super) fn outside(self, card: &Card) -> Vec<u8> {
        let mut dump = dump(card);
        let mut clear = |unit: usize, number: u8| dump[unit * usize::from(number)..][..unit].fill(0);
        for slot in Slot::BOTH {
            match self.form() {
                Form::Classic(_) => slot.blocks().for_each(|block| clear(16, block.number().get())),
                Form::Type2(place) => place.pages(slot).for_each(|page| clear(4, page.number().get())),
            }
        }
        if let Self::Type2 { kind, .. } = self
            && let Some(page) = kind.config_page()
        {
            let acts = match kind {
                Type2Kind::Ultralight | Type2Kind::UltralightC => [0xFF, 0, 0, 0, 0x01, 0, 0, 0],
                Type2Kind::UltralightEv1Small | Type2Kind::UltralightEv1Large => [0, 0, 0, 0xFF, 0xFF, 0, 0, 0],
                // Mirrors, AUTH0, ACCESS.
                Type2Kind::Ntag213 | Type2Kind::Ntag215 | Type2Kind::Ntag216 => [0xC0, 0, 0, 0xFF, 0xFF, 0, 0, 0],
            };
            let config = &mut dump[4 * usize::from(page.get())..][..8];
            config.iter_mut().zip(acts).for_each(|(byte, acts)| *byte &= acts);
        }
        dump
    }

    /// The memory of both slots.
    pub(super) fn inside(self, card: &Card) -> Vec<u8> {
        let dump = dump(card);
        let unit = |unit: usize, number: u8| dump[unit * usize::from(number)..][..unit].to_vec();
        let of_slot = |slot: Slot| match self.form() {
            Form::Classic(_) => slot.blocks().flat_map(|block| unit(16, block.number().get())).collect::<Vec<_>>(),
            Form::Type2(place) => place.pages(slot).flat_map(|page| unit(4, page.number().get())).collect(),
        };
        Slot::BOTH.into_iter().flat_map(of_slot).collect()
    }

    fn put(self, item: &mut Item, (slot, sequence, record): OnCard<'_>) {
        let keys = keys(&item.card);
        match (&mut item.card, self.form()) {
            (Card::Classic(card), _) => {
                let image = SlotImage::new(&keys, slot, sequence, record).unwrap();
                image.blocks().for_each(|(block, data)| card.set_memory(block.number(), data));
            }
            (Card::Type2(card), Form::Type2(place)) => {
                let content = Content::fit(record, self.form()).unwrap();
                let image = PageImage::new(&keys, place, slot, sequence, &content).unwrap();
                image.pages().for_each(|(page, data)| card.set_memory(page.number(), data));
            }
            (_, _) => panic!("a card with memory"),
        }
    }

    fn put_torn(self, item: &mut Item, slot: Slot) {
        item.begun = true;
        match (&mut item.card, self.form()) {
            (Card::Classic(card), _) => card.set_memory(slot.seal_block().number(), [0x5A; 16]),
            (Card::Type2(card), Form::Type2(place)) => card.set_memory(place.slot_page(slot), [0x5A; 4]),
            (_, _) => panic!("a card with memory"),
        }
    }

    fn starter(self) -> Starter {
        Starter { family: self, empty: self.empty() }
    }

    fn personalizations(self) -> Vec<Start> {
        let new = self.record(3, 2);
        let known = vec![new.clone(), self.other()];
        vec![Start { name: "blank".to_owned(), item: self.blank(), job: Job::Encode(new), known }]
    }

    /// First encode, next encode from either slot, records that grow and shrink.
    fn encodes(self) -> Vec<Start> {
        let (old, new, large) = (self.record(1, 2), self.record(3, 2), self.record(4, 17));
        let start = self.starter();
        let start = |name, on_card: &[OnCard<'_>], torn: &[Slot], job| start.start(name, on_card, torn, job);
        let mut starts = vec![
            start("empty", &[], &[], Job::Encode(new.clone())),
            start("A", &[(Slot::A, 5, &old)], &[], Job::Encode(new.clone())),
            start("B", &[(Slot::B, 5, &old)], &[], Job::Encode(new.clone())),
        ];
        if self.doors() > 2 {
            starts.push(start("A, grows", &[(Slot::A, 5, &old)], &[], Job::Encode(large.clone())));
            starts.push(start("B, shrinks", &[(Slot::B, 5, &large)], &[], Job::Encode(new)));
        }
        starts
    }

    /// Cards that an interrupted attempt has left, for the same and for another job.
    fn unfinished(self) -> Vec<Start> {
        let (old, older) = (self.record(1, 2), self.record(2, 9));
        let (new, large) = (self.record(3, 2), self.record(4, 17));
        let start = self.starter();
        let start = |name, on_card: &[OnCard<'_>], torn: &[Slot], job| start.start(name, on_card, torn, job);
        vec![
            start("torn A", &[], &[Slot::A], Job::Encode(new.clone())),
            start("torn B", &[], &[Slot::B], Job::Encode(new.clone())),
            start("torn A and B", &[], &[Slot::A, Slot::B], Job::Encode(new.clone())),
            start("A, torn B", &[(Slot::A, 5, &old)], &[Slot::B], Job::Encode(new.clone())),
            start("B is the new one, torn A", &[(Slot::B, 6, &new)], &[Slot::A], Job::Encode(new.clone())),
            start("A older, B, same", &[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], Job::Encode(old.clone())),
            start("A, B older, same", &[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], Job::Encode(old.clone())),
            start("A older, B", &[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], Job::Encode(new)),
            start("A, B older, grows", &[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], Job::Encode(large)),
        ]
    }

    fn erasures(self) -> Vec<Start> {
        let (old, older, large) = (self.record(1, 2), self.record(2, 9), self.record(4, 17));
        let start = self.starter();
        let start = |name, on_card: &[OnCard<'_>], torn: &[Slot], job| start.start(name, on_card, torn, job);
        vec![
            start("A", &[(Slot::A, 5, &old)], &[], Job::Erase),
            start("B", &[(Slot::B, 5, &large)], &[], Job::Erase),
            start("A, torn B", &[(Slot::A, 5, &old)], &[Slot::B], Job::Erase),
            start("A older, B", &[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], Job::Erase),
            start("A, B older", &[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], Job::Erase),
        ]
    }

    /// One part of the suite with cards of this kind.
    pub(super) fn stage(self, reader: &'static str, kind: Kind) -> Stage {
        let starts = match kind {
            Kind::Personalize => self.personalizations(),
            Kind::Encode => self.encodes(),
            Kind::Recover => self.unfinished(),
            Kind::Erase => self.erasures(),
            Kind::TwoTears | Kind::WeakBits => self.encodes().into_iter().chain(self.unfinished()).collect(),
        };
        Stage { reader, family: self, kind, starts, prepared: self.outside(&self.empty().card) }
    }
}
