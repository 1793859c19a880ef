//! libnfc, which nobody here wrote, as the emulator's host.

use crate::rig::{Rig, run};
use std::path::Path;
use std::process::{Command, Output};

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
