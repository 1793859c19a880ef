//! Tears through the driver's own code: whole jobs, from the search for the card to its retries, on simulated cards and
//! readers, byte by byte or APDU by APDU, in simulated time. Every write of every kind of job is torn to many contents;
//! then the card is presented again.
//!
//! | file | what |
//! | --- | --- |
//! | `rig` | a reader with its session, and jobs on it |
//! | `cards` | cards to start from, and what lies on a card, read without a reader |
//! | `suite` | tears, presents again, judges, counts |
//! | `same` | the same card from every reader, and what a job costs |
//! | `wrong` | layouts that must not pass |
//!
//! `TEARS=1000 cargo test --lib device::tears` tears to a thousand random contents each instead of 32.

mod cards;
mod rig;
mod same;
mod suite;
#[path = "../../../protocols/tests/support/torn.rs"]
mod torn;
mod wrong;

use cards::Family;
use encoder_protocols::family::classic::ClassicSize;
use rig::{READERS, Rig};
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

/// Runs stages on all processors; prints what each has found and how long it took.
fn run(stages: Vec<Stage>, seeds: u64) -> Tally {
    let queue = std::sync::Mutex::new(stages.into_iter());
    let total = std::sync::Mutex::new(Tally::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    say(format_args!("{:34} {}", "tears", Tally::HEADER));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(stage) = queue.lock().unwrap().next() else { return };
                    let begun = crate::clock::now();
                    let tally = rig::block_on(async {
                        let mut suite = Suite::new(Rig::new(stage.reader).await, seeds);
                        suite.run(&stage).await;
                        suite.tally
                    });
                    let took = crate::clock::now() - begun;
                    say(format_args!("{:34} {tally} {:7.1} s", stage.to_string(), took.as_secs_f64()));
                    total.lock().unwrap().add(tally);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    say(format_args!("{:34} {total}", "together"));
    total
}

#[test]
fn no_tear_costs_a_guest_the_key() {
    let stages = READERS.iter().flat_map(|reader| cards::stages(*reader)).collect();
    let total = run(stages, noise());
    assert!(total.is_clean(), "{}", total.first.unwrap_or_default());
    assert!(total.cases >= 100_000, "{} cases", total.cases);
}

/// A part of the suite with a layout that is wrong.
fn run_wrong(wrong: Wrong, kind: Kind) -> Tally {
    let size = ClassicSize::Mini;
    let mut stages = cards::stages("pn532").into_iter();
    let stage = stages.find(|stage| stage.kind == kind && stage.family == Family::Classic(size)).unwrap();
    rig::block_on(async {
        let mut rig = Rig::new(stage.reader).await;
        rig.wrong = Some((wrong, size));
        let mut suite = Suite::new(rig, 4);
        suite.run(&stage).await;
        suite.tally
    })
}

#[test]
fn writing_in_place_is_found() {
    let tally = run_wrong(Wrong::InPlace, Kind::Encode);
    assert!(tally.lost > tally.cases / 4, "{tally:?}");
}

#[test]
fn retiring_the_old_credential_first_is_found() {
    let tally = run_wrong(Wrong::RetiredFirst, Kind::Encode);
    assert!(tally.lost > tally.cases / 4, "{tally:?}");
}

#[test]
fn never_retiring_the_old_credential_is_found() {
    let tally = run_wrong(Wrong::NeverRetired, Kind::Encode);
    assert!(tally.lost == 0 && tally.stale > tally.cases / 4, "{tally:?}");
}

#[test]
fn never_reading_back_is_found() {
    let tally = run_wrong(Wrong::NeverVerified, Kind::WeakBits);
    assert!(tally.false_success > tally.cases / 8, "{tally:?}");
}
