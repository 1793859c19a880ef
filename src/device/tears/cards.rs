//! Cards to start from, and what lies on a card, read without a reader.

pub(super) use encoder_protocols::card_sim::Card;

use super::rig::{Job, PROPERTY, Rig, block_on, property_key};
use super::suite::{Kind, Stage};
use encoder_protocols::card_sim::{ClassicCard, KeySlot};
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key};
use encoder_protocols::id::Uid;
use encoder_protocols::layout::content::SlotState;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1::{Slot, SlotImage};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use encoder_protocols::plan::{CardView, Examine, Look, LookOutcome, LookStep};

/// A kind of card.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    Classic(ClassicSize),
}

/// Every kind.
pub(super) const FAMILIES: &[Family] =
    &[Family::Classic(ClassicSize::Mini), Family::Classic(ClassicSize::K1), Family::Classic(ClassicSize::K4)];

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Classic(ClassicSize::Mini) => f.write_str("classic-mini"),
            Self::Classic(ClassicSize::K1) => f.write_str("classic-1k"),
            Self::Classic(ClassicSize::K4) => f.write_str("classic-4k"),
        }
    }
}

pub(super) fn uid() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3]).unwrap()
}

pub(super) fn keys() -> CardKeys {
    property_key().for_card(&uid())
}

/// A record that differs from another number's in every field that may differ.
pub(super) fn record(number: u8, doors: u8) -> Record {
    Record {
        credential_id: CredentialId([number; 16]),
        property_id: PropertyId(PROPERTY),
        flags: Flags::OVERRIDE_PREVIOUS_GUEST,
        starts_at: 1_760_000_000 + u32::from(number),
        ends_at: 1_760_300_000,
        issued_at: 1_759_990_000,
        doors: (0..doors).map(|door| 100 + u16::from(door) + u16::from(number)).collect(),
    }
}

/// What another guest's card says.
pub(super) fn other() -> Record {
    record(77, 5)
}

/// A card, and what is to be done with it.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// What is on the card, in words.
    pub(super) name: String,
    pub(super) card: Card,
    pub(super) job: Job,
    /// Records that may be found on it before, between and after.
    pub(super) known: Vec<Record>,
}

/// What both slots hold.
pub(super) struct Sight {
    /// `None`: no card of ours yet.
    view: Option<CardView>,
}

impl Sight {
    /// Reads a card without a reader. The card is as if it had not been read.
    pub(super) fn of(card: &Card) -> Self {
        let [first, _] = Self::twice(card);
        first
    }

    /// Reads it a second time, when weak bits read the other way round.
    pub(super) fn twice(card: &Card) -> [Self; 2] {
        let mut card = card.clone();
        [(); 2].map(|()| {
            card.power_off();
            card.select();
            let mut look = Look::new(keys());
            let Card::Classic(classic) = &mut card else { panic!("a Classic card") };
            examine(classic, &mut look);
            let view = match look.outcome() {
                Some(LookOutcome::Ours(view)) => Some(view),
                Some(LookOutcome::NotOurs) | None => None,
            };
            Self { view }
        })
    }

    /// Every valid record, the current one last.
    pub(super) fn valid(&self) -> Vec<Record> {
        let mut valid: Vec<_> = self.slots().filter_map(SlotState::valid).collect();
        valid.sort_by_key(|sealed| sealed.sequence);
        valid.into_iter().filter_map(|sealed| sealed.content.record().cloned()).collect()
    }

    /// What a lock takes.
    pub(super) fn current(&self) -> Option<Record> {
        self.valid().pop()
    }

    /// How many slots hold something, valid or not.
    pub(super) fn filled(&self) -> usize {
        self.slots().filter(|slot| **slot != SlotState::Empty).count()
    }

    fn slots(&self) -> impl Iterator<Item = &SlotState> {
        self.view.iter().flat_map(|view| Slot::BOTH.map(|slot| view.slot(slot)))
    }
}

fn examine(card: &mut ClassicCard, machine: &mut dyn Examine) {
    loop {
        match machine.poll() {
            LookStep::Login { sector, key } => {
                let slot = if matches!(key, Key::A(_)) { KeySlot::A } else { KeySlot::B };
                if card.authenticate(sector.first_block(), slot, key.secret().expose()).is_ok() {
                    machine.login_ok();
                } else {
                    card.select();
                    machine.login_failed();
                }
            }
            LookStep::Read(block) => {
                if let Ok(data) = card.read(block) {
                    machine.block(data);
                } else {
                    card.select();
                    machine.refused();
                }
            }
            step @ (LookStep::Version | LookStep::UltralightCProbe | LookStep::Pages { .. } | LookStep::Unlock(_)) => {
                panic!("no step for a Classic card: {step:?}")
            }
            LookStep::Done => return,
        }
    }
}

