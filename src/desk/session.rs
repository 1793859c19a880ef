//! Sessions of browsers at this PC, and the PIN that may stand before them. In memory: a restart ends them all, and the page
//! begins a new one by itself.

use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

/// How long a session lasts that nobody uses: a shift.
const IDLE_MAX: Duration = Duration::from_hours(12);

/// Sessions at a time; the one that was used longest ago gives way.
const SESSIONS_MAX: usize = 64;

/// Wrong PINs in a row that cost nothing: fingers slip.
const WRONG_FREE: u32 = 4;

/// The first pause after that; each further wrong PIN doubles it.
const PAUSE_FIRST: Duration = Duration::from_secs(30);

/// The longest pause: four digits last for weeks then.
const PAUSE_MAX: Duration = Duration::from_mins(15);

/// A token's hash: a look-up by it tells nothing of how much of a wrong token is right.
type TokenHash = [u8; 32];

/// All sessions.
pub(super) struct Sessions {
    pin: Option<SecretString>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<TokenHash, Session>,
    wrong: u32,
    pause_until: Option<Instant>,
}

struct Session {
    csrf: String,
    used: Instant,
}

/// A new session, for the browser: one secret in its cookie, another one in its page.
pub(super) struct Begun {
    /// For the cookie.
    pub(super) token: String,
    /// For the header that only the page itself can send.
    pub(super) csrf: String,
}

/// Why there is no session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSession {
    /// The PIN is missing.
    PinNeeded,
    /// The PIN is wrong.
    PinWrong,
    /// Too many wrong ones: not before this has passed.
    TooMany(Duration),
    /// The operating system has no randomness.
    NoRandomness,
}

impl Sessions {
    pub(super) fn new(pin: Option<SecretString>) -> Self {
        Self { pin, state: Mutex::default() }
    }

    /// Whether there is a PIN.
    pub(super) fn has_pin(&self) -> bool {
        self.pin.is_some()
    }

    /// Begins a session.
    pub(super) fn begin(&self, pin: Option<&str>) -> Result<Begun, NoSession> {
        let now = clock::now();
        let mut state = self.state();
        if let Some(right) = &self.pin {
            state.try_pin(right, pin, now)?;
        }
        let (token, csrf) = (random().ok_or(NoSession::NoRandomness)?, random().ok_or(NoSession::NoRandomness)?);
        state.open.retain(|_, session| now.duration_since(session.used) < IDLE_MAX);
        if state.open.len() >= SESSIONS_MAX {
            let oldest = state.open.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            oldest.map(|hash| state.open.remove(&hash));
        }
        state.open.insert(hash(&token), Session { csrf: csrf.clone(), used: now });
        Ok(Begun { token, csrf })
    }

    /// The session of a cookie: the secret for its page.
    pub(super) fn csrf(&self, token: &str) -> Option<String> {
        let now = clock::now();
        let mut state = self.state();
        let session = state.open.get_mut(&hash(token))?;
        if now.duration_since(session.used) >= IDLE_MAX {
            return None;
        }
        session.used = now;
        Some(session.csrf.clone())
    }

    /// Whether a request has a session: the cookie's secret and the page's belong together.
    pub(super) fn admits(&self, token: &str, csrf: &str) -> bool {
        self.csrf(token).is_some_and(|right| same(&right, csrf))
    }

    /// Ends a session.
    pub(super) fn end(&self, token: &str) {
        self.state().open.remove(&hash(token));
    }

    /// A panic elsewhere leaves nothing half done in here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Compares a PIN. Wrong ones cost time, whoever sends them: all come from this PC.
    fn try_pin(&mut self, right: &SecretString, given: Option<&str>, now: Instant) -> Result<(), NoSession> {
        let Some(given) = given else { return Err(NoSession::PinNeeded) };
        if let Some(until) = self.pause_until.filter(|until| *until > now) {
            return Err(NoSession::TooMany(until.duration_since(now)));
        }
        if same(right.expose_secret(), given) {
            (self.wrong, self.pause_until) = (0, None);
            return Ok(());
        }
        self.wrong = self.wrong.saturating_add(1);
        if self.wrong > WRONG_FREE {
            let doublings = (self.wrong - WRONG_FREE - 1).min(16);
            let pause = PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
            self.pause_until = Some(now + pause);
        }
        tracing::warn!(wrong = self.wrong, "a wrong PIN on the clerk's page");
        Err(NoSession::PinWrong)
    }
}

/// 256 random bits.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// Compares in constant time; hashes first, so that not even the length shows.
fn same(right: &str, given: &str) -> bool {
    hash(right).ct_eq(&hash(given)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_needs_both_secrets_and_ends_after_a_shift() {
        let sessions = Sessions::new(None);
        let (one, other) = (sessions.begin(None).ok().unwrap(), sessions.begin(None).ok().unwrap());
        assert!(sessions.admits(&one.token, &one.csrf));
        for (token, csrf) in [(&one.token, &other.csrf), (&one.csrf, &one.token), (&String::new(), &String::new())] {
            assert!(!sessions.admits(token, csrf));
        }
        tokio::time::advance(IDLE_MAX / 2).await;
        assert!(sessions.admits(&one.token, &one.csrf), "used within the time, so it goes on");
        tokio::time::advance(IDLE_MAX / 2).await;
        assert!(sessions.admits(&one.token, &one.csrf) && !sessions.admits(&other.token, &other.csrf));
        sessions.end(&one.token);
        assert!(!sessions.admits(&one.token, &one.csrf));
    }

    #[tokio::test(start_paused = true)]
    async fn the_session_that_was_used_longest_ago_gives_way() {
        let sessions = Sessions::new(None);
        let first = sessions.begin(None).ok().unwrap();
        for _ in 0..SESSIONS_MAX {
            tokio::time::advance(Duration::from_secs(1)).await;
            sessions.begin(None).ok().unwrap();
        }
        assert!(!sessions.admits(&first.token, &first.csrf));
        assert_eq!(sessions.state().open.len(), SESSIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_pins_cost_time() {
        let sessions = Sessions::new(Some("2468".into()));
        let wrong = |pin| sessions.begin(Some(pin)).err();
        assert_eq!(sessions.begin(None).err(), Some(NoSession::PinNeeded));
        for pin in ["1234", "246", "24680", "", "0000"] {
            assert_eq!(wrong(pin), Some(NoSession::PinWrong), "{pin}");
        }
        assert_eq!(wrong("2468"), Some(NoSession::TooMany(PAUSE_FIRST)), "the right one does not help in a pause");
        tokio::time::advance(PAUSE_FIRST).await;
        assert_eq!(wrong("1111"), Some(NoSession::PinWrong));
        assert_eq!(wrong("2468"), Some(NoSession::TooMany(PAUSE_FIRST * 2)));
        for _ in 0..40 {
            tokio::time::advance(PAUSE_MAX).await;
            assert_eq!(wrong("1111"), Some(NoSession::PinWrong));
        }
        assert_eq!(wrong("2468"), Some(NoSession::TooMany(PAUSE_MAX)));
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(wrong("2468"), None);
        assert_eq!(wrong("1111"), Some(NoSession::PinWrong), "and the counting begins anew");
        assert_eq!(wrong("2468"), None);
    }
}
