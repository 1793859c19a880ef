//! What turns a device, its cards, its line and its pty into one encoder: a single task that owns them all.

use super::EmulatorError;
use super::cards::{self, CardSpec, CardsError, Wallet};
use super::line::{self, Line};
use super::port::{Chunk, Port};
use crate::clock;
use encoder_protocols::card_sim::Torn;
use encoder_protocols::dialect::{Device, Reader, Transmission};
use serde::Serialize;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Orders that may wait; clients of the control socket have one each at a time.
const ORDERS_MAX: usize = 16;

/// Transmissions delivered before other events get their turn.
const TRANSMISSIONS_AT_ONCE: usize = 16;

/// What the encoder's surroundings can do to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Lay a card on it.
    Place(CardSpec),
    /// Take all cards off.
    Remove,
    /// Take the cards away at the n-th write from now, before it or in the middle of it.
    Tear { nth: NonZeroU32, partial: bool },
    /// Lose the next answer.
    DropNext,
    /// Lose the next acknowledgement.
    DropAck,
    /// So many bytes of garbage in front of each transmission from now on.
    Garbage(u8),
    /// Bytes arrive one at a time, or not.
    Trickle(bool),
    /// Flip a bit of the next answer.
    CorruptNext,
    /// Let everything arrive later.
    Delay(Duration),
    /// Pull the plug for a while.
    Unplug(Duration),
    /// Let the chip ignore everything, or no longer.
    Silent(bool),
    /// Show the memory of the card.
    Memory,
    /// Replace the memory of the card.
    Load(Vec<u8>),
    /// Count.
    Stats,
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
    /// Commands that the reader carried out.
    round_trips: u64,
    /// Bytes from the host.
    bytes_in: u64,
    /// Bytes to the host.
    bytes_out: u64,
    /// Writes that reached a card.
    writes: u64,
    /// Authentications that a card was asked for.
    auths: u64,
    /// Searches for a card.
    detects: u64,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The cards do not allow it.
    #[error(transparent)]
    Cards(#[from] CardsError),
    /// The emulator is over.
    #[error("the emulator has ended")]
    Ended,
}

struct Request {
    order: Order,
    answer: oneshot::Sender<Result<Answer, CardsError>>,
}

/// Gives orders to an engine.
#[derive(Clone)]
pub(super) struct Orders(mpsc::Sender<Request>);

impl Orders {
    /// Has an order carried out.
    pub(super) async fn send(&self, order: Order) -> Result<Answer, OrderError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { order, answer }).await.map_err(|_| OrderError::Ended)?;
        Ok(answered.await.map_err(|_| OrderError::Ended)??)
    }
}

/// The encoder's cable.
enum Plug {
    In(Port),
    Out { until: Instant },
}

/// A virtual encoder.
pub(super) struct Engine {
    reader: &'static Reader,
    device: Box<dyn Device>,
    wallet: Wallet,
    line: Line,
    plug: Plug,
    link: Option<PathBuf>,
    /// The pty's path, for whoever follows it across an unplugging.
    path: watch::Sender<PathBuf>,
    is_silent: bool,
    bytes_in: u64,
    bytes_out: u64,
    requests: mpsc::Receiver<Request>,
    orders: Orders,
}

/// What woke the engine.
enum Event {
    Stop,
    Ordered(Request),
    Received(io::Result<Chunk>),
    Due,
}

impl Engine {
    /// Plugs the encoder in.
    pub(super) fn start(reader: &'static Reader, link: Option<PathBuf>, pace: bool) -> Result<Self, EmulatorError> {
        let port = Port::open(reader.baud, link.as_deref())?;
        let mut device = (reader.device)();
        device.set_pace(pace);
        let (orders, requests) = mpsc::channel(ORDERS_MAX);
        Ok(Self {
            reader,
            device,
            wallet: Wallet::default(),
            line: Line::new(clock::now()),
            path: watch::Sender::new(port.path().to_owned()),
            plug: Plug::In(port),
            link,
            is_silent: false,
            bytes_in: 0,
            bytes_out: 0,
            requests,
            orders: Orders(orders),
        })
    }

    /// Lays a card on the encoder.
    pub(super) fn place(&mut self, spec: CardSpec) -> Result<String, CardsError> {
        self.wallet.place(self.device.field(), spec)
    }

    /// Something that gives it orders.
    pub(super) fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// The pty's path, the latest one while the encoder is unplugged.
    pub(super) fn path(&self) -> watch::Receiver<PathBuf> {
        self.path.subscribe()
    }

