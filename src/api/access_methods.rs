//! `/access_methods/…`

use crate::api::envelope::Object;
use crate::api::id::{AccessGrantId, AccessMethodId, AcsEncoderId, AcsEntranceId, ElsewhereId, SpaceId, WorkspaceId};
use crate::api::parameters::{Filled, Limit};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One card of an access grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the API's object")]
pub struct AccessMethod {
    /// Its id.
    pub access_method_id: AccessMethodId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// A name that is never empty.
    pub display_name: String,
    /// Always `card` here.
    pub mode: AccessMode,
    /// When it was made.
    pub created_at: Time,
    /// When it was written to its card.
    pub issued_at: Option<Time>,
    /// Whether it is on a card.
    pub is_issued: bool,
    /// Always true: a card has to be written.
    pub is_encoding_required: bool,
    /// Its credential exists and is not yet on a card.
    pub is_ready_for_encoding: bool,
    /// Cards are written here, not assigned.
    pub is_assignment_required: bool,
    /// Cards are written here, not assigned.
    pub is_ready_for_assignment: bool,
    /// None here.
    pub warnings: Nothing,
    /// None here.
    pub errors: Nothing,
    /// Changes take effect at once.
    pub pending_mutations: Nothing,
}

impl Object for AccessMethod {
    const ONE: &'static str = "access_method";
    const MANY: &'static str = "access_methods";
}

/// `/access_methods/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub access_method_id: AccessMethodId,
}

/// `/access_methods/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// Those of this grant.
    pub access_grant_id: Option<AccessGrantId>,
    /// Those of the grant with this key.
    pub access_grant_key: Option<String>,
    /// Those that open this door.
    pub acs_entrance_id: Option<AcsEntranceId>,
    /// Those of an access code; this hub has none.
    pub access_code_id: Option<ElsewhereId>,
    /// Those of a device; this hub has none.
    pub device_id: Option<ElsewhereId>,
    /// Those of grants to this space.
    pub space_id: Option<SpaceId>,
    /// At most so many.
    pub limit: Limit,
    /// From here on.
    pub page_cursor: Option<String>,
}

/// `/access_methods/delete`: one, all of a grant, or all of a reservation's grants.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// This one.
    pub access_method_id: Option<AccessMethodId>,
    /// Those of this grant.
    pub access_grant_id: Option<AccessGrantId>,
    /// Those of the grants of this reservation.
    pub reservation_key: Option<String>,
}

/// `/access_methods/assign_card`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AssignCard {
    /// Which gets it.
    pub access_method_id: AccessMethodId,
    /// The card's UID.
    pub card_number: Filled,
}

/// `/access_methods/encode`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Encode {
    /// What to write.
    pub access_method_id: AccessMethodId,
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
}
