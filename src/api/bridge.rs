//! The bridge protocol, `/bridge/v1/…`: what a desk's daemon and a hub say to each other.
//!
//! | path | request | answer |
//! | --- | --- | --- |
//! | `POST /bridge/v1/pair`, without a token | [`PairRequest`] | [`PairResponse`] |
//! | `POST /bridge/v1/encoders/sync` | [`SyncRequest`] | [`SyncResponse`] |
//! | `POST /bridge/v1/jobs/next` | [`NextRequest`] | [`NextResponse`], after at most 25 s |
//! | `POST /bridge/v1/jobs/start` | [`StartRequest`] | [`StartResponse`] |
//! | `POST /bridge/v1/jobs/progress` | [`ProgressRequest`] | `{"ok": true}` |
//! | `POST /bridge/v1/jobs/result` | [`ResultRequest`] | [`ResultResponse`] |
//! | `POST /bridge/v1/events` | [`EventsRequest`] | `{"ok": true}` |
//!
//! Every other request carries `Authorization: Bearer <bridge token>`. Errors have the shape of all hub errors.
//! A job is offered again, with the same `action_attempt_id`, until its result has been acknowledged.

pub mod raw;

use crate::api::admin::Secret;
use crate::fault::Fault;
use jiff::Timestamp;
use raw::{RawImage, RawReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest a `jobs/next` may be held open, in seconds.
pub const LONG_POLL_SECONDS_MAX: u64 = 300;

/// How long a daemon waits for a job of a hub elsewhere, in seconds: proxies in between close what is silent for longer.
pub const LONG_POLL_SECONDS: u64 = 25;

/// Redeems a pairing code. A code that is wrong, used or too old is refused with 403 and `pairing_code_refused`, and a
/// code dies of its fifth wrong try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairRequest {
    /// The code as it was read out: case, blanks and dashes do not matter.
    pub code: Secret,
    /// The daemon's own lasting id, if it is known; without it the token belongs to the daemon that first uses it.
    #[serde(default)]
    pub bridge_id: Option<Uuid>,
    /// What the desk calls itself, for a code that was made without a name.
    #[serde(default)]
    pub name: Option<String>,
}

/// What a desk needs to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairResponse {
    /// The bridge token: this is the only time that it is shown.
    pub token: Secret,
    /// The desk's name.
    pub name: String,
    /// Where it works.
    pub workspace_id: Uuid,
    /// The property's name.
    pub workspace_name: String,
}

/// Whether a device can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncoderState {
    /// Open and answering.
    Online,
    /// Its port is gone.
    Offline,
    /// Its port belongs to another program, or may not be opened.
    Unavailable,
    /// Its port is there, but it does not answer.
    Silent,
}

/// Whether a card lies on an encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// No card.
    #[default]
    Absent,
    /// A card was seen once and not yet again.
    Arriving,
    /// One card.
    Present,
    /// Two cards or more.
    Several,
}

/// One device as its daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncoderReport {
    /// The device's stable identity, such as `usb-1a86:7523-0001` or `path-/dev/ttyUSB0`.
    pub device_id: String,
    /// The link, once there is one. An id that the hub does not know is no link, unless `create` is set.
    pub acs_encoder_id: Option<Uuid>,
    /// Make the `acs_encoder` when the hub does not know it, or when there is no link yet.
    #[serde(default)]
    pub create: bool,
    /// The name to show.
    pub display_name: String,
    /// Reader chip or product, once it has answered.
    pub model: Option<String>,
    /// Its firmware, once it has answered.
    pub firmware: Option<String>,
    /// Where it is plugged in, such as `/dev/ttyUSB0`.
    pub port: Option<String>,
    /// A virtual encoder. Everything that comes from it says so.
    pub simulated: bool,
    /// Whether it can be used.
    pub state: EncoderState,
    /// Whether a card lies on it.
    pub presence: Presence,
    /// The UID of the card on it, in hex.
    pub card_number: Option<String>,
    /// What is wrong with the device or with the card on it.
    pub fault: Option<Fault>,
}

