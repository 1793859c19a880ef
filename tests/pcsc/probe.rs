//! What `encoderd probe` says of a real pcscd in each state that a desk may find it in.

use crate::client::Client;
use crate::desk::{Desk, PROGRAM, ReaderSetup, VirtualEncoder, pcsc_environment};
use crate::fake::{Device, Fake};
use crate::pcscd::{Meanwhile, Pcscd};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where the reader is plugged in, and what it is then known by.
const PORT: &str = "1-1.2";
const IDENTITY: &str = "pcsc-072f:2200-1-1.2";
const NAME: &str = "\"ACS ACR122U PICC Interface 00 00\"";

/// A PC with one ACR122U behind a pcscd of its own, and no daemon.
struct Bench {
    // Fields are dropped in this order.
    encoder: VirtualEncoder,
    pcscd: Pcscd,
    directory: TempDir,
}

impl Bench {
    fn new(card: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bus = directory.path().join("bus");
        let pcscd = Pcscd::start(&bus);
        let reader = ReaderSetup { profile: "acr122u", usb_port: PORT.to_owned(), serial: None };
        let encoder = VirtualEncoder::start_reader(&bus, "reader", &reader, card, &[]);
        Client::start(&pcscd).wait_for_readers(1);
        write_config(directory.path());
        Self { encoder, pcscd, directory }
    }

    fn probe(&self) -> Report {
        probe(&mut Command::new(PROGRAM), self.directory.path(), Some(&self.pcscd))
    }
}

fn write_config(directory: &Path) {
    let state = directory.join("state");
    fs::write(directory.join("encoderd.toml"), format!("[daemon]\nstate_dir = \"{}\"\n", state.display())).unwrap();
}

fn probe(command: &mut Command, directory: &Path, pcscd: Option<&Pcscd>) -> Report {
    let output = command
        .args(["probe", "--json", "--config"])
        .arg(directory.join("encoderd.toml"))
        .envs(pcsc_environment(directory, pcscd))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    let ok = output.status.code() == Some(0);
    assert_eq!(report["ok"], ok, "{report}");
    Report { ok, findings: report["findings"].as_array().unwrap().clone() }
}

/// What a probe found.
struct Report {
    ok: bool,
    findings: Vec<Value>,
}

