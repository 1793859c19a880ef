//! Prepare, encode, scan and erase on whole Type 2 cards: what is where, what is reported, what it costs.

use super::bench::record as record_of;
use super::pages::{PLACES, PageBench, Prepared, ndef, page, property, record, uid};
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::layout::compact::Misfit;
use encoder_protocols::layout::content::SlotState;
use encoder_protocols::layout::form::{Form, Place, RecordForm, Spot};
use encoder_protocols::layout::ocl1::{Slot, SlotFault};
use encoder_protocols::plan::{
    Ask, AskOutcome, LookOutcome, LookType2, NotBlankType2, PersonalizeStep, PlanError, Step, SurveyType2Outcome,
    encode, erase,
};

#[test]
fn every_card_says_what_it_is() {
    for kind in Type2Kind::ALL {
        let mut bench = PageBench::blank((kind, false));
        let mut ask = Ask::new();
        bench.examine(&mut ask);
        assert_eq!(ask.outcome(), Some(AskOutcome::Kind(kind)));
    }
}

#[test]
fn blank_card_becomes_one_of_ours_and_carries_one_record_after_the_other() {
    for place in PLACES {
        let mut bench = PageBench::blank(place);
        assert_eq!(bench.look().0, LookOutcome::NotOurs, "{place:?}");
        assert_eq!(bench.prepare(), Prepared::Blank, "{place:?}");
        for number in 1..6 {
            let plan = bench.encode(&record(number));
            let slot = if number % 2 == 0 { Slot::B } else { Slot::A };
            assert_eq!((plan.slot, plan.sequence, plan.worn), (slot, u32::from(number), None), "{place:?}");
            let overwritten = (number > 1).then(|| bench.content(&record(number - 1)));
            assert_eq!(plan.overwritten, overwritten);
            let view = bench.view();
            let (at, sealed) = view.current().unwrap();
            assert_eq!((at, &sealed.content), (slot, &bench.content(&record(number))), "{place:?}");
            assert_eq!(*view.slot(slot.other()), SlotState::Empty);
        }
        let (_, found) = bench.look();
        assert_eq!(found, bench.place());
    }
}

#[test]
fn nothing_but_user_memory_and_what_closes_the_card_is_written() {
    for place in PLACES {
        let mut bench = PageBench::blank(place);
        let new = bench.card().dump();
        bench.prepare();
        bench.encode(&record(1));
        bench.encode(&record(2));
        let after = bench.card().dump();
        assert_eq!(new[..16], after[..16], "pages 0 to 3 of {place:?}");
        let first = usize::from(bench.place().first_page().get());
        if !place.1 {
            // What the factory left in front of the slots stays.
            assert_eq!(new[16..4 * first], after[16..4 * first], "{place:?}");
        }
        if let Some(locks) = place.0.dynamic_lock_page() {
            let at = 4 * usize::from(locks.get());
            assert_eq!(new[at..at + 4], after[at..at + 4], "lock bytes of {place:?}");
        }
        if place.0.has_password() {
            let access = 4 * usize::from(place.0.config_page().unwrap().get() + 1);
            assert_eq!(new[access..access + 4], after[access..access + 4], "ACCESS of {place:?}");
        }
    }
}

#[test]
fn prepared_card_takes_no_write_without_its_password_and_is_read_without() {
    for place in PLACES {
        let mut bench = PageBench::personalized(place);
        bench.encode(&record(1));
        let first = bench.place().first_page();
        bench.new_session();
        let pages = bench.read(first, 4).unwrap();
        assert_eq!(pages[0][0], if bench.place().record_form() == RecordForm::Full { 1 } else { 2 });
        let refused = bench.field.exchange(&[0xA2, first.get(), 1, 2, 3, 4]).is_err();
        assert_eq!(refused, place.0 != Type2Kind::Ultralight, "{place:?}");
    }
}

