//! Faults of line and port.

use crate::control::{authenticated, awake};
use crate::frames::{
    ACK, BAUD_SET, EXCHANGED, FIRMWARE_1_6, FOUND_DEADBEEF, GET_FIRMWARE_VERSION, LIST, NACK, READ, SET_921600, WRITE,
};
use crate::rig::{Client, Host, Rig, wait_until};
use encoderd::clock;
use std::fs;
use std::time::Duration;

#[test]
fn a_dropped_answer_is_lost_alone_and_comes_when_asked_for_again() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    assert_eq!(rig.control("drop-next"), "ok");
    host.send(&GET_FIRMWARE_VERSION);
    host.expect(&ACK);
    wait_until("the answer is lost", || rig.stat("round_trips") == 3);
    host.send(&NACK);
    host.expect(&FIRMWARE_1_6);
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn a_dropped_acknowledgement_is_lost_alone() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    assert_eq!(rig.control("drop-ack"), "ok");
    host.send(&GET_FIRMWARE_VERSION);
    host.expect(&FIRMWARE_1_6);
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn a_corrupted_answer_differs_in_one_bit() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    assert_eq!(rig.control("corrupt-next"), "ok");
    host.send(&GET_FIRMWARE_VERSION);
    host.expect(&ACK);
    let answer = host.read(FIRMWARE_1_6.len());
    let flipped: u32 = answer.iter().zip(FIRMWARE_1_6).map(|(byte, right)| (byte ^ right).count_ones()).sum();
    assert_eq!(flipped, 1, "{answer:02x?}");
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn what_is_delayed_arrives_in_order_whatever_the_host_does_meanwhile() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let host = authenticated(&rig);
    let before = rig.stats();
    assert_eq!(rig.control("delay 3600000"), "ok");
    host.send(&WRITE);
    wait_until("the card is written", || rig.stat("writes") == 1);
    // The host gives up, cancels and goes on.
    host.send(&ACK);
    host.send(&GET_FIRMWARE_VERSION);
    wait_until("both are carried out", || rig.stat("round_trips") == before["round_trips"].as_u64().unwrap() + 2);
    assert_eq!(rig.stats()["bytes_out"], before["bytes_out"], "nothing has arrived");
    assert_eq!(rig.control("delay 0"), "ok");
    for frame in [&ACK[..], &EXCHANGED, &ACK, &FIRMWARE_1_6] {
        host.expect(frame);
    }
}

#[test]
fn a_delay_lasts_as_long_as_it_says() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    rig.ok("delay 300");
    let start = clock::now();
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
    let elapsed = clock::now() - start;
    assert!(elapsed >= Duration::from_millis(299), "{elapsed:?}");
    rig.ok("delay 0");
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn an_unplugged_encoder_hangs_up_and_comes_back_asleep_with_its_card() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    let host = authenticated(&rig);
    // Keeps the old pty's number from being given to the new one, so that the two can be told apart.
    assert_eq!(rig.control("unplug 300"), "ok");
    let start = clock::now();
    wait_until("the port hangs up", || host.is_hung_up());
    assert!(fs::symlink_metadata(rig.link()).is_err(), "the link is gone");
    assert_eq!(rig.control("unplug 500"), "ok");
    let path = rig.next_path();
    let elapsed = clock::now() - start;
    assert!(elapsed >= Duration::from_millis(499), "the second one extends the first: {elapsed:?}");
    assert_eq!(fs::read_link(rig.link()).unwrap(), path);
    assert!(host.is_hung_up(), "what was open stays dead");
    // A sleeping chip is deaf until it is woken.
    let host = Host::open(&rig.link(), 115_200);
    let round_trips = rig.stat("round_trips");
    let bytes_in = rig.stat("bytes_in");
    host.send(&READ);
    wait_until("it has arrived", || rig.stat("bytes_in") == bytes_in + 12);
    assert_eq!(rig.stat("round_trips"), round_trips);
    awake(&rig).exchange(&LIST, &FOUND_DEADBEEF);
    assert!(!rig.has_next_path());
}

#[test]
fn an_unplugged_encoder_still_takes_orders() {
    let rig = Rig::start(&["--card", "classic-1k:deadbeef"]);
    rig.ok("unplug 3600000");
    assert_eq!(rig.control("remove"), "ok classic-1k:deadbeef");
    assert_eq!(rig.memory().len(), 1024);
    assert_eq!(rig.control("quit"), "ok");
    let (status, dir) = rig.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the dump alone");
}

#[test]
fn a_silent_chip_ignores_everything_until_it_no_longer_is() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    assert_eq!(rig.control("silent on"), "ok");
    let before = rig.stats();
    host.send(&GET_FIRMWARE_VERSION);
    wait_until("it has arrived", || rig.stats()["bytes_in"] != before["bytes_in"]);
    assert_eq!(rig.stats()["bytes_out"], before["bytes_out"]);
    assert_eq!(rig.control("silent off"), "ok");
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
    assert_eq!(rig.stat("round_trips"), before["round_trips"].as_u64().unwrap() + 1);
}

#[test]
fn a_wrong_line_speed_makes_noise_both_ways() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    // From the reader: it answers at 115200 what the host reads at 9600.
    rig.ok("delay 3600000");
    host.send(&GET_FIRMWARE_VERSION);
    wait_until("it is carried out", || rig.stat("round_trips") == 3);
    host.set_baud(9600);
    rig.ok("delay 0");
    let noise = host.read(ACK.len() + FIRMWARE_1_6.len());
    let right = ACK.iter().chain(&FIRMWARE_1_6);
    assert!(noise.iter().zip(right).all(|(garbled, byte)| garbled != byte), "{noise:02x?}");
    // To the reader: it hears nothing that is a command.
    let bytes_in = rig.stat("bytes_in");
    host.send(&GET_FIRMWARE_VERSION);
    wait_until("it has arrived", || rig.stat("bytes_in") == bytes_in + 9);
    assert_eq!(rig.stat("round_trips"), 3);
    host.set_baud(115_200);
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn the_line_speed_changes_when_the_host_asks_for_it() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    host.exchange(&SET_921600, &BAUD_SET);
    let bytes_in = rig.stat("bytes_in");
    host.send(&ACK);
    // The speed counts with which the reader takes the bytes in.
    wait_until("it has arrived", || rig.stat("bytes_in") == bytes_in + 6);
    host.set_baud(921_600);
    host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
}

#[test]
fn a_host_that_never_reads_holds_nothing_up() {
    let rig = Rig::start(&[]);
    let host = awake(&rig);
    // One after the other: a command that follows too closely cancels the one before it.
    let mut client = Client::connect(&rig.socket());
    for round_trips in 3..5000 {
        host.send(&GET_FIRMWARE_VERSION);
        let answered = format!(r#"{{"round_trips":{round_trips},"#);
        wait_until("it is carried out", || client.ask("stats").starts_with(&answered));
    }
    assert!(rig.stat("bytes_out") > 64 * 1024, "too few to fill a pty");
    assert_eq!(rig.ok("place classic-1k:deadbeef"), "classic-1k:deadbeef");
    drop(host);
    awake(&rig).exchange(&LIST, &FOUND_DEADBEEF);
}

#[test]
fn pace_takes_the_time_of_the_line() {
    let rig = Rig::start(&["--pace"]);
    let host = awake(&rig);
    let start = clock::now();
    for _ in 0..50 {
        host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
    }
    let elapsed = clock::now() - start;
    // 28 bytes of ten bits each way at 115200 baud are 2.4 ms.
    assert!(elapsed >= Duration::from_millis(50 * 24 / 10), "{elapsed:?}");
}
