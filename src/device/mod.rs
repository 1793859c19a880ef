//! The task that owns one encoder: its port, its presence, its jobs. Nothing else writes to a card.
//!
//! | part | what it does |
//! | --- | --- |
//! | this file | opens the port again and again, looks for cards, takes orders one at a time |
//! | [`order`] | what can be asked, what comes back |
//! | [`check`] | one look at a port that no task holds |
//! | `place` | opens the reader where it is, waits for it to come back |
//! | `session` | commands to the reader, with their failures sorted |
//! | `family` | what a card is |
//! | `media` | a card that can carry a credential: how families are looked at and prepared |
//! | `work` | waits for a card, looks at it, plans |
//! | `erase` | takes the credentials off a card |
//! | [`direct`] | what people ask for at the command line: reading a card whole, preparing one |
//! | [`image`] | a raw image as the device takes it |
//! | [`raw`] | puts somebody else's image on a card |
//! | `run` | runs a plan's steps, alone with writing |
//! | [`registry`] | all devices of this desk |

pub mod check;
pub mod direct;
mod erase;
mod family;
pub mod image;
mod media;
pub mod order;
mod place;
pub mod raw;
pub mod registry;
mod ring;
mod run;
mod session;
#[cfg(test)]
mod tears;
mod work;

use crate::api::bridge::{EncoderState, Presence};
use crate::clock;
use crate::discovery::{Found, Place};
use crate::fault::{Fault, FaultKind};
use crate::keys::{CardKey, KeyInUse};
use crate::presence::Debouncer;
use crate::telemetry::metrics;
use encoder_protocols::command::{ReaderInfo, Signal};
use encoder_protocols::dialect::pcsc_storage::Learnt;
use encoder_protocols::id::{Detection, Target, Uid};
use family::Family;
use media::Media;
use order::{CardInfo, CardRead, EncodeEnd, EncodeOrder, EraseEnd, EraseOrder, Failure, ScanOrder};
use place::{Closed, Opened};
use registry::Registry;
use session::{Session, Trouble};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

/// How often an empty field is searched. A reader that searches by itself for longer goes on at once; one whose search is
/// over sooner sleeps for the rest. A card ends a search when it comes.
const SEARCH_EVERY: Duration = Duration::from_millis(200);

/// How often a card that rests is looked at. With the misses that it takes until it counts as taken away: 0.6 s.
const REST_LOOK_EVERY: Duration = Duration::from_millis(400);

/// When a card that was seen once is looked at again: it counts from its second sight.
const ARRIVING_LOOK_AFTER: Duration = Duration::from_millis(30);

/// When a card that was missed is looked at again: long enough for a hand that only moves it.
const MISSED_LOOK_AFTER: Duration = Duration::from_millis(100);

/// When the field is looked at again after trouble.
const LOOK_AFTER_TROUBLE: Duration = Duration::from_millis(150);

/// How often a missing port is looked for.
const PORT_LOOK_EVERY: Duration = Duration::from_millis(250);

/// The longest pause before a port that is there and cannot be used is tried again.
const REOPEN_MAX: Duration = Duration::from_secs(2);

/// When a reader that hears of cards is looked at again after a look that has failed.
const LOOK_AGAIN_AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// Orders that may wait for a device. The hub sends one at a time; the rest are people at the command line.
const ORDERS_MAX: usize = 4;

/// What a device is doing and what lies on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is: its port, or its reader's name in PC/SC, which changes with each plugging in.
    pub place: String,
    /// Whether it can be used.
    pub state: EncoderState,
    /// Who the reader says it is, once it has answered.
    pub reader: Option<ReaderInfo>,
    /// Whether a card lies on it.
    pub presence: Presence,
    /// The card that lies on it.
    pub card: Option<Uid>,
    /// What is wrong with it or with the card on it.
    pub fault: Option<Fault>,
    /// At the end of a pty.
    pub simulated: bool,
    /// The port was tried at least once, so that `state` means something.
    pub tried: bool,
}

enum Order {
    Encode(Box<EncodeOrder>, oneshot::Sender<Result<EncodeEnd, Failure>>),
    Scan(ScanOrder, oneshot::Sender<Result<CardRead, Failure>>),
    Inspect(Option<CardKey>, oneshot::Sender<Result<CardInfo, Failure>>),
    Erase(Box<EraseOrder>, oneshot::Sender<Result<EraseEnd, Failure>>),
    Direct(direct::Ask),
    Raw(Box<raw::RawOrder>, oneshot::Sender<Result<raw::RawEnd, raw::RawFailure>>),
    Wink(oneshot::Sender<Result<(), Failure>>),
}

