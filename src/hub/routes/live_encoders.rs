//! `/encoderd/v1/encoders`: what the Seam API has no path for.

use crate::api::acs_encoders::{List, ListLive, LiveEncoder};
use crate::api::envelope::Many;
use crate::api::parameters::LIMIT_MAX;
use crate::hub::call::Call;
use crate::hub::encoders;
use crate::hub::error::ApiError;
use crate::store::hub::acs_encoders;
use crate::store::hub::select::Page;

/// All encoders with what their daemons last said of them.
pub(super) async fn list(call: Call, _: ListLive) -> Result<Many<LiveEncoder>, ApiError> {
    let page = Page { limit: LIMIT_MAX, after: None };
    let mut connection = call.read().await?;
    let known = acs_encoders::list(&mut connection, call.system().workspace_id, &List::default(), page).await?;
    let mut items = Vec::with_capacity(known.items.len());
    for encoder in &known.items {
        items.push(encoders::live(call.hub(), &mut connection, encoder).await?);
    }
    Ok(Many { items, pagination: None })
}
