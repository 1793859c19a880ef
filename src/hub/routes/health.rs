//! `/healthz`, `/readyz`: without a key, for whoever watches the service.

use crate::api::envelope::Done;
use crate::api::workspaces::Get;
use crate::hub::call::OpenCall;
use crate::hub::error::ApiError;
use crate::store::hub::acs_systems;

/// The hub answers.
pub(super) async fn alive(_: OpenCall, _: Get) -> Result<Done, ApiError> {
    Ok(Done::default())
}

/// The database answers too.
pub(super) async fn ready(call: OpenCall, _: Get) -> Result<Done, ApiError> {
    acs_systems::ping(&mut *call.read().await?).await?;
    Ok(Done::default())
}
