//! The simulated card against the data sheet's tables.

use super::*;
use crate::family::classic::{AccessBits, BlockNumber, ClassicSize, Condition};
use alloc::vec;
use alloc::vec::Vec;
use hex_literal::hex;

const KEY_A: [u8; 6] = [0xA1; 6];
const KEY_B: [u8; 6] = [0xB2; 6];
const FF: [u8; 6] = [0xFF; 6];

fn block(number: u8) -> BlockNumber {
    BlockNumber::new(number)
}

fn uid4() -> Uid {
    Uid::new(&hex!("DEADBEEF")).unwrap()
}

fn uid7() -> Uid {
    Uid::new(&hex!("04A1B2C3D4E5F6")).unwrap()
}

fn condition(code: u8) -> Condition {
    Condition::new(code & 4 != 0, code & 2 != 0, code & 1 != 0)
}

/// A selected card whose sector 1 has these conditions, two keys of its own and a value block 5.
fn card(data: u8, trailer: u8) -> ClassicCard {
    let bits = AccessBits { data: [condition(data); 3], trailer: condition(trailer) }.to_bytes();
    let mut card = ClassicCard::blank(ClassicSize::K1, uid4());
    card.set_memory(block(7), [&KEY_A[..], &bits, &[0x69], &KEY_B].concat().try_into().unwrap());
    card.set_memory(block(5), hex!("0A000000 F5FFFFFF 0A000000 05FA05FA"));
    card.select();
    card
}

fn opened(data: u8, trailer: u8, slot: KeySlot) -> ClassicCard {
    let mut card = card(data, trailer);
    let key = if slot == KeySlot::A { KEY_A } else { KEY_B };
    card.authenticate(block(4), slot, &key).unwrap();
    card
}

#[test]
fn data_conditions_are_those_of_the_data_sheet() {
    // The data sheet's table as it prints it: code, read, write, increment, decrement.
    let table = [
        (0b000, "AB AB AB AB"),
        (0b010, "AB - - -"),
        (0b100, "AB B - -"),
        (0b110, "AB B B AB"),
        (0b001, "AB - - AB"),
        (0b011, "B B - -"),
        (0b101, "B - - -"),
        (0b111, "- - - -"),
    ];
    for (code, row) in table {
        let columns: Vec<&str> = row.split(' ').collect();
        for (slot, letter) in [(KeySlot::A, 'A'), (KeySlot::B, 'B')] {
            // Trailer 011: key B is a key.
            let open = || opened(code, 0b011, slot);
            let results = [
                open().read(block(4)).map(drop),
                open().write(block(4), &[7; 16]),
                open().increment(block(5), 1),
                open().decrement(block(5), 1),
                open().restore(block(5)),
            ];
            let columns = [columns[0], columns[1], columns[2], columns[3], columns[3]];
            for (index, (result, column)) in results.into_iter().zip(columns).enumerate() {
                let expected = if column.contains(letter) { Ok(()) } else { Err(CardError::Nak) };
                assert_eq!(result, expected, "{code:03b} {letter} column {index}");
            }
        }
    }
}

