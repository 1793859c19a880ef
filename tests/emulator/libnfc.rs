//! libnfc, which nobody here wrote, as the emulator's host.

use crate::rig::{Rig, run};
use std::path::Path;
use std::process::{Command, Output};

/// Kinds of Type 2 cards that libnfc 1.8.0 reads. An Ultralight C it does not: it takes the NAK to `GET_VERSION` for a version,
/// and does not select the card again.
const ULTRALIGHT: [&str; 6] = ["ultralight", "ultralight-ev1-48", "ultralight-ev1", "ntag213", "ntag215", "ntag216"];

/// Runs a program of libnfc on a port. It is not for the tests to skip it: `make test` installs it.
fn libnfc(program: &str, arguments: &[&str], port: &Path) -> Output {
    let is_there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(is_there, "{program} is not installed; run `make test`, which installs libnfc-bin");
    let device = format!("pn532_uart:{}", port.display());
    let mut command = Command::new(program);
    command.args(arguments).env("LIBNFC_DEFAULT_DEVICE", &device).env("LIBNFC_DEVICE", &device);
    // Looking at the machine's other ports is no part of the test.
    command.env("LIBNFC_AUTO_SCAN", "false").env("LIBNFC_INTRUSIVE_SCAN", "false");
    // libnfc gives up on a reader that does not acknowledge within some 50 ms, which a busy machine does not give to
    // every process.
    let mut output = run(&mut command);
    for _ in 0..10 {
        if !String::from_utf8_lossy(&output.stderr).contains("nfc_initiator_transceive_bytes: Timeout") {
            break;
        }
        output = run(&mut command);
    }
    output
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn nfc_list_finds_the_card() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let text = stdout(&libnfc("nfc-list", &[], &rig.link()));
    assert!(text.contains("UID (NFCID1): de  ad  be  ef"), "{text}");
    assert!(text.contains("SAK (SEL_RES): 08"), "{text}");
    rig.ok("remove");
    let text = stdout(&libnfc("nfc-list", &[], &rig.link()));
    assert!(text.contains("opened") && !text.contains("UID"), "{text}");
}

/// Lays a card on the encoder with its number in every data block, and these keys in every trailer.
fn numbered_card(rig: &Rig, kind: &str, key_a: [u8; 6], key_b: [u8; 6]) -> Vec<u8> {
    rig.ok(&format!("place {kind}:deadbeef"));
    let mut image = rig.memory();
    for (number, block) in image.chunks_exact_mut(16).enumerate().skip(1) {
        if number % 4 == 3 {
            block[..6].copy_from_slice(&key_a);
            block[10..].copy_from_slice(&key_b);
        } else {
            block.fill(u8::try_from(number).unwrap());
        }
    }
    let file = rig.dir.path().join("image.mfd");
    std::fs::write(&file, &image).unwrap();
    rig.ok(&format!("load {}", file.display()));
    image
}

