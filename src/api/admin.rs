//! `/encoderd/v1/…`: administration of a hub, for its owner. The Seam API has no paths for it.

use crate::api::envelope::Object;
use crate::api::id::{AcsSystemId, ApiKeyId, BridgeId, BridgeTokenId, WorkspaceId};
use crate::api::parameters::Filled;
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest time that a rotated key may live on: 30 days.
pub const GRACE_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

/// A secret that is answered once. It does not print itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A workspace with its access system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HubWorkspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Its access system.
    pub acs_system_id: AcsSystemId,
    /// The property's name.
    pub name: String,
    /// Its IANA time zone.
    pub time_zone: Option<String>,
    /// The one that the configuration names, and that the hub's own key means without `seam-workspace`.
    pub is_first: bool,
    /// When it was made.
    pub created_at: Time,
}

impl Object for HubWorkspace {
    const ONE: &'static str = "workspace";
    const MANY: &'static str = "workspaces";
}

/// `/encoderd/v1/workspaces/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateWorkspace {
    /// The property's name.
    pub name: Filled,
    /// Its IANA time zone, such as `Europe/Zurich`; UTC without.
    pub time_zone: Option<Filled>,
}

/// `/encoderd/v1/workspaces/get`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetWorkspace {
    /// Which; without: the one that `seam-workspace` names, or the first.
    pub workspace_id: Option<WorkspaceId>,
}

/// A list of everything.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListAll {}

/// What a key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Opens one workspace, for an application.
    #[default]
    ApiKey,
    /// Opens the workspace that each request names in `seam-workspace`, for a person.
    PersonalAccessToken,
}

/// A key to the Seam API, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// Its id.
    pub api_key_id: ApiKeyId,
    /// What it is.
    pub kind: KeyKind,
    /// What it opens; null: each workspace that a request names.
    pub workspace_id: Option<WorkspaceId>,
    /// Whose it is or what it is for.
    pub name: String,
    /// How it begins, to be told from others.
    pub prefix: String,
    /// When it was made.
    pub created_at: Time,
    /// Since when it opens nothing, or from when on.
    pub revoked_at: Option<Time>,
}

impl Object for ApiKey {
    const ONE: &'static str = "api_key";
    const MANY: &'static str = "api_keys";
}

/// A key that was just made. This is the only time that it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewApiKey {
    /// What may be shown again.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// The key itself; the hub keeps its hash only.
    pub key: Secret,
}

impl Object for NewApiKey {
    const ONE: &'static str = "api_key";
    const MANY: &'static str = "api_keys";
}

/// `/encoderd/v1/api_keys/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateKey {
    /// Whose it is or what it is for.
    pub name: Filled,
    /// What it is.
    #[serde(default)]
    pub kind: KeyKind,
}

/// `/encoderd/v1/api_keys/revoke`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevokeKey {
    /// Which.
    pub api_key_id: ApiKeyId,
}

/// `/encoderd/v1/api_keys/rotate`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotateKey {
    /// Which.
    pub api_key_id: ApiKeyId,
    /// How long the old key still opens; at once revoked without.
    #[serde(default)]
    pub grace_seconds: Option<u64>,
}

/// A key that was replaced by a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RotatedKey {
    /// The new one.
    pub api_key: NewApiKey,
    /// The old one, with the moment when it stops opening.
    pub replaced_api_key: ApiKey,
    /// Always true.
    pub ok: bool,
}

/// How a property is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PropertyFormat {
    /// A line for each door, the first one `name,door`; separated by commas, semicolons or tabs.
    #[default]
    Csv,
    /// `entrances = [ { name = "Room 101", door = 101 }, … ]`, or `[[entrances]]` tables.
    Toml,
}

/// `/encoderd/v1/property/import`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ImportProperty {
    /// The doors, as text.
    pub text: String,
    /// How they are written down.
    #[serde(default)]
    pub format: PropertyFormat,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an import did, or would do. Doors that it does not name stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// Doors that the property did not have.
    pub added: usize,
    /// Doors that had another name.
    pub renamed: usize,
    /// Doors that were the same already.
    pub unchanged: usize,
    /// Nothing was changed: it was only asked what would be.
    pub dry_run: bool,
}

impl Object for Import {
    const ONE: &'static str = "import";
    const MANY: &'static str = "imports";
}

/// A line of an import that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrongLine {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for WrongLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// `/encoderd/v1/pairing_codes/create`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CreatePairingCode {
    /// The desk's name; without, the desk gives its own.
    pub name: Option<Filled>,
}

/// A code by which one desk gets its token. This is the only time that it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairingCode {
    /// The code, to be typed at the desk.
    pub code: Secret,
    /// The desk's name, if it was given.
    pub name: Option<String>,
    /// Where the desk will work.
    pub workspace_id: WorkspaceId,
    /// When the code ends.
    pub expires_at: Time,
}

impl Object for PairingCode {
    const ONE: &'static str = "pairing_code";
    const MANY: &'static str = "pairing_codes";
}

/// A paired desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairedBridge {
    /// Its token's id.
    pub bridge_token_id: BridgeTokenId,
    /// Its daemon; null before that has used the token.
    pub bridge_id: Option<BridgeId>,
    /// Where it works.
    pub workspace_id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Whether its daemon asks for work.
    pub connected: bool,
    /// When it was last seen, to within five minutes.
    pub last_seen_at: Option<Time>,
    /// When it was paired.
    pub created_at: Time,
    /// Since when its token opens nothing.
    pub revoked_at: Option<Time>,
}

impl Object for PairedBridge {
    const ONE: &'static str = "bridge";
    const MANY: &'static str = "bridges";
}

/// `/encoderd/v1/bridges/revoke`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevokeBridge {
    /// Which.
    pub bridge_token_id: BridgeTokenId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret("seam_secret".to_owned());
        assert!(!format!("{secret:?}").contains("seam"));
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"seam_secret\"");
    }
}
