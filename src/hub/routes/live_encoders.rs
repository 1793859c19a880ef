//! `/encoderd/v1/encoders`: what the Seam API has no path for.

use crate::api::acs_encoders::{ListLive, LiveEncoder};
use crate::api::envelope::Many;
use crate::hub::call::Call;
use crate::hub::encoders;
use crate::hub::error::ApiError;

/// All encoders with what their daemons last said of them.
pub(super) async fn list(call: Call, _: ListLive) -> Result<Many<LiveEncoder>, ApiError> {
    let items = encoders::all_live(call.hub(), &mut *call.read().await?, call.system().workspace_id).await?;
    Ok(Many { items, pagination: None })
}
