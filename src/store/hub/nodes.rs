//! Nodes that share the database, and the daemons that ask them for work.

use super::select::Select;
use crate::api::id::BridgeId;
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use uuid::Uuid;

/// Notes that a node is alive, and forgets nodes that were not for a long time.
pub async fn beat(connection: &mut Connection, node: Uuid, now: Time, forget_before: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO hub_node (node_id, alive_at) VALUES ($1, $2)
         ON CONFLICT (node_id) DO UPDATE SET alive_at = excluded.alive_at",
    )
    .bind(node.to_string())
    .bind(now.ms())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM hub_node WHERE alive_at < $1").bind(forget_before.ms()).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM bridge_at_node WHERE node_id NOT IN (SELECT node_id FROM hub_node)")
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes that a daemon asks this node for work.
pub async fn has(connection: &mut Connection, node: Uuid, bridge: BridgeId) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO bridge_at_node (bridge_id, node_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(bridge.to_string())
        .bind(node.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes that a daemon asks this node no more.
pub async fn has_not(connection: &mut Connection, node: Uuid, bridge: BridgeId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM bridge_at_node WHERE bridge_id = $1 AND node_id = $2")
        .bind(bridge.to_string())
        .bind(node.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether a daemon asks another node for work, one that was alive after this moment.
pub async fn is_at_another(
    connection: &mut Connection,
    node: Uuid,
    bridge: BridgeId,
    alive_after: Time,
) -> Result<bool, StoreError> {
    let mut select = Select::new("SELECT b.bridge_id FROM bridge_at_node b JOIN hub_node h ON h.node_id = b.node_id");
    select.and_id("b.bridge_id = $", Some(bridge));
    select.and_id("b.node_id <> $", Some(node));
    select.and_value("h.alive_at > $", alive_after);
    Ok(!select.fetch("", connection).await?.is_empty())
}