#[test]
fn trailer_conditions_are_those_of_the_data_sheet() {
    // Code; key A write; access bits read, write; key B read, write.
    let table = [
        (0b000, "A A - A A"),
        (0b010, "- A - A -"),
        (0b100, "B AB - - B"),
        (0b110, "- AB - - -"),
        (0b001, "A A A A A"),
        (0b011, "B AB B - B"),
        (0b101, "- AB B - -"),
        (0b111, "- AB - - -"),
    ];
    let new = [&[0x11; 6][..], &hex!("FF0780"), &[0x42], &[0x22; 6]].concat().try_into().unwrap();
    for (code, row) in table {
        let columns: Vec<&str> = row.split(' ').collect();
        for (slot, letter) in [(KeySlot::A, 'A'), (KeySlot::B, 'B')] {
            let may = |column: usize| columns[column].contains(letter);
            // The grey lines: a key B that can be read opens nothing.
            let refused = slot == KeySlot::B && columns[3] == "A";
            let mut read = opened(0, code, slot);
            let stored = *read.memory(block(7)).unwrap();
            let part = |from: &[u8; 16], yes: bool, range: core::ops::Range<usize>, no: &[u8; 16]| {
                if yes { from[range].to_vec() } else { no[range].to_vec() }
            };
            let seen: Vec<u8> =
                [vec![0; 6], part(&stored, may(1), 6..10, &[0; 16]), part(&stored, may(3), 10..16, &[0; 16])].concat();
            let expected = if refused { Err(CardError::Nak) } else { Ok(seen) };
            assert_eq!(read.read(block(7)).map(|seen| seen.to_vec()), expected, "read {code:03b} {letter}");

            let mut write = opened(0, code, slot);
            let any = !refused && (may(0) || may(2) || may(4));
            assert_eq!(write.write(block(7), &new).is_ok(), any, "write {code:03b} {letter}");
            let left = [
                part(&new, any && may(0), 0..6, &stored),
                part(&new, any && may(2), 6..10, &stored),
                part(&new, any && may(4), 10..16, &stored),
            ]
            .concat();
            assert_eq!(write.memory(block(7)).unwrap()[..], left, "after write {code:03b} {letter}");
        }
    }
}

#[test]
fn readable_key_b_opens_nothing() {
    let mut fresh = ClassicCard::blank(ClassicSize::K1, uid4());
    fresh.select();
    assert_eq!(fresh.authenticate(block(4), KeySlot::B, &FF), Ok(()));
    assert_eq!(fresh.read(block(4)), Err(CardError::Nak));
}

#[test]
fn a_failure_ends_the_session_and_the_selection() {
    type Failure = fn(&mut ClassicCard) -> Result<(), CardError>;
    let failures: [Failure; 5] = [
        |card| card.authenticate(block(4), KeySlot::A, &FF),
        |card| card.read(block(8)).map(drop),
        |card| card.write(block(0), &[0; 16]),
        |card| card.increment(block(4), 1),
        |card| card.transfer(block(4)),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let mut card = opened(0, 0b011, KeySlot::A);
        assert!(failure(&mut card).is_err(), "{index}");
        assert_eq!(card.read(block(4)), Err(CardError::Silent), "{index}");
        card.select();
        assert_eq!(card.read(block(4)), Err(CardError::Nak), "{index}: selected, but no sector is open");
        card.select();
        card.authenticate(block(4), KeySlot::A, &KEY_A).unwrap();
        assert_eq!(card.read(block(4)), Ok([0; 16]), "{index}");
    }
}

#[test]
fn inconsistent_access_bits_block_the_sector() {
    let mut broken = card(0, 1);
    broken.set_memory(block(7), [&KEY_A[..], &hex!("FF0F80 69"), &KEY_B].concat().try_into().unwrap());
    assert_eq!(broken.authenticate(block(4), KeySlot::A, &KEY_A), Err(CardError::Silent));
    broken.select();
    assert_eq!(broken.authenticate(block(8), KeySlot::A, &FF), Ok(()), "other sectors live on");
}

#[test]
fn one_sector_is_open_at_a_time() {
    let mut card = opened(0, 0b001, KeySlot::A);
    card.authenticate(block(8), KeySlot::A, &FF).unwrap();
    assert_eq!(card.read(block(8)), Ok([0; 16]));
    assert_eq!(card.read(block(4)), Err(CardError::Nak));
}

#[test]
fn a_selected_card_misses_the_first_request() {
    let mut card = ClassicCard::blank(ClassicSize::K1, uid4());
    assert!(card.request(Request::Idle));
    card.select();
    assert!(!card.request(Request::WakeUp));
    assert!(card.request(Request::WakeUp));
    card.halt();
    assert!(!card.request(Request::Idle));
    assert!(card.request(Request::WakeUp));
    card.power_off();
    assert!(card.request(Request::Idle));
}

