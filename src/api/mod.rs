//! Objects and parameters of the Seam API and of the bridge protocol: serde only, shared by the hub and its clients.
//!
//! One file a resource; each holds the object as the API answers it and the parameters of its endpoints. Fields that
//! the API's types call required are always there, null where they are nullable; optional fields that are not nullable
//! are left out. No key stands here that the types do not know: their strict schemas refuse it.
//!
//! Source of all objects and parameters: `@seamapi/types` 1.977.0 (OpenAPI document and zod models).

pub mod access_grants;
pub mod access_methods;
pub mod acs_credentials;
pub mod acs_encoders;
pub mod acs_entrances;
pub mod acs_systems;
pub mod acs_users;
pub mod action_attempts;
pub mod admin;
pub mod bridge;
pub mod credential_metadata;
pub mod envelope;
pub mod events;
pub mod health;
pub mod id;
pub mod parameters;
pub mod simulate;
pub mod spaces;
pub mod time;
pub mod user_identities;
pub mod webhooks;
pub mod workspaces;

use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How somebody is let in. This hub makes cards only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// A PIN.
    Code,
    /// A plastic card.
    Card,
    /// A key on a phone.
    MobileKey,
    /// A key that a server holds.
    CloudKey,
}

/// A warning on an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// One of the codes that the object's type knows.
    pub warning_code: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub created_at: Time,
}

/// An error on an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectError {
    /// One of the codes that the object's type knows.
    pub error_code: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub created_at: Time,
}

/// A list that is required and that this hub has nothing to say in, such as an access method's `pending_mutations`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing([(); 0]);

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pagination {
    /// Whether there is more.
    pub has_next_page: bool,
    /// To be sent as `page_cursor`; base64.
    pub next_page_cursor: Option<String>,
    /// The next page of a GET.
    pub next_page_url: Option<String>,
}
