//! `/access_methods/…`

use crate::api::access_methods::{AccessMethod, Encode, Get, List};
use crate::api::action_attempts::ActionAttempt;
use crate::api::envelope::{Many, One};
use crate::hub::attempts::{self, Target};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::access_methods;

pub(super) async fn get(call: Call, get: Get) -> Result<One<AccessMethod>, ApiError> {
    let method =
        access_methods::get(&mut *call.read().await?, call.system().workspace_id, get.access_method_id).await?;
    method.map(One).ok_or_else(|| ApiError::no::<AccessMethod>(get.access_method_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AccessMethod>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(access_methods::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}

pub(super) async fn encode(call: Call, encode: Encode) -> Result<One<ActionAttempt>, ApiError> {
    let target = Target::AccessMethod(encode.access_method_id);
    Ok(One(attempts::encode(&call, encode.acs_encoder_id, target).await?))
}