#[test]
fn message_lies_in_front_and_stays_through_encodes() {
    for kind in [Type2Kind::Ntag213, Type2Kind::Ntag215, Type2Kind::Ntag216] {
        let mut bench = PageBench::personalized((kind, true));
        let message = ndef().to_pages(bench.place()).unwrap();
        for number in 1..4 {
            bench.encode(&record(number));
            let found: Vec<_> = (4..).take(message.len()).map(|number| bench.memory(page(number))).collect();
            assert_eq!(found, message, "{kind}");
        }
    }
}

#[test]
fn card_prepared_without_a_message_stays_so_when_the_desk_has_one_later_and_the_other_way_round() {
    for ndef in [false, true] {
        let mut bench = PageBench::personalized((Type2Kind::Ntag213, ndef));
        bench.encode(&record(1));
        bench.ndef = !ndef;
        let (outcome, place) = bench.look();
        assert!(matches!(outcome, LookOutcome::Ours(_)));
        assert_eq!(place, Place::of(Type2Kind::Ntag213, ndef));
        bench.encode(&record(2));
    }
}

#[test]
fn capacity_is_what_the_table_says() {
    for place in PLACES {
        let bench = PageBench::blank(place);
        let form = Form::Type2(bench.place());
        let max = form.doors_max();
        let view = encoder_protocols::plan::CardView::new([SlotState::Empty, SlotState::Empty]);
        assert!(encode(&view, &record_of(1, max), &bench.keys, form).is_ok(), "{place:?}");
        let misfit = Misfit::TooManyDoors { have: usize::from(max) + 1, max: max.into() };
        assert_eq!(
            encode(&view, &record_of(1, max + 1), &bench.keys, form),
            Err(PlanError::Misfit(misfit)),
            "{place:?}"
        );
    }
}

#[test]
fn round_trips_are_those_of_the_document() {
    // Scan of a card with one door; a new record over an earlier one, the look included. Neither detection nor the question
    // what the card is.
    let expected = [
        (Type2Kind::Ultralight, false, 3, 20),
        (Type2Kind::UltralightEv1Small, false, 1, 18),
        (Type2Kind::UltralightEv1Large, false, 1, 24),
        (Type2Kind::UltralightC, false, 9, 40),
        (Type2Kind::Ntag213, false, 1, 24),
        (Type2Kind::Ntag213, true, 1, 18),
        (Type2Kind::Ntag215, false, 1, 24),
        (Type2Kind::Ntag216, false, 1, 24),
    ];
    for (kind, ndef, scan, whole) in expected {
        let mut bench = PageBench::personalized((kind, ndef));
        for number in 1..4 {
            bench.encode(&record(number));
            bench.round_trips = 0;
            bench.view();
            assert_eq!(bench.round_trips, scan, "{kind}");
        }
        assert_eq!(bench.plan(&record(9)).round_trips() + scan, whole, "{kind}");
    }
}

#[test]
fn what_an_unused_slot_holds_already_is_not_written_again() {
    let mut bench = PageBench::personalized((Type2Kind::Ntag215, false));
    let all = bench.plan(&record(1)).steps.iter().filter(|step| step.writes()).count();
    bench.encode(&record(1));
    bench.encode(&record(2));
    // Slot A holds the payload of record 1: property, flags and more are the same.
    let plan = bench.plan(&record(3));
    let retire = 4;
    assert!(plan.steps.iter().filter(|step| step.writes()).count() < all + retire - 4, "{plan}");
    bench.encode(&record(3));
    assert_eq!(bench.view().current().unwrap().1.content, bench.content(&record(3)));
}

#[test]
fn erased_card_holds_nothing_and_can_be_encoded_again() {
    for place in PLACES {
        let mut bench = PageBench::personalized(place);
        bench.encode(&record(1));
        bench.encode(&record(2));
        let (outcome, found) = bench.look();
        let LookOutcome::Ours(view) = outcome else { panic!("ours") };
        let plan = erase(&view, &bench.keys, found).unwrap();
        assert_eq!(plan.erased, Some(bench.content(&record(2))));
        bench.run_steps(&plan.steps, None).unwrap();
        assert!(bench.is_empty(), "{place:?}");
        let slots = Slot::BOTH.into_iter().flat_map(|slot| found.pages(slot));
        assert!(slots.into_iter().all(|page| bench.memory(page.number()) == [0; 4]));
        bench.encode(&record(3));
    }
}

