//! The PN532 from its own end of the line: the virtual encoder.
//!
//! What it models: sleep and wake-up, line speed, ACK and answer, NACK, abort, listed targets, the resting card
//! that misses a request, endless and bounded searches, automatic RATS, and the time that all this takes. What it does not: peer
//! to peer, card emulation, `FeliCa`, type B, blocks of ISO/IEC 14443-4 that the host makes itself.

mod commands;
mod pace;

use super::BAUD;
use super::frame::{Decoder, Frame, Payload};
use crate::card_sim::Field;
use crate::dialect::{Counters, Device, Transmission, TransmissionKind};
use crate::id::Target;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use commands::Search;
use pace::Pace;

/// How many rising edges on the line wake the chip.
///
/// UNVERIFIED: five, from memory of UM0701-02; clients send at least ten (`55 55`, or ten zeros).
const WAKE_UP_EDGES: u32 = 5;

/// Whether the chip listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    /// Sleeps; so many edges are missing until it wakes.
    Asleep { edges_left: u32, then: Awake, by_serial_line: bool },
    /// Listens.
    Awake(Awake),
}

/// What an awake chip accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awake {
    /// After power-up: only SAMConfiguration and GetFirmwareVersion.
    ///
    /// Source: AN10609 as cited in libnfc `pn532_uart.c` for the first; nfcpy asks for the version before the SAM.
    LowVbat,
    /// Everything.
    Normal,
}

/// A PN532 with firmware 1.6.
#[derive(Debug)]
pub struct Pn532Device {
    decoder: Decoder,
    power: Power,
    baud: u32,
    /// The speed that the next ACK from the host switches to.
    baud_after_ack: Option<u32>,
    field: Field,
    registers: BTreeMap<u16, u8>,
    gpio: [u8; 2],
    /// `MxRtyPassiveActivation`; FF is for ever.
    passive_retries: u8,
    /// Cards of ISO/IEC 14443-4 get RATS when they are listed. Source: libnfc `pn53x.h`, `PARAM_AUTO_RATS`.
    automatic_rats: bool,
    /// Listed cards; the first is Tg 1.
    targets: Vec<Target>,
    /// A search that goes on until a card comes.
    search: Option<Search>,
    /// A search that ends by itself; its answer, nothing, waits for its time.
    bounded: Option<Search>,
    /// The host has cancelled what it had been given an answer for.
    is_cancelled: bool,
    sending: VecDeque<Sending>,
    last_answer: Option<Vec<u8>>,
    counters: Counters,
    pace: Pace,
}

#[derive(Debug)]
struct Sending {
    transmission: Transmission,
    /// A repeated answer is no further round trip.
    repeated: bool,
}

/// What carrying out a command leads to.
enum Outcome {
    /// Parameters of the answer.
    Answer(Vec<u8>),
    /// The command cannot be understood.
    SyntaxError,
    /// No answer until something happens.
    Busy,
}

