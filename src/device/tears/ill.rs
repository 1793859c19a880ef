//! Cards with something wrong: each its own fault, and nothing written but where the rules allow.

use super::cards::{Card, FAMILIES, Family, Item, record, weaken};
use super::rig::{Job, Rig, Tear, block_on};
use crate::fault::FaultKind;
use encoder_protocols::card_sim::{Torn, Wear};
use encoder_protocols::family::classic::{BlockNumber, ClassicSize};
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::layout::form::Form;
use encoder_protocols::layout::mad::{Aid, Mad};
use encoder_protocols::layout::ocl1::Slot;

const NTAG213: Family = Family::Type2 { kind: Type2Kind::Ntag213, ndef: false };
const ULTRALIGHT: Family = Family::Type2 { kind: Type2Kind::Ultralight, ndef: false };
const CLASSIC: Family = Family::Classic(ClassicSize::K1);

fn encode(number: u8) -> Job {
    Job::Encode(record(number, 1))
}

/// Lets a block or page die, or take no more writes.
fn wear(card: &mut Card, at: u8, wear: Wear) {
    match card {
        Card::Classic(card) => card.wear_out(BlockNumber::new(at), wear),
        Card::Type2(card) => card.wear_out(PageNumber::new(at), wear),
        Card::Part4(_) | Card::Unknown(_) => panic!("a card with memory"),
    }
}

/// Where a slot's seal begins, and where its payload does.
fn places(family: Family, slot: Slot) -> (u8, u8) {
    match family.form() {
        Form::Classic(_) => {
            let mut blocks = slot.blocks().map(|block| block.number().get());
            (blocks.next().unwrap(), blocks.next().unwrap())
        }
        Form::Type2(place) => {
            let first = place.slot_page(slot).get();
            (first, first + place.seal_pages())
        }
    }
}

/// What is written to a card that is refused: nothing.
#[track_caller]
fn refused(family: Family, mut item: Item, expected: FaultKind) {
    block_on(async {
        let mut rig = Rig::new("pn532").await;
        rig.ndef = family.ndef();
        let failure = rig.run(&mut item, &encode(1), None).await.unwrap_err();
        assert_eq!(failure.fault.kind, expected, "{family}: {}", failure.fault.message);
        assert_eq!(rig.writes(), 0, "{family}");
    });
}

#[test]
fn a_dead_or_stuck_place_costs_a_slot_and_the_card_is_called_worn() {
    for &family in FAMILIES {
        for (how, in_seal) in [(Wear::Dead, true), (Wear::Dead, false), (Wear::Stuck, true), (Wear::Stuck, false)] {
            let is_classic = matches!(family, Family::Classic(_));
            // Where the seal's block of an empty Classic card or a page of a plain Ultralight cannot be read, nothing shows
            // that the card is ours: it is refused, which `a_card_that_cannot_be_read_is_refused` holds.
            if how == Wear::Dead && (family == ULTRALIGHT || (is_classic && in_seal)) {
                continue;
            }
            let case = format!("{family}, {how:?}, {}", if in_seal { "seal" } else { "payload" });
            let mut item = family.empty();
            let (seal, payload) = places(family, Slot::A);
            wear(&mut item.card, if in_seal { seal } else { payload }, how);
            block_on(async {
                let mut rig = Rig::new("pn532").await;
                rig.ndef = family.ndef();
                assert_eq!(rig.run(&mut item, &encode(1), None).await, Ok(()), "{case}");
                assert_eq!(rig.worn, Some(FaultKind::WornCard), "{case}");
                // The only valid record is never written: the next credential needs another card.
                let before = rig.writes();
                let failure = rig.run(&mut item, &encode(2), None).await.unwrap_err();
                assert_eq!(failure.fault.kind, FaultKind::WornCard, "{case}");
                let is_seen_at_once = how == Wear::Dead && !is_classic;
                assert!(!is_seen_at_once || rig.writes() == before, "{case}");
                let read = rig.scan(&item).await.content.expect(&case);
                assert_eq!(read.number(), record(1, 1).credential_id.into(), "{case}");
            });
        }
    }
}

#[test]
fn a_card_that_cannot_be_read_is_refused() {
    for (family, expected) in [(CLASSIC, FaultKind::DamagedCard), (ULTRALIGHT, FaultKind::ForeignCard)] {
        let mut item = family.empty();
        wear(&mut item.card, places(family, Slot::A).0, Wear::Dead);
        refused(family, item, expected);
    }
}

