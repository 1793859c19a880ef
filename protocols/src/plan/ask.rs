//! Which Type 2 card lies there: the card itself says it.
//!
//! `GET_VERSION` first. MIFARE Ultralight and Ultralight C refuse it; of these two, Ultralight C answers the first half of
//! the 3DES authentication. Nothing is written and no counter of failed attempts is touched.

use crate::family::type2::Type2Kind;
use crate::plan::look::{Examine, LookStep};

/// What an [`Ask`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskOutcome {
    /// One that is known.
    Kind(Type2Kind),
    /// One that says something else of itself. Nothing is to be written to it.
    Unknown,
}

/// Asks a Type 2 card what it is: one round trip where it knows `GET_VERSION`, else up to four.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Version,
    Probe,
    Done(AskOutcome),
}

impl Ask {
    /// Begins with `GET_VERSION`.
    pub fn new() -> Self {
        Self { at: At::Version }
    }

    /// What was found; `None` before [`LookStep::Done`].
    pub fn outcome(&self) -> Option<AskOutcome> {
        match self.at {
            At::Done(outcome) => Some(outcome),
            At::Version | At::Probe => None,
        }
    }

    fn end(&mut self, kind: Option<Type2Kind>) {
        self.at = At::Done(kind.map_or(AskOutcome::Unknown, AskOutcome::Kind));
    }
}

impl Default for Ask {
    fn default() -> Self {
        Self::new()
    }
}

impl Examine for Ask {
    fn poll(&self) -> LookStep {
        match self.at {
            At::Version => LookStep::Version,
            At::Probe => LookStep::UltralightCProbe,
            At::Done(_) => LookStep::Done,
        }
    }

    fn version(&mut self, version: &[u8]) {
        if let At::Version = self.at {
            self.end(<&[u8; 8]>::try_from(version).ok().and_then(Type2Kind::from_version));
        }
    }

    fn probed(&mut self) {
        if let At::Probe = self.at {
            self.end(Some(Type2Kind::UltralightC));
        }
    }

    fn refused(&mut self) {
        match self.at {
            At::Version => self.at = At::Probe,
            At::Probe => self.end(Some(Type2Kind::Ultralight)),
            At::Done(_) => {}
        }
    }

    fn login_ok(&mut self) {}

    fn login_failed(&mut self) {}

    fn block(&mut self, _data: [u8; 16]) {}
}
