//! Bytes of manuals, logs and other programs, on both sides.

use crate::support::pcsc::CardPair;
use crate::support::{authenticate, card, data_block, read};
use encoder_protocols::atr::{Names, parse};
use encoder_protocols::card_sim::{Card, UnknownCard};
use encoder_protocols::command::{CardCommand, Signal};
use encoder_protocols::dialect::CardDevice;
use encoder_protocols::dialect::pcsc_storage::profile;
use encoder_protocols::id::Target;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    atrs: Vec<Atr>,
    commands: Vec<Command>,
    answers: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Atr {
    hex: String,
    card: String,
    names: String,
    meaning: String,
    source: String,
}

#[derive(Deserialize)]
struct Command {
    profile: String,
    hex: String,
    meaning: String,
    source: String,
}

#[derive(Deserialize)]
struct Exchange {
    profile: String,
    by: String,
    asked: String,
    answer: String,
    card: Option<String>,
    meaning: String,
    source: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/pcsc.json")).unwrap();
    let sources = vectors.atrs.iter().map(|vector| &vector.source);
    let sources = sources.chain(vectors.commands.iter().map(|vector| &vector.source));
    let mut sources = sources.chain(vectors.answers.iter().map(|vector| &vector.source));
    assert!(sources.all(|source| !source.is_empty()), "a vector without a source");
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn atrs_name_their_cards() {
    for vector in vectors().atrs {
        let names = if vector.names == "access-is" { Names::AccessIs } else { Names::Standard };
        assert_eq!(format!("{:?}", parse(&bytes(&vector.hex), names)), vector.card, "{}", vector.meaning);
    }
}

#[test]
fn hosts_send_what_the_manuals_say() {
    for vector in vectors().commands {
        let mut pair = CardPair::with_card(profile(&vector.profile).unwrap(), card());
        let data = std::array::from_fn(|index| u8::try_from(index).unwrap());
        for command in [
            CardCommand::Detect,
            authenticate(1),
            read(4),
            CardCommand::Write(data_block(4), data),
            CardCommand::Release,
            CardCommand::Signal(Signal::Success),
        ] {
            pair.run(&command).ok();
        }
        assert!(pair.bytes().any(|sent| sent == bytes(&vector.hex)), "{}: {}", vector.profile, vector.meaning);
    }
}

#[test]
fn devices_answer_as_readers_do() {
    for vector in vectors().answers {
        let mut pair = CardPair::new(profile(&vector.profile).unwrap());
        if let Some(card) = &vector.card {
            let parts: Vec<_> = card.split(' ').collect();
            let atqa = bytes(parts[1]).try_into().unwrap();
            let target = Target::type_a(parts[0].parse().unwrap(), atqa, bytes(parts[2])[0]);
            pair.place(Card::Unknown(UnknownCard::new(target)));
        }
        pair.device.power_on();
        let asked = bytes(&vector.asked);
        let answer = match vector.by.as_str() {
            "transmit" => pair.device.transmit(&asked),
            "escape" => pair.device.escape(&asked).expect("it takes escapes"),
            other => panic!("{other}"),
        };
        assert_eq!(answer.bytes, bytes(&vector.answer), "{}: {}", vector.profile, vector.meaning);
    }
}