/// Bytes that one write changes.
pub(super) fn unit(card: &Card) -> usize {
    match card {
        Card::Classic(_) => 16,
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// The whole memory.
pub(super) fn dump(card: &Card) -> Vec<u8> {
    match card {
        Card::Classic(card) => card.dump(),
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// Makes bits of one unit read differently every other time, as an interrupted write leaves them: first as they are, or
/// first the other way round.
pub(super) fn weaken(card: &mut Card, at: usize, mask: [u8; 16], inverted: bool) {
    match card {
        Card::Classic(card) => {
            let block = BlockNumber::new(u8::try_from(at).unwrap());
            let content = *card.memory(block).unwrap();
            if inverted {
                card.set_memory(block, std::array::from_fn(|at| content[at] ^ mask[at]));
            }
            card.set_weak_bits(block, mask);
        }
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// What personalising leaves, keys and all: it must be on every card that carries a credential.
pub(super) fn preparation(card: &Card) -> Vec<u8> {
    let dump = dump(card);
    match card {
        // The directory, and the trailers of sectors 0 to 4.
        Card::Classic(_) => {
            [1, 2, 3, 7, 11, 15, 19].into_iter().flat_map(|block| dump[16 * block..][..16].to_vec()).collect()
        }
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// Whether a write there can destroy what it changes for good: a trailer holds its own keys.
pub(super) fn is_perilous(card: &Card, at: usize) -> bool {
    match card {
        Card::Classic(_) => BlockNumber::new(u8::try_from(at).unwrap()).is_trailer(),
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => false,
    }
}

impl Family {
    /// As it leaves the factory.
    pub(super) fn blank(self) -> Card {
        match self {
            Self::Classic(size) => Card::Classic(ClassicCard::blank(size, uid())),
        }
    }

    /// Personalised, without a credential.
    pub(super) fn empty(self) -> Card {
        let mut card = self.blank();
        block_on(async {
            let mut rig = Rig::new("pn532").await;
            rig.run(&mut card, &Job::Encode(record(9, 0)), None).await.expect("a blank card is encoded");
            rig.run(&mut card, &Job::Erase, None).await.expect("it is erased");
        });
        card
    }
}

fn put(card: &mut Card, (slot, sequence, record): (Slot, u32, &Record)) {
    match card {
        Card::Classic(card) => {
            let image = SlotImage::new(&keys(), slot, sequence, record).unwrap();
            for (block, data) in image.blocks() {
                card.set_memory(block.number(), data);
            }
        }
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

fn put_torn(card: &mut Card, slot: Slot) {
    match card {
        Card::Classic(card) => card.set_memory(slot.seal_block().number(), [0x5A; 16]),
        Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// First encode, next encode from either slot, records that grow and shrink.
fn encodes(family: Family) -> Vec<Start> {
    let (old, new, large) = (record(1, 2), record(3, 2), record(4, 17));
    let start = starter(family);
    vec![
        start("empty", &[], &[], Job::Encode(new.clone())),
        start("A", &[(Slot::A, 5, &old)], &[], Job::Encode(new.clone())),
        start("B", &[(Slot::B, 5, &old)], &[], Job::Encode(new.clone())),
        start("A, grows", &[(Slot::A, 5, &old)], &[], Job::Encode(large.clone())),
        start("B, shrinks", &[(Slot::B, 5, &large)], &[], Job::Encode(new)),
    ]
}

/// Cards that an interrupted attempt has left, for the same and for another job.
fn unfinished(family: Family) -> Vec<Start> {
    let (old, older, new, large) = (record(1, 2), record(2, 9), record(3, 2), record(4, 17));
    let start = starter(family);
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

fn erasures(family: Family) -> Vec<Start> {
    let (old, older, large) = (record(1, 2), record(2, 9), record(4, 17));
    let start = starter(family);
    vec![
        start("A", &[(Slot::A, 5, &old)], &[], Job::Erase),
        start("B", &[(Slot::B, 5, &large)], &[], Job::Erase),
        start("A, torn B", &[(Slot::A, 5, &old)], &[Slot::B], Job::Erase),
        start("A older, B", &[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], Job::Erase),
        start("A, B older", &[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], Job::Erase),
    ]
}

fn starter(family: Family) -> impl Fn(&str, &[(Slot, u32, &Record)], &[Slot], Job) -> Start {
    let empty = family.empty();
    move |name, on_card, torn, job| {
        let mut card = empty.clone();
        for &valid in on_card {
            put(&mut card, valid);
        }
        for &slot in torn {
            put_torn(&mut card, slot);
        }
        let of_job = match &job {
            Job::Encode(record) => Some(record.clone()),
            Job::Erase => None,
        };
        let known = on_card.iter().map(|(_, _, record)| (*record).clone()).chain(of_job).chain([other()]).collect();
        Start { name: name.to_owned(), card, job, known }
    }
}

/// Everything on one reader.
pub(super) fn stages(reader: &'static str) -> Vec<Stage> {
    let of_family = |&family: &Family| {
        let new = record(3, 2);
        let blank = Start {
            name: "blank".to_owned(),
            card: family.blank(),
            job: Job::Encode(new.clone()),
            known: vec![new, other()],
        };
        let prepared = preparation(&family.empty());
        let stage = |kind, starts| Stage { reader, family, kind, starts, prepared: prepared.clone() };
        [
            stage(Kind::Personalize, vec![blank]),
            stage(Kind::Encode, encodes(family)),
            stage(Kind::Recover, unfinished(family)),
            stage(Kind::Erase, erasures(family)),
            stage(Kind::TwoTears, encodes(family).into_iter().chain(unfinished(family)).collect()),
            stage(Kind::WeakBits, encodes(family).into_iter().chain(unfinished(family)).collect()),
        ]
    };
    FAMILIES.iter().flat_map(of_family).collect()
}
