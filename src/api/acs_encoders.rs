//! `/acs/encoders/…`, and the live view of encoders at `/encoderd/v1/encoders`.

use crate::api::ObjectError;
use crate::api::bridge::raw::RawImage;
use crate::api::bridge::{EncoderState, Presence};
use crate::api::envelope::Object;
use crate::api::id::{
    AccessMethodId, AcsCredentialId, AcsEncoderId, AcsSystemId, AcsUserId, ConnectedAccountId, UserIdentityId,
    WorkspaceId,
};
use crate::api::parameters::{AnyOf, Limit};
use crate::api::time::Time;
use crate::fault::{ErrorType, FaultKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A card encoder as the cloud sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcsEncoder {
    /// Its id.
    pub acs_encoder_id: AcsEncoderId,
    /// The system whose cards it makes.
    pub acs_system_id: AcsSystemId,
    /// That system's account.
    pub connected_account_id: ConnectedAccountId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// When it was first seen.
    pub created_at: Time,
    /// Its name.
    pub display_name: String,
    /// `acs_encoder_removed` when no device is linked to it any more.
    pub errors: Vec<ObjectError>,
}

/// No device is linked to the encoder any more.
pub const ACS_ENCODER_REMOVED: &str = "acs_encoder_removed";

impl Object for AcsEncoder {
    const ONE: &'static str = "acs_encoder";
    const MANY: &'static str = "acs_encoders";
}

/// `/acs/encoders/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub acs_encoder_id: AcsEncoderId,
}

/// `/acs/encoders/list`; without a filter: all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those of this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// Those of these systems.
    pub acs_system_ids: AnyOf<AcsSystemId>,
    /// These.
    pub acs_encoder_ids: AnyOf<AcsEncoderId>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/acs/encoders/list` as a desk asks it of any account: what is not said is left out.
#[derive(Clone, Debug, Serialize)]
pub struct ListPage {
    /// At most so many.
    pub limit: u32,
    /// From here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_cursor: Option<String>,
}

/// What a desk reads of the answer.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedPage {
    /// The encoders.
    pub acs_encoders: Vec<ListedEncoder>,
    /// Where the list goes on.
    #[serde(default)]
    pub pagination: Option<ListedPagination>,
}

/// An encoder of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedEncoder {
    /// Its id.
    pub acs_encoder_id: uuid::Uuid,
    /// Its name.
    pub display_name: String,
    /// What is wrong with it.
    #[serde(default)]
    pub errors: Vec<ListedError>,
}

impl ListedEncoder {
    /// Whether no device is linked to it.
    pub fn is_free(&self) -> bool {
        self.errors.iter().any(|error| error.error_code == ACS_ENCODER_REMOVED)
    }
}

/// What is wrong with an encoder of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedError {
    /// One of the codes that the account knows.
    #[serde(default)]
    pub error_code: String,
}

/// Where an account's list goes on.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedPagination {
    /// Whether there is more.
    #[serde(default)]
    pub has_next_page: bool,
    /// To be sent as `page_cursor`.
    #[serde(default)]
    pub next_page_cursor: Option<String>,
}

/// `/acs/encoders/encode_credential`: exactly one of credential and access method.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EncodeCredential {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// What to write.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// Or: whose credential to write.
    pub access_method_id: Option<AccessMethodId>,
}

/// `/acs/encoders/scan_credential`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScanCredential {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// Of readers of Salto KS; changes nothing here.
    pub salto_ks_metadata: Option<SaltoKs>,
}

/// `/encoderd/v1/acs_encoders/write_raw`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WriteRaw {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// What to write.
    pub image: RawImage,
}

/// `/acs/encoders/scan_to_assign_credential`: exactly one of user and person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScanToAssign {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// To whom.
    pub acs_user_id: Option<AcsUserId>,
    /// To whom; makes the person known to the system when it is not.
    pub user_identity_id: Option<UserIdentityId>,
    /// Of readers of Salto KS; changes nothing here.
    pub salto_ks_metadata: Option<SaltoKs>,
}

/// `salto_ks_metadata`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SaltoKs {
    /// Whether new tags are looked for.
    pub detect_new_tags: Option<bool>,
}

/// `/encoderd/v1/encoders`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListLive {}

/// An encoder with what its daemon last said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveEncoder {
    /// Its id.
    pub acs_encoder_id: AcsEncoderId,
    /// Its name.
    pub display_name: String,
    /// The linked device's stable identity; null when none is linked.
    pub device_id: Option<String>,
    /// Where it is plugged in.
    pub port: Option<String>,
    /// Reader chip or product.
    pub model: Option<String>,
    /// Its firmware.
    pub firmware: Option<String>,
    /// A virtual encoder.
    pub simulated: bool,
    /// Whether it can be used; `offline` when its daemon is not connected.
    pub state: EncoderState,
    /// Whether a card lies on it.
    pub presence: Presence,
    /// The UID of the card on it.
    pub card_number: Option<String>,
    /// What is wrong with it or with the card on it.
    pub fault: Option<LiveFault>,
    /// Whether its daemon asks for work.
    pub bridge_connected: bool,
    /// When its daemon last said something of it; null: not since the hub started.
    pub updated_at: Option<Time>,
}

/// What is wrong with an encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveFault {
    /// The kind.
    pub kind: FaultKind,
    /// The error type that an encode would have.
    pub error_type: ErrorType,
    /// For the clerk.
    pub message: String,
}

impl Object for LiveEncoder {
    const ONE: &'static str = "encoder";
    const MANY: &'static str = "encoders";
}
