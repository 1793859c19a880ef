//! The PN532's own rules: golden vectors, line speeds, statuses, repeats and barriers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends there"
)]

mod support;

use crc::{CRC_8_MIFARE_MAD, Crc};
use encoder_protocols::card_sim::{Card, ClassicCard, CloneKind};
use encoder_protocols::command::{CardCommand, CardReply, DialectError, ReaderInfo};
use encoder_protocols::dialect::crc_a::{crc_a, strip_crc_a};
use encoder_protocols::dialect::pn532::frame::{Decoder, Frame};
use encoder_protocols::dialect::pn532::{BAUD, Command, READER, Status};
use encoder_protocols::dialect::{Transmission, TransmissionKind, reader};
use encoder_protocols::family::classic::{AccessBits, ClassicSize, Condition};
use encoder_protocols::id::Detection;
use hex_literal::hex;
use serde::Deserialize;
use std::time::Duration;
use support::{Pair, authenticate, authenticate_with, card, data_block, read, write};

#[derive(Deserialize)]
struct Vectors {
    pn532_frames: Vec<FrameVector>,
    crc_a: Vec<CrcVector>,
    mad_crc8: Vec<MadVector>,
    access_bits: Vec<AccessVector>,
}

#[derive(Deserialize)]
struct FrameVector {
    hex: String,
    meaning: String,
    source: String,
}

#[derive(Deserialize)]
struct CrcVector {
    data: String,
    crc_low_byte_first: String,
}

#[derive(Deserialize)]
struct MadVector {
    info_byte_then_aids: String,
    crc: String,
}

#[derive(Deserialize)]
struct AccessVector {
    bytes_6_7_8: String,
    c1c2c3_of_block_0_1_2_trailer: Option<[String; 4]>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/pn532.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The vector with this meaning.
fn frame(meaning: &str) -> Vec<u8> {
    let vectors = vectors();
    bytes(&vectors.pn532_frames.iter().find(|vector| vector.meaning == meaning).expect(meaning).hex)
}

/// A chip's answer, put together by hand.
fn answer(payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len() + 1).unwrap();
    let sum = payload.iter().fold(0xD5_u8, |sum, byte| sum.wrapping_add(*byte));
    [&[0x00, 0x00, 0xFF, len, len.wrapping_neg(), 0xD5], payload, &[sum.wrapping_neg(), 0x00]].concat()
}

#[test]
fn every_vector_is_one_frame_and_is_written_as_it_was_read() {
    let vectors = vectors().pn532_frames;
    assert!(vectors.len() >= 31);
    for FrameVector { hex, meaning, source } in vectors {
        let bytes = bytes(&hex);
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        let frame = decoder.next_frame();
        if hex.starts_with("5555") {
            assert_eq!((frame, decoder.skipped()), (None, 2), "{meaning}");
            continue;
        }
        let frame = frame.unwrap_or_else(|| panic!("{meaning} ({source})"));
        assert_eq!(frame.encode(), bytes, "{meaning} ({source})");
        assert_eq!((decoder.next_frame(), decoder.pending(), decoder.skipped()), (None, 0, 0), "{meaning}");
        match bytes[5..] {
            [0xD4, code, ..] => assert!(matches!(&frame, Frame::ToChip(p) if p.code() == code), "{meaning}"),
            [0xD5, code, ..] => assert!(matches!(&frame, Frame::FromChip(p) if p.code() == code), "{meaning}"),
            _ => assert!(matches!(frame, Frame::Ack | Frame::Nack | Frame::Error), "{meaning}"),
        }
    }
}

#[test]
fn crc_a_is_that_of_the_vectors() {
    for CrcVector { data, crc_low_byte_first } in vectors().crc_a {
        assert_eq!(crc_a(&bytes(&data)).to_vec(), bytes(&crc_low_byte_first), "{data}");
        let frame = [bytes(&data), bytes(&crc_low_byte_first)].concat();
        assert_eq!(strip_crc_a(&frame), Some(&bytes(&data)[..]));
    }
    // The page data of nfcpy issue 131 came with the card's own CRC.
    let page = frame("its answer: status 00, 16 data bytes, card CRC_A C3B7 (CRC check switched off)");
    assert_eq!(strip_crc_a(&page[8..26]).map(<[u8]>::len), Some(16));
}

