//! Without a daemon: the command holds the encoder itself. What it reads and writes is compared with libnfc's tools, which
//! nobody here wrote, on the same pty.

use crate::desk::VirtualEncoder;
use crate::{card, ok, stderr};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A PC with one encoder and no daemon.
struct Pc {
    directory: TempDir,
    encoder: VirtualEncoder,
    config: PathBuf,
}

impl Pc {
    fn start(kind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let encoder = VirtualEncoder::start(directory.path(), "desk", Some(kind), &[]);
        let config = directory.path().join("encoderd.toml");
        let text = format!(
            "[daemon]\nstate_dir = \"{}\"\n[discovery]\nserial = \"configured\"\npcsc = false\n\
             [[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"Bench\"\n",
            directory.path().join("state").display(),
            encoder.link.display()
        );
        std::fs::write(&config, text).unwrap();
        Self { directory, encoder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts this memory on the card that lies there.
    fn load(&self, memory: &[u8]) {
        let file = self.path("load.mfd");
        std::fs::write(&file, memory).unwrap();
        self.encoder.control(&format!("load {}", file.display()));
    }

    /// A tool of libnfc on the encoder. It gives up on a reader that is late by some 50 ms, which a busy machine may be.
    fn libnfc(&self, program: &str, arguments: &[&str]) -> Output {
        let device = format!("pn532_uart:{}", self.encoder.link.display());
        let mut command = Command::new(program);
        command.args(arguments).env("LIBNFC_DEFAULT_DEVICE", &device).env("LIBNFC_DEVICE", &device);
        command.env("LIBNFC_AUTO_SCAN", "false").env("LIBNFC_INTRUSIVE_SCAN", "false");
        let mut output = command.output().expect("libnfc-bin is installed; `make test` installs it");
        for _ in 0..10 {
            if !stderr(&output).contains("Timeout") {
                break;
            }
            output = command.output().unwrap();
        }
        output
    }
}

/// Fills every data block with its number, and gives every trailer these keys, with the factory's access bits.
fn number(memory: &mut [u8], key_a: [u8; 6], key_b: [u8; 6]) {
    for (number, block) in memory.chunks_exact_mut(16).enumerate().skip(1) {
        if number % 4 == 3 {
            block[..6].copy_from_slice(&key_a);
            block[10..].copy_from_slice(&key_b);
        } else {
            block.fill(u8::try_from(number).unwrap());
        }
    }
}

fn key_file(pc: &Pc) -> PathBuf {
    let file = pc.path("keys");
    // "front!" and "desk.." in ASCII.
    std::fs::write(&file, "# of this test\n66726f6e7421\n6465736b2e2e # B\n").unwrap();
    file
}

#[test]
fn a_dump_with_keys_is_the_card_byte_by_byte_and_libnfcs_own() {
    let pc = Pc::start("classic-1k:deadbeef");
    let mut memory = pc.encoder.dump();
    number(&mut memory, *b"front!", *b"desk..");
    pc.load(&memory);
    let (file, keys) = (pc.path("ours.mfd"), key_file(&pc));
    let arguments = ["dump", file.to_str().unwrap(), "--with-keys", "--keys", keys.to_str().unwrap()];
    ok(&pc.config, &arguments);
    let dumped = std::fs::read(&file).unwrap();
    assert!(dumped == memory, "the dump is not the card");

    // libnfc reads with the keys of a dump, so ours serves as its key file as well.
    let theirs = pc.path("theirs.mfd");
    let (theirs_path, ours_path) = (theirs.to_str().unwrap(), file.to_str().unwrap());
    let output = pc.libnfc("nfc-mfclassic", &["r", "a", "u", theirs_path, ours_path, "f"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::fs::read(&theirs).unwrap() == dumped, "libnfc reads something else");
    assert!(pc.encoder.dump() == memory, "reading changes nothing");
}

#[test]
fn a_dump_without_keys_shows_none() {
    let pc = Pc::start("classic-1k:deadbeef");
    let mut memory = pc.encoder.dump();
    number(&mut memory, *b"front!", *b"desk..");
    pc.load(&memory);
    let keys = key_file(&pc);
    let of_keys = |bytes: &[u8]| bytes.windows(6).any(|six| six == b"front!" || six == b"desk..");
    assert!(of_keys(&memory), "there is something to find");
    for name in ["card.mfd", "card.nfc"] {
        let file = pc.path(name);
        ok(&pc.config, &["dump", file.to_str().unwrap(), "--keys", keys.to_str().unwrap()]);
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes).replace(' ', "").to_lowercase();
        assert!(!of_keys(&bytes) && !text.contains("66726f6e7421") && !text.contains("6465736b2e2e"), "{name}");
        assert!(bytes.windows(6).any(|six| six == [5; 6]) || text.contains("050505050505"), "{name} has the data");
    }
    let nfc = std::fs::read_to_string(pc.path("card.nfc")).unwrap();
    assert!(nfc.contains("Block 7: ?? ?? ?? ?? ?? ?? FF 07 80 69 ?? ?? ?? ?? ?? ??"), "{nfc}");
    let again = card(&pc.config, &["dump", pc.path("card.mfd").to_str().unwrap()]);
    assert!(stderr(&again).contains("there already"), "{}", stderr(&again));
}

#[test]
fn what_no_key_opens_is_named_and_shown_as_closed() {
    let pc = Pc::start("classic-1k:deadbeef");
    let mut memory = pc.encoder.dump();
    number(&mut memory[..], [0xFF; 6], [0xFF; 6]);
    memory[5 * 64 + 48..5 * 64 + 54].copy_from_slice(b"secret");
    memory[5 * 64 + 58..5 * 64 + 64].copy_from_slice(b"unseen");
    pc.load(&memory);
    let file = pc.path("card.nfc");
    let output = card(&pc.config, &["dump", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("20, 21, 22, 23"), "{}", stderr(&output));
    assert!(std::fs::read_to_string(&file).unwrap().contains("Block 21: ?? ??"));
    let info = ok(&pc.config, &["info"]);
    assert!(info.contains("[M##T] [###T] [###T] [###T] [###T] [????] [###T]"), "{info}");
    assert!(info.contains("? closed") && info.contains("# foreign data"), "{info}");
}

#[test]
fn a_dump_is_written_on_another_card_and_libnfc_reads_it_there() {
    for format in ["mfd", "nfc"] {
        let pc = Pc::start("classic-1k:deadbeef");
        let mut memory = pc.encoder.dump();
        number(&mut memory, [0xFF; 6], [0xFF; 6]);
        pc.load(&memory);
        let file = pc.path(&format!("card.{format}"));
        let path = file.to_str().unwrap();
        ok(&pc.config, &["dump", path, "--with-keys"]);

        pc.encoder.control("remove");
        pc.encoder.control("place classic-1k:0badcafe");
        let blank = pc.encoder.dump();
        let plan = ok(&pc.config, &["write", path, "--dry-run"]);
        assert!(plan.contains("write block 62") && plan.contains("read block 62 back"), "{plan}");
        assert!(pc.encoder.dump() == blank, "a dry run writes nothing");
        let told = ok(&pc.config, &["write", path]);
        assert!(told.contains("47 blocks written") && told.contains("47 verified"), "{told}");
        let read = pc.path("read.mfd");
        let output = pc.libnfc("nfc-mfclassic", &["r", "a", "u", read.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let (read, written) = (std::fs::read(&read).unwrap(), pc.encoder.dump());
        for block in (0..64).filter(|block| block % 4 != 3) {
            let bytes = block * 16..block * 16 + 16;
            let expected = if block == 0 { &blank } else { &memory };
            assert_eq!(read[bytes.clone()], expected[bytes.clone()], "{format}: block {block}, read by libnfc");
            assert_eq!(written[bytes.clone()], expected[bytes], "{format}: block {block}");
        }

        // The same again writes nothing, since nothing differs.
        let writes = pc.encoder.stats().writes;
        let told: Value = serde_json::from_str(&ok(&pc.config, &["write", path, "--json"])).unwrap();
        assert_eq!(told["report"]["unchanged"].as_array().unwrap().len(), 47, "{told}");
        assert_eq!(pc.encoder.stats().writes, writes);
    }
}

#[test]
fn trailers_are_written_only_when_asked_for_and_never_from_zeros() {
    let pc = Pc::start("classic-mini:deadbeef");
    let blank = pc.encoder.dump();
    let mut wanted = blank.clone();
    number(&mut wanted, *b"front!", *b"desk..");
    // Data 100, trailer 011: MF1S50yyX data sheet, the tables of access conditions.
    for trailer in wanted.chunks_exact_mut(16).skip(3).step_by(4) {
        trailer[6..9].copy_from_slice(&[0x78, 0x77, 0x88]);
    }
    let file = pc.path("wanted.mfd");
    let path = file.to_str().unwrap();
    std::fs::write(&file, &wanted).unwrap();
    let trailers = |memory: &[u8]| memory.chunks_exact(16).skip(3).step_by(4).map(<[u8]>::to_vec).collect::<Vec<_>>();
    ok(&pc.config, &["write", path]);
    assert_eq!(trailers(&pc.encoder.dump()), trailers(&blank), "trailers were not asked for");

    let told: Value = serde_json::from_str(&ok(&pc.config, &["write", path, "--trailers", "--json"])).unwrap();
    assert_eq!(told["report"]["written"], serde_json::json!([3, 7, 11, 15, 19]), "{told}");
    assert!(pc.encoder.dump() == wanted, "not the card that was wanted");

    // A dump without keys has zeros in their places: they never become keys.
    let mut keyless = wanted.clone();
    for trailer in keyless.chunks_exact_mut(16).skip(3).step_by(4) {
        trailer[..6].fill(0);
        trailer[10..].fill(0);
    }
    std::fs::write(&file, &keyless).unwrap();
    let keys = key_file(&pc);
    ok(&pc.config, &["write", path, "--trailers", "--keys", keys.to_str().unwrap()]);
    assert!(pc.encoder.dump() == wanted, "a trailer of zeros was written");

    // Access bits that lock for ever (trailer 111), and the factory's, which show key B.
    for (bits, problem) in [([0x70, 0xF7, 0x88], "never be changed again"), ([0xFF, 0x07, 0x80], "read key B")] {
        let mut locking = wanted.clone();
        locking[7 * 16 + 6..7 * 16 + 9].copy_from_slice(&bits);
        std::fs::write(&file, &locking).unwrap();
        let output = card(&pc.config, &["write", path, "--trailers"]);
        assert!(!output.status.success() && stderr(&output).contains(problem), "{}", stderr(&output));
        assert!(pc.encoder.dump() == wanted, "a refused image was written");
    }
}

#[test]
fn what_cannot_be_done_without_a_daemon_is_said() {
    let pc = Pc::start("classic-1k:deadbeef");
    let output = card(&pc.config, &["personalize"]);
    assert!(!output.status.success() && stderr(&output).contains("no card key"), "{}", stderr(&output));
    let output = card(&pc.config, &["info", "--device", "Nobody"]);
    assert!(!output.status.success() && stderr(&output).contains("no encoder \"Nobody\""), "{}", stderr(&output));
    pc.encoder.control("remove");
    let output = card(&pc.config, &["info"]);
    assert!(!output.status.success() && stderr(&output).contains("No card"), "{}", stderr(&output));
    assert!(!Path::new(&pc.path("state")).exists(), "looking makes no state directory");
}

#[test]
fn an_ultralight_is_dumped_as_libnfc_dumps_it_and_an_ntag_to_the_last_page() {
    let pc = Pc::start("ultralight:04a1b2c3d4e5f6");
    let mut memory = pc.encoder.dump();
    for (number, page) in memory.chunks_exact_mut(4).enumerate().skip(4) {
        page.fill(u8::try_from(number).unwrap());
    }
    pc.load(&memory);
    let (ours, theirs) = (pc.path("ours.mfd"), pc.path("theirs.mfd"));
    ok(&pc.config, &["dump", ours.to_str().unwrap()]);
    assert!(std::fs::read(&ours).unwrap() == memory, "the dump is not the card");
    let output = pc.libnfc("nfc-mfultralight", &["r", theirs.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read(&theirs).unwrap(), memory, "libnfc reads something else");
    let info = ok(&pc.config, &["info"]);
    assert!(info.contains("MIFARE Ultralight") && info.contains("made by NXP Semiconductors"), "{info}");
    assert!(info.contains("MMMC #### #### ####"), "{info}");

    pc.encoder.control("remove");
    pc.encoder.control("place ntag213:04a7b8c9dae1f2");
    let memory = pc.encoder.dump();
    let (mfd, nfc) = (pc.path("ntag.mfd"), pc.path("ntag.nfc"));
    ok(&pc.config, &["dump", mfd.to_str().unwrap()]);
    ok(&pc.config, &["dump", nfc.to_str().unwrap()]);
    let dumped = std::fs::read(&mfd).unwrap();
    assert_eq!(dumped.len(), 180);
    // Pages 43 and 44 hold password and PACK: a card gives zeros for them.
    assert_eq!(dumped[..43 * 4], memory[..43 * 4]);
    assert_eq!(dumped[43 * 4..], [0; 8]);
    let text = std::fs::read_to_string(&nfc).unwrap();
    let page = |number: usize| {
        let hex: Vec<String> = memory[number * 4..number * 4 + 4].iter().map(|byte| format!("{byte:02X}")).collect();
        format!("Page {number}: {}\n", hex.join(" "))
    };
    assert!(
        text.contains("NTAG/Ultralight type: NTAG213") && (0..43).all(|number| text.contains(&page(number))),
        "{text}"
    );
}

#[test]
fn a_dump_of_pages_is_written_on_another_card_and_libnfc_reads_it_there() {
    for (kind, user) in [("ultralight", 4..16_usize), ("ntag213", 4..40)] {
        for format in ["mfd", "nfc"] {
            let pc = Pc::start(&format!("{kind}:04a1b2c3d4e5f6"));
            let mut memory = pc.encoder.dump();
            for page in user.clone() {
                memory[page * 4..page * 4 + 4].fill(u8::try_from(page).unwrap());
            }
            pc.load(&memory);
            let file = pc.path(&format!("card.{format}"));
            let path = file.to_str().unwrap();
            ok(&pc.config, &["dump", path]);
            pc.encoder.control("remove");
            pc.encoder.control(&format!("place {kind}:04a7b8c9dae1f2"));
            let mut wanted = pc.encoder.dump();
            let blank = wanted.clone();
            let bytes = user.start * 4..user.end * 4;
            wanted[bytes.clone()].copy_from_slice(&memory[bytes]);
            let plan = ok(&pc.config, &["write", path, "--dry-run"]);
            assert!(plan.contains("write page 15\n") && !plan.contains("write page 3\n"), "{plan}");
            assert!(pc.encoder.dump() == blank, "a dry run writes nothing");
            let told = ok(&pc.config, &["write", path]);
            let count = user.len();
            assert!(
                told.contains(&format!("{count} pages written")) && told.contains(&format!("{count} verified")),
                "{told}"
            );
            assert!(pc.encoder.dump() == wanted, "{kind}, {format}: not what was wanted");
            if kind == "ultralight" {
                let read = pc.path("read.mfd");
                let output = pc.libnfc("nfc-mfultralight", &["r", read.to_str().unwrap()]);
                assert!(output.status.success(), "{}", stderr(&output));
                assert_eq!(std::fs::read(&read).unwrap(), wanted, "libnfc reads something else");
            }
            // The same again writes nothing.
            let told: Value = serde_json::from_str(&ok(&pc.config, &["write", path, "--json"])).unwrap();
            assert_eq!(told["report"]["unchanged"].as_array().unwrap().len(), count, "{told}");
            assert_eq!(told["report"]["written"], serde_json::json!([]), "{told}");
            let output = card(&pc.config, &["write", path, "--trailers"]);
            assert!(!output.status.success() && stderr(&output).contains("without sectors"), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_clone_with_a_back_door_is_named_and_stays_as_it_was_and_no_other_card_is() {
    for (kind, clone) in [("classic-1k-gen1a", "gen1a"), ("classic-1k-gen2", ""), ("classic-1k", ""), ("ntag213", "")] {
        let uid = if kind == "ntag213" { "04a7b8c9dae1f2" } else { "deadbeef" };
        let pc = Pc::start(&format!("{kind}:{uid}"));
        let memory = pc.encoder.dump();
        let json: Value = serde_json::from_str(&ok(&pc.config, &["info", "--json"])).unwrap();
        assert_eq!(json["clone"].as_str().unwrap_or_default(), clone, "{kind}: {json}");
        assert!(json.as_object().unwrap().contains_key("clone"), "{kind}: {json}");
        let info = ok(&pc.config, &["info"]);
        let named = info.contains("back door (gen1a): its UID and block 0 can be changed; it can be copied at will");
        assert_eq!(named, !clone.is_empty(), "{kind}: {info}");
        assert!(pc.encoder.dump() == memory && pc.encoder.stats().writes == 0, "{kind}: reading changes nothing");
        // The field is as the next program needs it.
        let file = pc.path("card.mfd");
        ok(&pc.config, &["dump", file.to_str().unwrap()]);
    }
}