#[test]
fn one_dead_page_leaves_the_other_slot_and_says_that_the_card_is_worn() {
    for place in PLACES {
        for dead in Slot::BOTH {
            let mut bench = PageBench::personalized(place);
            let spot = bench.place().pages(dead).nth(4).unwrap().number();
            bench.kill(spot);
            let view = bench.view();
            assert!(matches!(view.slot(dead), SlotState::Unreadable { at: Spot::Page(_) }), "{place:?} {view:?}");
            let plan = bench.encode(&record(1));
            assert_eq!(plan.slot, dead.other(), "{place:?}");
            assert!(plan.worn.is_some() && plan.sequence > 0x100, "{plan}");
            // The same job again ends well; another one has no slot to go to.
            let again = bench.encode(&record(1));
            assert!(again.is_finishing() && again.worn.is_some());
            let (outcome, found) = bench.look();
            let LookOutcome::Ours(view) = outcome else { panic!("ours") };
            let refused = encode(&view, &record(2), &bench.keys, found);
            assert!(matches!(refused, Err(PlanError::SlotUnreadable { slot, .. }) if slot == dead), "{refused:?}");
            assert!(matches!(erase(&view, &bench.keys, found), Err(PlanError::SlotUnreadable { .. })));
        }
    }
}

#[test]
fn slot_that_takes_no_write_counts_as_dead_unless_it_holds_the_record() {
    let mut bench = PageBench::personalized((Type2Kind::Ntag213, false));
    let at = Spot::Page(bench.place().slot_page(Slot::A));
    let view = bench.view().with_dead(Slot::A, at);
    let plan = encode(&view, &record(1), &bench.keys, bench.place()).unwrap();
    assert_eq!((plan.slot, plan.worn), (Slot::B, Some(at)));
    bench.encode(&record(1));
    let view = bench.view();
    assert_eq!(view.clone().with_dead(Slot::A, at), view, "the only valid record stays what it is");
}

#[test]
fn foreign_cards_are_named_and_their_passwords_not_tried_where_they_count() {
    let foreign = |change: &dyn Fn(&mut PageBench)| {
        let mut bench = PageBench::blank((Type2Kind::Ntag213, true));
        change(&mut bench);
        bench.new_session();
        assert_eq!(bench.look().0, LookOutcome::NotOurs);
        let outcome = bench.survey();
        (outcome, bench.card().failures())
    };
    let set = |number: u8, data: [u8; 4]| move |bench: &mut PageBench| bench.card().set_memory(page(number), data);
    let why = |why| SurveyType2Outcome::Foreign { why };
    assert_eq!(foreign(&set(20, [1, 0, 0, 0])).0, why(NotBlankType2::Data { page: page(20) }));
    assert_eq!(foreign(&set(5, [0x34, 0x03, 0x04, 0xD1])).0, why(NotBlankType2::Data { page: page(5) }));
    assert_eq!(foreign(&set(41, [4, 0, 0, 28])).0, why(NotBlankType2::Password));
    assert_eq!(foreign(&set(41, [0x44, 0, 0, 0xFF])).0, why(NotBlankType2::Configuration));
    assert_eq!(foreign(&set(2, [0, 0x48, 0x0F, 0])).0, SurveyType2Outcome::Locked { page: page(2) });
    assert_eq!(foreign(&set(40, [1, 0, 0, 0xBD])).0, SurveyType2Outcome::Locked { page: page(40) });
    let container = SurveyType2Outcome::WrongCapabilityContainer { found: [0xE1, 0x10, 0x06, 0] };
    assert_eq!(foreign(&set(3, [0xE1, 0x10, 0x06, 0])).0, container);
    // AUTHLIM 3 beside a password of somebody else, beside ours, and with reading closed.
    for auth0 in [0, 4, 28, 41, 0xFF] {
        let limited = |bench: &mut PageBench| {
            bench.card().set_memory(page(41), [4, 0, 0, auth0]);
            bench.card().set_memory(page(42), [3, 5, 0, 0]);
        };
        assert_eq!(foreign(&limited), (why(NotBlankType2::AttemptsLimited), 0), "{auth0}");
        let closed = |bench: &mut PageBench| {
            bench.card().set_memory(page(41), [4, 0, 0, auth0]);
            bench.card().set_memory(page(42), [0x83, 5, 0, 0]);
        };
        assert_eq!(foreign(&closed).1, 0, "{auth0}");
    }
}