#[test]
fn the_mad_crc_of_the_vectors_is_the_one_in_the_catalogue() {
    for MadVector { info_byte_then_aids, crc } in vectors().mad_crc8 {
        let computed = Crc::<u8>::new(&CRC_8_MIFARE_MAD).checksum(&bytes(&info_byte_then_aids));
        assert_eq!(computed, bytes(&crc)[0], "{info_byte_then_aids}");
    }
}

#[test]
fn access_bits_of_the_vectors_both_ways() {
    for AccessVector { bytes_6_7_8, c1c2c3_of_block_0_1_2_trailer } in vectors().access_bits {
        let stored: [u8; 3] = bytes(&bytes_6_7_8).try_into().unwrap();
        let expected = c1c2c3_of_block_0_1_2_trailer.map(|groups| {
            let [a, b, c, trailer] = groups.map(|text| {
                let bit = |at: usize| &text[at..=at] == "1";
                Condition::new(bit(0), bit(1), bit(2))
            });
            AccessBits { data: [a, b, c], trailer }
        });
        assert_eq!(AccessBits::from_bytes(stored), expected, "{bytes_6_7_8}");
        if let Some(bits) = expected {
            assert_eq!(bits.to_bytes(), stored, "{bytes_6_7_8}");
        }
    }
}

#[test]
fn codes_go_both_ways() {
    for code in 0..=255_u8 {
        assert_eq!(u8::from(Command::from(code)), code);
        assert_eq!(u8::from(Status::from(code)), code);
    }
    assert_eq!(Command::from(0x4A), Command::InListPassiveTarget);
    assert_eq!(Status::from(0x14), Status::MifareAuthentication);
    assert_eq!(reader("pn532").map(|reader| reader.baud), Some(115_200));
}

#[test]
fn the_host_sends_the_frames_of_the_vectors() {
    let mut pair = Pair::new(&READER);
    pair.device.field().place(Card::Classic(card())).unwrap();
    let opened = pair.run(&CardCommand::Open);
    let reader = ReaderInfo { model: "PN532".into(), firmware: "1.6".into() };
    assert_eq!(opened, Ok(CardReply::Reader(reader)));
    let expected = [
        frame("HSU wake-up preamble used by libnfc"),
        frame("SAMConfiguration normal without timeout byte"),
        // The barrier: a line test with the number 1.
        hex!("0000FF05FB D400000001 2B00").to_vec(),
        frame("GetFirmwareVersion"),
        frame("RFConfiguration MaxRetries 00 01 02"),
    ];
    assert_eq!(pair.sent, expected);
    assert_eq!(pair.device.counters().round_trips, 4);

    pair.sent.clear();
    let data: [u8; 16] = core::array::from_fn(|index| u8::try_from(index).unwrap());
    for command in [
        CardCommand::Detect,
        authenticate(1),
        CardCommand::Write(data_block(4), data),
        read(4),
        CardCommand::ResetField,
    ] {
        pair.run(&command).unwrap();
    }
    let expected = [
        hex!("0000FF04FC D44A0200 E000").to_vec(),
        frame("InDataExchange auth key A block 4, key FF.., UID deadbeef"),
        frame("InDataExchange WRITE block 4"),
        frame("InDataExchange READ block 4"),
        frame("RFConfiguration field off"),
        hex!("0000FF04FC D4320101 F800").to_vec(),
    ];
    assert_eq!(pair.sent, expected);
}

#[test]
fn the_device_answers_with_the_frames_of_the_vectors() {
    let answers = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = answers.clone();
    let uid = "d610b626".parse().unwrap();
    let mut pair = Pair::new(&READER);
    pair.to_host = Box::new(move |_, sent| {
        seen.borrow_mut().push(sent.bytes.clone());
        vec![(Duration::ZERO, sent.bytes.clone())]
    });
    pair.run(&CardCommand::Open).unwrap();
    pair.run(&CardCommand::Detect).unwrap();
    pair.device.field().place(Card::Classic(ClassicCard::blank(ClassicSize::K1, uid))).unwrap();
    pair.run(&CardCommand::Detect).unwrap();
    pair.run(&authenticate_with(1, [0; 6])).unwrap_err();
    pair.run(&authenticate(1)).unwrap();
    for meaning in [
        "ACK",
        "SAMConfiguration answer",
        "firmware answer: IC 32, version 1.6, support 07",
        "no target found",
        "one target: ATQA 0004, SAK 08, UID d610b626",
        "status 14: MIFARE authentication error",
        "InDataExchange ok",
    ] {
        assert!(answers.borrow().contains(&frame(meaning)), "{meaning}");
    }
}

