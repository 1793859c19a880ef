//! The model check of tearing: every write of every kind of plan, torn to many contents, then presented again.

use super::bench::{Bench, Stop, record};
use super::torn::torn_contents;
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key};
use encoder_protocols::layout::content::SlotState;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1::{Slot, SlotImage};
use encoder_protocols::layout::record::Record;
use encoder_protocols::plan::{CardView, EncodePlan, PlanError, SafePoint, Step, encode, renew};

type Planner = fn(&CardView, &Record, &CardKeys, ClassicSize) -> Result<EncodePlan, PlanError>;

/// What went wrong, by cards.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    cases: usize,
    /// The card had a credential and has none.
    lost: usize,
    /// A valid record that nobody made, or that was not there before.
    mixed: usize,
    /// The next attempt did not leave its record as the current one.
    unrecovered: usize,
    /// The next attempt left an earlier guest's record valid.
    stale: usize,
}

/// A card to start from, the record that it is to get, and whose records may be on it meanwhile.
struct Start {
    bench: Bench,
    record: Record,
    known: Vec<Record>,
}

fn slot_state(bench: &mut Bench, state: Option<(Slot, u32, &Record)>) {
    if let Some((slot, sequence, record)) = state {
        let image = SlotImage::new(&bench.keys, slot, sequence, record).unwrap();
        for (block, data) in image.blocks() {
            bench.card.set_memory(block.number(), data);
        }
    }
}

/// First encode, next encode from either slot, unfinished cards for the same and another job, torn leftovers, and
/// records that grow and shrink.
fn starts() -> Vec<Start> {
    let (old, older, new) = (record(1, 2), record(2, 9), record(3, 2));
    let start = |on_card: &[(Slot, u32, &Record)], torn: &[Slot], record: &Record| {
        let mut bench = Bench::personalized(ClassicSize::Mini);
        for &valid in on_card {
            slot_state(&mut bench, Some(valid));
        }
        for slot in torn {
            bench.card.set_memory(slot.seal_block().number(), [0x5A; 16]);
        }
        let known = on_card.iter().map(|(_, _, record)| (*record).clone()).chain([record.clone()]).collect();
        Start { bench, record: record.clone(), known }
    };
    let large = record(4, 17);
    vec![
        start(&[], &[], &new),
        start(&[], &[Slot::A], &new),
        start(&[], &[Slot::B], &new),
        start(&[], &[Slot::A, Slot::B], &new),
        start(&[(Slot::A, 5, &old)], &[], &new),
        start(&[(Slot::B, 5, &old)], &[], &new),
        start(&[(Slot::A, 5, &old)], &[Slot::B], &new),
        start(&[(Slot::A, 5, &old)], &[], &large),
        start(&[(Slot::B, 5, &large)], &[], &new),
        start(&[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], &old),
        start(&[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], &old),
        start(&[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], &new),
        start(&[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], &large),
        start(&[(Slot::B, 6, &new)], &[Slot::A], &new),
    ]
}

fn writes(plan: &EncodePlan) -> Vec<(BlockNumber, [u8; 16])> {
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

impl Tally {
    /// A card after a tear.
    fn judge(&mut self, view: &CardView, had_one: bool, known: &[Record]) {
        self.cases += 1;
        self.lost += usize::from(had_one && view.current().is_none());
        let valid = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid());
        self.mixed +=
            valid.filter(|sealed| !sealed.content.record().is_some_and(|record| known.contains(record))).count();
    }

    /// The next attempt on it.
    fn present_again(&mut self, bench: &mut Bench, planner: Planner, record: &Record) {
        let view = bench.view();
        let Ok(plan) = planner(&view, record, &bench.keys, bench.card.size()) else {
            self.unrecovered += 1;
            return;
        };
        let finished = bench.run_encode(&plan, None).is_ok();
        let view = bench.view();
        match view.current() {
            Some((slot, sealed)) if finished && sealed.content.record() == Some(record) => {
                self.stale += usize::from(*view.slot(slot.other()) != SlotState::Empty);
            }
            Some(_) | None => self.unrecovered += 1,
        }
    }

    fn is_clean(&self) -> bool {
        Self { cases: 0, lost: 0, mixed: 0, unrecovered: 0, stale: 0 } == Self { cases: 0, ..*self }
    }
}

/// Tears each write of the plan for `start` to each of its contents; hands each torn card to `then`.
fn tear(start: &Start, planner: Planner, seeds: u64, tally: &mut Tally, then: &mut dyn FnMut(&mut Tally, &Bench)) {
    let mut base = start.bench.clone();
    let view = base.view();
    let had_one = view.current().is_some();
    let plan = planner(&view, &start.record, &base.keys, base.card.size()).unwrap();
    for (at, (block, new)) in writes(&plan).into_iter().enumerate() {
        // The block's content just before this write: the plan has run up to there.
        let mut before = base.clone();
        assert_eq!(before.run_encode(&plan, Some((at, [0; 16]))), Err(Stop::Torn));
        let earlier = writes(&plan)[..at].iter().rev().find(|(earlier, _)| *earlier == block).map(|(_, data)| *data);
        let old = earlier.unwrap_or(base.memory(block));
        for content in torn_contents(old, new, seeds) {
            let mut torn = base.clone();
            assert_eq!(torn.run_encode(&plan, Some((at, content))), Err(Stop::Torn));
            tally.judge(&torn.view(), had_one, &start.known);
            then(tally, &torn);
        }
    }
}

