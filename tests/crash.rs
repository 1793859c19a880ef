//! The built daemon, stopped and killed in the middle of an encode: after the restart the attempt ends, the card holds
//! the old or the new credential, and the hub agrees with the card.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "support/desk.rs"]
mod desk;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

use desk::{Desk, PROGRAM, RemoteDesk, Setup};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// Paced, so that there is time to strike between two writes.
async fn desk() -> Desk {
    Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await
}

/// Begins an encode and waits until so many writes of it have reached the card. On a machine that stands still for seconds
/// the virtual reader counts as silent; that attempt is over with the card as it was, and another one is begun.
async fn encode_until_writes(desk: &Desk, credential: &str, writes: u64) -> Value {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let since = desk.encoders[0].stats().writes;
        let attempt = desk.start_encode(0, credential).await;
        while desk.encoders[0].stats().writes < since + writes {
            assert!(Instant::now() < patience, "the card was not written\n{}", desk.log());
            let id = json!({"action_attempt_id": attempt["action_attempt_id"]});
            let now = desk.get("/action_attempts/get", id, "action_attempt").await;
            if now["error"]["type"] == "encoder_communication_timeout" {
                break;
            }
        }
        if desk.encoders[0].stats().writes >= since + writes {
            return attempt;
        }
    }
}

/// After the restart: the attempt has ended, the card is old or new, the hub says the same as the card.
async fn assert_agreement(desk: &Desk, attempt: Value, credential: &str, previous: &str) {
    let attempt = desk.settled(attempt).await;
    let scan = desk.scan_well(0).await;
    let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default().to_owned();
    assert!(on_card == credential || on_card == previous, "{scan}");
    if attempt["status"] == "success" {
        assert_eq!(on_card, credential, "{attempt}");
    }
    let known = desk.credential_state(&on_card).await;
    assert_eq!(known["card_number"], "deadbeef", "{known}");
    assert_eq!(known["is_issued"], true, "{known}");
    assert_eq!(scan["warnings"].as_array().map(Vec::len), Some(0), "{scan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_an_encode() {
    let mut desk = desk().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for writes in 0..=6 {
        let credential = desk.credential(2).await;
        let attempt = encode_until_writes(&desk, &credential, writes).await;
        desk.kill();
        desk.start_daemon().await;
        assert_agreement(&desk, attempt, &credential, &previous).await;
        // The desk works on.
        let next = desk.credential(1).await;
        desk.encode_well(0, &next).await;
        previous = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_of_an_encode() {
    let mut desk = desk().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for writes in [0, 2, 4, 5] {
        let credential = desk.credential(2).await;
        let attempt = encode_until_writes(&desk, &credential, writes).await;
        let asked = Instant::now();
        assert_eq!(desk.terminate(), Some(0), "{}", desk.log());
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "stopping took {took:?}\n{}", desk.log());
        desk.start_daemon().await;
        // It was given back, and taken up again.
        let attempt = desk.settled(attempt).await;
        assert_eq!(attempt["status"], "success", "{attempt}\n{}", desk.log());
        assert_agreement(&desk, attempt, &credential, &previous).await;
        previous = desk.scan_well(0).await["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_swapped_during_the_crash_is_not_written() {
    let mut desk = desk().await;
    let previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let credential = desk.credential(2).await;
    // Four payload blocks and the seal: the first card may hold the new credential.
    let attempt = encode_until_writes(&desk, &credential, 5).await;
    desk.kill();
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:0badcafe");
    let before = desk.encoders[0].stats().writes;
    desk.start_daemon().await;
    let attempt = desk.settled(attempt).await;
    assert_eq!(attempt["error"]["type"], "credential_cannot_be_reissued", "{attempt}\n{}", desk.log());
    assert_eq!(desk.encoders[0].stats().writes, before, "the second card was written");
    // In doubt: the second card is refused until the first one has been seen.
    let again = desk.encode(0, &credential).await;
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued", "{again}");
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    let scan = desk.scan_well(0).await;
    let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default().to_owned();
    assert!(on_card == credential || on_card == previous, "{scan}");
    assert_eq!(desk.credential_state(&on_card).await["card_number"], "deadbeef");
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_credentials_outlive_a_crash() {
    let mut desk = desk().await;
    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    let encoder = desk.encoder(0).await;
    desk.kill();
    desk.start_daemon().await;
    desk.wait_for("online", |encoders| encoders[0]["state"] == "online").await;
    assert_eq!(desk.encoder(0).await, encoder);
    assert_eq!(desk.credential_state(&credential).await["is_issued"], true);
    assert_eq!(desk.scan_well(0).await["acs_credential_on_seam"]["acs_credential_id"], credential.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_dies_in_the_middle_hears_of_the_card_afterwards() {
    let mut hub = Desk::start(Setup::default()).await;
    hub.pin_port();
    let key = hub.directory.path().join("card-key");
    let export =
        Command::new(PROGRAM).args(["keys", "export"]).arg(&key).arg("--config").arg(hub.config_file()).status();
    assert!(export.unwrap().success());
    let remote = RemoteDesk::start(&hub, Some(&key), &["--pace"]);
    let is_online = |encoders: &[Value]| encoders.iter().any(|encoder| encoder["state"] == "online");
    hub.wait_for("the remote encoder", is_online).await;
    let encoder = hub.live().await[0]["acs_encoder_id"].clone();
    let credential = hub.credential(2).await;
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
    let attempt = hub.get("/acs/encoders/encode_credential", body, "action_attempt").await;
    let patience = Instant::now() + Duration::from_secs(20);
    while remote.encoder.stats().writes == 0 {
        assert!(Instant::now() < patience, "the card was not written");
    }
    hub.kill();
    // The hub is away while the card is finished: two blocks of the directory, five trailers, payload and seal.
    while remote.encoder.stats().writes < 12 {
        assert!(Instant::now() < patience, "the card was not finished");
    }
    hub.start_daemon().await;
    let attempt = hub.settled(attempt).await;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(hub.credential_state(&credential).await["card_number"], "0badcafe");
}