impl Report {
    fn of(&self, check: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["check"] == check).collect()
    }

    /// The one finding of this check is this verdict, with these words; its remedy.
    #[track_caller]
    fn expect(&self, check: &str, verdict: &str, words: &[&str]) -> String {
        let found = self.of(check);
        assert_eq!(found.len(), 1, "{check}: {:#?}", self.findings);
        assert_eq!(found[0]["verdict"], verdict, "{:#?}", self.findings);
        for word in words {
            assert!(found[0]["message"].as_str().unwrap().contains(word), "{word:?} in {:#}", found[0]);
        }
        found[0]["remedy"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_pc_that_is_in_order_passes() {
    let bench = Bench::new(Some("classic-1k:deadbeef"));
    let report = bench.probe();
    assert!(report.ok, "{:#?}", report.findings);
    report.expect("pcscd", "fine", &["one reader"]);
    report.expect("usb", "fine", &["readers on USB: 1, all of them in PC/SC"]);
    report.expect("readers", "fine", &[NAME, "profile acr122u", IDENTITY, "a card"]);
    report.expect("encoders", "fine", &[NAME, "speaks pcsc", "card deadbeef"]);
    assert_eq!((report.of("kernel").len(), report.of("cards").len()), (0, 0), "{:#?}", report.findings);
    assert_eq!(report.of("readers")[0]["simulated"], true);
    assert_eq!(bench.encoder.stats().writes, 0);

    bench.encoder.control("remove");
    let report = bench.probe();
    report.expect("readers", "fine", &["no card"]);
    report.expect("encoders", "fine", &["no card"]);
}

#[test]
fn a_pcscd_that_ended_is_named_before_its_readers() {
    let mut bench = Bench::new(None);
    for (kill, meanwhile) in [(false, Meanwhile::Absent), (true, Meanwhile::Refused)] {
        if kill {
            bench.pcscd.kill(meanwhile)
        } else {
            bench.pcscd.term(meanwhile)
        };
        let report = bench.probe();
        assert!(!report.ok);
        let socket = bench.pcscd.socket();
        let words = ["no pcscd answers at", socket.to_str().unwrap(), "ACS ACR122U (072f:2200) at USB port 1-1.2"];
        let remedy = report.expect("pcscd", "failed", &words);
        assert!(remedy.starts_with("unset PCSCLITE_CSOCK_NAME"), "{remedy}");
        assert!(report.of("usb").is_empty() && report.of("readers").is_empty(), "{:#?}", report.findings);
        bench.pcscd.start_again();
        Client::start(&bench.pcscd).wait_for_readers(1);
        bench.probe().expect("pcscd", "fine", &["one reader"]);
    }
}

#[test]
fn a_pcscd_that_hangs_is_named_in_seconds() {
    let bench = Bench::new(None);
    bench.pcscd.signal(Signal::STOP);
    let report = bench.probe();
    bench.pcscd.signal(Signal::CONT);
    let remedy = report.expect("pcscd", "failed", &["takes connections and does not answer"]);
    assert!(remedy.contains("pcscd"), "{remedy}");
}

#[test]
fn a_socket_that_this_user_may_not_use_is_opened_to_him() {
    let bench = Bench::new(None);
    let socket = bench.pcscd.socket();
    for path in [bench.directory.path(), &bench.directory.path().join("bus")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        as_nobody(bench.directory.path())
    } else {
        fs::set_permissions(&socket, Permissions::from_mode(0o000)).unwrap();
        Command::new(PROGRAM)
    };
    let report = probe(&mut command, bench.directory.path(), Some(&bench.pcscd));
    let remedy = report.expect("pcscd", "failed", &["may not connect to pcscd's socket", socket.to_str().unwrap()]);
    let (sudo, mend) = remedy.split_at("sudo ".len());
    assert_eq!((sudo, mend), ("sudo ", format!("chmod o+rw {}", socket.display()).as_str()));
    assert!(Command::new("sh").args(["-c", mend]).status().unwrap().success());
    if rustix::process::geteuid().is_root() {
        let report = probe(&mut as_nobody(bench.directory.path()), bench.directory.path(), Some(&bench.pcscd));
        report.expect("pcscd", "fine", &["one reader"]);
    }
}

/// The program as the user `nobody`, from a place where he may run it.
fn as_nobody(directory: &Path) -> Command {
    let program: PathBuf = directory.join("encoderd");
    fs::copy(PROGRAM, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

/// What libpcsclite meets where polkit refuses: pcscd closes the connection without reading (pcsc-lite 2.5.1,
/// `winscard_svc.c`, `ContextThread`), the kernel resets it, and the client says 0x8010006A (`winscard_msg.c`).
#[test]
fn a_refusal_by_polkit_is_told_from_a_pcscd_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path());
    let socket = directory.path().join("refusing.comm");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { break };
            // All of the first request has come, 8 bytes of header and 12 of versions; some of it is left unread.
            let _or_nothing = client.read_exact(&mut [0; 19]);
        }
    });
    let mut command = if rustix::process::geteuid().is_root() {
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        as_nobody(directory.path())
    } else {
        Command::new(PROGRAM)
    };
    let output = command
        .args(["probe", "--json", "--config"])
        .arg(directory.path().join("encoderd.toml"))
        .env("PCSCLITE_CSOCK_NAME", &socket)
        .env("SYSFS_PATH", directory.path().join("no-sysfs"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().clone();
    let remedy = Report { ok: false, findings }.expect("pcscd", "failed", &["polkit refuses"]);
    for words in ["org.debian.pcsc-lite.access_pcsc", "org.debian.pcsc-lite.access_card", "/etc/polkit-1/rules.d/"] {
        assert!(remedy.contains(words), "{remedy}");
    }
}

#[test]
fn a_reader_that_another_program_has_for_itself_is_named() {
    let bench = Bench::new(Some("classic-1k:deadbeef"));
    let mut other = Client::start(&bench.pcscd);
    let reader = other.readers().remove(0);
    other.ok(&json!(["connect", reader, "exclusive"]));
    let report = bench.probe();
    assert!(!report.ok);
    let remedy = report.expect("readers", "failed", &[NAME, "another program has it for itself", "python"]);
    assert!(remedy.contains("close python"), "{remedy}");
    other.ok(&json!(["disconnect"]));

    other.ok(&json!(["connect", reader]));
    let report = bench.probe();
    assert!(report.ok, "{:#?}", report.findings);
    report.expect("readers", "fine", &["in use by another program, which shares it"]);
    report.expect("encoders", "fine", &["card deadbeef"]);
}

#[test]
fn a_mute_card_is_a_note() {
    let bench = Bench::new(None);
    bench.encoder.control("mute on");
    bench.encoder.control("place classic-1k:deadbeef");
    let report = bench.probe();
    assert!(report.ok, "{:#?}", report.findings);
    let remedy = report.expect("cards", "note", &[NAME, "is mute"]);
    assert!(remedy.starts_with("lay the card flat"), "{remedy}");
}

#[test]
fn a_reader_on_usb_without_pcsc_is_named_and_a_security_key_is_no_encoder() {
    let bench = Bench::new(None);
    let bus = bench.directory.path().join("bus");
    let mut key = Device::acr122u("1-3", 7);
    (key.vendor_id, key.product_id) = ("1050", "0407");
    let _key = Fake::plug(&bus, &key);
    Client::start(&bench.pcscd).wait_for_readers(2);
    // What the kernel shows and pcscd never heard of: an ACR122U that is dead until it is plugged in again.
    let dead = bus.join("sys/bus/usb/devices/1-4");
    fs::create_dir(&dead).unwrap();
    for (file, text) in [("idVendor", "072f"), ("idProduct", "2200"), ("busnum", "1"), ("devnum", "99")] {
        fs::write(dead.join(file), text).unwrap();
    }
    let report = bench.probe();
    assert!(!report.ok);
    let remedy = report.expect("usb", "failed", &["ACS ACR122U (072f:2200) at USB port 1-4", "is not in PC/SC"]);
    assert!(remedy.starts_with("unplug the reader"), "{remedy}");
    let notes: Vec<&Value> = report.of("readers").into_iter().filter(|finding| finding["verdict"] == "note").collect();
    assert_eq!(notes.len(), 1, "{:#?}", report.findings);
    let message = notes[0]["message"].as_str().unwrap();
    assert!(message.contains("YubiKey") && message.contains("not an encoder, left alone"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_daemon_no_reader_is_connected_to() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let before = desk.encoders[0].stats().round_trips;
    let pcscd = desk.pcscd.as_ref().unwrap();
    let report = probe(&mut Command::new(PROGRAM), desk.directory.path(), Some(pcscd));
    assert!(report.ok, "{:#?}", report.findings);
    report.expect("readers", "fine", &["(front-desk)", "profile acr122u", "usb-072f:2200-front-desk", "a card"]);
    report.expect("encoders", "fine", &["\"Front Desk\"", "card"]);
    assert_eq!(desk.encoders[0].stats().round_trips, before);
}
