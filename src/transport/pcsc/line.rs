//! A line to one reader behind PC/SC.

use super::attributes::UsbAddress;
use super::error::ServiceProblem;
use super::monitor::{CardState, Service, Snapshot};
use super::worker::{Answer, Call, Request, serve};
use crate::clock::Deadline;
use crate::transport::{ExchangeError, Gone};
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::{CardDialect, CardFailure, CardInput, CardOutput};
use std::ffi::CString;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

/// Why there can be no line to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcscOpenError {
    /// The service does not answer.
    #[error(transparent)]
    Service(#[from] ServiceProblem),
    /// The service has no reader of this name.
    #[error("the reader is not there: plug it in")]
    NotFound,
    /// The system has no thread for it.
    #[error("the system is out of threads")]
    NoThread,
}

/// How long connecting may take, with waiting for a reader that another program has for itself (600 ms) and for the end
/// of its transaction.
const CONNECT_BOUND: Duration = Duration::from_secs(2);

/// How long the other calls may take. A card may ask for more time, but no command that is sent here takes a tenth of
/// this.
const CALL_BOUND: Duration = Duration::from_secs(2);

/// How long letting go of the card may take before it is left to the thread.
const DISCONNECT_BOUND: Duration = Duration::from_millis(500);

/// A line to one reader: exchanges commands with the card on it.
///
/// A call that hangs in pcscd is given up after its bound. Its thread undoes what it did when it returns, and until then
/// everything is answered at once as that call was. Dropping the line lets go of the card without waiting.
#[derive(Debug)]
pub struct PcscLine {
    reader: String,
    appearance: u64,
    snapshot: watch::Receiver<Snapshot>,
    requests: SyncSender<Request>,
    /// Calls sent to the thread, and calls that it is done with.
    sent: u64,
    completed: watch::Receiver<u64>,
    /// A call was given up after its bound, and the thread is not waited for: what calls meet meanwhile.
    stuck: Option<CardFailure>,
    /// The thread may hold a card.
    holds_card: bool,
    /// What the last connect acted on.
    acted_on: Option<Sight>,
}

/// What a line sees of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    There { card: CardState, events: u16 },
    Gone,
}

impl PcscLine {
    /// Opens a line to the reader with this full PC/SC name. Nothing is sent to it yet.
    ///
    /// With an address, a reader that has the name at another address is not taken for this one.
    ///
    /// # Errors
    /// The snapshot says that the service or the reader is not there.
    pub fn open(
        reader: &str,
        address: Option<UsbAddress>,
        snapshot: watch::Receiver<Snapshot>,
    ) -> Result<Self, PcscOpenError> {
        let appearance = {
            let seen = snapshot.borrow();
            match seen.service {
                Service::Gone { why } => return Err(why.into()),
                Service::Starting | Service::Running => {}
            }
            seen.reader(reader).ok_or(PcscOpenError::NotFound)?.appearance
        };
        let name = CString::new(reader).map_err(|_| PcscOpenError::NotFound)?;
        let (requests, receiver) = sync_channel(1);
        let (complete, completed) = watch::channel(0);
        // Not waited for: it ends when the line is dropped, or when pcscd lets it go.
        std::thread::Builder::new()
            .name("pcsc-line".into())
            .spawn(move || serve(name, address, &receiver, &complete))
            .map_err(|_| PcscOpenError::NoThread)?;
        Ok(Self {
            reader: reader.to_owned(),
            appearance,
            snapshot,
            requests,
            sent: 0,
            completed,
            stuck: None,
            holds_card: false,
            acted_on: None,
        })
    }

    /// Carries out one command: asks the dialect what to do and does it, until it says that it is done.
    ///
    /// May be dropped half-way: the thread then lets go of the card, and the next APDU is answered
    /// [`CardFailure::Reset`].
    ///
    /// # Errors
    /// `Gone`: the reader or the service went away, and this line is of no use any more. Else what the dialect says.
    pub async fn exchange(
        &mut self,
        dialect: &mut dyn CardDialect,
        command: &CardCommand,
    ) -> Result<CardReply, ExchangeError> {
        exchange(self, dialect, command).await
    }

    /// Waits until the reader shows something else than what the last connect of this line acted on: a card came or
    /// left, or the reader went away. Returns at once before the first connect. Cancel-safe.
    pub async fn changed(&mut self) {
        let Some(acted_on) = self.acted_on else { return };
        let (reader, appearance) = (&self.reader, self.appearance);
        // An error is the monitor's end, which is the reader's to this line.
        let _ended = self.snapshot.wait_for(|seen| sight(seen, reader, appearance) != acted_on).await;
    }

    /// Whether a card came since the last connect of this line: another one, or the same one that was lifted. By
    /// pcscd's count of events, so it is seen however quickly it was done.
    pub fn lifted(&mut self) -> bool {
        match (self.acted_on, self.sight()) {
            (Some(Sight::There { events: before, .. }), Sight::There { card, events }) => {
                events != before && card != CardState::Absent
            }
            (None, Sight::There { .. }) => false,
            (_, Sight::Gone) | (Some(Sight::Gone), _) => true,
        }
    }

