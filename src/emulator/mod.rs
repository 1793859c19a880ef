//! The virtual encoder: a reader's own end of the line on a pty, with cards to place and faults to inject.
//!
//! | file | what |
//! | --- | --- |
//! | `engine` | the task that owns device, cards, line and pty |
//! | `port`, `link` | the pty, and the symlink that gives it a lasting name |
//! | `line` | when bytes arrive, and which faults they meet |
//! | `cards` | kinds of cards, and those that lay there before |
//! | `socket`, `script` | the control socket and its commands |
//!
//! It is never found by discovery: a pty is used only where configuration names it.

mod cards;
mod engine;
mod line;
mod link;
mod port;
mod script;
mod socket;

pub use cards::{CardSpec, CardSpecError, CardsError, SimulatedKind};

use encoder_protocols::dialect::Reader;
use engine::Engine;
use socket::ControlSocket;
pub(crate) use socket::describe;
use std::io;
use std::path::PathBuf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a virtual encoder is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which reader it plays.
    pub reader: &'static Reader,
    /// Where to put a symlink to the pty.
    pub link: Option<PathBuf>,
    /// Where to put the control socket.
    pub control: Option<PathBuf>,
    /// The card that lies on it at first.
    pub card: Option<CardSpec>,
    /// Whether the time of line and card is modelled; without it everything takes none.
    pub pace: bool,
}

/// A virtual encoder that is plugged in. Pty, link and socket go when it is dropped or [`Emulator::run`] ends.
pub struct Emulator {
    engine: Engine,
    control: Option<ControlSocket>,
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
        let Settings { reader, link, control, card, pace } = settings;
        let control = control.map(|path| ControlSocket::bind(&path)).transpose()?;
        let mut engine = Engine::start(reader, link, pace)?;
        card.map(|spec| engine.place(spec)).transpose()?;
        Ok(Self { engine, control })
    }

    /// The pty's path, which a host opens.
    pub fn path(&self) -> PathBuf {
        self.engine.path().borrow().clone()
    }

    /// The pty's path as it changes when the encoder is unplugged and plugged in again.
    pub fn paths(&self) -> watch::Receiver<PathBuf> {
        self.engine.path()
    }

    /// Plays the encoder until `stop` is cancelled or a control client says `quit`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EmulatorError> {
        let Self { engine, control } = self;
        let quit = stop.child_token();
        // Also when this future is dropped: the clients are tasks of their own.
        let _clients_end = quit.clone().drop_guard();
        let orders = engine.orders();
        let play = async {
            let played = engine.run(quit.clone()).await;
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