#[test]
fn a_chip_left_at_another_speed_is_found_and_brought_back() {
    // SetSerialBaudRate with its checksum, and the speed.
    for (command, baud) in [
        (hex!("0000FF03FDD410071500"), 921_600),
        (hex!("0000FF03FDD410061600"), 460_800),
        (hex!("0000FF03FDD410051700"), 230_400),
        (hex!("0000FF03FDD410001C00"), 9_600),
    ] {
        let mut pair = Pair::with_card(&READER, card());
        pair.device.receive(&command, BAUD);
        pair.device.receive(&frame("ACK"), BAUD);
        while pair.device.poll().is_some() {}
        assert!(pair.run(&CardCommand::Detect).is_err(), "{baud}: deaf");
        let before = pair.now;
        assert!(pair.run(&CardCommand::Open).is_ok(), "{baud}");
        assert!(pair.since(before) < Duration::from_secs(2), "{baud}: {:?}", pair.since(before));
        pair.device.receive(&frame("GetFirmwareVersion"), BAUD);
        assert!(pair.device.poll().is_some(), "{baud}: back at the speed after power-up");
        while pair.device.poll().is_some() {}
        assert!(matches!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::One(_)))), "{baud}");
    }
}

#[test]
fn a_slow_host_gets_its_first_ack_late() {
    let mut pair = Pair::new(&READER);
    // The quick attempt and its repeat get nothing; of what the patient one gets, the first byte comes late.
    pair.to_host = Box::new(|index, sent| match index {
        0..4 => vec![],
        4 => vec![(Duration::from_millis(1_400), sent.bytes.clone())],
        _ => vec![(Duration::ZERO, sent.bytes.clone())],
    });
    assert!(pair.run(&CardCommand::Open).is_ok());
    assert!(matches!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None))));
}

#[test]
fn another_chip_speaks_another_dialect() {
    // PN533: IC 33. PN531: two bytes. An error frame for the SAM, which a PN533 does not know.
    let cases = [
        (0x03, answer(&hex!("0333010607"))),
        (0x03, answer(&hex!("030402"))),
        (0x15, frame("syntax error frame")),
        (0x03, frame("syntax error frame")),
    ];
    for (code, bytes) in cases {
        let mut pair = Pair::new(&READER);
        pair.to_host = Box::new(move |_, sent| {
            let bytes = if is_answer(sent, code) { bytes.clone() } else { sent.bytes.clone() };
            vec![(Duration::ZERO, bytes)]
        });
        assert_eq!(pair.run(&CardCommand::Open), Err(DialectError::WrongDialect), "{code:02x}");
    }
}

fn is_answer(sent: &Transmission, code: u8) -> bool {
    sent.kind == TransmissionKind::Answer && sent.bytes[6] == code
}

/// Opens a sector, then puts `bytes` in place of the chip's answers to card commands.
fn answering(bytes: &[u8]) -> Pair {
    let mut pair = Pair::with_card(&READER, card());
    pair.run(&CardCommand::Detect).unwrap();
    pair.run(&authenticate(1)).unwrap();
    pair.restart_counts();
    let bytes = bytes.to_vec();
    pair.to_host = Box::new(move |_, sent| {
        let bytes = if is_answer(sent, 0x41) { bytes.clone() } else { sent.bytes.clone() };
        vec![(Duration::ZERO, bytes)]
    });
    pair
}

