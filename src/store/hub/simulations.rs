//! What the next encode or scan of an encoder is to end with. Kept here, so that any node plays it.

use super::select::Select;
use super::{Columns as _, to_json};
use crate::api::id::{AcsCredentialId, AcsEncoderId};
use crate::api::simulate::Ending;
use crate::api::time::Time;
use crate::fault::Work;
use crate::store::{Connection, StoreError};

const SELECT: &str = "SELECT p.acs_credential_id, p.ending FROM simulation p";

/// The column's word for a kind of work: whatever a card is read for, it is one look at it.
fn word(work: Work) -> &'static str {
    match work {
        Work::Encode => "encode",
        Work::Scan | Work::ScanToAssign | Work::Assign => "scan",
    }
}

/// Arranges an end; an earlier one that was not used gives way.
pub async fn put(
    connection: &mut Connection,
    encoder: AcsEncoderId,
    work: Work,
    credential: Option<AcsCredentialId>,
    ending: &Ending,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO simulation (acs_encoder_id, work, acs_credential_id, ending, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (acs_encoder_id, work) DO UPDATE SET acs_credential_id = excluded.acs_credential_id,
         ending = excluded.ending, created_at = excluded.created_at",
    )
    .bind(encoder.to_string())
    .bind(word(work))
    .bind(credential.map(|id| id.to_string()))
    .bind(to_json(ending))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the arranged end, if there is one and it is not for another credential. It is gone then.
pub async fn take(
    connection: &mut Connection,
    encoder: AcsEncoderId,
    work: Work,
    credential: Option<AcsCredentialId>,
) -> Result<Option<Ending>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("p.acs_encoder_id = $", Some(encoder));
    select.and_value("p.work = $", word(work));
    let rows = select.fetch("", &mut *connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let only = row.maybe_id("acs_credential_id")?;
    if only.is_some() && only != credential {
        return Ok(None);
    }
    let ending = row.json("ending")?;
    sqlx::query("DELETE FROM simulation WHERE acs_encoder_id = $1 AND work = $2")
        .bind(encoder.to_string())
        .bind(word(work))
        .execute(connection)
        .await?;
    Ok(Some(ending))
}
