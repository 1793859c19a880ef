//! The worker: finds what is due, makes tries, and writes down what became of them.
//!
//! It looks into the database when this node has committed something in a workspace, when the next try is due, and, where
//! other nodes may have committed something, every second. For each
//! webhook with something due it begins a lane: a task that claims a try, makes it, notes it, and goes on until nothing
//! is due. A lane notes a try and claims the next one in one transaction.

use super::address::Reach;
use super::request::{Answer, Sender};
use super::schedule::{DUE_COUNTED, Running, WebhookPatience, in_flight_max};
use crate::api::time::Time;
use crate::clock::{self, Deadline};
use crate::store::hub::webhook_deliveries::{self, Due, Noted, Outcome, Try};
use crate::store::{Database, Realm, StoreError};
use crate::telemetry::metrics;
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Looks are at least so far apart, however much is committed.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause of a node that is alone on its database. It knows when the next try is due by the wall clock, which
/// may be set.
const LOOK_ALONE: Duration = Duration::from_mins(1);

/// Tries that a lane makes before it gives its place up, so that webhooks with a backlog take turns.
const TURNS_MAX: u32 = 32;

/// How long tries in flight may take to end when the hub stops.
const STOP_TIME_MAX: Duration = Duration::from_millis(1500);

/// How long to wait before a note that the database did not take is tried again.
const NOTE_PAUSE: Duration = Duration::from_millis(500);

/// How often ended deliveries are looked for that have been kept long enough, and how many are forgotten at a time.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
const PRUNED_AT_ONCE: u32 = 1_000;

/// What the worker needs.
#[derive(Debug)]
pub(in crate::hub) struct Mailroom {
    store: Database,
    patience: WebhookPatience,
    sender: Sender,
    /// This node among those that share the database.
    node: String,
    /// Rung when a place has become free.
    free: Notify,
    running: Mutex<Running>,
    stop: CancellationToken,
}

impl Mailroom {
    /// Sets it up; private addresses only if they are allowed.
    pub(in crate::hub) fn new(
        store: Database,
        node: Uuid,
        patience: WebhookPatience,
        allow_private: bool,
        stop: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        let reach = if allow_private { Reach::Anywhere } else { Reach::Public };
        Ok(Self {
            store,
            patience,
            sender: Sender::new(reach, patience.answer)?,
            node: node.to_string(),
            free: Notify::new(),
            running: Mutex::default(),
            stop,
        })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Nothing panics while it holds the lock, and the numbers are whole at every step.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins lanes for what is due.
    async fn look(self: &Arc<Self>, lanes: &TaskTracker) -> Result<(), StoreError> {
        let due = webhook_deliveries::due(&mut *self.store.read().await?, now(), DUE_COUNTED).await?;
        for due in due {
            for _ in 0..self.running().take(&due) {
                let place = Place { room: Arc::clone(self), due };
                lanes.spawn(async move {
                    let tried = place.room.lane(&place.due).await;
                    let room = Arc::clone(&place.room);
                    drop(place);
                    if tried {
                        room.free.notify_one();
                    }
                });
            }
        }
        Ok(())
    }

    /// How long nothing is due, as far as this node can know.
    async fn pause(&self) -> Duration {
        if self.store.is_shared() {
            return self.patience.look;
        }
        let next = match self.store.read().await {
            Ok(mut connection) => webhook_deliveries::next_at(&mut connection, now()).await,
            Err(error) => Err(error),
        };
        match next {
            Ok(None) => LOOK_ALONE,
            Ok(Some(next)) => {
                let left = u64::try_from(next.ms().saturating_sub(clock::wall_ms())).unwrap_or(0);
                Duration::from_millis(left).min(LOOK_ALONE)
            }
            // The next look says what is wrong.
            Err(_) => self.patience.look,
        }
    }

    /// Makes the tries of one webhook until nothing is due, or others should have their turn. Whether it made any: if
    /// not, other nodes make them, and looking again at once would find the same.
    async fn lane(&self, due: &Due) -> bool {
        let mut at_most = in_flight_max(due.deliveries, due.failing);
        let mut made: Option<(Try, Outcome)> = None;
        for turn in 0..TURNS_MAX {
            let Some(next) = self.turn(due, made.take(), Some(at_most)).await else { return turn > 0 };
            let outcome = self.make(&next).await;
            match outcome {
                Outcome::Delivered { .. } => {}
                Outcome::Failed { .. } | Outcome::Gone { .. } | Outcome::Cut => at_most = 1,
            }
            made = Some((next, outcome));
        }
        self.turn(due, made, None).await;
        true
    }

    /// Makes a try, unless the hub stops meanwhile and the receiver takes its time.
    async fn make(&self, next: &Try) -> Outcome {
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_TIME_MAX).await;
        };
        let answer = tokio::select! {
            answer = self.sender.send(next) => answer,
            () = stopped => return Outcome::Cut,
        };
        match answer {
            Answer::Taken { status } => Outcome::Delivered { status },
            Answer::Gone { status } => Outcome::Gone { status },
            Answer::Failure { status, error } => {
                let mut random = [0];
                // Without randomness there is no jitter, and nothing else is lost.
                let _no_jitter = getrandom::fill(&mut random);
                let wait = self.patience.wait_after(next.number, random[0]);
                Outcome::Failed { status, error, again_at: wait.map(|wait| later(now(), wait)) }
            }
        }
    }

    /// Notes a try and claims the next one.
    ///
    /// A note that the database does not take is tried again until the claim lapses; after that the try is made again,
    /// and the receiver knows it by its id.
    async fn turn(&self, due: &Due, made: Option<(Try, Outcome)>, at_most: Option<u32>) -> Option<Try> {
        let end = Deadline::after(self.patience.lease);
        let at_most = at_most.filter(|_| !self.stop.is_cancelled());
        loop {
            let error = match self.turn_once(due, made.as_ref(), at_most).await {
                Ok((noted, next)) => {
                    if let Some((made, outcome)) = &made {
                        log(made, outcome, noted);
                    }
                    return next;
                }
                Err(error) => error,
            };
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            if made.is_none() {
                // Nothing was done; the worker's next look says what is wrong with the database.
                tracing::debug!(webhook_id = %due.webhook_id, error = %error, cause, "could not claim a delivery");
                return None;
            }
            if end.has_passed() || self.stop.is_cancelled() {
                tracing::warn!(webhook_id = %due.webhook_id, error = %error, cause, "could not note a delivery; it is repeated");
                return None;
            }
            tokio::time::sleep(NOTE_PAUSE).await;
        }
    }

    async fn turn_once(
        &self,
        due: &Due,
        made: Option<&(Try, Outcome)>,
        at_most: Option<u32>,
    ) -> Result<(Noted, Option<Try>), StoreError> {
        let mut transaction = self.store.begin(Realm::Webhook(due.webhook_id.0)).await?;
        let noted = match made {
            Some((made, outcome)) => webhook_deliveries::note(&mut transaction, made, outcome, now()).await?,
            None => Noted::default(),
        };
        let next = match at_most {
            Some(at_most) => {
                let (webhook, lease) = (due.webhook_id, self.patience.lease);
                webhook_deliveries::claim(&mut transaction, webhook, &self.node, at_most, lease, now()).await?
            }
            None => None,
        };
        transaction.commit().await?;
        Ok((noted, next))
    }

    /// Forgets what ended long ago.
    async fn prune(&self) -> Result<(), StoreError> {
        let before = Time::from_ms(now().ms().saturating_sub(ms(self.patience.keep)));
        loop {
            let mut transaction = self.store.begin(Realm::Common).await?;
            let pruned = webhook_deliveries::prune(&mut transaction, before, PRUNED_AT_ONCE).await?;
            transaction.commit().await?;
            if pruned < u64::from(PRUNED_AT_ONCE) {
                return Ok(());
            }
        }
    }
}

