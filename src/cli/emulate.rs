//! `encoderd emulate`: a virtual encoder, on a pty or behind PC/SC.

use super::say;
use crate::emulator::{CardSpec, Emulator, Kind, Settings, UsbPort, VpcdAddress, describe};
use encoder_protocols::dialect::pcsc_storage::{PROFILES, Profile, profile};
use encoder_protocols::dialect::{READERS, Reader, reader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The dialect of readers that have no line.
const PCSC: &str = "pcsc";

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The reader to play: one with a serial line, or `pcsc` for one behind PC/SC
    #[arg(value_name = "DIALECT", value_parser = parse_dialect)]
    dialect: Dialect,
    /// Lay this card on the encoder, such as classic-1k:deadbeef
    #[arg(long, value_name = "KIND[:UID]", value_parser = parse_card)]
    card: Option<CardSpec>,
    /// Make a control socket here; `help` on it lists its commands
    #[arg(long, value_name = "SOCK")]
    control: Option<PathBuf>,
    /// Take the time that a real line and a real card take
    #[arg(long)]
    pace: bool,
    /// Serial line: make a symlink to the pty here
    #[arg(long, value_name = "PATH", conflicts_with_all = ["vpcd", "bus", "profile"])]
    link: Option<PathBuf>,
    /// PC/SC: show the card to vsmartcard's vpcd, which listens here
    #[arg(long, value_name = "HOST:PORT", value_parser = VpcdAddress::from_str, conflicts_with = "bus")]
    vpcd: Option<VpcdAddress>,
    /// PC/SC: the kind of reader (default: acr122u)
    #[arg(long, value_name = "NAME", value_parser = parse_profile)]
    profile: Option<&'static Profile>,
    /// PC/SC, for encoderd's own tests: be a USB reader on this virtual bus, which only their driver knows
    #[arg(long, value_name = "DIR")]
    bus: Option<PathBuf>,
    /// On a virtual bus: the port that the reader is plugged into (default: 1-1.2)
    #[arg(long, value_name = "PORT", value_parser = UsbPort::from_str, requires = "bus", conflicts_with = "vpcd")]
    usb_port: Option<UsbPort>,
    /// On a virtual bus: the reader's serial number (default: it has none)
    #[arg(long, value_name = "TEXT", requires = "bus", conflicts_with = "vpcd")]
    serial: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Dialect {
    Serial(&'static Reader),
    Pcsc,
}

/// Plays the encoder until it is told to end. The first line on stdout says where a host finds it: the pty's path,
/// vpcd's `HOST:PORT`, or the socket on the virtual bus. Another one follows each time that it is found elsewhere, after
/// it was unplugged.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { dialect, card, control, pace, link, vpcd, profile: named, bus, usb_port, serial } = arguments;
    let profile = || named.or_else(|| profile("acr122u")).or(PROFILES.first());
    let kind = match (dialect, vpcd, bus) {
        (Dialect::Serial(reader), None, None) if named.is_none() => Kind::Serial { reader, link },
        (Dialect::Pcsc, Some(address), None) if let Some(profile) = profile() => Kind::Vpcd { profile, address },
        (Dialect::Pcsc, None, Some(directory)) if let Some(profile) = profile() => {
            Kind::Bus { profile, directory, port: usb_port.unwrap_or_default(), serial }
        }
        (Dialect::Serial(reader), _, _) => {
            return Ok(usage(&format!(
                "{} is on a serial line; --vpcd, --bus and --profile are for `encoderd emulate pcsc`",
                reader.dialect
            )));
        }
        (Dialect::Pcsc, _, _) => {
            return Ok(usage("a PC/SC reader needs somebody to show its card to: add --vpcd HOST:PORT"));
        }
    };
    // Before the first line: whoever reads it may end us at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let emulator = Emulator::start(Settings { kind, control, card, pace })?;
    let mut places = emulator.places();
    let stop = CancellationToken::new();
    // A task of its own runs on the thread that hears of the pty's bytes; this one would have to be woken in addition.
    let mut running = tokio::spawn(emulator.run(stop.clone()));
    places.mark_changed();
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended?.map(|()| ExitCode::SUCCESS)?),
            Ok(()) = places.changed() => super::print(&places.borrow_and_update().display().to_string())?,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    say(&format!("error: {problem}\n\nFor more information, try '--help'."));
    ExitCode::from(2)
}

fn parse_dialect(dialect: &str) -> Result<Dialect, String> {
    if dialect == PCSC {
        return Ok(Dialect::Pcsc);
    }
    let dialects = || READERS.iter().map(|reader| reader.dialect).chain([PCSC]).collect::<Vec<_>>().join(", ");
    let reader = reader(dialect).ok_or_else(|| format!("there is no such reader; there are: {}", dialects()))?;
    Ok(Dialect::Serial(reader))
}

fn parse_profile(name: &str) -> Result<&'static Profile, String> {
    let names = || PROFILES.iter().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
    profile(name).ok_or_else(|| format!("there is no such profile; there are: {}", names()))
}

fn parse_card(card: &str) -> Result<CardSpec, String> {
    card.parse().map_err(|error| describe(&error))
}
