//! Every reader there is with a card on it, whichever way it speaks.

use crate::support::pcsc::CardPair;
use crate::support::{Answer, Pair};
use encoder_protocols::card_sim::{Card, Field, Type2Card};
use encoder_protocols::command::{CardCommand, CardReply, Secret};
use encoder_protocols::dialect::pcsc_storage::PROFILES;
use encoder_protocols::dialect::{CardDevice as _, READERS};
use encoder_protocols::family::type2::{ConfigPage, DataPage, PageNumber, Password, Type2Kind};
use encoder_protocols::id::Detection;

enum Line {
    Serial(Box<Pair>),
    Pcsc(Box<CardPair>),
}

/// A reader with a card on it, opened and detected.
pub struct Rig {
    pub name: &'static str,
    line: Line,
}

impl Rig {
    fn new(name: &'static str, line: Line, card: Card) -> Self {
        let mut rig = Self { name, line };
        rig.field().place(card).unwrap();
        rig.run(&CardCommand::Open).unwrap();
        rig.detect();
        rig
    }

    pub fn run(&mut self, command: &CardCommand) -> Answer {
        match &mut self.line {
            Line::Serial(pair) => pair.run(command),
            Line::Pcsc(pair) => pair.run(command),
        }
    }

    pub fn field(&mut self) -> &mut Field {
        match &mut self.line {
            Line::Serial(pair) => pair.device.field(),
            Line::Pcsc(pair) => pair.device.field(),
        }
    }

    pub fn round_trips(&self) -> u64 {
        match &self.line {
            Line::Serial(pair) => pair.device.counters().round_trips,
            Line::Pcsc(pair) => pair.device.counters().round_trips,
        }
    }

    /// What the host has said since the last call: frames, or APDUs.
    pub fn said(&mut self) -> Vec<Vec<u8>> {
        match &mut self.line {
            Line::Serial(pair) => std::mem::take(&mut pair.sent),
            Line::Pcsc(pair) => {
                let said = pair.bytes().collect();
                pair.sent.clear();
                said
            }
        }
    }

    /// A line that loses the n-th transmission of the reader from now on, counted from zero, and the one after it: an ACK and
    /// its answer, so that the command is sent again. `None` without a line.
    pub fn lose(&mut self, nth: usize) -> Option<()> {
        let Line::Serial(pair) = &mut self.line else { return None };
        pair.restart_counts();
        pair.to_host = Box::new(move |at, sent| {
            vec![(std::time::Duration::ZERO, if at == nth || at == nth + 1 { Vec::new() } else { sent.bytes.clone() })]
        });
        Some(())
    }

    pub fn detect(&mut self) {
        let detected = self.run(&CardCommand::Detect);
        assert!(matches!(detected, Ok(CardReply::Detected(Detection::One(_)))), "{}: {detected:?}", self.name);
    }

    /// A new RF session.
    pub fn restart(&mut self) {
        assert_eq!(self.run(&CardCommand::ResetField), Ok(CardReply::Done));
        self.detect();
    }

    pub fn card(&mut self) -> &mut Type2Card {
        let uid = self.field().cards()[0].uid();
        match self.field().card_mut(uid) {
            Some(Card::Type2(card)) => card,
            other => panic!("{other:?}"),
        }
    }
}

/// One rig for each reader.
pub fn readers(card: &Card) -> Vec<Rig> {
    let serial = READERS.iter().map(|reader| (reader.dialect, Line::Serial(Box::new(Pair::new(reader)))));
    let pcsc = PROFILES.iter().map(|profile| (profile.name, Line::Pcsc(Box::new(CardPair::new(profile)))));
    serial.chain(pcsc).map(|(name, line)| Rig::new(name, line, card.clone())).collect()
}

/// Those that pass on to the card what it is told.
pub fn transparent_readers(card: &Card) -> Vec<Rig> {
    let can = ["pn532", "acr122u"];
    let rigs: Vec<_> = readers(card).into_iter().filter(|rig| can.contains(&rig.name)).collect();
    assert_eq!(rigs.len(), can.len());
    rigs
}

/// Those that do not.
pub fn opaque_readers(card: &Card) -> Vec<Rig> {
    readers(card).into_iter().filter(|rig| !matches!(rig.name, "pn532" | "acr122u")).collect()
}

pub fn blank(kind: Type2Kind) -> Card {
    Card::Type2(Type2Card::blank(kind, crate::support::uid7()))
}

pub fn page(number: u8) -> PageNumber {
    PageNumber::new(number)
}

pub fn read(first: u8) -> CardCommand {
    CardCommand::ReadPages(page(first))
}

pub fn fast_read(first: u8, last: u8) -> CardCommand {
    CardCommand::FastRead { first: page(first), last: page(last) }
}

pub fn write(kind: Type2Kind, number: u8, data: [u8; 4]) -> CardCommand {
    CardCommand::WritePage(DataPage::new(kind, page(number)).unwrap(), data)
}

pub fn configure(kind: Type2Kind, number: u8, data: [u8; 4]) -> CardCommand {
    CardCommand::WriteConfigPage(ConfigPage::new(kind, page(number)).unwrap(), Secret::new(data))
}

pub fn password(bytes: [u8; 4]) -> CardCommand {
    CardCommand::PasswordAuth(Password::new(bytes))
}
