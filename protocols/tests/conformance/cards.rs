//! Whatever lies on the reader.

use crate::support::{Answer, Pair, authenticate, authenticate_with, card, content, read, sector, uid4, uid7, write};
use crate::{run_script, script, script_answers};
use encoder_protocols::card_sim::{Card, ClassicCard, Part4Card, Part4Kind, Torn, Type2Card, UnknownCard};
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::READERS;
use encoder_protocols::family::classic::{AccessBits, ClassicSize, KeyA, KeyB, SectorKey, SectorTrailer};
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::family::{CardKind, FAMILIES, identify};
use encoder_protocols::id::{Activation, AtrCard, Detection, Target, Technology};
use std::time::Duration;

#[test]
fn every_family_is_detected_and_told_apart() {
    let part4 = Target::type_a(uid4(), [0x03, 0x44], 0x20);
    let unknown = Target::type_a(uid7(), [0x00, 0x44], 0x40);
    // NXP AN10833, table "SAK coding": MIFARE Plus 2K in security level 2.
    let mifare_plus = Target::type_a(uid7(), [0x00, 0x44], 0x10);
    // No reader on a line looks for these; behind PC/SC the ATR names them.
    let felica = Target { uid: uid4(), activation: Activation::Atr(AtrCard::Technology(Technology::Felica)) };
    let mut samples = vec![
        (Card::Unknown(UnknownCard::new(part4)), CardKind::Iso14443Part4),
        (Card::Unknown(UnknownCard::new(unknown)), CardKind::Unknown),
        (Card::Unknown(UnknownCard::new(mifare_plus)), CardKind::Unknown),
        (Card::Type2(Type2Card::blank(Type2Kind::Ntag213, uid7())), CardKind::Type2),
        (Card::Part4(Part4Card::new(Part4Kind::Desfire, uid7())), CardKind::Iso14443Part4),
    ];
    for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
        for uid in [uid4(), uid7()] {
            samples.push((Card::Classic(ClassicCard::blank(size, uid)), CardKind::Classic(size)));
        }
    }
    for family in FAMILIES {
        let mut targets = samples.iter().map(|(card, _)| card.target()).chain([felica]);
        let known = targets.any(|target| (family.recognise)(&target).is_some());
        assert!(known, "add a sample card for {}", family.name);
    }
    for reader in READERS {
        for (card, kind) in &samples {
            let mut pair = Pair::new(reader);
            pair.run(&CardCommand::Open).unwrap();
            pair.device.field().place(card.clone()).unwrap();
            assert_eq!(
                pair.run(&CardCommand::Detect),
                Ok(CardReply::Detected(Detection::One(card.target()))),
                "{}",
                reader.dialect
            );
            assert_eq!(identify(&card.target()), *kind);
        }
    }
}

#[test]
fn a_whole_card_of_every_size_is_read() {
    for reader in READERS {
        for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
            for uid in [uid4(), uid7()] {
                let mut pair = Pair::with_card(reader, ClassicCard::blank(size, uid));
                pair.run(&CardCommand::Detect).unwrap();
                let mut dump = Vec::new();
                for sector in size.sector_numbers() {
                    pair.run(&authenticate(sector.get())).unwrap();
                    for block in sector.first_block().get()..=sector.trailer().get() {
                        match pair.run(&read(block)) {
                            Ok(CardReply::Block(content)) => dump.extend(content),
                            other => panic!("{size}: block {block}: {other:?}"),
                        }
                    }
                }
                let mut expected = pair.dump();
                // Key A reads as zeros.
                for sector in size.sector_numbers() {
                    let at = usize::from(sector.trailer().get()) * 16;
                    expected[at..at + 6].fill(0);
                }
                assert!(dump == expected, "{size}");
            }
        }
    }
}

#[test]
fn a_smooth_command_takes_one_round_trip() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        for (command, answer) in script().iter().zip(script_answers()) {
            let before = pair.device.counters();
            assert_eq!(pair.run(command), answer);
            let after = pair.device.counters();
            assert_eq!(after.round_trips - before.round_trips, 1, "{}: {command:?}", reader.dialect);
            assert_eq!(after.detects - before.detects, u64::from(*command == CardCommand::Detect));
        }
        assert_eq!((pair.device.field().writes(), pair.device.field().auths()), (3, 1));
    }
}

#[test]
fn a_resting_card_is_seen_every_time() {
    for reader in READERS {
        for uid in [uid4(), uid7()] {
            let mut pair = Pair::with_card(reader, ClassicCard::blank(ClassicSize::K1, uid));
            for look in 0..20 {
                let seen = pair.run(&CardCommand::Detect);
                assert!(
                    matches!(&seen, Ok(CardReply::Detected(Detection::One(target))) if target.uid == uid),
                    "{look}"
                );
            }
            pair.device.field().remove_all();
            assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)));
        }
    }
}

