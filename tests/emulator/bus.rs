//! A reader on a virtual USB bus, with a driver that speaks to it byte by byte.

use crate::apdus::{
    ATR_CLASSIC_1K, AUTHENTICATE, FAILED, FIRMWARE, GET_UID, LOAD_KEY, OK, READ, UID_DEADBEEF, WRITE, WRITTEN,
};
use crate::rig::{PATIENCE, Rig, encoderd, run, wait_until};
use encoderd::clock;
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const POWER_OFF: [u8; 1] = [0x00];
const POWER_ON: [u8; 1] = [0x01];
const RESET: [u8; 1] = [0x02];
const PRESENCE: [u8; 1] = [0x05];

const NOTHING: [u8; 0] = [];

/// One of a driver's connections.
struct Connection(UnixStream);

impl Connection {
    fn open(socket: &Path, hello: &[u8]) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self(stream);
        connection.send(hello);
        connection
    }

    fn send(&mut self, message: &[u8]) {
        let len = u16::try_from(message.len()).unwrap();
        self.0.write_all(&[&len.to_be_bytes(), message].concat()).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len).unwrap();
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut message).unwrap();
        message
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    fn transmit(&mut self, apdu: &[u8]) -> Vec<u8> {
        self.ask(&[&[0x03], apdu].concat())
    }

    #[track_caller]
    fn exchange(&mut self, apdu: &[u8], response: &[u8]) {
        assert_eq!(self.transmit(apdu), response, "{apdu:02x?}");
    }

    /// Nothing is there to be read now.
    fn is_silent(&mut self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[track_caller]
    fn expect_hang_up(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}

fn commands(rig: &Rig) -> Connection {
    Connection::open(&rig.path, b"C")
}

fn events(rig: &Rig) -> Connection {
    Connection::open(&rig.path, b"E")
}

/// A connection with the card's power on and block 4 open.
fn authenticated(rig: &Rig) -> Connection {
    let mut driver = commands(rig);
    assert_eq!(driver.ask(&POWER_ON), ATR_CLASSIC_1K);
    driver.exchange(&LOAD_KEY, &OK);
    driver.exchange(&AUTHENTICATE, &OK);
    driver
}

fn shown(rig: &Rig, port: &str) -> PathBuf {
    rig.dir.path().join("bus/sys/bus/usb/devices").join(port)
}

/// What the bus shows of the device in a port.
fn attributes(rig: &Rig, port: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(shown(rig, port))
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_reader_shows_on_the_bus_what_linux_shows_of_a_usb_device() {
    let rig = Rig::on_bus(&[]);
    assert_eq!(rig.path, rig.dir.path().join("bus/001-001.sock"));
    // Product and manufacturer as a real one has them: libnfc issue 295, MiczFlor/RPi-Jukebox-RFID issue 27.
    let expected = [
        ("busnum", "1\n"),
        ("devnum", "1\n"),
        ("idProduct", "2200\n"),
        ("idVendor", "072f\n"),
        ("manufacturer", "ACS\n"),
        ("product", "ACR122U PICC Interface\n"),
        ("vendor", "encoderd virtual reader\n"),
    ];
    assert_eq!(attributes(&rig, "1-1.2"), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let rig = Rig::on_bus(&["--usb-port", "3-4", "--serial", "A1B2", "--profile", "identiv"]);
    assert_eq!(rig.path, rig.dir.path().join("bus/003-001.sock"));
    let shown = attributes(&rig, "3-4");
    let value = |name: &str| shown.iter().find(|(found, _)| found == name).map(|(_, text)| text.trim_end());
    assert_eq!((value("serial"), value("busnum"), value("idVendor")), (Some("A1B2"), Some("3"), Some("04e6")));
}

#[test]
fn a_card_answers_to_power_and_to_apdus() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let mut driver = authenticated(&rig);
    driver.exchange(&GET_UID, &UID_DEADBEEF);
    driver.exchange(&AUTHENTICATE, &OK);
    driver.exchange(&WRITE, &OK);
    driver.exchange(&READ, &[&WRITTEN[..], &OK].concat());
    assert_eq!(rig.memory()[64..80], WRITTEN);
    assert_eq!(driver.ask(&RESET), ATR_CLASSIC_1K);
    driver.exchange(&READ, &FAILED);
    assert_eq!(driver.ask(&POWER_OFF), NOTHING);
    let apdus: [&[u8]; 7] = [&LOAD_KEY, &AUTHENTICATE, &GET_UID, &AUTHENTICATE, &WRITE, &READ, &READ];
    let expected = serde_json::json!({
        "round_trips": 7, "bytes_in": apdus.concat().len(), "bytes_out": 2 + 2 + 6 + 2 + 2 + 18 + 2,
        "writes": 1, "auths": 2, "detects": 1
    });
    assert_eq!(rig.stats(), expected, "APDUs and their answers are counted, nothing else");
}

#[test]
fn escapes_go_to_the_reader_with_a_card_or_without() {
    let rig = Rig::on_bus(&[]);
    let mut driver = commands(&rig);
    let answer = driver.ask(&[&[0x04], &FIRMWARE[..]].concat());
    assert!(answer.starts_with(b"\0ACR122U"), "{answer:02x?}");
    assert_eq!(rig.stat("bytes_out"), u64::try_from(answer.len() - 1).unwrap());
    assert_eq!(driver.ask(&[0x04, 0xDE, 0xAD]), [0x01], "refused");
}

#[test]
fn presence_is_told_at_once_and_at_each_change() {
    let rig = Rig::on_bus(&[]);
    let (mut driver, mut changes) = (commands(&rig), events(&rig));
    assert_eq!((changes.receive(), driver.ask(&PRESENCE)), (vec![0], vec![0]));
    assert_eq!(driver.ask(&POWER_ON), NOTHING, "no card");
    for _ in 0..3 {
        rig.ok("place classic-1k:deadbeef");
        assert_eq!((changes.receive(), driver.ask(&PRESENCE)), (vec![1], vec![1]));
        assert_eq!(events(&rig).receive(), [1], "whoever comes later is told how things stand");
        rig.ok("remove");
        assert_eq!((changes.receive(), driver.ask(&PRESENCE)), (vec![0], vec![0]));
    }
    rig.ok("place classic-1k:deadbeef");
    rig.ok("place classic-1k:0badcafe");
    rig.ok("remove");
    assert_eq!([changes.receive(), changes.receive()], [[1], [0]], "a second card is no change");
    assert!(changes.is_silent());
}

#[test]
fn a_mute_card_is_there_and_has_no_atr() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let mut driver = commands(&rig);
    rig.ok("mute on");
    assert_eq!((driver.ask(&PRESENCE), driver.ask(&POWER_ON), driver.ask(&RESET)), (vec![1], vec![], vec![]));
    driver.exchange(&GET_UID, &FAILED);
    rig.ok("mute off");
    assert_eq!(driver.ask(&POWER_ON), ATR_CLASSIC_1K);
}

#[test]
fn a_status_word_comes_in_place_of_the_nth_command() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let mut driver = authenticated(&rig);
    rig.ok("sw 6982");
    driver.exchange(&WRITE, &[0x69, 0x82]);
    rig.ok("sw 63c0 3");
    driver.exchange(&GET_UID, &UID_DEADBEEF);
    driver.exchange(&AUTHENTICATE, &OK);
    driver.exchange(&WRITE, &[0x63, 0xC0]);
    driver.exchange(&READ, &[&[0; 16][..], &OK].concat());
    assert_eq!((rig.stat("writes"), rig.stat("round_trips")), (0, 7));
}

