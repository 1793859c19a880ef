//! Jobs: what daemons are offered, and what they made of it.
//!
//! A job waits, is offered, is started and is done. It is offered to one poll at a time: each offer is one `UPDATE`
//! that names the state it found, and raises the fence.

use super::{Columns as _, to_json};
use crate::api::bridge::{Job, JobWork, Outcome};
use crate::api::id::{AcsEncoderId, ActionAttemptId, BridgeId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;
use std::time::Duration;

/// What is kept of the work of a raw image's job that has ended.
pub const WIPED: &str = r#"{"type":"raw","image":{}}"#;

/// A job as the database keeps it.
#[derive(Clone, Debug)]
pub struct StoredJob {
    /// As it is offered.
    pub job: Job,
    /// The daemon that has the encoder.
    pub bridge_id: Option<BridgeId>,
}

/// Who asks for work, and when.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Where the daemon works.
    pub workspace_id: WorkspaceId,
    /// The daemon.
    pub bridge_id: BridgeId,
    /// The jobs that it has in hand.
    pub in_hand: Vec<ActionAttemptId>,
    /// When it began to ask.
    pub since: Time,
    /// Now.
    pub now: Time,
    /// How long an offer that was not followed by a start stands against other polls.
    pub lease: Duration,
}

/// The answer to an earlier result for the same offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// Whether it settled the attempt.
    pub settled: bool,
}

/// Makes a job.
pub async fn create(
    connection: &mut Connection,
    id: ActionAttemptId,
    encoder: AcsEncoderId,
    work: &JobWork,
    card_wait: Duration,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job (action_attempt_id, acs_encoder_id, work, card_wait_ms, state, fence, moved_at)
         VALUES ($1, $2, $3, $4, 'waiting', 0, $5)",
    )
    .bind(id.to_string())
    .bind(encoder.to_string())
    .bind(to_json(work))
    .bind(i64::try_from(card_wait.as_millis()).unwrap_or(i64::MAX))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// The jobs that a daemon could be offered now, oldest first.
///
/// A waiting job always. One that was offered or started before only to a poll that does not have it in hand: one that
/// began after that offer or start, for then its daemon has lost the job; or, if it was never started, any poll once
/// the lease is over.
pub async fn on_offer(connection: &mut Connection, asking: &Asking) -> Result<Vec<ActionAttemptId>, StoreError> {
    let lease_ms = i64::try_from(asking.lease.as_millis()).unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT j.action_attempt_id FROM job j JOIN acs_encoder n ON n.acs_encoder_id = j.acs_encoder_id
         WHERE n.bridge_id = $1 AND j.state <> 'done'
         AND EXISTS (SELECT 1 FROM acs_system s WHERE s.acs_system_id = n.acs_system_id AND s.workspace_id = $4)
         AND (j.state = 'waiting' OR j.moved_at <= $2 OR (j.state = 'offered' AND j.moved_at <= $3))
         ORDER BY j.moved_at, j.action_attempt_id",
    )
    .bind(asking.bridge_id.to_string())
    .bind(asking.since.ms())
    .bind(asking.now.ms().saturating_sub(lease_ms))
    .bind(asking.workspace_id.to_string())
    .fetch_all(connection)
    .await?;
    let mut ids = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = row.id("action_attempt_id")?;
        if !asking.in_hand.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The daemons that could be offered a job now although nobody may have rung for it: a job that was made on another node
/// or whose offer's lease is over.
pub async fn unclaimed(connection: &mut Connection, now: Time, lease: Duration) -> Result<Vec<BridgeId>, StoreError> {
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT DISTINCT n.bridge_id FROM job j JOIN acs_encoder n ON n.acs_encoder_id = j.acs_encoder_id
         WHERE j.state <> 'done' AND n.bridge_id IS NOT NULL
         AND (j.state = 'waiting' OR (j.state = 'offered' AND j.moved_at <= $1))",
    )
    .bind(now.ms().saturating_sub(lease_ms))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.id("bridge_id")).collect()
}

