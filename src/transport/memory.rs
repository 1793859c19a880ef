//! A simulated reader without a port, for tests: host dialect and device dialect face each other, in simulated time.
//!
//! A serial reader goes through the pump of all lines, one behind PC/SC through the loop of `pcsc::line`. What is left out
//! is what carries bytes: the kernel's tty, pcscd.

use super::pcsc::{self, Answer, Call, Calls};
use super::{ExchangeError, Gone, Line};
use encoder_protocols::card_sim::Field;
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageDevice, PcscStorageHost, Profile};
use encoder_protocols::dialect::{CardDevice, CardFailure, Counters, Device, Dialect, Reader};
use std::collections::VecDeque;
use std::time::Duration;
use zeroize::Zeroizing;

/// A simulated reader with its host side.
pub enum Memory {
    /// On a line.
    Line(MemoryLine, Box<dyn Dialect>),
    /// Behind PC/SC.
    Pcsc(Box<MemoryReader>, Box<PcscStorageHost>),
}

impl Memory {
    /// A reader on a line that has just got power.
    pub fn line(reader: &Reader) -> Self {
        let device = (reader.device)();
        Self::Line(
            MemoryLine { device, baud: reader.baud, incoming: VecDeque::new(), comes_back: false },
            (reader.host)(),
        )
    }

    /// A reader behind PC/SC.
    pub fn pcsc(profile: &'static Profile) -> Self {
        let reader = MemoryReader {
            device: PcscStorageDevice::new(profile),
            power: Power::Off,
            was_present: false,
            events: 0,
            acted_on: None,
            comes_back: false,
        };
        Self::Pcsc(Box::new(reader), Box::new(PcscStorageHost::new(profile, Learnt::default())))
    }

    /// Carries out one command.
    pub async fn exchange(&mut self, command: &CardCommand) -> Result<CardReply, ExchangeError> {
        match self {
            Self::Line(line, dialect) => super::exchange(line, dialect.as_mut(), command).await,
            Self::Pcsc(reader, dialect) => pcsc::exchange(reader.as_mut(), dialect.as_mut(), command).await,
        }
    }

    /// The cards on the reader.
    pub fn field(&mut self) -> &mut Field {
        match self {
            Self::Line(line, _) => line.device.field(),
            Self::Pcsc(reader, _) => reader.device.field(),
        }
    }

    /// What the reader counted.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Line(line, _) => line.device.counters(),
            Self::Pcsc(reader, _) => reader.device.counters(),
        }
    }

    /// Whether a card that was torn away lies there again when the reader is spoken to next.
    pub fn set_comes_back(&mut self, comes_back: bool) {
        match self {
            Self::Line(line, _) => line.comes_back = comes_back,
            Self::Pcsc(reader, _) => reader.comes_back = comes_back,
        }
    }

    /// Whether the reader itself says when a card comes and goes.
    pub fn hears_of_cards(&self) -> bool {
        matches!(self, Self::Pcsc(..))
    }

    /// Waits until a reader that hears of cards has something to tell.
    pub async fn changed(&mut self) {
        match self {
            Self::Pcsc(reader, _) => {
                let events = reader.sight();
                if reader.acted_on.is_some_and(|before| before == events) {
                    std::future::pending::<()>().await;
                }
            }
            Self::Line(..) => std::future::pending().await,
        }
    }

    /// Whether a card came since the last connect.
    pub fn lifted(&mut self) -> bool {
        match self {
            Self::Line(..) => false,
            Self::Pcsc(reader, _) => {
                let events = reader.sight();
                reader.was_present && reader.acted_on.is_some_and(|before| before != events)
            }
        }
    }

    /// What the dialect has learnt of a reader behind PC/SC.
    pub fn learnt(&self) -> Option<Learnt> {
        match self {
            Self::Line(..) => None,
            Self::Pcsc(_, dialect) => Some(dialect.learnt()),
        }
    }
}

/// A line whose other end is a device in memory. Bytes take no time.
pub struct MemoryLine {
    device: Box<dyn Device>,
    baud: u32,
    incoming: VecDeque<u8>,
    comes_back: bool,
}

impl MemoryLine {
    fn collect(&mut self) {
        while let Some(sent) = self.device.poll() {
            // At another speed a receiver samples other bits of the wave.
            let garble = |byte: u8| if sent.baud == self.baud { byte } else { !byte.rotate_left(3) };
            self.incoming.extend(sent.bytes.into_iter().map(garble));
        }
    }
}

impl Line for MemoryLine {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.comes_back {
            self.device.field().put_back();
        }
        self.device.receive(bytes, self.baud);
        Ok(())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Gone> {
        self.collect();
        if self.incoming.is_empty() {
            return std::future::pending().await;
        }
        let count = buffer.len().min(self.incoming.len());
        for (place, byte) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), Gone> {
        self.baud = baud;
        Ok(())
    }

    fn discard_input(&mut self) -> Result<(), Gone> {
        self.collect();
        self.incoming.clear();
        Ok(())
    }
}

/// What a connection to a card has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Power {
    /// No connection.
    Off,
    /// Connected; its ATR.
    On(Vec<u8>),
    /// Connected to a card that has left since.
    Lost,
}

/// A PC/SC reader with its driver and the service in between.
pub struct MemoryReader {
    device: PcscStorageDevice,
    power: Power,
    was_present: bool,
    /// Cards that came and went, as the service counts them.
    events: u64,
    /// What the last connect acted on.
    acted_on: Option<u64>,
    comes_back: bool,
}

impl MemoryReader {
    /// Looks whether a card lies there, as the service does all the time.
    fn sight(&mut self) -> u64 {
        let is_present = self.device.is_present();
        if is_present != self.was_present {
            self.was_present = is_present;
            self.events += 1;
        }
        if !is_present && matches!(self.power, Power::On(_)) {
            self.power = Power::Lost;
        }
        self.events
    }

    fn power_on(&mut self) -> Answer {
        if let Some(atr) = self.device.power_on() {
            self.power = Power::On(atr.clone());
            return Answer::Powered(Some(atr));
        }
        self.power = Power::Off;
        let is_mute = self.device.is_present();
        Answer::Failed(if is_mute { CardFailure::Mute } else { CardFailure::NoCard })
    }
}

impl Calls for MemoryReader {
    async fn answer(&mut self, call: Call, _bound: Duration) -> Result<Answer, Gone> {
        self.sight();
        if self.comes_back {
            self.device.field().put_back();
        }
        let events = self.sight();
        if matches!(call, Call::Connect) {
            self.acted_on = Some(events);
        }
        let answer = match (call, &self.power) {
            (Call::Connect, Power::On(atr)) => Answer::Powered(Some(atr.clone())),
            (Call::Connect, Power::Off | Power::Lost) | (Call::PowerCycle, Power::On(_)) => self.power_on(),
            (Call::PowerCycle | Call::Transmit(_), Power::Off | Power::Lost) => {
                self.power = Power::Off;
                Answer::Failed(CardFailure::NoCard)
            }
            (Call::Transmit(apdu), Power::On(_)) => Answer::Response(Zeroizing::new(self.device.transmit(&apdu).bytes)),
            (Call::Escape(bytes), _) => match self.device.escape(&bytes) {
                Some(answer) => Answer::Response(Zeroizing::new(answer.bytes)),
                None => Answer::Failed(CardFailure::Refused),
            },
            (Call::Disconnect, _) => {
                self.power = Power::Off;
                Answer::Disconnected
            }
        };
        // A card that left during the call is missed before the next one.
        self.sight();
        Ok(answer)
    }

    fn atr_seen(&self) -> Vec<u8> {
        Vec::new()
    }
}