#[test]
fn answers_come_empty_damaged_or_not_at_all_and_the_command_is_carried_out() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let mut driver = authenticated(&rig);
    rig.ok("empty-next");
    driver.exchange(&WRITE, &[]);
    assert_eq!(rig.stat("writes"), 1);
    rig.ok("corrupt-next");
    let read = [&WRITTEN[..], &OK].concat();
    let damaged = driver.transmit(&READ);
    let flipped: u32 = damaged.iter().zip(&read).map(|(byte, right)| (byte ^ right).count_ones()).sum();
    assert_eq!((flipped, damaged.len()), (1, read.len()), "{damaged:02x?}");
    rig.ok("drop-next");
    // Power and presence are the driver's own affair and use no fault up.
    assert_eq!(driver.ask(&PRESENCE), [1]);
    driver.send(&[&[0x03], &WRITE[..]].concat());
    wait_until("it is written", || rig.stat("writes") == 2);
    assert!(driver.is_silent(), "no answer");
    driver.exchange(&READ, &read);
}

#[test]
fn a_delayed_answer_waits_and_is_empty_when_the_card_leaves_meanwhile() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let (mut driver, mut changes) = (authenticated(&rig), events(&rig));
    assert_eq!(changes.receive(), [1]);
    rig.ok("delay 200");
    let start = clock::now();
    driver.exchange(&READ, &[&[0; 16][..], &OK].concat());
    let elapsed = clock::now() - start;
    assert!(elapsed >= Duration::from_millis(199), "{elapsed:?}");
    rig.ok("delay 3600000");
    for (end, detects) in [("delay 0", 1), ("remove", 2)] {
        driver.send(&[&[0x03], &GET_UID[..]].concat());
        wait_until("it is carried out", || rig.stat("detects") == detects);
        assert!(driver.is_silent());
        rig.ok(end);
        assert_eq!(driver.receive(), if end == "remove" { &[][..] } else { &UID_DEADBEEF }, "{end}");
        rig.ok("delay 3600000");
    }
    assert_eq!(changes.receive(), [0]);
}

