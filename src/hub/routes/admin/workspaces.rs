//! `/encoderd/v1/workspaces/…`

use crate::api::admin::{CreateWorkspace, GetWorkspace, HubWorkspace, ListAll};
use crate::api::envelope::{Many, One};
use crate::api::id::WorkspaceId;
use crate::hub::call::OwnerCall;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::property;
use crate::store::hub::acs_systems;
use crate::store::{Connection, Realm};
use jiff::tz::TimeZone;

/// Makes a workspace with its access system.
pub(in super::super) async fn create(call: OwnerCall, create: CreateWorkspace) -> Result<One<HubWorkspace>, ApiError> {
    let time_zone = create.time_zone.map_or_else(|| "UTC".to_owned(), |zone| zone.0);
    if TimeZone::get(&time_zone).is_err() {
        return Err(Invalid::parameter("time_zone", "Must be an IANA time zone such as Europe/Zurich").into());
    }
    let mut transaction = call.hub().store().begin(Realm::Common).await?;
    let ids = property::create(&mut transaction, &create.name.0, &time_zone).await?;
    let made = existing(&call, &mut transaction, ids.workspace_id).await?;
    transaction.commit().await?;
    tracing::info!(workspace_id = %ids.workspace_id, "workspace made");
    Ok(One(made))
}

/// All workspaces.
pub(in super::super) async fn list(call: OwnerCall, _: ListAll) -> Result<Many<HubWorkspace>, ApiError> {
    let first = call.hub().system().workspace_id;
    let items = acs_systems::hub_workspaces(&mut *call.read().await?, first).await?;
    Ok(Many { items, pagination: None })
}

/// One workspace.
pub(in super::super) async fn get(call: OwnerCall, get: GetWorkspace) -> Result<One<HubWorkspace>, ApiError> {
    let id = get.workspace_id.unwrap_or(call.system().workspace_id);
    existing(&call, &mut *call.read().await?, id).await.map(One)
}

async fn existing(call: &OwnerCall, connection: &mut Connection, id: WorkspaceId) -> Result<HubWorkspace, ApiError> {
    let first = call.hub().system().workspace_id;
    acs_systems::hub_workspace(connection, id, first).await?.ok_or_else(|| ApiError::no::<HubWorkspace>(id))
}
