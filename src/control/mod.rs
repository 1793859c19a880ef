//! The control socket: one JSON request a line, one JSON answer a line. What `encoderd status`, `encoders`, `card` and
//! `probe` ask the running daemon through.

mod account;
pub mod card;

use card::{Bench, CardOutcome, CardWork};

pub use account::{AccountAnswer, AccountEncoder, LinkedWhere};
pub use card::{CardAnswer, CardCredential};

use crate::api::bridge::{EncoderState, Presence};
use crate::backup::nightly::BackupStatus;
use crate::bridge::Bridge;
use crate::device::DeviceHandle;
use crate::device::direct::Done;
use crate::device::order::Failure;
use crate::device::registry::Registry;
use crate::discovery::attached::Attached;
use crate::discovery::pcsc::Role;
use crate::fault::{Fault, FaultKind};
use crate::keys::KeyInUse;
use crate::link::{Linked, Links};
use crate::store::StoreError;
use crate::store::state::Waiting;
use crate::transport::pcsc::{Service, ServiceProblem};
use crate::upstream::Account;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Everything about the daemon and its encoders.
    Status,
    /// The same again and again, whenever something about an encoder has changed; until the caller hangs up.
    Watch,
    /// Links a device to an encoder of the cloud.
    Link {
        /// Device identity, name or encoder id.
        device: String,
        /// The encoder: its id, or its name in the account.
        encoder: String,
        /// Take it from another desk.
        #[serde(default)]
        take_over: bool,
    },
    /// The encoders of the account that the hub's API key opens.
    AccountEncoders,
    /// Ends a device's link.
    Unlink {
        /// Device identity, name or encoder id.
        device: String,
    },
    /// Names a device.
    Rename {
        /// Device identity, name or encoder id.
        device: String,
        /// The new name.
        name: String,
    },
    /// Lets a device show itself by lamp and buzzer.
    Wink {
        /// Device identity, name or encoder id.
        device: String,
    },
    /// Says what lies on a device.
    CardInfo {
        /// Device identity, name or encoder id; may be left out when there is one device.
        device: Option<String>,
    },
    /// Takes the credentials off a card of this property. It stays personalised.
    CardErase {
        /// Device identity, name or encoder id; may be left out when there is one device.
        device: Option<String>,
        /// The UID in hex of the card that is meant; another one that lies there is not touched.
        card_number: String,
    },
    /// Works with the card on a device. Progress is answered first, again and again; then what came of it.
    Card {
        /// Device identity, name or encoder id; may be left out when there is one device.
        device: Option<String>,
        /// What.
        #[serde(flatten)]
        work: CardWork,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(StatusAnswer),
    /// To [`Request::CardInfo`].
    Card(CardAnswer),
    /// To [`Request::CardErase`]: no credential is on the card any more.
    Erased {
        /// The one that was there, where the card had room for its id.
        acs_credential_id: Option<Uuid>,
        /// The end of its id, where it had not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
    },
    /// To [`Request::Card`].
    CardWork(CardOutcome),
    /// To [`Request::AccountEncoders`]; `None` without an API key.
    AccountEncoders(AccountAnswer),
    /// Done.
    Done,
    /// Not done.
    Error {
        /// Why, and what to do.
        message: String,
        /// The fault's kind, where it is one of an encoder or a card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<FaultKind>,
    },
}

/// The daemon as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The hub that it works for.
    pub hub_url: String,
    /// Whether the hub answers.
    pub hub_reachable: bool,
    /// Whether there is a card key.
    pub card_key: bool,
    /// Its encoders.
    pub encoders: Vec<EncoderAnswer>,
    /// PC/SC as the daemon sees it; `None` where it is not to be used.
    pub pcsc: Option<PcscAnswer>,
    /// Results that the hub has not acknowledged.
    #[serde(default)]
    pub outbox: Backlog,
    /// Jobs that were begun and have not ended.
    #[serde(default)]
    pub journal: Backlog,
    /// The nightly backups; `None` where there are to be none.
    #[serde(default)]
    pub backup: Option<BackupStatus>,
}

/// What waits, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// How many.
    pub count: u64,
    /// When the oldest came.
    pub oldest_at: Option<Timestamp>,
}

impl From<Waiting> for Backlog {
    fn from(waiting: Waiting) -> Self {
        let oldest_at = waiting.oldest_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self { count: waiting.count, oldest_at }
    }
}

/// PC/SC as the daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcscAnswer {
    /// Why it cannot be asked; `None` while it can, or while nothing is known yet.
    pub problem: Option<ServiceProblem>,
    /// Readers that are no encoders; they are left alone.
    pub not_encoders: Vec<NotEncoderAnswer>,
}

