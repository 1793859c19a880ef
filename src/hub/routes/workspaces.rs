//! `/workspaces/…`

use crate::api::envelope::One;
use crate::api::workspaces::{Get, Workspace};
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::hub::request::Input;
use crate::store::hub::acs_systems;
use axum::Json;
use axum::extract::State;

pub(super) async fn get(State(hub): State<Hub>, Input(Get {}): Input<Get>) -> Result<Json<One<Workspace>>, ApiError> {
    let workspace = acs_systems::workspace(&mut *hub.store().read().await?).await?;
    workspace.map(|workspace| Json(One(workspace))).ok_or_else(|| ApiError::no::<Workspace>(hub.system().workspace_id))
}