/// Offers a job. `None`: it was offered to somebody else meanwhile, or is done.
pub async fn offer(
    connection: &mut Connection,
    id: ActionAttemptId,
    asking: &Asking,
) -> Result<Option<Job>, StoreError> {
    if !on_offer(&mut *connection, asking).await?.contains(&id) {
        return Ok(None);
    }
    let row = sqlx::query(
        "UPDATE job SET state = CASE state WHEN 'waiting' THEN 'offered' ELSE state END, fence = fence + 1, moved_at = $1
         WHERE action_attempt_id = $2 AND state <> 'done'
         RETURNING action_attempt_id, acs_encoder_id, work, card_wait_ms, fence",
    )
    .bind(asking.now.ms())
    .bind(id.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(job) = row.as_ref().map(read).transpose()? else { return Ok(None) };
    sqlx::query("INSERT INTO job_offer (action_attempt_id, fence, bridge_id) VALUES ($1, $2, $3)")
        .bind(id.to_string())
        .bind(job.fence)
        .bind(asking.bridge_id.to_string())
        .execute(connection)
        .await?;
    Ok(Some(job))
}

/// Whether an offer of a job went to this daemon. Without a fence: whether any did.
pub async fn was_offered_to(
    connection: &mut Connection,
    id: ActionAttemptId,
    fence: Option<i64>,
    bridge: BridgeId,
) -> Result<bool, StoreError> {
    let rows = sqlx::query("SELECT fence FROM job_offer WHERE action_attempt_id = $1 AND bridge_id = $2")
        .bind(id.to_string())
        .bind(bridge.to_string())
        .fetch_all(connection)
        .await?;
    for row in &rows {
        if fence.is_none_or(|fence| row.integer("fence").is_ok_and(|offered| offered == fence)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One job.
pub async fn get(connection: &mut Connection, id: ActionAttemptId) -> Result<Option<StoredJob>, StoreError> {
    let row = sqlx::query(
        "SELECT j.action_attempt_id, j.acs_encoder_id, j.work, j.card_wait_ms, j.fence, n.bridge_id
         FROM job j JOIN acs_encoder n ON n.acs_encoder_id = j.acs_encoder_id WHERE j.action_attempt_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok(StoredJob { job: read(&row)?, bridge_id: row.maybe_id("bridge_id")? })).transpose()
}

/// Notes that a daemon got leave to start.
pub async fn start(connection: &mut Connection, id: ActionAttemptId, now: Time) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET state = 'started', moved_at = $1 WHERE action_attempt_id = $2 AND state <> 'done'")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The first result for an offer, if there was one.
pub async fn result(
    connection: &mut Connection,
    id: ActionAttemptId,
    fence: i64,
) -> Result<Option<StoredResult>, StoreError> {
    let row = sqlx::query("SELECT settled FROM job_result WHERE action_attempt_id = $1 AND fence = $2")
        .bind(id.to_string())
        .bind(fence)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok(StoredResult { settled: row.flag("settled")? })).transpose()
}

/// Writes down the first result for an offer.
pub async fn set_result(
    connection: &mut Connection,
    id: ActionAttemptId,
    fence: i64,
    outcome: &Outcome,
    settled: bool,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job_result (action_attempt_id, fence, outcome, settled, received_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(fence)
    .bind(to_json(outcome))
    .bind(i64::from(settled))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Job, StoreError> {
    let card_wait_ms = row.integer("card_wait_ms")?;
    Ok(Job {
        action_attempt_id: row.id("action_attempt_id")?,
        acs_encoder_id: row.id("acs_encoder_id")?,
        fence: row.integer("fence")?,
        card_wait_ms: u64::try_from(card_wait_ms)
            .map_err(|_| StoreError::Value { expected: "a wait in milliseconds", value: card_wait_ms.to_string() })?,
        work: row.json("work")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bridge::RawWork;
    use crate::api::bridge::raw::RawImage;

    #[test]
    fn what_is_kept_of_a_raw_job_is_one_without_an_image() {
        let work: JobWork = serde_json::from_str(WIPED).unwrap();
        assert_eq!(work, JobWork::Raw(RawWork { image: RawImage::default() }));
        // The statement that wipes knows a raw job by its beginning.
        assert!(to_json(&work).starts_with(r#"{"type":"raw""#));
    }
}
