//! Which desks' daemons ask this node for work, and their bells.
//!
//! All of it is in memory. After a restart of the hub nothing is known until a daemon asks for work.

use crate::api::id::BridgeId;
use crate::clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The daemons that ask this node. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live {
    bridges: Arc<Mutex<BTreeMap<BridgeId, Bridge>>>,
    /// All that were heard of since the start.
    heard: Arc<Mutex<BTreeSet<BridgeId>>>,
    /// How long a daemon counts as connected after it last asked.
    patience: Duration,
}

#[derive(Debug)]
struct Bridge {
    polls_open: usize,
    seen_at: Instant,
    /// Rung when there may be a job for it.
    bell: Arc<Notify>,
}

impl Live {
    pub(super) fn new(patience: Duration) -> Self {
        Self { bridges: Arc::default(), heard: Arc::default(), patience }
    }

    fn bridges(&self) -> MutexGuard<'_, BTreeMap<BridgeId, Bridge>> {
        // Nothing panics while it holds the lock, and the map is whole at every step.
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a daemon said something.
    pub(super) fn heard(&self, bridge: BridgeId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(bridge);
        let now = clock::now();
        let new = || Bridge { polls_open: 0, seen_at: now, bell: Arc::default() };
        self.bridges().entry(bridge).or_insert_with(new).seen_at = now;
    }

    /// Notes that a daemon asks for work, until the guard is dropped. It is dropped too when the daemon hangs up.
    pub(super) fn poll(&self, bridge: BridgeId) -> OpenPoll {
        let now = clock::now();
        let mut bridges = self.bridges();
        let new = || Bridge { polls_open: 0, seen_at: now, bell: Arc::default() };
        let seen = bridges.entry(bridge).or_insert_with(new);
        seen.polls_open += 1;
        OpenPoll { bell: Arc::clone(&seen.bell), live: self.clone(), bridge }
    }

    /// Whether a daemon has been heard of since the start.
    pub(super) fn was_heard(&self, bridge: BridgeId) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).contains(&bridge)
    }

    /// Whether a daemon asks this node for work, or did so a moment ago.
    pub(super) fn is_connected(&self, bridge: BridgeId) -> bool {
        self.bridges().get(&bridge).is_some_and(|bridge| self.counts(bridge))
    }

    fn counts(&self, bridge: &Bridge) -> bool {
        bridge.polls_open > 0 || clock::now().saturating_duration_since(bridge.seen_at) < self.patience
    }

    /// Rings for a daemon, if it asks here.
    pub(super) fn ring(&self, bridge: BridgeId) {
        if let Some(bridge) = self.bridges().get(&bridge) {
            bridge.bell.notify_waiters();
        }
    }

    /// Rings for all daemons that ask here.
    pub(super) fn ring_all(&self) {
        for bridge in self.bridges().values() {
            bridge.bell.notify_waiters();
        }
    }

    /// Hangs up on a daemon: it does not count as connected until it is heard of again, and its polls are woken.
    pub(super) fn hang_up(&self, bridge: BridgeId) {
        if let Some(gone) = self.bridges().remove(&bridge) {
            gone.bell.notify_waiters();
        }
    }

    /// Forgets the daemons that do not count any more, and returns those that do.
    pub(super) fn connected(&self) -> Vec<BridgeId> {
        let mut bridges = self.bridges();
        bridges.retain(|_, bridge| self.counts(bridge));
        bridges.keys().copied().collect()
    }
}

/// A daemon's open question for work.
pub(super) struct OpenPoll {
    /// Rung when there may be a job.
    pub(super) bell: Arc<Notify>,
    live: Live,
    bridge: BridgeId,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let now = clock::now();
        // One that was hung up on, and is here again, has another bell.
        let mut bridges = self.live.bridges();
        let same = bridges.get_mut(&self.bridge).filter(|bridge| Arc::ptr_eq(&bridge.bell, &self.bell));
        if let Some(bridge) = same {
            bridge.polls_open = bridge.polls_open.saturating_sub(1);
            bridge.seen_at = now;
        }
    }
}