/// An order, and in whose story what is logged of it belongs.
type Asked = (Order, Span);

/// A device as other tasks hold it.
#[derive(Clone, Debug)]
pub struct DeviceHandle {
    found: Arc<Found>,
    orders: mpsc::Sender<Asked>,
    status: watch::Receiver<Status>,
}

impl DeviceHandle {
    /// Its lasting identity.
    pub fn id(&self) -> &str {
        &self.found.device_id
    }

    /// As discovery found it.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Gives it another name in this handle and its later copies.
    fn rename(&mut self, display_name: &str) {
        self.found = Arc::new(Found { display_name: display_name.to_owned(), ..Found::clone(&self.found) });
    }

    /// Its status at this moment.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Writes a credential. Ends by itself at the order's deadline.
    pub async fn encode(&self, order: EncodeOrder) -> Result<EncodeEnd, Failure> {
        self.ask(|reply| Order::Encode(Box::new(order), reply)).await
    }

    /// Reads a card. Ends by itself at the order's deadline.
    pub async fn scan(&self, order: ScanOrder) -> Result<CardRead, Failure> {
        self.ask(|reply| Order::Scan(order, reply)).await
    }

    /// Says what lies on the reader, at once.
    pub async fn inspect(&self, key: Option<CardKey>) -> Result<CardInfo, Failure> {
        self.ask(|reply| Order::Inspect(key, reply)).await
    }

    /// Takes the credentials off the card that lies there. Ends by itself at the order's end.
    pub async fn erase(&self, order: EraseOrder) -> Result<EraseEnd, Failure> {
        self.ask(|reply| Order::Erase(Box::new(order), reply)).await
    }

    /// Lets the reader show itself. A reader without lamp and buzzer says so.
    pub async fn wink(&self) -> Result<(), Failure> {
        self.ask(Order::Wink).await
    }

    /// Waits until it can be used; `false` when its task ends first.
    pub async fn online(&self) -> bool {
        self.status.clone().wait_for(|status| status.state == EncoderState::Online).await.is_ok()
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Order) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send((order(reply), Span::current())) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(Failure::without_card(FaultKind::EncoderBusy)),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Failure::without_card(FaultKind::Stopping)),
        }
        answer.await.unwrap_or_else(|_| Err(Failure::without_card(FaultKind::Stopping)))
    }
}

/// Starts the task of a device and enters it into the registry.
pub fn spawn(
    found: Found,
    key: KeyInUse,
    registry: &Arc<Registry>,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let (orders, incoming) = mpsc::channel(ORDERS_MAX);
    let (status, watched) = watch::channel(Status {
        place: found.place.to_string(),
        state: EncoderState::Offline,
        reader: None,
        presence: Presence::Absent,
        card: None,
        fault: None,
        simulated: found.simulated,
        tried: false,
    });
    let place = found.place.clone();
    let found = Arc::new(found);
    registry.insert(DeviceHandle { found: found.clone(), orders, status: watched });
    let learnt = Learnt::default();
    let task = DeviceTask { found, place, learnt, key, registry: registry.clone(), orders: incoming, status, stop };
    tokio::spawn(task.run())
}

struct DeviceTask {
    found: Arc<Found>,
    /// Where it is at the moment.
    place: Place,
    /// What was learnt of a reader behind PC/SC.
    learnt: Learnt,
    key: KeyInUse,
    registry: Arc<Registry>,
    orders: mpsc::Receiver<Asked>,
    status: watch::Sender<Status>,
    stop: CancellationToken,
}

/// Why an open port was left.
enum Left {
    Stopped,
    PortGone,
    /// It is to be looked for anew.
    Moved,
    Silent(Fault),
}

impl DeviceTask {
    async fn run(mut self) {
        let mut pause = PORT_LOOK_EVERY;
        while !self.stop.is_cancelled() {
            match self.place.open(&self.found.device_id, self.learnt).await {
                Ok(opened) => match self.serve(opened).await {
                    Left::Stopped => return,
                    Left::Moved => continue,
                    Left::PortGone => {
                        let detail = format!("{} went away", self.place);
                        let fault = Fault::with_detail(FaultKind::EncoderOffline, detail);
                        self.set_unusable(EncoderState::Offline, fault);
                        pause = PORT_LOOK_EVERY;
                    }
                    Left::Silent(fault) => {
                        metrics::recovery("reopen");
                        self.set_unusable(EncoderState::Silent, fault);
                        pause = (pause * 2).min(REOPEN_MAX);
                    }
                },
                Err(Closed { state, fault, pause: before_next }) => {
                    self.set_unusable(state, fault);
                    pause = before_next;
                }
            }
            self.wait_for_port(pause).await;
        }
    }