#[test]
fn a_status_says_what_went_wrong_and_costs_the_card() {
    let cases = [
        (answer(&hex!("4101")), DialectError::CardGone),
        (frame("status 13: card answered NAK / wrong format"), DialectError::Refused),
        (frame("status 14: MIFARE authentication error"), DialectError::AuthenticationFailed),
        (answer(&hex!("4127")), DialectError::NotAuthenticated),
        (answer(&hex!("4102")), DialectError::Status { status: 0x02 }),
        (answer(&hex!("410D")), DialectError::Status { status: 0x0D }),
        (frame("syntax error frame"), DialectError::Status { status: 0x7F }),
        (answer(&hex!("41")), DialectError::UnexpectedAnswer { command: 0x40 }),
        (answer(&hex!("4140")), DialectError::UnexpectedAnswer { command: 0x40 }),
    ];
    for (bytes, error) in cases {
        for command in [read(4), write(4)] {
            let mut pair = answering(&bytes);
            assert_eq!(pair.run(&command), Err(error), "{command:?}");
            assert_eq!(pair.sent.len(), 1, "{error}: asked once");
            assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
            pair.mend();
            assert_eq!(pair.run(&authenticate(1)), Ok(CardReply::Done), "{error}: listed again");
            assert!(pair.sent.iter().any(|sent| sent.starts_with(&hex!("0000FF04FCD44A"))), "{error}");
        }
    }
}

#[test]
fn a_block_has_sixteen_bytes() {
    for data in [&[0x00; 15][..], &[0x00; 17], &[]] {
        let mut pair = answering(&answer(&[&[0x41, 0x00], data].concat()));
        assert_eq!(pair.run(&read(4)), Err(DialectError::UnexpectedAnswer { command: 0x40 }));
    }
}

#[test]
fn a_malformed_list_is_no_card() {
    for payload in
        [&hex!("4B")[..], &hex!("4B03"), &hex!("4B01"), &hex!("4B0101000408"), &hex!("4B010100040805DEADBEEF55")]
    {
        let mut pair = Pair::with_card(&READER, card());
        let bytes = answer(payload);
        pair.to_host = Box::new(move |_, sent| {
            let bytes = if is_answer(sent, 0x4B) { bytes.clone() } else { sent.bytes.clone() };
            vec![(Duration::ZERO, bytes)]
        });
        let detected = pair.run(&CardCommand::Detect);
        assert_eq!(detected, Err(DialectError::UnexpectedAnswer { command: 0x4A }), "{payload:02x?}");
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone));
    }
}

#[test]
fn a_damaged_answer_is_asked_for_again_and_then_cancelled() {
    let mut pair = answering(&hex!("0000FF03FDD54100EB00"));
    assert_eq!(pair.run(&read(4)), Err(DialectError::Garbled { skipped: 18 }), "six bytes but zeros, thrice");
    let [command, nack, again, ack] = &pair.sent[..] else { panic!("{:02x?}", pair.sent) };
    assert_eq!(*command, frame("InDataExchange READ block 4"));
    assert_eq!([nack, again], [&frame("NACK (host asks for retransmission)"); 2]);
    assert_eq!(*ack, frame("ACK"));
}

#[test]
fn without_an_ack_the_command_is_sent_twice_and_then_cancelled() {
    let mut pair = Pair::with_card(&READER, card());
    pair.restart_counts();
    pair.to_host = Box::new(|_, _| vec![]);
    let before = pair.now;
    assert_eq!(pair.run(&CardCommand::Detect), Err(DialectError::NoAnswer));
    let list = hex!("0000FF04FC D44A0200 E000").to_vec();
    assert_eq!(pair.sent, [list.clone(), list, frame("ACK")]);
    assert_eq!(pair.since(before), Duration::from_millis(100 + 100 + 10));
}

#[test]
fn barriers_have_numbers_that_change() {
    let mut pair = Pair::with_card(&READER, card());
    for number in 2..6_u8 {
        let mut lost = false;
        pair.to_host = Box::new(move |_, sent| {
            let first = !core::mem::replace(&mut lost, true);
            if first { vec![] } else { vec![(Duration::ZERO, sent.bytes.clone())] }
        });
        pair.run(&CardCommand::Detect).unwrap();
        pair.mend();
        pair.sent.clear();
        pair.run(&CardCommand::Detect).unwrap();
        assert_eq!(pair.sent.len(), 2, "a barrier and the command");
        assert_eq!(pair.sent[0][5..10], [0xD4, 0x00, 0x00, 0x00, number]);
        pair.sent.clear();
        pair.run(&CardCommand::Detect).unwrap();
        assert_eq!(pair.sent.len(), 1, "and then the line is trusted again");
    }
}

