//! `/acs/credentials/…`

use crate::api::credential_metadata::{Hotek, SaltoSpace, ShownVisionline, ShownVostio, Visionline, Vostio};
use crate::api::envelope::Object;
use crate::api::id::{
    AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, ConnectedAccountId, UserIdentityId, WorkspaceId,
};
use crate::api::parameters::{AnyOf, Filled, Limit};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing, Warning};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is on a card, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the API's object")]
pub struct AcsCredential {
    /// Its id.
    pub acs_credential_id: AcsCredentialId,
    /// The system.
    pub acs_system_id: AcsSystemId,
    /// That system's account.
    pub connected_account_id: ConnectedAccountId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs_user_id: Option<AcsUserId>,
    /// The person behind that user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_identity_id: Option<UserIdentityId>,
    /// A name that is never empty.
    pub display_name: String,
    /// Always `card` here.
    pub access_method: AccessMode,
    /// When it was made.
    pub created_at: Time,
    /// Always true.
    pub is_managed: bool,
    /// Cards have none.
    pub code: Option<String>,
    /// The UID of the card that it is on.
    pub card_number: Option<String>,
    /// Whether it is on a card.
    pub is_issued: bool,
    /// When it was written to the card.
    pub issued_at: Option<Time>,
    /// From when it opens.
    pub starts_at: Time,
    /// Until when it opens; absent: without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// Whether its card opens once.
    pub is_one_time_use: bool,
    /// Never here.
    pub is_multi_phone_sync_credential: bool,
    /// There is no provider to synchronise with.
    pub is_latest_desired_state_synced_with_provider: Option<bool>,
    /// There is no provider to synchronise with.
    pub latest_desired_state_synced_with_provider_at: Option<Time>,
    /// What was given of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visionline_metadata: Option<ShownVisionline>,
    /// What was given of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assa_abloy_vostio_metadata: Option<ShownVostio>,
    /// None here.
    pub errors: Nothing,
    /// What is still to be done.
    pub warnings: Vec<Warning>,
}

/// Not yet on a card.
pub const WAITING_TO_BE_ISSUED: &str = "waiting_to_be_issued";

/// The card holds other times, doors or flags.
pub const NEEDS_TO_BE_REISSUED: &str = "needs_to_be_reissued";

impl Object for AcsCredential {
    const ONE: &'static str = "acs_credential";
    const MANY: &'static str = "acs_credentials";
}

/// `/acs/credentials/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Only `card` here.
    pub access_method: AccessMode,
    /// In which system; with `acs_user_id` not needed.
    pub acs_system_id: Option<AcsSystemId>,
    /// Whose.
    pub acs_user_id: Option<AcsUserId>,
    /// Whose; makes the person known to the system when it is not.
    pub user_identity_id: Option<UserIdentityId>,
    /// Which doors.
    #[serde(default)]
    pub allowed_acs_entrance_ids: AnyOf<AcsEntranceId>,
    /// From when; absent: now.
    pub starts_at: Option<Time>,
    /// Until when; absent: without end.
    pub ends_at: Option<Time>,
    /// Cards have none.
    pub code: Option<String>,
    /// Cards need none.
    pub credential_manager_acs_system_id: Option<AcsSystemId>,
    /// Of phones: only false here.
    pub is_multi_phone_sync_credential: Option<bool>,
    /// Guest semantics.
    pub visionline_metadata: Option<Visionline>,
    /// Guest semantics.
    pub assa_abloy_vostio_metadata: Option<Vostio>,
    /// Guest semantics.
    pub hotek_metadata: Option<Hotek>,
    /// Kept and nothing else.
    pub salto_space_metadata: Option<SaltoSpace>,
}

/// `/acs/credentials/assign` and `/acs/credentials/unassign`: exactly one of user and person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Assign {
    /// Which.
    pub acs_credential_id: AcsCredentialId,
    /// To or from whom.
    pub acs_user_id: Option<AcsUserId>,
    /// To or from whom.
    pub user_identity_id: Option<UserIdentityId>,
}

/// `/acs/credentials/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub acs_credential_id: AcsCredentialId,
}

/// `/acs/credentials/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those of this user.
    pub acs_user_id: Option<AcsUserId>,
    /// Those of this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// Those of this person.
    pub user_identity_id: Option<UserIdentityId>,
    /// Those made before.
    pub created_before: Option<Time>,
    /// No credential here is one.
    pub is_multi_phone_sync_credential: Option<bool>,
    /// Those whose name or card number has this in it.
    pub search: Option<Filled>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/acs/credentials/update`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// Which.
    pub acs_credential_id: AcsCredentialId,
    /// Until when.
    pub ends_at: Option<Time>,
    /// Cards have none.
    pub code: Option<String>,
}
