//! pyscard, which nobody here wrote, at cards of pages and at cards that take APDUs themselves.

use crate::client::python;
use crate::pcscd::Pcscd;
use crate::virtual_reader::VirtualReader;
use serde_json::{Value, json};
use std::path::Path;

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
