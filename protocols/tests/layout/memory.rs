//! Reading a card whole: what comes out is what is on it, and nothing that keys or access bits keep back.

use super::bench::{Bench, SIZES, record, sector, uid};
use encoder_protocols::card_sim::ClassicCard;
use encoder_protocols::family::classic::{
    BlockNumber, ClassicSize, Condition, Key, KeyA, KeyB, SectorKey, SectorTrailer,
};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::plan::{ClassicMemory, KeysWanted, ReadMemory, SectorKeys};

const SECRET_A: [u8; 6] = [0xA1; 6];
const SECRET_B: [u8; 6] = [0xB2; 6];

fn ours_then_transport(size: ClassicSize, keys: &CardKeys) -> Vec<SectorKeys> {
    let of = |sector| SectorKeys {
        sector,
        keys: vec![
            Key::A(keys.key_a(sector)),
            Key::transport_a(),
            Key::B(keys.key_b(sector)),
            Key::B(KeyB(SectorKey::transport())),
        ],
    };
    size.sector_numbers().map(of).collect()
}

fn read(bench: &mut Bench, wanted: KeysWanted, keys: Vec<SectorKeys>) -> ClassicMemory {
    let mut machine = ReadMemory::new(bench.card.size(), wanted, keys);
    bench.examine(&mut machine);
    let (done, of) = machine.progress();
    assert_eq!(done, of);
    machine.outcome().unwrap()
}

/// The card's memory as the machine tells it, or what it does not tell.
fn rebuilt(memory: &ClassicMemory) -> Vec<Option<[u8; 16]>> {
    let of_sector = |contents: &encoder_protocols::plan::SectorContents| {
        let trailer = contents.whole_trailer().map(|trailer| trailer.to_bytes());
        contents.blocks.iter().copied().chain([trailer]).collect::<Vec<_>>()
    };
    memory.sectors.iter().flat_map(of_sector).collect()
}

#[test]
fn a_card_of_ours_is_read_to_the_last_byte() {
    for size in SIZES {
        let mut bench = Bench::personalized(size);
        bench.encode(&record(1, 9));
        let keys = ours_then_transport(size, &bench.keys);
        let memory = read(&mut bench, KeysWanted::Both, keys);
        let whole: Vec<[u8; 16]> = rebuilt(&memory).into_iter().map(Option::unwrap).collect();
        assert_eq!(whole.concat(), bench.card.dump(), "{size}");
    }
}

#[test]
fn a_blank_card_costs_a_login_a_sector_and_a_read_a_block() {
    let mut bench = Bench::blank(ClassicSize::K1);
    let transport = |sector| SectorKeys { sector, keys: vec![Key::transport_a()] };
    let keys = ClassicSize::K1.sector_numbers().map(transport).collect();
    let memory = read(&mut bench, KeysWanted::ForReading, keys);
    assert!(memory.sectors.iter().all(|contents| contents.opened() && contents.blocks.iter().all(Option::is_some)));
    assert_eq!(bench.round_trips, 16 + 64);
}

/// A sector that only key B may read, one that key A may read in part, one that nobody opens.
fn guarded() -> ClassicCard {
    let mut card = ClassicCard::blank(ClassicSize::Mini, uid());
    let trailer = |data: [Condition; 3]| {
        let mut trailer = SectorTrailer::transport();
        trailer.key_a = KeyA(SectorKey::new(SECRET_A));
        trailer.key_b = KeyB(SectorKey::new(SECRET_B));
        trailer.access_bits.data = data;
        trailer.access_bits.trailer = Condition::TRAILER_WRITE_WITH_KEY_B;
        trailer.to_bytes()
    };
    let key_b_only = Condition::new(false, true, true);
    let never = Condition::new(true, true, true);
    card.set_memory(BlockNumber::new(7), trailer([key_b_only; 3]));
    card.set_memory(BlockNumber::new(11), trailer([Condition::DATA_TRANSPORT, key_b_only, never]));
    card.set_memory(BlockNumber::new(15), trailer([Condition::DATA_TRANSPORT; 3]));
    card.set_memory(BlockNumber::new(4), [0x44; 16]);
    card.set_memory(BlockNumber::new(9), [0x99; 16]);
    card
}

#[test]
fn what_access_bits_keep_back_is_not_asked_for() {
    let mut bench = Bench::blank(ClassicSize::Mini);
    bench.card = guarded();
    bench.card.select();
    let (a, b) = (Key::A(KeyA(SectorKey::new(SECRET_A))), Key::B(KeyB(SectorKey::new(SECRET_B))));
    let todo = vec![
        SectorKeys { sector: sector(1), keys: vec![a.clone(), b.clone()] },
        SectorKeys { sector: sector(2), keys: vec![a.clone(), b] },
        SectorKeys { sector: sector(3), keys: vec![Key::transport_a()] },
    ];
    let memory = read(&mut bench, KeysWanted::ForReading, todo);
    assert_eq!(memory.block(BlockNumber::new(4)), Some([0x44; 16]));
    assert_eq!(memory.block(BlockNumber::new(8)), Some([0; 16]));
    assert_eq!(memory.block(BlockNumber::new(9)), Some([0x99; 16]));
    assert_eq!(memory.block(BlockNumber::new(10)), None, "no key may read it");
    assert!(!memory.sectors[2].opened());
    // Sector 1: A, trailer, B, three blocks. Sector 2: A, trailer, one block, B, one block. Sector 3: one refused login
    // and the selection after it. A refused block would have cost two more.
    assert_eq!(bench.round_trips, 6 + 5 + 2);
}