#[test]
fn a_silent_reader_says_nothing_and_then_how_things_stand() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let (mut driver, mut changes) = (authenticated(&rig), events(&rig));
    assert_eq!(changes.receive(), [1]);
    rig.ok("silent on");
    let bytes_in = rig.stat("bytes_in");
    for request in [&POWER_ON[..], &PRESENCE, &[&[0x03], &GET_UID[..]].concat()] {
        driver.send(request);
    }
    wait_until("it has heard all of it", || rig.stat("bytes_in") == bytes_in + 5);
    rig.ok("remove");
    assert!(changes.is_silent());
    rig.ok("silent off");
    assert_eq!(changes.receive(), [0]);
    assert_eq!(driver.ask(&PRESENCE), [0], "what was asked meanwhile is forgotten");
    assert!(driver.is_silent() && changes.is_silent());
}

#[test]
fn a_torn_card_is_gone_for_the_driver_too() {
    let mut half = WRITTEN;
    half[8..].fill(0);
    for (tear, block) in [("tear 1", [0; 16]), ("tear 1 partial", half)] {
        let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
        let (mut driver, mut changes) = (authenticated(&rig), events(&rig));
        assert_eq!(changes.receive(), [1]);
        rig.ok(tear);
        driver.exchange(&WRITE, &FAILED);
        assert_eq!((changes.receive(), driver.ask(&PRESENCE)), (vec![0], vec![0]));
        assert_eq!(rig.memory()[64..80], block, "{tear}");
        assert_eq!(rig.ok("remove"), "");
        rig.ok("place classic-1k:deadbeef");
        assert_eq!(changes.receive(), [1]);
        assert_eq!(rig.memory()[64..80], block, "{tear}: and when it is back");
    }
}

#[test]
fn a_tear_that_is_planned_before_the_card_comes_happens() {
    let rig = Rig::on_bus(&[]);
    rig.ok("tear 1");
    rig.ok("place classic-1k:deadbeef");
    authenticated(&rig).exchange(&WRITE, &FAILED);
    assert_eq!(rig.stat("writes"), 0);
}

#[test]
fn an_unplugged_reader_is_gone_from_the_bus_and_comes_back_as_another_device() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    let (mut driver, mut changes) = (authenticated(&rig), events(&rig));
    assert_eq!(changes.receive(), [1]);
    driver.exchange(&WRITE, &OK);
    rig.ok("unplug 300");
    let start = clock::now();
    driver.expect_hang_up();
    changes.expect_hang_up();
    assert!(!rig.path.exists() && !shown(&rig, "1-1.2").exists());
    rig.ok("unplug 400");
    rig.ok("place unknown:01020304");
    rig.ok("remove");
    rig.ok("place classic-1k:deadbeef");
    let path = rig.next_path();
    let elapsed = clock::now() - start;
    assert!(elapsed >= Duration::from_millis(399), "the second one extends the first: {elapsed:?}");
    assert_eq!(path, rig.dir.path().join("bus/001-002.sock"));
    assert_eq!(fs::read_to_string(shown(&rig, "1-1.2").join("devnum")).unwrap(), "2\n");
    let mut driver = Connection::open(&path, b"C");
    assert_eq!(Connection::open(&path, b"E").receive(), [1]);
    assert_eq!(driver.ask(&POWER_ON), ATR_CLASSIC_1K);
    driver.exchange(&AUTHENTICATE, &FAILED);
    assert_eq!((rig.stat("writes"), rig.stat("round_trips")), (1, 4), "the slots are empty, the counts are not");
}

