//! What the service tells whoever watches it: which of its parts work, and numbers.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`Readiness`] | what each hop on the way to a card is like; shown at `/readyz` |
//! | [`metrics`] | counters and gauges; shown at `/metrics` |
//! | [`log`] | to the journal or to stderr |

pub mod log;
pub mod metrics;

use crate::api::health::{HopState, Ready};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A part that a job passes on its way from the API to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// The hub's database.
    Database,
    /// The hub, as this daemon reaches it.
    Hub,
    /// The part of this daemon that keeps its encoders.
    Desk,
    /// The PC/SC service.
    Pcsc,
    /// The encoders.
    Encoders,
    /// The property's card key.
    CardKey,
    /// The daemon's own database.
    Journal,
}

impl Hop {
    /// Its name, as it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Hub => "hub",
            Self::Desk => "desk",
            Self::Pcsc => "pcsc",
            Self::Encoders => "encoders",
            Self::CardKey => "card_key",
            Self::Journal => "journal",
        }
    }

    /// Whether nothing works without it. A desk without PC/SC may have a serial encoder, and one without an encoder
    /// serves its callers and says so in each answer.
    pub fn is_needed(self) -> bool {
        match self {
            Self::Database | Self::Hub | Self::Desk | Self::CardKey | Self::Journal => true,
            Self::Pcsc | Self::Encoders => false,
        }
    }
}

/// What is wrong with each hop; nothing where there is nothing wrong. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<Hop, Option<String>>>>);

impl Readiness {
    fn hops(&self) -> MutexGuard<'_, BTreeMap<Hop, Option<String>>> {
        // Nothing panics while it holds the lock, and the map is whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hop works.
    pub fn up(&self, hop: Hop) {
        self.hops().insert(hop, None);
    }

    /// It does not, and why.
    pub fn down(&self, hop: Hop, why: impl Into<String>) {
        self.hops().insert(hop, Some(why.into()));
    }

    /// It does, or why not.
    pub fn set(&self, hop: Hop, state: Result<(), String>) {
        self.hops().insert(hop, state.err());
    }

    /// What is shown at `/readyz`.
    pub fn report(&self) -> Ready {
        let all = self.all();
        Ready {
            ok: !all.iter().any(|(hop, wrong)| wrong.is_some() && hop.is_needed()),
            hops: all
                .into_iter()
                .map(|(hop, why)| (hop.name().to_owned(), HopState { ok: why.is_none(), needed: hop.is_needed(), why }))
                .collect(),
        }
    }

    /// All hops that this process has, with what is wrong with each.
    pub fn all(&self) -> BTreeMap<Hop, Option<String>> {
        self.hops().clone()
    }
}
