//! `/access_methods/…`

use crate::api::access_methods::{AccessMethod, Encode, Get, List};
use crate::api::action_attempts::ActionAttempt;
use crate::api::envelope::{Many, One};
use crate::hub::Hub;
use crate::hub::attempts::{self, Target};
use crate::hub::error::ApiError;
use crate::hub::request::{Input, Pages};
use crate::store::hub::access_methods;
use axum::Json;
use axum::extract::State;

pub(super) async fn get(State(hub): State<Hub>, Input(get): Input<Get>) -> Result<Json<One<AccessMethod>>, ApiError> {
    let method = access_methods::get(&mut *hub.store().read().await?, get.access_method_id).await?;
    method.map(|method| Json(One(method))).ok_or_else(|| ApiError::no::<AccessMethod>(get.access_method_id))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    pages: Pages,
    Input(list): Input<List>,
) -> Result<Json<Many<AccessMethod>>, ApiError> {
    let page = pages.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(pages.answer(access_methods::list(&mut *hub.store().read().await?, &list, page).await?))
}

pub(super) async fn encode(
    State(hub): State<Hub>,
    Input(encode): Input<Encode>,
) -> Result<Json<One<ActionAttempt>>, ApiError> {
    let target = Target::AccessMethod(encode.access_method_id);
    Ok(Json(One(attempts::encode(&hub, encode.acs_encoder_id, target).await?)))
}
