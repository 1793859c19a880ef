//! The same jobs leave the same card on every reader, byte by byte, and cost what is written in `docs/performance.md`.

use super::cards::{FAMILIES, Family, dump, record};
use super::rig::{Job, READERS, Rig, block_on};
use super::say;
use crate::fault::FaultKind;
use encoder_protocols::dialect::pcsc_storage::PROFILES;

/// A blank card, encoded and encoded again, with more doors and with fewer, erased and encoded.
fn jobs(family: Family) -> Vec<Job> {
    let doors = family.doors();
    let encode = |(number, doors)| Job::Encode(record(number, doors));
    let doors = [(1, doors.min(2)), (2, doors), (3, 0), (4, doors.min(2))];
    doors.map(encode).into_iter().chain([Job::Erase, encode((5, 1))]).collect()
}

/// What lies on the card behind each job; `None` where the reader cannot do what such a card needs.
async fn dumps(reader: &str, family: Family) -> Option<Vec<Vec<u8>>> {
    let mut rig = Rig::new(reader).await;
    rig.ndef = family.ndef();
    let blank = family.blank();
    let mut item = blank.clone();
    let mut dumps = Vec::new();
    for job in jobs(family) {
        match rig.run(&mut item, &job, None).await {
            Ok(()) => dumps.push(dump(&item.card)),
            Err(failure) => {
                assert_eq!(failure.fault.kind, FaultKind::ReaderCannot, "{reader}, {family}, {job:?}");
                assert!(dump(&item.card) == dump(&blank.card), "{reader}, {family}: refused, but written");
                return None;
            }
        }
    }
    Some(dumps)
}

#[test]
fn cards_from_every_reader_are_the_same_byte_for_byte() {
    let mut cannot = Vec::new();
    for &family in FAMILIES {
        let pn532 = block_on(dumps("pn532", family)).expect("a PN532 passes everything on");
        for profile in PROFILES {
            let Some(pcsc) = block_on(dumps(profile.name, family)) else {
                cannot.push(format!("{family} on {}", profile.name));
                continue;
            };
            for (at, job) in jobs(family).iter().enumerate() {
                assert!(pn532[at] == pcsc[at], "{family}, {}, {job:?}", profile.name);
            }
        }
    }
    say(format_args!("refused, because the reader cannot open them: {}", cannot.join(", ")));
    let needs_opening = |family: &Family| family.needs_opening();
    let others = PROFILES.iter().filter(|profile| profile.direct.is_none()).count();
    assert_eq!(cannot.len(), FAMILIES.iter().filter(|family| needs_opening(family)).count() * others, "{cannot:?}");
}

/// Exchanges with the reader for one scan, and for one encode over an earlier credential, with a slot that was used before.
async fn trips(reader: &str, family: Family, doors: u8) -> (u64, u64) {
    let mut rig = Rig::new(reader).await;
    rig.ndef = family.ndef();
    let mut item = family.blank();
    let mut counted = Vec::new();
    for number in 1..=6 {
        rig.run(&mut item, &Job::Encode(record(number, doors)), None).await.unwrap();
        counted.push(rig.trips);
    }
    assert_eq!(counted[4], counted[5], "whichever slot is current");
    assert_eq!(rig.scan(&item).await.card, item.card.uid());
    (rig.trips, counted[5])
}

#[test]
fn a_job_costs_the_round_trips_that_are_written_down() {
    let documented = include_str!("../../../docs/performance.md");
    let mut missing = Vec::new();
    for &family in FAMILIES {
        for &reader in READERS {
            for doors in family.doors_counted() {
                let (scan, encode) = block_on(trips(reader, family, doors));
                let row = format!("| {family} | {reader} | {doors} | {scan} | {encode} |");
                if !documented.lines().any(|line| line == row) {
                    missing.push(row);
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/performance.md lacks:\n{}", missing.join("\n"));
}