    fn set(&self, change: impl FnOnce(&mut Status)) {
        let changed = self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
        if changed {
            self.registry.ring();
        }
    }

    fn set_unusable(&self, state: EncoderState, fault: Fault) {
        let before = self.status.borrow().state;
        if before != state || !self.status.borrow().tried {
            tracing::warn!(device_id = self.found.device_id, ?state, message = fault.message, "encoder not usable");
        }
        self.set(|status| {
            status.state = state;
            status.presence = Presence::Absent;
            status.card = None;
            status.fault = Some(fault);
            status.tried = true;
        });
    }

    /// Waits until the reader is worth another try; orders are answered meanwhile.
    async fn wait_for_port(&mut self, pause: Duration) {
        let Self { place, stop, orders, found, status, .. } = self;
        let mut worth_a_try = std::pin::pin!(place.worth_a_try(&found.device_id, pause));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some((order, _)) = orders.recv() => decline(status, order),
                () = &mut worth_a_try => return,
            }
        }
    }

    /// Uses an open reader until it is gone, falls silent or the daemon stops.
    async fn serve(&mut self, opened: Opened) -> Left {
        let mut session = Session::new(opened.link, self.stop.clone());
        let reader = match session.open().await {
            Ok(reader) => reader,
            Err(trouble) => return left(&trouble),
        };
        tracing::info!(
            device_id = self.found.device_id,
            model = reader.model,
            firmware = reader.firmware,
            "encoder ready"
        );
        self.set(|status| {
            status.place = self.place.to_string();
            status.state = EncoderState::Online;
            status.reader = Some(reader);
            status.fault = None;
            status.simulated = opened.simulated;
            status.tried = true;
        });
        let left = self.serve_open(&mut session).await;
        self.learnt = session.learnt().unwrap_or(self.learnt);
        if matches!(left, Left::Stopped | Left::Moved) {
            session.close().await;
        }
        left
    }

    async fn serve_open(&mut self, session: &mut Session) -> Left {
        let mut presence = if session.hears_of_cards() { Debouncer::certain() } else { Debouncer::default() };
        // The first look finds what lies there already.
        let mut next_look = Some(clock::now());
        loop {
            let searches = presence.presence() == Presence::Absent && !session.hears_of_cards();
            let Self { stop, place, orders, .. } = self;
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Left::Stopped,
                () = place.left() => return Left::Moved,
                order = orders.recv() => order.map_or(Event::Ended, |(order, span)| Event::Order(order, span)),
                event = idle(session, next_look, searches) => event,
            };
            let outcome = match event {
                Event::Ended => return Left::Stopped,
                Event::Order(order, span) => {
                    let outcome = self.carry_out(session, order, &mut presence).instrument(span).await;
                    next_look = Some(clock::now() + pause(&presence));
                    outcome
                }
                Event::Look => {
                    let outcome = self.look(session, &mut presence).await;
                    next_look = Some(clock::now() + pause(&presence));
                    outcome
                }
                Event::Searched { begun, seen } => {
                    let outcome = match seen {
                        Ok(detection) => self.seen(session, &mut presence, detection).await,
                        Err(trouble) => Err(trouble),
                    };
                    let since = if presence.presence() == Presence::Absent { begun } else { clock::now() };
                    next_look = Some(since + pause(&presence));
                    outcome
                }
            };
            next_look = match &outcome {
                Ok(()) if session.hears_of_cards() => None,
                Ok(()) => next_look,
                Err(trouble) => Some(self.after_trouble(session, *trouble)),
            };
            if let Err(trouble) = outcome
                && let Err(trouble) = session.recover(trouble).await
            {
                return left(&trouble);
            }
            session.rest().await;
        }
    }

    /// Shows what a look or a job has met and the reader's state does not tell, and says when to look again.
    fn after_trouble(&self, session: &Session, trouble: Trouble) -> Instant {
        let kind = match trouble {
            Trouble::CardMute => Some(FaultKind::MuteCard),
            Trouble::NoUid => Some(FaultKind::OtherTechnologyCard),
            Trouble::InUse => Some(FaultKind::ReaderInUse),
            Trouble::PortGone
            | Trouble::Silent
            | Trouble::WrongDialect
            | Trouble::Reader(_)
            | Trouble::CardLeft
            | Trouble::CardChanged
            | Trouble::Several
            | Trouble::KeyRefused
            | Trouble::CardRefused
            | Trouble::Cannot
            | Trouble::Stopped
            | Trouble::TimeUp => None,
        };
        if let Some(kind) = kind {
            self.set(|status| {
                // It lies there and cannot be named.
                status.presence = Presence::Present;
                status.card = None;
                status.fault = Some(kind.into());
            });
        }
        let pause = if session.hears_of_cards() { LOOK_AGAIN_AFTER_TROUBLE } else { LOOK_AFTER_TROUBLE };
        clock::now() + pause
    }

    /// Looks at the field once: exactly one round trip, and a few more when a card has just come.
    async fn look(&mut self, session: &mut Session, presence: &mut Debouncer) -> Result<(), Trouble> {
        let detection = session.detect().await?;
        self.seen(session, presence, detection).await
    }

    async fn seen(
        &mut self,
        session: &mut Session,
        presence: &mut Debouncer,
        detection: Detection,
    ) -> Result<(), Trouble> {
        let known = presence.target();
        presence.observe(detection);
        let target = presence.target();
        self.show(presence);
        match (known, target) {
            (_, Some(target)) if known.map(|known| known.uid) != Some(target.uid) => {
                let fault = self.judge(session, &target).await?;
                self.set(|status| status.fault = fault);
            }
            (_, None) => self.set(|status| status.fault = status.fault.take().filter(|fault| !is_of_card(fault.kind))),
            (None | Some(_), Some(_)) => {}
        }
        Ok(())
    }

    fn show(&self, presence: &Debouncer) {
        let several = presence.presence() == Presence::Several;
        let before = self.status.borrow().card;
        match (before, presence.target()) {
            (None, Some(_)) => metrics::card("placed"),
            (Some(_), None) => metrics::card("removed"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.set(|status| {
            status.presence = presence.presence();
            status.card = presence.target().map(|target| target.uid);
            let shows_several = status.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::SeveralCards);
            if several && !shows_several {
                status.fault = Some(FaultKind::SeveralCards.into());
            } else if !several && shows_several {
                status.fault = None;
            }
        });
    }

    /// Says what is wrong with a card that was just put down, if anything. Reads at the most.
    async fn judge(&self, session: &mut Session, target: &Target) -> Result<Option<Fault>, Trouble> {
        let judged = match (Family::of(session, target).await, self.key.now()) {
            (Ok(Family::Other(card)), _) => return Ok(Some(family::fault(card).into())),
            (Ok(Family::Carrier(carrier)), Some(key)) => {
                Media::new(carrier, &key, target).judge(session, &key, target).await
            }
            (Ok(Family::Carrier(_)), None) => return Ok(None),
            (Err(trouble), _) => Err(trouble),
        };
        match judged {
            // A card that was lifted again is the next look's business.
            Err(Trouble::CardLeft | Trouble::CardChanged | Trouble::Several) => Ok(None),
            Err(Trouble::Cannot) => Ok(Some(FaultKind::ReaderCannot.into())),
            judged => judged,
        }
    }

    async fn carry_out(
        &mut self,
        session: &mut Session,
        order: Order,
        presence: &mut Debouncer,
    ) -> Result<(), Trouble> {
        let see = |detection| {
            presence.observe(detection);
            self.show(presence);
        };
        // What a card is good for no longer, though this job has gone well.
        let mut worn = None;
        // A caller that has gone away does not undo what was done to a card: the answer is dropped.
        let (fault, trouble) = match order {
            Order::Encode(order, reply) => {
                let end = work::encode(session, &order, see).await;
                worn = end.as_ref().ok().and_then(|end| end.worn.clone());
                // Ends the journal's side of the conversation.
                drop(order);
                split(end, reply)
            }
            Order::Scan(order, reply) => split(work::scan(session, &order, see).await, reply),
            Order::Inspect(key, reply) => split(work::inspect(session, key.as_ref()).await, reply),
            Order::Erase(order, reply) => {
                let end = erase::run(session, &order).await;
                drop(order);
                split(end, reply)
            }
            Order::Direct(ask) => direct::run(session, ask).await,
            Order::Raw(order, reply) => raw::run(session, order, reply, see).await,
            Order::Wink(reply) => {
                let end = session.signal(Signal::Wink).await;
                // A caller that has gone away has seen it wink or not.
                let _caller_gone = reply.send(end.map_err(|_| Failure::without_card(FaultKind::CannotSignal)));
                return Ok(());
            }
        };
        let is_lost = matches!(trouble, Some(Trouble::PortGone | Trouble::Silent | Trouble::Stopped));
        if !is_lost {
            let signal = if fault.is_none() { Signal::Success } else { Signal::Failure };
            if let Err(trouble) = session.signal(signal).await {
                tracing::trace!(?trouble, "the reader showed nothing");
            }
        }
        if let Some(fault) = fault.or(worn).filter(|fault| stays_with_card(fault.kind)) {
            self.set(|status| status.fault = Some(fault));
        } else if self.status.borrow().presence == Presence::Present {
            self.set(|status| status.fault = None);
        }
        trouble.map_or(Ok(()), Err)
    }
}

