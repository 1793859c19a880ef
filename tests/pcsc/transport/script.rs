//! A dialect that asks for what a test says, and keeps what came back.

use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::{CardDialect, CardFailure, CardInput, CardOutput};
use encoderd::transport::ExchangeError;
use encoderd::transport::pcsc::PcscLine;
use std::collections::VecDeque;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    Powered(Vec<u8>),
    Response(Vec<u8>),
    Disconnected,
    Failed(CardFailure),
}

struct Script {
    asks: VecDeque<CardOutput>,
    came: Vec<Came>,
}

impl CardDialect for Script {
    fn begin(&mut self, _command: &CardCommand) {}

    fn handle(&mut self, input: CardInput<'_>) {
        self.came.push(match input {
            CardInput::Powered(atr) => Came::Powered(atr.to_vec()),
            CardInput::Response(bytes) => Came::Response(bytes.to_vec()),
            CardInput::Disconnected => Came::Disconnected,
            CardInput::Failed(failure) => Came::Failed(failure),
        });
    }

    fn poll(&mut self) -> CardOutput {
        self.asks.pop_front().unwrap_or(CardOutput::Done(Ok(CardReply::Done)))
    }
}

/// Asks for these things in one command.
pub async fn run(line: &mut PcscLine, asks: &[CardOutput]) -> Result<Vec<Came>, ExchangeError> {
    let mut script = Script { asks: asks.iter().cloned().collect(), came: Vec::new() };
    line.exchange(&mut script, &CardCommand::Detect).await?;
    Ok(script.came)
}

/// Asks for one thing.
pub async fn one(line: &mut PcscLine, ask: CardOutput) -> Came {
    run(line, &[ask]).await.unwrap().remove(0)
}
