//! Every status word, every short answer and every failure at every step: a definite error, and a usable reader.

use crate::support::pcsc::{CardPair, Fate, SECRET, secret_card};
use crate::support::{Answer, authenticate_with, card, content, read, write};
use encoder_protocols::apdu::instruction;
use encoder_protocols::card_sim::Card;
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::pcsc_storage::{PROFILES, Profile};
use encoder_protocols::dialect::{CardDevice, CardDialect, CardFailure, CardOutput};
use encoder_protocols::id::Detection;

/// A status word and what it means for opening a sector, and for reading and writing a block of it.
const STATUS_WORDS: &[(u16, Answer, DialectError)] = &[
    (0x0000, Err(DialectError::Status { status: 0 }), DialectError::Status { status: 0 }),
    (0x6281, Err(AUTHENTICATE), ACCESS),
    (0x6282, Err(AUTHENTICATE), ACCESS),
    (0x6300, Err(DialectError::AuthenticationFailed), DialectError::Refused),
    (0x6388, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6400, Err(DialectError::AuthenticationFailed), DialectError::Refused),
    (0x6581, Err(DialectError::Refused), DialectError::Status { status: 0x6581 }),
    // What `FF 86` is not understood for, `FF 88` may be.
    (0x6700, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6800, Ok(CardReply::Done), DialectError::Refused),
    (0x6981, Err(DialectError::Refused), DialectError::Refused),
    (0x6982, Err(DialectError::AuthenticationFailed), DialectError::Refused),
    (0x6983, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6984, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6985, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6986, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6987, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6988, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6989, Err(DialectError::Unsupported), DialectError::Refused),
    (0x6A81, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6A82, Err(DialectError::Refused), DialectError::Refused),
    (0x6A86, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6B00, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6C10, Err(AUTHENTICATE), ACCESS),
    (0x6D00, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6E00, Ok(CardReply::Done), DialectError::Unsupported),
    (0x6F00, Err(DialectError::Status { status: 0x6F00 }), DialectError::Status { status: 0x6F00 }),
    (0x9003, Err(DialectError::Status { status: 0x9003 }), DialectError::Status { status: 0x9003 }),
];

const AUTHENTICATE: DialectError = DialectError::UnexpectedAnswer { command: instruction::GENERAL_AUTHENTICATE };
/// The command is put in by [`expected_access`].
const ACCESS: DialectError = DialectError::UnexpectedAnswer { command: 0 };

fn expected_access(error: DialectError, command: u8) -> DialectError {
    if error == ACCESS { DialectError::UnexpectedAnswer { command } } else { error }
}

/// A pair with a card on it, looked at and, on wish, with sector 1 open.
fn pair(profile: &'static Profile, open: bool) -> CardPair {
    let mut pair = CardPair::with_card(profile, secret_card());
    pair.run(&CardCommand::Detect).unwrap();
    if open {
        pair.run(&login()).unwrap();
    }
    pair.sent.clear();
    pair
}

fn login() -> CardCommand {
    authenticate_with(1, SECRET)
}

/// Every APDU with this instruction gets this answer and is not carried out.
fn answer_always(pair: &mut CardPair, instruction: u8, answer: Vec<u8>) {
    pair.on_apdus(
        move |apdu| {
            if apdu[..2] == [0xFF, instruction] { Fate::Instead(answer.clone()) } else { Fate::Through }
        },
    );
}

/// The reader works again without being opened, the card is the same, and a block was written or was not.
fn is_usable(mut pair: CardPair, case: &str) {
    pair.mend();
    let memory = pair.dump()[4 * 16..5 * 16].to_vec();
    assert!(memory == [0; 16] || memory == content(4), "{case}");
    let seen = pair.run(&CardCommand::Detect);
    assert!(matches!(seen, Ok(CardReply::Detected(Detection::One(_)))), "{case}: {seen:?}");
    assert_eq!(pair.run(&login()), Ok(CardReply::Done), "{case}");
    assert_eq!(pair.run(&write(4)), Ok(CardReply::Done), "{case}");
    assert_eq!(pair.run(&read(4)), Ok(CardReply::Block(content(4))), "{case}");
    assert_eq!(pair.run(&CardCommand::Release), Ok(CardReply::Done), "{case}");
}