/// Reads the card with key A of every sector. A 4K card is beyond libnfc 1.8.0: it writes to block 0 to see whether the
/// card lets it, and does not select the card again after the refusal.
fn read_card(rig: &Rig, keys: Option<&Path>) -> Vec<u8> {
    let file = rig.dir.path().join("read.mfd");
    let mut arguments = vec!["r", "a", "u", file.to_str().unwrap()];
    arguments.extend(keys.map(|keys| [keys.to_str().unwrap(), "f"]).into_iter().flatten());
    let text = stdout(&libnfc("nfc-mfclassic", &arguments, &rig.link()));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn nfc_mfclassic_reads_what_the_card_holds() {
    for kind in ["classic-mini", "classic-1k"] {
        let rig = Rig::start(&[]);
        let image = numbered_card(&rig, kind, [0xFF; 6], [0xFF; 6]);
        let read = read_card(&rig, None);
        let memory = rig.memory();
        assert!(memory == image, "{kind}: reading changes nothing");
        // libnfc puts the key that it used where the card shows none, and zeros for the one that it did not use.
        let mut expected = memory;
        for trailer in expected.chunks_exact_mut(16).skip(3).step_by(4) {
            trailer[10..].fill(0);
        }
        assert_eq!(read, expected, "{kind}");
    }
}

#[test]
fn nfc_mfclassic_with_the_keys_gives_the_same_dump_as_the_emulator() {
    let rig = Rig::start(&[]);
    let mut keys = numbered_card(&rig, "classic-1k", *b"front!", *b"desk..");
    for block in keys.chunks_exact_mut(16).enumerate().filter(|(number, _)| number % 4 != 3).map(|(_, block)| block) {
        block.fill(0);
    }
    // libnfc takes the keys for those of the card only when the UID fits.
    keys[..4].copy_from_slice(&[0xDE, 0xAD, 0xBE, 0xEF]);
    let file = rig.dir.path().join("keys.mfd");
    std::fs::write(&file, keys).unwrap();
    assert_eq!(read_card(&rig, Some(&file)), rig.memory());
}

/// Lays a card on the encoder whose pages 4 to 15 say which they are.
fn numbered_pages(rig: &Rig, kind: &str) -> Vec<u8> {
    rig.ok(&format!("place {kind}:04a1b2c3d4e5f6"));
    let mut image = rig.memory();
    for page in 4..16_u8 {
        image[usize::from(page) * 4..][..4].copy_from_slice(&[page, 0xA5, !page, 0x5A]);
    }
    load(rig, &image);
    image
}

fn load(rig: &Rig, image: &[u8]) {
    let file = rig.dir.path().join("image.mfd");
    std::fs::write(&file, image).unwrap();
    rig.ok(&format!("load {}", file.display()));
}

fn read_pages(rig: &Rig, options: &[&str]) -> (Vec<u8>, String) {
    let file = rig.dir.path().join("read.mfd");
    let arguments = [&["r", file.to_str().unwrap()], options].concat();
    let text = stdout(&libnfc("nfc-mfultralight", &arguments, &rig.link()));
    (std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {text}")), text)
}

#[test]
fn nfc_mfultralight_reads_what_the_card_holds() {
    for kind in ULTRALIGHT {
        let rig = Rig::start(&[]);
        let mut expected = numbered_pages(&rig, kind);
        let (read, text) = read_pages(&rig, &[]);
        assert!(text.contains("04a1b2c3d4e5f6"), "{kind}: {text}");
        if kind != "ultralight" {
            // Password and PACK read as zeros (NTAG213/215/216 data sheet, 8.5.7).
            let end = expected.len();
            expected[end - 8..].fill(0);
        }
        assert_eq!(read, expected, "{kind}: {text}");
    }
}

#[test]
fn nfc_mfultralight_needs_the_password_of_a_closed_card() {
    for (kind, config) in [("ultralight-ev1", 37), ("ntag213", 41), ("ntag216", 227)] {
        let rig = Rig::start(&[]);
        let mut image = numbered_pages(&rig, kind);
        // AUTH0 is page 4, PROT closes reading too, the password is \"desk\".
        image[config * 4 + 3] = 4;
        image[config * 4 + 4] = 0x80;
        image[config * 4 + 8..][..4].copy_from_slice(b"desk");
        load(&rig, &image);
        let (read, text) = read_pages(&rig, &["--pw", "6465736b"]);
        assert_eq!(read[16..64], image[16..64], "{kind}: {text}");
        let (read, text) = read_pages(&rig, &[]);
        assert!(read.get(16..64) != Some(&image[16..64]), "{kind}: {text}");
        assert_eq!(rig.memory(), image, "{kind}: reading changes nothing");
    }
}

#[test]
fn nfc_mfultralight_writes_the_pages_of_a_card() {
    let rig = Rig::start(&[]);
    let mut image = numbered_pages(&rig, "ultralight");
    image[16..64].iter_mut().for_each(|byte| *byte = !*byte);
    let file = rig.dir.path().join("write.mfd");
    std::fs::write(&file, &image).unwrap();
    let text = stdout(&libnfc("nfc-mfultralight", &["w", file.to_str().unwrap(), "--otp", "--lock"], &rig.link()));
    assert!(rig.memory() == image, "{text}");
    assert!(rig.stat("writes") >= 12, "{text}");
}

#[test]
fn nfc_mfclassic_opens_a_gen1a_clone_and_changes_its_uid_and_no_other_card() {
    let rig = Rig::start(&[]);
    let mut image = numbered_card(&rig, "classic-1k-gen1a", *b"front!", *b"desk..");
    image[..16].copy_from_slice(b"\x11\x22\x33\x44\x44\x08\x04\0bcdefghi");
    let file = rig.dir.path().join("clone.mfd");
    std::fs::write(&file, &image).unwrap();
    let write = ["W", "a", "u", file.to_str().unwrap()];
    let text = stdout(&libnfc("nfc-mfclassic", &write, &rig.link()));
    assert!(text.contains("Card unlocked"), "{text}");
    rig.ok("remove");
    assert_eq!(rig.memory()[..16], image[..16], "{text}");
    for kind in ["classic-1k", "classic-1k-gen2"] {
        let rig = Rig::start(&["--card", &format!("{kind}:deadbeef")]);
        let output = libnfc("nfc-mfclassic", &write, &rig.link());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("Card unlocked"), "{kind}: {text}");
        assert_eq!(rig.stat("writes"), 0, "{kind}");
    }
}
