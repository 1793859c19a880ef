//! Opens the reader where it is, and waits until it is worth another try.

use super::{PORT_LOOK_EVERY, REOPEN_MAX};
use crate::api::bridge::EncoderState;
use crate::clock::Deadline;
use crate::discovery::attached::Attached;
use crate::discovery::pcsc::{Role, Seen};
use crate::discovery::serial::is_pty;
use crate::discovery::{Place, SerialPlace};
use crate::fault::{Fault, FaultKind};
use crate::transport::Link;
use crate::transport::pcsc::{PcscLine, PcscOpenError, Service};
use crate::transport::serial::{OpenError, SerialLine};
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
    pub(super) async fn open(&self, device_id: &str, learnt: Learnt) -> Result<Opened, Closed> {
        match self {
            Self::Serial(place) => open_serial(place).await,
            Self::Pcsc { attached, .. } => open_pcsc(attached, device_id, learnt),
        }
    }

    /// Waits until it is worth another try: at once when the reader comes back, else when the pause is over. A missing
    /// reader is waited for as long as it takes.
    pub(super) async fn worth_a_try(&mut self, device_id: &str, pause: Duration) {
        let until = Deadline::after(pause);
        match self {
            Self::Serial(place) => {
                let mut was_there = place.path.exists();
                loop {
                    tokio::time::sleep(PORT_LOOK_EVERY).await;
                    let is_there = place.path.exists();
                    if is_there && (!was_there || until.has_passed()) {
                        return;
                    }
                    was_there = is_there;
                }
            }
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

async fn open_serial(place: &SerialPlace) -> Result<Opened, Closed> {
    match SerialLine::open(&place.path, place.baud).await {
        Ok(line) => Ok(Opened { link: Link::Serial(line, (place.reader.host)()), simulated: is_pty(&place.path) }),
        Err(error) => {
            let (state, kind) = match &error {
                OpenError::NotFound(_) => (EncoderState::Offline, FaultKind::EncoderOffline),
                OpenError::Busy { .. } => (EncoderState::Unavailable, FaultKind::PortBusy),
                OpenError::PermissionDenied(_) | OpenError::NotASerialPort { .. } => {
                    (EncoderState::Unavailable, FaultKind::EncoderOffline)
                }
            };
            let pause = if state == EncoderState::Offline { PORT_LOOK_EVERY } else { REOPEN_MAX };
            Err(Closed { state, fault: Fault::with_detail(kind, error), pause })
        }
    }
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