#[test]
fn every_status_word_at_every_step_is_a_definite_error() {
    for profile in PROFILES {
        for (status, authenticate, access) in STATUS_WORDS {
            let sw = status.to_be_bytes().to_vec();
            let case = format!("{} {status:04X}", profile.name);

            let mut looking = CardPair::with_card(profile, secret_card());
            // The PN532 inside an ACR122U tells the UID too.
            let answer = sw.clone();
            looking.on_apdus(move |_| Fate::Instead(answer.clone()));
            assert_eq!(looking.run(&CardCommand::Detect), Err(DialectError::NoUid), "{case}");
            is_usable(looking, &case);

            let mut loading = pair(profile, false);
            answer_always(&mut loading, instruction::LOAD_KEYS, sw.clone());
            assert_eq!(loading.run(&login()), Err(DialectError::Unsupported), "{case}");
            is_usable(loading, &case);

            let mut opening = pair(profile, false);
            answer_always(&mut opening, instruction::GENERAL_AUTHENTICATE, sw.clone());
            assert_eq!(opening.run(&login()), *authenticate, "{case}");
            if authenticate.is_err() {
                assert_eq!(opening.run(&read(4)), Err(DialectError::NotAuthenticated), "{case}");
            }
            is_usable(opening, &case);

            for (command, instruction) in [(read(4), instruction::READ_BINARY), (write(4), instruction::UPDATE_BINARY)]
            {
                let mut accessing = pair(profile, true);
                answer_always(&mut accessing, instruction, sw.clone());
                let expected = Err(expected_access(*access, instruction));
                assert_eq!(accessing.run(&command), expected, "{case} {instruction:02X}");
                assert_eq!(accessing.run(&command), Err(DialectError::NotAuthenticated), "{case}");
                is_usable(accessing, &case);
            }
        }
    }
}

#[test]
fn a_write_that_was_carried_out_and_denied_is_an_error_and_on_the_card() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        pair.spoil(0, || Fate::Answer(vec![0x63, 0x00]));
        assert_eq!(pair.run(&write(4)), Err(DialectError::Refused));
        assert_eq!(pair.dump()[4 * 16..5 * 16], content(4));
        is_usable(pair, profile.name);
    }
}

#[test]
fn an_answer_without_a_status_word_is_never_a_success() {
    for profile in PROFILES {
        for short in [vec![], vec![0x90]] {
            let unexpected = |command| Err(DialectError::UnexpectedAnswer { command });
            let case = format!("{} {short:02X?}", profile.name);
            for (opened, command, instruction) in [
                (false, login(), instruction::LOAD_KEYS),
                (false, login(), instruction::GENERAL_AUTHENTICATE),
                (true, read(4), instruction::READ_BINARY),
                (true, write(4), instruction::UPDATE_BINARY),
            ] {
                let mut pair = pair(profile, opened);
                answer_always(&mut pair, instruction, short.clone());
                assert_eq!(pair.run(&command), unexpected(instruction), "{case}");
                is_usable(pair, &case);
            }
            let mut looking = CardPair::with_card(profile, secret_card());
            let answer = short.clone();
            looking.on_apdus(move |_| Fate::Instead(answer.clone()));
            assert_eq!(looking.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)), "{case}");
            is_usable(looking, &case);
        }
    }
}

#[test]
fn data_of_the_wrong_length_is_no_block() {
    for profile in PROFILES {
        for len in [0, 1, 15, 17, 48] {
            let mut pair = pair(profile, true);
            let mut answer = vec![0xAB; len];
            answer.extend([0x90, 0x00]);
            answer_always(&mut pair, instruction::READ_BINARY, answer);
            let error = DialectError::UnexpectedAnswer { command: instruction::READ_BINARY };
            assert_eq!(pair.run(&read(4)), Err(error), "{len}");
            is_usable(pair, profile.name);
        }
    }
}

/// Looks, opens a sector, writes and reads, lets go; the answer of the command that failed first.
fn run_until_trouble(pair: &mut CardPair) -> Result<(), (CardCommand, Answer)> {
    for command in [CardCommand::Detect, login(), write(4), read(4), CardCommand::ResetField, CardCommand::Release] {
        let answer = pair.run(&command);
        let is_fine = match &answer {
            Ok(CardReply::Detected(detection)) => matches!(detection, Detection::One(_)),
            Ok(_) => true,
            Err(_) => false,
        };
        if !is_fine {
            return Err((command, answer));
        }
    }
    Ok(())
}

fn outputs_of_a_smooth_run(profile: &'static Profile) -> usize {
    let mut pair = CardPair::with_card(profile, secret_card());
    pair.sent.clear();
    run_until_trouble(&mut pair).unwrap();
    pair.sent.len()
}

