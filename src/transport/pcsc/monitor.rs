//! What the PC/SC service says of its readers and the cards on them, as it happens.
//!
//! One thread waits in `SCardGetStatusChange` and publishes what it sees as a whole. It never gives up: whatever ends
//! its context, it makes a new one, for as long as the daemon runs. A context that has failed is dropped;
//! `SCardIsValidContext` says OK to dead ones.

use super::error::{Meaning, ServiceProblem, meaning};
use pcsc::{Context, PNP_NOTIFICATION, Scope, State};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The service and its readers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the service answers.
    pub service: Service,
    /// Its readers; none while the service is gone.
    pub readers: Vec<ReaderState>,
}

impl Snapshot {
    /// The reader with this full PC/SC name.
    pub fn reader(&self, name: &str) -> Option<&ReaderState> {
        self.readers.iter().find(|reader| reader.name == name)
    }
}

/// Whether the PC/SC service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It has not been asked yet.
    Starting,
    /// It answers.
    Running,
    /// It does not; it is asked again and again.
    Gone {
        /// Why, as far as can be told.
        why: ServiceProblem,
    },
}

/// A reader and what lies on it, as of its last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderState {
    /// The full PC/SC name, with its trailing `NN MM`, which changes from plug to plug.
    pub name: String,
    /// Counts the appearances of readers: another number under the same name is another appearance, and maybe another
    /// reader.
    pub appearance: u64,
    /// What lies on it.
    pub card: CardState,
    /// The card's ATR; empty without a card, and for a mute one.
    pub atr: Vec<u8>,
    /// Somebody is connected to the card; maybe a line of ours. pcscd does not announce it: as of the last event.
    pub in_use: bool,
    /// Somebody has the reader for himself. pcscd does not announce it: as of the last event.
    pub exclusive: bool,
    /// pcscd's count of cards that came and left; starts anew with each appearance and after 65535.
    pub events: u16,
}

/// What lies on a reader, as the reader reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardState {
    /// Nothing.
    Absent,
    /// A card that answers to power.
    Present,
    /// A card, or something else, that does not answer to power.
    Mute,
    /// The driver has trouble with the reader.
    Unknown,
}

/// The first wait after a change, and the longest one.
///
/// pcscd 1.9.9 reports a new reader only when it comes during a wait; one that comes between the list and the wait is
/// found by the next list. Waits are therefore short after a change, when more is likely to come, and double while
/// nothing happens. (pcscd 2.x counts the changes, and the wait returns at once.)
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Pause before the readers are listed again when one of them went between list and wait.
const LIST_AGAIN: Duration = Duration::from_millis(5);

/// Pauses between attempts to reach a service that is gone; they double from the first to the second.
/// An attempt costs a stat(2) when there is no socket.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// The longest pause on a PC that has no PC/SC service at all.
const RETRY_UNINSTALLED_MAX: Duration = Duration::from_secs(10);

/// Refusals in a row before they are believed: a pcscd that is just ending may answer 0x8010006A once (measured).
const DENIALS_MIN: u32 = 5;

/// Time between cancellations of a wait, and how long the thread may take to acknowledge one.
const CANCEL_EVERY: Duration = Duration::from_millis(5);
const STOP_BOUND: Duration = Duration::from_secs(1);

/// Room for reader names: 128 bytes each, at most 16 of them until pcsc-lite 2.4, no limit after.
const NAMES_BYTES: usize = 64 * 1024;

/// Watches the readers until it is stopped or dropped.
#[derive(Debug)]
pub struct Monitor {
    snapshot: watch::Receiver<Snapshot>,
    /// Dropped: the thread ends at its next look.
    stop: Option<SyncSender<()>>,
    ended: Option<oneshot::Receiver<()>>,
    shared: Arc<Shared>,
}

