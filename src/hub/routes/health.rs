//! `/healthz`, `/readyz`: without a key, for whoever watches the service.

use crate::api::envelope::Done;
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::store::hub::acs_systems;
use axum::Json;
use axum::extract::State;

/// The hub answers.
pub(super) async fn alive() -> Json<Done> {
    Json(Done::default())
}

/// The database answers too.
pub(super) async fn ready(State(hub): State<Hub>) -> Result<Json<Done>, ApiError> {
    acs_systems::workspace(&mut *hub.store().read().await?).await?;
    Ok(Json(Done::default()))
}
