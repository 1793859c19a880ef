//! The model check of tearing on pages: every write of every kind of plan of every family, torn to many contents, then
//! presented again.

use super::bench::Stop;
use super::pages::{PLACES, PageBench, Prepared, record};
use super::torn::torn_contents;
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::Form;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1::Slot;
use encoder_protocols::layout::pages::PageImage;
use encoder_protocols::layout::record::Record;
use encoder_protocols::plan::{
    CardView, EncodePlan, LookOutcome, PersonalizeStep, PlanError, SafePoint, Step, encode, erase, renew, unlock,
};

type Planner = fn(&CardView, &Record, &CardKeys, Form) -> Result<EncodePlan, PlanError>;

/// What went wrong, by cards.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    cases: usize,
    lost: usize,
    mixed: usize,
    unrecovered: usize,
    stale: usize,
}

struct Start {
    bench: PageBench,
    record: Record,
    known: Vec<Content>,
}

fn starts(place: (Type2Kind, bool)) -> Vec<Start> {
    let (older, old, new) = (record(1), record(2), record(3));
    let prepared = PageBench { begun: true, ..PageBench::personalized(place) };
    let start = |on_card: &[(Slot, u32, &Record)], torn: &[Slot], record: &Record| {
        let mut bench = prepared.clone();
        for (slot, sequence, record) in on_card {
            bench.put(*slot, *sequence, record);
        }
        for slot in torn {
            let page = bench.place().slot_page(*slot);
            bench.card().set_memory(page, [0x5A; 4]);
        }
        let records = on_card.iter().map(|(_, _, record)| *record).chain([record]);
        let known = records.map(|record| bench.content(record)).collect();
        Start { bench, record: record.clone(), known }
    };
    vec![
        start(&[], &[], &new),
        start(&[], &[Slot::A], &new),
        start(&[], &[Slot::A, Slot::B], &new),
        start(&[(Slot::A, 5, &old)], &[], &new),
        start(&[(Slot::B, 5, &old)], &[], &new),
        start(&[(Slot::A, 5, &old)], &[Slot::B], &new),
        start(&[(Slot::A, 5, &older), (Slot::B, 6, &old)], &[], &old),
        start(&[(Slot::A, 6, &old), (Slot::B, 5, &older)], &[], &new),
        start(&[(Slot::B, 6, &new)], &[Slot::A], &new),
    ]
}

fn writes(steps: &[PersonalizeStep]) -> Vec<(PageNumber, [u8; 4])> {
    let write = |step: &PersonalizeStep| match step {
        PersonalizeStep::Step(Step::WritePage { page, data }) => Some((page.number(), *data)),
        PersonalizeStep::WriteConfigPage { page, data } => Some((page.number(), *data.expose())),
        PersonalizeStep::Step(_) | PersonalizeStep::WriteTrailer { .. } => None,
    };
    steps.iter().filter_map(write).collect()
}

fn steps(plan: &EncodePlan) -> Vec<PersonalizeStep> {
    plan.steps.iter().cloned().map(PersonalizeStep::from).collect()
}

impl Tally {
    fn judge(&mut self, view: &CardView, had_one: bool, known: &[Content]) {
        self.cases += 1;
        self.lost += usize::from(had_one && view.current().is_none());
        let valid = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid());
        self.mixed += valid.filter(|sealed| !known.contains(&sealed.content)).count();
    }

    fn present_again(&mut self, bench: &mut PageBench, planner: Planner, record: &Record) {
        let (view, place) = (bench.view(), bench.place());
        let Ok(plan) = planner(&view, record, &bench.keys, Form::Type2(place)) else {
            self.unrecovered += 1;
            return;
        };
        let finished = bench.run_steps(&plan.steps, None).is_ok();
        let view = bench.view();
        match view.current() {
            Some((slot, sealed)) if finished && sealed.content == bench.content(record) => {
                self.stale += usize::from(*view.slot(slot.other()) != SlotState::Empty);
            }
            Some(_) | None => self.unrecovered += 1,
        }
    }

    fn is_clean(&self) -> bool {
        Self { cases: 0, lost: 0, mixed: 0, unrecovered: 0, stale: 0 } == Self { cases: 0, ..*self }
    }
}

