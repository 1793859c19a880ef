//! Tears through the driver's own code: whole jobs, from the search for the card to its retries, on simulated cards and
//! readers, byte by byte or APDU by APDU, in simulated time. Every write of every kind of job is torn to many contents;
//! then the card is presented again.
//!
//! | file | what |
//! | --- | --- |
//! | `rig` | a reader with its session, and jobs on it |
//! | `cards` | cards to start from, and what lies on a card, read without a reader |
//! | `ill` | cards with something wrong, each with its fault |
//! | `suite` | tears, presents again, judges, counts |
//! | `same` | the same card from every reader, and what a job costs |
//! | `wrong` | layouts that must not pass |
//!
//! `TEARS=1000 cargo test --lib device::tears` tears to a thousand random contents each instead of 32.

mod cards;
mod ill;
mod rig;
mod same;
mod suite;
#[path = "../../../protocols/tests/support/torn.rs"]
mod torn;
mod wrong;

use cards::{FAMILIES, Family};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::type2::Type2Kind;
use rig::{READERS, Rig};
use std::sync::Mutex;
use suite::{Kind, Stage, Suite, Tally};
use wrong::Wrong;

/// Random contents that each write is torn to.
const NOISE: u64 = 32;

fn noise() -> u64 {
    std::env::var("TEARS").map_or(NOISE, |seeds| seeds.parse().expect("TEARS is how many random contents"))
}

/// Says something in the test's output, captured or not.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// Runs one kind of stage with every kind of card on every reader, on all processors; prints what each has found and how
/// long it took.
fn run(kind: Kind, cases_min: usize) {
    let seeds = noise();
    let stages: Vec<_> =
        FAMILIES.iter().flat_map(|family| READERS.iter().map(move |reader| (*family, *reader))).collect();
    let (queue, total) = (Mutex::new(stages.into_iter()), Mutex::new(Tally::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = crate::clock::now();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some((family, reader)) = queue.lock().unwrap().next() else { return };
                    let stage = family.stage(reader, kind);
                    let begun = crate::clock::now();
                    let tally = run_stage(&stage, seeds, None);
                    say(format_args!("{:42} {tally} {:7.1} s", stage.to_string(), seconds_since(begun)));
                    total.lock().unwrap().add(tally);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    say(format_args!("{:42} {}", "", Tally::HEADER));
    say(format_args!("{:42} {total} {:7.1} s", format!("together, {kind}"), seconds_since(begun)));
    assert!(total.is_clean(), "{}", total.first.unwrap_or_default());
    assert!(total.cases >= cases_min, "{} cases", total.cases);
}

fn seconds_since(begun: tokio::time::Instant) -> f64 {
    (crate::clock::now() - begun).as_secs_f64()
}

fn run_stage(stage: &Stage, seeds: u64, wrong: Option<Wrong>) -> Tally {
    rig::block_on(async {
        let mut rig = Rig::new(stage.reader).await;
        rig.wrong = wrong;
        let mut suite = Suite::new(rig, stage, seeds);
        suite.run(stage).await;
        suite.tally
    })
}

#[test]
fn a_torn_personalization_is_finished_or_the_card_is_named() {
    run(Kind::Personalize, 15_000);
}

#[test]
fn a_torn_encode_costs_no_guest_the_key() {
    run(Kind::Encode, 50_000);
}

#[test]
fn a_torn_recovery_costs_no_guest_the_key() {
    run(Kind::Recover, 100_000);
}

#[test]
fn a_torn_erasure_leaves_what_was_there_or_nothing() {
    run(Kind::Erase, 100_000);
}

#[test]
fn two_tears_in_a_row_are_survived() {
    run(Kind::TwoTears, 20_000);
}

#[test]
fn what_reads_otherwise_each_time_is_never_trusted_and_goes_away() {
    run(Kind::WeakBits, 20_000);
}

/// Families whose layouts differ: blocks, pages in the full form, pages in the compact form.
const LAYOUTS: [Family; 3] = [
    Family::Classic(ClassicSize::Mini),
    Family::Type2 { kind: Type2Kind::UltralightEv1Small, ndef: false },
    Family::Type2 { kind: Type2Kind::Ntag213, ndef: false },
];

#[test]
fn writing_in_place_is_found() {
    for family in LAYOUTS {
        let tally = run_stage(&family.stage("pn532", Kind::Encode), 4, Some(Wrong::InPlace));
        assert!(tally.lost > tally.cases / 4, "{family}: {tally:?}");
    }
}

#[test]
fn retiring_the_old_credential_first_is_found() {
    for family in LAYOUTS {
        let tally = run_stage(&family.stage("pn532", Kind::Encode), 4, Some(Wrong::RetiredFirst));
        assert!(tally.lost > tally.cases / 4, "{family}: {tally:?}");
    }
}

#[test]
fn never_retiring_the_old_credential_is_found() {
    for family in LAYOUTS {
        let tally = run_stage(&family.stage("pn532", Kind::Encode), 4, Some(Wrong::NeverRetired));
        assert!(tally.lost == 0 && tally.stale > tally.cases / 4, "{family}: {tally:?}");
    }
}

#[test]
fn never_reading_back_is_found() {
    for family in LAYOUTS {
        let tally = run_stage(&family.stage("pn532", Kind::WeakBits), 4, Some(Wrong::NeverVerified));
        assert!(tally.false_success > tally.cases / 8, "{family}: {tally:?}");
    }
}