#[test]
fn values_travel_through_the_transfer_buffer() {
    let mut card = opened(0b110, 0b011, KeySlot::B);
    card.increment(block(5), 5).unwrap();
    card.transfer(block(6)).unwrap();
    assert_eq!(card.memory(block(6)), Some(&hex!("0F000000 F0FFFFFF 0F000000 05FA05FA")));
    card.decrement(block(6), 16).unwrap();
    card.transfer(block(6)).unwrap();
    assert_eq!(card.memory(block(6)), Some(&hex!("FFFFFFFF 00000000 FFFFFFFF 05FA05FA")));
    card.restore(block(5)).unwrap();
    card.transfer(block(6)).unwrap();
    assert_eq!(card.memory(block(6)), card.memory(block(5)));
    assert_eq!(card.transfer(block(6)), Err(CardError::Nak), "the buffer is empty");
}

#[test]
fn block_0_says_who_the_card_is() {
    let four = ClassicCard::blank(ClassicSize::K1, uid4());
    assert_eq!(four.dump()[..8], hex!("DEADBEEF 22 08 0400"));
    assert_eq!(four.target(), Target::type_a(uid4(), [0x00, 0x04], 0x08));
    let seven = ClassicCard::blank(ClassicSize::K4, uid7());
    assert_eq!(seven.dump()[..10], hex!("04A1B2C3D4E5F6 18 4200"));
    assert_eq!(seven.target(), Target::type_a(uid7(), [0x00, 0x42], 0x18));
}

#[test]
fn dumps_read_back() {
    for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
        for uid in [uid4(), uid7(), Uid::new(&hex!("04040404000000")).unwrap()] {
            let card = ClassicCard::blank(size, uid);
            assert_eq!(card.dump().len(), usize::from(size.blocks()) * 16);
            assert_eq!(ClassicCard::from_dump(size, &card.dump()), Ok(card));
        }
    }
    let dump = ClassicCard::blank(ClassicSize::K1, uid4()).dump();
    assert_eq!(ClassicCard::from_dump(ClassicSize::K1, &dump[1..]), Err(DumpError::Length { need: 1024, have: 1023 }));
    assert_eq!(ClassicCard::from_dump(ClassicSize::K1, &[0xFF; 1024]), Err(DumpError::NoUid));
}

#[test]
fn weak_bits_show_both_values_until_rewritten() {
    let mut card = opened(0, 0b001, KeySlot::A);
    let mut mask = [0; 16];
    mask[3] = 0x10;
    card.set_weak_bits(block(4), mask);
    let (first, second) = (card.read(block(4)).unwrap(), card.read(block(4)).unwrap());
    assert_eq!(first[3] ^ second[3], 0x10);
    card.write(block(4), &[5; 16]).unwrap();
    assert_eq!([card.read(block(4)), card.read(block(4))], [Ok([5; 16]); 2]);
}

fn field_with(cards: &[Uid]) -> Field {
    let mut field = Field::new();
    for uid in cards {
        field.place(Card::Classic(ClassicCard::blank(ClassicSize::K1, *uid))).unwrap();
    }
    field
}

#[test]
fn equal_uids_are_refused() {
    let mut field = field_with(&[uid4()]);
    let twin = Card::Classic(ClassicCard::blank(ClassicSize::Mini, uid4()));
    assert_eq!(field.place(twin), Err(PlaceError::SameUid(uid4())));
}

#[test]
fn two_cards_are_two_targets_every_time() {
    let mut field = field_with(&[uid4(), uid7()]);
    for _ in 0..5 {
        let mut found: Vec<Uid> = field.list(2, 3, None).iter().map(|target| target.uid).collect();
        found.sort();
        assert_eq!(found, [uid7(), uid4()]);
        let selected = field.cards().iter().filter(|card| card.is_active()).count();
        assert_eq!(selected, 1, "one is selected, the other in HALT");
    }
    for uid in [uid7(), uid4()] {
        assert!(field.select(uid));
        assert!(field.is_selected(uid));
        assert_eq!(field.cards().iter().filter(|card| card.is_active()).count(), 1);
    }
    field.power_off();
    assert_eq!(field.activate(Request::WakeUp, None).map(|target| target.uid), Some(uid7()));
    field.power_off();
    assert_eq!(field.activate(Request::WakeUp, Some(uid4())).map(|target| target.uid), Some(uid4()));
}