/// A reader that is no encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotEncoderAnswer {
    /// Its name in PC/SC.
    pub reader: String,
    /// What it is instead.
    pub why: String,
}

/// One encoder as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderAnswer {
    /// Its lasting identity.
    pub device_id: String,
    /// Its encoder in the cloud.
    pub acs_encoder_id: Option<Uuid>,
    /// Its name.
    pub display_name: String,
    /// Its port, or its reader's name in PC/SC.
    pub port: String,
    /// How it speaks.
    pub dialect: String,
    /// Who it says it is.
    pub model: Option<String>,
    /// Its firmware.
    pub firmware: Option<String>,
    /// A virtual encoder.
    pub simulated: bool,
    /// Whether it can be used.
    pub state: EncoderState,
    /// Whether a card lies on it.
    pub presence: Presence,
    /// The card's UID in hex.
    pub card_number: Option<String>,
    /// What is wrong.
    pub fault: Option<Fault>,
}

/// Why there is no control socket, or no answer from it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket cannot be made.
    #[error("cannot make the control socket {path}", path = path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No daemon listens there.
    #[error("no encoderd answers at {path}: start it with `encoderd run`, or name its configuration with --config", path = path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket may not be used.
    #[error("no permission for {path}: run this as root or as the user of encoderd", path = path.display())]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon hung up.
    #[error("encoderd has stopped")]
    Ended,
    /// The answer cannot be read.
    #[error("the daemon's answer cannot be read: {0}")]
    BadAnswer(String),
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// What the control socket works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) links: Arc<Links>,
    pub(crate) devices: Arc<Registry>,
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) hub_url: String,
    pub(crate) card_key: KeyInUse,
    pub(crate) account: Option<Account>,
    pub(crate) attached: Option<watch::Receiver<Attached>>,
    pub(crate) backup: Option<watch::Receiver<BackupStatus>>,
    /// Cancelled when the devices are to stop.
    pub(crate) stop: CancellationToken,
}

/// Serves the control socket until `stop`. The caller holds the state directory's lock, so an old socket is dead.
pub(crate) fn serve(path: &Path, context: Context, stop: CancellationToken) -> Result<JoinHandle<()>, ControlError> {
    let bind = |source| ControlError::Bind { path: path.to_path_buf(), source };
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(bind(error)),
    }
    let listener = UnixListener::bind(path).map_err(bind)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(bind)?;
    let path = path.to_path_buf();
    Ok(tokio::spawn(async move {
        let tracker = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (context, stop) = (context.clone(), stop.clone());
                    tracker.spawn(async move {
                        tokio::select! {
                            () = converse(stream, &context) => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tracker.close();
        tracker.wait().await;
        // It may be gone with its directory already.
        let _gone = std::fs::remove_file(&path);
    }))
}

async fn converse(stream: UnixStream, context: &Context) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = String::new();
        match (&mut lines).take(REQUEST_BYTES_MAX).read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = match serde_json::from_str(&line) {
            Ok(Request::Watch) => return watch(&mut lines, &mut write, context).await,
            Ok(Request::Card { device, work }) => card_work(&mut write, context, device.as_deref(), work).await,
            Ok(request) => answer(request, context).await,
            Err(error) => Refusal::from(format!("not a request: {error}")).into(),
        };
        if tell(&mut write, &answer).await.is_err() {
            return;
        }
    }
}

/// How often who watches is told of what nobody rings for: whether the hub answers.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Changes that come this close together are told together.
const TOGETHER: Duration = Duration::from_millis(20);