fn model_check(planner: Planner, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for start in starts() {
        tear(&start, planner, seeds, &mut tally, &mut |tally, torn| {
            tally.present_again(&mut torn.clone(), planner, &start.record);
            tally.present_again(&mut torn.clone(), planner, &record(77, 5));
        });
    }
    tally
}

#[test]
fn no_tear_loses_or_mixes_a_credential_and_the_next_attempt_recovers() {
    let tally = model_check(encode, 32);
    assert!(tally.is_clean(), "{tally:?}");
    assert!(tally.cases > 5_000, "{tally:?}");
}

#[test]
fn two_tears_in_a_row_are_survived_too() {
    let mut tally = Tally::default();
    for start in starts() {
        let mut index = 0;
        tear(&start, encode, 2, &mut Tally::default(), &mut |_, torn| {
            index += 1;
            if index % 5 != 0 {
                return;
            }
            let again = Start { bench: torn.clone(), record: start.record.clone(), known: start.known.clone() };
            tear(&again, encode, 2, &mut tally, &mut |tally, torn| {
                tally.present_again(&mut torn.clone(), encode, &start.record);
            });
        });
    }
    assert!(tally.is_clean(), "{tally:?}");
    assert!(tally.cases > 20_000, "{tally:?}");
}

/// Wrong on purpose: overwrites the current slot.
fn in_place(view: &CardView, record: &Record, keys: &CardKeys, size: ClassicSize) -> Result<EncodePlan, PlanError> {
    let Some((slot, sealed)) = view.current() else { return encode(view, record, keys, size) };
    let image = SlotImage::new(keys, slot, sealed.sequence + 1, record).unwrap();
    let mut steps = Vec::new();
    for sector in slot.sectors().into_iter().rev() {
        steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) });
        let blocks = image.blocks().filter(|(block, _)| block.sector() == sector);
        steps.extend(blocks.map(|(block, data)| Step::Write { block, data }));
    }
    let sequence = sealed.sequence + 1;
    Ok(EncodePlan { steps, slot, sequence, overwritten: None, worn: None })
}

/// Wrong on purpose: the old slot lives on.
fn never_retired(
    view: &CardView,
    record: &Record,
    keys: &CardKeys,
    size: ClassicSize,
) -> Result<EncodePlan, PlanError> {
    let mut plan = encode(view, record, keys, size)?;
    let verified = plan.steps.iter().position(|step| *step == Step::Reached(SafePoint::Verified)).unwrap();
    plan.steps.truncate(verified + 1);
    Ok(plan)
}

#[test]
fn check_finds_what_writing_in_place_loses() {
    let tally = model_check(in_place, 4);
    assert!(tally.lost > tally.cases / 4, "{tally:?}");
}

#[test]
fn check_finds_what_is_never_retired() {
    let tally = model_check(never_retired, 4);
    assert_eq!((tally.lost, tally.mixed), (0, 0), "{tally:?}");
    assert!(tally.stale > tally.cases / 4, "{tally:?}");
}

#[test]
fn weak_bits_never_lose_the_credential_and_go_away_with_repeated_attempts() {
    for start in starts() {
        let mut base = start.bench.clone();
        let had_one = base.view().current().is_some();
        let plan = base.plan(&start.record);
        for (at, (block, new)) in writes(&plan).into_iter().enumerate() {
            for first_read_inverted in [false, true] {
                let mut torn = base.clone();
                assert_eq!(torn.run_encode(&plan, Some((at, new))), Err(Stop::Torn));
                let old = base.memory(block);
                torn.card.set_weak_bits(block, std::array::from_fn(|at| old[at] ^ new[at]));
                if first_read_inverted {
                    torn.view();
                }
                let (mut done, mut did_not_finish) = (false, false);
                for _ in 0..4 {
                    let view = torn.view();
                    assert!(!had_one || view.current().is_some(), "write {at}: lost");
                    let planner = if did_not_finish { renew } else { encode };
                    let plan = planner(&view, &start.record, &torn.keys, torn.card.size()).unwrap();
                    done = torn.run_encode(&plan, None).is_ok();
                    did_not_finish = plan.is_finishing();
                    if done {
                        break;
                    }
                }
                assert!(done, "write {at}: never recovered");
                let view = torn.view();
                let (slot, sealed) = view.current().unwrap();
                assert_eq!(sealed.content.record(), Some(&start.record));
                assert_eq!(view.slot(slot.other()).valid(), None, "write {at}: stale");
            }
        }
    }
}
