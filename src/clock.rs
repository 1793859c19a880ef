//! The one place that reads time.
//!
//! Durations are measured on tokio's monotonic clock, which tests can pause; the wall clock is read only for what is
//! shown, signed or stored.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The wall clock in milliseconds since 1970, as the databases keep it.
pub fn wall_ms() -> i64 {
    wall().as_millisecond()
}

/// A moment on the monotonic clock, to count down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl std::ops::Add<Duration> for Deadline {
    type Output = Self;

    /// The moment this much later.
    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

impl Deadline {
    /// The moment this long from now.
    pub fn after(duration: Duration) -> Self {
        Self(now() + duration)
    }

    /// The moment this long after `start`.
    pub fn since(start: Instant, duration: Duration) -> Self {
        Self(start + duration)
    }

    /// What is left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The moment itself, for `tokio::time::timeout_at`.
    pub fn instant(self) -> Instant {
        self.0
    }
}