    /// Plays the encoder until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), EmulatorError> {
        loop {
            let wake = if self.pump() { Some(clock::now()) } else { self.due() };
            let event = tokio::select! {
                () = stop.cancelled() => Event::Stop,
                Some(request) = self.requests.recv() => Event::Ordered(request),
                chunk = received(&self.plug) => Event::Received(chunk),
                () = reached(wake) => Event::Due,
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Ordered(Request { order, answer }) => {
                    let carried_out = self.carry_out(order);
                    // The client may have left.
                    let _unheard = answer.send(carried_out);
                }
                Event::Received(chunk) => self.receive(&chunk.map_err(EmulatorError::Pty)?),
                Event::Due => self.plug_in_if_due()?,
            }
        }
    }

    fn receive(&mut self, chunk: &Chunk) {
        self.bytes_in += count(&chunk.bytes);
        if !self.is_silent {
            self.line.reader_woke(clock::now());
            self.device.receive(&chunk.bytes, chunk.baud);
            self.pocket_torn_cards();
        }
    }

    /// Moves what the reader has to say; true when there may be more at once.
    fn pump(&mut self) -> bool {
        let now = clock::now();
        for _ in 0..TRANSMISSIONS_AT_ONCE {
            let is_idle = !self.is_silent && !self.line.is_sending();
            let transmission = is_idle.then(|| self.device.poll()).flatten();
            let has_spoken = transmission.is_some();
            if let Some(transmission) = transmission {
                self.line.send(transmission);
                self.pocket_torn_cards();
            }
            match self.line.arrived(now) {
                Some(transmission) => self.deliver(&transmission),
                None if has_spoken => {}
                None => return false,
            }
        }
        true
    }

    fn deliver(&mut self, transmission: &Transmission) {
        let Plug::In(port) = &self.plug else { return };
        self.bytes_out += count(&transmission.bytes);
        if port.host_baud().is_ok_and(|baud| baud == transmission.baud) {
            port.send(&transmission.bytes);
        } else {
            port.send(&line::noise(&transmission.bytes));
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.plug {
            Plug::In(_) => self.line.due(),
            Plug::Out { until } => Some(*until),
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<Answer, CardsError> {
        let now = clock::now();
        self.line.reader_woke(now);
        let field = self.device.field();
        match order {
            Order::Place(spec) => return Ok(Answer::Cards(vec![self.wallet.place(field, spec)?])),
            Order::Remove => return Ok(Answer::Cards(self.wallet.remove(field))),
            Order::Memory => return Ok(Answer::Memory(self.wallet.memory(field)?)),
            Order::Stats => return Ok(Answer::Stats(self.stats())),
            Order::Load(image) => cards::load(field, &image)?,
            // Half a block: 8 of its 16 bytes.
            Order::Tear { nth, partial } => field.tear(nth.get(), if partial { Torn::Prefix(8) } else { Torn::Before }),
            Order::DropNext => one_more(&mut self.line.faults.drop_answers),
            Order::DropAck => one_more(&mut self.line.faults.drop_acks),
            Order::CorruptNext => one_more(&mut self.line.faults.corrupt_answers),
            Order::Garbage(count) => self.line.garbage = usize::from(count),
            Order::Trickle(on) => self.line.trickle = on,
            Order::Delay(delay) => self.line.set_delay(delay, now),
            Order::Unplug(time) => self.unplug(now + time),
            Order::Silent(is_silent) => self.set_silent(is_silent, now),
        }
        Ok(Answer::Done)
    }

    fn stats(&mut self) -> Stats {
        let counters = self.device.counters();
        let field = self.device.field();
        Stats {
            round_trips: counters.round_trips,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            writes: field.writes(),
            auths: field.auths(),
            detects: counters.detects,
        }
    }

    /// A card that is torn away is off the encoder like one that was removed.
    fn pocket_torn_cards(&mut self) {
        let field = self.device.field();
        if field.cards().is_empty() {
            self.wallet.remove(field);
        }
    }

    fn set_silent(&mut self, is_silent: bool, now: Instant) {
        self.is_silent = is_silent;
        if is_silent {
            self.line.cut(now);
            // What it was about to say it has forgotten when it speaks again.
            let _unsaid = (0..TRANSMISSIONS_AT_ONCE).map_while(|_| self.device.poll()).count();
        }
    }

    /// Pulls the plug, or leaves it out for longer.
    fn unplug(&mut self, until: Instant) {
        let until = match &self.plug {
            Plug::In(_) => until,
            Plug::Out { until: before } => until.max(*before),
        };
        // The old pty and its link go with the value that is replaced.
        self.plug = Plug::Out { until };
        self.line.cut(clock::now());
    }

    fn plug_in_if_due(&mut self) -> Result<(), EmulatorError> {
        let Plug::Out { until } = self.plug else { return Ok(()) };
        if until > clock::now() {
            return Ok(());
        }
        self.device.power_cycle();
        let port = Port::open(self.reader.baud, self.link.as_deref())?;
        self.path.send_replace(port.path().to_owned());
        self.plug = Plug::In(port);
        Ok(())
    }
}

fn one_more(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

async fn received(plug: &Plug) -> io::Result<Chunk> {
    match plug {
        Plug::In(port) => port.read().await,
        Plug::Out { .. } => std::future::pending().await,
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
