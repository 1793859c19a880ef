//! The serial ports that encoderd uses, and what answers at them where no daemon runs.

use super::Tty;
use crate::config::{Config, SerialAt, SerialDiscovery, SerialPort};
use crate::control::{EncoderAnswer, StatusAnswer};
use crate::device::check::{PortCheck, PortCheckError, check};
use crate::discovery::serial::{is_pty, same_node};
use encoder_protocols::dialect::{READERS, Reader};
use std::path::{Path, PathBuf};

/// A serial port that encoderd uses.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    /// Its path, as it was configured or found.
    pub(super) path: PathBuf,
    /// How the device on it speaks.
    pub(super) reader: Reader,
    /// Its line speed.
    pub(super) baud: u32,
    /// What USB says of it, if it is on USB and plugged in.
    pub(super) tty: Option<Tty>,
    /// The configuration names it; otherwise its product is known.
    pub(super) is_configured: bool,
}

/// What came of trying a port.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The port.
    pub(super) path: PathBuf,
    /// The dialect that was tried.
    pub(super) dialect: &'static str,
    /// What came of it.
    pub(super) outcome: Outcome,
    /// At the end of a pty.
    pub(super) simulated: bool,
}

/// What came of trying a port.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It was tried.
    Tried(Result<PortCheck, PortCheckError>),
    /// The running daemon has it and was asked.
    Held(Box<EncoderAnswer>),
}

/// The ports that encoderd uses: those that the configuration names, and known products.
pub(super) fn claimed(config: Option<&Config>, ttys: &[Tty], only: Option<&(PathBuf, Reader)>) -> Vec<Claimed> {
    let at = |path: &Path| ttys.iter().find(|tty| same_node(&tty.node, path)).cloned();
    if let Some((path, reader)) = only {
        let (path, tty) = (path.clone(), at(path));
        return vec![Claimed { path, reader: *reader, baud: reader.baud, tty, is_configured: true }];
    }
    let Some(config) = config.filter(|config| config.discovery.serial != SerialDiscovery::Off) else {
        return Vec::new();
    };
    let mut claimed: Vec<Claimed> = config
        .serial
        .iter()
        .map(|port| {
            let path = node(port, ttys);
            Claimed {
                reader: port.dialect,
                baud: port.baud.unwrap_or(port.dialect.baud),
                tty: at(&path),
                path,
                is_configured: true,
            }
        })
        .collect();
    if config.discovery.serial == SerialDiscovery::Known {
        let configured: Vec<PathBuf> = claimed.iter().map(|port| port.path.clone()).collect();
        let is_new = |tty: &Tty| !configured.iter().any(|path| same_node(path, &tty.node));
        for tty in ttys.iter().filter(|tty| is_new(tty)) {
            let Some(reader) = known(tty) else { continue };
            claimed.push(Claimed {
                path: tty.node.clone(),
                reader,
                baud: reader.baud,
                tty: Some(tty.clone()),
                is_configured: false,
            });
        }
    }
    claimed
}

/// The node that an entry of the configuration means; its key and value where nothing is plugged in for them.
fn node(port: &SerialPort, ttys: &[Tty]) -> PathBuf {
    let meant = match &port.at {
        SerialAt::Path(path) => return path.clone(),
        SerialAt::UsbSerial(serial) => ttys.iter().find(|tty| tty.serial.as_ref() == Some(serial)),
        SerialAt::UsbPort(socket) => ttys.iter().find(|tty| tty.port == *socket),
    };
    meant.map_or_else(|| PathBuf::from(port.at.to_string()), |tty| tty.node.clone())
}

/// The dialect of a product that is an encoder and nothing else.
fn known(tty: &Tty) -> Option<Reader> {
    let product = tty.product.as_deref().unwrap_or_default();
    let is = |reader: &Reader| {
        let mut ids = reader.usb_ids.iter();
        ids.any(|id| (id.vendor, id.product) == tty.ids && product.contains(id.product_text))
    };
    READERS.iter().find(|reader| is(reader)).copied()
}

/// Tries the ports, one after another; what the running daemon holds it is asked about.
pub(super) async fn all(
    claimed: &[Claimed],
    status: Option<&StatusAnswer>,
    only: Option<&(PathBuf, Reader)>,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for Claimed { path, reader, baud, .. } in claimed {
        let encoders = || status.iter().flat_map(|status| &status.encoders);
        let held = only.and_then(|_| encoders().find(|held| same_node(Path::new(&held.port), path)));
        let outcome = match held {
            Some(encoder) => Outcome::Held(Box::new(encoder.clone())),
            None => Outcome::Tried(check(path, reader, *baud).await),
        };
        trials.push(Trial { path: path.clone(), dialect: reader.dialect, outcome, simulated: is_pty(path) });
    }
    trials
}
