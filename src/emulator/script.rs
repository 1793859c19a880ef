//! The commands of the control socket: one a line.

use super::cards::{CardSpec, CardSpecError};
use super::orders::{Fault, Order};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The longest delay or absence: nobody waits longer, and sums of it stay far from any overflow.
const MILLISECONDS_MAX: u64 = 60 * 60 * 1000;

/// How much of a wrong word is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Something for the engine.
    Order(Order),
    /// Write a card's memory to a file.
    Dump(PathBuf),
    /// Read a card's memory from a file.
    Load(PathBuf),
    /// List the commands.
    Help,
    /// End the emulator.
    Quit,
}

/// What is not a command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScriptError {
    #[error("unknown command {word:?}: {}", names())]
    Unknown { word: String },
    #[error("usage: {usage}")]
    Usage { usage: &'static str },
    #[error("usage: {usage}, at most {MILLISECONDS_MAX} milliseconds")]
    TooLong { usage: &'static str },
    #[error(transparent)]
    Card(#[from] CardSpecError),
}

/// One command: a line in [`WORDS`].
struct Word {
    name: &'static str,
    usage: &'static str,
    /// Takes what follows the name; `None` where it is not as `usage` says.
    parse: fn(&str) -> Result<Command, Refusal>,
}

/// Why the rest of a line is refused.
enum Refusal {
    Usage,
    TooLong,
    Card(CardSpecError),
}

/// All commands, in the order in which people are told of them.
const WORDS: &[Word] = &[
    Word {
        name: "place",
        usage: "place KIND[:UID]",
        parse: |rest| card(rest).map(|spec| Command::Order(Order::Place(spec))),
    },
    Word { name: "remove", usage: "remove", parse: |rest| order(rest, Order::Remove) },
    Word { name: "tear", usage: "tear N [partial]", parse: tear },
    Word { name: "drop-next", usage: "drop-next", parse: |rest| fault(rest, Fault::DropNext) },
    Word { name: "drop-ack", usage: "drop-ack", parse: |rest| fault(rest, Fault::DropAck) },
    Word { name: "corrupt-next", usage: "corrupt-next", parse: |rest| fault(rest, Fault::CorruptNext) },
    Word {
        name: "delay",
        usage: "delay MS",
        parse: |rest| milliseconds(rest).map(|time| Command::Order(Order::Fault(Fault::Delay(time)))),
    },
    Word { name: "garbage", usage: "garbage N", parse: garbage },
    Word {
        name: "trickle",
        usage: "trickle on|off",
        parse: |rest| on_or_off(rest).map(|on| Command::Order(Order::Fault(Fault::Trickle(on)))),
    },
    Word {
        name: "unplug",
        usage: "unplug MS",
        parse: |rest| milliseconds(rest).map(|time| Command::Order(Order::Fault(Fault::Unplug(time)))),
    },
    Word {
        name: "silent",
        usage: "silent on|off",
        parse: |rest| on_or_off(rest).map(|on| Command::Order(Order::Fault(Fault::Silent(on)))),
    },
    Word {
        name: "mute",
        usage: "mute on|off",
        parse: |rest| on_or_off(rest).map(|on| Command::Order(Order::Fault(Fault::Mute(on)))),
    },
    Word { name: "empty-next", usage: "empty-next", parse: |rest| fault(rest, Fault::EmptyNext) },
    Word { name: "sw", usage: "sw XXXX [N]", parse: status_word },
    Word { name: "dump", usage: "dump FILE", parse: |rest| file(rest).map(Command::Dump) },
    Word { name: "load", usage: "load FILE", parse: |rest| file(rest).map(Command::Load) },
    Word { name: "stats", usage: "stats", parse: |rest| order(rest, Order::Stats) },
    Word { name: "help", usage: "help", parse: |rest| alone(rest, Command::Help) },
    Word { name: "quit", usage: "quit", parse: |rest| alone(rest, Command::Quit) },
];

/// Reads a line.
pub(super) fn parse(line: &str) -> Result<Command, ScriptError> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let word = WORDS.iter().find(|word| word.name == name);
    let word = word.ok_or_else(|| ScriptError::Unknown { word: name.chars().take(SHOWN_CHARS_MAX).collect() })?;
    (word.parse)(rest.trim_start()).map_err(|refusal| match refusal {
        Refusal::Usage => ScriptError::Usage { usage: word.usage },
        Refusal::TooLong => ScriptError::TooLong { usage: word.usage },
        Refusal::Card(error) => ScriptError::Card(error),
    })
}

/// All commands with what they take, on one line.
pub(super) fn usage() -> String {
    WORDS.iter().map(|word| word.usage).collect::<Vec<_>>().join(", ")
}

fn names() -> String {
    WORDS.iter().map(|word| word.name).collect::<Vec<_>>().join(", ")
}

fn alone(rest: &str, command: Command) -> Result<Command, Refusal> {
    if rest.is_empty() { Ok(command) } else { Err(Refusal::Usage) }
}

fn order(rest: &str, order: Order) -> Result<Command, Refusal> {
    alone(rest, Command::Order(order))
}

fn fault(rest: &str, fault: Fault) -> Result<Command, Refusal> {
    order(rest, Order::Fault(fault))
}

fn card(rest: &str) -> Result<CardSpec, Refusal> {
    if rest.is_empty() { Err(Refusal::Usage) } else { rest.parse().map_err(Refusal::Card) }
}

fn tear(rest: &str) -> Result<Command, Refusal> {
    let (count, partial) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let partial = match partial.trim_start() {
        "" => false,
        "partial" => true,
        _ => return Err(Refusal::Usage),
    };
    let nth: NonZeroU32 = count.parse().map_err(|_| Refusal::Usage)?;
    Ok(Command::Order(Order::Tear { nth, partial }))
}

fn status_word(rest: &str) -> Result<Command, Refusal> {
    let (sw, nth) = rest.split_once(char::is_whitespace).unwrap_or((rest, "1"));
    let digits = sw.len() == 4 && sw.bytes().all(|digit| digit.is_ascii_hexdigit());
    let sw = u16::from_str_radix(sw, 16).ok().filter(|_| digits).ok_or(Refusal::Usage)?;
    let nth = nth.trim_start().parse().map_err(|_| Refusal::Usage)?;
    Ok(Command::Order(Order::Fault(Fault::StatusWord { sw: sw.to_be_bytes(), nth })))
}

fn on_or_off(rest: &str) -> Result<bool, Refusal> {
    match rest {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Refusal::Usage),
    }
}

