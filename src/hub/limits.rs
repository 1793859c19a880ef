//! How often somebody may ask.
//!
//! A bound per key, so that one application's loop does not take the hub from the others, and a much lower one per
//! address for requests whose key is wrong or missing.

use super::error::ApiError;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// How many requests with a wrong key an address may make in a second; as many more at once. Enough for a desk that was
/// given a wrong key, too few to try keys.
const STRANGERS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// The bounds of all callers.
#[derive(Debug)]
pub(super) struct Limits {
    callers: Option<DefaultKeyedRateLimiter<Vec<u8>>>,
    strangers: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl Limits {
    /// So many requests a second with each key; 0: no bounds at all.
    pub(super) fn new(per_second: u32) -> Self {
        let callers = NonZeroU32::new(per_second);
        Self {
            callers: callers.map(|number| RateLimiter::keyed(Quota::per_second(number))),
            strangers: callers.map(|_| RateLimiter::keyed(Quota::per_second(STRANGERS_PER_SECOND))),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request with this key.
    pub(super) fn caller(&self, key: &[u8]) -> Result<(), ApiError> {
        let Some(callers) = &self.callers else { return Ok(()) };
        callers.check_key(&key.to_vec()).map_err(|not_until| self.too_many(&not_until))
    }

    /// Counts a request without a right key.
    pub(super) fn stranger(&self, address: IpAddr) -> Result<(), ApiError> {
        let Some(strangers) = &self.strangers else { return Ok(()) };
        strangers.check_key(&address).map_err(|not_until| self.too_many(&not_until))
    }

    /// Forgets those who have not asked for a while.
    pub(super) fn forget(&self) {
        if let Some(callers) = &self.callers {
            callers.retain_recent();
        }
        if let Some(strangers) = &self.strangers {
            strangers.retain_recent();
        }
    }

    fn too_many(&self, not_until: &governor::NotUntil<<DefaultClock as Clock>::Instant>) -> ApiError {
        let wait = not_until.wait_time_from(self.clock.now());
        ApiError::TooMany { retry_after: wait.max(Duration::from_secs(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bound_and_strangers_another() {
        let limits = Limits::new(3);
        for _ in 0..3 {
            limits.caller(b"one").unwrap();
        }
        let error = limits.caller(b"one").unwrap_err();
        assert!(matches!(error, ApiError::TooMany { retry_after } if retry_after >= Duration::from_secs(1)));
        limits.caller(b"other").unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        let refused = (0..100).filter(|_| limits.stranger(here).is_err()).count();
        assert!(refused > 70, "{refused} of 100");
        limits.stranger(IpAddr::from([127, 0, 0, 2])).unwrap();
    }

    #[test]
    fn no_bound_is_none() {
        let limits = Limits::new(0);
        assert!((0..10_000).all(|_| limits.caller(b"one").is_ok()));
        let here = IpAddr::from([127, 0, 0, 1]);
        assert!((0..10_000).all(|_| limits.stranger(here).is_ok()));
    }
}