/// All encoders of one daemon. What is not in the list is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// The daemon's version.
    pub version: String,
    /// Its devices.
    pub encoders: Vec<EncoderReport>,
    /// An encoder that another daemon has, and that somebody at this desk asks for all the same.
    #[serde(default)]
    pub take_over: Option<Uuid>,
}

/// The links after a sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncResponse {
    /// One for each device that has an `acs_encoder_id`.
    pub links: Vec<EncoderLink>,
    /// Those that were named and are another daemon's. They move only when they are asked for.
    #[serde(default)]
    pub refused: Vec<RefusedLink>,
}

/// A link that is another daemon's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedLink {
    /// The device of the daemon that asked.
    pub device_id: String,
    /// The encoder.
    pub acs_encoder_id: Uuid,
    /// The other desk's name, if it is known.
    pub held_by: Option<String>,
}

/// A device and its encoder in the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncoderLink {
    /// The device.
    pub device_id: String,
    /// Its encoder.
    pub acs_encoder_id: Uuid,
}

/// Asks for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// How long to wait for a job, in seconds; at most [`LONG_POLL_SECONDS_MAX`].
    pub wait_seconds: u64,
    /// Jobs that the daemon has in hand and does not need offered again.
    #[serde(default)]
    pub in_hand: Vec<Uuid>,
}

/// A job, or none within the wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextResponse {
    /// The job.
    pub job: Option<Job>,
}

/// A job as it is offered. Its key is the `action_attempt_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The attempt that the job carries out.
    pub action_attempt_id: Uuid,
    /// The encoder to do it on.
    pub acs_encoder_id: Uuid,
    /// Rises with each offer; a result with an older number is late.
    pub fence: i64,
    /// How long to wait for a card, in milliseconds.
    pub card_wait_ms: u64,
    /// What to do.
    pub work: JobWork,
}

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JobWork {
    /// Write this credential.
    Encode(EncodeWork),
    /// Read the card.
    Scan,
    /// Write an image of somebody else's, as it is.
    Raw(RawWork),
}

impl Job {
    /// The job as it may be written down: a raw image's contents and keys are not.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let work = match &self.work {
            JobWork::Raw(work) => JobWork::Raw(RawWork { image: work.image.wiped() }),
            work @ (JobWork::Encode(_) | JobWork::Scan) => work.clone(),
        };
        Self { work, ..*self }
    }
}

/// An image to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawWork {
    /// What. Empty in a job that has ended.
    pub image: RawImage,
}

/// A credential to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncodeWork {
    /// The credential.
    pub acs_credential_id: Uuid,
    /// The property it belongs to; a daemon with another property's key refuses. `None`: the daemon's own.
    pub property_id: Option<Uuid>,
    /// Start of validity, in seconds since 1970.
    pub starts_at: u32,
    /// End of validity, in seconds since 1970; [`u32::MAX`] means no end.
    pub ends_at: u32,
    /// Door numbers.
    pub doors: Vec<u16>,
    /// Guest semantics.
    #[serde(default)]
    pub flags: CredentialFlags,
    /// The card it was issued on, in hex: only that card may be written again.
    pub card_number: Option<String>,
}

/// Guest semantics of a credential, as the card carries them.
#[expect(clippy::struct_excessive_bools, reason = "four independent bits of one byte on the card")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CredentialFlags {
    /// The lock voids the previous guest's credential.
    pub override_previous: bool,
    /// The lock lets the previous guest's credential live beside this one.
    pub joiner: bool,
    /// Opens once.
    pub one_time: bool,
    /// Opens common doors too.
    pub common_doors: bool,
}

/// Asks for leave to start a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// The job.
    pub action_attempt_id: Uuid,
    /// From the offer.
    pub fence: i64,
}

