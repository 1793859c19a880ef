//! nfcpy, which nobody here wrote, as the emulator's host: passwords of NTAG and the 3DES key of an Ultralight C.

use crate::rig::{Rig, run};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What `type2.py` saw of the card on the encoder.
fn nfcpy(rig: &Rig, words: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/venv/bin/python");
    assert!(python.exists(), "no {}: run `make setup-test`", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/emulator/type2.py")).arg(rig.link()).args(words);
    let output = run(&mut command);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn page(rig: &Rig, number: usize) -> [u8; 4] {
    rig.memory()[number * 4..][..4].try_into().unwrap()
}

#[test]
fn every_card_has_the_name_and_the_pages_that_nfcpy_expects() {
    let cards = [
        ("ultralight", "Mifare Ultralight (MF01CU1)", 16),
        ("ultralight-c", "Mifare Ultralight C (MF01CU2)", 44),
        ("ultralight-ev1-48", "Mifare Ultralight EV1 (MF0UL11)", 20),
        ("ultralight-ev1", "Mifare Ultralight EV1 (MF0UL21)", 41),
        ("ntag213", "NXP NTAG213", 45),
        ("ntag215", "NXP NTAG215", 135),
        ("ntag216", "NXP NTAG216", 231),
    ];
    for (kind, product, pages) in cards {
        let rig = Rig::start(&["--card", &format!("{kind}:04a1b2c3d4e5f6")]);
        let seen = nfcpy(&rig, &["dump", &pages.to_string()]);
        assert_eq!((&seen["product"], &seen["uid"]), (&json!(product), &json!("04a1b2c3d4e5f6")));
        let mut expected = rig.memory();
        expected.truncate(pages * 4);
        if !matches!(kind, "ultralight" | "ultralight-c") {
            // Password and PACK read as zeros (NTAG213/215/216 data sheet, 8.5.7).
            expected[pages * 4 - 8..].fill(0);
        }
        let read: String = seen["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
        let expected = expected.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(read, expected, "{kind}");
    }
}

#[test]
fn nfcpy_closes_an_ultralight_c_with_a_key_and_opens_it_with_no_other() {
    let rig = Rig::start(&["--card", "ultralight-c:04a1b2c3d4e5f6"]);
    let key = "30313233343536373839616263646566";
    assert_eq!(nfcpy(&rig, &["protect", key])["protected"], true);
    // "01234567" and "89abcdef", each with its last byte first.
    assert_eq!([page(&rig, 44), page(&rig, 45), page(&rig, 46), page(&rig, 47)].concat(), *b"76543210fedcba98");
    assert_eq!([page(&rig, 42), page(&rig, 43)], [[4, 0, 0, 0], [1, 0, 0, 0]]);
    let refused = nfcpy(&rig, &["write", "49454d4b41455242214e4143554f5946", "5", "01020304"]);
    assert_eq!((&refused["authenticated"], &refused["written"]), (&json!(false), &json!(false)));
    assert_eq!(page(&rig, 5), [0; 4]);
    let opened = nfcpy(&rig, &["write", key, "5", "01020304"]);
    assert_eq!((&opened["authenticated"], &opened["written"]), (&json!(true), &json!(true)));
    assert_eq!(page(&rig, 5), [1, 2, 3, 4]);
}

#[test]
fn nfcpy_closes_an_ntag_with_a_password_and_opens_it_with_no_other() {
    for (kind, config) in [("ntag213", 41), ("ntag215", 131), ("ntag216", 227)] {
        let rig = Rig::start(&["--card", &format!("{kind}:04a1b2c3d4e5f6")]);
        // "desk" and CAFE.
        assert_eq!(nfcpy(&rig, &["protect", "6465736bcafe"])["protected"], true, "{kind}");
        assert_eq!((page(&rig, config)[3], page(&rig, config + 2)), (4, *b"desk"), "{kind}");
        assert_eq!(page(&rig, config + 3)[..2], [0xCA, 0xFE], "{kind}");
        let refused = nfcpy(&rig, &["write", "ffffffff0000", "5", "01020304"]);
        assert_eq!((&refused["authenticated"], &refused["written"]), (&json!(false), &json!(false)), "{kind}");
        let opened = nfcpy(&rig, &["write", "6465736bcafe", "5", "01020304"]);
        assert_eq!((&opened["authenticated"], &opened["written"]), (&json!(true), &json!(true)), "{kind}");
        assert_eq!(page(&rig, 5), [1, 2, 3, 4], "{kind}");
    }
}
