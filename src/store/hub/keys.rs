//! Keys to the Seam API, and the tokens of desks' daemons. The database has their hashes only.

use super::Columns as _;
use super::acs_systems::SystemIds;
use super::select::Select;
use crate::api::id::{BridgeId, WorkspaceId};
use crate::store::{Connection, StoreError};
use sha2::{Digest as _, Sha256};
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

/// What a key that was not revoked opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// One workspace.
    Workspace(WorkspaceId),
    /// Each workspace that its requests name: a personal access token.
    AnyWorkspace,
}

/// What a key opens, if there is such a key.
pub async fn api_key(connection: &mut Connection, hash: &KeyHash) -> Result<Option<Opens>, StoreError> {
    let mut select = Select::new("SELECT k.workspace_id FROM api_key k");
    select.and_value("k.hash = $", hash.as_str());
    select.and("k.revoked_at IS NULL");
    let rows = select.fetch("", connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(row.maybe_id("workspace_id")?.map_or(Opens::AnyWorkspace, Opens::Workspace)))
}

/// A daemon's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeToken {
    /// Its id.
    pub bridge_token_id: String,
    /// Where its daemon works.
    pub system: SystemIds,
    /// Whose it is; none before its first use.
    pub bridge_id: Option<BridgeId>,
}

/// The token with this hash, unless it was revoked.
pub async fn bridge_token(connection: &mut Connection, hash: &KeyHash) -> Result<Option<BridgeToken>, StoreError> {
    let mut select = Select::new(
        "SELECT b.bridge_token_id, b.bridge_id, s.workspace_id, s.acs_system_id, s.connected_account_id
         FROM bridge_token b JOIN acs_system s ON s.workspace_id = b.workspace_id",
    );
    select.and_value("b.hash = $", hash.as_str());
    select.and("b.revoked_at IS NULL");
    let rows = select.fetch("", connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(BridgeToken {
        bridge_token_id: row.text("bridge_token_id")?,
        system: SystemIds::read(row)?,
        bridge_id: row.maybe_id("bridge_id")?,
    }))
}

/// Whether a daemon has a token of its own, or had one that was revoked.
pub async fn is_paired(connection: &mut Connection, bridge: BridgeId) -> Result<bool, StoreError> {
    let mut select = Select::new("SELECT b.bridge_token_id FROM bridge_token b");
    select.and_id("b.bridge_id = $", Some(bridge));
    Ok(!select.fetch(" LIMIT 1", connection).await?.is_empty())
}

/// Makes a token that nobody has used yet this daemon's. `false`: another one was first.
pub async fn bind_bridge_token(
    connection: &mut Connection,
    bridge_token_id: &str,
    bridge: BridgeId,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE bridge_token SET bridge_id = $1 WHERE bridge_token_id = $2 AND bridge_id IS NULL")
        .bind(bridge.to_string())
        .bind(bridge_token_id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
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