#[test]
fn every_failure_of_the_transport_at_every_step_has_its_error() {
    for profile in PROFILES {
        for failure in [
            CardFailure::NoCard,
            CardFailure::Mute,
            CardFailure::Reset,
            CardFailure::InUse,
            CardFailure::NotTransacted,
            CardFailure::Silent,
            CardFailure::Refused,
        ] {
            for step in 0..outputs_of_a_smooth_run(profile) {
                let mut pair = CardPair::with_card(profile, secret_card());
                pair.spoil(step, move || Fate::Fails(failure));
                let outcome = run_until_trouble(&mut pair);
                let case = format!("{} {failure:?} {step}: {outcome:?}", profile.name);
                let expected: &[Answer] = match failure {
                    CardFailure::NoCard => &[Err(DialectError::CardGone), Ok(CardReply::Detected(Detection::None))],
                    CardFailure::Mute => &[Err(DialectError::CardMute)],
                    CardFailure::Reset => &[Err(DialectError::CardReset)],
                    CardFailure::InUse => &[Err(DialectError::InUse)],
                    CardFailure::NotTransacted | CardFailure::Silent => &[Err(DialectError::NoAnswer)],
                    CardFailure::Refused => &[Err(DialectError::Unsupported)],
                };
                match &outcome {
                    Err((_, answer)) => assert!(expected.contains(answer), "{case}"),
                    // Nobody's trouble: counting cards and looking once more, switching off, letting go.
                    Ok(()) => assert!(
                        matches!(
                            pair.sent[step],
                            CardOutput::Disconnect | CardOutput::PowerCycle | CardOutput::Transmit(_)
                        ),
                        "{case}"
                    ),
                }
                is_usable(pair, &case);
            }
        }
    }
}

#[test]
fn a_card_that_leaves_at_any_step_is_gone() {
    for profile in PROFILES {
        for step in 0..outputs_of_a_smooth_run(profile) {
            let mut pair = CardPair::with_card(profile, secret_card());
            pair.spoil(step, || Fate::CardsLeave);
            let outcome = run_until_trouble(&mut pair);
            let case = format!("{} {step}: {outcome:?}", profile.name);
            match outcome {
                Err((CardCommand::Detect, answer)) => {
                    // The UID was told already when power went off and on.
                    let none = Ok(CardReply::Detected(Detection::None));
                    assert!(answer == none || answer == Err(DialectError::CardGone), "{case}");
                }
                Err((_, answer)) => assert_eq!(answer, Err(DialectError::CardGone), "{case}"),
                Ok(()) => assert!(step + 3 >= pair.sent.len(), "{case}"),
            }
            pair.mend();
            assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)), "{case}");
            pair.place(Card::Classic(secret_card()));
            is_usable(pair, &case);
        }
    }
}

#[test]
fn another_card_in_its_place_is_never_taken_for_it() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        pair.device.field().remove_all();
        pair.place(Card::Classic(encoder_protocols::card_sim::ClassicCard::blank(
            encoder_protocols::family::classic::ClassicSize::K1,
            crate::support::uid7(),
        )));
        let error = pair.run(&write(4)).unwrap_err();
        assert_eq!(error, DialectError::CardGone, "{}", profile.name);
        assert_eq!(pair.run(&login()), Err(DialectError::CardChanged), "{}", profile.name);
        assert_eq!((pair.device.field().writes(), pair.device.field().auths()), (0, 1));
    }
}

#[test]
fn another_uid_after_a_failure_is_another_card() {
    for profile in PROFILES {
        for command in [read(4), write(4), authenticate_with(1, [0x11; 6])] {
            let mut pair = pair(profile, true);
            pair.on_apdus(|apdu| match apdu[1] {
                instruction::GET_DATA => Fate::Instead(vec![0x04, 0xA1, 0xB2, 0xC3, 0x90, 0x00]),
                instruction::LOAD_KEYS => Fate::Through,
                _ => Fate::Instead(vec![0x63, 0x00]),
            });
            assert_eq!(pair.run(&command), Err(DialectError::CardChanged), "{}", profile.name);
            assert_eq!(pair.run(&login()), Err(DialectError::CardChanged), "{}", profile.name);
            is_usable(pair, profile.name);
        }
    }
}

