//! Action attempts: pending until they are settled, and never changed after.

use super::select::{Page, Paged, Select, each};
use super::{Columns as _, to_json};
use crate::api::action_attempts::{ActionAttempt, ActionType, AttemptError, LastAttempt, List, Status};
use crate::api::id::{AcsCredentialId, AcsEncoderId, AcsUserId, ActionAttemptId, BridgeId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use serde_json::Value;
use sqlx::any::AnyRow;

const SELECT: &str =
    "SELECT t.action_attempt_id, t.workspace_id, t.action_type, t.status, t.acs_encoder_id, t.acs_credential_id,
    t.acs_user_id, t.result, t.error, t.created_at, t.deadline_at, t.started_at FROM action_attempt t";

/// The same columns, and the daemon that has the encoder.
const OPEN: &str =
    "SELECT t.action_attempt_id, t.workspace_id, t.action_type, t.status, t.acs_encoder_id, t.acs_credential_id,
    t.acs_user_id, t.result, t.error, t.created_at, t.deadline_at, t.started_at, n.bridge_id
    FROM action_attempt t LEFT JOIN acs_encoder n ON n.acs_encoder_id = t.acs_encoder_id";

/// An attempt as the database keeps it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// As the API shows it.
    pub object: ActionAttempt,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The encoder, if it needs one.
    pub acs_encoder_id: Option<AcsEncoderId>,
    /// The credential of an encode.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// Who is to get the credential of a scanned card.
    pub acs_user_id: Option<AcsUserId>,
    /// When it was made.
    pub created_at: Time,
    /// Until when it may be started and finished.
    pub deadline_at: Time,
    /// When a daemon got leave to start it.
    pub started_at: Option<Time>,
}

impl Attempt {
    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        self.object.status == Status::Pending
    }
}

/// An attempt to be made.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    /// The id it gets.
    pub action_attempt_id: ActionAttemptId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// What it does.
    pub action_type: ActionType,
    /// The encoder, if it needs one.
    pub acs_encoder_id: Option<AcsEncoderId>,
    /// The credential of an encode.
    pub acs_credential_id: Option<AcsCredentialId>,
    /// Who is to get the credential of a scanned card.
    pub acs_user_id: Option<AcsUserId>,
    /// When.
    pub created_at: Time,
    /// Until when.
    pub deadline_at: Time,
    /// How it ended at once; none: it is pending.
    pub end: Option<Settlement>,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Well.
    Success(Value),
    /// Badly.
    Error(AttemptError),
}

impl Settlement {
    fn columns(&self) -> (Status, Option<String>, Option<String>) {
        match self {
            Self::Success(result) => (Status::Success, Some(to_json(result)), None),
            Self::Error(error) => (Status::Error, None, Some(to_json(error))),
        }
    }
}

/// One attempt.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: ActionAttemptId,
) -> Result<Option<Attempt>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("t.workspace_id = $", Some(workspace));
    select.and_id("t.action_attempt_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Attempts.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<ActionAttempt>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("t.workspace_id = $", Some(workspace));
    select.and_elsewhere(&[&filter.device_id]);
    select.and_any_of("t.action_attempt_id", filter.action_attempt_ids.0.as_deref());
    let page = each(&select.page("t", "created_at", "action_attempt_id", page, connection).await?, read)?;
    Ok(page.map(|attempt| attempt.object))
}

/// The last attempts, newest first.
pub async fn last(
    connection: &mut Connection,
    workspace: WorkspaceId,
    limit: u32,
) -> Result<Vec<LastAttempt>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("t.workspace_id = $", Some(workspace));
    let order = " ORDER BY t.created_at DESC, t.action_attempt_id DESC LIMIT $";
    let rows = select.fetch_some(order, limit, connection).await?;
    let last = |attempt: Attempt| LastAttempt {
        action_attempt_id: attempt.object.action_attempt_id,
        action_type: attempt.object.action_type,
        status: attempt.object.status,
        error: attempt.object.error,
        acs_encoder_id: attempt.acs_encoder_id,
        acs_credential_id: attempt.acs_credential_id,
        created_at: attempt.created_at,
    };
    rows.iter().map(|row| read(row).map(last)).collect()
}

/// All attempts that have not ended, each with the daemon that has its encoder.
pub async fn open(connection: &mut Connection) -> Result<Vec<(Attempt, Option<BridgeId>)>, StoreError> {
    let mut select = Select::new(OPEN);
    select.and("t.status = 'pending'");
    let rows = select.fetch("", connection).await?;
    rows.iter().map(|row| Ok((read(row)?, row.maybe_id("bridge_id")?))).collect()
}

