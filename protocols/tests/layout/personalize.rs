//! Preparing cards: what counts as blank, what a prepared card looks like, and every way of being interrupted.

use super::bench::{Bench, SIZES, Stop, record, sector};
use super::torn::torn_contents;
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key, SectorTrailer};
use encoder_protocols::layout::content::SlotState;
use encoder_protocols::layout::mad::Mad;
use encoder_protocols::plan::{
    BlankCheck, BlankOutcome, LookOutcome, NotBlank, PersonalizePlan, PersonalizeStep, SafePoint, Step, Survey,
    SurveyOutcome,
};

fn blank_check(bench: &mut Bench) -> BlankOutcome {
    let mut check = BlankCheck::new(bench.card.size());
    bench.examine(&mut check);
    check.outcome().unwrap()
}

fn survey(bench: &mut Bench) -> SurveyOutcome {
    let mut survey = Survey::new(bench.card.size(), bench.keys.clone());
    bench.examine(&mut survey);
    survey.outcome().unwrap()
}

/// What the next attempt does with a card that was left somewhere in the middle.
fn prepare_again(bench: &mut Bench) -> SurveyOutcome {
    let found = survey(bench);
    let size = bench.card.size();
    let plan = match found {
        SurveyOutcome::Blank => PersonalizePlan::new(&bench.keys, size),
        SurveyOutcome::Unfinished(unfinished) => PersonalizePlan::resume(&unfinished, &bench.keys, size),
        SurveyOutcome::Ready | SurveyOutcome::Foreign { .. } | SurveyOutcome::Damaged { .. } => return found,
    };
    bench.run(&plan.steps, None).unwrap();
    assert_prepared(bench);
    found
}

fn assert_prepared(bench: &mut Bench) {
    let size = bench.card.size();
    assert_eq!(survey(bench), SurveyOutcome::Ready);
    let LookOutcome::Ours(view) = bench.look() else { panic!("a card of ours") };
    assert_eq!(view.slots, [SlotState::Empty, SlotState::Empty]);
    let directory = [1, 2].map(|block| bench.memory(BlockNumber::new(block)));
    assert_eq!(directory, Mad::for_card(size).to_blocks());
    for number in size.sector_numbers() {
        let trailer = bench.memory(number.trailer());
        if number.get() > 4 {
            assert_eq!(trailer, SectorTrailer::transport().to_bytes(), "sector {number} is not touched");
            continue;
        }
        let key_a = bench.keys.key_a(number);
        let key_b = bench.keys.key_b(number);
        let general_purpose = if number.get() == 0 { 0xC1 } else { 0x69 };
        assert_eq!(trailer[..6], *key_a.0.expose());
        assert_eq!(trailer[6..10], [0x78, 0x77, 0x88, general_purpose]);
        assert_eq!(trailer[10..], *key_b.0.expose());
    }
}

#[test]
fn blank_card_becomes_one_of_ours() {
    for size in SIZES {
        let mut bench = Bench::blank(size);
        assert_eq!(bench.look(), LookOutcome::NotOurs);
        assert_eq!(blank_check(&mut bench), BlankOutcome::Blank);
        assert_eq!(prepare_again(&mut bench), SurveyOutcome::Blank);
        assert!(matches!(blank_check(&mut bench), BlankOutcome::NotBlank { why: NotBlank::KeyRefused, .. }));
        bench.encode(&record(1, 16));
    }
}

#[test]
fn blank_check_of_a_1k_costs_five_round_trips_a_sector_less_block_0() {
    let mut bench = Bench::blank(ClassicSize::K1);
    blank_check(&mut bench);
    assert_eq!(bench.round_trips, 16 * 5 - 1);
}