#[test]
fn a_mute_card_is_said_to_be_mute() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, secret_card());
        pair.mute = true;
        assert_eq!(pair.run(&CardCommand::Detect), Err(DialectError::CardMute));
        assert_eq!(pair.run(&login()), Err(DialectError::CardGone), "nothing was detected");
        pair.mute = false;
        is_usable(pair, profile.name);
    }
}

#[test]
fn after_another_program_has_reset_the_card_the_key_is_loaded_again() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        pair.spoil(0, || Fate::Fails(CardFailure::Reset));
        assert_eq!(pair.run(&write(4)), Err(DialectError::CardReset));
        pair.mend();
        assert_eq!(pair.run(&write(4)), Err(DialectError::NotAuthenticated));
        pair.sent.clear();
        assert_eq!(pair.run(&login()), Ok(CardReply::Done));
        assert_eq!(pair.count(instruction::LOAD_KEYS), 1, "{}", profile.name);
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));

        // A look in between changes nothing about that.
        pair.spoil(0, || Fate::Fails(CardFailure::Reset));
        assert_eq!(pair.run(&read(4)), Err(DialectError::CardReset));
        pair.run(&CardCommand::Detect).unwrap();
        assert_eq!(pair.run(&login()), Ok(CardReply::Done));
        assert_eq!(pair.count(instruction::LOAD_KEYS), 1, "{}", profile.name);
    }
}

#[test]
fn an_abandoned_command_leaves_nothing_behind() {
    for profile in PROFILES {
        for outputs in 0..outputs_of_a_smooth_run(profile) {
            for command in [CardCommand::Detect, login(), write(4), read(4), CardCommand::Release] {
                let mut pair = pair(profile, true);
                pair.host.begin(&command);
                if pair.run_on(outputs).is_none() {
                    // It waits for an answer that never comes.
                    drop(pair.host.poll());
                }
                is_usable(pair, profile.name);
            }
        }
    }
}

#[test]
fn after_an_abandoned_command_no_sector_counts_as_open_and_no_key_as_loaded() {
    for profile in PROFILES {
        for command in [read(4), write(4), login(), authenticate_with(2, [0x11; 6])] {
            let mut pair = pair(profile, true);
            pair.host.begin(&command);
            drop(pair.host.poll());
            assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated), "{}", profile.name);
            assert_eq!(pair.run(&login()), Ok(CardReply::Done), "{}", profile.name);
            assert_eq!(pair.count(instruction::LOAD_KEYS), 1, "{}", profile.name);
            assert!(pair.sent.contains(&CardOutput::PowerCycle), "the card is started anew");
            assert!(pair.run(&read(4)).is_ok());
        }
    }
}

#[test]
fn after_a_refusal_the_key_is_loaded_again() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        pair.spoil(0, || Fate::Instead(vec![0x63, 0x00]));
        assert_eq!(pair.run(&read(4)), Err(DialectError::Refused));
        assert_eq!(pair.run(&login()), Ok(CardReply::Done));
        assert_eq!(pair.count(instruction::LOAD_KEYS), 1, "{}", profile.name);
    }
}

#[test]
fn a_key_stays_in_no_slot() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        pair.run(&CardCommand::Release).unwrap();
        assert_eq!(slots_that_open(&mut pair), 0, "{}", profile.name);
    }
    // The check of the check.
    let mut held = pair(&PROFILES[0], true);
    assert_eq!(slots_that_open(&mut held), 1);
}

/// How many slots hold a key that opens the card.
fn slots_that_open(pair: &mut CardPair) -> usize {
    let opens = |pair: &mut CardPair, number: u8, key_type: u8| {
        pair.device.power_on();
        let apdu = [0xFF, 0x86, 0x00, 0x00, 0x05, 0x01, 0x00, 0x04, key_type, number];
        pair.device.transmit(&apdu).bytes == [0x90, 0x00]
    };
    (0..=0xFF).filter(|number| opens(pair, *number, 0x60) || opens(pair, *number, 0x61)).count()
}

#[test]
fn a_secret_left_behind_is_overwritten_at_the_next_card() {
    for profile in PROFILES {
        let mut pair = pair(profile, true);
        let cards = pair.device.field().remove_all();
        assert!(pair.run(&write(4)).is_err());
        assert_eq!(pair.run(&CardCommand::Release), Ok(CardReply::Done));
        drop(cards);
        pair.place(Card::Classic(card()));
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&CardCommand::Release).unwrap();
        pair.device.field().remove_all();
        pair.place(Card::Classic(secret_card()));
        assert_eq!(slots_that_open(&mut pair), 0, "{}", profile.name);
    }
}
