//! The chip seen from its own end, frame by frame.

use super::*;
use crate::card_sim::{Card, ClassicCard};
use crate::family::classic::ClassicSize;
use crate::id::Uid;
use alloc::vec;
use core::time::Duration;
use hex_literal::hex;

fn exchange(device: &mut Pn532Device, bytes: &[u8]) -> Vec<u8> {
    device.receive(bytes, BAUD);
    core::iter::from_fn(|| device.poll()).flat_map(|sent| sent.bytes).collect()
}

/// Sends a command without its frame, and takes the answer without ACK and frame.
fn ask(device: &mut Pn532Device, command: &[u8]) -> Vec<u8> {
    let answer = exchange(device, &Frame::ToChip(Payload::new(command.to_vec()).unwrap()).encode());
    let mut decoder = Decoder::new();
    decoder.push(&answer);
    match (decoder.next_frame(), decoder.next_frame()) {
        (Some(Frame::Ack), Some(Frame::FromChip(payload))) => payload.as_bytes().to_vec(),
        (Some(Frame::Ack), None) => vec![],
        other => panic!("{other:?}"),
    }
}

fn awake() -> Pn532Device {
    let mut device = Pn532Device::new();
    device.receive(&hex!("5555000000"), BAUD);
    assert_eq!(exchange(&mut device, &hex!("0000FF03FDD414011700")), hex!("0000FF00FF00 0000FF02FED5151600"));
    assert_eq!(ask(&mut device, &hex!("3205000102")), hex!("33"));
    device
}

fn place(device: &mut Pn532Device, uid: &[u8]) {
    let card = ClassicCard::blank(ClassicSize::K1, Uid::new(uid).unwrap());
    device.field().place(Card::Classic(card)).unwrap();
}

#[test]
fn it_sleeps_until_woken_and_configured() {
    let mut device = Pn532Device::new();
    let diagnose = hex!("0000FF09F7D400006C69626E6663BE00");
    // The command itself has edges enough to wake it, and is lost.
    assert_eq!(exchange(&mut device, &diagnose), hex!(""));
    assert_eq!(exchange(&mut device, &diagnose), hex!(""), "LowVbat");
    // nfcpy asks for the version before it configures the SAM; frames of nfcpy issue 131.
    assert_eq!(exchange(&mut device, &hex!("0000FF02FED4022A00")), hex!("0000FF00FF00 0000FF06FAD50332010607E800"));
    assert_eq!(exchange(&mut device, &hex!("0000FF05FBD4140100001700")), hex!("0000FF00FF00 0000FF02FED5151600"));
    assert_eq!(exchange(&mut device, &diagnose), hex!("0000FF00FF00 0000FF09F7D501006C69626E6663BC00"));
    assert_eq!(ask(&mut device, &hex!("16F0")), hex!("1700"));
    assert_eq!(exchange(&mut device, &diagnose), hex!(""));
    assert_eq!(exchange(&mut device, &diagnose).len(), 6 + 16, "awake again without a SAM configuration");
}

#[test]
fn an_ack_that_is_read_after_the_host_has_switched_still_ends_the_change() {
    let mut device = awake();
    exchange(&mut device, &hex!("0000FF03FDD410071500"));
    device.receive(&hex!("0000FF00FF00 0000FF02FED4022A00"), 921_600);
    assert_eq!(device.poll().map(|ack| (ack.baud, ack.kind)), Some((921_600, TransmissionKind::Ack)));
}

#[test]
fn another_speed_is_noise() {
    let mut device = awake();
    device.receive(&hex!("0000FF02FED4022A00"), 921_600);
    assert_eq!(device.poll(), None);
}

#[test]
fn speed_changes_with_the_ack_that_follows_the_answer() {
    let mut device = awake();
    // Frames of nfcpy issue 131.
    assert_eq!(exchange(&mut device, &hex!("0000FF03FDD410071500")), hex!("0000FF00FF00 0000FF02FED5111A00"));
    assert_eq!(exchange(&mut device, &hex!("0000FF02FED4022A00")).len(), 6 + 13, "no ACK, no change");
    exchange(&mut device, &hex!("0000FF03FDD410071500"));
    device.receive(&hex!("0000FF00FF00"), BAUD);
    device.receive(&hex!("0000FF02FED4022A00"), BAUD);
    assert_eq!(device.poll(), None);
    device.receive(&hex!("0000FF02FED4022A00"), 921_600);
    assert_eq!(device.poll().map(|ack| (ack.baud, ack.kind)), Some((921_600, TransmissionKind::Ack)));
}

#[test]
fn the_list_answer_is_that_of_a_real_chip() {
    let mut device = awake();
    // Frames of libnfc issues 85 and 684.
    assert_eq!(exchange(&mut device, &hex!("0000FF04FCD44A0100E100")), hex!("0000FF00FF00 0000FF03FDD54B00E000"));
    place(&mut device, &hex!("D610B626"));
    assert_eq!(
        exchange(&mut device, &hex!("0000FF04FCD44A0100E100")),
        hex!("0000FF00FF00 0000FF0CF4D54B010100040804D610B6260C00")
    );
    assert_eq!(ask(&mut device, &hex!("4A0100 D610B626"))[..2], hex!("4B01"));
    assert_eq!(ask(&mut device, &hex!("4A0100 D610B627")), hex!("4B00"));
    assert_eq!(device.counters(), Counters { round_trips: 6, detects: 4 });
}

