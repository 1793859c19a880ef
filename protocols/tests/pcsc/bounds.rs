//! Whatever comes back, every command ends.

use crate::support::pcsc::OUTPUTS_MAX;
use crate::support::{authenticate, authenticate_with, read, write};
use encoder_protocols::apdu::instruction;
use encoder_protocols::command::{CardCommand, Signal};
use encoder_protocols::dialect::pcsc_storage::{KEY_FORMS, Learnt, PROFILES, PcscStorageHost};
use encoder_protocols::dialect::{CardDialect, CardFailure, CardInput, CardOutput};
use proptest::prelude::*;

/// What is handed to the host, whatever it has asked for.
#[derive(Clone, Debug)]
enum Given {
    Powered(Vec<u8>),
    Response(Vec<u8>),
    Disconnected,
    Failed(CardFailure),
}

fn given() -> impl Strategy<Value = Given> {
    let word = prop_oneof![
        Just(vec![0x90, 0x00]),
        Just(vec![0x63, 0x00]),
        Just(vec![0x69, 0x88]),
        Just(vec![0x6D, 0x00]),
        proptest::collection::vec(any::<u8>(), 2),
    ];
    // Answers that lead far: a UID, a block, a list of cards.
    let data = prop_oneof![
        Just(vec![]),
        Just(vec![0xDE, 0xAD, 0xBE, 0xEF]),
        Just(vec![0; 16]),
        Just(vec![0xD5, 0x4B, 0x01, 0x01, 0x00, 0x04, 0x08, 0x04, 0xDE, 0xAD, 0xBE, 0xEF]),
        Just(vec![0xD5, 0x4B, 0x02]),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    let response = (data, word).prop_map(|(data, word)| Given::Response([data, word].concat()));
    let failure = prop_oneof![
        Just(CardFailure::NoCard),
        Just(CardFailure::Mute),
        Just(CardFailure::Reset),
        Just(CardFailure::InUse),
        Just(CardFailure::NotTransacted),
        Just(CardFailure::Refused),
    ];
    prop_oneof![
        2 => Just(Given::Powered(classic_atr())),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Given::Powered),
        8 => response,
        1 => proptest::collection::vec(any::<u8>(), 0..3).prop_map(Given::Response),
        1 => Just(Given::Disconnected),
        2 => failure.prop_map(Given::Failed),
    ]
}

fn classic_atr() -> Vec<u8> {
    encoder_protocols::atr::storage_card(encoder_protocols::atr::name::CLASSIC_1K)
}

/// What fits the output, so that commands get further than with anything else.
fn fitting(output: &CardOutput, given: Given) -> Given {
    match (output, given) {
        (CardOutput::Connect | CardOutput::PowerCycle, Given::Response(_)) => Given::Powered(classic_atr()),
        (CardOutput::Disconnect, Given::Response(_)) => Given::Disconnected,
        (_, given) => given,
    }
}

fn commands() -> Vec<CardCommand> {
    vec![
        CardCommand::Open,
        CardCommand::Detect,
        CardCommand::ResetField,
        authenticate(1),
        authenticate_with(2, [0xA5; 6]),
        read(4),
        write(4),
        CardCommand::Signal(Signal::Wink),
        CardCommand::Release,
        CardCommand::Close,
    ]
}

fn learnt() -> impl Strategy<Value = Learnt> {
    (proptest::option::of(proptest::sample::select(KEY_FORMS)), any::<[bool; 4]>()).prop_map(
        |(keys, [obsolete_authenticate, escape_refused, feedback_refused, direct_refused])| Learnt {
            keys,
            obsolete_authenticate,
            escape_refused,
            feedback_refused,
            direct_refused,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_command_ends_whatever_comes_back(
        profile in proptest::sample::select(PROFILES),
        learnt in learnt(),
        script in proptest::collection::vec(proptest::sample::select(commands()), 1..12),
        answers in proptest::collection::vec(given(), 1..120),
        does_fit: bool,
    ) {
        let profile = PROFILES.iter().find(|known| known.name == profile.name).unwrap();
        let mut host = PcscStorageHost::new(profile, learnt);
        let mut answers = answers.iter().cycle();
        for command in script {
            host.begin(&command);
            let mut outputs = 0;
            loop {
                let output = host.poll();
                outputs += 1;
                prop_assert!(outputs <= OUTPUTS_MAX, "{command:?} does not end");
                if let CardOutput::Transmit(apdu) = &output {
                    prop_assert!((4..=260).contains(&apdu.len()));
                    // Never memory that keeps a key.
                    prop_assert!(apdu[1] != instruction::LOAD_KEYS || apdu[2] == 0x00);
                }
                if matches!(output, CardOutput::Done(_)) {
                    break;
                }
                let given = answers.next().unwrap().clone();
                match if does_fit { fitting(&output, given) } else { given } {
                    Given::Powered(atr) => host.handle(CardInput::Powered(&atr)),
                    Given::Response(bytes) => host.handle(CardInput::Response(&bytes)),
                    Given::Disconnected => host.handle(CardInput::Disconnected),
                    Given::Failed(failure) => host.handle(CardInput::Failed(failure)),
                }
            }
        }
    }
}

/// The same answer for ever, for every command from every state.
#[test]
fn every_command_ends_when_one_answer_is_given_for_ever() {
    let mut longest = 0;
    for profile in PROFILES {
        for sw in (0x60..=0x9F_u8).flat_map(|sw1| [0x00, 0x81, 0x82, 0x83, 0x88].map(|sw2| vec![sw1, sw2])) {
            for data in [vec![], vec![0xDE, 0xAD, 0xBE, 0xEF]] {
                let answer = [data, sw.clone()].concat();
                let mut host = PcscStorageHost::new(profile, Learnt::default());
                for (command, is_answered) in
                    [(CardCommand::Detect, true), (authenticate_with(1, [1; 6]), false), (CardCommand::Release, false)]
                {
                    host.begin(&command);
                    let mut outputs = 0;
                    loop {
                        let output = host.poll();
                        outputs += 1;
                        let input = match &output {
                            CardOutput::Connect | CardOutput::PowerCycle => Given::Powered(classic_atr()),
                            CardOutput::Disconnect => Given::Disconnected,
                            CardOutput::Done(_) => break,
                            CardOutput::Transmit(apdu) if is_answered || apdu[1] == instruction::GET_DATA => {
                                Given::Response(vec![0xDE, 0xAD, 0xBE, 0xEF, 0x90, 0x00])
                            }
                            CardOutput::Transmit(_) | CardOutput::Escape(_) => Given::Response(answer.clone()),
                        };
                        match input {
                            Given::Powered(atr) => host.handle(CardInput::Powered(&atr)),
                            Given::Response(bytes) => host.handle(CardInput::Response(&bytes)),
                            Given::Disconnected => host.handle(CardInput::Disconnected),
                            Given::Failed(failure) => host.handle(CardInput::Failed(failure)),
                        }
                        assert!(outputs <= OUTPUTS_MAX, "{}: {command:?}, {answer:02X?}", profile.name);
                    }
                    longest = longest.max(outputs);
                }
            }
        }
    }
    // The bound is no idle one.
    assert!(longest >= 6, "{longest}");
}
