//! `/events/…`

use crate::api::envelope::{Many, One};
use crate::api::events::{Event, Get, List};
use crate::api::parameters::LIMIT_DEFAULT;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::store::hub::events;
use serde_json::json;

pub(super) async fn get(call: Call, get: Get) -> Result<One<Event>, ApiError> {
    if get.event_id.is_none() && get.event_type.is_none() {
        return Err(Invalid::parameter("event_id", "Required, or event_type").into());
    }
    let event = events::get(&mut *call.read().await?, call.system().workspace_id, &get).await?;
    event
        .map(One)
        .ok_or_else(|| ApiError::no_such::<Event>(json!({ "event_id": get.event_id, "event_type": get.event_type })))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<Event>, ApiError> {
    if list.between.0.as_ref().is_some_and(|between| between.len() != 2) {
        return Err(Invalid::parameter("between", "Array must contain exactly 2 element(s)").into());
    }
    let items =
        events::list(&mut *call.read().await?, call.system().workspace_id, &list, list.limit.or(LIMIT_DEFAULT)).await?;
    Ok(Many { items, pagination: None })
}