fn garbage(rest: &str) -> Result<Command, Refusal> {
    let count: u8 = rest.parse().map_err(|_| Refusal::Usage)?;
    Ok(Command::Order(Order::Fault(Fault::Garbage(count))))
}

fn milliseconds(rest: &str) -> Result<Duration, Refusal> {
    let milliseconds: u64 = rest.parse().map_err(|_| Refusal::Usage)?;
    if milliseconds > MILLISECONDS_MAX { Err(Refusal::TooLong) } else { Ok(Duration::from_millis(milliseconds)) }
}

fn file(rest: &str) -> Result<PathBuf, Refusal> {
    if rest.is_empty() { Err(Refusal::Usage) } else { Ok(rest.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_reads_as_its_usage_says() {
        let lines = [
            ("place classic-1k:deadbeef", Command::Order(Order::Place("classic-1k:deadbeef".parse().unwrap()))),
            ("remove", Command::Order(Order::Remove)),
            ("tear 3", Command::Order(Order::Tear { nth: NonZeroU32::new(3).unwrap(), partial: false })),
            ("tear 1  partial\r\n", Command::Order(Order::Tear { nth: NonZeroU32::MIN, partial: true })),
            ("drop-next", Command::Order(Order::Fault(Fault::DropNext))),
            ("drop-ack", Command::Order(Order::Fault(Fault::DropAck))),
            ("corrupt-next", Command::Order(Order::Fault(Fault::CorruptNext))),
            ("delay 0", Command::Order(Order::Fault(Fault::Delay(Duration::ZERO)))),
            ("unplug 250", Command::Order(Order::Fault(Fault::Unplug(Duration::from_millis(250))))),
            ("silent on", Command::Order(Order::Fault(Fault::Silent(true)))),
            ("silent off", Command::Order(Order::Fault(Fault::Silent(false)))),
            ("mute on", Command::Order(Order::Fault(Fault::Mute(true)))),
            ("empty-next", Command::Order(Order::Fault(Fault::EmptyNext))),
            ("sw 6982", Command::Order(Order::Fault(Fault::StatusWord { sw: [0x69, 0x82], nth: NonZeroU32::MIN }))),
            (
                "sw 63c0 12",
                Command::Order(Order::Fault(Fault::StatusWord { sw: [0x63, 0xC0], nth: NonZeroU32::new(12).unwrap() })),
            ),
            ("dump /tmp/a card.mfd", Command::Dump("/tmp/a card.mfd".into())),
            ("load card.mfd", Command::Load("card.mfd".into())),
            ("stats", Command::Order(Order::Stats)),
            ("help", Command::Help),
            ("quit\n", Command::Quit),
        ];
        for (line, command) in lines {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_command_is_told_what_is() {
        for line in [
            "place",
            "tear",
            "tear 0",
            "tear -1",
            "tear 1 half",
            "delay",
            "delay 1.5",
            "silent",
            "garbage 256",
            "trickle",
            "mute",
            "sw",
            "sw 698",
            "sw +982",
            "sw 6982 0",
            "sw 6982 1 1",
            "dump",
            "quit now",
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with("usage: "), "{line}: {error}");
        }
        assert_eq!(parse("delay 3600001").unwrap_err().to_string(), "usage: delay MS, at most 3600000 milliseconds");
        let unknown = parse("shake it").unwrap_err().to_string();
        assert!(unknown.starts_with("unknown command \"shake\": place, remove, tear, drop-next"), "{unknown}");
        assert!(parse(&"x".repeat(4000)).unwrap_err().to_string().len() < 300);
    }
}