/// Leave to start, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StartResponse {
    /// Start. The milliseconds count from the moment the request was *sent*.
    Go {
        /// What is left of the attempt.
        remaining_ms: u64,
    },
    /// Do not touch a card: the attempt has ended or belongs to a newer offer.
    Refused {
        /// Why.
        reason: String,
    },
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The encoder waits for a card.
    WaitingForCard,
    /// A card was seen.
    CardSeen,
    /// The card is being written.
    Writing,
    /// The card is being read back.
    Verifying,
}

/// Reports how far a job is. For show only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// The job.
    pub action_attempt_id: Uuid,
    /// How far.
    pub progress: Progress,
}

/// The end of a job. The first one wins; a late one updates what is known of the credential and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// The job.
    pub action_attempt_id: Uuid,
    /// From the offer.
    pub fence: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The credential is on the card, verified.
    Encoded(Encoded),
    /// What the card says.
    Scanned(Scanned),
    /// What became of a raw image, well or badly.
    Raw(RawEnded),
    /// It failed.
    Failed(Failed),
}

/// A credential that is on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Encoded {
    /// The card's UID in hex.
    pub card_number: String,
    /// The moment of issue as the card carries it, in seconds since 1970.
    pub issued_at: u32,
    /// The credential that this one replaced on the card.
    pub overwritten: Option<Uuid>,
    /// The same from a card that is too small for an id: the last four bytes of it, as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten_number: Option<u32>,
    /// It came from a virtual encoder.
    pub simulated: bool,
}

/// What a scan read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scanned {
    /// The card's UID in hex.
    pub card_number: String,
    /// The credential on the card; `None` for a blank or foreign card.
    pub credential: Option<ScannedCredential>,
    /// The credential on a card that is too small for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<CompactCredential>,
    /// It came from a virtual encoder.
    pub simulated: bool,
}

/// A credential as it was read from a card, its seal checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScannedCredential {
    /// The credential.
    pub acs_credential_id: Uuid,
    /// Start of validity, in seconds since 1970.
    pub starts_at: u32,
    /// End of validity, in seconds since 1970; [`u32::MAX`] means no end.
    pub ends_at: u32,
    /// Moment of issue, in seconds since 1970.
    pub issued_at: u32,
    /// Door numbers.
    pub doors: Vec<u16>,
    /// Guest semantics.
    #[serde(default)]
    pub flags: CredentialFlags,
}

/// A credential as it was read from a card that is too small for all of it, its seal checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompactCredential {
    /// The last four bytes of the credential's id, as a number, most significant byte first.
    pub number: u32,
    /// Start of validity, in seconds since 1970, rounded down to a minute.
    pub starts_at: u32,
    /// End of validity, in seconds since 1970, rounded up to a minute; [`u32::MAX`] means no end.
    pub ends_at: u32,
    /// Door numbers.
    pub doors: Vec<u16>,
    /// Guest semantics.
    #[serde(default)]
    pub flags: CredentialFlags,
}

/// What became of a raw image. A failure is told here once a card was seen, since it may have been written in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawEnded {
    /// The card's UID in hex, once one was seen.
    pub card_number: Option<String>,
    /// Which blocks were written and verified.
    pub report: RawReport,
    /// Why the image is not on the card, or not all of it.
    pub fault: Option<Fault>,
    /// It came from a virtual encoder.
    pub simulated: bool,
}

/// A job that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// The card in question, once one was seen, in hex.
    pub card_number: Option<String>,
    /// The card may hold the new credential although the job failed.
    pub in_doubt: bool,
    /// It came from a virtual encoder.
    pub simulated: bool,
}

/// What the hub made of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultResponse {
    /// `true`: this result settled the attempt (now or when it was first sent). `false`: it came late.
    pub settled: bool,
}

/// Things that happened at the desk, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsRequest {
    /// The daemon's own lasting id.
    pub bridge_id: Uuid,
    /// What happened.
    pub events: Vec<DeskEvent>,
}

/// A change of one encoder, whole: the newest report replaces the older.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeskEvent {
    /// When it was seen at the desk.
    pub at: Timestamp,
    /// The encoder after the change.
    pub encoder: EncoderReport,
}
