//! `encoderd emulate`: a virtual encoder on a pty.

use crate::emulator::{CardSpec, Emulator, Settings, describe};
use encoder_protocols::dialect::{READERS, Reader, reader};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The reader to play
    #[arg(value_name = "DIALECT", value_parser = parse_reader)]
    reader: &'static Reader,
    /// Make a symlink to the pty here
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// Lay this card on the encoder, such as classic-1k:deadbeef
    #[arg(long, value_name = "KIND[:UID]", value_parser = parse_card)]
    card: Option<CardSpec>,
    /// Make a control socket here; `help` on it lists its commands
    #[arg(long, value_name = "SOCK")]
    control: Option<PathBuf>,
    /// Take the time that a real line and a real card take
    #[arg(long)]
    pace: bool,
}

/// Plays the encoder until it is told to end. The first line on stdout is the pty's path, and another one follows
/// each time the encoder is plugged in again.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { reader, link, card, control, pace } = arguments;
    // Before the first line: whoever reads it may end us at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let emulator = Emulator::start(Settings { reader, link, control, card, pace })?;
    let mut paths = emulator.paths();
    let stop = CancellationToken::new();
    // A task of its own runs on the thread that hears of the pty's bytes; this one would have to be woken in addition.
    let mut running = tokio::spawn(emulator.run(stop.clone()));
    paths.mark_changed();
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended?.map(|()| ExitCode::SUCCESS)?),
            Ok(()) = paths.changed() => super::print(&paths.borrow_and_update().display().to_string())?,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
    }
}

fn parse_reader(dialect: &str) -> Result<&'static Reader, String> {
    let dialects = || READERS.iter().map(|reader| reader.dialect).collect::<Vec<_>>().join(", ");
    reader(dialect).ok_or_else(|| format!("there is no such reader; there are: {}", dialects()))
}

fn parse_card(card: &str) -> Result<CardSpec, String> {
    card.parse().map_err(|error| describe(&error))
}
