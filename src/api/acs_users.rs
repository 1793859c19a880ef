//! `/acs/users/…`

use crate::api::Nothing;
use crate::api::envelope::Object;
use crate::api::id::{AcsSystemId, AcsUserId, ConnectedAccountId, ElsewhereId, UserIdentityId, WorkspaceId};
use crate::api::parameters::{AnyOf, Change, Email, Filled, Limit};
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person in an access system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcsUser {
    /// Its id.
    pub acs_user_id: AcsUserId,
    /// The system.
    pub acs_system_id: AcsSystemId,
    /// That system's account.
    pub connected_account_id: ConnectedAccountId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// A name that is never empty.
    pub display_name: String,
    /// When it was made.
    pub created_at: Time,
    /// Always true.
    pub is_managed: bool,
    /// Never suspended here.
    pub is_suspended: bool,
    /// There is nothing to synchronise with.
    pub last_successful_sync_at: Option<Time>,
    /// None here.
    pub errors: Nothing,
    /// None here.
    pub warnings: Nothing,
    /// The person's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// The person's e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
    /// The person's phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// From when to when the person has access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_schedule: Option<AccessSchedule>,
    /// The person behind it; with it go the next three.
    #[serde(flatten)]
    pub identity: Option<AcsUserIdentity>,
}

/// The person behind an `acs_user`, under that object's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcsUserIdentity {
    /// The person.
    pub user_identity_id: UserIdentityId,
    /// Name.
    pub user_identity_full_name: Option<String>,
    /// E-mail address.
    pub user_identity_email_address: Option<String>,
    /// Phone number.
    pub user_identity_phone_number: Option<String>,
}

/// From when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessSchedule {
    /// Start.
    pub starts_at: Time,
    /// End; null: none.
    pub ends_at: Option<Time>,
}

impl Object for AcsUser {
    const ONE: &'static str = "acs_user";
    const MANY: &'static str = "acs_users";
}

/// `/acs/users/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// In which system.
    pub acs_system_id: AcsSystemId,
    /// Name.
    pub full_name: Filled,
    /// From when to when.
    pub access_schedule: Option<RequestedSchedule>,
    /// The older name of `email_address`.
    pub email: Option<Email>,
    /// E-mail address.
    pub email_address: Option<Email>,
    /// Phone number.
    pub phone_number: Option<Filled>,
    /// The person behind it.
    pub user_identity_id: Option<UserIdentityId>,
    /// This hub has no access groups.
    #[serde(default)]
    pub acs_access_group_ids: AnyOf<ElsewhereId>,
}

/// From when to when, as it is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestedSchedule {
    /// Start; absent: now.
    pub starts_at: Option<Time>,
    /// End; absent or null: none.
    pub ends_at: Option<Time>,
}

/// `/acs/users/get`, `/acs/users/delete`: by its id, or by system and person.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub acs_user_id: Option<AcsUserId>,
    /// In which system.
    pub acs_system_id: Option<AcsSystemId>,
    /// The person behind it.
    pub user_identity_id: Option<UserIdentityId>,
}

/// `/acs/users/update`; which: as with [`Get`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Update {
    /// Which.
    pub acs_user_id: Option<AcsUserId>,
    /// In which system.
    pub acs_system_id: Option<AcsSystemId>,
    /// The person behind it.
    pub user_identity_id: Option<UserIdentityId>,
    /// From when to when; null: always.
    #[serde(skip_serializing_if = "Change::keeps")]
    pub access_schedule: Change<WholeSchedule>,
    /// The older name of `email_address`.
    pub email: Option<Email>,
    /// E-mail address.
    pub email_address: Option<Email>,
    /// Name.
    pub full_name: Option<Filled>,
    /// A system of another kind; this hub has none.
    pub hid_acs_system_id: Option<ElsewhereId>,
    /// Phone number.
    pub phone_number: Option<Filled>,
}

/// From when to when, both ends named.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WholeSchedule {
    /// Start.
    pub starts_at: Time,
    /// End.
    pub ends_at: Time,
}

/// `/acs/users/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those of this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// Those made before.
    pub created_before: Option<Time>,
    /// Those of this person.
    pub user_identity_id: Option<UserIdentityId>,
    /// Those of the person with this address.
    pub user_identity_email_address: Option<String>,
    /// Those of the person with this number.
    pub user_identity_phone_number: Option<String>,
    /// Those whose name, address or number has this in it.
    pub search: Option<Filled>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}