#[test]
fn anything_else_is_not_blank() {
    for size in SIZES {
        for number in size.sector_numbers() {
            let changed = |change: &dyn Fn(&mut Bench)| {
                let mut bench = Bench::blank(size);
                change(&mut bench);
                let outcome = blank_check(&mut bench);
                if let BlankOutcome::NotBlank { sector, why } = outcome {
                    // The sector that personalising begins with, lost on an otherwise blank card: our own torn trailer.
                    let expected = if (sector.get(), why) == (2, NotBlank::KeyRefused) {
                        SurveyOutcome::Damaged { sector }
                    } else {
                        SurveyOutcome::Foreign { sector, why }
                    };
                    assert_eq!(survey(&mut bench), expected);
                }
                outcome
            };
            let block = number.data_blocks().last().unwrap().number();
            let mut data = [0; 16];
            data[15] = 1;
            let outcome = changed(&|bench| bench.card.set_memory(block, data));
            assert_eq!(outcome, BlankOutcome::NotBlank { sector: number, why: NotBlank::Data { block } });

            let mut trailer = SectorTrailer::transport().to_bytes();
            trailer[0] = 0xFE;
            let outcome = changed(&|bench| bench.card.set_memory(number.trailer(), trailer));
            assert_eq!(outcome, BlankOutcome::NotBlank { sector: number, why: NotBlank::KeyRefused });

            // Data 000, trailer 000: the transport key still opens everything.
            let mut trailer = SectorTrailer::transport().to_bytes();
            trailer[6..9].copy_from_slice(&[0xFF, 0x0F, 0x00]);
            let outcome = changed(&|bench| bench.card.set_memory(number.trailer(), trailer));
            assert_eq!(outcome, BlankOutcome::NotBlank { sector: number, why: NotBlank::AccessBits });
        }
    }
}

#[test]
fn trailers_are_proved_with_both_keys_before_the_next_one() {
    let bench = Bench::blank(ClassicSize::K1);
    let steps = PersonalizePlan::new(&bench.keys, ClassicSize::K1).steps;
    let mut trailers = 0;
    for (at, step) in steps.iter().enumerate() {
        let PersonalizeStep::WriteTrailer { sector: written, trailer } = step else { continue };
        trailers += 1;
        let login = |key| PersonalizeStep::from(Step::Login { sector: *written, key });
        assert_eq!(steps[at + 1], login(Key::A(trailer.key_a.clone())));
        assert_eq!(steps[at + 2], login(Key::B(trailer.key_b.clone())));
        assert_eq!(steps[at + 3], Step::Reached(SafePoint::Untouched).into());
    }
    assert_eq!(trailers, 5);
}

#[test]
fn card_that_left_between_two_steps_is_finished_by_the_next_attempt() {
    for size in SIZES {
        let start = Bench::blank(size);
        let steps = PersonalizePlan::new(&start.keys, size).steps;
        for until in 0..steps.len() {
            let mut bench = start.clone();
            bench.run(&steps[..until], None).unwrap();
            let found = prepare_again(&mut bench);
            assert!(
                matches!(found, SurveyOutcome::Blank | SurveyOutcome::Unfinished(_) | SurveyOutcome::Ready),
                "after {until} steps: {found:?}"
            );
            assert_prepared(&mut bench);
            bench.encode(&record(1, 2));
        }
    }
}

