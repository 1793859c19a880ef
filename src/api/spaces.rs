//! `/spaces/…`

use crate::api::envelope::Object;
use crate::api::id::{AcsEntranceId, ConnectedAccountId, ElsewhereId, SpaceId, WorkspaceId};
use crate::api::parameters::{AnyOf, Filled, Limit};
use crate::api::time::{Time, TimeOfDay};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A group of doors: a floor, an apartment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Space {
    /// Its id.
    pub space_id: SpaceId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The caller's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_key: Option<String>,
    /// Its name.
    pub name: String,
    /// The same.
    pub display_name: String,
    /// When it was made.
    pub created_at: Time,
    /// This hub has no devices.
    pub device_count: u32,
    /// How many doors it has.
    pub acs_entrance_count: i64,
    /// The caller's customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_key: Option<String>,
    /// Defaults for stays; kept for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_data: Option<CustomerData>,
}

impl Object for Space {
    const ONE: &'static str = "space";
    const MANY: &'static str = "spaces";
}

/// Defaults for stays; the hub keeps them and does nothing with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CustomerData {
    /// Postal address.
    pub address: Option<String>,
    /// When guests may come.
    pub default_checkin_time: Option<TimeOfDay>,
    /// When guests have to leave.
    pub default_checkout_time: Option<TimeOfDay>,
    /// IANA time zone.
    pub time_zone: Option<String>,
}

/// `/spaces/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Its name.
    pub name: Filled,
    /// Its doors.
    #[serde(default)]
    pub acs_entrance_ids: AnyOf<AcsEntranceId>,
    /// The accounts that its doors hang on.
    #[serde(default)]
    pub connected_account_ids: AnyOf<ConnectedAccountId>,
    /// Defaults for stays.
    pub customer_data: Option<CustomerData>,
    /// The caller's customer.
    pub customer_key: Option<Filled>,
    /// This hub has no devices.
    #[serde(default)]
    pub device_ids: AnyOf<ElsewhereId>,
    /// The caller's own key.
    pub space_key: Option<Filled>,
}

/// `/spaces/get`: by its id or by its key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub space_id: Option<SpaceId>,
    /// The caller's own key.
    pub space_key: Option<String>,
}

/// `/spaces/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those of this account.
    pub connected_account_id: Option<ConnectedAccountId>,
    /// Those of this customer.
    pub customer_key: Option<String>,
    /// Those in a space; no space is in another here.
    pub parent_space_id: Option<ElsewhereId>,
    /// Those in a space; no space is in another here.
    pub parent_space_key: Option<String>,
    /// Those whose name or key has this in it.
    pub search: Option<Filled>,
    /// The one with this key.
    pub space_key: Option<String>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/spaces/delete`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Which.
    pub space_id: SpaceId,
}

/// `/spaces/add_acs_entrances`, `/spaces/remove_acs_entrances`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entrances {
    /// Which space.
    pub space_id: SpaceId,
    /// Which doors.
    pub acs_entrance_ids: AnyOf<AcsEntranceId>,
}
