//! Erasing: what is left on the card, and every write of it torn.

use super::bench::{Bench, SIZES, Stop, record};
use super::torn::torn_contents;
use encoder_protocols::card_sim::KeySlot;
use encoder_protocols::family::classic::{BlockNumber, DataBlock};
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::Spot;
use encoder_protocols::layout::ocl1::{Slot, SlotImage};
use encoder_protocols::layout::record::Record;
use encoder_protocols::plan::{ErasePlan, PersonalizeStep, PlanError, Step, erase};

fn put(bench: &mut Bench, slot: Slot, sequence: u32, record: &Record) {
    for (block, data) in SlotImage::new(&bench.keys, slot, sequence, record).unwrap().blocks() {
        bench.card.set_memory(block.number(), data);
    }
}

fn run(bench: &mut Bench, plan: &ErasePlan, tear: Option<(usize, [u8; 16])>) -> Result<(), Stop> {
    let steps: Vec<_> = plan.steps.iter().cloned().map(PersonalizeStep::from).collect();
    bench.run(&steps, tear)
}

fn plan(bench: &mut Bench) -> ErasePlan {
    let view = bench.view();
    erase(&view, &bench.keys, bench.card.size()).unwrap()
}

fn is_empty(bench: &mut Bench) -> bool {
    let view = bench.view();
    Slot::BOTH.into_iter().all(|slot| *view.slot(slot) == SlotState::Empty)
        && Slot::BOTH.into_iter().flat_map(Slot::blocks).all(|block| bench.memory(block.number()) == [0; 16])
}

/// Each state that an encode can leave behind: one credential, two of which the newer counts, torn ones.
fn starts() -> Vec<Bench> {
    let (old, new) = (record(1, 17), record(2, 5));
    let start = |valid: &[(Slot, u32, &Record)], torn: &[Slot]| {
        let mut bench = Bench::personalized(SIZES[0]);
        for (slot, sequence, record) in valid {
            put(&mut bench, *slot, *sequence, record);
        }
        for slot in torn {
            bench.card.set_memory(slot.seal_block().number(), [0x5A; 16]);
        }
        bench
    };
    vec![
        start(&[(Slot::A, 5, &new)], &[]),
        start(&[(Slot::B, 5, &new)], &[]),
        start(&[(Slot::A, 5, &old), (Slot::B, 6, &new)], &[]),
        start(&[(Slot::A, 6, &new), (Slot::B, 5, &old)], &[]),
        start(&[(Slot::A, 5, &new)], &[Slot::B]),
        start(&[], &[Slot::A, Slot::B]),
        start(&[], &[]),
    ]
}

fn writes(plan: &ErasePlan) -> Vec<(BlockNumber, [u8; 16])> {
    let write = |step: &Step| match step {
        Step::Write { block, data } => Some((block.number(), *data)),
        Step::WritePage { .. } => panic!("no step of a Classic card: {step}"),
        Step::NewSession
        | Step::Login { .. }
        | Step::Unlock(_)
        | Step::ReadBack { .. }
        | Step::ReadBackPages { .. }
        | Step::Reached(_) => None,
    };
    plan.steps.iter().filter_map(write).collect()
}

#[test]
fn an_erased_card_holds_nothing_and_can_be_encoded_again() {
    for size in SIZES {
        let mut bench = Bench::personalized(size);
        bench.encode(&record(1, 17));
        bench.encode(&record(2, 3));
        let plan = plan(&mut bench);
        assert_eq!(plan.erased, Some(Content::Full(record(2, 3))));
        run(&mut bench, &plan, None).unwrap();
        assert!(is_empty(&mut bench), "{size}");
        bench.encode(&record(3, 4));
    }
}

#[test]
fn erasing_leaves_keys_and_other_sectors_as_they_are() {
    for mut bench in starts() {
        let before = bench.card.dump();
        let plan = plan(&mut bench);
        run(&mut bench, &plan, None).unwrap();
        assert!(is_empty(&mut bench));
        let slots: Vec<_> = Slot::BOTH.into_iter().flat_map(Slot::blocks).map(DataBlock::number).collect();
        let after = bench.card.dump();
        for (number, (old, new)) in before.chunks(16).zip(after.chunks(16)).enumerate() {
            let is_slot = slots.iter().any(|block| usize::from(block.get()) == number);
            assert!(is_slot || old == new, "block {number}");
        }
        // Key B opens still: trailers were not touched.
        let sector = Slot::A.first_sector();
        bench.card.select();
        bench.card.authenticate(sector.first_block(), KeySlot::B, bench.keys.key_b(sector).0.expose()).unwrap();
    }
}

#[test]
fn a_torn_erasure_leaves_the_credential_that_was_there_or_none() {
    let mut cases = 0;
    for start in starts() {
        let mut base = start.clone();
        let plan = plan(&mut base);
        let had = base.view().current().map(|(_, sealed)| sealed.content.clone());
        for (at, (block, new)) in writes(&plan).into_iter().enumerate() {
            let old = base.memory(block);
            for content in torn_contents(old, new, 16) {
                let mut torn = base.clone();
                assert_eq!(run(&mut torn, &plan, Some((at, content))), Err(Stop::Torn));
                let left = torn.view().current().map(|(_, sealed)| sealed.content.clone());
                assert!(left.is_none() || left == had, "write {at} of block {block:?} left {left:?}");
                // The next try ends it.
                let again = self::plan(&mut torn);
                run(&mut torn, &again, None).unwrap();
                assert!(is_empty(&mut torn));
                cases += 1;
            }
        }
    }
    assert!(cases > 5000, "{cases}");
}

#[test]
fn once_the_last_seal_is_gone_no_further_write_brings_a_credential_back() {
    for start in starts() {
        let mut base = start.clone();
        let plan = plan(&mut base);
        let seals = Slot::BOTH.map(|slot| slot.seal_block().number());
        let written: Vec<_> = writes(&plan).into_iter().map(|(block, _)| block).collect();
        let (first, rest) = written.split_at(2);
        assert!(first.iter().all(|block| seals.contains(block)), "seals go first: {first:?}");
        assert!(rest.iter().all(|block| !seals.contains(block)), "and are written once: {rest:?}");
    }
}

#[test]
fn a_slot_that_cannot_be_read_is_not_said_to_be_erased() {
    let mut bench = Bench::personalized(SIZES[1]);
    bench.encode(&record(1, 2));
    let mut view = bench.view();
    let at = Spot::Sector(Slot::B.first_sector());
    view.slots = [view.slots[0].clone(), SlotState::Unreadable { at }];
    assert_eq!(erase(&view, &bench.keys, SIZES[1]), Err(PlanError::SlotUnreadable { slot: Slot::B, at }));
}
