//! When a delivery is tried, and how many at a time.

use crate::api::id::WebhookId;
use crate::store::hub::webhook_deliveries::Due;
use std::collections::BTreeMap;
use std::time::Duration;

/// The waits before the tries of one delivery: at once, and then after each failure. Seam's own schedule; from the
/// first try to the last it takes 27 hours and 35 minutes.
///
/// Source: docs.seam.co, "Webhooks", "Retry schedule".
const SCHEDULE: &[Duration] = &[
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];

/// How patient deliveries are. The defaults are what the documentation says; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookPatience {
    /// The wait before each try. A delivery that has failed as often is given up.
    pub schedule: &'static [Duration],
    /// How long a receiver has to answer, from the look-up of its name to the head of its answer.
    pub answer: Duration,
    /// How long a try belongs to the node that makes it; then that node counts as dead, and another one tries again.
    pub lease: Duration,
    /// How often the database is looked at for deliveries of other nodes, for which nothing rings here.
    pub look: Duration,
    /// How long ended deliveries are kept.
    pub keep: Duration,
}

impl Default for WebhookPatience {
    fn default() -> Self {
        Self {
            schedule: SCHEDULE,
            answer: Duration::from_secs(10),
            lease: Duration::from_secs(20),
            look: Duration::from_secs(1),
            keep: Duration::from_hours(24 * 7),
        }
    }
}

impl WebhookPatience {
    /// The wait after so many failures, lengthened by up to a tenth, so that what failed together does not come back
    /// together. `None`: that was the last one.
    pub(super) fn wait_after(self, failures: u32, random: u8) -> Option<Duration> {
        let wait = *self.schedule.get(usize::try_from(failures).ok()?)?;
        Some(wait + wait * u32::from(random) / (10 * u32::from(u8::MAX)))
    }
}

/// Tries of one node that are in flight at a time, all webhooks together.
pub(super) const IN_FLIGHT_MAX: usize = 128;

/// Of those, tries at receivers that failed last. However many receivers hang, the others find places.
const FAILING_MAX: usize = IN_FLIGHT_MAX / 2;

/// How many deliveries of a webhook are in flight at a time when so many are due.
///
/// One after the other keeps them in order. A backlog gets more, since a distant receiver would never work it off one
/// round trip at a time. A receiver that failed last gets one.
pub(super) fn in_flight_max(due: u32, failing: bool) -> u32 {
    if failing { 1 } else { (due / DUE_A_PLACE).clamp(1, WEBHOOK_IN_FLIGHT_MAX) }
}

/// So many due deliveries earn a webhook one more place.
const DUE_A_PLACE: u32 = 16;

/// Deliveries of one webhook that are in flight at most.
const WEBHOOK_IN_FLIGHT_MAX: u32 = 8;

/// Due deliveries beyond this many change nothing, and need not be counted.
pub(super) const DUE_COUNTED: u32 = DUE_A_PLACE * WEBHOOK_IN_FLIGHT_MAX;

/// The lanes that are worked on.
#[derive(Debug, Default)]
pub(super) struct Running {
    lanes: BTreeMap<WebhookId, u32>,
    all: usize,
    failing: usize,
}

impl Running {
    /// Takes a place for each lane that may be begun, and says how often it may.
    pub(super) fn take(&mut self, lane: &Due) -> u32 {
        let mut taken = 0;
        while self.may_begin(lane) {
            *self.lanes.entry(lane.webhook_id).or_default() += 1;
            self.all += 1;
            self.failing += usize::from(lane.failing);
            taken += 1;
        }
        taken
    }

    fn may_begin(&self, lane: &Due) -> bool {
        let running = self.lanes.get(&lane.webhook_id).copied().unwrap_or(0);
        let places = self.all < IN_FLIGHT_MAX && (!lane.failing || self.failing < FAILING_MAX);
        places && running < in_flight_max(lane.deliveries, lane.failing).min(lane.deliveries)
    }

    /// Gives the place of a lane back.
    pub(super) fn leave(&mut self, lane: &Due) {
        if let Some(running) = self.lanes.get_mut(&lane.webhook_id) {
            *running -= 1;
            if *running == 0 {
                self.lanes.remove(&lane.webhook_id);
            }
        }
        self.all -= 1;
        self.failing -= usize::from(lane.failing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::id::WorkspaceId;
    use crate::api::time::Time;

    #[test]
    fn the_schedule_is_the_documented_one() {
        let patience = WebhookPatience::default();
        let waits: Vec<_> = (0..8).map(|failures| patience.wait_after(failures, 0).unwrap().as_secs()).collect();
        assert_eq!(waits, [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]);
        assert_eq!(patience.wait_after(8, 0), None, "the eighth failure is the last");
        assert_eq!(waits.iter().sum::<u64>(), 27 * 3_600 + 35 * 60 + 5);
        assert!(
            patience.lease >= patience.answer + Duration::from_secs(5),
            "a node that still waits for an answer is not dead"
        );
    }

    #[test]
    fn jitter_lengthens_a_wait_by_a_tenth_at_most() {
        let patience = WebhookPatience::default();
        let wait = |random| patience.wait_after(2, random).unwrap();
        assert_eq!((wait(0), wait(u8::MAX)), (Duration::from_mins(5), Duration::from_secs(330)));
        assert!(wait(100) > wait(99));
    }

    #[test]
    fn order_is_kept_until_there_is_a_backlog() {
        for (due, places) in [(1, 1), (31, 1), (32, 2), (64, 4), (128, 8), (10_000, 8)] {
            assert_eq!(in_flight_max(due, false), places, "{due}");
            assert_eq!(in_flight_max(due, true), 1, "{due}");
        }
    }

    fn lane(deliveries: u32, failing: bool) -> Due {
        let since = Time::from_ms(0);
        Due { workspace_id: WorkspaceId::random(), webhook_id: WebhookId::random(), deliveries, since, failing }
    }

    #[test]
    fn receivers_that_hang_leave_places_for_the_others() {
        let mut running = Running::default();
        let hanging: Vec<_> = (0..500).map(|_| lane(500, true)).collect();
        let begun: u32 = hanging.iter().map(|lane| running.take(lane)).sum();
        assert_eq!(begun as usize, FAILING_MAX);
        assert_eq!(running.take(&lane(1, false)), 1);
        let backlog = lane(500, false);
        assert_eq!(running.take(&backlog), 8);
        assert_eq!(running.take(&backlog), 0, "it has all that it may have");
        running.leave(&backlog);
        assert_eq!(running.take(&backlog), 1);
        running.leave(&hanging[0]);
        assert_eq!((running.take(&hanging[0]), running.take(&hanging[1])), (1, 0));
        let others: u32 = (0..500).map(|_| running.take(&lane(1, false))).sum();
        assert_eq!(others as usize, IN_FLIGHT_MAX - FAILING_MAX - 9);
    }
}
