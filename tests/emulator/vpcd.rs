//! A card behind vsmartcard's vpcd in a real pcscd, and `scriptor` of Debian's pcsc-tools as a client that knows nothing
//! of us.

use crate::apdus::{AUTHENTICATE, GET_UID, LOAD_KEY, OK, READ, UID_DEADBEEF, WRITE, WRITTEN};
use crate::pcscd::{Meanwhile, Pcscd};
use crate::rig::{Rig, run, wait_until};
use encoderd::clock;
use rustix::process::Signal;
use std::time::Duration;

/// The first of vpcd's two slots.
const READER: &str = "Virtual PCD 00 00";

/// A pcscd with vpcd and a card in its first slot.
struct Setup {
    pcscd: Pcscd,
    rig: Rig,
    /// The pcscd's, which it shows the log from when a test has failed.
    _dir: tempfile::TempDir,
}

impl Setup {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pcscd = Pcscd::with_vpcd(dir.path());
        let rig = Rig::behind_vpcd(pcscd.vpcd_port(), &["--card", "classic-1k:deadbeef"]);
        let setup = Self { pcscd, rig, _dir: dir };
        setup.wait_for_card();
        setup
    }

    /// The responses to these APDUs over one connection to the card, as far as they came; none without a card.
    fn script(&self, apdus: &[&[u8]]) -> Vec<Vec<u8>> {
        let hex = |apdu: &&[u8]| apdu.iter().map(|byte| format!("{byte:02X} ")).collect::<String>();
        let file = self.rig.dir.path().join("script");
        std::fs::write(&file, apdus.iter().map(hex).collect::<Vec<_>>().join("\n") + "\n").unwrap();
        let mut scriptor = self.pcscd.client("scriptor");
        let output = run(scriptor.args(["-r", READER]).arg(&file));
        responses(&String::from_utf8(output.stdout).unwrap())
    }

    fn wait_for_card(&self) {
        wait_until("the card is there", || self.script(&[&GET_UID]) == [UID_DEADBEEF]);
    }

    fn wait_for_no_card(&self) {
        wait_until("no card is there", || self.script(&[&GET_UID]).is_empty());
    }
}

/// What scriptor prints: `> FF CA …` for a command, `< DE AD …` for a response, over several lines if it is long, then
/// ` : ` and what the status word means.
fn responses(text: &str) -> Vec<Vec<u8>> {
    let answers = text.split("\n< ").skip(1);
    answers
        .map(|answer| {
            let bytes = answer.split(" : ").next().unwrap().split_whitespace();
            bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        })
        .collect()
}

#[test]
fn a_script_reads_and_writes_our_card_like_any_other() {
    let setup = Setup::start();
    assert_eq!(setup.rig.path.to_str().unwrap(), format!("127.0.0.1:{}", setup.pcscd.vpcd_port()));
    let written = [&WRITTEN[..], &OK].concat();
    let answers = setup.script(&[&GET_UID, &LOAD_KEY, &AUTHENTICATE, &WRITE, &READ]);
    assert_eq!(answers, [&UID_DEADBEEF[..], &OK, &OK, &OK, &written]);
    assert_eq!(setup.rig.memory()[64..80], WRITTEN);
}

#[test]
fn a_card_is_removed_and_placed_again() {
    let setup = Setup::start();
    setup.rig.ok("remove");
    setup.wait_for_no_card();
    setup.rig.ok("place classic-1k:deadbeef");
    setup.wait_for_card();
    setup.rig.ok("unplug 1");
    setup.wait_for_card();
}

#[test]
fn an_exchange_does_not_wait_for_a_late_acknowledgement_of_tcp() {
    let setup = Setup::start();
    let start = clock::now();
    assert_eq!(setup.script(&[&GET_UID[..]; 100]), [UID_DEADBEEF; 100]);
    let elapsed = clock::now() - start;
    // 100 of 40 ms would be 4 s.
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[test]
fn a_status_word_and_an_answer_without_bytes_reach_the_client() {
    let setup = Setup::start();
    setup.rig.ok("sw 6982 2");
    assert_eq!(setup.script(&[&GET_UID[..]; 3]), [&UID_DEADBEEF[..], &[0x69, 0x82], &UID_DEADBEEF]);
    setup.rig.ok("empty-next");
    let answers = setup.script(&[&GET_UID]);
    assert_eq!(answers, [[0; 0]], "an answer, and nothing in it");
    setup.wait_for_card();
}

#[test]
fn a_lost_answer_is_an_error_after_the_time_of_a_driver_and_pcscd_lives_on() {
    let setup = Setup::start();
    setup.rig.ok("drop-next");
    let start = clock::now();
    let answers = setup.script(&[&GET_UID]);
    let elapsed = clock::now() - start;
    assert!(answers.concat().is_empty(), "{answers:02x?}");
    assert!(elapsed >= Duration::from_millis(2_900), "{elapsed:?}");
    setup.wait_for_card();
    setup.rig.ok("silent on");
    setup.wait_for_no_card();
    setup.rig.ok("silent off");
    setup.wait_for_card();
}

#[test]
fn a_mute_card_is_present_and_unpowered() {
    let setup = Setup::start();
    let scan = || {
        let output = run(setup.pcscd.client("pcsc_scan").args(["-n", "-c", "-t", "1"]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    setup.rig.ok("remove");
    setup.wait_for_no_card();
    setup.rig.ok("mute on");
    setup.rig.ok("place classic-1k:deadbeef");
    wait_until("the card is found mute", || scan().contains("Card inserted, Unresponsive card"));
    assert!(setup.script(&[&GET_UID]).is_empty());
}

#[test]
fn a_card_is_found_again_when_pcscd_was_not_there() {
    let mut setup = Setup::start();
    for end in [Signal::TERM, Signal::KILL] {
        match end {
            Signal::TERM => setup.pcscd.term(Meanwhile::Absent),
            _ => setup.pcscd.kill(Meanwhile::Refused),
        };
        setup.rig.ok("remove");
        setup.rig.ok("place classic-1k:deadbeef");
        setup.pcscd.start_again();
        setup.wait_for_card();
    }
}