#[test]
fn foreign_ultralight_is_left_alone_unless_it_was_begun_here() {
    let mut bench = PageBench::blank((Type2Kind::Ultralight, false));
    bench.card().set_memory(page(7), [1, 2, 3, 4]);
    assert_eq!(bench.look().0, LookOutcome::NotOurs);
    assert_eq!(bench.survey(), SurveyType2Outcome::Foreign { why: NotBlankType2::Data { page: page(7) } });
    bench.begun = true;
    assert!(matches!(bench.survey(), SurveyType2Outcome::Unfinished(_)));
    bench.encode(&record(1));
}

#[test]
fn card_of_another_property_is_not_ours_and_a_compact_record_of_one_is_not_valid() {
    let mut bench = PageBench::personalized((Type2Kind::Ntag213, true));
    bench.encode(&record(1));
    let other = encoder_protocols::layout::record::PropertyId([0xEE; 16]);
    let mut look = LookType2::new(bench.kind, true, bench.keys.clone(), other, false);
    bench.examine(&mut look);
    // The password opens it, for the key is the same; the record is not this property's.
    let Some(LookOutcome::Ours(view)) = look.outcome() else { panic!("ours by its password") };
    assert_eq!(*view.slot(Slot::A), SlotState::Invalid(SlotFault::Mac));
    bench.keys = encoder_protocols::layout::keys::PropertyKey::new(1, [7; 16]).for_card(&uid());
    let mut look = LookType2::new(bench.kind, true, bench.keys.clone(), property(), false);
    bench.examine(&mut look);
    assert_eq!(look.outcome(), Some(LookOutcome::NotOurs));
}

#[test]
fn sequence_at_its_end_is_refused() {
    let mut bench = PageBench::personalized((Type2Kind::UltralightEv1Small, false));
    bench.put(Slot::A, 0xFFFF, &record(1));
    let view = bench.view();
    assert_eq!(encode(&view, &record(2), &bench.keys, bench.place()), Err(PlanError::SequenceExhausted));
}

#[test]
fn auth0_is_written_last_and_the_password_first() {
    for place in PLACES {
        let mut bench = PageBench::blank(place);
        let (_, plan) = bench.plan_of_preparation().unwrap();
        let config: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                PersonalizeStep::WriteConfigPage { page, .. } => Some(page.number()),
                PersonalizeStep::Step(_) | PersonalizeStep::WriteTrailer { .. } => None,
            })
            .collect();
        let Some(auth0) = place.0.config_page() else {
            assert!(plan.steps.is_empty());
            continue;
        };
        assert_eq!(config.last(), Some(&auth0), "{place:?}");
        let last = plan.steps.iter().rposition(|step| matches!(step, PersonalizeStep::WriteConfigPage { .. })).unwrap();
        let after = &plan.steps[last + 1..];
        assert_eq!(after[0], PersonalizeStep::Step(Step::NewSession));
        assert!(after.iter().any(|step| matches!(step, PersonalizeStep::Step(Step::Unlock(_)))), "proved: {plan}");
    }
}
