//! `/events/…`

use crate::api::Nothing;
use crate::api::envelope::Object;
use crate::api::id::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEncoderId, AcsEntranceId, AcsSystemId, AcsUserId,
    ConnectedAccountId, ElsewhereId, EventId, SpaceId, UserIdentityId, WorkspaceId,
};
use crate::api::parameters::{AnyOf, Limit};
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its id.
    pub event_id: EventId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// When the hub wrote it down.
    pub created_at: Time,
    /// When it happened.
    pub occurred_at: Time,
    /// What happened; its `event_type` and that type's keys.
    #[serde(flatten)]
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event_type")]
pub enum Happening {
    /// The hub serves an access system for the first time.
    #[serde(rename = "acs_system.added")]
    AcsSystemAdded(SystemEvent),
    /// A door is new.
    #[serde(rename = "acs_entrance.added")]
    AcsEntranceAdded(EntranceEvent),
    /// A person was made known to an access system.
    #[serde(rename = "acs_user.created")]
    AcsUserCreated(UserEvent),
    /// A person was taken out of an access system.
    #[serde(rename = "acs_user.deleted")]
    AcsUserDeleted(UserEvent),
    /// An encoder is new, or linked again.
    #[serde(rename = "acs_encoder.added")]
    AcsEncoderAdded(EncoderEvent),
    /// An encoder's link to its device was dissolved.
    #[serde(rename = "acs_encoder.removed")]
    AcsEncoderRemoved(EncoderEvent),
    /// A credential is on a card.
    #[serde(rename = "acs_credential.issued")]
    AcsCredentialIssued(CredentialEvent),
    /// A credential was written to its card again.
    #[serde(rename = "acs_credential.reissued")]
    AcsCredentialReissued(CredentialEvent),
    /// A credential's card carries another one.
    #[serde(rename = "acs_credential.invalidated")]
    AcsCredentialInvalidated(CredentialEvent),
    /// A credential was deleted.
    #[serde(rename = "acs_credential.deleted")]
    AcsCredentialDeleted(CredentialEvent),
    /// An access grant was made.
    #[serde(rename = "access_grant.created")]
    AccessGrantCreated(GrantEvent),
    /// An access grant was deleted.
    #[serde(rename = "access_grant.deleted")]
    AccessGrantDeleted(GrantEvent),
    /// A card of a grant opens a door that none of its cards opened before.
    #[serde(rename = "access_grant.access_granted_to_door")]
    AccessGrantAccessGrantedToDoor(GrantDoorEvent),
    /// The cards of a grant open all of its doors.
    #[serde(rename = "access_grant.access_granted_to_all_doors")]
    AccessGrantAccessGrantedToAllDoors(GrantEvent),
    /// No card of a grant opens a door any more.
    #[serde(rename = "access_grant.access_to_door_lost")]
    AccessGrantAccessToDoorLost(GrantDoorEvent),
    /// An access grant begins or ends at another time.
    #[serde(rename = "access_grant.access_times_changed")]
    AccessGrantAccessTimesChanged(GrantTimesEvent),
    /// An access method was made.
    #[serde(rename = "access_method.created")]
    AccessMethodCreated(MethodEvent),
    /// A card has to be written.
    #[serde(rename = "access_method.card_encoding_required")]
    AccessMethodCardEncodingRequired(MethodEvent),
    /// A card was written.
    #[serde(rename = "access_method.issued")]
    AccessMethodIssued(MethodEvent),
    /// A card was written again.
    #[serde(rename = "access_method.reissued")]
    AccessMethodReissued(MethodEvent),
    /// An access method that was on a card is not valid any more.
    #[serde(rename = "access_method.revoked")]
    AccessMethodRevoked(MethodEvent),
    /// An access method was deleted.
    #[serde(rename = "access_method.deleted")]
    AccessMethodDeleted(MethodEvent),
    /// A space was made.
    #[serde(rename = "space.created")]
    SpaceCreated(SpaceEvent),
    /// A space was deleted.
    #[serde(rename = "space.deleted")]
    SpaceDeleted(SpaceEvent),
    /// A space has other doors.
    #[serde(rename = "space.device_membership_changed")]
    SpaceDeviceMembershipChanged(SpaceEvent),
}

/// About an access system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemEvent {
    /// The system.
    pub acs_system_id: AcsSystemId,
    /// Its account.
    pub connected_account_id: ConnectedAccountId,
}

/// About a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntranceEvent {
    /// Its system.
    #[serde(flatten)]
    pub system: SystemEvent,
    /// The door.
    pub acs_entrance_id: AcsEntranceId,
}

