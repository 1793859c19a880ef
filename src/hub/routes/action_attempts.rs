//! `/action_attempts/…`

use crate::api::action_attempts::{ActionAttempt, Get, List};
use crate::api::envelope::{Many, One};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::action_attempts;

pub(super) async fn get(call: Call, get: Get) -> Result<One<ActionAttempt>, ApiError> {
    let attempt =
        action_attempts::get(&mut *call.read().await?, call.system().workspace_id, get.action_attempt_id).await?;
    attempt.map(|attempt| One(attempt.object)).ok_or_else(|| ApiError::no::<ActionAttempt>(get.action_attempt_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<ActionAttempt>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(action_attempts::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
