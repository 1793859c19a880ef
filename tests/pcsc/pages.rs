//! pyscard, which nobody here wrote, at cards of pages and at cards that take APDUs themselves.

use crate::client::python;
use crate::desk::{Desk, Setup};
use crate::pcscd::Pcscd;
use crate::virtual_reader::VirtualReader;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What such a card has as its ATR on most readers (Gemalto Prox-DU manual, page 101; NTAG as well).
const ULTRALIGHT: &str = "3b8f8001804f0ca0000003060300030000000068";

const READERS: [(&str, &str); 3] = [
    ("acr122u", "ACS ACR122U PICC Interface 00 00"),
    ("acr1281u", "ACS ACR1281U 00 00"),
    ("identiv", "Identiv uTrust 3700 F CL Reader 00 00"),
];

fn transmit(pcscd: &Pcscd, reader: &str, apdus: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pcsc/transmit.py");
    let output = pcscd.client(python()).arg(script).arg(reader).args(apdus).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn pyscard_reads_and_writes_pages_on_readers_of_several_makes() {
    for (profile, name) in READERS {
        for kind in ["ultralight", "ultralight-ev1", "ultralight-c", "ntag213", "ntag216"] {
            let bus = tempfile::tempdir().unwrap();
            let pcscd = Pcscd::start(bus.path());
            let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--profile", profile]);
            reader.control(&format!("place {kind}:04a1b2c3d4e5f6"));
            let before = reader.dump();
            // ACR122U API 2.04, 4.1, 5.3 and 5.4: the UID, four pages, a page written, four pages again.
            let apdus = ["FFCA000000", "FFB0000010", "FFD600060401020304", "FFB0000410"];
            let seen = transmit(&pcscd, name, &apdus);
            let after = reader.dump();
            assert_eq!(seen["atr"], ULTRALIGHT, "{profile}: {kind}");
            assert_eq!(after[24..28], [1, 2, 3, 4], "{profile}: {kind}");
            let expected = [
                "04a1b2c3d4e5f69000".to_owned(),
                hex(&before[..16]) + "9000",
                "9000".to_owned(),
                hex(&after[16..32]) + "9000",
            ];
            assert_eq!(seen["answers"], json!(expected), "{profile}: {kind}");
        }
    }
}

#[test]
fn pyscard_opens_a_card_through_the_chip_of_an_acr122u() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--profile", "acr122u"]);
    reader.control("place ntag213:04a1b2c3d4e5f6");
    // PWD, PACK, AUTH0: the last acts when power comes next, and this connection ends without switching it off.
    transmit(&pcscd, READERS[0].1, &["FFD6002B046465736B", "FFD6002C04CAFE0000", "FFD600290404000004"]);
    reader.control("remove");
    reader.control("place ntag213:04a1b2c3d4e5f6");
    // nfc-pcsc issue 36 and its example: GET_VERSION and PWD_AUTH behind D4 42.
    let apdus =
        ["FF00000003D44260", "FFD600040401020304", "FFCA000000", "FF00000007D4421B6465736B", "FFD600040401020304"];
    let seen = transmit(&pcscd, READERS[0].1, &apdus);
    let expected = ["d5430000040402010 00f039000", "6300", "04a1b2c3d4e5f69000", "d54300cafe9000", "9000"];
    assert_eq!(seen["answers"], json!(expected.map(|answer| answer.replace(' ', ""))));
    assert_eq!(reader.dump()[16..20], [1, 2, 3, 4]);
}

#[test]
fn pyscard_tells_cards_that_take_apdus_apart() {
    // The ISO name of a DESFire (NXP AN12196), and the directory of a payment card (EMV Contactless Book B, 3.3).
    let desfire = "00A4040007D276000085010000";
    let payment = "00A404000E325041592E5359532E444446303100";
    for (profile, name) in READERS {
        for (kind, atr, found) in [
            // The ATR of a DESFire: pcsc-tools' list of cards.
            ("desfire:04a1b2c3d4e5f6", Some("3b8180018080"), [true, false]),
            ("emv:01020304", None, [false, true]),
            ("phone:08010203", None, [false, false]),
        ] {
            let bus = tempfile::tempdir().unwrap();
            let pcscd = Pcscd::start(bus.path());
            let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--profile", profile]);
            reader.control(&format!("place {kind}"));
            let seen = transmit(&pcscd, name, &[desfire, payment]);
            let ends = seen["answers"].as_array().unwrap().iter().map(|answer| answer.as_str().unwrap());
            let ok: Vec<_> = ends.map(|answer| answer.ends_with("9000")).collect();
            assert_eq!(ok, found, "{profile}: {kind}: {seen}");
            assert!(atr.is_none_or(|atr| seen["atr"] == atr), "{profile}: {kind}: {seen}");
        }
    }
}

/// Kind, user pages' end, first pages of the slots, form (docs/card-layout.md).
const ENCODED: [(&str, u8, &str, &str, &str); 4] = [
    ("ultralight", 16, "4", "10", "compact"),
    ("ultralight-ev1", 36, "4", "20", "full"),
    ("ultralight-c", 40, "4", "22", "full"),
    ("ntag213", 40, "4", "22", "full"),
];

#[tokio::test(flavor = "multi_thread")]
async fn pyscard_reads_what_was_encoded_and_it_means_what_was_asked_for() {
    for (kind, pages, slot_a, slot_b, form) in ENCODED {
        let card = format!("{kind}:04a1b2c3d4e5f6");
        let mut desk = Desk::start(Setup { encoders: &[("Front Desk", Some(&card))], ..Setup::default() }).await;
        desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
        let credential = desk.credential(1).await;
        desk.encode_well(0, &credential).await;
        desk.terminate();
        let apdus: Vec<String> = (0..pages).step_by(4).map(|page| format!("FFB000{page:02X}10")).collect();
        let apdus: Vec<&str> = apdus.iter().map(String::as_str).collect();
        // With its serial number, which the virtual encoder has from its name.
        let reader = "ACS ACR122U PICC Interface (front-desk) 00 00";
        let seen = transmit(desk.pcscd.as_ref().unwrap(), reader, &apdus);
        let read: String = seen["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer.as_str().unwrap().strip_suffix("9000").unwrap_or_else(|| panic!("{kind}: {seen}")))
            .collect();
        assert_eq!(read.len(), usize::from(pages) * 8, "{kind}: {seen}");
        let memory: Vec<u8> =
            (0..read.len()).step_by(2).map(|at| u8::from_str_radix(&read[at..at + 2], 16).unwrap()).collect();
        let (key, file) = (desk.state_dir().join("card-key.toml"), desk.directory.path().join("read.mfd"));
        std::fs::write(&file, memory).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loopback/ocl1.py");
        let output =
            Command::new(python()).arg(script).arg(key).arg(file).args([slot_a, slot_b, form]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        let records = seen["records"].as_array().unwrap();
        assert_eq!(records.len(), 1, "{kind}: {seen}");
        let id = credential.replace('-', "");
        assert!(id.ends_with(records[0]["credential"].as_str().unwrap()), "{kind}: {credential}: {seen}");
        assert_eq!((&records[0]["property"], records[0]["doors"].as_array().unwrap().len()), (&json!(true), 1));
    }
}
