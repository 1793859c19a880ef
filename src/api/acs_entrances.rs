//! `/acs/entrances/…`

use crate::api::Nothing;
use crate::api::envelope::Object;
use crate::api::id::{AcsCredentialId, AcsEntranceId, AcsSystemId, ConnectedAccountId, SpaceId};
use crate::api::parameters::{AnyOf, Filled, Limit};
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcsEntrance {
    /// Its id.
    pub acs_entrance_id: AcsEntranceId,
    /// The system it belongs to.
    pub acs_system_id: AcsSystemId,
    /// That system's account.
    pub connected_account_id: ConnectedAccountId,
    /// When the hub first knew it.
    pub created_at: Time,
    /// Its name.
    pub display_name: String,
    /// The spaces that it is in.
    pub space_ids: Vec<SpaceId>,
    /// Cards open it.
    pub can_unlock_with_card: bool,
    /// None here.
    pub errors: Nothing,
    /// None here.
    pub warnings: Nothing,
}

impl Object for AcsEntrance {
    const ONE: &'static str = "acs_entrance";
    const MANY: &'static str = "acs_entrances";
}

/// How many entrances a list has when nothing is said.
pub const LIMIT_DEFAULT: u32 = 900;

/// `/acs/entrances/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub acs_entrance_id: AcsEntranceId,
}

/// `/acs/entrances/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those that this credential opens.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// These.
    pub acs_entrance_ids: AnyOf<AcsEntranceId>,
    /// Those of this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// Those of this account.
    pub connected_account_id: Option<ConnectedAccountId>,
    /// Those whose name has this in it.
    pub search: Option<Filled>,
    /// Those in this space.
    pub space_id: Option<SpaceId>,
    /// The older name of `space_id`.
    pub location_id: Option<SpaceId>,
    /// Those of a customer; this hub has none.
    pub customer_key: Option<String>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}