#[test]
fn seven_byte_uids_are_asked_for_with_their_cascade_tag() {
    let mut device = awake();
    place(&mut device, &hex!("04A1B2C3D4E5F6"));
    assert_eq!(ask(&mut device, &hex!("4A0100 8804A1B2C3D4E5F6")), hex!("4B01 01 0044 08 07 04A1B2C3D4E5F6"));
    assert_eq!(ask(&mut device, &hex!("4A0100 8804A1B2C3D4E5F7")), hex!("4B00"));
    assert_eq!(ask(&mut device, &hex!("4A0100 8804A1B2 88C3D4E5F6070809")), hex!("4B00"));
}

#[test]
fn without_retries_a_resting_card_is_seen_every_second_time() {
    let mut device = awake();
    place(&mut device, &hex!("D610B626"));
    ask(&mut device, &hex!("3205000100"));
    let found: Vec<u8> = (0..4).map(|_| ask(&mut device, &hex!("4A0100"))[1]).collect();
    assert_eq!(found, [1, 0, 1, 0]);
}

#[test]
fn without_an_end_to_its_retries_it_waits_for_a_card() {
    for command in [&hex!("4A0100")[..], &hex!("60FF0110")] {
        let mut device = awake();
        ask(&mut device, &hex!("3205FFFFFF"));
        assert_eq!(ask(&mut device, command), hex!(""));
        assert_eq!(device.poll(), None);
        place(&mut device, &hex!("D610B626"));
        let found = device.poll().expect("found");
        assert_eq!(found.bytes[6], command[0] + 1);
        device.field().remove_all();
        assert_eq!(ask(&mut device, command), hex!(""));
        device.receive(&hex!("0000FF00FF00"), BAUD);
        place(&mut device, &hex!("D610B626"));
        assert_eq!(device.poll(), None, "cancelled by the host's ACK");
    }
}

#[test]
fn nack_repeats_the_last_answer_and_a_damaged_command_gets_nothing() {
    let mut device = awake();
    let before = device.counters();
    assert_eq!(exchange(&mut device, &hex!("0000FFFF0000")), hex!("0000FF02FED533F800"));
    assert_eq!(device.counters(), before);
    assert_eq!(exchange(&mut device, &hex!("0000FF02FED4022B00")), hex!(""));
}

#[test]
fn what_it_cannot_understand_gets_an_error_frame() {
    let mut device = awake();
    for command in [&hex!("1A")[..], &hex!("4A0300"), &hex!("3205"), &hex!("06"), &hex!("1009"), &hex!("40")] {
        let frame = Frame::ToChip(Payload::new(command.to_vec()).unwrap()).encode();
        assert_eq!(exchange(&mut device, &frame), hex!("0000FF00FF00 0000FF01FF7F8100"), "{command:02x?}");
    }
}

#[test]
fn mifare_commands_report_what_the_card_says() {
    let mut device = awake();
    assert_eq!(ask(&mut device, &hex!("40013004")), hex!("4127"), "nothing listed");
    place(&mut device, &hex!("DEADBEEF"));
    ask(&mut device, &hex!("4A0100"));
    assert_eq!(ask(&mut device, &hex!("40013004")), hex!("4113"), "not authenticated");
    assert_eq!(ask(&mut device, &hex!("40013004")), hex!("4101"), "no longer selected");
    let auth = hex!("40016004FFFFFFFFFFFFDEADBEEF");
    ask(&mut device, &hex!("4A0100"));
    assert_eq!(ask(&mut device, &auth), hex!("4100"));
    assert_eq!(ask(&mut device, &hex!("4001A004000102030405060708090A0B0C0D0E0F")), hex!("4100"));
    assert_eq!(ask(&mut device, &hex!("40013004")), hex!("4100000102030405060708090A0B0C0D0E0F"));
    assert_eq!(ask(&mut device, &hex!("4001A005 0A000000F5FFFFFF0A00000005FA05FA")), hex!("4100"));
    assert_eq!(ask(&mut device, &hex!("4001C105 02000000")), hex!("4100"));
    assert_eq!(ask(&mut device, &hex!("4001B006")), hex!("4100"));
    assert_eq!(ask(&mut device, &hex!("40013006")), hex!("41000C000000F3FFFFFF0C00000005FA05FA"));
    assert_eq!(ask(&mut device, &hex!("40016004FFFFFFFFFFFEDEADBEEF")), hex!("4114"));
    assert_eq!(ask(&mut device, &auth), hex!("4101"), "a wrong key deselects the card");
    ask(&mut device, &hex!("320100"));
    assert_eq!(ask(&mut device, &auth), hex!("4101"), "the field is off");
}

