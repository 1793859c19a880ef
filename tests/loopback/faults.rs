//! A bad line: the job still ends, with success or the right error, and never with a wrong byte on the card.

use crate::desk::{Desk, Setup};
use serde_json::Value;

/// The card says what was encoded, or the attempt said that it failed and the card holds the credential before it.
async fn assert_honest(desk: &Desk, attempt: &Value, credential: &str, previous: &str) {
    let scan = desk.scan_well(0).await;
    let on_card = &scan["acs_credential_on_seam"]["acs_credential_id"];
    match attempt["status"].as_str() {
        Some("success") => assert_eq!(on_card, credential, "{attempt} {scan}"),
        Some("error") => assert!(on_card == credential || on_card == previous, "{attempt} {scan}"),
        _ => panic!("{attempt}"),
    }
    assert_eq!(scan["warnings"].as_array().map(Vec::len), Some(0), "{scan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_or_damaged_frame_does_not_fail_a_job() {
    let desk = Desk::simple().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for fault in ["drop-next", "corrupt-next", "drop-ack"] {
        for _ in 0..3 {
            let credential = desk.credential(2).await;
            let attempt = desk.start_encode(0, &credential).await;
            desk.encoders[0].control(fault);
            let attempt = desk.settled(attempt).await;
            assert_eq!(attempt["status"], "success", "{fault}: {attempt}\n{}", desk.log());
            assert_honest(&desk, &attempt, &credential, &previous).await;
            previous = credential;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_before_every_frame_and_bytes_one_at_a_time_do_not_fail_a_job() {
    let desk = Desk::simple().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for (line, quiet) in [("garbage 1", "garbage 0"), ("garbage 200", "garbage 0"), ("trickle on", "trickle off")] {
        let credential = desk.credential(2).await;
        desk.encoders[0].control(line);
        let attempt = desk.encode(0, &credential).await;
        desk.encoders[0].control(quiet);
        assert_eq!(attempt["status"], "success", "{line}: {attempt}\n{}", desk.log());
        assert_honest(&desk, &attempt, &credential, &previous).await;
        previous = credential;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_three_seconds_ends_definitely() {
    let desk = Desk::simple().await;
    let previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let credential = desk.credential(2).await;
    desk.encoders[0].control("delay 3000");
    let attempt = desk.encode(0, &credential).await;
    assert!(attempt["status"] == "success" || attempt["error"]["type"] == "encoder_communication_timeout", "{attempt}");
    desk.encoders[0].control("delay 0");
    desk.wait_for("online again", |encoders| encoders[0]["state"] == "online").await;
    assert_honest(&desk, &attempt, &credential, &previous).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_only_takes_longer() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await;
    let credential = desk.credential(2).await;
    desk.encoders[0].control("delay 30");
    desk.encode_well(0, &credential).await;
    assert_eq!(desk.scan_well(0).await["acs_credential_on_seam"]["acs_credential_id"], credential.as_str());
}