/// The attempt on an encoder that has not ended.
pub async fn open_on(connection: &mut Connection, encoder: AcsEncoderId) -> Result<Option<Attempt>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("t.status = 'pending'");
    select.and_id("t.acs_encoder_id = $", Some(encoder));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Whether a daemon was writing one of these credentials after this moment, or still is.
pub async fn written_since(
    connection: &mut Connection,
    credentials: &[AcsCredentialId],
    since: Time,
) -> Result<bool, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_any_of("t.acs_credential_id", Some(credentials));
    select.and("t.started_at IS NOT NULL");
    select.and_value("t.settled_at IS NULL OR t.settled_at > $", since);
    Ok(!select.fetch(" LIMIT 1", connection).await?.is_empty())
}

/// The encode of a credential that has not ended.
pub async fn open_for(connection: &mut Connection, credential: AcsCredentialId) -> Result<Option<Attempt>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("t.status = 'pending'");
    select.and_id("t.acs_credential_id = $", Some(credential));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Makes an attempt. `false`: there is an open one on the encoder or for the credential, and nothing was made.
pub async fn create(connection: &mut Connection, attempt: &NewAttempt) -> Result<bool, StoreError> {
    let (status, result, error) = match &attempt.end {
        None => (Status::Pending, None, None),
        Some(end) => end.columns(),
    };
    let made = sqlx::query(
        "INSERT INTO action_attempt (action_attempt_id, workspace_id, action_type, status, acs_encoder_id,
         acs_credential_id, acs_user_id, result, error, created_at, deadline_at, settled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
    )
    .bind(attempt.action_attempt_id.to_string())
    .bind(attempt.workspace_id.to_string())
    .bind(word(&attempt.action_type))
    .bind(word(&status))
    .bind(attempt.acs_encoder_id.map(|id| id.to_string()))
    .bind(attempt.acs_credential_id.map(|id| id.to_string()))
    .bind(attempt.acs_user_id.map(|id| id.to_string()))
    .bind(result)
    .bind(error)
    .bind(attempt.created_at.ms())
    .bind(attempt.deadline_at.ms())
    .bind(attempt.end.as_ref().map(|_| attempt.created_at.ms()))
    .execute(connection)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// Notes that a daemon got leave to start. `false`: the attempt has ended.
pub async fn start(connection: &mut Connection, id: ActionAttemptId, now: Time) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE action_attempt SET started_at = COALESCE(started_at, $1)
         WHERE action_attempt_id = $2 AND status = 'pending'",
    )
    .bind(now.ms())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends an attempt and its job. `false`: it had ended before, and nothing was changed.
pub async fn settle(
    connection: &mut Connection,
    id: ActionAttemptId,
    settlement: &Settlement,
    now: Time,
) -> Result<bool, StoreError> {
    let (status, result, error) = settlement.columns();
    let done = sqlx::query(
        "UPDATE action_attempt SET status = $1, result = $2, error = $3, settled_at = $4
         WHERE action_attempt_id = $5 AND status = 'pending'",
    )
    .bind(word(&status))
    .bind(result)
    .bind(error)
    .bind(now.ms())
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    // A raw image's contents and keys are not kept behind the attempt.
    sqlx::query(
        "UPDATE job SET state = 'done', work = CASE WHEN work LIKE '{\"type\":\"raw\"%' THEN $2 ELSE work END
         WHERE action_attempt_id = $1",
    )
    .bind(id.to_string())
    .bind(super::jobs::WIPED)
    .execute(connection)
    .await?;
    Ok(true)
}

/// A unit variant as the API spells it.
fn word<T: serde::Serialize>(value: &T) -> String {
    to_json(value).trim_matches('"').to_owned()
}

fn read(row: &AnyRow) -> Result<Attempt, StoreError> {
    let unit = |column| Ok::<_, StoreError>(to_json(&row.text(column)?));
    Ok(Attempt {
        object: ActionAttempt {
            action_attempt_id: row.id("action_attempt_id")?,
            action_type: super::from_json(&unit("action_type")?)?,
            status: super::from_json(&unit("status")?)?,
            result: row.maybe_json("result")?,
            error: row.maybe_json("error")?,
        },
        workspace_id: row.id("workspace_id")?,
        acs_encoder_id: row.maybe_id("acs_encoder_id")?,
        acs_credential_id: row.maybe_id("acs_credential_id")?,
        acs_user_id: row.maybe_id("acs_user_id")?,
        created_at: row.time("created_at")?,
        deadline_at: row.time("deadline_at")?,
        started_at: row.maybe_time("started_at")?,
    })
}
