//! `/action_attempts/…`, and the last ones at `/encoderd/v1/attempts`

use crate::api::action_attempts::{ActionAttempt, Get, LastAttempt, List, ListLast};
use crate::api::envelope::{All, Many, One};
use crate::hub::call::Call;
use crate::hub::error::ApiError;
use crate::store::hub::action_attempts;

/// How many of the last attempts are shown unless something else is asked for.
const LAST_DEFAULT: u32 = 50;

pub(super) async fn get(call: Call, get: Get) -> Result<One<ActionAttempt>, ApiError> {
    let attempt =
        action_attempts::get(&mut *call.read().await?, call.system().workspace_id, get.action_attempt_id).await?;
    attempt.map(|attempt| One(attempt.object)).ok_or_else(|| ApiError::no::<ActionAttempt>(get.action_attempt_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<ActionAttempt>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(action_attempts::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}

/// The last attempts, which the Seam API's list has at its far end.
pub(super) async fn last(call: Call, list: ListLast) -> Result<All<LastAttempt>, ApiError> {
    let workspace = call.system().workspace_id;
    Ok(All(action_attempts::last(&mut *call.read().await?, workspace, list.limit.or(LAST_DEFAULT)).await?))
}