#[test]
fn a_resting_card_is_found_every_second_time_without_retries() {
    let mut field = field_with(&[uid4()]);
    let found: Vec<usize> = (0..4).map(|_| field.list(1, 1, None).len()).collect();
    assert_eq!(found, [1, 0, 1, 0]);
    let found: Vec<usize> = (0..4).map(|_| field.list(2, 2, None).len()).collect();
    assert_eq!(found, [1, 1, 1, 1]);
}

#[test]
fn a_torn_write_leaves_what_was_planned() {
    let old = [0xAA; 16];
    let new = [0x5F; 16];
    let half = hex!("5F5F5F5F5F5F5F5F AAAAAAAAAAAAAAAA");
    let low = [0x0F; 16];
    let cases = [
        (Torn::Before, old, 1),
        (Torn::Old, old, 2),
        (Torn::New, new, 2),
        (Torn::Zero, [0; 16], 2),
        (Torn::Ones, [0xFF; 16], 2),
        (Torn::Prefix(8), half, 2),
        (Torn::Mask(low), [0xAF; 16], 2),
        (Torn::Exact(low), low, 2),
    ];
    for (torn, expected, writes) in cases {
        let mut field = field_with(&[uid4()]);
        field.list(1, 1, None);
        field.authenticate(block(4), KeySlot::A, &FF, [0xDE, 0xAD, 0xBE, 0xEF]).unwrap();
        field.tear(2, torn);
        field.write(block(4), &old).unwrap();
        assert_eq!(field.write(block(4), &new), Err(CardError::Silent));
        assert_eq!((field.writes(), field.cards().len()), (writes, 0), "{torn:?}");
        assert_eq!(field.read(block(4)), Err(CardError::Silent));
        field.put_back();
        assert_eq!(field.classic().unwrap().memory(block(4)), Some(&expected), "{torn:?}");
        assert_eq!(field.list(1, 1, None).len(), 1, "the card lives");
    }
}

#[test]
fn cards_torn_away_are_handed_back() {
    let mut field = field_with(&[uid4()]);
    field.list(1, 1, None);
    field.authenticate(block(7), KeySlot::A, &FF, [0xDE, 0xAD, 0xBE, 0xEF]).unwrap();
    field.tear(1, Torn::Zero);
    assert_eq!(field.write(block(7), &[1; 16]), Err(CardError::Silent));
    let cards = field.remove_all();
    assert!(matches!(&cards[..], [Card::Classic(card)] if card.memory(block(7)) == Some(&[0; 16])));
}

#[test]
fn refused_writes_are_not_counted() {
    let mut field = field_with(&[uid4()]);
    field.list(1, 1, None);
    field.tear(1, Torn::Zero);
    assert_eq!(field.write(block(4), &[1; 16]), Err(CardError::Nak));
    assert_eq!((field.writes(), field.auths(), field.cards().len()), (0, 0, 1));
}

#[test]
fn authentication_takes_the_last_four_uid_bytes() {
    for (given, expected) in [(hex!("C3D4E5F6"), Ok(())), (hex!("04A1B2C3"), Err(CardError::Silent))] {
        let mut field = field_with(&[uid7()]);
        field.list(1, 1, None);
        assert_eq!(field.authenticate(block(4), KeySlot::A, &FF, given), expected);
        assert_eq!(field.auths(), 1);
    }
}

#[test]
fn an_unknown_card_activates_and_nothing_else() {
    let target = Target::type_a(uid4(), [0x03, 0x44], 0x20);
    let mut field = Field::new();
    field.place(Card::Unknown(UnknownCard::new(target))).unwrap();
    assert_eq!(field.list(2, 3, None), [target]);
    assert_eq!(field.read(block(4)), Err(CardError::Silent));
}
