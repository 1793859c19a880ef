//! `/spaces/…`

use super::{all_known, no_devices, now};
use crate::api::Nothing;
use crate::api::envelope::{Done, Many, One};
use crate::api::events::{Happening, SpaceEvent};
use crate::api::id::{AcsEntranceId, SpaceId, WorkspaceId};
use crate::api::parameters::Filled;
use crate::api::spaces::{Create, Delete, Entrances, Get, List, Space};
use crate::api::time::Time;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::grants;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::spaces::{self, NewSpace};
use crate::store::hub::{access_grants, events};
use crate::store::{Connection, StoreError};
use serde_json::json;

pub(super) async fn create(call: Call, create: Create) -> Result<One<Space>, ApiError> {
    no_devices("device_ids", &create.device_ids)?;
    let own = call.system().connected_account_id;
    if let Some(other) = create.connected_account_ids.into_values().into_iter().find(|account| *account != own) {
        let data = json!({ "connected_account_id": other });
        return Err(ApiError::NotFound { object: "connected_account", data });
    }
    let space = NewSpace {
        space_key: create.space_key.map(|key| key.0),
        customer_key: create.customer_key.map(|key| key.0),
        customer_data: create.customer_data,
        ..new(call.system().workspace_id, create.name, create.acs_entrance_ids.into_values())
    };
    let mut transaction = call.begin().await?;
    make(call.system(), &mut transaction, &space, now()).await?;
    let space = existing(&mut transaction, space.workspace_id, space.space_id).await?;
    transaction.commit().await?;
    Ok(One(space))
}

/// A space without a key.
pub(super) fn new(workspace_id: WorkspaceId, name: Filled, entrances: Vec<AcsEntranceId>) -> NewSpace {
    NewSpace {
        space_id: SpaceId::random(),
        workspace_id,
        space_key: None,
        name: name.0,
        customer_key: None,
        customer_data: None,
        entrances,
    }
}

/// Makes a space.
pub(super) async fn make(
    system: SystemIds,
    connection: &mut Connection,
    space: &NewSpace,
    now: Time,
) -> Result<(), ApiError> {
    all_known(&mut *connection, system.acs_system_id, &space.entrances).await?;
    spaces::create(&mut *connection, space, now).await.map_err(|error| {
        if error.is_conflict() {
            Invalid::parameter("space_key", "Belongs to another space already").into()
        } else {
            ApiError::from(error)
        }
    })?;
    let event = event(&mut *connection, space.space_id, space.space_key.clone()).await?;
    Ok(events::record(connection, space.workspace_id, Happening::SpaceCreated(event), None, now).await?)
}

/// The event part that names a space and its doors.
async fn event(connection: &mut Connection, id: SpaceId, key: Option<String>) -> Result<SpaceEvent, StoreError> {
    Ok(SpaceEvent {
        space_id: id,
        space_key: key,
        device_ids: Nothing::default(),
        acs_entrance_ids: spaces::entrances(connection, id).await?,
    })
}

/// The space with this id.
pub(super) async fn existing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SpaceId,
) -> Result<Space, ApiError> {
    spaces::get(connection, workspace, id).await?.ok_or_else(|| ApiError::no::<Space>(id))
}

/// The space with this id or with this key.
pub(super) async fn named(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: Option<SpaceId>,
    key: Option<&str>,
) -> Result<Space, ApiError> {
    match (id, key) {
        (Some(id), _) => existing(connection, workspace, id).await,
        (None, Some(key)) => spaces::by_key(connection, workspace, key)
            .await?
            .ok_or_else(|| ApiError::no_such::<Space>(json!({ "space_key": key }))),
        (None, None) => Err(Invalid::parameter("space_id", "Required").into()),
    }
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<Space>, ApiError> {
    let mut connection = call.read().await?;
    Ok(One(named(&mut connection, call.system().workspace_id, get.space_id, get.space_key.as_deref()).await?))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<Space>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(spaces::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}

pub(super) async fn add_acs_entrances(call: Call, add: Entrances) -> Result<Done, ApiError> {
    let entrances = add.acs_entrance_ids.into_values();
    if entrances.is_empty() {
        return Err(Invalid::parameter("acs_entrance_ids", "Must contain at least 1 element(s)").into());
    }
    let mut transaction = call.begin().await?;
    let space = existing(&mut transaction, call.system().workspace_id, add.space_id).await?;
    all_known(&mut transaction, call.system().acs_system_id, &entrances).await?;
    let before = space.acs_entrance_count;
    spaces::add_entrances(&mut transaction, space.space_id, &entrances).await?;
    doors_changed(&mut transaction, &space, before).await?;
    transaction.commit().await?;
    Ok(Done::default())
}

pub(super) async fn remove_acs_entrances(call: Call, remove: Entrances) -> Result<Done, ApiError> {
    let entrances = remove.acs_entrance_ids.into_values();
    let mut transaction = call.begin().await?;
    let space = existing(&mut transaction, call.system().workspace_id, remove.space_id).await?;
    all_known(&mut transaction, call.system().acs_system_id, &entrances).await?;
    let before = space.acs_entrance_count;
    spaces::remove_entrances(&mut transaction, space.space_id, &entrances).await?;
    doors_changed(&mut transaction, &space, before).await?;
    transaction.commit().await?;
    Ok(Done::default())
}

/// Brings grants to a space's doors, if these are other ones: they were only added or only removed.
async fn doors_changed(connection: &mut Connection, space: &Space, before: i64) -> Result<(), ApiError> {
    let now = now();
    let event = event(&mut *connection, space.space_id, space.space_key.clone()).await?;
    if i64::try_from(event.acs_entrance_ids.len()) == Ok(before) {
        return Ok(());
    }
    let happening = Happening::SpaceDeviceMembershipChanged(event);
    events::record(&mut *connection, space.workspace_id, happening, None, now).await?;
    for grant in access_grants::of_space(&mut *connection, space.workspace_id, space.space_id).await? {
        grants::doors_changed(&mut *connection, &grant, now).await?;
    }
    Ok(())
}

/// Deletes a space. Grants to it stay, and open its doors no more.
pub(super) async fn remove(call: Call, delete: Delete) -> Result<Done, ApiError> {
    let now = now();
    let mut transaction = call.begin().await?;
    let space = existing(&mut transaction, call.system().workspace_id, delete.space_id).await?;
    let event = event(&mut transaction, space.space_id, space.space_key.clone()).await?;
    let open_it = access_grants::of_space(&mut transaction, space.workspace_id, space.space_id).await?;
    spaces::delete(&mut transaction, space.space_id, now).await?;
    let happening = Happening::SpaceDeleted(event);
    events::record(&mut transaction, space.workspace_id, happening, None, now).await?;
    for grant in open_it {
        grants::doors_changed(&mut transaction, &grant, now).await?;
    }
    transaction.commit().await?;
    Ok(Done::default())
}
