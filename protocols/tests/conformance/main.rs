//! What every dialect in `READERS` must do, with every kind of card in `FAMILIES`.
//!
//! | file | what |
//! | --- | --- |
//! | `line` | lost, late, damaged, repeated and foreign bytes; silence; bounds |
//! | `cards` | what lies there, what it refuses, what leaves |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends there"
)]

mod cards;
mod line;
#[path = "../support/mod.rs"]
mod support;

use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::Transmission;
use encoder_protocols::id::Detection;
use std::time::Duration;
use support::{Answer, Pair, authenticate, card, content, read, write};

/// One look, one sector opened, three blocks written and read back.
fn script() -> Vec<CardCommand> {
    vec![
        CardCommand::Detect,
        authenticate(1),
        write(4),
        write(5),
        write(6),
        read(4),
        read(5),
        read(6),
        CardCommand::Release,
    ]
}

fn script_answers() -> Vec<Answer> {
    vec![
        Ok(CardReply::Detected(Detection::One(card().target()))),
        Ok(CardReply::Done),
        Ok(CardReply::Done),
        Ok(CardReply::Done),
        Ok(CardReply::Done),
        Ok(CardReply::Block(content(4))),
        Ok(CardReply::Block(content(5))),
        Ok(CardReply::Block(content(6))),
        Ok(CardReply::Done),
    ]
}

/// The card after the script.
fn script_dump() -> Vec<u8> {
    let mut dump = card().dump();
    for block in 4..7_u8 {
        let at = usize::from(block) * 16;
        dump[at..at + 16].copy_from_slice(&content(block));
    }
    dump
}

fn run_script(pair: &mut Pair) -> Vec<Answer> {
    script().iter().map(|command| pair.run(command)).collect()
}

fn as_sent(sent: &Transmission) -> Vec<(Duration, Vec<u8>)> {
    vec![(Duration::ZERO, sent.bytes.clone())]
}
