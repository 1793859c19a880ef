//! The rig: what pcscd and its clients see of a virtual USB bus is what they see of real readers.

use crate::client::{Client, PNP, code, state};
use crate::fake::{CLASSIC_1K, Device, Fake};
use crate::pcscd::{Meanwhile, Pcscd, Wishes, wait_until};
use encoderd::clock;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

/// libccid's control code for escape commands: `SCARD_CTL_CODE(1)` (libccid 1.5.2, `ccid_ifdhandler.h`).
const ESCAPE: u64 = 0x4200_0001;

/// `SCARD_ATTR_…` of pcsc-lite's `reader.h`.
const VENDOR_NAME: u64 = 0x0001_0100;
const SERIAL_NUMBER: u64 = 0x0001_0103;
const CHANNEL_ID: u64 = 0x0002_0110;

/// pcscd on a bus with one ACR122U, and a client.
struct Desk {
    // Fields are dropped in this order.
    client: Client,
    reader: String,
    fake: Fake,
    pcscd: Pcscd,
    bus: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::with(&Device::acr122u("1-1", 4))
    }

    fn with(device: &Device) -> Self {
        let bus = tempfile::tempdir().unwrap();
        let pcscd = Pcscd::start(bus.path());
        let fake = Fake::plug(bus.path(), device);
        let mut client = Client::start(&pcscd);
        let reader = client.wait_for_readers(1).remove(0);
        Self { client, reader, fake, pcscd, bus }
    }

    fn connected() -> Self {
        let mut desk = Self::new();
        desk.fake.place(&CLASSIC_1K);
        desk.client.wait_for_state(&desk.reader, state::PRESENT);
        let reader = desk.reader.clone();
        desk.client.ok(&json!(["connect", reader]));
        desk
    }
}

fn transmit(apdu: &str) -> Value {
    json!(["transmit", apdu])
}

#[test]
fn a_reader_is_named_as_on_a_real_bus() {
    let named = |change: fn(&mut Device)| {
        let mut device = Device::acr122u("1-1.2", 4);
        change(&mut device);
        Desk::with(&device).reader.clone()
    };
    assert_eq!(named(|_| {}), "ACS ACR122U PICC Interface 00 00");
    assert_eq!(
        named(|device| {
            device.interface = Some("CCID");
            device.serial = Some("A1B2C3".to_owned());
        }),
        "ACS ACR122U PICC Interface [CCID] (A1B2C3) 00 00"
    );
    assert_eq!(named(|device| device.product_id = "223b"), "ACS ACR1252 Dual Reader 00 00");
}

#[test]
fn readers_that_are_there_before_pcscd_are_found() {
    let bus = tempfile::tempdir().unwrap();
    let _first = Fake::plug(bus.path(), &Device::acr122u("1-1", 4));
    let _second = Fake::plug(bus.path(), &Device::acr122u("1-2", 5));
    let pcscd = Pcscd::start(bus.path());
    let mut readers = Client::start(&pcscd).readers();
    readers.sort();
    assert_eq!(readers, ["ACS ACR122U PICC Interface 00 00", "ACS ACR122U PICC Interface 01 00"]);
}

#[test]
fn a_device_that_is_no_reader_is_left_alone() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let mut keyboard = Device::acr122u("1-1", 4);
    (keyboard.vendor_id, keyboard.product_id) = ("046d", "c31c");
    let _keyboard = Fake::plug(bus.path(), &keyboard);
    let _reader = Fake::plug(bus.path(), &Device::acr122u("1-2", 5));
    assert_eq!(Client::start(&pcscd).wait_for_readers(1), ["ACS ACR122U PICC Interface 00 00"]);
}

#[test]
fn fifty_times_a_reader_is_plugged_in_and_unplugged() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let mut client = Client::start(&pcscd);
    let (mut plugs, mut unplugs) = (Vec::new(), Vec::new());
    let wait = |client: &mut Client, times: &mut Vec<Duration>, act: &mut dyn FnMut(), count: usize| {
        // Only readers that come or go while somebody waits are told of.
        client.begin(&json!(["wait", 20_000, [[PNP, 0]]]));
        assert!(client.hangs_for(Duration::from_millis(20)));
        let start = clock::now();
        act();
        let answer = client.answer();
        times.push(clock::now() - start);
        assert_eq!(answer[0], json!(code::SUCCESS), "{answer:?}");
        assert_eq!(client.readers().len(), count);
    };
    for round in 0..50 {
        let mut fake = None;
        let device = Device::acr122u("1-1", 4 + round);
        wait(&mut client, &mut plugs, &mut || fake = Some(Fake::plug(bus.path(), &device)), 1);
        wait(&mut client, &mut unplugs, &mut || fake = None, 0);
    }
    report("plug → client knows", plugs);
    report("unplug → client knows", unplugs);
}