/// Runs the plan up to each of its writes; hands on the card before it, the write's number, page, old and new content.
fn tear(start: &Start, planner: Planner, seeds: u64, tally: &mut Tally, then: &mut dyn FnMut(&mut Tally, &PageBench)) {
    let mut base = start.bench.clone();
    let view = base.view();
    let had_one = view.current().is_some();
    let plan = planner(&view, &start.record, &base.keys, Form::Type2(base.place())).unwrap();
    let steps = steps(&plan);
    let writes = writes(&steps);
    for (at, (page, new)) in writes.iter().copied().enumerate() {
        let earlier = writes[..at].iter().rev().find(|(earlier, _)| *earlier == page).map(|(_, data)| *data);
        let old = earlier.unwrap_or(base.memory(page));
        let mut before = base.clone();
        assert_eq!(before.run(&steps, Some((at, new))), Err(Stop::Torn));
        for content in torn_contents(old, new, seeds) {
            // The same card as if the whole plan had been run up to here: nothing else differs.
            let mut torn = before.clone();
            torn.card().set_memory(page, content);
            torn.new_session();
            tally.judge(&torn.view(), had_one, &start.known);
            then(tally, &torn);
        }
    }
}

fn model_check(planner: Planner, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for start in PLACES.into_iter().flat_map(starts) {
        tear(&start, planner, seeds, &mut tally, &mut |tally, torn| {
            tally.present_again(&mut torn.clone(), planner, &start.record);
            tally.present_again(&mut torn.clone(), planner, &record(77));
        });
    }
    tally
}

#[test]
fn no_tear_loses_or_mixes_a_credential_and_the_next_attempt_recovers() {
    let tally = model_check(encode, 2);
    assert!(tally.is_clean(), "{tally:?}");
    assert!(tally.cases > 20_000, "{tally:?}");
}

#[test]
fn no_second_tear_does_either() {
    let mut tally = Tally::default();
    let mut index = 0;
    for start in PLACES.into_iter().flat_map(starts) {
        tear(&start, encode, 0, &mut Tally::default(), &mut |_, torn| {
            index += 1;
            if index % 97 != 0 {
                return;
            }
            let again = Start { bench: torn.clone(), record: start.record.clone(), known: start.known.clone() };
            tear(&again, encode, 0, &mut tally, &mut |tally, torn| {
                tally.present_again(&mut torn.clone(), encode, &start.record);
            });
        });
    }
    assert!(tally.is_clean(), "{tally:?}");
    assert!(tally.cases > 20_000, "{tally:?}");
}

/// Wrong on purpose: overwrites the current slot.
fn in_place(view: &CardView, record: &Record, keys: &CardKeys, form: Form) -> Result<EncodePlan, PlanError> {
    let (Some((slot, sealed)), Form::Type2(place)) = (view.current(), form) else {
        return encode(view, record, keys, form);
    };
    let content = Content::fit(record, form).unwrap();
    let image = PageImage::new(keys, place, slot, sealed.sequence + 1, &content).unwrap();
    let mut steps: Vec<_> = unlock(place.kind(), keys).map(Step::Unlock).into_iter().collect();
    let pages = image.payload_pages().chain(image.seal_pages());
    steps.extend(pages.map(|(page, data)| Step::WritePage { page, data }));
    Ok(EncodePlan { steps, slot, sequence: sealed.sequence + 1, overwritten: None, worn: None })
}

/// Wrong on purpose: the old slot lives on.
fn never_retired(view: &CardView, record: &Record, keys: &CardKeys, form: Form) -> Result<EncodePlan, PlanError> {
    let mut plan = encode(view, record, keys, form)?;
    let verified = plan.steps.iter().position(|step| *step == Step::Reached(SafePoint::Verified)).unwrap();
    plan.steps.truncate(verified + 1);
    Ok(plan)
}

#[test]
fn check_finds_what_writing_in_place_loses() {
    let tally = model_check(in_place, 0);
    assert!(tally.lost > tally.cases / 4, "{tally:?}");
}

#[test]
fn check_finds_what_is_never_retired() {
    let tally = model_check(never_retired, 0);
    assert_eq!((tally.lost, tally.mixed), (0, 0), "{tally:?}");
    assert!(tally.stale > tally.cases / 4, "{tally:?}");
}