impl Pn532Device {
    /// A chip that has just got power, with nothing on it.
    pub fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            power: Power::Asleep { edges_left: WAKE_UP_EDGES, then: Awake::LowVbat, by_serial_line: true },
            baud: BAUD,
            baud_after_ack: None,
            field: Field::new(),
            registers: commands::registers_after_power_up(),
            gpio: commands::GPIO_AFTER_POWER_UP,
            passive_retries: commands::PASSIVE_RETRIES_AFTER_POWER_UP,
            automatic_rats: true,
            targets: Vec::new(),
            search: None,
            bounded: None,
            is_cancelled: false,
            sending: VecDeque::new(),
            last_answer: None,
            counters: Counters::default(),
            pace: Pace::default(),
        }
    }

    /// The cards on the reader, to look at.
    pub(crate) fn cards(&self) -> &[crate::card_sim::Card] {
        self.field.cards()
    }

    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Ack => {
                self.cancel();
                if let Some(baud) = self.baud_after_ack.take() {
                    self.baud = baud;
                }
            }
            Frame::Nack => {
                if let Some(bytes) = self.last_answer.clone() {
                    self.send(bytes, TransmissionKind::Answer, true);
                }
            }
            Frame::ToChip(command) => self.command(command),
            // Only the chip sends these.
            Frame::FromChip(_) | Frame::Error => {}
        }
    }

    /// What follows the ACK that ends a change of speed, when it is said to have come at the new one.
    ///
    /// A pty only tells the speed at which the host's line is when its bytes are read; a host that switches right
    /// behind its ACK has switched by then.
    fn ack_at_the_new_speed<'a>(&self, bytes: &'a [u8], baud: u32) -> Option<&'a [u8]> {
        if self.baud_after_ack != Some(baud) {
            return None;
        }
        bytes.strip_prefix(Frame::Ack.encode().as_slice())
    }

    fn command(&mut self, command: &Payload) {
        self.cancel();
        self.baud_after_ack = None;
        let Power::Awake(awake) = self.power else { return };
        if awake == Awake::LowVbat && !commands::answered_in_low_vbat(command) {
            return;
        }
        self.send(Frame::Ack.encode(), TransmissionKind::Ack, false);
        match self.carry_out(command) {
            Outcome::Answer(parameters) => self.answer(command.code(), parameters),
            Outcome::SyntaxError => self.answer_frame(&Frame::Error),
            Outcome::Busy => {}
        }
    }

    fn answer(&mut self, command: u8, parameters: Vec<u8>) {
        let mut bytes = parameters;
        bytes.insert(0, command.wrapping_add(1));
        // An answer is never longer than its command or 64 bytes; what does not fit is no answer.
        let frame = Payload::new(bytes).map_or(Frame::Error, Frame::FromChip);
        self.answer_frame(&frame);
    }

    fn answer_frame(&mut self, frame: &Frame) {
        let bytes = frame.encode();
        self.last_answer = Some(bytes.clone());
        self.send(bytes, TransmissionKind::Answer, false);
    }

    fn send(&mut self, bytes: Vec<u8>, kind: TransmissionKind, repeated: bool) {
        let takes = self.pace.takes(kind, bytes.len(), self.baud);
        let transmission = Transmission { bytes, takes, baud: self.baud, kind };
        self.sending.push_back(Sending { transmission, repeated });
    }

    /// Stops what runs. What has not left yet never leaves.
    fn cancel(&mut self) {
        self.sending.clear();
        self.search = None;
        self.bounded = None;
        self.is_cancelled = true;
    }

    /// Counts the rising edges of these bytes; true when they woke the chip, and then what is left of them.
    fn wake<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Power::Asleep { edges_left, then, by_serial_line: true } = self.power else { return &[] };
        let mut edges_left = edges_left;
        for (index, byte) in bytes.iter().enumerate() {
            edges_left = edges_left.saturating_sub(rising_edges(*byte));
            if edges_left == 0 {
                self.power = Power::Awake(then);
                return bytes.get(index + 1..).unwrap_or_default();
            }
        }
        self.power = Power::Asleep { edges_left, then, by_serial_line: true };
        &[]
    }
}

/// Rising edges of a byte on the line: start bit 0, eight bits from the lowest, stop bit 1.
fn rising_edges(byte: u8) -> u32 {
    let line = u32::from(byte) << 1 | 1 << 9;
    (line & !(line << 1)).count_ones()
}

impl Default for Pn532Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Pn532Device {
    fn receive(&mut self, bytes: &[u8], baud: u32) {
        if let Some(rest) = self.ack_at_the_new_speed(bytes, baud) {
            self.take(&Frame::Ack);
            return self.receive(rest, baud);
        }
        if baud != self.baud {
            // At another speed the bits fall apart into something else, which no checksum fits.
            self.decoder.clear();
            return;
        }
        self.pace.received(bytes.len(), baud);
        let bytes = match self.power {
            Power::Awake(_) => bytes,
            Power::Asleep { .. } => self.wake(bytes),
        };
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame() {
            self.take(&frame);
        }
    }

    fn poll(&mut self) -> Option<Transmission> {
        if self.sending.is_empty() {
            self.search_on();
        }
        let Sending { transmission, repeated } = self.sending.pop_front()?;
        if transmission.kind == TransmissionKind::Answer && !repeated {
            self.counters.round_trips += 1;
        }
        Some(transmission)
    }

    fn withdraws(&mut self, is_unsent: bool) -> bool {
        let is_cancelled = core::mem::take(&mut self.is_cancelled);
        if !is_unsent {
            if self.sending.is_empty() {
                self.bounded = None;
            }
            return false;
        }
        let withdraws = is_cancelled || self.search_ends_early();
        if withdraws {
            self.counters.round_trips = self.counters.round_trips.saturating_sub(1);
        }
        withdraws
    }

    fn field(&mut self) -> &mut Field {
        &mut self.field
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn set_pace(&mut self, pace: bool) {
        self.pace = Pace::new(pace);
    }

    fn power_cycle(&mut self) {
        let mut field = core::mem::take(&mut self.field);
        field.power_off();
        let counters = self.counters;
        let pace = self.pace.is_on();
        *self = Self { field, counters, pace: Pace::new(pace), ..Self::new() };
    }
}

#[cfg(test)]
mod tests;
