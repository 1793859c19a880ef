//! `/user_identities/…`

use crate::api::Nothing;
use crate::api::envelope::Object;
use crate::api::id::{AcsSystemId, AcsUserId, ElsewhereId, UserIdentityId, WorkspaceId};
use crate::api::parameters::{AnyOf, Change, Email, Filled, Limit};
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserIdentity {
    /// Its id.
    pub user_identity_id: UserIdentityId,
    /// The caller's own key for the person.
    pub user_identity_key: Option<String>,
    /// E-mail address.
    pub email_address: Option<String>,
    /// Phone number.
    pub phone_number: Option<String>,
    /// Name.
    pub full_name: Option<String>,
    /// A name that is never empty.
    pub display_name: String,
    /// When it was made.
    pub created_at: Time,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// None here.
    pub errors: Nothing,
    /// None here.
    pub warnings: Nothing,
    /// The person in the access systems.
    pub acs_user_ids: Vec<AcsUserId>,
}

impl Object for UserIdentity {
    const ONE: &'static str = "user_identity";
    const MANY: &'static str = "user_identities";
}

/// A person as it is asked for: `/user_identities/create`, and inside `/access_grants/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// E-mail address.
    pub email_address: Option<Email>,
    /// Name.
    pub full_name: Option<Filled>,
    /// Phone number.
    pub phone_number: Option<Filled>,
    /// The caller's own key for the person.
    pub user_identity_key: Option<Filled>,
}

/// `/user_identities/create`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Create {
    /// The systems to make the person known to at once.
    pub acs_system_ids: AnyOf<AcsSystemId>,
    /// E-mail address.
    pub email_address: Option<Email>,
    /// Name.
    pub full_name: Option<Filled>,
    /// Phone number.
    pub phone_number: Option<Filled>,
    /// The caller's own key for the person.
    pub user_identity_key: Option<Filled>,
}

/// `/user_identities/get`: by its id or by its key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub user_identity_id: Option<UserIdentityId>,
    /// The caller's own key.
    pub user_identity_key: Option<String>,
}

/// `/user_identities/update`; null clears.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// Who.
    pub user_identity_id: UserIdentityId,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Change::keeps")]
    pub email_address: Change<Email>,
    /// Name.
    #[serde(default, skip_serializing_if = "Change::keeps")]
    pub full_name: Change<Filled>,
    /// Phone number.
    #[serde(default, skip_serializing_if = "Change::keeps")]
    pub phone_number: Change<Filled>,
    /// The caller's own key for the person.
    #[serde(default, skip_serializing_if = "Change::keeps")]
    pub user_identity_key: Change<Filled>,
}

/// `/user_identities/delete`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Who.
    pub user_identity_id: UserIdentityId,
}

/// `/user_identities/add_acs_user`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddAcsUser {
    /// The person in an access system.
    pub acs_user_id: AcsUserId,
    /// Who that is; or `user_identity_key`.
    pub user_identity_id: Option<UserIdentityId>,
    /// The caller's own key for the person.
    pub user_identity_key: Option<String>,
}

/// `/user_identities/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those made before.
    pub created_before: Option<Time>,
    /// These.
    pub user_identity_ids: AnyOf<UserIdentityId>,
    /// Those whose name, address, number or key has this in it.
    pub search: Option<Filled>,
    /// Those of a credential manager; this hub has none.
    pub credential_manager_acs_system_id: Option<ElsewhereId>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}
