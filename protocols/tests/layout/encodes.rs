//! Encode, scan and encode again on whole cards: what is where, what is reported, what it costs.

use super::bench::{Bench, SIZES, record, sector};
use encoder_protocols::layout::compact::Misfit;
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::Spot;
use encoder_protocols::layout::ocl1::{Slot, SlotFault, SlotImage};
use encoder_protocols::plan::{LookOutcome, PlanError, SafePoint, Step, encode};

#[test]
fn first_encode_fills_slot_a_and_the_next_ones_alternate() {
    for size in SIZES {
        let mut bench = Bench::personalized(size);
        let plan = bench.encode(&record(1, 2));
        assert_eq!((plan.slot, plan.sequence, plan.overwritten), (Slot::A, 1, None));
        for number in 2..6 {
            let plan = bench.encode(&record(number, number));
            let slot = if number % 2 == 0 { Slot::B } else { Slot::A };
            assert_eq!((plan.slot, plan.sequence), (slot, u32::from(number)));
            let overwritten = if number == 2 { record(1, 2) } else { record(number - 1, number - 1) };
            assert_eq!(plan.overwritten, Some(Content::Full(overwritten)));
            let view = bench.view();
            assert_eq!(view.current().unwrap().1.content, Content::Full(record(number, number)));
            assert_eq!(*view.slot(slot.other()), SlotState::Empty);
            assert!(!view.is_unfinished());
        }
    }
}

#[test]
fn round_trips_stay_within_the_budget_whichever_slot_is_current() {
    // Detect is one round trip before either.
    for (doors, scan, whole) in [(2, 10, 35), (16, 11, 39)] {
        for size in SIZES {
            let mut bench = Bench::personalized(size);
            for number in 1..4 {
                bench.encode(&record(number, doors));
                bench.round_trips = 1;
                bench.view();
                assert_eq!(bench.round_trips, scan, "scan with {doors} doors");
                let plan = bench.clone().plan(&record(99, doors));
                bench.run_encode(&plan, None).unwrap();
                assert_eq!(bench.round_trips, whole, "encode with {doors} doors");
                assert_eq!(whole, scan + plan.round_trips());
            }
        }
    }
}

#[test]
fn empty_card_costs_two_logins_and_two_reads() {
    let mut bench = Bench::personalized(SIZES[1]);
    assert_eq!(bench.view().slots, [SlotState::Empty, SlotState::Empty]);
    assert_eq!(bench.round_trips, 4);
}

#[test]
fn repeated_job_writes_nothing_and_verifies() {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(1, 2));
    bench.encode(&record(2, 2));
    let (writes, memory) = (bench.writes, bench.card.dump());
    let plan = bench.encode(&record(2, 2));
    assert!(plan.is_finishing());
    assert_eq!((bench.writes, bench.card.dump()), (writes, memory));
    assert_eq!((plan.sequence, plan.overwritten), (2, None));
}

/// The card left after the seal, before the old slot was retired.
fn two_valid(old: u8, new: u8) -> Bench {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(old, 2));
    let mut plan = bench.plan(&record(new, 3));
    let verified = plan.steps.iter().position(|step| *step == Step::Reached(SafePoint::Verified)).unwrap();
    plan.steps.truncate(verified + 1);
    bench.run_encode(&plan, None).unwrap();
    bench
}

#[test]
fn repeated_job_on_an_unfinished_card_rewrites_the_newer_seal_and_retires_the_older() {
    let mut bench = two_valid(1, 2);
    assert!(bench.view().is_unfinished());
    let writes = bench.writes;
    let plan = bench.encode(&record(2, 3));
    assert_eq!(bench.writes - writes, 2);
    assert_eq!((plan.slot, plan.sequence, plan.overwritten), (Slot::B, 2, Some(Content::Full(record(1, 2)))));
    let view = bench.view();
    assert_eq!(view.current().unwrap().1.content, Content::Full(record(2, 3)));
    assert_eq!(*view.slot(Slot::A), SlotState::Empty);
}

