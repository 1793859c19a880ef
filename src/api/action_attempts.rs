//! `/action_attempts/…`

use crate::api::acs_credentials::AcsCredential;
use crate::api::bridge::raw::RawReport;
use crate::api::envelope::Object;
use crate::api::id::{AcsCredentialId, AcsEncoderId, ActionAttemptId, ElsewhereId};
use crate::api::parameters::{AnyOf, Limit};
use crate::api::time::Time;
use crate::fault::{ErrorType, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One encode or scan: pending, then success or error, and never anything else again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionAttempt {
    /// Its id.
    pub action_attempt_id: ActionAttemptId,
    /// What it does.
    pub action_type: ActionType,
    /// Where it is.
    pub status: Status,
    /// On success: an [`AcsCredential`], a [`ScanResult`], an access method, or a [`RawWritten`].
    pub result: Option<Value>,
    /// On error.
    pub error: Option<AttemptError>,
}

/// What an attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionType {
    /// Writing a credential to a card, asked for by credential or by access method.
    EncodeCredential,
    /// Reading a card.
    ScanCredential,
    /// Reading a card to give its credential to somebody.
    ScanToAssignCredential,
    /// Giving a card that was written before to an access method.
    AssignCredential,
    /// Writing somebody else's image to a card, as it is; `/encoderd/v1/acs_encoders/write_raw`.
    WriteRaw,
}

impl ActionType {
    /// The kind of work, which decides the error types.
    pub fn work(self) -> Work {
        match self {
            Self::EncodeCredential | Self::WriteRaw => Work::Encode,
            Self::ScanCredential => Work::Scan,
            Self::ScanToAssignCredential => Work::ScanToAssign,
            Self::AssignCredential => Work::Assign,
        }
    }
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not yet ended.
    Pending,
    /// Ended well.
    Success,
    /// Ended badly.
    Error,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptError {
    /// For programs.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// For the clerk.
    pub message: String,
}

impl Object for ActionAttempt {
    const ONE: &'static str = "action_attempt";
    const MANY: &'static str = "action_attempts";
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScanResult {
    /// What the card says; null for a blank or foreign card.
    pub acs_credential_on_encoder: Option<CredentialOnEncoder>,
    /// The same credential as the hub knows it.
    pub acs_credential_on_seam: Option<AcsCredential>,
    /// How the two differ.
    pub warnings: Vec<ScanWarning>,
}

/// A credential as it was read from a card. All keys are required, all values nullable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialOnEncoder {
    /// When the credential was made; the moment of issue when the hub does not know the credential.
    pub created_at: Option<Time>,
    /// It is on a card.
    pub is_issued: Option<bool>,
    /// From when it opens.
    pub starts_at: Option<Time>,
    /// Until when it opens; null: without end.
    pub ends_at: Option<Time>,
    /// The card's UID.
    pub card_number: Option<String>,
}

/// What a raw image's attempt has done, in blocks counted over the whole card or in pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawWritten {
    /// The card's UID.
    pub card_number: Option<String>,
    /// What was written, what was verified, what was right before.
    #[serde(flatten)]
    pub report: RawReport,
    /// It lay on a virtual encoder.
    pub simulated: bool,
}

/// How card and hub differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScanWarning {
    /// The kind.
    pub warning_code: ScanWarningCode,
    /// For people; names the properties.
    pub warning_message: String,
}

/// How card and hub can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanWarningCode {
    /// Some properties are different.
    AcsCredentialOnEncoderOutOfSync,
    /// The hub does not know the credential, or it was deleted.
    AcsCredentialOnSeamNotFound,
}

/// `/action_attempts/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub action_attempt_id: ActionAttemptId,
}

/// `/action_attempts/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// These.
    pub action_attempt_ids: AnyOf<ActionAttemptId>,
    /// Those of a device; this hub has none.
    pub device_id: Option<ElsewhereId>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/encoderd/v1/attempts`: the last ones, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ListLast {
    /// At most so many.
    pub limit: Limit,
}

/// An attempt as people look back on it: with when and where, and without its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastAttempt {
    /// Its id.
    pub action_attempt_id: ActionAttemptId,
    /// What it does.
    pub action_type: ActionType,
    /// Where it is.
    pub status: Status,
    /// On error.
    pub error: Option<AttemptError>,
    /// The encoder, if it needs one.
    pub acs_encoder_id: Option<AcsEncoderId>,
    /// The credential of an encode.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// When it was asked for.
    pub created_at: Time,
}

impl Object for LastAttempt {
    const ONE: &'static str = "attempt";
    const MANY: &'static str = "attempts";
}
