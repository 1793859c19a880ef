//! `/healthz`, `/readyz`, `/metrics`: for whoever watches the service.

use crate::api::envelope::Done;
use crate::api::health::Ready;
use crate::api::workspaces::Get;
use crate::hub::auth::Watcher;
use crate::hub::call::{Call, OpenCall};
use crate::hub::error::ApiError;
use crate::store::StoreError;
use crate::store::hub::acs_systems;
use crate::telemetry::{Hop, metrics as numbers};
use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// The hub answers.
pub(super) async fn alive(_: OpenCall, _: Get) -> Result<Done, ApiError> {
    Ok(Done::default())
}

/// Everything that is needed answers: the database, and in a desk's daemon its other parts.
pub(super) async fn ready(call: OpenCall, _: Get, _: HeaderMap) -> Result<Response, ApiError> {
    let database = ping(&call).await.map_err(|error| error.to_string());
    call.hub().readiness().set(Hop::Database, database);
    let report: Ready = call.hub().readiness().report();
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(report)).into_response())
}

async fn ping(call: &OpenCall) -> Result<(), StoreError> {
    acs_systems::ping(&mut *call.read().await?).await
}

/// The numbers of this process.
pub(super) async fn metrics(_: Call<Watcher>, _: Get, _: HeaderMap) -> Result<Response, ApiError> {
    Ok(([(header::CONTENT_TYPE, numbers::CONTENT_TYPE)], numbers::render()).into_response())
}
