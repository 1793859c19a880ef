//! What a lock says to cards, on bytes that an independent program computed; and that it allocates nothing for it.

use super::bench::{Bench, record as classic_record};
use super::pages::{PLACES, PageBench, record as page_record};
use super::vectors::bytes;
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::compact::CredentialNumber;
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::form::{Form, Place};
use encoder_protocols::layout::keys::{CardKeys, PropertyKey};
use encoder_protocols::layout::ocl1::{Slot, SlotFault};
use encoder_protocols::layout::pages::PageImage;
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use encoder_protocols::layout::verify::{Lock, Memory, Opened, Refusal, place, verify};
use serde::Deserialize;

const DOCUMENT: &str = include_str!("../../../docs/card-layout.md");

#[derive(Deserialize)]
struct Vectors {
    key_id: u8,
    master: String,
    uid: String,
    credential_id: String,
    property_id: String,
    flags: u8,
    starts_at: u32,
    ends_at: u32,
    issued_at: u32,
    card_seal_key: String,
    password: String,
    pack: String,
    ultralight_c_key: String,
    ultralight_c_pages: Vec<String>,
    cards: Vec<Card>,
}

#[derive(Deserialize)]
struct Card {
    kind: String,
    ndef: bool,
    slot: char,
    sequence: u32,
    doors: Vec<u16>,
    first_page: u8,
    mac_input: String,
    seal: Vec<String>,
    payload: Vec<String>,
}

impl Vectors {
    fn read() -> Self {
        serde_json::from_str(include_str!("../vectors/type2.json")).unwrap()
    }

    fn keys(&self) -> CardKeys {
        PropertyKey::new(self.key_id, array(&self.master)).for_card(&Uid::new(&bytes(&self.uid)).unwrap())
    }

    fn record(&self, doors: &[u16]) -> Record {
        Record {
            credential_id: CredentialId(array(&self.credential_id)),
            property_id: PropertyId(array(&self.property_id)),
            flags: Flags::from_bits(self.flags).unwrap(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            issued_at: self.issued_at,
            doors: doors.to_vec(),
        }
    }

    fn lock(&self) -> Lock {
        Lock { property: PropertyId(array(&self.property_id)), door: 101, is_common: false, newest: None }
    }
}

impl Card {
    fn kind(&self) -> Type2Kind {
        match self.kind.as_str() {
            "ultralight" => Type2Kind::Ultralight,
            "ultralight-ev1-48" => Type2Kind::UltralightEv1Small,
            "ultralight-ev1" => Type2Kind::UltralightEv1Large,
            "ultralight-c" => Type2Kind::UltralightC,
            "ntag213" => Type2Kind::Ntag213,
            "ntag215" => Type2Kind::Ntag215,
            "ntag216" => Type2Kind::Ntag216,
            other => panic!("{other}"),
        }
    }

    fn pages(&self) -> Vec<[u8; 4]> {
        self.seal.iter().chain(&self.payload).map(|page| array(page)).collect()
    }

