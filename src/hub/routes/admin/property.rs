//! `/encoderd/v1/property/import`

use super::super::now;
use crate::api::admin::{Import, ImportProperty};
use crate::api::envelope::One;
use crate::hub::call::OwnerCall;
use crate::hub::error::ApiError;
use crate::hub::{import, property};

/// Makes doors known, all or none of them.
pub(in super::super) async fn import(call: OwnerCall, asked: ImportProperty) -> Result<One<Import>, ApiError> {
    let entrances = import::read(&asked.text, asked.format)?;
    let mut transaction = call.begin().await?;
    let done = property::put_doors(&mut transaction, call.system(), &entrances, now()).await?;
    if asked.dry_run {
        return Ok(One(Import { dry_run: true, ..done }));
    }
    transaction.commit().await?;
    tracing::info!(added = done.added, renamed = done.renamed, unchanged = done.unchanged, "property imported");
    Ok(One(done))
}
