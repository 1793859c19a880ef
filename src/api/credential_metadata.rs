//! What vendors' systems know of a credential beside the API's own fields: `visionline_metadata` and its like.
//!
//! A card of this hub is none of these vendors', but what their fields say of guests holds for any card: whether it
//! overrides the earlier guests' cards or joins them, how often it opens, and which doors are everybody's.
//!
//! Fields as `@seamapi/types` 1.977.0 have them in `/acs/credentials/create` and in the object; the object has not all
//! of them. Fields that neither has, and that the hub takes all the same, say so.

use crate::api::id::{AcsCredentialId, AcsEntranceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// All of it, as it was given and is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// Of ASSA ABLOY Visionline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visionline_metadata: Option<Visionline>,
    /// Of ASSA ABLOY Vostio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assa_abloy_vostio_metadata: Option<Vostio>,
    /// Of Hotek.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotek_metadata: Option<Hotek>,
    /// Of Salto Space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salto_space_metadata: Option<SaltoSpace>,
}

/// `visionline_metadata`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Visionline {
    /// Of a phone; kept and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assa_abloy_credential_service_mobile_endpoint_id: Option<Uuid>,
    /// Overrides when it is the only card on its doors, joins otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_join: Option<bool>,
    /// Kept and nothing else: the card's format is the encoder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_format: Option<CardFormat>,
    /// Whose card it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_function_type: Option<CardFunction>,
    /// The older name of `override`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_override_key: Option<bool>,
    /// The cards that it lives beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joiner_acs_credential_ids: Option<Vec<AcsCredentialId>>,
    /// Earlier guests' cards of its doors end with its first use.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<bool>,
    /// More of its own doors. In the types the object alone has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
    /// Doors that all guests share, which it opens too. In the types the object alone has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
    /// Opens once. In the types the credential itself alone has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_one_time_use: Option<bool>,
}

/// A card's format in Visionline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CardFormat {
    /// A TLCode card.
    #[serde(rename = "TLCode")]
    TlCode,
    /// A card with 48 bytes.
    #[serde(rename = "rfid48")]
    Rfid48,
}

/// Whose card it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardFunction {
    /// A guest's.
    #[default]
    Guest,
    /// One of the staff's: it neither overrides guests nor joins them.
    Staff,
}

/// `assa_abloy_vostio_metadata`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Vostio {
    /// Overrides when it is the only card on its doors, joins otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_join: Option<bool>,
    /// Joins on all its doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_all_guest_acs_entrances: Option<bool>,
    /// Overrides on all its doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_all_guest_acs_entrances: Option<bool>,
    /// Overrides on these doors. A card does so on all of its doors or on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_guest_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
}

/// `hotek_metadata`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Hotek {
    /// Overrides when it is the only card on its doors, joins otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_join: Option<bool>,
    /// Earlier guests' cards of its doors end with its first use.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<bool>,
}

/// `salto_space_metadata`; kept and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SaltoSpace {
    /// A new key is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assign_new_key: Option<bool>,
    /// The key that there is is written again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_current_key: Option<bool>,
}

/// The part of `visionline_metadata` that the object has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownVisionline {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_join: Option<bool>,
    /// A guest's, unless something else was given.
    pub card_function_type: CardFunction,
    /// As they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
    /// As they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
    /// As they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joiner_acs_credential_ids: Option<Vec<AcsCredentialId>>,
}

impl From<Visionline> for ShownVisionline {
    fn from(kept: Visionline) -> Self {
        Self {
            auto_join: kept.auto_join,
            card_function_type: kept.card_function_type.unwrap_or_default(),
            common_acs_entrance_ids: kept.common_acs_entrance_ids,
            guest_acs_entrance_ids: kept.guest_acs_entrance_ids,
            joiner_acs_credential_ids: kept.joiner_acs_credential_ids,
        }
    }
}

/// The part of `assa_abloy_vostio_metadata` that the object has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownVostio {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_join: Option<bool>,
    /// As they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_guest_acs_entrance_ids: Option<Vec<AcsEntranceId>>,
}

impl From<Vostio> for ShownVostio {
    fn from(kept: Vostio) -> Self {
        Self { auto_join: kept.auto_join, override_guest_acs_entrance_ids: kept.override_guest_acs_entrance_ids }
    }
}