/// What an open reader's task has to do next.
enum Event {
    /// Nobody can give orders any more.
    Ended,
    /// Carry this out.
    Order(Order, Span),
    /// Look at the field.
    Look,
    /// Take what a search has found.
    Searched { begun: Instant, seen: Result<Detection, Trouble> },
}

/// Waits for the next look, and searches if nothing lies there. Safe to drop at any moment: the reader's next command
/// cancels its search.
async fn idle(session: &mut Session, next_look: Option<Instant>, searches: bool) -> Event {
    session.next_look(next_look).await;
    if !searches {
        return Event::Look;
    }
    let begun = clock::now();
    Event::Searched { begun, seen: session.search().await }
}

/// How long until the next look at a reader that does not hear of cards.
fn pause(presence: &Debouncer) -> Duration {
    match (presence.presence(), presence.is_settled()) {
        (Presence::Absent, _) => SEARCH_EVERY,
        (Presence::Arriving, _) => ARRIVING_LOOK_AFTER,
        (Presence::Present | Presence::Several, true) => REST_LOOK_EVERY,
        (Presence::Present | Presence::Several, false) => MISSED_LOOK_AFTER,
    }
}

/// Answers an order; keeps what the device itself has to know.
fn split<T>(
    end: Result<T, (Failure, Option<Trouble>)>,
    reply: oneshot::Sender<Result<T, Failure>>,
) -> (Option<Fault>, Option<Trouble>) {
    match end {
        Ok(value) => {
            let _caller_gone = reply.send(Ok(value));
            (None, None)
        }
        Err((failure, trouble)) => {
            let fault = failure.fault.clone();
            let _caller_gone = reply.send(Err(failure));
            (Some(fault), trouble)
        }
    }
}

