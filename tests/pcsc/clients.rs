//! Clients that nobody here wrote read our virtual cards as they read real ones: pyscard and `pcsc_scan`.

use crate::client::python;
use crate::pcscd::{Pcscd, Wishes, wait_until};
use crate::virtual_reader::VirtualReader;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a MIFARE Classic 1K has as its ATR (pcsc-tools' list of cards has it from readers of several makes).
const CLASSIC_1K: &str = "3b8f8001804f0ca000000306030001000000006a";

/// A new card's trailer as it is read: key A never shows, access bits as delivered, key B readable (NXP MF1S50YYX, 8.6.3, 8.7.1).
const TRAILER: &str = "000000000000ff078069ffffffffffff";

/// A program that runs on, and what it has printed.
struct Running {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let printed = Arc::new(Mutex::new(String::new()));
        let prints = Arc::clone(&printed);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                *prints.lock().unwrap() += &String::from_utf8_lossy(&bytes[..count]);
            }
        });
        Self { child, printed }
    }

    /// Waits until it has printed all of this, and forgets what it has printed.
    fn prints(&self, words: &[&str]) {
        let mut printed = String::new();
        wait_until(&format!("printed {words:?}"), || {
            printed.clone_from(&self.printed.lock().unwrap());
            words.iter().all(|words| printed.contains(words))
        });
        self.printed.lock().unwrap().clear();
    }

    #[expect(clippy::print_stdout, reason = "beside the words of the test that failed")]
    fn say_what_was_printed(&self) {
        println!("--- printed last:\n{}---", self.printed.lock().unwrap());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.say_what_was_printed();
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pcsc").join(name)
}

/// How a key is loaded and named on a reader, by its manual.
struct Slot {
    load_keys_p2: &'static str,
    key_number: &'static str,
}

/// ACR122U API 2.04, 5.1 and 5.2: P2 is the key's location, 00 or 01.
const ACR122U: Slot = Slot { load_keys_p2: "00", key_number: "00" };
/// ACR128 API 1.7, 7.1 and 7.2: 20 is the session key.
const ACR1281U: Slot = Slot { load_keys_p2: "20", key_number: "20" };
/// uTrust 3720F manual, 6.2.3 and 6.2.4: P2 is the kind of key, the number is 01.
const IDENTIV: Slot = Slot { load_keys_p2: "60", key_number: "01" };

/// What `read_card.py` saw of sector 1 with the transport key.
fn read_sector_1(pcscd: &Pcscd, reader: &str, slot: &Slot, key: &str, data: Option<&str>) -> Value {
    let mut command = pcscd.client(python());
    command.arg(script("read_card.py"));
    command.args([reader, "1", "A", key, slot.load_keys_p2, slot.key_number]).args(data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A card whose blocks 4 to 6 say which they are.
fn lay_a_marked_card(reader: &VirtualReader, directory: &Path) {
    reader.control("place classic-1k:04A1B2C3");
    let mut memory = reader.dump();
    for block in 4_u8..7 {
        memory[usize::from(block) * 16..][..16].fill(block);
    }
    let file = directory.join("marked.bin");
    std::fs::write(&file, memory).unwrap();
    reader.control(&format!("load {}", file.display()));
}

fn marked_sector_1() -> [String; 4] {
    ["04".repeat(16), "05".repeat(16), "06".repeat(16), TRAILER.to_owned()]
}

#[test]
fn pyscard_reads_and_writes_a_card_on_readers_of_several_makes() {
    let readers = [
        ("acr122u", "ACS ACR122U PICC Interface 00 00", ACR122U),
        ("acr1281u", "ACS ACR1281U 00 00", ACR1281U),
        ("identiv", "Identiv uTrust 3700 F CL Reader 00 00", IDENTIV),
    ];
    for (profile, name, slot) in readers {
        let bus = tempfile::tempdir().unwrap();
        let pcscd = Pcscd::start(bus.path());
        let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--profile", profile]);
        lay_a_marked_card(&reader, bus.path());
        let seen = read_sector_1(&pcscd, name, &slot, "FFFFFFFFFFFF", None);
        assert_eq!(seen["atr"], CLASSIC_1K, "{profile}");
        assert_eq!(seen["uid"], "04a1b2c3", "{profile}");
        assert_eq!(seen["blocks"], json!(marked_sector_1()), "{profile}");
        let data = "000102030405060708090A0B0C0D0E0F";
        let seen = read_sector_1(&pcscd, name, &slot, "FFFFFFFFFFFF", Some(data));
        assert_eq!(seen["status_words"], Value::from(vec!["9000"; 8]), "{profile}");
        assert_eq!(seen["blocks"][2], data.to_lowercase(), "{profile}");
        assert_eq!(reader.dump()[6 * 16..][..16], std::array::from_fn::<u8, 16, _>(|at| u8::try_from(at).unwrap()));
    }
}

#[test]
fn pyscard_is_refused_with_a_wrong_key() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--profile", "acr122u"]);
    reader.control("place classic-1k:04A1B2C3");
    let seen = read_sector_1(&pcscd, "ACS ACR122U PICC Interface 00 00", &ACR122U, "A0A1A2A3A4A5", None);
    assert_eq!(seen["uid"], "04a1b2c3");
    // "6300h: The operation is failed", whatever it was: ACR122U API 2.04, 5.2 and 5.3.
    assert_eq!(seen["status_words"], json!(["9000", "9000", "6300", "6300", "6300", "6300", "6300"]));
    assert_eq!(seen["blocks"], json!(["", "", "", ""]));
}

#[test]
fn pyscard_reads_a_card_behind_vpcd() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::with_vpcd(bus.path());
    let reader = VirtualReader::behind_vpcd(&pcscd, "card", &["--profile", "acr122u"]);
    lay_a_marked_card(&reader, bus.path());
    let seen = read_sector_1(&pcscd, "Virtual PCD 00 00", &ACR122U, "FFFFFFFFFFFF", None);
    assert_eq!((&seen["atr"], &seen["uid"]), (&json!(CLASSIC_1K), &json!("04a1b2c3")));
    assert_eq!(seen["blocks"], json!(marked_sector_1()));
}