/// A place among the tries in flight; given back when its lane ends, however it ends.
struct Place {
    room: Arc<Mailroom>,
    due: Due,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.running().leave(&self.due);
    }
}

/// Delivers until the hub stops, and then lets the tries in flight end.
pub(in crate::hub) async fn deliver(room: Arc<Mailroom>, mut changed: watch::Receiver<u64>) {
    let lanes = TaskTracker::new();
    let mut prune_at = Deadline::after(Duration::ZERO);
    let mut in_trouble = false;
    while !room.stop.is_cancelled() {
        let mut looked = room.look(&lanes).await;
        if prune_at.has_passed() {
            prune_at = Deadline::after(PRUNE_EVERY);
            looked = looked.and(room.prune().await);
        }
        match looked {
            Ok(()) => in_trouble = false,
            Err(error) => {
                if !in_trouble {
                    let cause = error.source().map(ToString::to_string).unwrap_or_default();
                    tracing::error!(error = %error, cause, "could not look for deliveries");
                }
                in_trouble = true;
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
        let pause = if in_trouble { room.patience.look } else { room.pause().await };
        tokio::select! {
            // The other end closes with the hub, which stops this too.
            _ = changed.changed() => {}
            () = room.free.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = room.stop.cancelled() => {}
        }
    }
    lanes.close();
    lanes.wait().await;
}

/// Says what whoever runs the hub should know: once when a receiver begins to fail or works again, once when a delivery
/// is given up.
fn log(made: &Try, outcome: &Outcome, noted: Noted) {
    let Try { webhook_id, event_id, number, .. } = made;
    metrics::webhook(match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Gone { .. } => "gone",
        Outcome::Failed { .. } => "failed",
        Outcome::Cut => "cut",
    });
    match outcome {
        Outcome::Delivered { status } => {
            tracing::debug!(%webhook_id, %event_id, tries = number, status, "delivered");
            if noted.turned {
                tracing::info!(%webhook_id, "the webhook's receiver takes deliveries again");
            }
        }
        Outcome::Gone { status } => {
            tracing::warn!(%webhook_id, status, "the webhook is disabled: its receiver wants no more");
        }
        Outcome::Failed { error, again_at, .. } => {
            tracing::debug!(%webhook_id, %event_id, tries = number, error, "a delivery failed");
            if noted.turned {
                tracing::warn!(%webhook_id, error, "the webhook's receiver does not take deliveries");
            }
            if again_at.is_none() {
                tracing::warn!(%webhook_id, %event_id, tries = number, error, "a delivery is given up");
            }
        }
        Outcome::Cut => tracing::debug!(%webhook_id, %event_id, "a delivery is put off: the hub stops"),
    }
}

fn later(time: Time, wait: Duration) -> Time {
    Time::from_ms(time.ms().saturating_add(ms(wait)))
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn now() -> Time {
    Time::from_ms(clock::wall_ms())
}