#[test]
fn another_job_on_an_unfinished_card_finishes_first() {
    let mut bench = two_valid(1, 2);
    let plan = bench.encode(&record(7, 4));
    assert_eq!((plan.slot, plan.sequence, plan.overwritten), (Slot::A, 3, Some(Content::Full(record(2, 3)))));
    // The newer seal again, the older to zero; then payload and seal over the older, the newer to zero.
    let written = plan.steps.iter().filter_map(|step| match step {
        Step::Write { block, data } => Some((block.number().get(), *data == [0; 16])),
        Step::WritePage { .. } => panic!("no step of a Classic card: {step}"),
        Step::NewSession
        | Step::Login { .. }
        | Step::Unlock(_)
        | Step::ReadBack { .. }
        | Step::ReadBackPages { .. }
        | Step::Reached(_) => None,
    });
    let data = |block| (block, false);
    let expected = [data(12), (4, true), data(8), data(9), data(5), data(6), data(4), (12, true)];
    assert_eq!(written.collect::<Vec<_>>(), expected);
    let view = bench.view();
    assert_eq!(view.current().unwrap().1.content, Content::Full(record(7, 4)));
    assert_eq!(*view.slot(Slot::B), SlotState::Empty);
}

#[test]
fn torn_slot_is_told_from_an_empty_one_and_written_first() {
    let mut bench = Bench::personalized(SIZES[1]);
    let seal = Slot::B.seal_block().number();
    bench.card.set_memory(seal, [0x5A; 16]);
    assert_eq!(bench.view().slots, [SlotState::Empty, SlotState::Invalid(SlotFault::Padding)]);
    let plan = bench.encode(&record(1, 2));
    assert_eq!(plan.slot, Slot::B);
    assert_eq!(*bench.view().slot(Slot::A), SlotState::Empty);
}

#[test]
fn two_torn_slots_leave_one_credential_and_one_empty_slot() {
    let mut bench = Bench::personalized(SIZES[1]);
    for slot in Slot::BOTH {
        bench.card.set_memory(slot.seal_block().number(), [0x5A; 16]);
    }
    let plan = bench.encode(&record(1, 2));
    assert_eq!((plan.slot, plan.sequence), (Slot::A, 1));
    assert_eq!(*bench.view().slot(Slot::B), SlotState::Empty);
}

#[test]
fn faults_of_a_slot_are_named() {
    let bench = Bench::personalized(SIZES[1]);
    let image = SlotImage::new(&bench.keys, Slot::A, 9, &record(1, 2)).unwrap();
    let count = Slot::A.payload_blocks().nth(2).unwrap().number();
    let judge = |change: &dyn Fn(&mut Bench)| {
        let mut bench = bench.clone();
        for (block, data) in image.blocks() {
            bench.card.set_memory(block.number(), data);
        }
        change(&mut bench);
        match bench.view().slot(Slot::A) {
            SlotState::Invalid(fault) => Some(*fault),
            SlotState::Empty | SlotState::Unreadable { .. } | SlotState::Valid(_) => None,
        }
    };
    let seal = |at: usize, value: u8| {
        move |bench: &mut Bench| {
            let block = Slot::A.seal_block().number();
            let mut data = bench.memory(block);
            data[at] = value;
            bench.card.set_memory(block, data);
        }
    };
    assert_eq!(judge(&|_| {}), None);
    assert_eq!(judge(&seal(0, 2)), Some(SlotFault::Version { found: 2 }));
    assert_eq!(judge(&seal(1, 9)), Some(SlotFault::KeyId { found: 9 }));
    assert_eq!(judge(&seal(2, 9)), Some(SlotFault::Mac));
    assert_eq!(judge(&seal(15, 1)), Some(SlotFault::Padding));
    let doors = |bench: &mut Bench| {
        let mut data = bench.memory(count);
        data[13] = 18;
        bench.card.set_memory(count, data);
    };
    assert_eq!(judge(&doors), Some(SlotFault::DoorCount { found: 18 }));
}

