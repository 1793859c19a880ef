//! `/acs/systems/…`

use crate::api::Nothing;
use crate::api::envelope::Object;
use crate::api::id::{AcsSystemId, ConnectedAccountId, WorkspaceId};
use crate::api::parameters::Filled;
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The doors of one property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcsSystem {
    /// Its id.
    pub acs_system_id: AcsSystemId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The account it hangs on.
    pub connected_account_id: ConnectedAccountId,
    /// The same as a list.
    pub connected_account_ids: Vec<ConnectedAccountId>,
    /// The property's name.
    pub name: String,
    /// When the hub first served it.
    pub created_at: Time,
    /// A picture of the system.
    pub image_url: String,
    /// What the picture shows.
    pub image_alt_text: String,
    /// Whether it manages credentials for other systems.
    pub is_credential_manager: bool,
    /// Where it is.
    pub location: Location,
    /// None here.
    pub errors: Nothing,
    /// None here.
    pub warnings: Nothing,
}

/// Where an access system is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// IANA name.
    pub time_zone: Option<String>,
}

impl Object for AcsSystem {
    const ONE: &'static str = "acs_system";
    const MANY: &'static str = "acs_systems";
}

/// `/acs/systems/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub acs_system_id: AcsSystemId,
}

/// `/acs/systems/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Those of this account.
    pub connected_account_id: Option<ConnectedAccountId>,
    /// Those whose name has this in it.
    pub search: Option<Filled>,
    /// Those of a customer; this hub has none.
    pub customer_key: Option<String>,
}
