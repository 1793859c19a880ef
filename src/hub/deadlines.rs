//! How long attempts still have.
//!
//! Counted on the monotonic clock: a wall clock that is set while a card is being written must neither end the attempt
//! nor lengthen it. Only after a restart of the hub is what is left taken from the wall clock, and then it is never
//! more than the attempt had to begin with.

use crate::api::id::ActionAttemptId;
use crate::clock::{self, Deadline};
use crate::store::hub::action_attempts::Attempt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// When an attempt is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Until when it may be started and finished.
    pub(super) deadline: Deadline,
    /// When it is given up although it was started.
    pub(super) given_up: Deadline,
}

/// The deadlines of all open attempts.
#[derive(Debug)]
pub(super) struct Deadlines {
    due: Mutex<BTreeMap<ActionAttemptId, Due>>,
    /// Rung when there is an open attempt again.
    begun: Notify,
    finish: Duration,
}

impl Deadlines {
    pub(super) fn new(finish: Duration) -> Self {
        Self { due: Mutex::default(), begun: Notify::new(), finish }
    }

    fn due(&self) -> MutexGuard<'_, BTreeMap<ActionAttemptId, Due>> {
        // Nothing panics while it holds the lock, and the map is whole at every step.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from now.
    pub(super) fn begin(&self, id: ActionAttemptId, left: Duration) -> Due {
        let due = Due { deadline: Deadline::after(left), given_up: Deadline::after(left + self.finish) };
        self.due().insert(id, due);
        self.begun.notify_one();
        due
    }

    /// Waits until an attempt has begun since this was last waited for. One task waits.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// The deadline of an open attempt.
    pub(super) fn of(&self, attempt: &Attempt) -> Due {
        let id = attempt.object.action_attempt_id;
        let known = self.due().get(&id).copied();
        known.unwrap_or_else(|| {
            let whole = attempt.deadline_at.ms().saturating_sub(attempt.created_at.ms()).max(0);
            let left = attempt.deadline_at.ms().saturating_sub(clock::wall_ms()).clamp(0, whole);
            self.begin(id, Duration::from_millis(u64::try_from(left).unwrap_or(0)))
        })
    }

    /// The attempts that it knows.
    pub(super) fn known(&self) -> Vec<ActionAttemptId> {
        self.due().keys().copied().collect()
    }

    /// Forgets attempts that have ended.
    pub(super) fn forget(&self, ended: &BTreeSet<ActionAttemptId>) {
        self.due().retain(|id, _| !ended.contains(id));
    }
}
