//! What the desks' daemons last said: which of them ask for work, and how their encoders are.
//!
//! All of it is in memory. After a restart of the hub nothing is known until a daemon asks for work (then it is
//! connected) and synchronises (then its encoders' state is known).

use crate::api::acs_encoders::{LiveEncoder, LiveFault};
use crate::api::bridge::{EncoderReport, EncoderState, Presence};
use crate::api::id::{AcsEncoderId, BridgeId};
use crate::api::time::Time;
use crate::clock;
use crate::fault::{Fault, FaultKind, Work};
use crate::store::hub::acs_encoders::Encoder;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The live state of all daemons and encoders. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live {
    state: Arc<Mutex<State>>,
    /// How long a daemon counts as connected after it last asked.
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    bridges: BTreeMap<BridgeId, Bridge>,
    encoders: BTreeMap<AcsEncoderId, Seen>,
}

#[derive(Debug)]
struct Bridge {
    polls_open: usize,
    seen_at: Instant,
}

#[derive(Debug)]
struct Seen {
    bridge_id: BridgeId,
    report: EncoderReport,
    at: Time,
}

impl Live {
    pub(super) fn new(patience: Duration) -> Self {
        Self { state: Arc::default(), patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the maps are whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a daemon said something.
    pub(super) fn heard(&self, bridge: BridgeId) {
        let now = clock::now();
        let mut state = self.state();
        state.bridges.entry(bridge).or_insert(Bridge { polls_open: 0, seen_at: now }).seen_at = now;
    }

    /// Notes that a daemon asks for work, until the guard is dropped. It is dropped too when the daemon hangs up.
    pub(super) fn poll(&self, bridge: BridgeId) -> OpenPoll {
        self.heard(bridge);
        if let Some(seen) = self.state().bridges.get_mut(&bridge) {
            seen.polls_open += 1;
        }
        OpenPoll { live: self.clone(), bridge }
    }

    /// Whether a daemon asks for work, or did so a moment ago.
    pub(super) fn is_connected(&self, bridge: BridgeId) -> bool {
        self.state().bridges.get(&bridge).is_some_and(|bridge| {
            bridge.polls_open > 0 || clock::now().saturating_duration_since(bridge.seen_at) < self.patience
        })
    }

    /// Takes over all reports of a daemon. What it does not name any more is gone.
    pub(super) fn sync(&self, bridge: BridgeId, reports: Vec<(AcsEncoderId, EncoderReport)>, now: Time) {
        let mut state = self.state();
        for seen in state.encoders.values_mut().filter(|seen| seen.bridge_id == bridge) {
            seen.report.state = EncoderState::Offline;
            seen.report.presence = Presence::Absent;
            seen.report.card_number = None;
            seen.report.fault = None;
            seen.at = now;
        }
        for (id, report) in reports {
            state.encoders.insert(id, Seen { bridge_id: bridge, report, at: now });
        }
    }

    /// Takes over one report.
    pub(super) fn report(&self, bridge: BridgeId, id: AcsEncoderId, report: EncoderReport, at: Time) {
        self.state().encoders.insert(id, Seen { bridge_id: bridge, report, at });
    }

    /// Why nothing can be done on an encoder right now, if so.
    ///
    /// A daemon that asks for work but has not yet said how the encoder is gets the job: it knows better.
    pub(super) fn fault(&self, encoder: &Encoder) -> Option<Fault> {
        let Some(bridge) = encoder.bridge_id else { return Some(FaultKind::EncoderNotLinked.into()) };
        if !self.is_connected(bridge) {
            return Some(FaultKind::BridgeDisconnected.into());
        }
        if encoder.device_id.is_none() {
            return Some(FaultKind::EncoderNotLinked.into());
        }
        let state = self.state();
        let seen = state.encoders.get(&encoder.acs_encoder_id)?;
        let kind = match seen.report.state {
            EncoderState::Online => return None,
            EncoderState::Offline => FaultKind::EncoderOffline,
            EncoderState::Unavailable => FaultKind::PortBusy,
            EncoderState::Silent => FaultKind::EncoderSilent,
        };
        // The daemon's own words name the program that has the port, for instance.
        match &seen.report.fault {
            Some(fault) if fault.kind == kind => Some(fault.clone()),
            Some(_) | None => Some(kind.into()),
        }
    }

    /// An encoder as it is shown.
    pub(super) fn encoder(&self, encoder: &Encoder) -> LiveEncoder {
        let bridge_connected = encoder.bridge_id.is_some_and(|bridge| self.is_connected(bridge));
        let unusable = self.fault(encoder);
        let state = self.state();
        let seen = state.encoders.get(&encoder.acs_encoder_id).filter(|_| encoder.device_id.is_some());
        let report = seen.map(|seen| &seen.report);
        let current = report.filter(|_| bridge_connected);
        let fault = unusable.or_else(|| current.and_then(|report| report.fault.clone()));
        LiveEncoder {
            acs_encoder_id: encoder.acs_encoder_id,
            display_name: encoder.display_name.clone(),
            device_id: encoder.device_id.clone(),
            port: report.and_then(|report| report.port.clone()),
            model: report.and_then(|report| report.model.clone()),
            firmware: report.and_then(|report| report.firmware.clone()),
            simulated: encoder.simulated,
            state: current.map_or(EncoderState::Offline, |report| report.state),
            presence: current.map_or(Presence::Absent, |report| report.presence),
            card_number: current.and_then(|report| report.card_number.clone()),
            fault: fault.map(|fault| LiveFault {
                kind: fault.kind,
                error_type: fault.kind.error_type(Work::Encode),
                message: fault.message,
            }),
            bridge_connected,
            updated_at: seen.map(|seen| seen.at),
        }
    }
}

/// A daemon's open question for work.
pub(super) struct OpenPoll {
    live: Live,
    bridge: BridgeId,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let now = clock::now();
        if let Some(bridge) = self.live.state().bridges.get_mut(&self.bridge) {
            bridge.polls_open = bridge.polls_open.saturating_sub(1);
            bridge.seen_at = now;
        }
    }
}
