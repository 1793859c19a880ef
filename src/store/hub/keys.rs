//! Keys to the Seam API. The database has their hashes only.

use super::Columns as _;
use super::select::Select;
use crate::api::admin::{ApiKey, KeyKind};
use crate::api::id::{ApiKeyId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use std::fmt::Write as _;

/// A key as the database knows it: SHA-256, in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(String);

impl KeyHash {
    /// The hash of a key as it was sent.
    pub fn of(key: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(key) {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// One workspace.
    Workspace(WorkspaceId),
    /// Each workspace that its requests name: a personal access token.
    AnyWorkspace,
}

/// What a key opens, if there is such a key and it was not revoked.
pub async fn opens(connection: &mut Connection, hash: &KeyHash, now: Time) -> Result<Option<Opens>, StoreError> {
    let mut select = Select::new("SELECT k.workspace_id FROM api_key k");
    select.and_value("k.hash = $", hash.as_str());
    select.and_value("k.revoked_at IS NULL OR k.revoked_at > $", now);
    let rows = select.fetch("", connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(row.maybe_id("workspace_id")?.map_or(Opens::AnyWorkspace, Opens::Workspace)))
}

const SELECT: &str = "SELECT k.api_key_id, k.workspace_id, k.name, k.prefix, k.created_at, k.revoked_at FROM api_key k";

/// The keys that open a workspace, and those that opened it; the oldest first.
pub async fn list(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<ApiKey>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("k.workspace_id = $ OR k.workspace_id IS NULL", Some(workspace));
    select.fetch(" ORDER BY k.created_at, k.api_key_id", connection).await?.iter().map(read).collect()
}

/// One key of those that open a workspace.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("k.workspace_id = $ OR k.workspace_id IS NULL", Some(workspace));
    select.and_id("k.api_key_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Makes a key known.
pub async fn create(connection: &mut Connection, key: &ApiKey, hash: &KeyHash) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO api_key (api_key_id, workspace_id, name, prefix, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.api_key_id.to_string())
    .bind(key.workspace_id.map(|id| id.to_string()))
    .bind(key.name.clone())
    .bind(key.prefix.clone())
    .bind(hash.as_str().to_owned())
    .bind(key.created_at.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a key at a moment, unless it ends earlier.
pub async fn revoke(connection: &mut Connection, id: ApiKeyId, at: Time) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_key SET revoked_at = $1 WHERE api_key_id = $2 AND (revoked_at IS NULL OR revoked_at > $1)")
        .bind(at.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let workspace_id: Option<WorkspaceId> = row.maybe_id("workspace_id")?;
    Ok(ApiKey {
        api_key_id: row.id("api_key_id")?,
        kind: if workspace_id.is_some() { KeyKind::ApiKey } else { KeyKind::PersonalAccessToken },
        workspace_id,
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        created_at: row.time("created_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sha_256_in_hex() {
        // Source: FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of(b"abc").as_str(), expected);
    }
}
