//! `/workspaces/…`

use crate::api::envelope::Object;
use crate::api::id::WorkspaceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that one API key sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// The property's name.
    pub name: String,
    /// The property's name again.
    pub company_name: String,
    /// The older name of `company_name`.
    pub connect_partner_name: Option<String>,
    /// Nothing of it is used here.
    pub connect_webview_customization: Customization,
    /// Whether doors are make-believe.
    pub is_sandbox: bool,
    /// Never here.
    pub is_suspended: bool,
    /// Never here.
    pub is_publishable_key_auth_enabled: bool,
    /// None here.
    pub organization_id: Option<String>,
}

/// `{}`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Customization {}

impl Object for Workspace {
    const ONE: &'static str = "workspace";
    const MANY: &'static str = "workspaces";
}

/// `/workspaces/get`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Get {}
