//! What is forgotten after a while: events and attempts, a few at a time.
//!
//! | is kept, however old | because |
//! | --- | --- |
//! | an event that a delivery still names | it is to be sent, or its deliveries are shown |
//! | the newest event of a workspace | the next one's place is counted from it |
//! | an open attempt, or one whose job is not done | it is going on |
//! | an encode of a credential that is in doubt | its late result settles the doubt |
//! | a started encode without any result | the desk may still have it; its card may have been written |
//! | an attempt at a credential that a delivery waits to tell of | the receiver asks about it |

use super::Columns as _;
use crate::api::id::WorkspaceId;
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::AssertSqlSafe;

/// What of an attempt goes before it, and then itself.
const PARTS: [&str; 4] = ["job_result", "job_offer", "job", "action_attempt"];

/// Forgets events from before a time, at most so many; how many it were.
pub async fn forget_events(connection: &mut Connection, before: Time, at_most: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM event WHERE event_id IN
         (SELECT v.event_id FROM event v WHERE v.created_at < $1
          AND v.position < (SELECT MAX(n.position) FROM event n WHERE n.workspace_id = v.workspace_id)
          AND NOT EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.event_id = v.event_id)
          ORDER BY v.created_at LIMIT $2)",
    )
    .bind(before.ms())
    .bind(i64::from(at_most))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets a workspace's attempts from before a time with their jobs, at most so many; how many it were.
///
/// In the workspace's own transaction: a result that comes at the same time finds all of an attempt or nothing.
pub async fn forget_attempts(
    connection: &mut Connection,
    workspace: WorkspaceId,
    before: Time,
    at_most: u32,
) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "SELECT t.action_attempt_id FROM action_attempt t
         WHERE t.workspace_id = $1 AND t.created_at < $2 AND t.status <> 'pending'
         AND NOT EXISTS (SELECT 1 FROM job j WHERE j.action_attempt_id = t.action_attempt_id AND j.state <> 'done')
         AND NOT EXISTS (SELECT 1 FROM acs_credential c WHERE c.acs_credential_id = t.acs_credential_id
             AND (c.in_doubt_card_number IS NOT NULL OR (c.deleted_at IS NULL AND t.started_at IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM job_result r WHERE r.action_attempt_id = t.action_attempt_id))))
         AND NOT EXISTS (SELECT 1 FROM webhook_delivery d JOIN event v ON v.event_id = d.event_id
             WHERE d.state = 'waiting' AND v.acs_credential_id = t.acs_credential_id)
         ORDER BY t.created_at, t.action_attempt_id LIMIT $3",
    )
    .bind(workspace.to_string())
    .bind(before.ms())
    .bind(i64::from(at_most))
    .fetch_all(&mut *connection)
    .await?;
    let ids = rows.iter().map(|row| row.text("action_attempt_id")).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let marks: Vec<String> = (1..=ids.len()).map(|number| format!("${number}")).collect();
    let marks = marks.join(", ");
    for part in PARTS {
        let statement = format!("DELETE FROM {part} WHERE action_attempt_id IN ({marks})");
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in &ids {
            query = query.bind(id.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}