#[test]
fn after_close_the_next_program_finds_a_sleeping_chip() {
    let mut pair = Pair::with_card(&READER, card());
    pair.sent.clear();
    pair.run(&CardCommand::Close).unwrap();
    // Field off; PowerDown with the wake-up sources that libnfc names.
    assert_eq!(pair.sent, [frame("RFConfiguration field off"), hex!("0000FF03FD D416F0 2600").to_vec()]);
    let libnfc = [
        frame("HSU wake-up preamble used by libnfc"),
        frame("SAMConfiguration normal without timeout byte"),
        frame("Diagnose line test with text libnfc"),
    ];
    for (bytes, answers) in libnfc.iter().zip([0, 2, 2]) {
        pair.device.receive(bytes, BAUD);
        assert_eq!(core::iter::from_fn(|| pair.device.poll()).count(), answers);
    }
}

#[test]
fn a_search_tells_the_chip_once_how_long_and_a_look_tells_it_back() {
    let mut pair = Pair::new(&READER);
    assert!(matches!(pair.run(&CardCommand::Open), Ok(CardReply::Reader(_))));
    // Frames by hand: the sum of TFI, data and check byte is 0.
    let (long, short) = (hex!("0000FF06FAD432050001 4F A500"), hex!("0000FF06FAD432050001 02 F200"));
    let list = hex!("0000FF04FCD44A0200E000");
    let mut sent = |command: &CardCommand| {
        pair.restart_counts();
        assert!(matches!(pair.run(command), Ok(CardReply::Detected(Detection::None))));
        pair.sent.clone()
    };
    assert_eq!(sent(&CardCommand::Search), [long.to_vec(), list.to_vec()]);
    assert_eq!(sent(&CardCommand::Search), [list.to_vec()]);
    assert_eq!(sent(&CardCommand::Detect), [short.to_vec(), list.to_vec()]);
    assert_eq!(sent(&CardCommand::Detect), [list.to_vec()]);
    assert_ne!(long[10], 0xFF, "a search ends");
}

#[test]
fn a_search_that_is_dropped_is_cancelled_by_the_next_command() {
    let mut pair = Pair::new(&READER);
    assert!(matches!(pair.run(&CardCommand::Open), Ok(CardReply::Reader(_))));
    assert!(matches!(pair.run(&CardCommand::Search), Ok(CardReply::Detected(Detection::None))));
    pair.restart_counts();
    pair.host.begin(&CardCommand::Search);
    assert!(pair.run_on(1).is_none(), "its command is on the line");
    assert!(matches!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None))));
    assert_eq!(pair.sent[1], hex!("0000FF00FF00"), "{:02x?}", pair.sent);
}

/// The chip's answer to a frame that is sent to it past the host.
fn asked_by_hand(pair: &mut Pair, frame: &[u8]) -> Vec<u8> {
    while pair.device.poll().is_some() {}
    pair.device.receive(frame, BAUD);
    let answers: Vec<Transmission> = core::iter::from_fn(|| pair.device.poll()).collect();
    answers.last().unwrap().bytes.clone()
}

/// Whether CRC and bit framing are as they are after power-up.
fn registers_are_right(pair: &mut Pair) -> bool {
    asked_by_hand(pair, &READ_THREE) == answer(&hex!("07 80 80 00"))
}

/// `ReadRegister` 6302, 6303, 633D by hand: vectors have it of the first two, and of the third.
const READ_THREE: [u8; 15] = hex!("0000FF08F8 D406 6302 6303 633D BB00");
/// `WriteRegister` of all three as they are after power-up, likewise.
const PUT_BACK: [u8; 18] = hex!("0000FF0BF5 D408 630280 630380 633D00 B900");
const LIST: [u8; 11] = hex!("0000FF04FCD44A0200E000");

fn gen1a() -> ClassicCard {
    ClassicCard::blank_clone(CloneKind::Gen1a, ClassicSize::K1, card().uid())
}

/// A chip with this card on it, which was detected.
fn detected(card: ClassicCard) -> Pair {
    let mut pair = Pair::with_card(&READER, card);
    assert!(matches!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::One(_)))));
    pair.restart_counts();
    pair
}

