//! What PC/SC has at the moment, by lasting identity, for the tasks that own those readers.

use super::pcsc::{Readers, Role, Seen};
use crate::transport::pcsc::{Monitor, Service, Snapshot};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// When a reader that could not be asked who it is is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The readers that PC/SC has.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Whether PC/SC can be asked.
    pub service: Service,
    /// Its readers, those that are no encoders among them.
    pub readers: Vec<Seen>,
    /// What lies on them.
    pub snapshot: watch::Receiver<Snapshot>,
}

impl Attached {
    /// The encoder with this identity. Of several with the same one, which are not used, the first.
    pub fn encoder(&self, device_id: &str) -> Option<&Seen> {
        self.encoders().find(|seen| seen.device_id == device_id)
    }

    /// All that are encoders, or would be if they could be told apart. One that cannot be asked who it is has no
    /// identity yet.
    pub fn encoders(&self) -> impl Iterator<Item = &Seen> {
        self.readers.iter().filter(|seen| match seen.role {
            Role::Encoder | Role::Ambiguous { .. } => true,
            Role::NotAnEncoder { .. } | Role::Unidentified => false,
        })
    }
}

/// Watches PC/SC until `stop`; returns the sight of it and the task that keeps it true.
pub fn watch(stop: CancellationToken) -> (watch::Receiver<Attached>, tokio::task::JoinHandle<()>) {
    let monitor = Monitor::start();
    let snapshot = monitor.snapshot();
    let (sender, receiver) =
        watch::channel(Attached { service: Service::Starting, readers: Vec::new(), snapshot: snapshot.clone() });
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep(&sender, snapshot) => {}
        }
        monitor.stop().await;
    });
    (receiver, task)
}

async fn keep(attached: &watch::Sender<Attached>, mut snapshot: watch::Receiver<Snapshot>) {
    let mut readers = Readers::new();
    loop {
        let now = snapshot.borrow_and_update().clone();
        let seen = readers.look(&now).await;
        let ask_again = seen.iter().any(|seen| seen.role == Role::Unidentified);
        attached.send_if_modified(|attached| {
            // What lies on the readers is in the snapshot; it changes with every card and wakes nobody here.
            let is_new = attached.service != now.service || attached.readers != seen;
            attached.service = now.service;
            attached.readers = seen;
            is_new
        });
        tokio::select! {
            changed = snapshot.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(ASK_AGAIN_AFTER), if ask_again => {}
        }
    }
}
