//! Finds encoders: serial ports with an encoder behind them, and readers behind PC/SC.

pub mod attached;
pub mod hotplug;
pub mod pcsc;
pub mod serial;
pub mod spot;
pub mod sysfs;
pub mod usb;

use attached::Attached;
use spot::SerialSpot;
use std::fmt;
use tokio::sync::watch;

/// An encoder, attached or only known.
#[derive(Clone, Debug)]
pub struct Found {
    /// Stable across restarts, replugging and renumbering, as far as the device allows.
    pub device_id: String,
    /// Where it is.
    pub place: Place,
    /// The name to show.
    pub display_name: String,
    /// Not a real encoder: at the end of a pty, or behind a virtual PC/SC reader.
    pub simulated: bool,
}

/// Where an encoder is.
#[derive(Clone, Debug)]
pub enum Place {
    /// On a serial port, whichever node it has at the moment.
    Serial(SerialSpot),
    /// Behind PC/SC, under whichever reader name it has at the moment.
    Pcsc {
        /// Its latest name, to show.
        reader_name: String,
        /// What PC/SC has, by identity.
        attached: watch::Receiver<Attached>,
    },
}

impl Place {
    /// How it speaks, for people.
    pub fn dialect(&self) -> &'static str {
        match self {
            Self::Serial(spot) => spot.dialect(),
            Self::Pcsc { .. } => "pcsc",
        }
    }
}

impl fmt::Display for Place {
    /// The port's path or the reader's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(spot) => f.write_str(spot.shown()),
            Self::Pcsc { reader_name, .. } => f.write_str(reader_name),
        }
    }
}
