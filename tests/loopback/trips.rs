//! How many round trips a job costs: the line is the slow part of an encode.

use crate::desk::Desk;

/// Searches for the card that a job makes itself: one at its start, one in the new session of the verification.
const ENCODE_DETECTS: u64 = 2;
const SCAN_DETECTS: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn an_encode_and_a_scan_cost_what_the_layout_says() {
    let desk = Desk::simple().await;
    for (doors, encode_max, scan_max) in [(2, 36, 10), (16, 40, 12)] {
        // Twice: the record goes to slot A and to slot B in turn, from then on with a previous one to retire.
        for round in 0..3 {
            let credential = desk.credential(doors).await;
            let before = desk.encoders[0].stats();
            desk.encode_well(0, &credential).await;
            let after = desk.encoders[0].stats();
            let encode = after.job_round_trips(before, ENCODE_DETECTS);
            desk.scan_well(0).await;
            let scan = desk.encoders[0].stats().job_round_trips(after, SCAN_DETECTS);
            println!("{doors} doors, round {round}: encode {encode}, scan {scan} round trips");
            let personalises = doors == 2 && round == 0;
            assert!(personalises || encode <= encode_max, "{doors} doors: encode took {encode} round trips");
            assert!(scan <= scan_max, "{doors} doors: scan took {scan} round trips");
        }
    }
}
