//! `/workspaces/…`

use crate::api::envelope::One;
use crate::api::workspaces::{Get, Workspace};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::acs_systems;

pub(super) async fn get(call: Call, Get {}: Get) -> Result<One<Workspace>, ApiError> {
    let workspace = acs_systems::workspace(&mut *call.read().await?, call.system().workspace_id).await?;
    workspace.map(One).ok_or_else(|| ApiError::no::<Workspace>(call.system().workspace_id))
}