/// What is between the thread and whoever cancels its wait.
#[derive(Default)]
struct Shared {
    context: Mutex<Option<Context>>,
    has_ended: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Shared {
    fn set_context(&self, context: Option<Context>) {
        *self.context.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }

    fn context(&self) -> Option<Context> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Monitor {
    /// Starts watching.
    pub fn start() -> Self {
        let (publish, snapshot) = watch::channel(Snapshot { service: Service::Starting, readers: Vec::new() });
        let (stop, stopped) = sync_channel(0);
        let (end, ended) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let mut thread =
            Thread { publish, stopped, shared: Arc::clone(&shared), appearances: 0, known: BTreeMap::new() };
        let started = std::thread::Builder::new().name("pcsc-monitor".into()).spawn(move || {
            thread.run();
            thread.shared.has_ended.store(true, Ordering::Release);
            drop(thread);
            let _nobody_waits = end.send(());
        });
        if let Err(error) = started {
            // Without its thread nothing publishes: whoever waits sees the channel closed, with the service starting.
            tracing::error!(%error, "cannot start the thread that watches PC/SC readers");
            shared.has_ended.store(true, Ordering::Release);
        }
        Self { snapshot, stop: Some(stop), ended: Some(ended), shared }
    }

    /// What it sees, as it changes.
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Stops watching, and waits until the thread has ended; at most a second, should pcscd hang.
    pub async fn stop(mut self) {
        self.cancel();
        let Some(ended) = self.ended.take() else { return };
        if tokio::time::timeout(STOP_BOUND, ended).await.is_err() {
            tracing::warn!("pcscd does not answer: the thread that watches its readers is left behind");
        }
    }

    /// Tells the thread to end. A cancellation that comes before the wait is lost, so it is repeated until the thread
    /// has ended; on a thread of its own, because it speaks to pcscd.
    fn cancel(&mut self) {
        if self.stop.take().is_none() || self.shared.has_ended.load(Ordering::Acquire) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let canceller = std::thread::Builder::new().name("pcsc-cancel".into()).spawn(move || {
            while !shared.has_ended.load(Ordering::Acquire) {
                if let Some(context) = shared.context() {
                    let _dead = context.cancel();
                }
                std::thread::park_timeout(CANCEL_EVERY);
            }
        });
        if let Err(error) = canceller {
            tracing::warn!(%error, "cannot cancel the wait for PC/SC readers: it ends by itself");
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The monitor's thread.
struct Thread {
    publish: watch::Sender<Snapshot>,
    stopped: Receiver<()>,
    shared: Arc<Shared>,
    appearances: u64,
    known: BTreeMap<String, Known>,
}

/// What is remembered of a reader between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    appearance: u64,
    /// Whether a card lies there; unknown at first, and while its driver has trouble.
    is_present: Option<bool>,
    events: u16,
}

impl Known {
    /// What is known after the next look.
    ///
    /// pcscd changes a card's state first and counts the event a moment later (`eventhandler.c`,
    /// `EHStatusHandlerThread`), and a look may fall between: seen once in 500 events. A card that came without having
    /// been counted, or a count too many for what lies there, is such a moment, and the event is counted here in advance;
    /// else one card would look like two.
    fn then(self, is_present: Option<bool>, count: u16) -> Self {
        let events = match (self.is_present, is_present) {
            (_, None) => self.events,
            (None, Some(_)) => count,
            (Some(before), Some(after)) => {
                let is_counted = count.wrapping_sub(self.events) % 2 == u16::from(before != after);
                if is_counted { count } else { count.wrapping_add(1) }
            }
        };
        Self { is_present, events, ..self }
    }
}

impl Thread {
    fn run(&mut self) {
        let mut pause = RETRY_MIN;
        let mut denials = 0;
        loop {
            let error = match Context::establish(Scope::System) {
                Ok(context) => {
                    // Who is let in is not denied: what a pcscd says while it ends does not add up.
                    denials = 0;
                    self.shared.set_context(Some(context.clone()));
                    let error = self.watch(&context);
                    self.shared.set_context(None);
                    pause = RETRY_MIN;
                    error
                }
                Err(error) => error,
            };
            if self.is_stopped_within(Duration::ZERO) {
                return;
            }
            denials = if meaning(error) == Meaning::Denied { denials + 1 } else { 0 };
            self.publish_gone(error, denials);
            if self.is_stopped_within(pause) {
                return;
            }
            let longest = if Self::may_come() { RETRY_MAX } else { RETRY_UNINSTALLED_MAX };
            pause = longest.min(pause * 2);
        }
    }

    /// Whether the service is installed, or was: then its socket has a directory.
    fn may_come() -> bool {
        socket_path().parent().is_some_and(Path::exists)
    }

    fn is_stopped_within(&self, pause: Duration) -> bool {
        match self.stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        }
    }

    fn publish_gone(&mut self, error: pcsc::Error, denials: u32) {
        self.known.clear();
        let why = match meaning(error) {
            Meaning::Denied if denials >= DENIALS_MIN => ServiceProblem::Denied,
            Meaning::Denied | Meaning::ServiceGone | Meaning::Cancelled => not_there(&socket_path()),
            Meaning::ReaderGone
            | Meaning::NoCard
            | Meaning::Mute
            | Meaning::Reset
            | Meaning::InUse
            | Meaning::NotTransacted
            | Meaning::Unsupported
            | Meaning::TimedOut => ServiceProblem::Other(error as u32),
        };
        self.publish(Snapshot { service: Service::Gone { why }, readers: Vec::new() });
    }

    fn publish(&self, snapshot: Snapshot) {
        self.publish.send_if_modified(|published| {
            let changed = *published != snapshot;
            if changed {
                log_service(published.service, snapshot.service);
                *published = snapshot;
            }
            changed
        });
    }

    /// Watches through one context until it fails or the monitor is stopped.
    fn watch(&mut self, context: &Context) -> pcsc::Error {
        let mut names = vec![0; NAMES_BYTES];
        // The first entry stands for the list of readers itself.
        let mut entries = vec![entry(PNP_NOTIFICATION())];
        let mut wait = WAIT_MIN;
        loop {
            if self.is_stopped_within(Duration::ZERO) {
                return pcsc::Error::Cancelled;
            }
            let listed: Vec<CString> = match context.list_readers(&mut names) {
                Ok(names) => names.map(CStr::to_owned).collect(),
                Err(error) => return error,
            };
            self.follow(&mut entries, &listed);
            // The wait returns at once with the states of readers that are new.
            if !entries.iter().skip(1).any(|entry| entry.event_state().is_empty()) {
                self.publish(self.snapshot(&entries));
            }
            let waited = get_status_change(context, wait, &mut entries);
            for entry in &mut entries {
                entry.sync_current_state();
            }
            match waited.map_err(|error| (error, meaning(error))) {
                Ok(()) => wait = WAIT_MIN,
                Err((_, Meaning::TimedOut)) => wait = WAIT_MAX.min(wait * 2),
                // A reader went between list and wait: the next list says which. Cancelled: the next round sees it.
                Err((_, Meaning::ReaderGone | Meaning::Cancelled)) => {
                    wait = WAIT_MIN;
                    if self.is_stopped_within(LIST_AGAIN) {
                        return pcsc::Error::Cancelled;
                    }
                    continue;
                }
                Err((error, _)) => return error,
            }
            self.remember(&entries);
            self.publish(self.snapshot(&entries));
        }
    }

    /// Makes the entries those of the listed readers.
    fn follow(&mut self, entries: &mut Vec<pcsc::ReaderState>, listed: &[CString]) {
        let mut index = 0;
        entries.retain(|entry| {
            index += 1;
            index == 1 || listed.iter().any(|name| name.as_c_str() == entry.name())
        });
        self.known.retain(|known, _| listed.iter().any(|name| name.to_string_lossy() == known.as_str()));
        for name in listed {
            let text = name.to_string_lossy().into_owned();
            if !self.known.contains_key(&text) {
                entries.retain(|entry| entry.name() != name.as_c_str());
                entries.push(entry(name));
                self.appearances += 1;
                self.known.insert(text, Known { appearance: self.appearances, is_present: None, events: 0 });
            }
        }
    }

    /// Notes the event counts. A reader whose driver has trouble reports none, and keeps its last one.
    fn remember(&mut self, entries: &[pcsc::ReaderState]) {
        for entry in entries.iter().skip(1) {
            if let Some(known) = self.known.get_mut(entry.name().to_string_lossy().as_ref()) {
                let is_present = match card_state(entry.event_state()) {
                    CardState::Absent => Some(false),
                    CardState::Present | CardState::Mute => Some(true),
                    CardState::Unknown => None,
                };
                let count = u16::try_from(entry.event_count() & 0xFFFF).unwrap_or_default();
                *known = known.then(is_present, count);
            }
        }
    }

    fn snapshot(&self, entries: &[pcsc::ReaderState]) -> Snapshot {
        let readers = entries.iter().skip(1).filter_map(|entry| {
            let name = entry.name().to_string_lossy().into_owned();
            let known = *self.known.get(&name)?;
            let state = entry.event_state();
            let card = card_state(state);
            Some(ReaderState {
                name,
                appearance: known.appearance,
                card,
                atr: if card == CardState::Present { entry.atr().to_vec() } else { Vec::new() },
                in_use: state.contains(State::INUSE),
                exclusive: state.contains(State::EXCLUSIVE),
                events: known.events,
            })
        });
        Snapshot { service: Service::Running, readers: readers.collect() }
    }
}

fn entry(name: &CStr) -> pcsc::ReaderState {
    pcsc::ReaderState::new(name, State::UNAWARE)
}

/// Waits for a change. libpcsclite up to 2.4 takes 16 entries at most; with 16 readers there is no room for the list
/// itself, nor can another reader come.
fn get_status_change(context: &Context, wait: Duration, entries: &mut [pcsc::ReaderState]) -> Result<(), pcsc::Error> {
    const ENTRIES_MAX: usize = 16;
    match context.get_status_change(wait, entries) {
        Err(pcsc::Error::InvalidParameter) if entries.len() > ENTRIES_MAX => {
            context.get_status_change(wait, entries.get_mut(1..).unwrap_or_default())
        }
        waited => waited,
    }
}

fn card_state(state: State) -> CardState {
    if state.intersects(State::UNKNOWN | State::UNAVAILABLE) {
        CardState::Unknown
    } else if state.contains(State::MUTE) {
        CardState::Mute
    } else if state.contains(State::PRESENT) {
        CardState::Present
    } else if state.contains(State::EMPTY) {
        CardState::Absent
    } else {
        CardState::Unknown
    }
}

/// Where libpcsclite looks for pcscd.
fn socket_path() -> PathBuf {
    std::env::var_os("PCSCLITE_CSOCK_NAME").map_or_else(|| PathBuf::from("/run/pcscd/pcscd.comm"), PathBuf::from)
}

/// Why a service that does not answer is not there.
fn not_there(socket: &Path) -> ServiceProblem {
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(socket, access) == Err(rustix::io::Errno::ACCESS) {
        return ServiceProblem::SocketDenied;
    }
    let places = ["/usr/sbin/pcscd", "/usr/local/sbin/pcscd", "/sbin/pcscd", "/usr/bin/pcscd"];
    if socket.exists() || places.iter().any(|place| Path::new(place).exists()) {
        ServiceProblem::NotRunning
    } else {
        ServiceProblem::NotInstalled
    }
}

fn log_service(before: Service, after: Service) {
    match (before, after) {
        (Service::Starting | Service::Gone { .. }, Service::Running) => tracing::info!("PC/SC service is there"),
        (Service::Running, Service::Gone { why }) => tracing::warn!(%why, "PC/SC service is gone"),
        (Service::Starting, Service::Gone { why }) => tracing::info!(%why, "no PC/SC service"),
        (Service::Gone { why: before }, Service::Gone { why }) if before != why => {
            tracing::info!(%why, "no PC/SC service");
        }
        (Service::Gone { .. }, Service::Gone { .. })
        | (Service::Running, Service::Running)
        | (_, Service::Starting) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_between_a_cards_state_and_its_count_changes_nothing() {
        let known = |is_present, events| Known { appearance: 1, is_present, events };
        let looks = |start: Known, looks: &[(Option<bool>, u16)]| {
            looks
                .iter()
                .scan(start, |known, (is_present, count)| {
                    *known = known.then(*is_present, *count);
                    Some(known.events)
                })
                .collect::<Vec<_>>()
        };
        let (absent, present) = (Some(false), Some(true));
        // A card comes: its state, then its count.
        assert_eq!(looks(known(absent, 4), &[(present, 4), (present, 5), (absent, 5), (absent, 6)]), [5, 5, 6, 6]);
        // It left and came between two looks; the second look is between state and count.
        assert_eq!(looks(known(present, 5), &[(present, 6), (present, 7)]), [7, 7]);
        assert_eq!(looks(known(present, 5), &[(present, 7), (absent, 8)]), [7, 8]);
        // The count starts anew.
        assert_eq!(looks(known(present, 65535), &[(absent, 65535), (absent, 0), (present, 1)]), [0, 0, 1]);
        // A driver in trouble says nothing, and what it says then is believed.
        assert_eq!(looks(known(present, 5), &[(None, 0), (present, 6), (absent, 7)]), [5, 6, 7]);
    }
}