#[test]
fn a_card_is_seen_as_soon_as_it_is_placed() {
    let mut desk = Desk::new();
    let mut seen = desk.client.wait_for_state(&desk.reader, state::EMPTY);
    let mut once = |desk: &mut Desk, present: bool| {
        let start = clock::now();
        let mut act = true;
        while act || (seen & state::PRESENT != 0) != present {
            // pcscd tells of a card and counts it a moment later: both are changes.
            desk.client.begin(&json!(["wait", 20_000, [[desk.reader, seen & !state::CHANGED]]]));
            match (std::mem::take(&mut act), present) {
                (true, true) => desk.fake.place(&CLASSIC_1K),
                (true, false) => desk.fake.remove(),
                (false, _) => {}
            }
            let answer = desk.client.answer();
            seen = answer[1][0][1].as_u64().unwrap();
            let atr = if seen & state::PRESENT == 0 { "" } else { "3b8f8001804f0ca000000306030001000000006a" };
            assert_eq!(answer[1][0][2], atr, "{answer:?}");
        }
        clock::now() - start
    };
    let (mut placed, mut removed) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        placed.push(once(&mut desk, true));
        removed.push(once(&mut desk, false));
    }
    wait_until("all events are counted", || desk.client.state(&desk.reader).0 >> 16 == 100);
    report("place → client knows", placed);
    report("remove → client knows", removed);
}

/// What a rig for measuring others is worth: half of the times within the 14 ms that were seen with a driver like this.
#[expect(clippy::print_stdout, reason = "figures to compare others with")]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let median = times[times.len() / 2];
    println!("{what}: median {median:?}, most {:?}, of {}", times.last().unwrap(), times.len());
    assert!(median < Duration::from_millis(14), "{what}: {times:?}");
}

#[test]
fn a_card_that_leaves_and_comes_again_is_two_events() {
    let mut desk = Desk::new();
    desk.client.wait_for_state(&desk.reader, state::EMPTY);
    desk.fake.place(&CLASSIC_1K);
    wait_until("the first event is counted", || desk.client.state(&desk.reader).0 >> 16 == 1);
    desk.fake.remove();
    desk.fake.place(&CLASSIC_1K);
    wait_until("two more are counted", || desk.client.state(&desk.reader).0 >> 16 == 3);
    desk.client.wait_for_state(&desk.reader, state::PRESENT);
}

#[test]
fn an_apdu_gets_the_cards_answer() {
    let mut desk = Desk::connected();
    desk.fake.requests();
    desk.fake.answer_next(&[0x04, 0xA1, 0xB2, 0xC3, 0x90, 0x00]);
    assert_eq!(desk.client.ok(&transmit("ffca000000")), "04a1b2c39000");
    assert_eq!(desk.fake.requests(), [[0x03, 0xFF, 0xCA, 0, 0, 0]]);
    let long = vec![0x5A; 258];
    desk.fake.answer_next(&long);
    assert_eq!(desk.client.ok(&transmit("ffb0000000")), "5a".repeat(258));
}

#[test]
fn an_answer_of_no_bytes_is_passed_on() {
    let mut desk = Desk::connected();
    desk.fake.answer_next(&[]);
    assert_eq!(desk.client.ok(&transmit("ffca000000")), "");
    assert_eq!(desk.client.ok(&transmit("ffca000000")), "9000");
}

#[test]
fn a_card_that_leaves_in_the_middle_is_said_to_be_gone() {
    let mut desk = Desk::connected();
    desk.fake.leave_at_next();
    assert_eq!(desk.client.code(&transmit("ffca000000")), code::NO_SMARTCARD);
    desk.client.wait_for_state(&desk.reader, state::EMPTY);
}

#[test]
fn a_mute_card_is_there_and_cannot_be_connected_to() {
    let mut desk = Desk::new();
    desk.fake.place(&[]);
    desk.client.wait_for_state(&desk.reader, state::PRESENT | state::MUTE);
    let reader = desk.reader.clone();
    assert_eq!(desk.client.code(&json!(["connect", reader])), code::UNPOWERED_CARD);
}

