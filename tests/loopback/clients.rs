//! Programs that nobody here wrote, at cards that the daemon has encoded: libnfc and nfcpy read the bytes, and what they say
//! is computed anew in Python.

use crate::desk::{Desk, Setup};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Kind, pages that can be read, first pages of the slots, form (docs/card-layout.md).
const CARDS: [(&str, usize, &str, &str, &str); 7] = [
    ("ultralight", 16, "4", "10", "compact"),
    ("ultralight-ev1-48", 20, "4", "10", "compact"),
    ("ultralight-ev1", 41, "4", "20", "full"),
    ("ultralight-c", 44, "4", "22", "full"),
    ("ntag213", 45, "4", "22", "full"),
    ("ntag215", 135, "82", "106", "full"),
    ("ntag216", 231, "178", "202", "full"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python(script: &str, arguments: &[&str]) -> Value {
    let python = root().join("target/venv/bin/python");
    assert!(python.exists(), "no {}: run `make setup-test`", python.display());
    let output = Command::new(python).arg(root().join(script)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn libnfc(program: &str, arguments: &[&str], port: &Path) -> Output {
    let device = format!("pn532_uart:{}", port.display());
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.env("LIBNFC_DEFAULT_DEVICE", &device).env("LIBNFC_DEVICE", &device);
    command.env("LIBNFC_AUTO_SCAN", "false").env("LIBNFC_INTRUSIVE_SCAN", "false");
    let mut output = command.output().expect("run `make test`, which installs libnfc-bin");
    // It gives up on a reader that does not acknowledge within some 50 ms, which a busy machine does not give to everybody.
    for _ in 0..10 {
        if !String::from_utf8_lossy(&output.stderr).contains("Timeout") {
            break;
        }
        output = command.output().unwrap();
    }
    output
}

async fn desk_with(card: &str) -> Desk {
    Desk::start(Setup { encoders: &[("Front Desk", Some(card))], ..Setup::default() }).await
}

/// What another program reads of the card, in a file.
fn read(desk: &Desk, kind: &str, pages: usize) -> PathBuf {
    let (port, file) = (&desk.encoders[0].link, desk.directory.path().join("read.mfd"));
    let bytes: Vec<u8> = if kind == "ultralight-c" {
        // libnfc 1.8.0 loses it.
        let seen = python("tests/emulator/type2.py", &[port.to_str().unwrap(), "dump", &pages.to_string()]);
        let hex: String = seen["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    } else {
        let output = libnfc("nfc-mfultralight", &["r", file.to_str().unwrap()], port);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        std::fs::read(&file).unwrap_or_else(|error| panic!("{kind}: {error}: {text}"))
    };
    assert_eq!(bytes.len(), pages * 4, "{kind}");
    std::fs::write(&file, bytes).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_encoded_is_read_by_others_and_means_what_was_asked_for() {
    for (kind, pages, slot_a, slot_b, form) in CARDS {
        let mut desk = desk_with(&format!("{kind}:04a1b2c3d4e5f6")).await;
        desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
        let credential = desk.credential(1).await;
        desk.encode_well(0, &credential).await;
        let state = desk.credential_state(&credential).await;
        desk.terminate();
        let memory = desk.encoders[0].dump();
        let file = read(&desk, kind, pages);
        // User memory is what the emulator says that it is, by way of another reader's driver.
        let user = 16..(pages - 5).min(16) * 4;
        assert_eq!(std::fs::read(&file).unwrap()[user.clone()], memory[user], "{kind}");
        let key_file = desk.state_dir().join("card-key.toml");
        let arguments = [key_file.to_str().unwrap(), file.to_str().unwrap(), slot_a, slot_b, form];
        let seen = python("tests/loopback/ocl1.py", &arguments);
        let records = seen["records"].as_array().unwrap();
        assert_eq!(records.len(), 1, "{kind}: {seen}");
        let id = credential.replace('-', "");
        assert!(id.ends_with(records[0]["credential"].as_str().unwrap()), "{kind}: {credential}: {seen}");
        assert_eq!((&records[0]["property"], &records[0]["doors"].as_array().unwrap().len()), (&json!(true), &1));
        let seconds = |name: &str| state[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
        let starts_at = records[0]["starts_at"].as_i64().unwrap();
        assert!((starts_at..starts_at + 60).contains(&seconds("starts_at")), "{kind}: {state}: {seen}");
        // What closes the card is what the property's key says.
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let end = memory.len();
        match kind {
            "ultralight" => {}
            "ultralight-c" => {
                let halves: Vec<u8> =
                    memory[end - 16..].chunks(8).flat_map(|half| half.iter().rev().copied()).collect();
                assert_eq!(seen["des"], hex(&halves));
            }
            _ => {
                let closed = (&seen["password"], &seen["pack"]);
                assert_eq!(closed, (&json!(hex(&memory[end - 8..end - 4])), &json!(hex(&memory[end - 4..end - 2]))));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_written_is_left_as_it_is_and_reported() {
    let mut desk = desk_with("ultralight:04a1b2c3d4e5f6").await;
    desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
    desk.terminate();
    let mut image = desk.encoders[0].dump();
    image[16..64].copy_from_slice(b"A ticket of somebody else's, of forty-eight byte");
    let file = desk.directory.path().join("ticket.mfd");
    std::fs::write(&file, &image).unwrap();
    let write = ["w", file.to_str().unwrap(), "--otp", "--lock"];
    let output = libnfc("nfc-mfultralight", &write, &desk.encoders[0].link);
    assert_eq!(desk.encoders[0].dump(), image, "{}", String::from_utf8_lossy(&output.stdout));
    let writes = desk.encoders[0].stats().writes;
    desk.start_daemon().await;
    desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
    let attempt = desk.encode(0, &desk.credential(1).await).await;
    assert_eq!(attempt["status"], "error", "{attempt}");
    assert_eq!(attempt["error"]["type"], "incompatible_card_format", "{attempt}");
    assert_eq!((desk.encoders[0].stats().writes, desk.encoders[0].dump()), (writes, image));
}
