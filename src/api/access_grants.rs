//! `/access_grants/…`

use crate::api::envelope::Object;
use crate::api::id::{
    AccessGrantId, AccessMethodId, AcsEntranceId, AcsSystemId, CustomizationProfileId, ElsewhereId, SpaceId,
    UserIdentityId, WorkspaceId,
};
use crate::api::parameters::{AnyOf, Change, Filled, Limit};
use crate::api::time::Time;
use crate::api::user_identities::Person;
use crate::api::{AccessMode, Nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person's access to doors for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessGrant {
    /// Its id.
    pub access_grant_id: AccessGrantId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Whose.
    pub user_identity_id: UserIdentityId,
    /// The caller's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_grant_key: Option<String>,
    /// The caller's reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_key: Option<String>,
    /// The older name of `space_ids`.
    pub location_ids: Vec<SpaceId>,
    /// The spaces that it opens.
    pub space_ids: Vec<SpaceId>,
    /// What was asked for.
    pub requested_access_methods: Vec<RequestedAccessMethod>,
    /// What came of it.
    pub access_method_ids: Vec<AccessMethodId>,
    /// How Seam's own pages would look to the guest; kept for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customization_profile_id: Option<CustomizationProfileId>,
    /// The caller's name for it.
    pub name: Option<String>,
    /// A name that is never empty.
    pub display_name: String,
    /// When it was made.
    pub created_at: Time,
    /// From when.
    pub starts_at: Time,
    /// Until when; null: without end.
    pub ends_at: Option<Time>,
    /// None here.
    pub warnings: Nothing,
    /// None here.
    pub errors: Nothing,
    /// Changes take effect at once.
    pub pending_mutations: Nothing,
}

/// An access method that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestedAccessMethod {
    /// A name that is never empty.
    pub display_name: String,
    /// Of what kind.
    pub mode: AccessMode,
    /// When it was asked for.
    pub created_at: Time,
    /// What came of it.
    pub created_access_method_ids: Vec<AccessMethodId>,
}

impl Object for AccessGrant {
    const ONE: &'static str = "access_grant";
    const MANY: &'static str = "access_grants";
}

/// `/access_grants/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Whose; or `user_identity`.
    pub user_identity_id: Option<UserIdentityId>,
    /// A new person.
    pub user_identity: Option<Person>,
    /// What to make.
    pub requested_access_methods: Vec<RequestAccessMethod>,
    /// The caller's own key.
    pub access_grant_key: Option<Filled>,
    /// Which doors.
    #[serde(default)]
    pub acs_entrance_ids: AnyOf<AcsEntranceId>,
    /// The older way to name doors: with a name they become a space.
    pub location: Option<RequestLocation>,
    /// Which spaces, with all their doors.
    #[serde(default)]
    pub space_ids: AnyOf<SpaceId>,
    /// The same by the caller's own keys.
    #[serde(default)]
    pub space_keys: AnyOf<String>,
    /// The older name of `space_ids`.
    #[serde(default)]
    pub location_ids: AnyOf<SpaceId>,
    /// This hub has no devices.
    #[serde(default)]
    pub device_ids: AnyOf<ElsewhereId>,
    /// How Seam's own pages would look to the guest; kept for the caller.
    pub customization_profile_id: Option<CustomizationProfileId>,
    /// From when; absent: now.
    pub starts_at: Option<Time>,
    /// Until when; absent or null: without end.
    pub ends_at: Option<Time>,
    /// The caller's name for it.
    pub name: Option<String>,
    /// The caller's reservation.
    pub reservation_key: Option<Filled>,
}

/// The older way to name doors: with a name they become a space.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestLocation {
    /// Which doors.
    pub acs_entrance_ids: AnyOf<AcsEntranceId>,
    /// This hub has no devices.
    pub device_ids: AnyOf<ElsewhereId>,
    /// The space's name.
    pub name: Option<Filled>,
}

/// An access method to be made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestAccessMethod {
    /// Only `card` here.
    pub mode: AccessMode,
    /// A card has none.
    pub code: Option<String>,
    /// For keys on phones; a card can be used as often as one likes.
    pub instant_key_max_use_count: Option<u32>,
}

/// `/access_grants/get`: by its id or by its key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub access_grant_id: Option<AccessGrantId>,
    /// The caller's own key.
    pub access_grant_key: Option<String>,
}

/// `/access_grants/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// These.
    pub access_grant_ids: AnyOf<AccessGrantId>,
    /// The one with this key.
    pub access_grant_key: Option<String>,
    /// Those to this door.
    pub acs_entrance_id: Option<AcsEntranceId>,
    /// Those to a door of this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// Those of this reservation.
    pub reservation_key: Option<String>,
    /// Those of this person.
    pub user_identity_id: Option<UserIdentityId>,
    /// Those of an access code; this hub has none.
    pub access_code_id: Option<ElsewhereId>,
    /// Those of a device; this hub has none.
    pub device_id: Option<ElsewhereId>,
    /// The older name of `space_id`.
    pub location_id: Option<SpaceId>,
    /// Those to this space.
    pub space_id: Option<SpaceId>,
    /// Those of a customer; this hub has none.
    pub customer_key: Option<String>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/access_grants/delete`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Which.
    pub access_grant_id: AccessGrantId,
}

/// `/access_grants/request_access_methods`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestAccessMethods {
    /// For which grant.
    pub access_grant_id: AccessGrantId,
    /// What to make.
    pub requested_access_methods: Vec<RequestAccessMethod>,
}

/// `/access_grants/update`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Update {
    /// Which; or `access_grant_key`.
    pub access_grant_id: Option<AccessGrantId>,
    /// The caller's own key.
    pub access_grant_key: Option<String>,
    /// From when.
    pub starts_at: Option<Time>,
    /// Until when; null: without end.
    #[serde(skip_serializing_if = "Change::keeps")]
    pub ends_at: Change<Time>,
    /// The caller's name for it.
    #[serde(skip_serializing_if = "Change::keeps")]
    pub name: Change<String>,
}