#[test]
fn two_reads_that_differ_are_a_flaky_card() {
    for family in [CLASSIC, NTAG213] {
        let mut item = family.empty();
        block_on(async {
            let mut rig = Rig::new("pn532").await;
            rig.run(&mut item, &encode(1), None).await.unwrap();
            let (_, payload) = places(family, Slot::A);
            weaken(&mut item.card, payload.into(), [0x01; 16], true);
            let failure = rig.try_scan(&item).await.unwrap_err();
            assert_eq!(failure.fault.kind, FaultKind::FlakyCard, "{family}");
        });
    }
}

#[test]
fn lock_bits_a_wrong_container_foreign_access_bits_and_directories_have_their_own_sentences() {
    let page = |family: Family, page, content| {
        let mut item = family.blank();
        if let Card::Type2(card) = &mut item.card {
            card.set_memory(PageNumber::new(page), content);
        }
        item
    };
    refused(NTAG213, page(NTAG213, 2, [0x00, 0x00, 0x10, 0x00]), FaultKind::LockedCard);
    refused(ULTRALIGHT, page(ULTRALIGHT, 2, [0x00, 0x00, 0x10, 0x00]), FaultKind::LockedCard);
    let behind = Family::Type2 { kind: Type2Kind::Ntag213, ndef: true };
    refused(behind, page(behind, 3, [0xE1, 0x10, 0x06, 0x00]), FaultKind::WrongCapabilityContainer);
    refused(ULTRALIGHT, page(ULTRALIGHT, 9, [1, 2, 3, 4]), FaultKind::ForeignCard);
    let block = |blocks: &[(u8, [u8; 16])]| {
        let mut item = CLASSIC.blank();
        if let Card::Classic(card) = &mut item.card {
            for (block, content) in blocks {
                card.set_memory(BlockNumber::new(*block), *content);
            }
        }
        item
    };
    // Key A, the access bits of the data sheet's example with read-only data, key B.
    let mut trailer = [0xFF; 16];
    trailer[6..10].copy_from_slice(&[0x0F, 0x07, 0x8F, 0x69]);
    refused(CLASSIC, block(&[(39, trailer)]), FaultKind::WrongAccessBits);
    let [first, second] = Mad { info: 0, aids: [Aid::new(0x48, 0x11); 15] }.to_blocks();
    refused(CLASSIC, block(&[(1, first), (2, second)]), FaultKind::ForeignDirectory);
    // With the key that everybody may read directories with.
    let mut trailer = [0xFF; 16];
    trailer[..10].copy_from_slice(&[0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0x78, 0x77, 0x88, 0xC1]);
    refused(CLASSIC, block(&[(1, first), (2, second), (3, trailer)]), FaultKind::ForeignDirectory);
}

#[test]
fn another_propertys_card_is_refused_until_somebody_erases_it() {
    for family in [CLASSIC, NTAG213] {
        let mut item = family.empty();
        block_on(async {
            let mut rig = Rig::new("pn532").await;
            let mut theirs = record(1, 1);
            theirs.property_id.0 = [0x77; 16];
            rig.set_property([0x77; 16]);
            rig.run(&mut item, &Job::Encode(theirs), None).await.unwrap();
            let mut rig = Rig::new("pn532").await;
            let failure = rig.run(&mut item, &encode(2), None).await.unwrap_err();
            assert_eq!((failure.fault.kind, rig.writes()), (FaultKind::OtherPropertyCard, 0), "{family}");
            rig.run(&mut item, &Job::Erase, None).await.unwrap();
            rig.run(&mut item, &encode(2), None).await.unwrap();
        });
    }
}

#[test]
fn only_the_journal_tells_a_begun_ultralight_from_a_foreign_card() {
    for nth in 1..=6 {
        let mut item = ULTRALIGHT.blank();
        block_on(async {
            let mut rig = Rig::new("pn532").await;
            let tear = Tear { nth, torn: Torn::Ones, comes_back: false };
            rig.run(&mut item, &encode(1), Some(tear)).await.unwrap_err();
            assert!(item.begun, "write {nth}");
            refused_now(&item);
            rig.run(&mut item, &encode(1), None).await.unwrap();
            assert!(!item.begun);
        });
    }
}

/// The same card at a desk whose journal knows nothing of it.
fn refused_now(item: &Item) {
    let elsewhere = Item { begun: false, ..item.clone() };
    std::thread::scope(|scope| {
        scope.spawn(|| refused(ULTRALIGHT, elsewhere, FaultKind::ForeignCard)).join().unwrap();
    });
}

#[test]
fn a_reader_that_passes_no_password_on_says_so_and_writes_what_needs_none() {
    block_on(async {
        let mut rig = Rig::new("generic").await;
        let failure = rig.run(&mut NTAG213.blank(), &encode(1), None).await.unwrap_err();
        assert_eq!((failure.fault.kind, rig.writes()), (FaultKind::ReaderCannot, 0));
        rig.run(&mut ULTRALIGHT.blank(), &encode(1), None).await.unwrap();
    });
}