#[test]
fn a_back_door_is_knocked_at_as_libnfc_does_and_never_opened() {
    let mut pair = detected(gen1a());
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Ok(CardReply::Done));
    let expected = [
        LIST.to_vec(),
        READ_THREE.to_vec(),
        frame("WriteRegister CIU_TxMode 00, CIU_RxMode 00: no CRC"),
        frame("InCommunicateThru HLTA with its CRC"),
        frame("WriteRegister CIU_BitFraming 07"),
        frame("InCommunicateThru 40"),
        PUT_BACK.to_vec(),
        frame("RFConfiguration field off"),
        frame("RFConfiguration field on"),
        LIST.to_vec(),
    ];
    assert_eq!(pair.sent, expected, "{:02x?}", pair.sent);
    assert!(registers_are_right(&mut pair));
    // An opened clone would give its blocks without a key: InDataExchange READ of block 4 by hand.
    let refused = asked_by_hand(&mut pair, &frame("InDataExchange READ block 4"));
    assert!(refused[5..7] == hex!("D541") && refused[7] != 0, "{refused:02x?}");
}

#[test]
fn a_card_is_as_usable_after_the_question_as_before() {
    let gen2 = ClassicCard::blank_clone(CloneKind::Gen2, ClassicSize::K1, card().uid());
    let mut cards = vec![(gen1a(), Ok(CardReply::Done)), (gen2, Err(DialectError::Refused))];
    for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
        for uid in [support::uid4(), support::uid7()] {
            cards.push((ClassicCard::blank(size, uid), Err(DialectError::Refused)));
        }
    }
    for (card, expected) in cards {
        let mut pair = detected(card);
        let before = pair.dump();
        pair.run(&authenticate(1)).unwrap();
        // A refused login leaves it deselected.
        for deselect in [false, true] {
            if deselect {
                assert_eq!(pair.run(&authenticate_with(1, [7; 6])), Err(DialectError::AuthenticationFailed));
            }
            assert_eq!(pair.run(&CardCommand::ProbeBackdoor), expected);
            assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated), "what was open is closed");
            let looks = pair.device.counters().detects;
            assert_eq!(pair.run(&authenticate(1)), Ok(CardReply::Done));
            assert_eq!(pair.run(&read(4)), Ok(CardReply::Block([0; 16])));
            assert_eq!(pair.device.counters().detects, looks, "it was active");
            assert!(registers_are_right(&mut pair));
        }
        assert_eq!(pair.dump(), before);
        assert_eq!(pair.device.field().writes(), 0);
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));
    }
}

