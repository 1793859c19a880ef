//! `/acs/systems/…`

use crate::api::acs_systems::{AcsSystem, Get, List};
use crate::api::envelope::{Many, One};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::acs_systems;

pub(super) async fn get(call: Call, get: Get) -> Result<One<AcsSystem>, ApiError> {
    let system = acs_systems::get(&mut *call.read().await?, call.system().workspace_id, get.acs_system_id).await?;
    system.map(One).ok_or_else(|| ApiError::no::<AcsSystem>(get.acs_system_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsSystem>, ApiError> {
    let items = acs_systems::list(&mut *call.read().await?, call.system().workspace_id, &list).await?;
    Ok(Many { items, pagination: None })
}