#[test]
fn readers_share_a_bus_and_a_port_takes_one() {
    let first = Rig::on_bus(&[]);
    let bus = first.dir.path().join("bus");
    let bus = bus.to_str().unwrap();
    let output = run(&mut encoderd(&["emulate", "pcsc", "--bus", bus]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.contains("USB port 1-1.2"), "{stderr}");
    let second = Rig::on_this_bus(tempfile::tempdir().unwrap(), Path::new(bus), &["--usb-port", "1-1.3"]);
    assert_eq!(second.path, first.dir.path().join("bus/001-002.sock"));
    assert_eq!(second.ok("quit"), "");
    let (status, _) = second.ended();
    assert_eq!(status.code(), Some(0));
    let third = Rig::on_this_bus(tempfile::tempdir().unwrap(), Path::new(bus), &["--usb-port", "1-1.3"]);
    assert_eq!(third.path, first.dir.path().join("bus/001-003.sock"), "a number is not given again soon");
}

#[test]
fn device_numbers_begin_again_behind_127_and_pass_over_those_in_use() {
    let first = Rig::on_bus(&[]);
    let bus = first.dir.path().join("bus");
    fs::write(bus.join("bus-001"), "126").unwrap();
    let plug_in = |port| Rig::on_this_bus(tempfile::tempdir().unwrap(), &bus, &["--usb-port", port]);
    let readers = ["1-1.3", "1-1.4"].map(plug_in);
    assert_eq!(readers.map(|rig| rig.path.clone()), ["001-127.sock", "001-002.sock"].map(|name| bus.join(name)));
}

#[test]
fn what_a_killed_reader_leaves_in_its_port_is_replaced() {
    let killed = Rig::on_bus(&[]);
    let bus = killed.dir.path().join("bus");
    killed.signal(Signal::KILL);
    let (_, _dir) = killed.ended();
    assert!(bus.join("sys/bus/usb/devices/1-1.2/devnum").exists(), "nothing to replace");
    let rig = Rig::on_this_bus(tempfile::tempdir().unwrap(), &bus, &[]);
    assert_eq!(rig.path, bus.join("001-002.sock"));
    assert_eq!(fs::read_to_string(bus.join("sys/bus/usb/devices/1-1.2/devnum")).unwrap(), "2\n");
}

#[test]
fn every_orderly_end_leaves_nothing_but_the_last_device_number() {
    let ends: [fn(&Rig); 2] = [|rig| rig.signal(Signal::TERM), |rig| assert_eq!(rig.control("quit"), "ok")];
    for end in ends {
        let rig = Rig::on_bus(&["--card", "classic-1k"]);
        let _driver = commands(&rig);
        end(&rig);
        let (status, dir) = rig.ended();
        assert_eq!(status.code(), Some(0));
        let left = |directory: &str| {
            let entries = fs::read_dir(dir.path().join(directory)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(left("bus/sys/bus/usb/devices"), Vec::<String>::new());
        let mut bus = left("bus");
        bus.sort();
        assert_eq!(bus, ["bus-001", "sys"]);
    }
}

#[test]
fn who_does_not_keep_to_the_protocol_is_left_and_others_are_served() {
    let rig = Rig::on_bus(&["--card", "classic-1k:deadbeef"]);
    for hello in [&b"X"[..], b"", b"CC"] {
        Connection::open(&rig.path, hello).expect_hang_up();
    }
    let mut driver = commands(&rig);
    driver.send(&[0x06]);
    driver.expect_hang_up();
    let mut changes = events(&rig);
    assert_eq!(changes.receive(), [1]);
    changes.send(&PRESENCE);
    changes.expect_hang_up();
    authenticated(&rig).exchange(&GET_UID, &UID_DEADBEEF);
}

#[test]
fn faults_of_a_line_are_for_lines_and_those_of_cards_for_pcsc() {
    let reader = Rig::on_bus(&[]);
    for command in ["drop-ack", "garbage 2", "trickle on"] {
        let answer = reader.control(command);
        assert!(answer.starts_with("error ") && answer.contains("emulate pn532"), "{command}: {answer}");
    }
    let line = Rig::start(&[]);
    for command in ["mute on", "empty-next", "sw 6300"] {
        let answer = line.control(command);
        assert!(answer.starts_with("error ") && answer.contains("emulate pcsc"), "{command}: {answer}");
    }
}

#[test]
fn usage_errors_say_what_there_is() {
    for (arguments, text) in [
        (&["emulate", "pcsc", "--vpcd", "localhost"][..], "127.0.0.1:35963"),
        (&["emulate", "pcsc", "--vpcd", "localhost:0"], "127.0.0.1:35963"),
        (&["emulate", "pcsc", "--vpcd", "::1:35963"], "127.0.0.1:35963"),
        (&["emulate", "pcsc"], "--vpcd HOST:PORT"),
        (&["emulate", "pcsc", "--vpcd", "localhost:1", "--bus", "/tmp"], "cannot be used with"),
        (&["emulate", "pcsc", "--vpcd", "localhost:1", "--usb-port", "1-1"], "--vpcd"),
        (&["emulate", "pcsc", "--bus", "/tmp", "--usb-port", "1-0"], "1-1.2"),
        (
            &["emulate", "pcsc", "--vpcd", "localhost:1", "--profile", "acr9"],
            "acr122u, acr1252u, acr1281u, omnikey, identiv, generic",
        ),
        (&["emulate", "pn532", "--profile", "acr122u"], "emulate pcsc"),
        (&["emulate", "pn532", "--vpcd", "localhost:1"], "emulate pcsc"),
        (&["emulate", "acr122s"], "pn532, pcsc"),
    ] {
        let output = run(&mut encoderd(arguments));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_bus_that_cannot_be_is_named() {
    let output = run(&mut encoderd(&["emulate", "pcsc", "--bus", "/dev/null/bus"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("/dev/null/bus"), "{stderr}");
}
