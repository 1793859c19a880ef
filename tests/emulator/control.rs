//! The control socket: what it answers, and what its commands do to cards and counts.

use crate::frames::{
    ACK, AUTHENTICATE, EXCHANGED, FOUND_D610B626, FOUND_DEADBEEF, FOUND_NOTHING, LIST, READ, READ_WRITTEN,
    RF_CONFIGURED, RF_MAX_RETRIES, SAM_CONFIGURED, TIMED_OUT, WAKE_AND_SAM_CONFIGURATION, WRITE, WRITTEN,
};
use crate::rig::{Client, Host, Rig};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A host whose reader is awake and looks for a card a bounded number of times.
pub fn awake(rig: &Rig) -> Host {
    let host = Host::open(&rig.link(), 115_200);
    host.exchange(&WAKE_AND_SAM_CONFIGURATION, &SAM_CONFIGURED);
    host.exchange(&RF_MAX_RETRIES, &RF_CONFIGURED);
    host
}

/// The same with block 4 of card deadbeef open.
pub fn authenticated(rig: &Rig) -> Host {
    let host = awake(rig);
    host.exchange(&LIST, &FOUND_DEADBEEF);
    host.exchange(&AUTHENTICATE, &EXCHANGED);
    host
}

#[test]
fn one_line_one_answer_for_several_clients() {
    let rig = Rig::start(&[]);
    let mut clients = [(); 4].map(|()| Client::connect(&rig.socket()));
    for client in &mut clients {
        client.send("remove\nshake \u{7}\r\n\nhelp\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer(), "ok");
        let unknown = client.answer();
        assert!(unknown.starts_with(r#"error unknown command "shake": place, remove, tear, drop-next"#), "{unknown}");
        assert!(client.answer().starts_with(r#"error unknown command "": place"#));
        assert!(client.answer().starts_with("ok place KIND[:UID], remove, tear N [partial]"));
    }
}

#[test]
fn a_line_without_an_end_is_refused() {
    let rig = Rig::start(&[]);
    let mut client = Client::connect(&rig.socket());
    client.send(&"x".repeat(5000));
    assert_eq!(client.answer(), "error a line has at most 4096 bytes");
    assert_eq!(rig.ok("remove"), "", "others are served");
}

#[test]
fn cards_are_placed_found_and_removed() {
    let rig = Rig::start(&["--card", "classic-1k:D610B626"]);
    let host = awake(&rig);
    host.exchange(&LIST, &FOUND_D610B626);
    assert_eq!(rig.control("remove"), "ok classic-1k:d610b626");
    assert_eq!(rig.control("remove"), "ok");
    host.exchange(&LIST, &FOUND_NOTHING);
    assert_eq!(rig.control("place classic-1k:d610b626"), "ok classic-1k:d610b626");
    assert_eq!(rig.control("place unknown:d610b626"), "error a card with UID d610b626 lies there already");
    host.exchange(&LIST, &FOUND_D610B626);
    let placed = rig.ok("place classic-4k");
    assert!(placed.starts_with("classic-4k:") && placed.len() == "classic-4k:01020304".len(), "{placed}");
    assert_eq!(rig.control("remove"), format!("ok classic-1k:d610b626 {placed}"));
    assert_eq!(
        rig.control("place icode"),
        "error unknown kind of card \"icode\"; there are classic-mini, classic-1k, classic-4k, classic-1k-gen1a, \
         classic-1k-gen2, ultralight, ultralight-ev1, ultralight-ev1-48, ultralight-c, ntag213, ntag215, ntag216, desfire, \
         emv, phone, unknown"
    );
}

#[test]
fn a_card_keeps_its_memory_while_it_is_away() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let host = authenticated(&rig);
    host.exchange(&WRITE, &EXCHANGED);
    rig.ok("remove");
    rig.ok("place classic-1k");
    rig.ok("remove");
    rig.ok("place classic-1k:deadbeef");
    host.exchange(&LIST, &FOUND_DEADBEEF);
    host.exchange(&AUTHENTICATE, &EXCHANGED);
    host.exchange(&READ, &READ_WRITTEN);
}

#[test]
fn a_card_is_torn_away_before_a_write_or_in_the_middle_of_it() {
    let mut half = WRITTEN;
    half[8..].fill(0);
    for (tear, block, writes) in [("tear 1", [0; 16], 0), ("tear 1 partial", half, 1)] {
        let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
        let host = authenticated(&rig);
        assert_eq!(rig.control(tear), "ok");
        host.exchange(&WRITE, &TIMED_OUT);
        host.exchange(&LIST, &FOUND_NOTHING);
        assert_eq!(rig.memory()[64..80], block, "{tear}: the card that lay there last");
        assert_eq!(rig.stat("writes"), writes, "{tear}");
        assert_eq!(rig.ok("remove"), "", "it is gone");
        rig.ok("place classic-1k:deadbeef");
        assert_eq!(rig.memory()[64..80], block, "{tear}: and when it is back");
    }
}

#[test]
fn the_nth_write_is_torn_and_those_before_it_are_not() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let host = authenticated(&rig);
    rig.ok("tear 3 partial");
    host.exchange(&WRITE, &EXCHANGED);
    host.exchange(&WRITE, &EXCHANGED);
    host.exchange(&WRITE, &TIMED_OUT);
    assert_eq!(rig.stat("writes"), 3);
}

#[test]
fn dump_and_load_carry_a_whole_card() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let file = rig.dir.path().join("a card.mfd");
    // A file that was there before is not left readable to others.
    fs::write(&file, "old").unwrap();
    assert_eq!(rig.control(&format!("dump {}", file.display())), format!("ok 1024 bytes {}", file.display()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut image = fs::read(&file).unwrap();
    assert_eq!(image[..5], [0xDE, 0xAD, 0xBE, 0xEF, 0xDE ^ 0xAD ^ 0xBE ^ 0xEF]);
    image[64..80].copy_from_slice(&WRITTEN);
    fs::write(&file, &image).unwrap();
    assert_eq!(rig.control(&format!("load {}", file.display())), format!("ok 1024 bytes {}", file.display()));
    authenticated(&rig).exchange(&READ, &READ_WRITTEN);
    assert_eq!(rig.memory(), image);
}

#[test]
fn what_cannot_be_dumped_or_loaded_is_refused_with_the_reason() {
    let rig = Rig::start(&[]);
    let file = rig.dir.path().join("short.mfd");
    fs::write(&file, [0; 320]).unwrap();
    let (dump, load) = (format!("dump {}", file.display()), format!("load {}", file.display()));
    assert_eq!(rig.control(&dump), "error no card lies there; place one first");
    assert_eq!(rig.control(&load), "error no card lies there; place one first");
    rig.ok("place classic-1k:deadbeef");
    assert_eq!(
        rig.control(&load),
        "error this image does not fit classic-1k:deadbeef: the dump has 320 bytes, the card 1024"
    );
    assert_eq!(rig.memory()[..4], [0xDE, 0xAD, 0xBE, 0xEF], "the card is as it was");
    for path in ["/", "/dev/zero", "/nowhere/at/all"] {
        for command in ["dump", "load"] {
            if (command, path) != ("dump", "/dev/zero") {
                let answer = rig.control(&format!("{command} {path}"));
                assert!(answer.starts_with("error cannot ") && answer.contains(path), "{answer}");
            }
        }
    }
    rig.ok("remove");
    rig.ok("place unknown:01020304");
    assert_eq!(rig.control(&dump), "error unknown:01020304 has no memory");
}

#[test]
fn stats_is_one_json_line_and_counts_what_was_on_the_wire() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let none = r#"{"round_trips":0,"bytes_in":0,"bytes_out":0,"writes":0,"auths":0,"detects":0}"#;
    assert_eq!(rig.control("stats"), none);
    let host = authenticated(&rig);
    host.exchange(&WRITE, &EXCHANGED);
    let sent = [&WAKE_AND_SAM_CONFIGURATION[..], &RF_MAX_RETRIES, &LIST, &AUTHENTICATE, &WRITE].map(<[u8]>::len);
    let read = [&SAM_CONFIGURED[..], &RF_CONFIGURED, &FOUND_DEADBEEF, &EXCHANGED, &EXCHANGED].map(<[u8]>::len);
    let expected = serde_json::json!({
        "round_trips": 5, "bytes_in": sent.iter().sum::<usize>(), "bytes_out": read.iter().sum::<usize>() + 5 * ACK.len(),
        "writes": 1, "auths": 1, "detects": 1
    });
    assert_eq!(rig.stats(), expected);
}
