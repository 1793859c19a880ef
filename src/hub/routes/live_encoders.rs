//! `/encoderd/v1/…`: what the Seam API has no path for.

use crate::api::acs_encoders::{List, ListLive, LiveEncoder};
use crate::api::envelope::Many;
use crate::api::parameters::LIMIT_MAX;
use crate::hub::Hub;
use crate::hub::error::ApiError;
use crate::hub::request::Input;
use crate::store::hub::acs_encoders;
use crate::store::hub::select::Page;
use axum::Json;
use axum::extract::State;

/// All encoders with what their daemons last said of them.
pub(super) async fn encoders(
    State(hub): State<Hub>,
    Input(ListLive {}): Input<ListLive>,
) -> Result<Json<Many<LiveEncoder>>, ApiError> {
    let page = Page { limit: LIMIT_MAX, after: None };
    let encoders = acs_encoders::list(&mut *hub.store().read().await?, &List::default(), page).await?;
    let items = encoders.items.iter().map(|encoder| hub.live().encoder(encoder)).collect();
    Ok(Json(Many { items, pagination: None }))
}
