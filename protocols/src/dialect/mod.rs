//! How reader families speak: host side for the daemon, device side for the virtual encoder.
//!
//! Readers on a line are bytes to and fro: a dialect is one file (or folder) here and one line in [`READERS`]. Readers
//! behind PC/SC are APDUs to and fro: one dialect, `pcsc_storage`, and a line of data for each reader.

pub mod crc_a;
pub mod pcsc_storage;
pub mod pn532;

use crate::apdu::Apdu;
use crate::card_sim::Field;
use crate::command::{CardCommand, CardReply, DialectError};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// What the pump hands to a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes that arrived, in any split.
    Bytes(&'a [u8]),
    /// Nothing arrived for as long as the last [`Output::Wait`] said.
    Timeout,
}

/// What a dialect asks of the pump.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes, then poll again. They may hold a key.
    Send(Vec<u8>),
    /// Set the line to this speed in bits a second, then poll again.
    SetBaud(u32),
    /// Let this much time pass, discard what arrived meanwhile, then poll again.
    Pause(Duration),
    /// Wait for bytes at most this long, hand them (or [`Input::Timeout`]) to `handle`, then poll again.
    Wait(Duration),
    /// The command is over.
    Done(Result<CardReply, DialectError>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Self::SetBaud(baud) => write!(f, "SetBaud({baud})"),
            Self::Pause(pause) => write!(f, "Pause({pause:?})"),
            Self::Wait(bound) => write!(f, "Wait({bound:?})"),
            Self::Done(result) => write!(f, "Done({result:?})"),
        }
    }
}

/// The host side of a dialect: one command at a time, from `begin` to [`Output::Done`].
///
/// Bounded by construction: whatever arrives, each command ends after a bounded number of outputs.
pub trait Dialect: Send {
    /// Starts a command; what was left of an earlier one is abandoned (and cancelled on the wire).
    fn begin(&mut self, command: &CardCommand);
    /// Takes what arrived.
    fn handle(&mut self, input: Input<'_>);
    /// Says what to do next. Call until it says [`Output::Wait`] or [`Output::Done`].
    fn poll(&mut self) -> Output;
}

/// The device side of a dialect: the reader as seen from its own end of the line.
pub trait Device: Send {
    /// Takes bytes from the host that arrived at `baud` bits a second. A speed other than the reader's own is noise to it.
    fn receive(&mut self, bytes: &[u8], baud: u32);
    /// What the reader sends next, and how long it takes to get there. `None`: it waits for the host.
    fn poll(&mut self) -> Option<Transmission>;
    /// Whether the answer that `poll` has given last is not said any more: its command was cancelled, or a card has come
    /// and ends the search. `is_unsent`: its time has not come yet. What is said in its place comes from `poll`. Asked
    /// after each `receive` and each change of the field.
    fn withdraws(&mut self, is_unsent: bool) -> bool;
    /// The cards on the reader.
    fn field(&mut self) -> &mut Field;
    /// Counts since power-up.
    fn counters(&self) -> Counters;
    /// Whether `poll` fills [`Transmission::takes`] from the model of line and RF time.
    fn set_pace(&mut self, pace: bool);
    /// Switches power off and on: power-up speed, asleep, no card selected. Counters stay.
    fn power_cycle(&mut self);
}

/// Bytes on their way from a reader to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Time the reader takes before they are on the line; zero without pace.
    pub takes: Duration,
    /// The reader's line speed in bits a second.
    pub baud: u32,
    /// What these bytes are, for fault injection.
    pub kind: TransmissionKind,
}

/// What a reader sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmissionKind {
    /// An acknowledgement of a command.
    Ack,
    /// The answer to a command.
    Answer,
}

/// What a reader has done since power-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands carried out, each with its answer.
    pub round_trips: u64,
    /// Searches for a card among them.
    pub detects: u64,
}

/// What an APDU dialect asks of the transport.
#[derive(Clone, PartialEq, Eq)]
pub enum CardOutput {
    /// Connect to the card, shared with other programs, and begin a transaction; nothing where both is so already.
    /// Answer: [`CardInput::Powered`] or [`CardInput::Failed`].
    Connect,
    /// Switch the connected card's power off and on. Answer: as for `Connect`.
    PowerCycle,
    /// Send a command APDU to the connected card; it may hold a key. Answer: [`CardInput::Response`] or
    /// [`CardInput::Failed`].
    Transmit(Apdu),
    /// Send bytes to the reader itself, with a card or without (CCID escape). Answer: as for `Transmit`.
    Escape(Vec<u8>),
    /// End the transaction and leave the card to others, powered. Answer: [`CardInput::Disconnected`].
    Disconnect,
    /// The command is over.
    Done(Result<CardReply, DialectError>),
}

