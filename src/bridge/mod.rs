//! The bridge: takes a job, writes it down, has it run, reports it.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`jobs`] | asks the hub for work and carries each job out |
//! | [`outbox`] | delivers results until the hub has acknowledged them |
//! | [`report`] | keeps the hub's picture of the encoders true |
//!
//! What must not be lost is on the disk before it is acted on: the job before the card is touched, the result before
//! it is sent.

pub mod jobs;
pub mod outbox;
pub mod report;
mod translate;

use crate::clock::Deadline;
use crate::config::Config;
use crate::device::registry::Registry;
use crate::keys::KeyInUse;
use crate::link::Links;
use crate::store::state::State;
use crate::telemetry::Readiness;
use crate::upstream::Hub;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// What the bridge works with.
#[derive(Debug)]
pub struct Bridge {
    /// The cloud.
    pub hub: Hub,
    /// Journal and outbox.
    pub state: State,
    /// Which device is which encoder.
    pub links: Arc<Links>,
    /// The devices.
    pub devices: Arc<Registry>,
    /// This daemon's lasting id.
    pub bridge_id: Uuid,
    /// The property's card key; without one nothing is encoded.
    pub card_key: KeyInUse,
    /// The configuration as it is at the moment.
    pub config: watch::Receiver<Arc<Config>>,
    /// Whether the hub is this process's own: nothing lies in between that could lose a message or close a connection.
    pub own_hub: bool,
    /// Where is noted whether the hub and the journal can be reached.
    pub readiness: Readiness,
    /// Rung when a result was put into the outbox.
    pub outbox_filled: Notify,
    /// Rung when the hub may have forgotten what it was told.
    pub sync_wanted: Notify,
}

/// How long after a start devices may take to be found and opened. Until then a job waits for its device, and the hub is
/// not told that an encoder is away which it knows.
const COMING_UP: Duration = Duration::from_secs(2);

impl Bridge {
    /// Whether the first sight of a device makes an encoder for it.
    fn auto_link(&self) -> bool {
        self.config.borrow().auto_link()
    }

    /// Runs until `stop`, then lets jobs in hand reach a safe point and delivers what it still can.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let coming_up = Deadline::after(COMING_UP);
        tracker.spawn(report::run(self.clone(), coming_up, stop.clone()));
        tracker.spawn(jobs::run(self.clone(), coming_up, stop));
        tracker.close();
        // The outbox outlives the others: the last result comes when the last job has ended.
        let jobs_ended = CancellationToken::new();
        let outbox = tokio::spawn(outbox::run(self, jobs_ended.clone()));
        tracker.wait().await;
        jobs_ended.cancel();
        if let Err(error) = outbox.await {
            tracing::error!(%error, "the outbox ended badly");
        }
    }
}

/// Waiting times that grow from 0.2 s to 5 s, with jitter, so that many desks do not come back at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST_MS: u64 = 200;
    const MAX_MS: u64 = 5_000;

    /// The next waiting time: between half and the whole of the bound.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = (Self::FIRST_MS << self.failures.min(5)).min(Self::MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let mut random = [0; 2];
        // Without random numbers the desk waits the full time, which does no harm.
        let _full_wait = getrandom::fill(&mut random);
        let jitter = u64::from(u16::from_le_bytes(random)) * (bound / 2) / u64::from(u16::MAX);
        Duration::from_millis(bound - jitter)
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            let wait = backoff.next();
            assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_secs(5), "{wait:?}");
        }
        assert!(backoff.next() >= Duration::from_millis(2500));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(200));
    }
}