#[test]
fn two_cards_are_several_and_nothing_is_written() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        let other = ClassicCard::blank(ClassicSize::K1, uid7());
        pair.device.field().place(Card::Classic(other)).unwrap();
        for _ in 0..5 {
            assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::Several)));
            let sent = pair.sent.len();
            for command in [authenticate(1), read(4), write(4), trailer_write(1)] {
                assert_eq!(pair.run(&command), Err(DialectError::Several), "{command:?}");
            }
            assert_eq!(pair.sent.len(), sent, "the reader is not even asked");
        }
        assert_eq!((pair.device.field().writes(), pair.device.field().auths()), (0, 0));
    }
}

#[test]
fn without_an_open_sector_the_reader_is_not_asked() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        let sent = pair.sent.len();
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone), "nothing was detected");
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
        assert_eq!(pair.sent.len(), sent);
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        let sent = pair.sent.len();
        for command in [read(8), write(8), trailer_write(2)] {
            assert_eq!(pair.run(&command), Err(DialectError::NotAuthenticated), "{command:?}");
        }
        assert_eq!(pair.sent.len(), sent);
        for command in [CardCommand::Release, CardCommand::Detect] {
            pair.run(&command).unwrap();
            assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated), "{command:?}");
        }
    }
}

#[test]
fn after_a_wrong_key_the_card_is_looked_for_again() {
    for reader in READERS {
        for uid in [uid4(), uid7()] {
            let mut pair = Pair::with_card(reader, ClassicCard::blank(ClassicSize::K1, uid));
            pair.run(&CardCommand::Detect).unwrap();
            for wrong in 0..3 {
                assert_eq!(
                    pair.run(&authenticate_with(1, [wrong; 6])),
                    Err(DialectError::AuthenticationFailed),
                    "{wrong}"
                );
                assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
            }
            let before = pair.device.counters();
            assert_eq!(pair.run(&authenticate(1)), Ok(CardReply::Done));
            let after = pair.device.counters();
            assert_eq!((after.round_trips - before.round_trips, after.detects - before.detects), (2, 1));
            assert_eq!(pair.run(&read(4)), Ok(CardReply::Block([0; 16])));
        }
    }
}

#[test]
fn what_lies_there_after_a_failure_is_said() {
    for reader in READERS {
        let other = || Card::Classic(ClassicCard::blank(ClassicSize::K1, uid7()));
        let same = || Card::Classic(card());
        let cases: [(Vec<Card>, Answer); 4] = [
            (vec![], Err(DialectError::CardGone)),
            (vec![other()], Err(DialectError::CardChanged)),
            (vec![same(), other()], Err(DialectError::Several)),
            (vec![same()], Ok(CardReply::Done)),
        ];
        for (cards, expected) in cases {
            let mut pair = Pair::with_card(reader, card());
            pair.run(&CardCommand::Detect).unwrap();
            pair.run(&authenticate_with(1, [0; 6])).unwrap_err();
            pair.device.field().remove_all();
            for card in cards {
                pair.device.field().place(card).unwrap();
            }
            assert_eq!(pair.run(&authenticate(1)), expected);
        }
    }
}

#[test]
fn a_card_that_leaves_is_gone_and_welcome_back() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.device.field().tear(2, Torn::Prefix(8));
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));
        assert_eq!(pair.run(&write(5)), Err(DialectError::CardGone));
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone));
        assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)));
        pair.device.field().put_back();
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        let mut torn = [0; 16];
        torn[..8].copy_from_slice(&content(5)[..8]);
        assert_eq!(pair.run(&read(4)), Ok(CardReply::Block(content(4))));
        assert_eq!(pair.run(&read(5)), Ok(CardReply::Block(torn)));
    }
}

#[test]
fn a_card_that_leaves_before_its_key_is_gone() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.device.field().remove_all();
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone));
    }
}

fn trailer_write(number: u8) -> CardCommand {
    CardCommand::WriteTrailer(sector(number), trailer())
}

fn trailer() -> SectorTrailer {
    SectorTrailer {
        key_a: KeyA(SectorKey::new([0xA1; 6])),
        access_bits: AccessBits::PERSONALIZED,
        general_purpose: 0x69,
        key_b: KeyB(SectorKey::new([0xB2; 6])),
    }
}

#[test]
fn a_trailer_is_written_and_its_rights_hold() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        assert_eq!(pair.run(&trailer_write(1)), Ok(CardReply::Done));
        let at = 7 * 16;
        assert_eq!(pair.dump()[at..at + 16], trailer().to_bytes());
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::AuthenticationFailed));
        assert_eq!(pair.run(&authenticate_with(1, [0xA1; 6])), Ok(CardReply::Done));
        assert_eq!(pair.run(&write(4)), Err(DialectError::Refused), "only key B may write");
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
    }
}

#[test]
fn a_field_reset_forgets_the_card() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        let before = (pair.device.counters().round_trips, pair.now);
        assert_eq!(pair.run(&CardCommand::ResetField), Ok(CardReply::Done));
        assert_eq!(pair.device.counters().round_trips - before.0, 2, "{}", reader.dialect);
        assert!(pair.since(before.1) >= Duration::from_millis(5), "a card needs 5 ms to forget");
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
        assert_eq!(run_script(&mut pair), script_answers());
    }
}
