//! Several nodes on one database: which daemon is connected to any of them.
//!
//! A node writes down that it is alive once a second, and which daemons ask it, when that changes. A daemon counts as
//! connected while its node was alive within [`Patience::come_back`](super::Patience): when a node dies its daemons have
//! that long to ask another one. One node alone on SQLite writes nothing: it knows by itself.
//!
//! The nodes' clocks must agree within a second or two, as any time service keeps them.

use super::Hub;
use crate::api::id::BridgeId;
use crate::api::time::Time;
use crate::clock;
use crate::store::hub::nodes;
use crate::store::{Connection, Realm, StoreError};
use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How often a node says that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// After what time a dead node is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// This node among the others.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Its id, new with each start.
    pub(super) id: Uuid,
    /// The daemons that the database has as this node's.
    told: Mutex<BTreeSet<BridgeId>>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4(), told: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<BridgeId>> {
        // Nothing panics while it holds the lock, and the set is whole at every step.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that a daemon said something to this node.
pub(super) async fn heard(hub: &Hub, bridge: BridgeId) -> Result<(), StoreError> {
    hub.live().heard(bridge);
    if hub.store().is_shared() && hub.nodes().told().insert(bridge) {
        let mut transaction = hub.store().begin(Realm::Common).await?;
        nodes::has(&mut transaction, hub.nodes().id, bridge).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Hangs up on a daemon whose token was revoked.
pub(super) async fn hang_up(hub: &Hub, bridge: BridgeId) -> Result<(), StoreError> {
    hub.live().hang_up(bridge);
    if hub.nodes().told().remove(&bridge) {
        let mut transaction = hub.store().begin(Realm::Common).await?;
        nodes::has_not(&mut transaction, hub.nodes().id, bridge).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Whether a daemon asks any node for work, or did so a moment ago.
pub(super) async fn is_connected(hub: &Hub, connection: &mut Connection, bridge: BridgeId) -> Result<bool, StoreError> {
    if hub.live().is_connected(bridge) {
        return Ok(true);
    }
    if !hub.store().is_shared() {
        return Ok(false);
    }
    nodes::is_at_another(connection, hub.nodes().id, bridge, ago(hub.patience().come_back)).await
}

fn ago(duration: Duration) -> Time {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Time::from_ms(clock::wall_ms().saturating_sub(ms))
}

/// Tells the others of this node until the hub stops.
pub(super) async fn keep(hub: Hub) {
    if !hub.store().is_shared() {
        return;
    }
    loop {
        match beat(&hub).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %error, cause = ?error.source(), "could not tell the other nodes of this one");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = hub.stop().cancelled() => break,
        }
    }
}

/// Tells once; whether a daemon came back meanwhile, so that it is to be told again at once.
async fn beat(hub: &Hub) -> Result<bool, StoreError> {
    let now = Time::from_ms(clock::wall_ms());
    let mut transaction = hub.store().begin(Realm::Common).await?;
    let connected: BTreeSet<_> = hub.live().connected().into_iter().collect();
    let (gone, new) = {
        let told = hub.nodes().told();
        let gone: Vec<_> = told.difference(&connected).copied().collect();
        let new: Vec<_> = connected.difference(&told).copied().collect();
        (gone, new)
    };
    nodes::beat(&mut transaction, hub.nodes().id, now, ago(FORGET_AFTER)).await?;
    for bridge in &gone {
        nodes::has_not(&mut transaction, hub.nodes().id, *bridge).await?;
    }
    for bridge in &new {
        nodes::has(&mut transaction, hub.nodes().id, *bridge).await?;
    }
    transaction.commit().await?;
    let mut told = hub.nodes().told();
    for bridge in &gone {
        told.remove(bridge);
    }
    told.extend(new);
    Ok(gone.into_iter().any(|bridge| hub.live().is_connected(bridge)))
}