#[test]
fn raw_frames_carry_their_crc_when_the_chip_does_not() {
    let mut device = awake();
    place(&mut device, &hex!("DEADBEEF"));
    ask(&mut device, &hex!("4A0100"));
    ask(&mut device, &hex!("40016000FFFFFFFFFFFFDEADBEEF"));
    assert_eq!(ask(&mut device, &hex!("423000"))[..6], hex!("4300DEADBEEF"));
    // CRC off for both directions; CRC_A of 30 00 from the vectors.
    ask(&mut device, &hex!("08 630200 630300"));
    assert_eq!(ask(&mut device, &hex!("06 6302 6303")), hex!("070000"));
    let with_crc = ask(&mut device, &hex!("42300002A8"));
    assert_eq!(strip(&with_crc[2..]), Some(16));
    assert_eq!(ask(&mut device, &hex!("42500057CD")), hex!("4301"), "HLTA has no answer");
    assert_eq!(ask(&mut device, &hex!("40013000")), hex!("4101"), "it is in HALT");
    ask(&mut device, &hex!("4A0100"));
    assert_eq!(ask(&mut device, &hex!("42E050BCA5")), hex!("4301"), "RATS has no answer");
}

fn strip(frame: &[u8]) -> Option<usize> {
    crate::dialect::crc_a::strip_crc_a(frame).map(<[u8]>::len)
}

#[test]
fn power_cycle_forgets_everything_but_the_cards_and_the_counts() {
    let mut device = awake();
    place(&mut device, &hex!("DEADBEEF"));
    exchange(&mut device, &hex!("0000FF03FDD410071500"));
    device.receive(&hex!("0000FF00FF00"), BAUD);
    let counters = device.counters();
    device.power_cycle();
    assert_eq!((device.counters(), device.field().cards().len()), (counters, 1));
    device.receive(&hex!("5555000000"), BAUD);
    assert_eq!(exchange(&mut device, &hex!("0000FF03FDD414011700")).len(), 6 + 9);
}

#[test]
fn reading_a_card_takes_the_time_that_the_model_was_made_for() {
    let mut device = awake();
    device.set_pace(true);
    place(&mut device, &hex!("DEADBEEF"));
    let mut takes = Duration::ZERO;
    let mut ask = |command: &[u8]| {
        let frame = Frame::ToChip(Payload::new(command.to_vec()).unwrap()).encode();
        device.receive(&frame, BAUD);
        while let Some(sent) = device.poll() {
            takes += sent.takes;
        }
    };
    ask(&hex!("4A0100"));
    for sector in 0..16 {
        ask(&[&[0x40, 0x01, 0x60, sector * 4][..], &hex!("FFFFFFFFFFFFDEADBEEF")].concat());
        for block in 0..4 {
            ask(&[0x40, 0x01, 0x30, sector * 4 + block]);
        }
    }
    // 81 round trips, 1131 bytes out, 2329 in: another implementation of the model took 800 ms of wall time on a pty,
    // its own overhead included.
    assert!((Duration::from_millis(680)..Duration::from_millis(800)).contains(&takes), "{takes:?}");
}

/// A chip that is told to search for 0.4 s, and its answer, which waits for its time.
fn searching() -> (Pn532Device, crate::dialect::Transmission) {
    let mut device = awake();
    device.set_pace(true);
    ask(&mut device, &hex!("320500014F"));
    device.receive(&Frame::ToChip(Payload::new(hex!("4A0200").to_vec()).unwrap()).encode(), BAUD);
    assert_eq!(device.poll().map(|ack| ack.kind), Some(TransmissionKind::Ack));
    assert!(!device.withdraws(false), "the ACK is on its way");
    let nothing = device.poll().unwrap();
    assert_eq!(nothing.bytes, hex!("0000FF03FDD54B00E000"));
    (device, nothing)
}

#[test]
fn a_bounded_search_takes_the_time_of_its_tries() {
    let (mut device, nothing) = searching();
    assert!((Duration::from_millis(400)..Duration::from_millis(410)).contains(&nothing.takes), "{:?}", nothing.takes);
    assert!(!device.withdraws(true), "nothing has come");
}

#[test]
fn a_card_ends_a_search_when_it_comes() {
    let (mut device, _) = searching();
    place(&mut device, &hex!("D610B626"));
    assert!(device.withdraws(true));
    let found = device.poll().unwrap();
    assert_eq!(found.bytes, hex!("0000FF0CF4D54B010100040804D610B6260C00"));
    assert!(found.takes < Duration::from_millis(10), "{:?}", found.takes);
    assert_eq!((device.poll(), device.counters().detects), (None, 1));
}

#[test]
fn a_search_that_is_over_or_cancelled_says_nothing_more() {
    let (mut device, _) = searching();
    assert!(!device.withdraws(false), "its answer has been sent");
    place(&mut device, &hex!("D610B626"));
    assert!(!device.withdraws(true) && device.poll().is_none());
    let (mut device, _) = searching();
    device.receive(&hex!("0000FF00FF00"), BAUD);
    place(&mut device, &hex!("D610B626"));
    assert!(device.withdraws(true), "cancelled by the host's ACK");
    assert_eq!(device.poll(), None);
    assert_eq!(ask(&mut device, &hex!("4A0200"))[..2], hex!("4B01"));
}