impl fmt::Debug for CardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("Connect"),
            Self::PowerCycle => f.write_str("PowerCycle"),
            Self::Transmit(apdu) => write!(f, "Transmit({apdu:?})"),
            Self::Escape(bytes) => write!(f, "Escape({} bytes)", bytes.len()),
            Self::Disconnect => f.write_str("Disconnect"),
            Self::Done(result) => write!(f, "Done({result:?})"),
        }
    }
}

/// What the transport hands to an APDU dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardInput<'a> {
    /// The card is connected and has power; its ATR.
    Powered(&'a [u8]),
    /// The answer to an APDU or an escape, status word included. May be shorter than two bytes: readers do that.
    Response(&'a [u8]),
    /// The card is left to others.
    Disconnected,
    /// It did not work.
    Failed(CardFailure),
}

/// Why the transport could not do what an APDU dialect asked for. A reader or a service that went away is not
/// among them: it ends the command without the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardFailure {
    /// No card lies there, or it left: the connection is gone.
    NoCard,
    /// A card lies there and does not answer to power.
    Mute,
    /// Another program has reset the card; the transport has reconnected, and nothing is authenticated.
    Reset,
    /// Another program has the reader or the card for itself, for longer than is waited for.
    InUse,
    /// The exchange failed; the card may be there or not.
    NotTransacted,
    /// The reader has not answered within its bound, and its driver still waits for it.
    Silent,
    /// The driver refuses escape commands, or does not know them.
    Refused,
}

/// The host side of an APDU dialect: one command at a time, from `begin` to [`CardOutput::Done`].
///
/// Bounded by construction: whatever comes back, each command ends after a bounded number of outputs.
pub trait CardDialect: Send {
    /// Starts a command; what was left of an earlier one is abandoned.
    fn begin(&mut self, command: &CardCommand);
    /// Takes what came back for the last output.
    fn handle(&mut self, input: CardInput<'_>);
    /// Says what to do next. Call once after `begin` and after each `handle`.
    fn poll(&mut self) -> CardOutput;
}

/// The device side of an APDU dialect: a PC/SC reader with the cards on it, as its driver sees it.
pub trait CardDevice: Send {
    /// Whether a card lies there, as the reader reports it.
    fn is_present(&self) -> bool;
    /// Switches the card's power on, after off if it was on. Returns the ATR; `None` when it does not answer.
    fn power_on(&mut self) -> Option<Vec<u8>>;
    /// Switches the card's power off.
    fn power_off(&mut self);
    /// Answers an APDU to the card.
    fn transmit(&mut self, apdu: &[u8]) -> CardAnswer;
    /// Answers bytes to the reader itself; `None` where it takes none.
    fn escape(&mut self, bytes: &[u8]) -> Option<CardAnswer>;
    /// The cards on the reader.
    fn field(&mut self) -> &mut Field;
    /// Counts since it was made: APDUs and escapes, and the `FF CA` among them.
    fn counters(&self) -> Counters;
    /// Whether [`CardAnswer::takes`] is filled from the model of line and RF time.
    fn set_pace(&mut self, pace: bool);
}

/// What a PC/SC reader answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardAnswer {
    /// The bytes, status word included; empty when the card left meanwhile.
    pub bytes: Vec<u8>,
    /// Time until the driver has them; zero without pace.
    pub takes: Duration,
}

/// A reader family on a line: a line in [`READERS`].
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// The dialect's name in configuration and on the command line.
    pub dialect: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// USB vendor and product ids that are this reader and nothing else, with the product text to match when the ids are shared.
    pub usb_ids: &'static [UsbId],
    /// Line speed after power-up, in bits a second.
    pub baud: u32,
    /// Makes the host side.
    pub host: fn() -> Box<dyn Dialect>,
    /// Makes the device side with an empty field.
    pub device: fn() -> Box<dyn Device>,
}

/// A USB identity that is known to be an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsbId {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// Text that the product string must contain; empty where the ids alone decide.
    pub product_text: &'static str,
}

/// All reader families.
pub const READERS: &[Reader] = &[pn532::READER];

/// The reader family with this name.
pub fn reader(dialect: &str) -> Option<&'static Reader> {
    READERS.iter().find(|reader| reader.dialect == dialect)
}
