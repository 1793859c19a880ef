//! A reader that nothing is known of: which form of key slots it has is found out, and remembered.

use crate::support::pcsc::{CardPair, Fate, SECRET, secret_card};
use crate::support::{authenticate_with, read};
use encoder_protocols::apdu::instruction;
use encoder_protocols::card_sim::Card;
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::pcsc_storage::{KEY_FORMS, Learnt, PROFILES, Profile, profile};
use encoder_protocols::family::classic::{Key, KeyB, SectorKey, SectorNumber};

fn pair(host: &str, device: &'static Profile, learnt: Learnt) -> CardPair {
    let mut pair = CardPair::between(profile(host).unwrap(), device, learnt);
    pair.place(Card::Classic(secret_card()));
    pair.run(&CardCommand::Detect).unwrap();
    pair.sent.clear();
    pair
}

fn key_b() -> CardCommand {
    let key = Key::B(KeyB(SectorKey::new(SECRET.map(|byte| !byte))));
    CardCommand::Authenticate { sector: SectorNumber::new(1).unwrap(), key }
}

#[test]
fn an_unknown_reader_is_found_out_whatever_its_slots() {
    for device in PROFILES {
        let mut pair = pair("generic", device, Learnt::default());
        assert_eq!(pair.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done), "{}", device.name);
        assert!(pair.run(&read(4)).is_ok());
        assert_eq!(pair.run(&key_b()), Ok(CardReply::Done), "{}", device.name);
        let learnt = pair.host.learnt();
        assert!(learnt.keys.is_some_and(|form| KEY_FORMS.contains(&form)), "{}: {learnt:?}", device.name);

        // With what was learnt, it takes what it takes on a known reader.
        let mut again = self::pair("generic", device, learnt);
        assert_eq!(again.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done));
        assert_eq!(again.apdus(), 2, "{}", device.name);
    }
}

#[test]
fn a_wrong_key_is_a_wrong_key_on_an_unknown_reader_too() {
    for device in PROFILES {
        let mut pair = pair("generic", device, Learnt::default());
        for _ in 0..3 {
            let wrong = pair.run(&authenticate_with(1, [0x11; 6]));
            assert_eq!(wrong, Err(DialectError::AuthenticationFailed), "{}", device.name);
        }
        assert_eq!(pair.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done), "{}", device.name);
        pair.sent.clear();
        let wrong = pair.run(&authenticate_with(1, [0x11; 6]));
        assert_eq!(wrong, Err(DialectError::AuthenticationFailed));
        assert_eq!(pair.apdus(), 3, "{}: key, authentication, is it there", device.name);
    }
}

#[test]
fn a_reader_that_is_not_what_it_seems_works_all_the_same() {
    for host in PROFILES {
        for device in PROFILES {
            let mut pair = pair(host.name, device, Learnt::default());
            let opened = pair.run(&authenticate_with(1, SECRET));
            assert_eq!(opened, Ok(CardReply::Done), "{} is a {}", host.name, device.name);
            // What was learnt of it is of no use with yet another reader, and does no harm.
            for other in PROFILES {
                let mut moved = self::pair(host.name, other, pair.host.learnt());
                assert_eq!(moved.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done), "{}", other.name);
            }
        }
    }
}

#[test]
fn the_obsolete_command_is_found_and_remembered() {
    for device in PROFILES {
        let mut pair = pair(device.name, device, Learnt::default());
        pair.on_apdus(|apdu| match apdu[1] {
            instruction::GENERAL_AUTHENTICATE => Fate::Instead(vec![0x6D, 0x00]),
            _ => Fate::Through,
        });
        assert_eq!(pair.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done));
        assert!(pair.host.learnt().obsolete_authenticate);
        pair.sent.clear();
        assert_eq!(pair.run(&authenticate_with(2, SECRET)), Ok(CardReply::Done));
        assert_eq!(pair.apdus(), 1, "the key is in its slot");
    }
}

#[test]
fn keys_go_into_volatile_memory_only() {
    for host in PROFILES {
        for device in PROFILES {
            let mut pair = pair(host.name, device, Learnt::default());
            for key in [[0x22; 6], SECRET] {
                let _ = pair.run(&authenticate_with(1, key));
                let _ = pair.run(&key_b());
            }
            pair.run(&CardCommand::Release).unwrap();
            let loads: Vec<_> = pair.bytes().filter(|apdu| apdu[1] == instruction::LOAD_KEYS).collect();
            assert!(loads.len() >= 3 && loads.iter().all(|apdu| apdu[2] == 0x00), "{loads:02X?}");
        }
    }
}