#[test]
fn escape_commands_reach_the_reader_without_a_card() {
    let mut desk = Desk::new();
    let reader = desk.reader.clone();
    desk.client.ok(&json!(["connect", reader, "direct"]));
    assert_eq!(desk.client.ok(&json!(["control", ESCAPE, "010203"])), "030201");
    assert_eq!(desk.client.code(&json!(["control", ESCAPE + 1, "010203"])), code::UNSUPPORTED_FEATURE);
    desk.fake.refuse_escapes();
    assert_eq!(desk.client.code(&json!(["control", ESCAPE, "010203"])), code::NOT_TRANSACTED);
}

#[test]
fn attributes_are_those_of_the_device() {
    // With a final 0.
    let text = |text: &str| json!(text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")) + "00");
    let mut device = Device::acr122u("1-1", 17);
    device.serial = Some("A1B2C3".to_owned());
    let mut desk = Desk::with(&device);
    let reader = desk.reader.clone();
    desk.client.ok(&json!(["connect", reader, "direct"]));
    // USB, bus 1, device 17, in the machine's own byte order.
    assert_eq!(desk.client.ok(&json!(["attribute", CHANNEL_ID])), "11012000");
    assert_eq!(desk.client.ok(&json!(["attribute", SERIAL_NUMBER])), text("A1B2C3"));
    assert_eq!(desk.client.ok(&json!(["attribute", VENDOR_NAME])), text("ACS"));
    device.serial = None;
    device.vendor = Some("somebody else");
    let mut desk = Desk::with(&device);
    desk.client.ok(&json!(["connect", desk.reader, "direct"]));
    assert_eq!(desk.client.ok(&json!(["attribute", SERIAL_NUMBER])), "");
    assert_eq!(desk.client.ok(&json!(["attribute", VENDOR_NAME])), text("somebody else"));
}

#[test]
fn a_reader_that_takes_too_long_is_given_up_for_that_time() {
    let mut desk = Desk::connected();
    desk.fake.hold(true);
    desk.fake.answer_next(&[0x11, 0x90, 0x00]);
    assert_eq!(desk.client.code(&transmit("ffca000000")), code::NOT_TRANSACTED);
    desk.fake.answer_next(&[0x22, 0x90, 0x00]);
    desk.fake.hold(false);
    // The first answer went to a connection that nobody reads.
    assert_eq!(desk.client.ok(&transmit("ffca000000")), "229000");
}

#[test]
fn a_reader_unplugged_under_an_open_connection() {
    let mut desk = Desk::connected();
    let gone = clock::now();
    drop(desk.fake);
    assert_eq!(desk.client.wait_for_readers(0), Vec::<String>::new());
    assert!(clock::now() - gone < Duration::from_secs(2));
    assert_eq!(desk.client.code(&transmit("ffca000000")), code::INVALID_VALUE);
    // The same place, and another device number.
    desk.fake = Fake::plug(desk.bus.path(), &Device::acr122u("1-1", 5));
    assert_eq!(desk.client.wait_for_readers(1), [desk.reader.clone()]);
    desk.fake.place(&CLASSIC_1K);
    desk.client.wait_for_state(&desk.reader, state::PRESENT);
}

#[test]
fn a_reader_that_hangs_up_has_no_card_until_the_kernel_says_that_it_is_gone() {
    let mut desk = Desk::connected();
    desk.fake.hang_up();
    desk.client.wait_for_state(&desk.reader, state::EMPTY);
    assert_eq!(desk.client.readers().len(), 1);
    drop(desk.fake);
    desk.client.wait_for_readers(0);
}

#[test]
fn sixteen_readers_are_as_many_as_pcscd_takes() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start(bus.path());
    let mut client = Client::start(&pcscd);
    let mut fakes = Vec::new();
    for number in 1..=16_u8 {
        fakes.push(Fake::plug(bus.path(), &Device::acr122u(&format!("1-{number}"), number)));
        client.wait_for_readers(number.into());
    }
    let readers = client.readers();
    for (number, fake) in fakes.iter().enumerate() {
        fake.place(&CLASSIC_1K);
        let reader = readers.iter().find(|reader| reader.ends_with(&format!("{number:02X} 00"))).unwrap();
        client.wait_for_state(reader, state::PRESENT);
    }
}

#[test]
fn two_pcscd_side_by_side_have_a_bus_each() {
    let (mut one, mut other) = (Desk::connected(), Desk::new());
    assert_eq!(one.reader, other.reader);
    assert_eq!(other.client.state(&other.reader).0 & state::PRESENT, 0);
    drop(one.fake);
    one.client.wait_for_readers(0);
    assert_eq!(other.client.readers().len(), 1);
}

