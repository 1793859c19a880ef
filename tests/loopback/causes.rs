//! Each error type of an encode by its physical cause.

use crate::desk::{Desk, Readers, Setup};
use serde_json::{Value, json};
use std::time::Duration;

fn assert_error(attempt: &Value, error_type: &str) {
    assert_eq!(attempt["status"], "error", "{attempt}");
    assert_eq!(attempt["error"]["type"], error_type, "{attempt}");
    assert!(attempt["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{attempt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_card_until_the_wait_ends() {
    let desk =
        Desk::start(Setup { encoders: &[("Front Desk", None)], card_wait: Some("700ms"), ..Setup::default() }).await;
    let credential = desk.credential(1).await;
    assert_error(&desk.encode(0, &credential).await, "no_credential_on_encoder");
    assert_error(&desk.scan(0).await, "no_credential_on_encoder");
    assert_eq!(desk.credential_state(&credential).await["is_issued"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_comes_while_the_attempt_waits_is_written() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    let credential = desk.credential(1).await;
    let attempt = desk.start_encode(0, &credential).await;
    assert_eq!(attempt["status"], "pending");
    desk.encoders[0].control("place classic-1k:0badcafe");
    let attempt = desk.settled(attempt).await;
    assert_eq!(attempt["result"]["card_number"], "0badcafe", "{attempt}");
}

/// A factory card with one thing changed.
fn altered(desk: &Desk, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut dump = desk.encoders[0].dump();
    dump[offset..offset + bytes.len()].copy_from_slice(bytes);
    let file = desk.directory.path().join("altered.mfd");
    std::fs::write(&file, &dump).unwrap();
    desk.encoders[0].control(&format!("load {}", file.display()));
    dump
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_foreign_keys_or_foreign_data_is_left_untouched() {
    // Each alone.
    for (what, offset, bytes) in [
        ("key A of sector 1", 7 * 16, [0x11].as_slice()),
        ("key A of sector 15", 63 * 16, &[0x11]),
        ("data in sector 15", 62 * 16, &[0x01]),
        ("access bits of sector 9", 39 * 16 + 6, &[0x7F, 0x07, 0x88]),
    ] {
        let desk = Desk::simple().await;
        let before = altered(&desk, offset, bytes);
        let writes = desk.encoders[0].stats().writes;
        let credential = desk.credential(2).await;
        assert_error(&desk.encode(0, &credential).await, "incompatible_card_format");
        assert_eq!(desk.encoders[0].stats().writes, writes, "{what}: bytes were written");
        assert_eq!(desk.encoders[0].dump(), before, "{what}: the card changed");
        assert_eq!(desk.scan_well(0).await["acs_credential_on_encoder"], Value::Null, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_family_is_no_card_for_a_credential() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", Some("unknown"))], ..Setup::default() }).await;
    let credential = desk.credential(1).await;
    assert_error(&desk.encode(0, &credential).await, "incompatible_card_format");
    assert_eq!(desk.encoders[0].stats().writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_card_is_refused_where_cards_are_personalised_by_hand() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k"))],
        config: "[card]\npersonalize = \"manual\"\n",
        ..Setup::default()
    })
    .await;
    let credential = desk.credential(1).await;
    assert_error(&desk.encode(0, &credential).await, "incompatible_card_format");
    assert_eq!(desk.encoders[0].stats().writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cards_are_refused_with_their_own_sentence() {
    let desk = Desk::simple().await;
    desk.encoders[0].control("place classic-1k:0badcafe");
    if crate::READERS == Readers::Serial {
        desk.wait_for("two cards seen", |encoders| encoders[0]["presence"] == "several").await;
    }
    let credential = desk.credential(1).await;
    let attempt = desk.encode(0, &credential).await;
    assert_error(&attempt, "uncategorized_error");
    assert!(attempt["error"]["message"].as_str().unwrap().contains("Several cards"), "{attempt}");
    assert_eq!(desk.encoders[0].stats().writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_encoder_is_not_online() {
    let desk = Desk::simple().await;
    let credential = desk.credential(1).await;
    desk.encoders[0].control("unplug 600000");
    desk.wait_for("offline", |encoders| encoders[0]["state"] == "offline").await;
    // Known at once, so settled at once.
    let attempt = desk.start_encode(0, &credential).await;
    assert_error(&attempt, "encoder_not_online");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_chip_is_a_communication_timeout() {
    let desk = Desk::simple().await;
    let credential = desk.credential(1).await;
    desk.encoders[0].control("delay 600000");
    let attempt = desk.encode(0, &credential).await;
    assert_error(&attempt, "encoder_communication_timeout");
    desk.encoders[0].control("delay 0");
    desk.wait_for("online again", |encoders| encoders[0]["state"] == "online").await;
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issued_credential_stays_on_its_card() {
    let desk = Desk::simple().await;
    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:0badcafe");
    desk.wait_for_card(0, Some("0badcafe")).await;
    let writes = desk.encoders[0].stats().writes;
    assert_error(&desk.encode(0, &credential).await, "credential_cannot_be_reissued");
    assert_eq!(desk.encoders[0].stats().writes, writes);
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_card_takes_a_new_credential_and_the_old_one_is_named() {
    let desk = Desk::simple().await;
    let (first, second) = (desk.credential(2).await, desk.credential(3).await);
    desk.encode_well(0, &first).await;
    desk.encode_well(0, &second).await;
    let scan = desk.scan_well(0).await;
    assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], second.as_str());
    let overwritten = desk.credential_state(&first).await;
    assert_eq!((&overwritten["is_issued"], &overwritten["card_number"]), (&json!(false), &Value::Null));
    let events = desk.get("/events/list", json!({"event_type": "acs_credential.invalidated"}), "events").await;
    assert_eq!(events[0]["acs_credential_id"], first.as_str(), "{events}");
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_encodes_of_one_credential_at_once_run_once() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef")), ("Concierge", Some("classic-1k:0badcafe"))],
        ..Setup::default()
    })
    .await;
    let credential = desk.credential(1).await;
    let (a, b) = tokio::join!(desk.encode(0, &credential), desk.encode(1, &credential));
    let successes = [&a, &b].into_iter().filter(|attempt| attempt["status"] == "success").count();
    assert_eq!(successes, 1, "{a} {b}");
    let (blank, card) = (desk.scan_well(0).await, desk.scan_well(1).await);
    let on_cards = [&blank, &card].into_iter().filter(|scan| !scan["acs_credential_on_encoder"].is_null()).count();
    assert_eq!(on_cards, 1, "{blank} {card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_doors_than_fit_are_refused_before_a_byte_is_written() {
    let desk = Desk::simple().await;
    let credential = desk.credential(18).await;
    let attempt = desk.encode(0, &credential).await;
    assert_error(&attempt, "incompatible_card_format");
    assert!(attempt["error"]["message"].as_str().unwrap().contains("18 doors"), "{attempt}");
    assert!(desk.scan_well(0).await["acs_credential_on_encoder"].is_null());
    // Seventeen are the most that the layout holds.
    let credential = desk.credential(17).await;
    desk.encode_well(0, &credential).await;
    assert_eq!(desk.scan_well(0).await["warnings"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_of_card_and_uid_takes_a_credential_and_then_another() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    for kind in ["classic-mini", "classic-1k", "classic-4k"] {
        for uid in ["0badcafe", "04a1b2c3d4e5f6"] {
            desk.encoders[0].control(&format!("place {kind}:{uid}"));
            desk.wait_for_card(0, Some(uid)).await;
            for doors in [1, 16] {
                let credential = desk.credential(doors).await;
                assert_eq!(desk.encode_well(0, &credential).await["card_number"], uid, "{kind}:{uid}");
                let scan = desk.scan_well(0).await;
                assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{kind}:{uid}");
                assert_eq!(scan["warnings"], json!([]), "{kind}:{uid}");
            }
            desk.encoders[0].control("remove");
            desk.wait_for_card(0, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_still_lies_there_is_not_written_where_a_new_presentation_is_asked_for() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        card_wait: Some("700ms"),
        config: "[card]\nrequire_new_presentation = true\n",
        ..Setup::default()
    })
    .await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let credential = desk.credential(1).await;
    assert_error(&desk.encode(0, &credential).await, "no_credential_on_encoder");
    assert_eq!(desk.encoders[0].stats().writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_lifted_and_put_back_is_a_new_presentation() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        config: "[card]\nrequire_new_presentation = true\n",
        ..Setup::default()
    })
    .await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let credential = desk.credential(1).await;
    let attempt = desk.start_encode(0, &credential).await;
    let mut settled = std::pin::pin!(desk.settled(attempt));
    // The job may begin only when the card lies there again; then it has to be lifted once more.
    let attempt = loop {
        desk.encoders[0].control("remove");
        desk.wait_for_card(0, None).await;
        desk.encoders[0].control("place classic-1k:deadbeef");
        if let Ok(attempt) = tokio::time::timeout(Duration::from_secs(4), &mut settled).await {
            break attempt;
        }
    };
    assert_eq!(attempt["status"], "success", "{attempt}");
}