/// Tells how the daemon is, and again whenever that has changed.
async fn watch(lines: &mut BufReader<OwnedReadHalf>, write: &mut OwnedWriteHalf, context: &Context) {
    let mut changes = context.devices.changes();
    let mut attached = context.attached.clone();
    let mut told = None;
    let mut nothing = String::new();
    loop {
        changes.mark_unchanged();
        let status = status(context).await;
        if told.as_ref() != Some(&status) {
            if tell(write, &Answer::Status(status.clone())).await.is_err() {
                return;
            }
            told = Some(status);
        }
        let pcsc = async {
            match &mut attached {
                Some(attached) => attached.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = changes.changed() => {}
            _ = pcsc => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            // It says nothing more; when it hangs up there is nobody to tell.
            _ = lines.read_line(&mut nothing) => return,
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

/// Works with a card and tells how far that is. What was begun goes on when nobody listens any more.
async fn card_work(write: &mut OwnedWriteHalf, context: &Context, device: Option<&str>, work: CardWork) -> Answer {
    let (progress, mut done) = mpsc::channel(1);
    let mut listens = true;
    let answer = async {
        let outcome = bench(context, device)?.carry_out(work, progress).await?;
        Ok(Answer::CardWork(outcome))
    };
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer.unwrap_or_else(|refusal: Refusal| refusal.into()),
            Some(Done { done, of }) = done.recv(), if listens => {
                listens = tell(write, &Answer::CardWork(CardOutcome::Progress { done, of })).await.is_ok();
            }
        }
    }
}

fn bench(context: &Context, device: Option<&str>) -> Result<Bench, Refusal> {
    let device = find(context, device)?;
    Ok(Bench {
        name: name(context, &device),
        device,
        key: context.card_key.now(),
        ndef: context.bridge.config.borrow().card.ndef.clone().map(|address| address.0),
        journal: Some(context.bridge.state.clone()),
        stop: context.stop.clone(),
    })
}

async fn tell(write: &mut OwnedWriteHalf, answer: &Answer) -> std::io::Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Does what is asked for.
pub(crate) async fn answer(request: Request, context: &Context) -> Answer {
    let outcome = match request {
        Request::Status | Request::Watch => return Answer::Status(status(context).await),
        Request::Link { device, encoder, take_over } => {
            account::link(context, &device, &encoder, take_over).await.map_err(Refusal::from)
        }
        Request::AccountEncoders => {
            account::encoders(context).await.map(Answer::AccountEncoders).map_err(Refusal::from)
        }
        Request::Unlink { device } => unlink(context, &device).await,
        Request::Rename { device, name } => rename(context, &device, &name).await,
        Request::Wink { device } => wink(context, &device).await,
        Request::CardInfo { device } => card_info(context, device.as_deref()).await,
        Request::CardErase { device, card_number } => card_erase(context, device.as_deref(), &card_number).await,
        Request::Card { device, work } => match bench(context, device.as_deref()) {
            Ok(bench) => bench.carry_out(work, mpsc::channel(1).0).await.map(Answer::CardWork),
            Err(refusal) => Err(refusal),
        },
    };
    outcome.unwrap_or_else(Answer::from)
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why, and what to do.
    pub message: String,
    /// The fault's kind, where it is one of an encoder or a card.
    pub kind: Option<FaultKind>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, kind: None }
    }
}

impl From<Failure> for Refusal {
    fn from(Failure { fault, .. }: Failure) -> Self {
        Self { message: fault.message, kind: Some(fault.kind) }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { message: fault.message, kind: Some(fault.kind) }
    }
}

impl From<Refusal> for Answer {
    fn from(Refusal { message, kind }: Refusal) -> Self {
        Self::Error { message, kind }
    }
}

async fn status(context: &Context) -> StatusAnswer {
    let (outbox, journal) = context.bridge.state.waiting().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot count what waits");
        Default::default()
    });
    StatusAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        hub_url: context.hub_url.clone(),
        hub_reachable: context.bridge.hub.is_healthy().await,
        card_key: context.card_key.is_there(),
        encoders: context.devices.all().iter().map(|device| encoder(context, device)).collect(),
        pcsc: context.attached.as_ref().map(|attached| pcsc(&attached.borrow())),
        outbox: outbox.into(),
        journal: journal.into(),
        backup: context.backup.as_ref().map(|backup| backup.borrow().clone()),
    }
}

fn pcsc(attached: &Attached) -> PcscAnswer {
    let not_encoders = attached.readers.iter().filter_map(|seen| match &seen.role {
        Role::NotAnEncoder { why } => {
            Some(NotEncoderAnswer { reader: seen.reader_name.clone(), why: (*why).to_owned() })
        }
        Role::Encoder | Role::Ambiguous { .. } | Role::Unidentified => None,
    });
    PcscAnswer {
        problem: match &attached.service {
            Service::Gone { why } => Some(*why),
            Service::Starting | Service::Running => None,
        },
        not_encoders: not_encoders.collect(),
    }
}

fn encoder(context: &Context, device: &DeviceHandle) -> EncoderAnswer {
    let status = device.status();
    let (model, firmware) = status.reader.map(|reader| (reader.model, reader.firmware)).unzip();
    EncoderAnswer {
        device_id: device.id().to_owned(),
        acs_encoder_id: match context.links.encoder_of(device.id()) {
            Linked::To(id) => Some(id),
            Linked::ByHandNot | Linked::NotYet => None,
        },
        display_name: name(context, device),
        port: status.place,
        dialect: device.found().place.dialect().to_owned(),
        model,
        firmware,
        simulated: status.simulated,
        state: status.state,
        presence: status.presence,
        card_number: status.card.map(|uid| uid.to_string()),
        fault: status.fault,
    }
}