    /// Gives the thread a call and waits for its answer, at most for the bound.
    async fn call(&mut self, call: Call, bound: Duration) -> Result<Answer, Gone> {
        let deadline = Deadline::after(bound);
        let failure = match &call {
            Call::Connect | Call::Escape(_) => Some(CardFailure::InUse),
            // Inside our own transaction nobody else holds it up: it is the reader that is slow.
            Call::PowerCycle | Call::Transmit(_) => Some(CardFailure::Silent),
            Call::Disconnect => None,
        };
        if let Some(stuck) = self.stuck_until(deadline).await? {
            return Ok(failure.map_or(Answer::Disconnected, |_| Answer::Failed(stuck)));
        }
        self.holds_card = !matches!(call, Call::Disconnect);
        let (answer, mut answered) = oneshot::channel();
        // There is room: the thread is done with all that was sent.
        self.requests.try_send(Request { call, answer }).map_err(|_| Gone)?;
        self.sent += 1;
        match tokio::time::timeout_at(deadline.instant(), &mut answered).await {
            Ok(answer) => answer.map_err(|_| Gone),
            Err(_elapsed) => {
                // From here on the thread finds the answer refused, and undoes the call; or it was just in time.
                answered.close();
                if let Ok(answer) = answered.try_recv() {
                    return Ok(answer);
                }
                tracing::warn!(reader = self.reader, "a call to the PC/SC service hangs: it is given up");
                self.stuck = Some(failure.unwrap_or(CardFailure::InUse));
                Ok(failure.map_or(Answer::Disconnected, Answer::Failed))
            }
        }
    }

    /// Waits until the thread is done with a call whose caller was dropped; what calls meet if it is not by then. Does not
    /// wait for one that hangs.
    async fn stuck_until(&mut self, deadline: Deadline) -> Result<Option<CardFailure>, Gone> {
        let sent = self.sent;
        if self.stuck.is_some() && *self.completed.borrow() != sent {
            return if self.completed.has_changed().is_err() { Err(Gone) } else { Ok(self.stuck) };
        }
        let done = self.completed.wait_for(|count| *count == sent);
        self.stuck = match tokio::time::timeout_at(deadline.instant(), done).await {
            Ok(Ok(_)) => None,
            Ok(Err(_ended)) => return Err(Gone),
            Err(_elapsed) => Some(CardFailure::InUse),
        };
        Ok(self.stuck)
    }

    fn sight(&self) -> Sight {
        // A monitor that has ended says nothing any more.
        if self.snapshot.has_changed().is_err() {
            return Sight::Gone;
        }
        sight(&self.snapshot.borrow(), &self.reader, self.appearance)
    }
}

/// What carries calls to a reader behind PC/SC.
pub(in crate::transport) trait Calls {
    /// Gives the reader a call and waits for its answer, at most for the bound.
    async fn answer(&mut self, call: Call, bound: Duration) -> Result<Answer, Gone>;
    /// The ATR as it was seen without asking, where the driver does not say it.
    fn atr_seen(&self) -> Vec<u8>;
}

/// Carries out one command: asks the dialect what to do and does it, until it says that it is done.
pub(in crate::transport) async fn exchange(
    line: &mut impl Calls,
    dialect: &mut dyn CardDialect,
    command: &CardCommand,
) -> Result<CardReply, ExchangeError> {
    dialect.begin(command);
    loop {
        let (call, bound) = match dialect.poll() {
            CardOutput::Connect => (Call::Connect, CONNECT_BOUND),
            CardOutput::PowerCycle => (Call::PowerCycle, CALL_BOUND),
            CardOutput::Transmit(apdu) => (Call::Transmit(apdu), CALL_BOUND),
            CardOutput::Escape(bytes) => (Call::Escape(Zeroizing::new(bytes)), CALL_BOUND),
            CardOutput::Disconnect => (Call::Disconnect, DISCONNECT_BOUND),
            CardOutput::Done(result) => return Ok(result?),
        };
        match line.answer(call, bound).await? {
            Answer::Powered(atr) => {
                let atr = atr.unwrap_or_else(|| line.atr_seen());
                dialect.handle(CardInput::Powered(&atr));
            }
            Answer::Response(bytes) => dialect.handle(CardInput::Response(&bytes)),
            Answer::Disconnected => dialect.handle(CardInput::Disconnected),
            Answer::Failed(failure) => dialect.handle(CardInput::Failed(failure)),
            Answer::Gone => return Err(Gone.into()),
        }
    }
}

impl Calls for PcscLine {
    /// Knows without asking what the snapshot says already.
    async fn answer(&mut self, call: Call, bound: Duration) -> Result<Answer, Gone> {
        let sight = self.sight();
        if sight == Sight::Gone {
            return Err(Gone);
        }
        if matches!(call, Call::Connect) {
            // Of before the connect: what happens during it counts as a change.
            self.acted_on = Some(sight);
            if matches!(sight, Sight::There { card: CardState::Absent, .. }) {
                if self.holds_card {
                    self.call(Call::Disconnect, DISCONNECT_BOUND).await?;
                }
                return Ok(Answer::Failed(CardFailure::NoCard));
            }
        }
        self.call(call, bound).await
    }

    fn atr_seen(&self) -> Vec<u8> {
        self.snapshot.borrow().reader(&self.reader).map(|reader| reader.atr.clone()).unwrap_or_default()
    }
}

fn sight(snapshot: &Snapshot, reader: &str, appearance: u64) -> Sight {
    match snapshot.reader(reader) {
        Some(reader) if reader.appearance == appearance => Sight::There { card: reader.card, events: reader.events },
        Some(_) | None => Sight::Gone,
    }
}
