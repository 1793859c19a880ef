//! Opens the reader where it is, and waits until it is worth another try.

use super::{PORT_LOOK_EVERY, REOPEN_MAX};
use crate::api::bridge::EncoderState;
use crate::clock::Deadline;
use crate::discovery::Place;
use crate::discovery::attached::Attached;
use crate::discovery::pcsc::{Role, Seen};
use crate::discovery::serial::is_pty;
use crate::discovery::spot::{NotOpened, OpenedPort, SerialSpot};
use crate::fault::{Fault, FaultKind};
use crate::transport::Link;
use crate::transport::pcsc::{PcscLine, PcscOpenError, Service};
use crate::transport::serial::OpenError;
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageHost};
use std::time::Duration;
use tokio::sync::watch;

/// Why a reader cannot be used, and how soon it is worth another try while nothing is heard of it.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) state: EncoderState,
    pub(super) fault: Fault,
    pub(super) pause: Duration,
}

/// An open reader.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) simulated: bool,
}

impl Place {
    /// Opens the reader. `learnt` is what an earlier session has learnt of it.
    pub(super) async fn open(&mut self, device_id: &str, learnt: Learnt) -> Result<Opened, Closed> {
        match self {
            Self::Serial(spot) => open_serial(spot).await,
            Self::Pcsc { attached, .. } => open_pcsc(attached, device_id, learnt),
        }
    }

    /// Waits until an open reader is no longer to be used as it is: it is somewhere else, or cannot be told from another
    /// one any more, or the machine has slept. A reader behind PC/SC tells this by its line. Safe to cancel.
    pub(super) async fn left(&mut self) {
        match self {
            Self::Serial(spot) => spot.left().await,
            Self::Pcsc { .. } => std::future::pending().await,
        }
    }

    /// Waits until it is worth another try: at once when the reader comes back, else when the pause is over. A missing
    /// reader is waited for as long as it takes.
    pub(super) async fn worth_a_try(&mut self, device_id: &str, pause: Duration) {
        let until = Deadline::after(pause);
        match self {
            Self::Serial(spot) => spot.worth_a_try(pause).await,
            Self::Pcsc { attached, reader_name } => {
                let is_usable = |attached: &Attached| {
                    attached.encoder(device_id).filter(|seen| seen.role == Role::Encoder).cloned()
                };
                let mut was_usable = is_usable(&attached.borrow_and_update()).is_some();
                loop {
                    tokio::select! {
                        changed = attached.changed() => if changed.is_err() {
                            // Discovery has ended, and the daemon with it.
                            return std::future::pending().await;
                        },
                        () = tokio::time::sleep_until(until.instant()), if was_usable => return,
                    }
                    let usable = is_usable(&attached.borrow_and_update());
                    if let (Some(seen), false) = (&usable, was_usable) {
                        reader_name.clone_from(&seen.reader_name);
                        return;
                    }
                    was_usable = usable.is_some();
                }
            }
        }
    }
}

async fn open_serial(spot: &mut SerialSpot) -> Result<Opened, Closed> {
    let error = match spot.open().await {
        Ok(OpenedPort { line, place }) => {
            return Ok(Opened { link: Link::Serial(line, (place.reader.host)()), simulated: is_pty(&place.path) });
        }
        Err(error) => error,
    };
    let (state, fault) = match error {
        NotOpened::Missing(what) => {
            let detail = format!("{what} is not there");
            (EncoderState::Offline, Fault::with_detail(FaultKind::EncoderOffline, detail))
        }
        NotOpened::Ambiguous(detail) => {
            (EncoderState::Unavailable, Fault::with_detail(FaultKind::EncoderAmbiguous, detail))
        }
        NotOpened::Open(error) => {
            let (state, kind) = match &error {
                OpenError::NotFound(_) => (EncoderState::Offline, FaultKind::EncoderOffline),
                OpenError::Busy { .. } => (EncoderState::Unavailable, FaultKind::PortBusy),
                OpenError::PermissionDenied(_) | OpenError::NotASerialPort { .. } => {
                    (EncoderState::Unavailable, FaultKind::EncoderOffline)
                }
            };
            (state, Fault::with_detail(kind, error))
        }
    };
    let pause = if state == EncoderState::Offline { PORT_LOOK_EVERY } else { REOPEN_MAX };
    Err(Closed { state, fault, pause })
}

fn open_pcsc(attached: &watch::Receiver<Attached>, device_id: &str, learnt: Learnt) -> Result<Opened, Closed> {
    let (seen, service) = {
        let attached = attached.borrow();
        (attached.encoder(device_id).cloned(), attached.service)
    };
    let offline = |detail: String| Closed {
        state: EncoderState::Offline,
        fault: Fault::with_detail(FaultKind::EncoderOffline, detail),
        pause: PORT_LOOK_EVERY,
    };
    let seen: Seen = match (seen, service) {
        (Some(seen), _) => seen,
        (None, Service::Gone { why }) => return Err(offline(why.to_string())),
        (None, Service::Starting | Service::Running) => {
            return Err(offline("PC/SC does not list this reader".to_owned()));
        }
    };
    let unavailable = |fault| Closed { state: EncoderState::Unavailable, fault, pause: REOPEN_MAX };
    match &seen.role {
        Role::Encoder => {}
        Role::Ambiguous { with } => {
            let detail = format!("{} and {}", seen.reader_name, with.join(", "));
            return Err(unavailable(Fault::with_detail(FaultKind::EncoderAmbiguous, detail)));
        }
        Role::Unidentified => {
            return Err(unavailable(Fault::with_detail(FaultKind::ReaderInUse, "its driver cannot be asked")));
        }
        Role::NotAnEncoder { why } => return Err(offline((*why).to_owned())),
    }
    let snapshot = attached.borrow().snapshot.clone();
    match PcscLine::open(&seen.reader_name, seen.address, snapshot) {
        Ok(line) => Ok(Opened {
            link: Link::Pcsc(line, Box::new(PcscStorageHost::new(seen.profile, learnt))),
            simulated: seen.simulated,
        }),
        Err(error) => Err(closed_by(error)),
    }
}

fn closed_by(error: PcscOpenError) -> Closed {
    Closed {
        state: EncoderState::Offline,
        fault: Fault::with_detail(FaultKind::EncoderOffline, error),
        pause: PORT_LOOK_EVERY,
    }
}