#[test]
fn pyscard_reads_a_card_through_a_pcscd_without_privileges() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start_as(bus.path(), Wishes { nobody: true, ..Wishes::default() });
    let reader = VirtualReader::plug(bus.path(), "1-1.2", &[]);
    lay_a_marked_card(&reader, bus.path());
    let seen = read_sector_1(&pcscd, "ACS ACR122U PICC Interface 00 00", &ACR122U, "FFFFFFFFFFFF", None);
    assert_eq!(seen["blocks"], json!(marked_sector_1()));
}

#[test]
fn pyscards_monitor_is_told_of_each_card() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let reader = VirtualReader::plug(bus.path(), "1-1.2", &[]);
    let mut command = pcscd.client(python());
    command.arg(script("watch_cards.py"));
    let monitor = Running::start(command);
    monitor.prints(&["watching\n"]);
    for _ in 0..10 {
        reader.control("place classic-1k");
        monitor.prints(&[&format!("placed {CLASSIC_1K} on ACS ACR122U PICC Interface 00 00\n")]);
        reader.control("remove");
        monitor.prints(&[&format!("removed {CLASSIC_1K} on ACS ACR122U PICC Interface 00 00\n")]);
    }
}

#[test]
fn pcsc_scan_knows_our_cards_by_name_and_follows_them_and_the_reader() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let reader = VirtualReader::plug(bus.path(), "1-1.2", &["--serial", "A1B2C3"]);
    let scan = Running::start(pcscd.client("pcsc_scan"));
    scan.prints(&["ACS ACR122U PICC Interface (A1B2C3) 00 00", "Card removed"]);
    reader.control("unplug 300");
    scan.prints(&[
        "Waiting for the first reader",
        "found one",
        "ACS ACR122U PICC Interface (A1B2C3) 00 00",
        "Card removed",
    ]);
    reader.control("place classic-1k");
    // Its list of cards that people have read with their readers.
    scan.prints(&[
        "Card inserted",
        "+ TCK = 6A (correct checksum)",
        "NXP/Philips MIFARE Classic 1K (as per PCSC std part3)",
    ]);
    reader.control("remove");
    scan.prints(&["Card removed"]);
    reader.control("place classic-4k");
    scan.prints(&["Card inserted", "MIFARE Classic 4K (as per PCSC std part3)"]);
    reader.control("remove");
    scan.prints(&["Card removed"]);
    reader.control("mute on");
    reader.control("place classic-1k");
    scan.prints(&["Card inserted", "Unresponsive card"]);
}
