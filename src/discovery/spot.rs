//! Where one serial encoder is, followed from node to node by the task that owns it.

use super::serial::{SerialFound, SerialPlace, Serials, Whereabouts};
use crate::clock::Deadline;
use crate::transport::serial::{OpenError, Ports, SerialLine};
use std::time::Duration;
use tokio::sync::watch;

/// A serial encoder's place.
#[derive(Clone, Debug)]
pub struct SerialSpot {
    device_id: String,
    dialect: &'static str,
    /// Where it was last, for people.
    shown: String,
    serials: watch::Receiver<Serials>,
    ports: Ports,
    /// What was made use of last.
    used: Option<(Whereabouts, u64)>,
}

/// An opened port, and what may still be said of it.
#[derive(Debug)]
pub struct OpenedPort {
    /// The line.
    pub line: SerialLine,
    /// Where it is.
    pub place: SerialPlace,
}

/// Why an encoder's port is not open.
#[derive(Debug)]
pub enum NotOpened {
    /// It is not plugged in; what is missing, for people.
    Missing(String),
    /// It cannot be told from others; from which, and what to do.
    Ambiguous(String),
    /// Its port cannot be opened.
    Open(OpenError),
}

impl SerialSpot {
    /// Follows an encoder.
    pub fn new(found: &SerialFound, serials: watch::Receiver<Serials>, ports: Ports) -> Self {
        let shown = match (&found.whereabouts, &found.configured) {
            (Whereabouts::At(place), _) => place.path.display().to_string(),
            (Whereabouts::Missing { what }, _) => what.clone(),
            (Whereabouts::Ambiguous { .. }, Some(at)) => at.to_string(),
            (Whereabouts::Ambiguous { .. }, None) => found.device_id.clone(),
        };
        Self { device_id: found.device_id.clone(), dialect: found.reader.dialect, shown, serials, ports, used: None }
    }

    /// How it speaks, for people.
    pub fn dialect(&self) -> &'static str {
        self.dialect
    }

    /// Where it was last, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn now(&mut self) -> (Whereabouts, u64) {
        let serials = self.serials.borrow_and_update();
        let whereabouts = serials.encoders.get(&self.device_id).cloned();
        let missing = || Whereabouts::Missing { what: self.shown.clone() };
        (whereabouts.unwrap_or_else(missing), serials.wakings)
    }

    /// Opens its port, wherever that is now.
    pub async fn open(&mut self) -> Result<OpenedPort, NotOpened> {
        let now = self.now();
        self.used = Some(now.clone());
        match now.0 {
            Whereabouts::At(place) => {
                self.shown = place.path.display().to_string();
                quicken(&place).await;
                let line = self.ports.open(&place.path, place.baud).await.map_err(NotOpened::Open)?;
                Ok(OpenedPort { line, place })
            }
            Whereabouts::Missing { what } => Err(NotOpened::Missing(what)),
            Whereabouts::Ambiguous { detail } => Err(NotOpened::Ambiguous(detail)),
        }
    }

    /// Waits until it is no longer where it was opened, or the machine has slept. Safe to cancel.
    pub async fn left(&mut self) {
        loop {
            if Some(self.now()) != self.used {
                return;
            }
            self.changed().await;
        }
    }

    /// Waits until opening is worth another try: at once when something about its place changes, else when the pause is
    /// over, provided that it is there. Safe to cancel.
    pub async fn worth_a_try(&mut self, pause: Duration) {
        let until = Deadline::after(pause);
        loop {
            let now = self.now();
            let is_there = matches!(now.0, Whereabouts::At(_));
            if Some(&now) != self.used.as_ref() {
                return;
            }
            tokio::select! {
                () = self.changed() => {}
                () = tokio::time::sleep_until(until.instant()), if is_there => return,
            }
        }
    }

    async fn changed(&mut self) {
        if self.serials.changed().await.is_err() {
            // Discovery has ended, and the daemon with it.
            std::future::pending::<()>().await;
        }
    }
}

/// Sets an FTDI adapter's latency timer to its least. Without the right to do so everything works, more slowly.
async fn quicken(place: &SerialPlace) {
    let Some(file) = place.latency.clone() else { return };
    let set = tokio::task::spawn_blocking(move || {
        if std::fs::read_to_string(&file)?.trim() == "1" { Ok(()) } else { std::fs::write(&file, "1") }
    });
    match set.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(
            port = %place.path.display(),
            %error,
            "the adapter's latency timer stays as it is, which makes each exchange some milliseconds longer; \
             the udev rule of the package sets it to 1"
        ),
        Err(error) => tracing::debug!(%error, "latency timer"),
    }
}