#[test]
fn pcscd_runs_as_nobody() {
    let bus = tempfile::tempdir().unwrap();
    let pcscd = Pcscd::start_as(bus.path(), Wishes { nobody: true, ..Wishes::default() });
    let fake = Fake::plug(bus.path(), &Device::acr122u("1-1", 4));
    let status = std::fs::read_to_string(format!("/proc/{}/status", pcscd.pid().as_raw_nonzero())).unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
    assert!(!user.split('\t').any(|id| id == "0"), "{user}");
    let mut client = Client::start(&pcscd);
    let reader = client.wait_for_readers(1).remove(0);
    fake.place(&CLASSIC_1K);
    client.wait_for_state(&reader, state::PRESENT);
}

#[test]
fn the_systems_pid_file_is_left_alone() {
    let mut desk = Desk::new();
    let file = desk.bus.path().join("run/pcscd.pid");
    let pid = std::fs::read_to_string(&file).unwrap();
    assert_eq!(pid.trim_end_matches(['\n', '\0']), desk.pcscd.pid().as_raw_nonzero().to_string());
    desk.pcscd.term(Meanwhile::Absent);
    assert!(!file.exists());
}

#[test]
fn a_pcscd_that_ended_comes_back_at_the_same_path() {
    let mut desk = Desk::connected();
    for (round, meanwhile) in [Meanwhile::Refused, Meanwhile::Absent, Meanwhile::Queued].into_iter().enumerate() {
        let (reader, (before, _)) = (desk.reader.clone(), desk.client.state(&desk.reader));
        desk.client.begin(&json!(["wait", 20_000, [[reader, before & !state::CHANGED]]]));
        assert!(desk.client.hangs_for(Duration::from_millis(100)));
        if round % 2 == 0 {
            assert_eq!(desk.pcscd.term(meanwhile).code(), Some(0));
        } else {
            assert_eq!(desk.pcscd.kill(meanwhile).code(), None);
        }
        assert_eq!(desk.client.answer()[0], json!(code::COMM_ERROR), "{meanwhile:?}");
        assert_eq!(desk.pcscd.socket().exists(), meanwhile != Meanwhile::Absent);
        let mut other = Client::without_context(&desk.pcscd);
        other.begin(&json!(["establish"]));
        if meanwhile == Meanwhile::Queued {
            assert!(other.hangs_for(Duration::from_millis(300)));
        } else {
            assert_eq!(other.answer()[0], json!(code::NO_SERVICE), "{meanwhile:?}");
        }
        desk.pcscd.start_again();
        if meanwhile == Meanwhile::Queued {
            assert_eq!(other.answer()[0], json!(code::SUCCESS));
        }
        desk.client.ok(&json!(["establish"]));
        assert_eq!(desk.client.readers(), [reader.as_str()]);
        desk.client.wait_for_state(&reader, state::PRESENT);
    }
}

#[test]
fn vsmartcards_virtual_readers_stand_beside_ours() {
    let bus = tempfile::tempdir().unwrap();
    let fake = Fake::plug(bus.path(), &Device::acr122u("1-1", 4));
    let mut pcscd = Pcscd::with_vpcd(bus.path());
    let mut client = Client::start(&pcscd);
    let readers = ["ACS ACR122U PICC Interface 00 00", "Virtual PCD 00 00", "Virtual PCD 00 01"];
    let mut listed = client.wait_for_readers(3);
    listed.sort();
    assert_eq!(listed, readers);
    // A card behind vpcd is whoever connects to its port and answers power on (1) and ATR (4) messages.
    let card = std::net::TcpStream::connect(("127.0.0.1", pcscd.vpcd_port())).unwrap();
    let playing = std::thread::spawn(move || play_vpcd_card(card));
    client.wait_for_state(readers[1], state::PRESENT);
    assert_eq!(client.state(readers[1]).1, "3b8f8001804f0ca000000306030001000000006a");
    fake.place(&CLASSIC_1K);
    client.wait_for_state(readers[0], state::PRESENT);
    pcscd.term(Meanwhile::Absent);
    playing.join().unwrap();
}

/// vpicc's side of vpcd's protocol: messages with 16 bits of length; of one byte are 0 power off, 1 power on, 2 reset, which
/// get no answer, and 4, which gets the ATR; all else are APDUs (vsmartcard, virtualsmartcard/doc/api.rst).
fn play_vpcd_card(mut connection: std::net::TcpStream) {
    use std::io::{Read as _, Write as _};
    let mut length = [0; 2];
    while connection.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        connection.read_exact(&mut message).unwrap();
        let answer: &[u8] = match *message {
            [0..=2] => continue,
            [4] => &CLASSIC_1K,
            _ => &[0x90, 0x00],
        };
        connection.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        connection.write_all(answer).unwrap();
    }
}
