//! Moves bytes: a line to a reader, and the one pump that every dialect on a line shares; readers behind PC/SC have their own.

#[cfg(test)]
pub mod memory;
pub mod pcsc;
pub mod serial;

use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageHost};
use encoder_protocols::dialect::{Dialect, Input, Output};
use pcsc::PcscLine;
use serial::SerialLine;
use std::time::Duration;
use zeroize::Zeroizing;

/// A line to a reader.
#[expect(async_fn_in_trait, reason = "used inside this crate only, with concrete types")]
pub trait Line {
    /// Writes all of the bytes.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone>;
    /// Waits for bytes; returns how many were read, never zero.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Gone>;
    /// Sets the speed in bits a second.
    fn set_baud(&mut self, baud: u32) -> Result<(), Gone>;
    /// Throws away what has arrived and was not read.
    fn discard_input(&mut self) -> Result<(), Gone>;
}

/// The line is gone: unplugged or hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the port is gone")]
pub struct Gone;

/// Why a command brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The line is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The reader or the card says no, or says nothing.
    #[error(transparent)]
    Dialect(#[from] DialectError),
}

/// An open way to a reader, with the dialect that is spoken on it.
pub enum Link {
    /// A serial port.
    Serial(SerialLine, Box<dyn Dialect>),
    /// A reader behind PC/SC.
    Pcsc(PcscLine, Box<PcscStorageHost>),
    /// A simulated reader without a port.
    #[cfg(test)]
    Memory(memory::Memory),
}

impl Link {
    /// Carries out one command.
    pub async fn exchange(&mut self, command: &CardCommand) -> Result<CardReply, ExchangeError> {
        match self {
            Self::Serial(line, dialect) => exchange(line, dialect.as_mut(), command).await,
            Self::Pcsc(line, dialect) => line.exchange(dialect.as_mut(), command).await,
            #[cfg(test)]
            Self::Memory(memory) => memory.exchange(command).await,
        }
    }

    /// Whether the reader itself says when a card comes and goes.
    pub fn hears_of_cards(&self) -> bool {
        match self {
            Self::Serial(..) => false,
            Self::Pcsc(..) => true,
            #[cfg(test)]
            Self::Memory(memory) => memory.hears_of_cards(),
        }
    }

    /// Waits until a reader that hears of cards has something to tell; for ever with another one. Safe to cancel.
    pub async fn changed(&mut self) {
        match self {
            Self::Serial(..) => std::future::pending().await,
            Self::Pcsc(line, _) => line.changed().await,
            #[cfg(test)]
            Self::Memory(memory) => memory.changed().await,
        }
    }

    /// Whether a reader that hears of cards has told of one since the last look: another one, or the same that was lifted.
    pub fn lifted(&mut self) -> bool {
        match self {
            Self::Serial(..) => false,
            Self::Pcsc(line, _) => line.lifted(),
            #[cfg(test)]
            Self::Memory(memory) => memory.lifted(),
        }
    }

    /// What the dialect has learnt of a reader behind PC/SC.
    pub fn learnt(&self) -> Option<Learnt> {
        match self {
            Self::Serial(..) => None,
            Self::Pcsc(_, dialect) => Some(dialect.learnt()),
            #[cfg(test)]
            Self::Memory(memory) => memory.learnt(),
        }
    }
}

/// Carries out one command: asks the dialect what to do and does it, until it says that it is done.
pub async fn exchange<L: Line>(
    line: &mut L,
    dialect: &mut dyn Dialect,
    command: &CardCommand,
) -> Result<CardReply, ExchangeError> {
    // What goes over the line may hold a key, and what comes back a password's answer.
    let mut buffer = Zeroizing::new([0; 512]);
    dialect.begin(command);
    loop {
        match dialect.poll() {
            Output::Send(bytes) => line.write(&Zeroizing::new(bytes)).await?,
            Output::SetBaud(baud) => line.set_baud(baud)?,
            Output::Pause(pause) => {
                tokio::time::sleep(pause).await;
                line.discard_input()?;
            }
            Output::Wait(bound) => match tokio::time::timeout(bound, line.read(buffer.as_mut_slice())).await {
                Ok(read) => dialect.handle(Input::Bytes(buffer.get(..read?).unwrap_or_default())),
                Err(_elapsed) => dialect.handle(Input::Timeout),
            },
            Output::Done(result) => return Ok(result?),
        }
    }
}

/// How long a write may take before the port counts as gone: a frame has 280 bytes at the most, 0.3 s at 9600 baud.
const WRITE_BOUND: Duration = Duration::from_secs(2);