#[test]
fn one_dead_sector_does_not_hide_the_other_slot() {
    for dead in [Slot::A, Slot::B] {
        let mut bench = Bench::personalized(SIZES[1]);
        bench.encode(&record(1, 2));
        if dead == Slot::A {
            bench.encode(&record(2, 2));
        }
        bench.card.set_memory(dead.first_sector().trailer(), [0; 16]);
        let view = bench.view();
        assert_eq!(view.current().map(|(slot, _)| slot), Some(dead.other()));
        let unreadable = PlanError::SlotUnreadable { slot: dead, at: Spot::Sector(dead.first_sector()) };
        assert_eq!(encode(&view, &record(3, 2), &bench.keys, SIZES[1]), Err(unreadable));
    }
}

#[test]
fn second_sector_that_does_not_open_makes_the_slot_unreadable() {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(1, 2));
    bench.card.set_memory(sector(2).trailer(), [0; 16]);
    assert_eq!(*bench.view().slot(Slot::A), SlotState::Unreadable { at: Spot::Sector(sector(2)) });
}

#[test]
fn card_of_another_property_key_is_not_ours() {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(1, 2));
    let other = encoder_protocols::layout::keys::PropertyKey::new(1, [7; 16]);
    bench.keys = other.for_card(&super::bench::uid());
    assert_eq!(bench.look(), LookOutcome::NotOurs);
}

#[test]
fn too_many_doors_are_refused_before_a_byte_is_written() {
    let mut bench = Bench::personalized(SIZES[0]);
    let view = bench.view();
    let refused = encode(&view, &record(1, 18), &bench.keys, SIZES[0]);
    assert_eq!(refused, Err(PlanError::Misfit(Misfit::TooManyDoors { have: 18, max: 17 })));
    assert!(encode(&view, &record(1, 17), &bench.keys, SIZES[0]).is_ok());
}

#[test]
fn sequence_at_its_end_is_refused() {
    let mut bench = Bench::personalized(SIZES[1]);
    let image = SlotImage::new(&bench.keys, Slot::A, u32::MAX, &record(1, 2)).unwrap();
    for (block, data) in image.blocks() {
        bench.card.set_memory(block.number(), data);
    }
    let view = bench.view();
    assert_eq!(encode(&view, &record(2, 2), &bench.keys, SIZES[1]), Err(PlanError::SequenceExhausted));
    assert!(encode(&view, &record(1, 2), &bench.keys, SIZES[1]).is_ok(), "the same record needs no new sequence");
}

#[test]
fn record_of_another_property_sealed_with_our_key_counts_as_valid() {
    let mut bench = Bench::personalized(SIZES[1]);
    let mut foreign = record(1, 2);
    foreign.property_id.0 = [0xEE; 16];
    bench.encode(&foreign);
    let plan = bench.encode(&record(2, 2));
    assert_eq!((plan.slot, plan.sequence, plan.overwritten), (Slot::B, 2, Some(Content::Full(foreign))));
}

#[test]
fn dry_run_reads_as_a_list_without_contents() {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(1, 2));
    let listing = bench.plan(&record(2, 2)).to_string();
    let expected = "\
write slot B, sequence 2, 25 round trips
  1  reached: nothing of the new record is on the card
  2  open sector 4 with key B
  3  write block 16 (slot B payload 3): data
  4  write block 17 (slot B payload 4): data
  5  open sector 3 with key B
  6  write block 13 (slot B payload 1): data
  7  write block 14 (slot B payload 2): data
  8  reached: payload written, not yet sealed
  9  write block 12 (slot B seal): data
 10  reached: sealed, not yet verified
 11  start a new session: field off and on, select the card
 12  open sector 3 with key A
 13  read block 12 (slot B seal) back and compare
 14  read block 13 (slot B payload 1) back and compare
 15  read block 14 (slot B payload 2) back and compare
 16  read block 12 (slot B seal) back and compare
 17  read block 13 (slot B payload 1) back and compare
 18  read block 14 (slot B payload 2) back and compare
 19  open sector 4 with key A
 20  read block 16 (slot B payload 3) back and compare
 21  read block 17 (slot B payload 4) back and compare
 22  read block 16 (slot B payload 3) back and compare
 23  read block 17 (slot B payload 4) back and compare
 24  reached: verified; the encode is a success
 25  open sector 1 with key B
 26  write block 4 (slot A seal): zero
 27  read block 4 (slot A seal) back and compare
 28  reached: the previous record is retired
";
    assert_eq!(listing, expected);
}
