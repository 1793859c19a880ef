//! `/acs/entrances/…`

use crate::api::acs_entrances::{AcsEntrance, Get, LIMIT_DEFAULT, List};
use crate::api::envelope::{Many, One};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::acs_entrances;

pub(super) async fn get(call: Call, get: Get) -> Result<One<AcsEntrance>, ApiError> {
    let entrance =
        acs_entrances::get(&mut *call.read().await?, call.system().workspace_id, get.acs_entrance_id).await?;
    entrance.map(One).ok_or_else(|| ApiError::no::<AcsEntrance>(get.acs_entrance_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsEntrance>, ApiError> {
    let page = call.page_or(&list.limit, list.page_cursor.as_deref(), LIMIT_DEFAULT)?;
    Ok(call.answer(acs_entrances::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
