//! The task that owns one encoder: its port, its presence, its jobs. Nothing else writes to a card.
//!
//! | part | what it does |
//! | --- | --- |
//! | this file | opens the port again and again, looks for cards, takes orders one at a time |
//! | [`order`] | what can be asked, what comes back |
//! | [`check`] | one look at a port that no task holds |
//! | `session` | commands to the reader, with their failures sorted |
//! | `work` | waits for a card, looks at it, plans |
//! | `run` | runs a plan's steps, alone with writing |
//! | [`registry`] | all devices of this desk |

pub mod check;
pub mod order;
pub mod registry;
mod run;
mod session;
mod work;

use crate::api::bridge::{EncoderState, Presence};
use crate::clock::{self, Deadline};
use crate::discovery::serial::{Found, is_pty};
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use crate::presence::Debouncer;
use crate::transport::serial::{OpenError, SerialLine};
use encoder_protocols::command::ReaderInfo;
use encoder_protocols::family::{CardKind, identify};
use encoder_protocols::id::{Target, Uid};
use order::{CardInfo, CardRead, EncodeEnd, EncodeOrder, Failure, ScanOrder};
use registry::Registry;
use session::{Session, Trouble};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How often the field is looked at. A placed card counts from its second sight, a removed one from its third miss:
/// below half a second each.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// How often a missing port is looked for.
const PORT_LOOK_EVERY: Duration = Duration::from_millis(250);

/// The longest pause before a port that is there and cannot be used is tried again.
const REOPEN_MAX: Duration = Duration::from_secs(2);

/// Orders that may wait for a device. The hub sends one at a time; the rest are people at the command line.
const ORDERS_MAX: usize = 4;

/// What a device is doing and what lies on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
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
}

/// A device as other tasks hold it.
#[derive(Clone, Debug)]
pub struct DeviceHandle {
    found: Arc<Found>,
    orders: mpsc::Sender<Order>,
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

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Order) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send(order(reply)) {
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
    key: Option<CardKey>,
    registry: &Arc<Registry>,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let (orders, incoming) = mpsc::channel(ORDERS_MAX);
    let (status, watched) = watch::channel(Status {
        state: EncoderState::Offline,
        reader: None,
        presence: Presence::Absent,
        card: None,
        fault: None,
        simulated: found.simulated,
        tried: false,
    });
    let found = Arc::new(found);
    registry.insert(DeviceHandle { found: found.clone(), orders, status: watched });
    let task = DeviceTask { found, key, registry: registry.clone(), orders: incoming, status, stop };
    tokio::spawn(task.run())
}

struct DeviceTask {
    found: Arc<Found>,
    key: Option<CardKey>,
    registry: Arc<Registry>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<Status>,
    stop: CancellationToken,
}

/// Why an open port was left.
enum Left {
    Stopped,
    PortGone,
    Silent(Fault),
}

impl DeviceTask {
    async fn run(mut self) {
        let mut pause = PORT_LOOK_EVERY;
        while !self.stop.is_cancelled() {
            match SerialLine::open(&self.found.path, self.found.baud).await {
                Ok(line) => match self.serve(line).await {
                    Left::Stopped => return,
                    Left::PortGone => {
                        let detail = format!("{} went away", self.found.path.display());
                        let fault = Fault::with_detail(FaultKind::EncoderOffline, detail);
                        self.set_unusable(EncoderState::Offline, fault);
                        pause = PORT_LOOK_EVERY;
                    }
                    Left::Silent(fault) => {
                        self.set_unusable(EncoderState::Silent, fault);
                        pause = (pause * 2).min(REOPEN_MAX);
                    }
                },
                Err(error) => {
                    let (state, kind) = match &error {
                        OpenError::NotFound(_) => (EncoderState::Offline, FaultKind::EncoderOffline),
                        OpenError::Busy { .. } => (EncoderState::Unavailable, FaultKind::PortBusy),
                        OpenError::PermissionDenied(_) | OpenError::NotASerialPort { .. } => {
                            (EncoderState::Unavailable, FaultKind::EncoderOffline)
                        }
                    };
                    self.set_unusable(state, Fault::with_detail(kind, error));
                    pause = if state == EncoderState::Offline { PORT_LOOK_EVERY } else { REOPEN_MAX };
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

    /// Lets time pass before the port is tried again; orders are answered meanwhile. A port that comes back is tried at
    /// once, one that stayed when the pause is over, a missing one is looked for as long as it takes.
    async fn wait_for_port(&mut self, pause: Duration) {
        let until = Deadline::after(pause);
        let mut was_there = self.found.path.exists();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                Some(order) = self.orders.recv() => self.decline(order),
                () = tokio::time::sleep(PORT_LOOK_EVERY) => {
                    let is_there = self.found.path.exists();
                    if is_there && (!was_there || until.has_passed()) {
                        return;
                    }
                    was_there = is_there;
                }
            }
        }
    }

    /// Answers an order while the device cannot be used.
    fn decline(&self, order: Order) {
        let fault = self.status.borrow().fault.clone();
        let failure = Failure::without_card(fault.unwrap_or_else(|| FaultKind::EncoderOffline.into()));
        // A caller that has gone away needs no answer.
        match order {
            Order::Encode(_, reply) => drop(reply.send(Err(failure))),
            Order::Scan(_, reply) => drop(reply.send(Err(failure))),
            Order::Inspect(_, reply) => drop(reply.send(Err(failure))),
        }
    }

    /// Uses an open port until it is gone, the reader falls silent or the daemon stops.
    async fn serve(&mut self, line: SerialLine) -> Left {
        let mut session = Session::new(line, (self.found.reader.host)(), self.stop.clone());
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
            status.state = EncoderState::Online;
            status.reader = Some(reader);
            status.fault = None;
            status.simulated = is_pty(&self.found.path);
            status.tried = true;
        });
        let left = self.serve_open(&mut session).await;
        if matches!(left, Left::Stopped) {
            session.close().await;
        }
        left
    }

