//! A lock vendor's image, through the hub's API: the documented example as it stands, and what must not be.

use crate::desk::{Desk, PATIENCE, Setup};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The shell example of the document.
fn example() -> String {
    let document = std::fs::read_to_string("docs/raw-layout.md").unwrap();
    let example = document.split("```sh\n").nth(1).expect("the document has an example");
    example.split("```").next().unwrap().to_owned()
}

async fn write(desk: &Desk, image: Value) -> Value {
    let body = json!({ "acs_encoder_id": desk.encoder(0).await, "image": image });
    desk.settled(desk.get("/encoderd/v1/acs_encoders/write_raw", body, "action_attempt").await).await
}

fn block(block: u8, byte: &str) -> Value {
    json!({ "write": "block", "block": block, "data": byte.repeat(16) })
}

/// Whether any file below holds this text, in whatever file it may be.
fn is_on_disk(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(is_on_disk(&path, text));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes())) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_example_works_as_it_stands_and_its_keys_are_gone_afterwards() {
    let mut desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        log: Some("trace"),
        ..Setup::default()
    })
    .await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let encoder = desk.encoder(0).await;
    let work = desk.directory.path().join("example");
    std::fs::create_dir(&work).unwrap();
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &example()]).current_dir(&work);
    command.env("HUB", &desk.url).env("KEY", &desk.key).env("ENCODER", &encoder);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_str(&text).unwrap();
    let attempt = &answer["action_attempt"];
    assert_eq!((&attempt["status"], &attempt["action_type"]), (&"success".into(), &"WRITE_RAW".into()), "{attempt}");
    let expected = json!({
        "card_number": "deadbeef", "written": [20, 21, 23], "verified": [20, 23], "unchanged": [], "simulated": true,
    });
    assert_eq!(attempt["result"], expected, "{attempt}");

    let memory = desk.encoders[0].dump();
    assert_eq!(&memory[20 * 16..20 * 16 + 12], b"Check-in 101");
    let trailer = [[0xC0, 0xFF, 0xEE, 0, 0, 1], [0x78, 0x77, 0x88, 0x69, 0xC0, 0xFF], [0xEE, 0, 0, 2, 0, 0]].concat();
    assert_eq!(memory[23 * 16..24 * 16], trailer[..16]);

    // The same again needs the card's new keys, and then finds nothing to do but the volatile block.
    let image: Value = json!({
        "keys": [{ "sector": 5, "key_b": "c0ffee000002" }],
        "writes": [
            { "write": "block", "block": 20, "data": "436865636b2d696e20313031000000a1" },
            { "write": "block", "block": 21, "data": "00000000000000000000000000000001", "volatile": true },
        ],
    });
    let again = write(&desk, image).await;
    assert_eq!(again["result"]["written"], json!([]), "{again}");
    assert_eq!(again["result"]["verified"], json!([20]), "{again}");

    // Nowhere a key or a content: not in the log at its loudest, not in the databases once the log of the engine is written back.
    for secret in ["c0ffee000001", "c0ffee000002", "436865636b2d696e2031303100"] {
        assert!(!desk.log().to_lowercase().contains(secret), "{secret} was logged");
        let (_, attempts) = desk.call("/action_attempts/list", json!({})).await;
        assert!(!attempts.to_string().to_lowercase().contains(secret), "{secret} is in an answer");
    }
    assert_eq!(desk.terminate(), Some(0));
    for secret in ["c0ffee000001", "c0ffee000002", "436865636b2d696e2031303100"] {
        assert_eq!(is_on_disk(&desk.state_dir(), secret), [""; 0], "{secret} was kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_may_not_be_written_leaves_the_card_as_it_was() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let before = desk.encoders[0].dump();
    let trailer = |bits: &str| json!({ "write": "trailer", "sector": 5, "key_a": "a1".repeat(6), "access_bits": bits, "key_b": "b2".repeat(6) });
    // The hub says at once what needs no card.
    let encoder = desk.encoder(0).await;
    for image in [
        json!({ "writes": [] }),
        json!({ "writes": [trailer("787788")] }),
        json!({ "writes": [{ "write": "block", "block": 4, "data": "5a" }] }),
        json!({ "writes": [block(4, "5a")], "surprise": true }),
    ] {
        let body = json!({ "acs_encoder_id": encoder, "image": image });
        let (status, answer) = desk.call("/encoderd/v1/acs_encoders/write_raw", body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(!answer.to_string().contains("5a5a"), "{answer}");
    }
    // The desk the rest, before it writes a byte.
    for (image, why) in [
        (json!({ "writes": [block(4, "5a"), block(0, "00")] }), "block 0"),
        (json!({ "writes": [block(4, "5a"), block(7, "00")] }), "a trailer"),
        (json!({ "card": "classic-4k", "writes": [block(4, "5a")] }), "MIFARE Classic 4K"),
        (json!({ "writes": [block(4, "5a"), block(64, "5a")] }), "no block 64"),
        (json!({ "writes": [block(4, "5a"), trailer("70f788")], "write_trailers": true }), "never be changed again"),
        (json!({ "writes": [block(4, "5a"), trailer("ff0780")], "write_trailers": true }), "read key B"),
        (json!({ "writes": [block(4, "5a"), trailer("787789")], "write_trailers": true }), "inverted copy"),
        (json!({ "card_number": "0badcafe", "writes": [block(4, "5a")] }), "another card"),
    ] {
        let attempt = write(&desk, image).await;
        let message = attempt["error"]["message"].as_str().unwrap_or_else(|| panic!("{attempt}"));
        assert!(message.contains(why), "{message}");
    }
    assert!(desk.encoders[0].dump() == before, "a refused image was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_leaves_in_the_middle_fails_with_what_was_written_and_is_finished_by_the_same_image() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let image = json!({ "writes": [block(20, "5a"), block(21, "5b"), block(24, "5c")] });
    desk.encoders[0].control("tear 2 partial");
    let attempt = write(&desk, image.clone()).await;
    assert_eq!(attempt["error"]["type"], "encoding_interrupted", "{attempt}");
    let message = attempt["error"]["message"].as_str().unwrap();
    assert!(message.contains("(written: 20, 21; verified: none)"), "{message}");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    let attempt = write(&desk, image).await;
    assert_eq!(attempt["result"]["verified"], json!([20, 21, 24]), "{attempt}");
    let memory = desk.encoders[0].dump();
    for (block, byte) in [(20, 0x5A), (21, 0x5B), (24, 0x5C)] {
        assert_eq!(memory[block * 16..block * 16 + 16], [byte; 16], "block {block}");
    }
    // No card: told like any other attempt, within its time.
    desk.encoders[0].control("remove");
    desk.wait_for_card(0, None).await;
    let begun = tokio::time::Instant::now();
    let attempt = write(&desk, json!({ "writes": [block(20, "5a")] })).await;
    assert_eq!(attempt["error"]["type"], "no_credential_on_encoder", "{attempt}");
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_closed_ntag_are_written_with_its_password_which_is_gone_afterwards() {
    let mut desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("ntag213:04a1b2c3d4e5f6"))],
        log: Some("trace"),
        ..Setup::default()
    })
    .await;
    desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
    // A vendor has closed it from page 4 on: NTAG213F/216F data sheet, section 8.5.7, pages 41 to 44.
    let mut memory = desk.encoders[0].dump();
    memory[41 * 4 + 3] = 4;
    memory[43 * 4..45 * 4].copy_from_slice(&[0xC0, 0xFF, 0xEE, 0x01, 0xBE, 0xEF, 0, 0]);
    let file = desk.directory.path().join("closed.bin");
    std::fs::write(&file, &memory).unwrap();
    desk.encoders[0].control("remove");
    desk.wait_for_card(0, None).await;
    desk.encoders[0].control("place ntag213:04a1b2c3d4e5f6");
    desk.encoders[0].control(&format!("load {}", file.display()));
    desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;

    let page = |page: u8, data: &str| json!({ "page": page, "data": data });
    for (image, why) in [
        (json!({ "pages": [page(20, "c0de0001")] }), "no password or key at hand opens the card"),
        (
            json!({ "pages": [page(20, "c0de0001")], "password": "c0ffee02", "pack": "beef" }),
            "no password or key at hand",
        ),
        (json!({ "pages": [page(20, "c0de0001"), page(2, "0000ffff")] }), "page 2 holds UID, lock bits or OTP"),
        (json!({ "pages": [page(20, "c0de0001"), page(43, "c0de0001")] }), "page 43 holds lock bits or configuration"),
        (json!({ "card": "ntag215", "pages": [page(20, "c0de0001")] }), "it is for a NTAG215, and this is a NTAG213"),
        (json!({ "writes": [block(4, "5a")] }), "blocks of a MIFARE Classic card, and this is a NTAG213"),
    ] {
        let attempt = write(&desk, image).await;
        let message = attempt["error"]["message"].as_str().unwrap_or_else(|| panic!("{attempt}"));
        assert!(message.contains(why), "{message}");
    }
    assert!(desk.encoders[0].dump() == memory, "a refused image was written");

    let image = json!({
        "card": "ntag213", "card_number": "04a1b2c3d4e5f6", "password": "c0ffee01", "pack": "beef",
        "pages": [page(21, "c0de0002"), page(20, "c0de0001"), { "page": 30, "data": "c0de0003", "volatile": true }, page(39, "00000000")],
    });
    let attempt = write(&desk, image.clone()).await;
    let expected = json!({
        "card_number": "04a1b2c3d4e5f6", "written": [20, 21, 30], "verified": [20, 21, 39], "unchanged": [39],
        "simulated": true,
    });
    assert_eq!(attempt["result"], expected, "{attempt}");
    for (page, data) in [(20, [0xC0, 0xDE, 0, 1]), (21, [0xC0, 0xDE, 0, 2]), (30, [0xC0, 0xDE, 0, 3])] {
        memory[page * 4..page * 4 + 4].copy_from_slice(&data);
    }
    assert!(desk.encoders[0].dump() == memory, "the card is not the image, and nothing else");
    // A card that leaves is told of with its pages, and finished by the same image.
    let mut second = image;
    second["pages"] = json!([page(10, "c0de0004"), page(11, "c0de0005"), page(12, "c0de0006")]);
    desk.encoders[0].control("tear 2 partial");
    let attempt = write(&desk, second).await;
    assert_eq!(attempt["error"]["type"], "encoding_interrupted", "{attempt}");
    let message = attempt["error"]["message"].as_str().unwrap();
    assert!(message.contains("(written: 10, 11; verified: none)"), "{message}");

    for secret in ["c0ffee01", "c0ffee02", "c0de000"] {
        assert!(!desk.log().to_lowercase().contains(secret), "{secret} was logged");
        let (_, attempts) = desk.call("/action_attempts/list", json!({})).await;
        assert!(!attempts.to_string().to_lowercase().contains(secret), "{secret} is in an answer");
    }
    assert_eq!(desk.terminate(), Some(0));
    for secret in ["c0ffee01", "c0ffee02", "c0de000"] {
        assert_eq!(is_on_disk(&desk.state_dir(), secret), [""; 0], "{secret} was kept");
    }
}