#[test]
fn whatever_is_lost_no_clone_is_called_genuine_no_card_a_clone_and_the_registers_are_put_back() {
    // Ten exchanges of an ACK and an answer; the two that are lost make the host ask again.
    let mut failed = 0;
    for (kind, wrong) in [(gen1a(), Err(DialectError::Refused)), (card(), Ok(CardReply::Done))] {
        for first in 0..24 {
            for lost in [1, 2, 3, 5, 9, usize::MAX] {
                for next in [CardCommand::Detect, CardCommand::Open, authenticate(1), CardCommand::Close] {
                    let mut pair = detected(kind.clone());
                    pair.to_host = Box::new(move |at, sent| {
                        let is_lost = at >= first && at - first < lost;
                        vec![(Duration::ZERO, if is_lost { Vec::new() } else { sent.bytes.clone() })]
                    });
                    let result = pair.run(&CardCommand::ProbeBackdoor);
                    assert_ne!(result, wrong, "{first}, {lost}");
                    if matches!(result, Ok(_) | Err(DialectError::Refused)) {
                        assert!(registers_are_right(&mut pair), "{first}, {lost}");
                    }
                    failed += usize::from(matches!(result, Err(DialectError::NoAnswer)));
                    pair.mend();
                    let then = pair.run(&next);
                    assert!(then.is_ok(), "{first}, {lost}, {next:?}: {then:?}");
                    if next == CardCommand::Close {
                        assert!(pair.run(&CardCommand::Open).is_ok());
                    }
                    assert!(registers_are_right(&mut pair), "{first}, {lost}, {next:?}");
                }
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn a_question_that_is_dropped_is_tidied_up_by_the_next_command() {
    let mut dropped_in_between = 0;
    for outputs in 0..60 {
        for next in [CardCommand::Detect, CardCommand::Open, authenticate(1), CardCommand::ProbeBackdoor] {
            let mut pair = detected(gen1a());
            pair.host.begin(&CardCommand::ProbeBackdoor);
            if pair.run_on(outputs).is_some() {
                continue;
            }
            dropped_in_between += usize::from(!registers_are_right(&mut pair));
            let then = pair.run(&next);
            assert!(then.is_ok(), "{outputs}, {next:?}: {then:?}");
            assert!(registers_are_right(&mut pair), "{outputs}, {next:?}");
        }
    }
    assert!(dropped_in_between > 4, "{dropped_in_between}");
}

#[test]
fn registers_that_another_program_has_left_are_put_right_by_the_question() {
    let mut pair = detected(gen1a());
    asked_by_hand(&mut pair, &frame("WriteRegister CIU_TxMode 00, CIU_RxMode 00: no CRC"));
    asked_by_hand(&mut pair, &frame("WriteRegister CIU_BitFraming 07"));
    assert!(!registers_are_right(&mut pair));
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Ok(CardReply::Done));
    assert!(registers_are_right(&mut pair));
}

#[test]
fn who_is_asked_for_a_back_door_is_there_and_alone() {
    let mut pair = Pair::with_card(&READER, gen1a());
    let sent = pair.sent.len();
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::CardGone), "nothing was detected");
    assert_eq!(pair.sent.len(), sent, "the reader is not even asked");

    let mut pair = detected(gen1a());
    pair.device.field().remove_all();
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::CardGone));
    pair.device.field().place(Card::Classic(ClassicCard::blank(ClassicSize::K1, support::uid7()))).unwrap();
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::CardChanged));
    assert!(registers_are_right(&mut pair));

    pair.device.field().place(Card::Classic(gen1a())).unwrap();
    pair.run(&CardCommand::ResetField).unwrap();
    assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::Several)));
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::Several));
}

#[test]
fn a_chip_that_has_no_registers_to_write_cannot_ask() {
    for unknown in [0x06, 0x08] {
        let mut pair = detected(gen1a());
        pair.to_device = Box::new(move |_, bytes| match bytes {
            // No address: the chip answers with an error frame.
            [0x00, 0x00, 0xFF, _, _, 0xD4, code, ..] if *code == unknown => {
                vec![0x00, 0x00, 0xFF, 0x02, 0xFE, 0xD4, *code, 0x2C - *code, 0x00]
            }
            _ => bytes.to_vec(),
        });
        assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::Unsupported));
        assert!(matches!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::One(_)))));
        assert_eq!(pair.run(&authenticate(1)), Ok(CardReply::Done));
    }
}

#[test]
fn the_chip_takes_four_bits_for_an_error_as_long_as_it_looks_for_a_crc() {
    let mut pair = detected(gen1a());
    asked_by_hand(&mut pair, &frame("WriteRegister CIU_BitFraming 07"));
    // Status 02: wrong CRC.
    assert_eq!(asked_by_hand(&mut pair, &frame("InCommunicateThru 40")), answer(&hex!("43 02")));
    asked_by_hand(&mut pair, &frame("WriteRegister CIU_TxMode 00, CIU_RxMode 00: no CRC"));
    assert_eq!(asked_by_hand(&mut pair, &frame("InCommunicateThru 40")), answer(&hex!("43 00 0A")));
}

#[test]
fn a_silence_after_a_repeated_knock_says_nothing_of_the_card() {
    let mut pair = detected(card());
    // ACK and answer of the sixth exchange: 40 is sent again, and a clone may be silent the second time.
    pair.to_host = Box::new(|at, sent| {
        vec![(Duration::ZERO, if matches!(at, 10 | 11) { Vec::new() } else { sent.bytes.clone() })]
    });
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::NoAnswer));
    let knocks = pair.sent.iter().filter(|sent| **sent == frame("InCommunicateThru 40")).count();
    assert_eq!(knocks, 2);
    assert!(registers_are_right(&mut pair));
    pair.mend();
    assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::Refused));
}
