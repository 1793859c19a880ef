//! Other programs at the same reader, and cards and readers that answer badly.

use crate::client::Client;
use crate::desk::{Desk, Setup};
use serde_json::{Value, json};
use std::time::Duration;

const READER: &str = "ACS ACR122U PICC Interface (front-desk) 00 00";

fn assert_in_use(attempt: &Value) {
    assert_eq!(attempt["error"]["type"], "encoder_not_online", "{attempt}");
    let message = attempt["error"]["message"].as_str().unwrap();
    assert!(message.contains("Another program is using the card reader"), "{attempt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_has_the_reader_for_itself_is_named_as_the_cause() {
    let desk = Desk::simple().await;
    let credential = desk.credential(1).await;
    let mut other = Client::start(desk.pcscd.as_ref().unwrap());
    other.ok(&json!(["connect", READER, "exclusive"]));
    assert_in_use(&desk.encode(0, &credential).await);
    assert_eq!(desk.encoders[0].stats().writes, 0);
    other.ok(&json!(["disconnect", "leave"]));
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_program_is_waited_for_and_not_for_ever() {
    let desk = Desk::simple().await;
    let credential = desk.credential(1).await;
    let mut other = Client::start(desk.pcscd.as_ref().unwrap());
    other.ok(&json!(["connect", READER]));
    other.ok(&json!(["begin"]));
    let attempt = desk.start_encode(0, &credential).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    other.ok(&json!(["end", "leave"]));
    let attempt = desk.settled(attempt).await;
    assert_eq!(attempt["status"], "success", "{attempt}");

    // The job has reset the card, which others are told at their next call.
    other.ok(&json!(["reconnect"]));
    other.ok(&json!(["begin"]));
    let writes = desk.encoders[0].stats().writes;
    assert_in_use(&desk.encode(0, &credential).await);
    other.ok(&json!(["end", "leave"]));
    assert_eq!(desk.encoders[0].stats().writes, writes);
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_resets_the_card_again_and_again_does_no_harm() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let mut other = Client::start(desk.pcscd.as_ref().unwrap());
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let nuisance = std::thread::spawn(move || {
        let mut resets = 0;
        while stopped.recv_timeout(Duration::from_millis(1)).is_err() {
            // Waits while the daemon is in a transaction; refused while the card is away.
            if other.call(&json!(["connect", READER]))[0] == 0 && other.call(&json!(["disconnect", "reset"]))[0] == 0 {
                resets += 1;
            }
        }
        resets
    });
    for _ in 0..5 {
        let credential = desk.credential(2).await;
        let attempt = desk.encode(0, &credential).await;
        let scan = desk.scan_well(0).await;
        let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(attempt["status"], "success", "{attempt}\n{}", desk.log());
        assert_eq!(on_card, credential, "not {previous} either: {scan}");
        previous = credential;
    }
    stop.send(()).unwrap();
    let resets: u32 = nuisance.join().unwrap();
    println!("{resets} resets between and beside five jobs");
    assert!(resets > 0, "the card was never reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_card_has_its_own_sentence() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    desk.encoders[0].control("mute on");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for("a card that cannot be named", |encoders| {
        let fault = encoders[0]["fault"]["message"].as_str().unwrap_or_default();
        encoders[0]["presence"] == "present" && fault.contains("does not answer")
    })
    .await;
    let credential = desk.credential(1).await;
    let attempt = desk.encode(0, &credential).await;
    assert_eq!(attempt["error"]["type"], "incompatible_card_format", "{attempt}");
    assert!(attempt["error"]["message"].as_str().unwrap().contains("does not answer"), "{attempt}");
    desk.encoders[0].control("remove");
    desk.wait_for_card(0, None).await;
    desk.encoders[0].control("mute off");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    desk.encode_well(0, &credential).await;
}

/// What a re-encode with two doors may take.
const APDUS_MAX: u64 = 44;

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_answer_anywhere_never_costs_a_credential() {
    let desk = Desk::simple().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let (mut successes, mut errors) = (0, 0);
    let before = desk.encoders[0].stats().round_trips;
    previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let apdus = desk.encoders[0].stats().round_trips - before;
    assert!(apdus <= APDUS_MAX, "an encode with two doors takes {apdus} commands");
    for nth in 1..=apdus {
        // Of all status words 6300 says least: any failure at all.
        for bad in [format!("sw 6300 {nth}"), format!("sw 6982 {nth}")] {
            let credential = desk.credential(2).await;
            desk.encoders[0].control(&bad);
            let attempt = desk.encode(0, &credential).await;
            let scan = desk.scan_well(0).await;
            let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default().to_owned();
            if attempt["status"] == "success" {
                successes += 1;
                assert_eq!(on_card, credential, "{bad}: {scan}");
            } else {
                errors += 1;
                assert!(on_card == credential || on_card == previous, "{bad}: {attempt} {scan}");
            }
            previous = on_card;
        }
    }
    println!("a bad answer to each of {apdus} commands, two kinds: {successes} successes, {errors} errors");
    assert!(successes > errors, "one bad answer should seldom end an attempt: {successes} successes, {errors} errors");
}