/// Every write of a personalisation torn: the card is finished by the next attempt, or it is named, never taken for good.
#[test]
fn torn_personalisation_is_finished_or_named() {
    let start = Bench::blank(ClassicSize::Mini);
    let steps = PersonalizePlan::new(&start.keys, ClassicSize::Mini).steps;
    let writes: Vec<(BlockNumber, [u8; 16])> = steps
        .iter()
        .filter_map(|step| match step {
            PersonalizeStep::WriteTrailer { sector, trailer } => Some((sector.trailer(), trailer.to_bytes())),
            PersonalizeStep::Step(Step::Write { block, data }) => Some((block.number(), *data)),
            PersonalizeStep::WriteConfigPage { .. } | PersonalizeStep::Step(_) => None,
        })
        .collect();
    let (mut finished, mut named) = (0, 0);
    for (at, &(block, new)) in writes.iter().enumerate() {
        let old = start.memory(block);
        for content in torn_contents(old, new, 16) {
            let mut bench = start.clone();
            assert_eq!(bench.run(&steps, Some((at, content))), Err(Stop::Torn));
            let found = prepare_again(&mut bench);
            match found {
                SurveyOutcome::Blank | SurveyOutcome::Unfinished(_) | SurveyOutcome::Ready => {
                    assert_prepared(&mut bench);
                    finished += 1;
                }
                SurveyOutcome::Damaged { sector } => {
                    assert_eq!(block, sector.trailer(), "only a torn trailer is damage");
                    named += 1;
                }
                // The first trailer, torn so that the transport key still opens it: no sector says whose card this is.
                SurveyOutcome::Foreign { sector, .. } => {
                    assert_eq!((at, block), (0, sector.trailer()), "{content:02x?}");
                    named += 1;
                }
            }
        }
    }
    assert!(finished > 0 && named > 0, "{finished} finished, {named} named");
}

#[test]
fn trailer_torn_behind_key_a_is_written_again() {
    let start = Bench::blank(ClassicSize::K1);
    let steps = PersonalizePlan::new(&start.keys, ClassicSize::K1).steps;
    for (write, len) in (0..7).flat_map(|write| [6, 9, 10].map(|len| (write, len))) {
        let trailer = steps.iter().filter_map(|step| match step {
            PersonalizeStep::WriteTrailer { sector, trailer } => Some((sector.trailer(), trailer.to_bytes())),
            PersonalizeStep::Step(Step::Write { block, data }) => Some((block.number(), *data)),
            PersonalizeStep::WriteConfigPage { .. } | PersonalizeStep::Step(_) => None,
        });
        let (block, new) = trailer.clone().nth(write).unwrap();
        if !block.is_trailer() {
            continue;
        }
        let mut content = start.memory(block);
        content[..len].copy_from_slice(&new[..len]);
        let mut bench = start.clone();
        bench.run(&steps, Some((write, content))).unwrap_err();
        if write > 0 || len == 6 {
            prepare_again(&mut bench);
            assert_prepared(&mut bench);
        }
    }
}

#[test]
fn dead_sector_of_a_card_of_ours_is_named() {
    for number in 0..5 {
        let mut bench = Bench::personalized(ClassicSize::K1);
        bench.card.set_memory(sector(number).trailer(), [0; 16]);
        assert_eq!(survey(&mut bench), SurveyOutcome::Damaged { sector: sector(number) });
    }
}

#[test]
fn card_with_a_public_directory_is_not_taken_for_ours() {
    let mut bench = Bench::blank(ClassicSize::K1);
    let mut trailer = SectorTrailer::transport().to_bytes();
    trailer[..6].copy_from_slice(&[0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5]);
    bench.card.set_memory(sector(0).trailer(), trailer);
    assert_eq!(survey(&mut bench), SurveyOutcome::Foreign { sector: sector(0), why: NotBlank::KeyRefused });
}

#[test]
fn sectors_that_somebody_else_uses_do_not_make_a_prepared_card_foreign() {
    let mut bench = Bench::personalized(ClassicSize::K1);
    bench.card.set_memory(BlockNumber::new(40), [1; 16]);
    assert_eq!(survey(&mut bench), SurveyOutcome::Ready);
}

#[test]
fn dry_run_names_blocks_and_no_keys() {
    let bench = Bench::blank(ClassicSize::K1);
    let listing = PersonalizePlan::new(&bench.keys, ClassicSize::K1).to_string();
    let expected = "\
prepare the card, 27 round trips
  1  start a new session: field off and on, select the card
  2  open sector 2 with key A
  3  write block 11 (trailer of sector 2): keys and access bits
  4  open sector 2 with key A
  5  open sector 2 with key B
  6  reached: the card may be taken away and finished later
";
    assert!(listing.starts_with(expected), "{listing}");
}