#[test]
fn weak_bits_never_lose_the_credential_and_go_away_with_repeated_attempts() {
    for start in PLACES.into_iter().flat_map(starts) {
        let mut base = start.bench.clone();
        let had_one = base.view().current().is_some();
        let plan = base.plan(&start.record);
        let steps = steps(&plan);
        for (at, (page, new)) in writes(&steps).into_iter().enumerate() {
            for first_read_inverted in [false, true] {
                let mut torn = base.clone();
                assert_eq!(torn.run(&steps, Some((at, new))), Err(Stop::Torn));
                let old = base.memory(page);
                torn.card().set_weak_bits(page, std::array::from_fn(|at| old[at] ^ new[at]));
                if first_read_inverted {
                    torn.look();
                }
                let mut done = false;
                for _ in 0..4 {
                    let view = torn.view();
                    assert!(!had_one || view.current().is_some(), "write {at}: lost");
                    // An attempt after one that was interrupted trusts nothing that it finds.
                    let plan = renew(&view, &start.record, &torn.keys, torn.place()).unwrap();
                    done = torn.run_steps(&plan.steps, None).is_ok();
                    if done {
                        break;
                    }
                }
                assert!(done, "write {at}: never recovered");
                let view = torn.view();
                let (slot, sealed) = view.current().unwrap();
                assert_eq!(sealed.content, torn.content(&start.record));
                assert_eq!(view.slot(slot.other()).valid(), None, "write {at}: stale");
            }
        }
    }
}

#[test]
fn torn_preparation_is_finished_by_the_next_attempt_or_begins_anew() {
    let mut cases = 0;
    for place in PLACES {
        let base = PageBench::blank(place);
        let (_, plan) = base.clone().plan_of_preparation().unwrap();
        let writes = writes(&plan.steps);
        for (at, (page, new)) in writes.iter().copied().enumerate() {
            let old = base.memory(page);
            for content in torn_contents(old, new, 16) {
                let mut torn = base.clone();
                assert_eq!(torn.run(&plan.steps, Some((at, content))), Err(Stop::Torn));
                let prepared = torn.prepare();
                assert_ne!(prepared, Prepared::Not, "{place:?}: write {at} of page {page} left {content:02x?}");
                // It is closed as it should be, and carries a credential.
                let plan = torn.encode(&record(1));
                assert_eq!(plan.sequence, 1, "{place:?}: nothing was valid before");
                assert_eq!(torn.look().1, torn.place());
                let first = torn.place().first_page().get();
                torn.new_session();
                assert_eq!(torn.field.exchange(&[0xA2, first, 0, 0, 0, 0]).is_err(), place.0 != Type2Kind::Ultralight);
                cases += 1;
            }
        }
    }
    assert!(cases > 1_000, "{cases}");
}

#[test]
fn torn_erasure_leaves_the_credential_that_was_there_or_none() {
    let mut cases = 0;
    for start in PLACES.into_iter().flat_map(starts) {
        let mut base = start.bench.clone();
        let LookOutcome::Ours(view) = base.look().0 else { panic!("ours") };
        let had = view.current().map(|(_, sealed)| sealed.content.clone());
        let plan = erase(&view, &base.keys, base.place()).unwrap();
        let steps: Vec<_> = plan.steps.iter().cloned().map(PersonalizeStep::from).collect();
        for (at, (page, new)) in writes(&steps).into_iter().enumerate() {
            let old = base.memory(page);
            for content in torn_contents(old, new, 0) {
                let mut torn = base.clone();
                assert_eq!(torn.run(&steps, Some((at, content))), Err(Stop::Torn));
                let view = torn.view();
                let left = view.current().map(|(_, sealed)| sealed.content.clone());
                assert!(left.is_none() || left == had, "write {at} of page {page} left {left:?}");
                let again = erase(&view, &torn.keys, torn.place()).unwrap();
                torn.run_steps(&again.steps, None).unwrap();
                assert!(torn.is_empty());
                cases += 1;
            }
        }
    }
    assert!(cases > 5_000, "{cases}");
}
