//! The control socket: one JSON request a line, one JSON answer a line. What `encoderd status`, `encoders`, `card` and
//! `probe` ask the running daemon through.

mod account;

pub use account::{AccountAnswer, AccountEncoder, LinkedWhere};

use crate::api::bridge::{EncoderState, Presence};
use crate::bridge::Bridge;
use crate::device::DeviceHandle;
use crate::device::order::CardFormat;
use crate::device::registry::Registry;
use crate::discovery::attached::Attached;
use crate::discovery::pcsc::Role;
use crate::fault::Fault;
use crate::keys::CardKey;
use crate::link::{Linked, Links};
use crate::store::StoreError;
use crate::transport::pcsc::Service;
use crate::upstream::Account;
use encoder_protocols::layout::record::Record;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
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
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(StatusAnswer),
    /// To [`Request::CardInfo`].
    Card(CardAnswer),
    /// To [`Request::AccountEncoders`]; `None` without an API key.
    AccountEncoders(AccountAnswer),
    /// Done.
    Done,
    /// Not done.
    Error {
        /// Why, and what to do.
        message: String,
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
}

/// PC/SC as the daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcscAnswer {
    /// Why it cannot be asked; `None` while it can, or while nothing is known yet.
    pub problem: Option<String>,
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

/// One card as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardAnswer {
    /// The encoder it lies on.
    pub encoder: String,
    /// It lies on a virtual encoder.
    pub simulated: bool,
    /// UID in hex.
    pub card_number: String,
    /// ATQA in hex; `None` where the reader does not tell it, as behind PC/SC.
    pub atqa: Option<String>,
    /// SAK in hex, likewise.
    pub sak: Option<String>,
    /// What it is.
    pub kind: String,
    /// What is on it.
    pub format: CardFormat,
    /// The valid credential on it.
    pub credential: Option<CardCredential>,
}

/// A credential on a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardCredential {
    /// Whose.
    pub acs_credential_id: Uuid,
    /// Start of validity.
    pub starts_at: Option<Timestamp>,
    /// End of validity; `None`: no end.
    pub ends_at: Option<Timestamp>,
    /// Moment of issue.
    pub issued_at: Option<Timestamp>,
    /// Door numbers.
    pub doors: Vec<u16>,
}

impl From<&Record> for CardCredential {
    fn from(record: &Record) -> Self {
        let time = |seconds: u32| Timestamp::from_second(i64::from(seconds)).ok();
        Self {
            acs_credential_id: Uuid::from_bytes(record.credential_id.0),
            starts_at: time(record.starts_at),
            ends_at: if record.ends_at == u32::MAX { None } else { time(record.ends_at) },
            issued_at: time(record.issued_at),
            doors: record.doors.clone(),
        }
    }
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
    pub(crate) card_key: Option<CardKey>,
    pub(crate) account: Option<Account>,
    pub(crate) attached: Option<watch::Receiver<Attached>>,
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
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
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
            Ok(request) => answer(request, context).await,
            Err(error) => Answer::Error { message: format!("not a request: {error}") },
        };
        let Ok(mut text) = serde_json::to_string(&answer) else { return };
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request, context: &Context) -> Answer {
    let outcome = match request {
        Request::Status => return Answer::Status(status(context).await),
        Request::Link { device, encoder, take_over } => account::link(context, &device, &encoder, take_over).await,
        Request::AccountEncoders => account::encoders(context).await.map(Answer::AccountEncoders),
        Request::Unlink { device } => unlink(context, &device).await,
        Request::Rename { device, name } => rename(context, &device, &name).await,
        Request::Wink { device } => wink(context, &device).await,
        Request::CardInfo { device } => card_info(context, device.as_deref()).await,
    };
    outcome.unwrap_or_else(|message| Answer::Error { message })
}

async fn status(context: &Context) -> StatusAnswer {
    StatusAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        hub_url: context.hub_url.clone(),
        hub_reachable: context.bridge.hub.is_healthy().await,
        card_key: context.card_key.is_some(),
        encoders: context.devices.all().iter().map(|device| encoder(context, device)).collect(),
        pcsc: context.attached.as_ref().map(|attached| pcsc(&attached.borrow())),
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
            Service::Gone { why } => Some(why.to_string()),
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

async fn unlink(context: &Context, device: &str) -> Result<Answer, String> {
    let device = find(context, Some(device))?;
    stored(context, context.links.unlink(device.id()).await)
}

async fn rename(context: &Context, device: &str, name: &str) -> Result<Answer, String> {
    let device = find(context, Some(device))?;
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 100 printable characters".to_owned());
    }
    stored(context, context.links.rename(device.id(), name).await)
}

fn stored(context: &Context, outcome: Result<(), StoreError>) -> Result<Answer, String> {
    outcome.map_err(|error| error.to_string())?;
    context.bridge.sync_wanted.notify_one();
    Ok(Answer::Done)
}

async fn wink(context: &Context, device: &str) -> Result<Answer, String> {
    let device = find(context, Some(device))?;
    device.wink().await.map_err(|failure| failure.fault.message)?;
    Ok(Answer::Done)
}

async fn card_info(context: &Context, device: Option<&str>) -> Result<Answer, String> {
    let device = find(context, device)?;
    let info = device.inspect(context.card_key.clone()).await.map_err(|failure| failure.fault.message)?;
    let told = info.target.atqa_sak();
    let (atqa, sak) = told.map(|([high, low], sak)| (format!("{high:02x}{low:02x}"), format!("{sak:02x}"))).unzip();
    Ok(Answer::Card(CardAnswer {
        encoder: name(context, &device),
        simulated: device.status().simulated,
        card_number: info.target.uid.to_string(),
        atqa,
        sak,
        kind: info.kind,
        format: info.format,
        credential: info.record.as_ref().map(CardCredential::from),
    }))
}

/// Asks a running daemon.
pub async fn ask(socket: &Path, request: &Request) -> Result<Answer, ControlError> {
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
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.map_err(|error| bad(&error))?;
    match serde_json::from_str(&line).map_err(|error| bad(&error))? {
        Answer::Error { message } => Err(ControlError::Refused(message)),
        answer @ (Answer::Status(_) | Answer::Card(_) | Answer::AccountEncoders(_) | Answer::Done) => Ok(answer),
    }
}