fn name(context: &Context, device: &DeviceHandle) -> String {
    context.links.name_of(device.id()).unwrap_or_else(|| device.found().display_name.clone())
}

/// Finds a device by identity, name or encoder id; without a word when there is just one.
fn find(context: &Context, word: Option<&str>) -> Result<DeviceHandle, String> {
    let devices = context.devices.all();
    let names = || devices.iter().map(|device| format!("\"{}\"", name(context, device))).collect::<Vec<_>>().join(", ");
    let mut matching = devices.iter().filter(|device| {
        word.is_none_or(|word| {
            device.id() == word
                || name(context, device) == word
                || matches!(context.links.encoder_of(device.id()), Linked::To(id) if id.to_string() == word)
        })
    });
    match (matching.next(), matching.next(), word) {
        (Some(device), None, _) => Ok(device.clone()),
        (None, _, None) => Err("there is no encoder: plug one in or configure its port".to_owned()),
        (None, _, Some(word)) => Err(format!("there is no encoder \"{word}\"; there are: {}", names())),
        (Some(_), Some(_), _) => Err(format!("there are several encoders, name one of: {}", names())),
    }
}

async fn unlink(context: &Context, device: &str) -> Result<Answer, Refusal> {
    let device = find(context, Some(device))?;
    stored(context, context.links.unlink(device.id()).await)
}

async fn rename(context: &Context, device: &str, name: &str) -> Result<Answer, Refusal> {
    let device = find(context, Some(device))?;
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 100 printable characters".to_owned().into());
    }
    stored(context, context.links.rename(device.id(), name).await)
}

fn stored(context: &Context, outcome: Result<(), StoreError>) -> Result<Answer, Refusal> {
    outcome.map_err(|error| error.to_string())?;
    context.bridge.sync_wanted.notify_one();
    Ok(Answer::Done)
}

async fn wink(context: &Context, device: &str) -> Result<Answer, Refusal> {
    let device = find(context, Some(device))?;
    device.wink().await?;
    Ok(Answer::Done)
}

async fn card_info(context: &Context, device: Option<&str>) -> Result<Answer, Refusal> {
    let bench = bench(context, device)?;
    let info = bench.device.inspect(context.card_key.now()).await?;
    Ok(Answer::Card(bench.card_answer(&info)))
}

async fn card_erase(context: &Context, device: Option<&str>, card_number: &str) -> Result<Answer, Refusal> {
    bench(context, device)?.erase(card_number).await
}

/// Asks a running daemon.
pub async fn ask(socket: &Path, request: &Request) -> Result<Answer, ControlError> {
    open(socket, request).await?.next().await
}

/// A running daemon that was asked something.
#[derive(Debug)]
pub struct Answers {
    lines: BufReader<OwnedReadHalf>,
    _write: OwnedWriteHalf,
}

impl Answers {
    /// Its next answer; [`Request::Watch`] has many.
    pub async fn next(&mut self) -> Result<Answer, ControlError> {
        let bad = |error: &dyn std::fmt::Display| ControlError::BadAnswer(error.to_string());
        let mut line = String::new();
        if self.lines.read_line(&mut line).await.map_err(|error| bad(&error))? == 0 {
            return Err(ControlError::Ended);
        }
        match serde_json::from_str(&line).map_err(|error| bad(&error))? {
            Answer::Error { message, .. } => Err(ControlError::Refused(message)),
            answer @ (Answer::Status(_)
            | Answer::Card(_)
            | Answer::Erased { .. }
            | Answer::CardWork(_)
            | Answer::AccountEncoders(_)
            | Answer::Done) => Ok(answer),
        }
    }
}

/// Asks a running daemon; its answers are to be fetched.
pub async fn open(socket: &Path, request: &Request) -> Result<Answers, ControlError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let path = socket.to_path_buf();
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            ControlError::PermissionDenied { path }
        } else {
            ControlError::NotRunning { path }
        }
    })?;
    let bad = |error: &dyn std::fmt::Display| ControlError::BadAnswer(error.to_string());
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_string(request).map_err(|error| bad(&error))?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.map_err(|error| bad(&error))?;
    Ok(Answers { lines: BufReader::new(read), _write: write })
}
