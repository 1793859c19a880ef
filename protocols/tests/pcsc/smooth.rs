//! Every command while nothing goes wrong, and what it costs.

use crate::support::pcsc::{CardPair, SECRET, secret_card};
use crate::support::{authenticate, authenticate_with, card, content, read, write};
use encoder_protocols::apdu::instruction;
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::CardDevice;
use encoder_protocols::dialect::pcsc_storage::PROFILES;
use encoder_protocols::id::Detection;

/// Look, open a sector, read it, write 48 bytes and verify: the job that others are measured with.
fn job(pair: &mut CardPair, open: &CardCommand) {
    let seen = pair.run(&CardCommand::Detect);
    assert!(matches!(seen, Ok(CardReply::Detected(Detection::One(target))) if target.uid == card().uid()), "{seen:?}");
    assert_eq!(pair.run(open), Ok(CardReply::Done));
    for block in 4..7 {
        assert_eq!(pair.run(&read(block)), Ok(CardReply::Block([0; 16])));
    }
    for block in 4..7 {
        assert_eq!(pair.run(&write(block)), Ok(CardReply::Done));
    }
    for block in 4..7 {
        assert_eq!(pair.run(&read(block)), Ok(CardReply::Block(content(block))));
    }
    assert_eq!(pair.run(&CardCommand::Release), Ok(CardReply::Done));
    assert!(!pair.is_connected());
}

#[test]
fn uid_a_sector_and_48_bytes_verified_take_twelve_apdus() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, card());
        pair.sent.clear();
        job(&mut pair, &authenticate(1));
        assert_eq!(pair.apdus(), 12, "{}: {:?}", profile.name, pair.sent);
        assert_eq!(pair.count(instruction::GENERAL_AUTHENTICATE), 1);
        assert_eq!((pair.device.field().writes(), pair.device.field().auths()), (3, 1));
    }
}

#[test]
fn a_secret_key_takes_one_more_to_overwrite_it() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, secret_card());
        pair.sent.clear();
        job(&mut pair, &authenticate_with(1, SECRET));
        assert_eq!(pair.apdus(), 13, "{}: {:?}", profile.name, pair.sent);
    }
}
