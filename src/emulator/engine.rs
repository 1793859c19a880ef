//! The task that owns one encoder: its end of the line, with cards, orders and counts around it.

use super::EmulatorError;
use super::cards::{self, CardSpec, CardsError, Wallet};
use super::orders::{Answer, Fault, Order, OrderError, Orders, Request, Stats};
use crate::clock;
use encoder_protocols::card_sim::{Field, Torn};
use encoder_protocols::dialect::Counters;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Half a tick of the runtime's clock, which wakes once a millisecond and late: half a tick early is on time on average.
pub(super) const TICK_HALF: Duration = Duration::from_micros(500);

/// The reader's end of whatever leads to the host: what the kinds of encoders differ in.
pub(super) trait End: Send {
    /// The cards on the reader.
    fn field(&mut self) -> &mut Field;
    /// What the reader has done since the emulator was started.
    fn counts(&self) -> Counts;
    /// Lets something go wrong.
    fn suffer(&mut self, fault: Fault, now: Instant) -> Result<(), OrderError>;
    /// Takes notice of what an order has done to the cards.
    fn ordered(&mut self, now: Instant);
    /// Waits for the next thing to do, and does it. Safe to cancel.
    fn step(&mut self) -> impl Future<Output = Result<(), EmulatorError>> + Send;
}

/// Counts since the emulator was started, without those of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) reader: Counters,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// A virtual encoder.
pub(super) struct Engine<E> {
    end: E,
    wallet: Wallet,
    /// Whether cards lay there after the last order: when none do before the next one, they were torn away.
    has_cards: bool,
    requests: mpsc::Receiver<Request>,
}

impl<E: End> Engine<E> {
    /// An encoder with this end, and something that gives it orders.
    pub(super) fn new(end: E) -> (Self, Orders) {
        let (orders, requests) = Orders::channel();
        (Self { end, wallet: Wallet::default(), has_cards: false, requests }, orders)
    }

    /// Lays a card on the encoder before it is played.
    pub(super) fn place(&mut self, spec: CardSpec) -> Result<(), CardsError> {
        self.wallet.place(self.end.field(), spec)?;
        self.has_cards = true;
        Ok(())
    }

    /// Plays the encoder until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), EmulatorError> {
        self.end.ordered(clock::now());
        loop {
            let request = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(request) = self.requests.recv() => Some(request),
                done = self.end.step() => done.map(|()| None)?,
            };
            if let Some(Request { order, answer }) = request {
                let carried_out = self.carry_out(order);
                // The client may have left.
                let _unheard = answer.send(carried_out);
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<Answer, OrderError> {
        self.pocket_torn_cards();
        let field = self.end.field();
        let answer = match order {
            Order::Place(spec) => Answer::Cards(vec![self.wallet.place(field, spec)?]),
            Order::Remove => Answer::Cards(self.wallet.remove(field)),
            Order::Memory => Answer::Memory(self.wallet.memory(field)?),
            Order::Stats => Answer::Stats(self.stats()),
            Order::Load(image) => {
                cards::load(field, &image)?;
                Answer::Done
            }
            Order::Tear { nth, partial } => {
                // Half a block: 8 of its 16 bytes.
                field.tear(nth.get(), if partial { Torn::Prefix(8) } else { Torn::Before });
                Answer::Done
            }
            Order::Fault(fault) => {
                self.end.suffer(fault, clock::now())?;
                Answer::Done
            }
        };
        self.has_cards = !self.end.field().cards().is_empty();
        self.end.ordered(clock::now());
        Ok(answer)
    }

    fn stats(&mut self) -> Stats {
        let Counts { reader, bytes_in, bytes_out } = self.end.counts();
        let field = self.end.field();
        Stats {
            round_trips: reader.round_trips,
            bytes_in,
            bytes_out,
            writes: field.writes(),
            auths: field.auths(),
            detects: reader.detects,
        }
    }

    /// A card that was torn away is off the encoder like one that was removed.
    fn pocket_torn_cards(&mut self) {
        let field = self.end.field();
        if self.has_cards && field.cards().is_empty() {
            self.wallet.remove(field);
        }
    }
}

/// How many bytes these are, to count with.
pub(super) fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Waits for a moment; for none for ever.
pub(super) async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Counts one down; false at zero.
pub(super) fn spend(count: &mut u32) -> bool {
    let left = count.checked_sub(1);
    *count = left.unwrap_or(0);
    left.is_some()
}

/// Plans one more of a fault.
pub(super) fn one_more(count: &mut u32) {
    *count = count.saturating_add(1);
}

/// Flips a bit in the middle.
pub(super) fn corrupt(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}
