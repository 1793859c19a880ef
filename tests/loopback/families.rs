//! Every family of cards at a desk: encoded, read, encoded again, erased; and those that cannot become a key, each with its
//! own sentence.

use crate::desk::{Desk, Setup};
use serde_json::{Value, json};

/// Cards that carry a credential, and how many doors fit.
const CARRIERS: &[(&str, usize)] = &[
    ("classic-mini", 17),
    ("classic-1k", 17),
    ("classic-4k", 17),
    ("ultralight", 1),
    ("ultralight-ev1-48", 1),
    ("ultralight-ev1", 1),
    ("ultralight-c", 5),
    ("ntag213", 5),
    ("ntag215", 17),
    ("ntag216", 17),
];

async fn desk_with(card: &str, config: &str) -> Desk {
    Desk::start(Setup { encoders: &[("Front Desk", Some(card))], config, ..Setup::default() }).await
}

/// The card's UID.
async fn card_number(desk: &Desk) -> String {
    desk.wait_for("the card", |encoders| encoders[0]["card_number"].is_string()).await;
    desk.live().await[0]["card_number"].as_str().unwrap().to_owned()
}

fn erase(desk: &Desk, card: &str) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_encoderd"))
        .args(["card", "erase", card, "--config"])
        .arg(desk.config_file())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_refused(attempt: &Value, sentence: &str) {
    assert_eq!(attempt["status"], "error", "{attempt}");
    assert_eq!(attempt["error"]["type"], "incompatible_card_format", "{attempt}");
    assert!(attempt["error"]["message"].as_str().unwrap().starts_with(sentence), "{attempt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_is_encoded_read_encoded_again_and_erased() {
    for (kind, _) in CARRIERS {
        let desk = desk_with(kind, "").await;
        let card = card_number(&desk).await;
        let (first, second) = (desk.credential(1).await, desk.credential(1).await);
        for credential in [&first, &second] {
            desk.encode_well(0, credential).await;
            assert_eq!(desk.credential_state(credential).await["card_number"], card.as_str(), "{kind}");
            let before = desk.encoders[0].stats().writes;
            let scan = desk.scan_well(0).await;
            assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{kind}: {scan}");
            assert_eq!(scan["warnings"], json!([]), "{kind}");
            assert_eq!(desk.encoders[0].stats().writes, before, "{kind}: a scan writes nothing");
        }
        assert_eq!(desk.credential_state(&first).await["is_issued"], false, "{kind}: overwritten");
        let erased = erase(&desk, &card);
        assert!(erased.status.success(), "{kind}: {}", String::from_utf8_lossy(&erased.stderr));
        let said = String::from_utf8_lossy(&erased.stdout).into_owned();
        assert!(said.contains(&second[second.len() - 8..]), "{kind}: {said}");
        assert_eq!(desk.scan_well(0).await["acs_credential_on_encoder"], Value::Null, "{kind}");
        // What was erased can be a key again.
        desk.encode_well(0, &desk.credential(1).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_a_byte_is_written() {
    for (kind, doors) in CARRIERS.iter().filter(|(kind, _)| !kind.starts_with("classic")) {
        let desk = desk_with(kind, "").await;
        card_number(&desk).await;
        let credential = desk.credential(doors + 1).await;
        let attempt = desk.encode(0, &credential).await;
        assert_refused(&attempt, "The credential");
        let message = attempt["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("the card holds {doors}")), "{kind}: {message}");
        assert_eq!(desk.encoders[0].stats().writes, 0, "{kind}");
        desk.encode_well(0, &desk.credential(*doors).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_cannot_become_a_key_is_named() {
    for (kind, sentence) in [
        ("emv", "A payment card, or a phone that pays, lies there."),
        ("phone", "A phone or a watch lies there."),
        ("desfire", "This is a MIFARE DESFire card"),
        ("unknown", "This kind of card is not known here."),
    ] {
        let desk = desk_with(kind, "").await;
        let shown = |encoders: &[Value]| {
            encoders[0]["fault"]["message"].as_str().is_some_and(|message| message.starts_with(sentence))
        };
        desk.wait_for(kind, shown).await;
        let attempt = desk.encode(0, &desk.credential(1).await).await;
        assert_refused(&attempt, sentence);
        assert_eq!(desk.encoders[0].stats().writes, 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idling_over_a_card_writes_nothing() {
    for (kind, _) in CARRIERS {
        let desk = desk_with(kind, "").await;
        card_number(&desk).await;
        desk.scan_well(0).await;
        assert_eq!(desk.encoders[0].stats().writes, 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_are_shown_the_hotels_page_in_front_of_the_key() {
    for kind in ["ntag213", "ntag215", "ntag216"] {
        let desk = desk_with(kind, "[card]\nndef = \"https://hotel.example/stay\"\n").await;
        card_number(&desk).await;
        let credential = desk.credential(1).await;
        desk.encode_well(0, &credential).await;
        let scan = desk.scan_well(0).await;
        assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{kind}");
        let memory = desk.encoders[0].dump();
        // NFC Forum URI RTD: D1 01, length, 'U', 04 for https://.
        let message = [&[0xD1, 0x01, 0x13, b'U', 0x04][..], b"hotel.example/stay"].concat();
        assert!(memory.windows(message.len()).any(|window| window == message), "{kind}");
    }
}
