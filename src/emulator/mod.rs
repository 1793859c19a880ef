//! Virtual encoders: a reader's own end of whatever leads to the host, with cards to place and faults to inject.
//!
//! | file | what |
//! | --- | --- |
//! | `engine`, `orders` | the task that owns an encoder, and what it can be told to do |
//! | `cards` | kinds of cards, and those that lay there before |
//! | `socket`, `script` | the control socket and its commands |
//! | `serial/` | a reader on a pty |
//! | `pcsc/` | a reader behind PC/SC |
//!
//! Cards, orders and the control socket are the same for all kinds; a kind is an [`End`](engine::End). None is ever
//! found by discovery as if it were real: a pty is used only where configuration names it, and virtual PC/SC readers
//! say that they are.

mod cards;
mod engine;
mod orders;
mod pcsc;
mod script;
mod serial;
mod socket;

pub use cards::{CardSpec, CardSpecError, CardsError, SimulatedKind};
pub use pcsc::{UsbPort, UsbPortError, VpcdAddress, VpcdAddressError};

use encoder_protocols::dialect::Reader;
use encoder_protocols::dialect::pcsc_storage::Profile;
use engine::{End, Engine};
use orders::Orders;
use pcsc::{BusEnd, VpcdEnd};
use serial::SerialEnd;
use socket::ControlSocket;
pub(crate) use socket::describe;
use std::io;
use std::path::PathBuf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a virtual encoder is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which reader it plays, and where.
    pub kind: Kind,
    /// Where to put the control socket.
    pub control: Option<PathBuf>,
    /// The card that lies on it at first.
    pub card: Option<CardSpec>,
    /// Whether the time of line and card is modelled; without it everything takes none.
    pub pace: bool,
}

/// The kinds of virtual encoders.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A reader on a pty.
    Serial {
        /// Which reader.
        reader: &'static Reader,
        /// Where to put a symlink to the pty.
        link: Option<PathBuf>,
    },
    /// A card behind vsmartcard's virtual reader.
    Vpcd {
        /// Which reader answers for the card.
        profile: &'static Profile,
        /// Where vpcd listens.
        address: VpcdAddress,
    },
    /// A USB reader on a virtual bus directory.
    Bus {
        /// Which reader.
        profile: &'static Profile,
        /// The virtual bus directory.
        directory: PathBuf,
        /// The port that it is plugged into.
        port: UsbPort,
        /// Its serial number; most readers have none.
        serial: Option<String>,
    },
}

/// A virtual encoder that is plugged in. Pty, links and sockets go when it is dropped or [`Emulator::run`] ends.
pub struct Emulator {
    engine: AnyEngine,
    orders: Orders,
    control: Option<ControlSocket>,
    place: watch::Receiver<PathBuf>,
}

enum AnyEngine {
    Serial(Engine<SerialEnd>),
    Vpcd(Engine<VpcdEnd>),
    Bus(Engine<BusEnd>),
}

/// Why there is no virtual encoder.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The system gives no pty, or took it away.
    #[error("cannot use a pty; is /dev/pts mounted, with ptys left?")]
    Pty(#[source] io::Error),
    /// The link cannot be made.
    #[error("cannot make the link {}", path.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else lies where the link is to go.
    #[error("{} is there already and is no link to a pty; choose another path for the link or move it away", path.display())]
    NotALink {
        /// Where.
        path: PathBuf,
    },
    /// The link is in use.
    #[error("{} leads to the pty of a program that runs; choose another path for the link or end that program", path.display())]
    LinkTaken {
        /// Where.
        path: PathBuf,
    },
    /// The virtual bus directory cannot be used.
    #[error("cannot use the virtual bus directory {}", path.display())]
    Bus {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another reader is in the port.
    #[error("another virtual reader is plugged into USB port {port}; choose another one")]
    UsbPortTaken {
        /// Which.
        port: String,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else lies where the control socket is to go.
    #[error("{} is there already and is no socket; choose another path for the control socket or move it away", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The control socket is in use.
    #[error("{} is the socket of a program that runs; choose another path for the control socket or end that program", path.display())]
    ControlTaken {
        /// Where.
        path: PathBuf,
    },
    /// The first card cannot be placed.
    #[error("cannot place the card")]
    Card(#[from] CardsError),
}

impl Emulator {
    /// Plugs a virtual encoder in. Nothing answers before [`Emulator::run`].
    ///
    /// Must be called on a tokio runtime.
    pub fn start(settings: Settings) -> Result<Self, EmulatorError> {
        let Settings { kind, control, card, pace } = settings;
        let control = control.map(|path| ControlSocket::bind(&path)).transpose()?;
        let (engine, orders, place) = match kind {
            Kind::Serial { reader, link } => {
                let end = SerialEnd::new(reader, link, pace)?;
                let path = end.path();
                let (engine, orders) = with_card(end, card)?;
                (AnyEngine::Serial(engine), orders, path)
            }
            Kind::Vpcd { profile, address } => {
                let (_, place) = watch::channel(PathBuf::from(address.to_string()));
                let (engine, orders) = with_card(VpcdEnd::new(profile, address, pace), card)?;
                (AnyEngine::Vpcd(engine), orders, place)
            }
            Kind::Bus { profile, directory, port, serial } => {
                let end = BusEnd::new(profile, (directory, port), serial, pace)?;
                let path = end.path();
                let (engine, orders) = with_card(end, card)?;
                (AnyEngine::Bus(engine), orders, path)
            }
        };
        Ok(Self { engine, orders, control, place })
    }

    /// Where a host finds it, as it changes when the encoder is unplugged and plugged in again: the pty's path, vpcd's
    /// `HOST:PORT`, or the path of the USB reader's socket.
    pub fn places(&self) -> watch::Receiver<PathBuf> {
        self.place.clone()
    }

    /// Plays the encoder until `stop` is cancelled or a control client says `quit`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EmulatorError> {
        let Self { engine, orders, control, place: _ } = self;
        let quit = stop.child_token();
        // Also when this future is dropped: the clients are tasks of their own.
        let _clients_end = quit.clone().drop_guard();
        let play = async {
            let played = match engine {
                AnyEngine::Serial(engine) => engine.run(quit.clone()).await,
                AnyEngine::Vpcd(engine) => engine.run(quit.clone()).await,
                AnyEngine::Bus(engine) => engine.run(quit.clone()).await,
            };
            quit.cancel();
            played
        };
        let serve = async {
            if let Some(control) = control {
                control.serve(orders, &quit).await;
            }
        };
        let (played, ()) = tokio::join!(play, serve);
        played
    }
}

fn with_card<E: End>(end: E, card: Option<CardSpec>) -> Result<(Engine<E>, Orders), EmulatorError> {
    let (mut engine, orders) = Engine::new(end);
    card.map(|spec| engine.place(spec)).transpose()?;
    Ok((engine, orders))
}