    async fn serve_open(&mut self, session: &mut Session) -> Left {
        let mut presence = Debouncer::default();
        let mut next_look = clock::now();
        loop {
            let order = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Left::Stopped,
                order = self.orders.recv() => Some(order),
                () = tokio::time::sleep_until(next_look) => None,
            };
            let outcome = match order {
                Some(None) => return Left::Stopped,
                Some(Some(order)) => self.carry_out(session, order, &mut presence).await,
                None => self.look(session, &mut presence).await,
            };
            next_look = clock::now() + LOOK_EVERY;
            if let Err(trouble) = outcome
                && let Err(trouble) = session.recover(trouble).await
            {
                return left(&trouble);
            }
        }
    }

    /// Looks at the field once: exactly one round trip, and a few more when a card has just come.
    async fn look(&mut self, session: &mut Session, presence: &mut Debouncer) -> Result<(), Trouble> {
        let detection = session.detect().await?;
        let known = presence.target();
        presence.observe(detection);
        let target = presence.target();
        self.show(presence);
        match (known, target) {
            (_, Some(target)) if known.map(|known| known.uid) != Some(target.uid) => {
                let fault = self.judge(session, &target).await?;
                self.set(|status| status.fault = fault);
            }
            (Some(_), None) => self.set(|status| status.fault = None),
            (None | Some(_), _) => {}
        }
        Ok(())
    }

    fn show(&self, presence: &Debouncer) {
        let several = presence.presence() == Presence::Several;
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
        match identify(target) {
            CardKind::Classic(_) => {}
            CardKind::Iso14443Part4 | CardKind::Unknown => return Ok(Some(FaultKind::UnsupportedCard.into())),
        }
        let Some(key) = &self.key else { return Ok(None) };
        match work::opens(session, key, target).await {
            Ok(false) => Ok(Some(FaultKind::ForeignCard.into())),
            // A card that was lifted again is the next look's business.
            Ok(true) | Err(Trouble::CardLeft | Trouble::CardChanged | Trouble::Several) => Ok(None),
            Err(trouble) => Err(trouble),
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
        // A caller that has gone away does not undo what was done to a card: the answer is dropped.
        let (fault, trouble) = match order {
            Order::Encode(order, reply) => {
                let end = work::encode(session, &order, see).await;
                // Ends the journal's side of the conversation.
                drop(order);
                split(end, reply)
            }
            Order::Scan(order, reply) => split(work::scan(session, &order, see).await, reply),
            Order::Inspect(key, reply) => split(work::inspect(session, key.as_ref()).await, reply),
        };
        if let Some(fault) = fault.filter(|fault| stays_with_card(fault.kind)) {
            self.set(|status| status.fault = Some(fault));
        } else if self.status.borrow().presence == Presence::Present {
            self.set(|status| status.fault = None);
        }
        trouble.map_or(Ok(()), Err)
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
        | Trouble::InUse => Left::Silent(FaultKind::EncoderSilent.into()),
    }
}
