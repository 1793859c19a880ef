//! `/acs/entrances/…`

use crate::api::acs_entrances::{AcsEntrance, Get, LIMIT_DEFAULT, List};
use crate::api::envelope::{Many, One};
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::hub::request::{Input, Pages};
use crate::store::hub::acs_entrances;
use axum::Json;
use axum::extract::State;

pub(super) async fn get(State(hub): State<Hub>, Input(get): Input<Get>) -> Result<Json<One<AcsEntrance>>, ApiError> {
    let entrance = acs_entrances::get(&mut *hub.store().read().await?, get.acs_entrance_id).await?;
    entrance.map(|entrance| Json(One(entrance))).ok_or_else(|| ApiError::no::<AcsEntrance>(get.acs_entrance_id))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    pages: Pages,
    Input(list): Input<List>,
) -> Result<Json<Many<AcsEntrance>>, ApiError> {
    let page = pages.page_or(&list.limit, list.page_cursor.as_deref(), LIMIT_DEFAULT)?;
    Ok(pages.answer(acs_entrances::list(&mut *hub.store().read().await?, &list, page).await?))
}