/// Answers an order while the device cannot be used.
fn decline(status: &watch::Sender<Status>, order: Order) {
    let fault = status.borrow().fault.clone();
    let failure = Failure::without_card(fault.unwrap_or_else(|| FaultKind::EncoderOffline.into()));
    // A caller that has gone away needs no answer.
    match order {
        Order::Encode(_, reply) => drop(reply.send(Err(failure))),
        Order::Scan(_, reply) => drop(reply.send(Err(failure))),
        Order::Inspect(_, reply) => drop(reply.send(Err(failure))),
        Order::Erase(_, reply) => drop(reply.send(Err(failure))),
        Order::Direct(ask) => ask.decline(failure),
        Order::Raw(_, reply) => drop(reply.send(Err(failure.into()))),
        Order::Wink(reply) => drop(reply.send(Err(failure))),
    }
}

/// Faults that end when the card is taken away.
fn is_of_card(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::MuteCard | FaultKind::ReaderInUse) || stays_with_card(kind)
}

/// Faults that are the card's and are shown for as long as it lies there.
fn stays_with_card(kind: FaultKind) -> bool {
    kind.error_type(crate::fault::Work::Encode) == crate::fault::ErrorType::IncompatibleCardFormat
}

fn left(trouble: &Trouble) -> Left {
    match trouble {
        Trouble::PortGone => Left::PortGone,
        Trouble::Stopped => Left::Stopped,
        Trouble::WrongDialect => Left::Silent(Fault::with_detail(
            FaultKind::EncoderSilent,
            "what answers there speaks another dialect: correct `dialect` in the configuration",
        )),
        Trouble::Silent
        | Trouble::TimeUp
        | Trouble::Reader(_)
        | Trouble::CardLeft
        | Trouble::CardChanged
        | Trouble::Several
        | Trouble::KeyRefused
        | Trouble::CardRefused
        | Trouble::CardMute
        | Trouble::NoUid
        | Trouble::Cannot
        | Trouble::InUse => Left::Silent(FaultKind::EncoderSilent.into()),
    }
}
