//! Moves bytes: a line to a reader, and the one pump that every dialect shares.

pub mod pcsc;
pub mod serial;

use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::{Dialect, Input, Output};
use std::time::Duration;

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

/// Carries out one command: asks the dialect what to do and does it, until it says that it is done.
pub async fn exchange<L: Line>(
    line: &mut L,
    dialect: &mut dyn Dialect,
    command: &CardCommand,
) -> Result<CardReply, ExchangeError> {
    let mut buffer = [0; 512];
    dialect.begin(command);
    loop {
        match dialect.poll() {
            Output::Send(bytes) => line.write(&bytes).await?,
            Output::SetBaud(baud) => line.set_baud(baud)?,
            Output::Pause(pause) => {
                tokio::time::sleep(pause).await;
                line.discard_input()?;
            }
            Output::Wait(bound) => match tokio::time::timeout(bound, line.read(&mut buffer)).await {
                Ok(read) => dialect.handle(Input::Bytes(buffer.get(..read?).unwrap_or_default())),
                Err(_elapsed) => dialect.handle(Input::Timeout),
            },
            Output::Done(result) => return Ok(result?),
        }
    }
}

/// How long a write may take before the port counts as gone: a frame has 280 bytes at the most, 0.3 s at 9600 baud.
const WRITE_BOUND: Duration = Duration::from_secs(2);
