//! The one place that reads time.
//!
//! Durations are measured on tokio's monotonic clock, which tests can pause; the wall clock is read only for what is
//! shown, signed or stored.

use jiff::Timestamp;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
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

/// How long this machine has slept since it was started: what the clock that counts sleep is ahead of the one that does
/// not.
pub fn slept() -> Duration {
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

/// A descriptor that becomes readable when the wall clock steps against the monotonic one: when it is set, and when the
/// machine wakes up. [`rearm_steps`] makes it wait for the next step.
///
/// Source: timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`; Linux `fs/timerfd.c`, `timerfd_resume`.
pub fn steps() -> io::Result<OwnedFd> {
    let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    rearm_steps(&fd)?;
    Ok(fd)
}

/// Waits for the next step. The timer itself never ends.
pub fn rearm_steps(fd: &OwnedFd) -> io::Result<()> {
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: i64::MAX, tv_nsec: 0 },
    };
    timerfd_settime(fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    Ok(())
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