    /// The whole card, with AUTH0 where it tells the place.
    fn memory(&self) -> Vec<u8> {
        let mut memory = vec![[0; 4]; usize::from(self.kind().pages())];
        memory[usize::from(self.first_page)..][..self.pages().len()].copy_from_slice(&self.pages());
        if self.kind() == Type2Kind::Ntag213 {
            memory[41] = [4, 0, 0, if self.ndef { 28 } else { 4 }];
        }
        memory.concat()
    }
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn passwords_and_keys_are_those_of_the_independent_program() {
    let vectors = Vectors::read();
    let keys = vectors.keys();
    assert_eq!(keys.seal_key().expose(), &array(&vectors.card_seal_key));
    assert_eq!(keys.password().expose(), &array(&vectors.password));
    assert_eq!(keys.pack().expose(), &array(&vectors.pack));
    assert_eq!(keys.ultralight_c_key().expose(), &array(&vectors.ultralight_c_key));
    let pages = keys.ultralight_c_key().to_pages().map(|page| *page.expose());
    assert_eq!(pages.to_vec(), vectors.ultralight_c_pages.iter().map(|page| array(page)).collect::<Vec<_>>());
}

#[test]
fn pages_are_those_of_the_independent_program() {
    let vectors = Vectors::read();
    for card in &vectors.cards {
        let place = Place::of(card.kind(), card.ndef);
        let slot = Slot::BOTH.into_iter().find(|slot| slot.to_string() == card.slot.to_string()).unwrap();
        let content = Content::fit(&vectors.record(&card.doors), Form::Type2(place)).unwrap();
        let image = PageImage::new(&vectors.keys(), place, slot, card.sequence, &content).unwrap();
        assert_eq!(place.slot_page(slot).get(), card.first_page, "{}", card.kind);
        assert_eq!(
            image.pages().map(|(_, data)| data).collect::<Vec<_>>(),
            card.pages(),
            "{} {}",
            card.kind,
            card.slot
        );
    }
}

#[test]
fn document_shows_the_bytes_of_the_compact_example() {
    let vectors = Vectors::read();
    let card = vectors.cards.iter().find(|card| card.kind == "ultralight" && card.slot == 'B').unwrap();
    let values = [&vectors.card_seal_key, &vectors.password, &vectors.pack, &vectors.ultralight_c_key, &card.mac_input];
    let document: String = DOCUMENT.chars().filter(|char| !char.is_whitespace()).collect();
    for value in values.into_iter().chain(&card.seal).chain(&card.payload) {
        assert!(document.contains(value.as_str()), "{value} is not in docs/card-layout.md");
    }
}

#[test]
fn a_lock_opens_to_bytes_of_the_independent_program_and_allocates_nothing() {
    let vectors = Vectors::read();
    let (keys, lock) = (vectors.keys(), vectors.lock());
    let mut asked = 0;
    for card in &vectors.cards {
        let pages = card.memory();
        let mut said = None;
        let counted = allocation_counter::measure(|| {
            let memory = Memory::Pages { place: place(card.kind(), &pages), pages: &pages };
            said = Some(verify(memory, &keys, &lock, vectors.starts_at));
        });
        assert_eq!(counted.count_total, 0, "{}", card.kind);
        let opened = said.unwrap().unwrap_or_else(|refusal| panic!("{} {}: {refusal}", card.kind, card.slot));
        assert_eq!(opened.credential, CredentialNumber(array(&vectors.credential_id[24..])));
        assert!(opened.ends_at >= vectors.ends_at && opened.ends_at < vectors.ends_at + 60);
        assert!(opened.remember.is_some());
        asked += 1;
    }
    assert_eq!(asked, 16);
    // The counter counts: deriving a ring of keys allocates.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 32]))).count_total > 0);
}

#[test]
fn a_lock_reads_classic_cards_without_allocating() {
    let mut bench = Bench::personalized(ClassicSize::K1);
    bench.encode(&classic_record(1, 2));
    bench.encode(&classic_record(2, 17));
    let dump = bench.card.dump();
    let lock = Lock { property: PropertyId([0xB2; 16]), door: 118, is_common: false, newest: None };
    let mut said = None;
    let counted = allocation_counter::measure(|| {
        let keys = super::bench::property_key().for_card(&super::bench::uid());
        said = Some(verify(Memory::Classic(&dump), &keys, &lock, 1_760_000_100));
    });
    assert_eq!(counted.count_total, 0);
    let remember = Some(1_759_990_000);
    let expected = Opened {
        credential: CredentialNumber([2; 4]),
        ends_at: 1_760_300_000,
        flags: Flags::OVERRIDE_PREVIOUS_GUEST,
        remember,
    };
    assert_eq!(said, Some(Ok(expected)));
}

#[test]
fn every_reason_has_its_refusal() {
    let vectors = Vectors::read();
    let (keys, lock) = (vectors.keys(), vectors.lock());
    for card in &vectors.cards {
        let pages = card.memory();
        let ask = |pages: &[u8], keys: &CardKeys, lock: Lock, now: u32| {
            verify(Memory::Pages { place: place(card.kind(), pages), pages }, keys, &lock, now)
        };
        let is_compact = card.seal.len() == 3;
        let now = vectors.starts_at;
        let early = ask(&pages, &keys, lock, now - 100);
        assert!(matches!(early, Err(Refusal::NotYet { starts_at }) if starts_at <= now), "{early:?}");
        let late = ask(&pages, &keys, lock, vectors.ends_at + 60);
        assert!(matches!(late, Err(Refusal::Expired { ends_at }) if ends_at >= vectors.ends_at), "{late:?}");
        assert_eq!(ask(&pages, &keys, Lock { door: 102, ..lock }, now), Err(Refusal::OtherDoor));
        assert!(ask(&pages, &keys, Lock { door: 102, is_common: true, ..lock }, now).is_ok());
        let newest = if is_compact { vectors.starts_at } else { vectors.issued_at };
        assert!(ask(&pages, &keys, Lock { newest: Some(newest - 60), ..lock }, now).is_ok());
        assert_eq!(ask(&pages, &keys, Lock { newest: Some(newest + 1), ..lock }, now), Err(Refusal::Overridden));
        let elsewhere = ask(&pages, &keys, Lock { property: PropertyId([1; 16]), ..lock }, now);
        if is_compact {
            assert!(matches!(elsewhere, Err(Refusal::NoCredential { .. })), "{elsewhere:?}");
        } else {
            assert_eq!(elsewhere, Err(Refusal::OtherProperty));
        }
        let other = PropertyKey::new(2, [9; 16]).for_card(keys.uid());
        let fault = Some(SlotFault::KeyId { found: 1 });
        let expected = match card.slot {
            'A' => Refusal::NoCredential { a: fault, b: None },
            _ => Refusal::NoCredential { a: None, b: fault },
        };
        assert_eq!(ask(&pages, &other, lock, now), Err(expected));
        // Every flipped bit of seal and payload is refused.
        for bit in 0..card.pages().len() * 32 {
            let mut torn = pages.clone();
            torn[4 * usize::from(card.first_page) + bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(ask(&torn, &keys, lock, now), Err(Refusal::NoCredential { .. })),
                "{} bit {bit}",
                card.kind
            );
        }
        // Whatever is cut off counts as empty and never panics.
        for len in 0..pages.len() {
            let _any = ask(&pages[..len], &keys, lock, now);
        }
    }
}

#[test]
fn a_lock_and_the_desk_agree_on_every_card() {
    for at in PLACES {
        let mut bench = PageBench::personalized(at);
        bench.encode(&page_record(1));
        bench.encode(&page_record(2));
        let dump = bench.card().dump();
        let record = page_record(2);
        let lock = Lock { property: record.property_id, door: record.doors[0], is_common: false, newest: None };
        let memory = Memory::Pages { place: place(at.0, &dump), pages: &dump };
        let opened = verify(memory, &bench.keys, &lock, record.starts_at).unwrap();
        assert_eq!(opened.credential, record.credential_id.into(), "{at:?}");
    }
}
