//! Orders: what the surroundings of a virtual encoder can do to it, whichever kind it is.

use super::cards::{CardSpec, CardsError};
use serde::Serialize;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait; clients of the control socket have one each at a time.
const ORDERS_MAX: usize = 16;

/// What the encoder's surroundings can do to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Lay a card on it.
    Place(CardSpec),
    /// Take all cards off.
    Remove,
    /// Take the cards away at the n-th write from now, before it or in the middle of it.
    Tear { nth: NonZeroU32, partial: bool },
    /// Show the memory of the card.
    Memory,
    /// Replace the memory of the card.
    Load(Vec<u8>),
    /// Count.
    Stats,
    /// Let something go wrong.
    Fault(Fault),
}

/// What can go wrong between a reader and its host. Not every kind of reader can have every fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Lose the next answer.
    DropNext,
    /// Flip a bit of the next answer.
    CorruptNext,
    /// Let every answer arrive later.
    Delay(Duration),
    /// Pull the plug for a while.
    Unplug(Duration),
    /// Let the reader ignore everything, or no longer.
    Silent(bool),
    /// On a line: lose the next acknowledgement.
    DropAck,
    /// On a line: so many bytes of garbage in front of each transmission from now on.
    Garbage(u8),
    /// On a line: bytes arrive one at a time, or not.
    Trickle(bool),
    /// Behind PC/SC: cards do not answer to power, or do.
    Mute(bool),
    /// Behind PC/SC: the next APDU gets an answer of no bytes.
    EmptyNext,
    /// Behind PC/SC: the n-th APDU from now gets this status word and is not carried out.
    StatusWord { sw: [u8; 2], nth: NonZeroU32 },
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// It is done, to these cards.
    Cards(Vec<String>),
    /// A card's memory.
    Memory(Vec<u8>),
    /// Counts since the emulator was started.
    Stats(Stats),
}

/// Counts since the emulator was started.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    /// Commands that the reader answered.
    pub(super) round_trips: u64,
    /// Bytes from the host: on a line all of them, behind PC/SC those of APDUs and escapes.
    pub(super) bytes_in: u64,
    /// Bytes to the host, likewise.
    pub(super) bytes_out: u64,
    /// Writes that reached a card.
    pub(super) writes: u64,
    /// Authentications that a card was asked for.
    pub(super) auths: u64,
    /// Searches for a card.
    pub(super) detects: u64,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The cards do not allow it.
    #[error(transparent)]
    Cards(#[from] CardsError),
    /// This kind of reader cannot have that fault: it has no line.
    #[error("this works on readers with a line only, such as `encoderd emulate pn532`; this one is behind PC/SC")]
    NeedsLine,
    /// This kind of reader cannot have that fault: it is on a line.
    #[error("this works on PC/SC readers only (`encoderd emulate pcsc`); this one is on a line")]
    NeedsPcsc,
    /// The emulator is over.
    #[error("the emulator has ended")]
    Ended,
}

/// An order on its way, and where its answer goes.
pub(super) struct Request {
    pub(super) order: Order,
    pub(super) answer: oneshot::Sender<Result<Answer, OrderError>>,
}

/// Gives orders to an engine.
#[derive(Clone)]
pub(super) struct Orders(mpsc::Sender<Request>);

impl Orders {
    /// A way to give orders, and its other end.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (orders, requests) = mpsc::channel(ORDERS_MAX);
        (Self(orders), requests)
    }

    /// Has an order carried out.
    pub(super) async fn send(&self, order: Order) -> Result<Answer, OrderError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { order, answer }).await.map_err(|_| OrderError::Ended)?;
        answered.await.map_err(|_| OrderError::Ended)?
    }
}
