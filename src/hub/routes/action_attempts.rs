//! `/action_attempts/…`

use crate::api::action_attempts::{ActionAttempt, Get, List};
use crate::api::envelope::{Many, One};
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::hub::request::{Input, Pages};
use crate::store::hub::action_attempts;
use axum::Json;
use axum::extract::State;

pub(super) async fn get(State(hub): State<Hub>, Input(get): Input<Get>) -> Result<Json<One<ActionAttempt>>, ApiError> {
    let attempt = action_attempts::get(&mut *hub.store().read().await?, get.action_attempt_id).await?;
    attempt.map(|attempt| Json(One(attempt.object))).ok_or_else(|| ApiError::no::<ActionAttempt>(get.action_attempt_id))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    pages: Pages,
    Input(list): Input<List>,
) -> Result<Json<Many<ActionAttempt>>, ApiError> {
    let page = pages.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(pages.answer(action_attempts::list(&mut *hub.store().read().await?, &list, page).await?))
}
