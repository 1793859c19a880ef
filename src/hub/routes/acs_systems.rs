//! `/acs/systems/…`

use crate::api::acs_systems::{AcsSystem, Get, List};
use crate::api::envelope::{Many, One};
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::hub::request::Input;
use crate::store::hub::acs_systems;
use axum::Json;
use axum::extract::State;

pub(super) async fn get(State(hub): State<Hub>, Input(get): Input<Get>) -> Result<Json<One<AcsSystem>>, ApiError> {
    let system = acs_systems::get(&mut *hub.store().read().await?, get.acs_system_id).await?;
    system.map(|system| Json(One(system))).ok_or_else(|| ApiError::no::<AcsSystem>(get.acs_system_id))
}

pub(super) async fn list(State(hub): State<Hub>, Input(list): Input<List>) -> Result<Json<Many<AcsSystem>>, ApiError> {
    let items = acs_systems::list(&mut *hub.store().read().await?, &list).await?;
    Ok(Json(Many { items, pagination: None }))
}
