//! Cards that leave, tear and change, and lines that lose.

use crate::rig::{Rig, blank, fast_read, page, password, read, readers, transparent_readers, write};
use crate::support::{uid4, uid7};
use encoder_protocols::card_sim::{Card, ClassicCard, Torn};
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::type2::{Type2Kind, UltralightCKey};
use encoder_protocols::id::Detection;
use hex_literal::hex;

const NTAG: Type2Kind = Type2Kind::Ntag213;

fn delivered_key() -> CardCommand {
    // MF0ICU2 data sheet, 7.5.8.
    let key = UltralightCKey::new(hex!("49454D4B41455242214E4143554F5946"));
    CardCommand::UltralightCAuth { key, random: [0x5A; 8] }
}

/// What is asked through the reader, and what only some readers pass on.
fn commands(rig: &Rig) -> Vec<CardCommand> {
    let mut commands = vec![read(4), write(NTAG, 4, [1; 4])];
    if matches!(rig.name, "pn532" | "acr122u") {
        commands.extend([CardCommand::GetVersion, fast_read(4, 9), password([0xFF; 4]), delivered_key()]);
    }
    commands
}

#[test]
fn a_card_that_is_torn_away_is_gone_and_welcome_back() {
    for kind in Type2Kind::ALL {
        for mut rig in readers(&blank(kind)) {
            rig.field().tear(2, Torn::Prefix(2));
            assert_eq!(rig.run(&write(kind, 4, [0xA1; 4])), Ok(CardReply::Done), "{}", rig.name);
            assert_eq!(rig.run(&write(kind, 5, [0xA2; 4])), Err(DialectError::CardGone), "{}: {kind}", rig.name);
            assert_eq!(rig.run(&read(4)), Err(DialectError::CardGone), "{}: {kind}", rig.name);
            assert_eq!(rig.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)));
            rig.field().put_back();
            rig.detect();
            let Ok(CardReply::Block(shown)) = rig.run(&read(4)) else { panic!("{}: {kind}", rig.name) };
            assert_eq!(shown[..6], hex!("A1A1A1A1 A2A2"), "{}: {kind}", rig.name);
            assert_ne!(shown[6..8], hex!("A2A2"), "{}: {kind}", rig.name);
        }
    }
}

#[test]
fn whatever_is_asked_of_a_card_that_has_left_it_is_gone() {
    for index in 0..6 {
        for mut rig in readers(&blank(NTAG)) {
            let Some(command) = commands(&rig).get(index).cloned() else { continue };
            rig.field().remove_all();
            assert_eq!(rig.run(&command), Err(DialectError::CardGone), "{}: {command:?}", rig.name);
        }
    }
}

#[test]
fn another_card_in_its_place_is_told_and_not_written() {
    let others = [blank(NTAG), Card::Classic(ClassicCard::blank(ClassicSize::K1, uid4()))];
    for other in others {
        let first = Card::Type2(encoder_protocols::card_sim::Type2Card::blank(NTAG, "04ffeeddccbbaa".parse().unwrap()));
        for mut rig in readers(&first) {
            // The refusal deselects it.
            assert_eq!(rig.run(&read(0xF0)), Err(DialectError::Refused), "{}", rig.name);
            rig.field().remove_all();
            rig.field().place(other.clone()).unwrap();
            assert_eq!(rig.run(&write(NTAG, 4, [1; 4])), Err(DialectError::CardChanged), "{}", rig.name);
            assert_eq!(rig.field().writes(), 0, "{}", rig.name);
        }
    }
}

#[test]
fn two_cards_are_several_where_the_reader_can_tell_and_nothing_is_written() {
    for mut rig in transparent_readers(&blank(NTAG)) {
        let other = Card::Type2(encoder_protocols::card_sim::Type2Card::blank(NTAG, "04ffeeddccbbaa".parse().unwrap()));
        rig.field().place(other).unwrap();
        rig.run(&CardCommand::ResetField).unwrap();
        rig.run(&CardCommand::Release).unwrap();
        assert_eq!(rig.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::Several)), "{}", rig.name);
        for command in commands(&rig) {
            assert_eq!(rig.run(&command), Err(DialectError::Several), "{}: {command:?}", rig.name);
        }
        assert_eq!(rig.field().writes(), 0);
    }
}

#[test]
fn without_a_card_nothing_is_asked() {
    for mut rig in readers(&blank(NTAG)) {
        rig.run(&CardCommand::Release).unwrap();
        rig.said();
        for command in commands(&rig) {
            assert_eq!(rig.run(&command), Err(DialectError::CardGone), "{}: {command:?}", rig.name);
        }
        assert!(rig.said().is_empty(), "{}", rig.name);
    }
}

#[test]
fn whatever_a_line_loses_no_key_is_called_wrong_and_every_write_is_there() {
    // Ten transmissions are more than any of these commands takes: ACK and answer of each exchange.
    for nth in 0..10 {
        for mut rig in readers(&blank(Type2Kind::UltralightC)) {
            let Some(()) = rig.lose(nth) else { continue };
            match rig.run(&delivered_key()) {
                Ok(CardReply::Done) | Err(DialectError::NoAnswer | DialectError::Garbled { .. }) => {}
                other => panic!("{nth}: {other:?}"),
            }
        }
        for mut rig in readers(&blank(NTAG)) {
            let Some(()) = rig.lose(nth) else { continue };
            assert_eq!(rig.run(&write(NTAG, 9, [7; 4])), Ok(CardReply::Done), "{nth}");
            assert_eq!(rig.card().memory(page(9)), Some(&[7; 4]), "{nth}");
            let Some(()) = rig.lose(nth) else { continue };
            assert_eq!(rig.run(&password([0xFF; 4])), Ok(CardReply::Bytes(vec![0, 0])), "{nth}");
            let Some(()) = rig.lose(nth) else { continue };
            let read = rig.run(&fast_read(0, 2));
            let expected = rig.card().dump()[..12].to_vec();
            assert_eq!(read, Ok(CardReply::Bytes(expected)), "{nth}: {}", uid7());
        }
    }
}