/// About a person in an access system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserEvent {
    /// The system.
    #[serde(flatten)]
    pub system: SystemEvent,
    /// The person there.
    pub acs_user_id: AcsUserId,
}

/// About an encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncoderEvent {
    /// Its system.
    #[serde(flatten)]
    pub system: SystemEvent,
    /// The encoder.
    pub acs_encoder_id: AcsEncoderId,
}

/// About a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialEvent {
    /// Its system.
    #[serde(flatten)]
    pub system: SystemEvent,
    /// The credential.
    pub acs_credential_id: AcsCredentialId,
}

/// About an access grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantEvent {
    /// The grant.
    pub access_grant_id: AccessGrantId,
}

/// About an access grant and a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantDoorEvent {
    /// The grant.
    pub access_grant_id: AccessGrantId,
    /// The door.
    pub acs_entrance_id: AcsEntranceId,
}

/// About a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceEvent {
    /// The space.
    pub space_id: SpaceId,
    /// The caller's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_key: Option<String>,
    /// This hub has no devices.
    pub device_ids: Nothing,
    /// Its doors; those that it had, once it was deleted.
    pub acs_entrance_ids: Vec<AcsEntranceId>,
}

/// About an access grant's times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantTimesEvent {
    /// The grant.
    pub access_grant_id: AccessGrantId,
    /// The caller's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_grant_key: Option<String>,
    /// From when.
    pub starts_at: Time,
    /// Until when; absent: without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
}

/// About an access method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MethodEvent {
    /// The access method.
    pub access_method_id: AccessMethodId,
    /// Its grants; one here.
    pub access_grant_ids: Vec<AccessGrantId>,
    /// The callers' own keys of those grants.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub access_grant_keys: Vec<String>,
}

impl Object for Event {
    const ONE: &'static str = "event";
    const MANY: &'static str = "events";
}

/// `/events/get`: by its id; or the newest of a type.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub event_id: Option<EventId>,
    /// Of this type.
    pub event_type: Option<String>,
}

/// `/encoderd/v1/events`: server-sent events.
///
/// Messages of the type `event` carry an event of the API and its place as `id`; those of the type `encoder` an encoder
/// that changed, as `/encoderd/v1/encoders` shows it. The header `last-event-id`, which browsers send by themselves when
/// they connect again, goes on behind that place.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Watch {
    /// Goes on behind this place, as `last-event-id` does; absent: from now on.
    pub after: Option<i64>,
    /// Tells of encoders too: all of them at first, then those that change.
    pub encoders: Option<bool>,
}

/// `/events/list`; without `since` and `between`: the newest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct List {
    /// From then on.
    pub since: Option<Time>,
    /// From the first until before the second.
    pub between: AnyOf<Time>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Of these types.
    pub event_types: AnyOf<String>,
    /// These.
    pub event_ids: AnyOf<EventId>,
    /// About this grant.
    pub access_grant_id: Option<AccessGrantId>,
    /// About these grants.
    pub access_grant_ids: AnyOf<AccessGrantId>,
    /// About this access method.
    pub access_method_id: Option<AccessMethodId>,
    /// About these access methods.
    pub access_method_ids: AnyOf<AccessMethodId>,
    /// About this credential.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// About this encoder.
    pub acs_encoder_id: Option<AcsEncoderId>,
    /// About this door.
    pub acs_entrance_id: Option<AcsEntranceId>,
    /// About this system.
    pub acs_system_id: Option<AcsSystemId>,
    /// About these systems.
    pub acs_system_ids: AnyOf<AcsSystemId>,
    /// About this person in an access system.
    pub acs_user_id: Option<AcsUserId>,
    /// About systems of this account.
    pub connected_account_id: Option<ConnectedAccountId>,
    /// About this person.
    pub user_identity_id: Option<UserIdentityId>,
    /// About an access code; this hub has none.
    pub access_code_id: Option<ElsewhereId>,
    /// About access codes; this hub has none.
    pub access_code_ids: AnyOf<ElsewhereId>,
    /// About an access group; this hub has none.
    pub acs_access_group_id: Option<ElsewhereId>,
    /// About a connect webview; this hub has none.
    pub connect_webview_id: Option<ElsewhereId>,
    /// About a customer; this hub has none.
    pub customer_key: Option<String>,
    /// About a device; this hub has none.
    pub device_id: Option<ElsewhereId>,
    /// About devices; this hub has none.
    pub device_ids: AnyOf<ElsewhereId>,
    /// About this space.
    pub space_id: Option<SpaceId>,
    /// About these spaces.
    pub space_ids: AnyOf<SpaceId>,
    /// At most so many.
    pub limit: Limit,
}
