//! Host and device of a dialect on an in-memory line with simulated time.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod pcsc;

use encoder_protocols::card_sim::{Card, ClassicCard};
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::{Device, Dialect, Input, Output, Reader, Transmission};
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, DataBlock, Key, KeyA, SectorKey, SectorNumber};
use encoder_protocols::id::Uid;
use std::collections::VecDeque;
use std::time::Duration;

/// More outputs than any command may take, garbage and single bytes included.
const OUTPUTS_MAX: usize = 20_000;

pub type Answer = Result<CardReply, DialectError>;

/// What the line does to one write of the host: what arrives at the device.
pub type ToDevice = Box<dyn FnMut(usize, &[u8]) -> Vec<u8>>;
/// What the line does to one transmission of the device: what arrives at the host, each part after its delay.
pub type ToHost = Box<dyn FnMut(usize, &Transmission) -> Vec<(Duration, Vec<u8>)>>;

pub struct Pair {
    pub host: Box<dyn Dialect>,
    pub device: Box<dyn Device>,
    pub now: Duration,
    /// Every write of the host.
    pub sent: Vec<Vec<u8>>,
    /// How many bytes one read gives, in turn.
    pub splits: Vec<usize>,
    pub to_device: ToDevice,
    pub to_host: ToHost,
    transmissions: usize,
    baud: u32,
    reads: usize,
    incoming: VecDeque<Arrival>,
}

struct Arrival {
    at: Duration,
    baud: u32,
    bytes: VecDeque<u8>,
}

impl Pair {
    pub fn new(reader: &Reader) -> Self {
        Self {
            host: (reader.host)(),
            device: (reader.device)(),
            now: Duration::ZERO,
            sent: Vec::new(),
            splits: vec![usize::MAX],
            to_device: Box::new(|_, bytes| bytes.to_vec()),
            to_host: Box::new(|_, sent| vec![(Duration::ZERO, sent.bytes.clone())]),
            transmissions: 0,
            baud: reader.baud,
            reads: 0,
            incoming: VecDeque::new(),
        }
    }

    /// A pair with one card on it, opened.
    pub fn with_card(reader: &Reader, card: ClassicCard) -> Self {
        let mut pair = Self::new(reader);
        pair.device.field().place(Card::Classic(card)).expect("the field is empty");
        assert!(matches!(pair.run(&CardCommand::Open), Ok(CardReply::Reader(_))));
        pair
    }

    /// Numbers writes and transmissions from zero again, for faults that count.
    pub fn restart_counts(&mut self) {
        self.sent.clear();
        self.transmissions = 0;
    }

    pub fn transmissions(&self) -> usize {
        self.transmissions
    }

    /// Ends all faults. What is late stays late.
    pub fn mend(&mut self) {
        self.to_device = Box::new(|_, bytes| bytes.to_vec());
        self.to_host = Box::new(|_, sent| vec![(Duration::ZERO, sent.bytes.clone())]);
    }

    /// Runs a command to its end.
    pub fn run(&mut self, command: &CardCommand) -> Answer {
        self.host.begin(command);
        self.run_on(OUTPUTS_MAX).expect("bounded outputs")
    }

    /// Runs what has begun for some outputs; `None` when it is not over by then.
    pub fn run_on(&mut self, outputs_max: usize) -> Option<Answer> {
        for _ in 0..outputs_max {
            match self.host.poll() {
                Output::Send(bytes) => {
                    let arrives = (self.to_device)(self.sent.len(), &bytes);
                    self.sent.push(bytes);
                    self.device.receive(&arrives, self.baud);
                    self.collect();
                }
                Output::SetBaud(baud) => self.baud = baud,
                Output::Pause(time) => {
                    self.now += time;
                    let now = self.now;
                    self.incoming.retain(|arrival| arrival.at > now);
                }
                Output::Wait(time) => self.wait(time),
                Output::Done(result) => return Some(result),
            }
        }
        None
    }

    fn wait(&mut self, time: Duration) {
        self.collect();
        let Some(chunk) = self.read(time) else {
            self.now += time;
            return self.host.handle(Input::Timeout);
        };
        self.host.handle(Input::Bytes(&chunk));
    }

    fn read(&mut self, time: Duration) -> Option<Vec<u8>> {
        let split = self.splits[self.reads % self.splits.len()].max(1);
        self.reads += 1;
        let deadline = self.now + time;
        let mut chunk = Vec::new();
        while let Some(arrival) = self.incoming.front_mut() {
            // What has arrived by now is read together; else the first that arrives in time.
            if arrival.at > if chunk.is_empty() { deadline } else { self.now } {
                break;
            }
            self.now = self.now.max(arrival.at);
            while chunk.len() < split
                && let Some(byte) = arrival.bytes.pop_front()
            {
                chunk.push(if arrival.baud == self.baud { byte } else { !byte.rotate_left(3) });
            }
            if !arrival.bytes.is_empty() {
                break;
            }
            self.incoming.pop_front();
        }
        (!chunk.is_empty()).then_some(chunk)
    }

    fn collect(&mut self) {
        while let Some(sent) = self.device.poll() {
            let parts = (self.to_host)(self.transmissions, &sent);
            self.transmissions += 1;
            let mut at = self.incoming.back().map_or(self.now, |last| last.at.max(self.now)) + sent.takes;
            for (delay, bytes) in parts {
                at += delay;
                if !bytes.is_empty() {
                    self.incoming.push_back(Arrival { at, baud: sent.baud, bytes: bytes.into() });
                }
            }
        }
    }

    /// Time that has passed since then.
    pub fn since(&self, then: Duration) -> Duration {
        self.now.saturating_sub(then)
    }

    /// The memory of the only card, wherever it is.
    pub fn dump(&mut self) -> Vec<u8> {
        self.device.field().classic().expect("one Classic card").dump()
    }
}

pub fn uid4() -> Uid {
    "deadbeef".parse().unwrap()
}

pub fn uid7() -> Uid {
    "04a1b2c3d4e5f6".parse().unwrap()
}

pub fn card() -> ClassicCard {
    ClassicCard::blank(ClassicSize::K1, uid4())
}

pub fn sector(number: u8) -> SectorNumber {
    SectorNumber::new(number).unwrap()
}

pub fn data_block(number: u8) -> DataBlock {
    DataBlock::new(BlockNumber::new(number)).unwrap()
}

pub fn authenticate(number: u8) -> CardCommand {
    CardCommand::Authenticate { sector: sector(number), key: Key::transport_a() }
}

pub fn authenticate_with(number: u8, key: [u8; 6]) -> CardCommand {
    CardCommand::Authenticate { sector: sector(number), key: Key::A(KeyA(SectorKey::new(key))) }
}

pub fn read(number: u8) -> CardCommand {
    CardCommand::Read(BlockNumber::new(number))
}

pub fn write(number: u8) -> CardCommand {
    CardCommand::Write(data_block(number), content(number))
}

/// Bytes that differ from block to block.
pub fn content(number: u8) -> [u8; 16] {
    core::array::from_fn(|index| number.wrapping_mul(17).wrapping_add(u8::try_from(index).unwrap()))
}
