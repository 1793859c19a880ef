//! The worked example of `docs/card-layout.md`, whose bytes an independent program computed.

use super::vectors::bytes;
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::classic::SectorNumber;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::keys::{PropertyKey, Purpose};
use encoder_protocols::layout::mad::Mad;
use encoder_protocols::layout::ocl1::{self, SealState, Slot, SlotImage};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use serde::Deserialize;

const DOCUMENT: &str = include_str!("../../../docs/card-layout.md");

#[derive(Deserialize)]
struct Vectors {
    record: RecordVector,
    cards: Vec<CardVector>,
    directories: Vec<DirectoryVector>,
}

#[derive(Deserialize)]
struct RecordVector {
    credential_id: String,
    property_id: String,
    flags: u8,
    starts_at: u32,
    ends_at: u32,
    issued_at: u32,
    doors: Vec<u16>,
}

#[derive(Deserialize)]
struct CardVector {
    means: String,
    key_id: u8,
    master: String,
    uid: String,
    slot: char,
    sequence: u32,
    sub_keys: SubKeys,
    card_seal_key: String,
    keys_a: Vec<String>,
    keys_b: Vec<String>,
    password: String,
    pack: String,
    ultralight_c_key: String,
    mac_input: String,
    blocks: Vec<String>,
}

#[derive(Deserialize)]
struct SubKeys {
    seal: String,
    sector: String,
    password: String,
}

#[derive(Deserialize)]
struct DirectoryVector {
    means: String,
    blocks: [String; 2],
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/layout.json")).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn record(vector: &RecordVector) -> Record {
    Record {
        credential_id: CredentialId(array(&vector.credential_id)),
        property_id: PropertyId(array(&vector.property_id)),
        flags: Flags::from_bits(vector.flags).unwrap(),
        starts_at: vector.starts_at,
        ends_at: vector.ends_at,
        issued_at: vector.issued_at,
        doors: vector.doors.clone(),
    }
}

fn slot(letter: char) -> Slot {
    Slot::BOTH.into_iter().find(|slot| slot.to_string() == letter.to_string()).unwrap()
}

#[test]
fn keys_are_those_of_the_independent_program() {
    for vector in vectors().cards {
        let property = PropertyKey::new(vector.key_id, array(&vector.master));
        let sub_keys = [
            (Purpose::Seal, &vector.sub_keys.seal),
            (Purpose::Sector, &vector.sub_keys.sector),
            (Purpose::Password, &vector.sub_keys.password),
        ];
        for (purpose, expected) in sub_keys {
            assert_eq!(property.sub_key(purpose).expose(), &array(expected), "{purpose:?}");
        }
        let keys = property.for_card(&Uid::new(&bytes(&vector.uid)).unwrap());
        assert_eq!(keys.seal_key().expose(), &array(&vector.card_seal_key), "{}", vector.means);
        for (sector, expected) in (1..).zip(&vector.keys_a) {
            assert_eq!(keys.key_a(SectorNumber::new(sector).unwrap()).0.expose(), &array(expected));
        }
        for (sector, expected) in (0..).zip(&vector.keys_b) {
            assert_eq!(keys.key_b(SectorNumber::new(sector).unwrap()).0.expose(), &array(expected));
        }
        assert_eq!(keys.password().expose(), &array(&vector.password), "{}", vector.means);
        assert_eq!(keys.pack().expose(), &array(&vector.pack), "{}", vector.means);
        assert_eq!(keys.ultralight_c_key().expose(), &array(&vector.ultralight_c_key), "{}", vector.means);
        let public = keys.key_a(SectorNumber::new(0).unwrap());
        assert_eq!(public.0.expose(), &[0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5]);
    }
}

#[test]
fn blocks_are_those_of_the_independent_program() {
    let vectors = vectors();
    let record = record(&vectors.record);
    for vector in &vectors.cards {
        let keys =
            PropertyKey::new(vector.key_id, array(&vector.master)).for_card(&Uid::new(&bytes(&vector.uid)).unwrap());
        let slot = slot(vector.slot);
        let image = SlotImage::new(&keys, slot, vector.sequence, &record).unwrap();
        let expected: Vec<[u8; 16]> = vector.blocks.iter().map(|block| array(block)).collect();
        assert_eq!(image.blocks().map(|(_, data)| data).collect::<Vec<_>>(), expected, "{}", vector.means);

        let SealState::Present(seal) = ocl1::judge_seal(&keys, &expected[0]) else { panic!("{}", vector.means) };
        let sealed = ocl1::open(&keys, slot, &seal, &expected[1..]).unwrap();
        assert_eq!(
            (sealed.sequence, sealed.key_id, sealed.content.record()),
            (vector.sequence, vector.key_id, Some(&record))
        );
    }
}

#[test]
fn directories_are_those_of_the_independent_program() {
    let vectors = vectors().directories;
    let sizes = [(&vectors[0], ClassicSize::K1), (&vectors[0], ClassicSize::K4), (&vectors[1], ClassicSize::Mini)];
    for (vector, size) in sizes {
        let expected = vector.blocks.each_ref().map(|block| array(block));
        assert_eq!(Mad::for_card(size).to_blocks(), expected, "{}", vector.means);
    }
}

#[test]
fn document_shows_the_bytes_of_the_example() {
    let vectors = vectors();
    let example = &vectors.cards[0];
    let values = [&example.master, &example.uid, &example.card_seal_key, &example.mac_input]
        .into_iter()
        .chain([&example.password, &example.pack, &example.ultralight_c_key])
        .chain([&example.sub_keys.seal, &example.sub_keys.sector, &example.sub_keys.password])
        .chain(&example.keys_a)
        .chain(&example.keys_b)
        .chain(&example.blocks)
        .chain(vectors.directories.iter().flat_map(|directory| &directory.blocks));
    let document: String = DOCUMENT.chars().filter(|char| !char.is_whitespace()).collect();
    for value in values {
        assert!(document.contains(value), "{value} is not in docs/card-layout.md");
    }
}
