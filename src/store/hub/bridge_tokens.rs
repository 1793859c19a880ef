//! The tokens of desks' daemons, from pairing. The database has their hashes only.

use super::Columns as _;
use super::acs_systems::SystemIds;
use super::keys::KeyHash;
use super::select::Select;
use crate::api::id::{BridgeId, BridgeTokenId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT b.bridge_token_id, b.bridge_id, b.name, b.created_at, b.last_seen_at, b.revoked_at,
    s.workspace_id, s.acs_system_id, s.connected_account_id
    FROM bridge_token b JOIN acs_system s ON s.workspace_id = b.workspace_id";

/// A daemon's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeToken {
    /// Its id.
    pub bridge_token_id: BridgeTokenId,
    /// Where its daemon works.
    pub system: SystemIds,
    /// Whose it is; none before its first use.
    pub bridge_id: Option<BridgeId>,
    /// The desk's name.
    pub name: String,
    /// When it was made.
    pub created_at: Time,
    /// When its daemon was last seen, roughly.
    pub last_seen_at: Option<Time>,
    /// Since when it opens nothing.
    pub revoked_at: Option<Time>,
}

/// The token with this hash, unless it was revoked.
pub async fn by_hash(connection: &mut Connection, hash: &KeyHash) -> Result<Option<BridgeToken>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_value("b.hash = $", hash.as_str());
    select.and("b.revoked_at IS NULL");
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// One token of a workspace.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: BridgeTokenId,
) -> Result<Option<BridgeToken>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("b.workspace_id = $", Some(workspace));
    select.and_id("b.bridge_token_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// All tokens of a workspace, the revoked ones too; the oldest first.
pub async fn list(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<BridgeToken>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("b.workspace_id = $", Some(workspace));
    select.fetch(" ORDER BY b.created_at, b.bridge_token_id", connection).await?.iter().map(read).collect()
}

/// Whether a daemon has a token of its own, or had one that was revoked.
pub async fn is_paired(connection: &mut Connection, bridge: BridgeId) -> Result<bool, StoreError> {
    let mut select = Select::new("SELECT b.bridge_token_id FROM bridge_token b");
    select.and_id("b.bridge_id = $", Some(bridge));
    Ok(!select.fetch(" LIMIT 1", connection).await?.is_empty())
}

/// The name of a daemon's desk.
pub async fn name_of(
    connection: &mut Connection,
    workspace: WorkspaceId,
    bridge: BridgeId,
) -> Result<Option<String>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("b.workspace_id = $", Some(workspace));
    select.and_id("b.bridge_id = $", Some(bridge));
    let rows = select.fetch(" ORDER BY b.created_at DESC LIMIT 1", connection).await?;
    rows.first().map(|row| read(row).map(|token| token.name)).transpose()
}

/// Makes a token known.
pub async fn create(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: BridgeTokenId,
    name: &str,
    hash: &KeyHash,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO bridge_token (bridge_token_id, workspace_id, name, hash, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id.to_string())
    .bind(workspace.to_string())
    .bind(name.to_owned())
    .bind(hash.as_str().to_owned())
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes a token that nobody has used yet this daemon's. `false`: it belongs to one already, or was revoked. A conflict:
/// the daemon has another token.
pub async fn bind(connection: &mut Connection, id: BridgeTokenId, bridge: BridgeId) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE bridge_token SET bridge_id = $1
         WHERE bridge_token_id = $2 AND bridge_id IS NULL AND revoked_at IS NULL",
    )
    .bind(bridge.to_string())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a token's daemon was there, unless that was noted after `unless_since`.
pub async fn seen(
    connection: &mut Connection,
    id: BridgeTokenId,
    now: Time,
    unless_since: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE bridge_token SET last_seen_at = $1
         WHERE bridge_token_id = $2 AND (last_seen_at IS NULL OR last_seen_at < $3)",
    )
    .bind(now.ms())
    .bind(id.to_string())
    .bind(unless_since.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a token. `false`: it had ended before.
pub async fn revoke(connection: &mut Connection, id: BridgeTokenId, now: Time) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE bridge_token SET revoked_at = $1 WHERE bridge_token_id = $2 AND revoked_at IS NULL")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Result<BridgeToken, StoreError> {
    Ok(BridgeToken {
        bridge_token_id: row.id("bridge_token_id")?,
        system: SystemIds::read(row)?,
        bridge_id: row.maybe_id("bridge_id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        last_seen_at: row.maybe_time("last_seen_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}
