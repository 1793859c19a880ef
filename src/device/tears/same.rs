//! The same jobs leave the same card on every reader, byte by byte, and cost what is written in `docs/performance.md`.

use super::cards::{FAMILIES, Family, dump, record};
use super::rig::{Job, READERS, Rig, block_on};
use encoder_protocols::dialect::pcsc_storage::PROFILES;

/// A blank card, encoded and encoded again, with more doors and with fewer, erased and encoded.
fn jobs(family: Family) -> Vec<Job> {
    let doors = family.doors();
    let encode = |(number, doors)| Job::Encode(record(number, doors));
    let doors = [(1, doors.min(2)), (2, doors), (3, 0), (4, doors.min(2))];
    doors.map(encode).into_iter().chain([Job::Erase, encode((5, 1))]).collect()
}

/// What lies on the card behind each job.
async fn dumps(reader: &str, family: Family) -> Vec<Vec<u8>> {
    let mut rig = Rig::new(reader).await;
    rig.ndef = family.ndef();
    let mut item = family.blank();
    let mut dumps = Vec::new();
    for job in jobs(family) {
        rig.run(&mut item, &job, None)
            .await
            .unwrap_or_else(|failure| panic!("{reader}, {family}, {job:?}: {failure:?}"));
        dumps.push(dump(&item.card));
    }
    dumps
}

#[test]
fn cards_from_every_reader_are_the_same_byte_for_byte() {
    for &family in FAMILIES {
        let pn532 = block_on(dumps("pn532", family));
        for profile in PROFILES {
            let pcsc = block_on(dumps(profile.name, family));
            for (at, job) in jobs(family).iter().enumerate() {
                assert!(pn532[at] == pcsc[at], "{family}, {}, {job:?}", profile.name);
            }
        }
    }
}

/// Exchanges with the reader for one scan, and for one encode over an earlier credential.
async fn trips(reader: &str, family: Family, doors: u8) -> (u64, u64) {
    let mut rig = Rig::new(reader).await;
    rig.ndef = family.ndef();
    let mut item = family.blank();
    let mut counted = Vec::new();
    for number in 1..=3 {
        rig.run(&mut item, &Job::Encode(record(number, doors)), None).await.unwrap();
        counted.push(rig.trips);
    }
    assert_eq!(counted[1], counted[2], "whichever slot is current");
    assert_eq!(rig.scan(&item).await.card, item.card.uid());
    (rig.trips, counted[2])
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
