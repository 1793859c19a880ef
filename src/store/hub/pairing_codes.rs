//! Codes by which desks are paired. The database has their hashes only.

use super::Columns as _;
use super::keys::KeyHash;
use super::select::Select;
use crate::api::id::WorkspaceId;
use crate::api::time::Time;
use crate::store::{Connection, StoreError};

/// A code as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCode {
    /// What finds it.
    pub public_part: String,
    /// Where its desk will work.
    pub workspace_id: WorkspaceId,
    /// The desk's name, if it was given.
    pub name: Option<String>,
    /// The hash of the whole code.
    pub hash: String,
    /// When it ends.
    pub expires_at: Time,
    /// How many wrong tries it survives, and one.
    pub tries_left: i64,
    /// When a desk was paired with it.
    pub used_at: Option<Time>,
}

/// The code with this public part, whatever became of it.
pub async fn get(connection: &mut Connection, public_part: &str) -> Result<Option<StoredCode>, StoreError> {
    let mut select = Select::new(
        "SELECT c.public_part, c.workspace_id, c.name, c.hash, c.expires_at, c.tries_left, c.used_at FROM pairing_code c",
    );
    select.and_value("c.public_part = $", public_part);
    let rows = select.fetch("", connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(StoredCode {
        public_part: row.text("public_part")?,
        workspace_id: row.id("workspace_id")?,
        name: row.maybe_text("name")?,
        hash: row.text("hash")?,
        expires_at: row.time("expires_at")?,
        tries_left: row.integer("tries_left")?,
        used_at: row.maybe_time("used_at")?,
    }))
}

/// Makes a code known. `false`: another one has this public part.
pub async fn create(
    connection: &mut Connection,
    workspace: WorkspaceId,
    public_part: &str,
    hash: &KeyHash,
    name: Option<&str>,
    tries: i64,
    times: (Time, Time),
) -> Result<bool, StoreError> {
    let (now, expires_at) = times;
    let done = sqlx::query(
        "INSERT INTO pairing_code (public_part, workspace_id, name, hash, created_at, expires_at, tries_left)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(public_part.to_owned())
    .bind(workspace.to_string())
    .bind(name.map(str::to_owned))
    .bind(hash.as_str().to_owned())
    .bind(now.ms())
    .bind(expires_at.ms())
    .bind(tries)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Counts a wrong try.
pub async fn wrong(connection: &mut Connection, public_part: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE pairing_code SET tries_left = tries_left - 1 WHERE public_part = $1")
        .bind(public_part.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// Uses a code up. `false`: somebody else was first.
pub async fn redeem(connection: &mut Connection, public_part: &str, now: Time) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE pairing_code SET used_at = $1 WHERE public_part = $2 AND used_at IS NULL")
        .bind(now.ms())
        .bind(public_part.to_owned())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets a workspace's codes that have ended.
pub async fn forget_ended(connection: &mut Connection, workspace: WorkspaceId, now: Time) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pairing_code WHERE workspace_id = $1 AND (expires_at <= $2 OR used_at IS NOT NULL)")
        .bind(workspace.to_string())
        .bind(now.ms())
        .execute(connection)
        .await?;
    Ok(())
}
