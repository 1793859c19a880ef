//! Keeps one task for each encoder that discovery finds.

use super::memory::Memory;
use crate::config::{Config, SerialDiscovery};
use crate::device::{self, registry::Registry};
use crate::discovery::attached::Attached;
use crate::discovery::hotplug::Watcher;
use crate::discovery::serial::{self, Look, Machine, SerialFound, Serials, Whereabouts};
use crate::discovery::spot::SerialSpot;
use crate::discovery::{Found, Place};
use crate::keys::KeyInUse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// From how much more sleep on the machine has slept. The two clocks that tell it are read one after the other.
const SLEPT_MIN: Duration = Duration::from_secs(1);

/// Encoders that answered and were not noted yet. Each one waits until there is room.
const ANSWERED_MAX: usize = 16;

struct Running {
    device_id: String,
    /// How it is spoken to.
    dialect: &'static str,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// What the devices' tasks are made with.
struct Parts {
    key: KeyInUse,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

/// What the supervisor works with.
pub(super) struct Supervisor {
    /// As it is now; another one is applied at once.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// Whoever wants to know that this goes on asks here.
    pub(super) asked: mpsc::Receiver<oneshot::Sender<()>>,
    pub(super) machine: Machine,
    pub(super) memory: Memory,
    pub(super) key: KeyInUse,
    pub(super) registry: Arc<Registry>,
    pub(super) attached: Option<watch::Receiver<Attached>>,
    pub(super) stop: CancellationToken,
}

impl Supervisor {
    /// Runs until `stop`, then waits until every reader is closed.
    pub(super) async fn run(self) {
        let Self { mut config, mut asked, machine, memory, key, registry, mut attached, stop } = self;
        let parts = Parts { key, registry, stop: stop.clone() };
        let mut readers: BTreeMap<String, Running> = BTreeMap::new();
        let now = config.borrow_and_update().clone();
        let mut serial = SerialEncoders::new(now, machine, memory);
        serial.look(&parts).await;
        while !stop.is_cancelled() {
            if let Some(attached) = &mut attached {
                for found in behind_pcsc(attached, &parts.registry) {
                    if !readers.contains_key(&found.device_id) {
                        let running = employ(found, &parts);
                        readers.insert(running.device_id.clone(), running);
                    }
                }
            }
            let news = tokio::select! {
                () = stop.cancelled() => None,
                () = changed(attached.as_mut()) => None,
                Some(answer) = asked.recv() => {
                    // Who asked may have given up.
                    let _gone = answer.send(());
                    None
                }
                Ok(()) = config.changed() => Some(News::Configured(config.borrow_and_update().clone())),
                news = serial.news() => Some(news),
            };
            if let Some(news) = news {
                serial.take(news, &parts).await;
            }
        }
        for device in readers.into_values().chain(serial.running.into_values()) {
            end(device, &parts.registry).await;
        }
    }
}

async fn changed(attached: Option<&mut watch::Receiver<Attached>>) {
    match attached {
        // It ends with the daemon.
        Some(attached) => {
            if attached.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// What there is to do about serial encoders.
enum News {
    /// Something may have been plugged in or pulled out.
    Look,
    /// The configuration is another one.
    Configured(Arc<Config>),
    /// An encoder at a configured place has answered.
    Answered { at: String, device_id: String },
}

/// The serial half.
struct SerialEncoders {
    config: Arc<Config>,
    machine: Machine,
    memory: Memory,
    /// `None`: serial ports are left alone.
    watcher: Option<Watcher>,
    serials: watch::Sender<Serials>,
    running: BTreeMap<String, Running>,
    /// Known products that were here before: unplugged they stay known.
    known: BTreeMap<String, SerialFound>,
    slept: Duration,
    tell_answered: mpsc::Sender<News>,
    answered: mpsc::Receiver<News>,
}

impl SerialEncoders {
    fn new(config: Arc<Config>, machine: Machine, memory: Memory) -> Self {
        let (tell_answered, answered) = mpsc::channel(ANSWERED_MAX);
        Self {
            watcher: watcher(&config, &machine),
            slept: (machine.slept)(),
            serials: watch::Sender::default(),
            running: BTreeMap::new(),
            known: BTreeMap::new(),
            config,
            machine,
            memory,
            tell_answered,
            answered,
        }
    }

    /// Waits for something to do. Safe to cancel.
    async fn news(&mut self) -> News {
        let plugged = async {
            match &mut self.watcher {
                Some(watcher) => watcher.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = plugged => News::Look,
            Some(answered) = self.answered.recv() => answered,
        }
    }

    async fn take(&mut self, news: News, parts: &Parts) {
        match news {
            News::Look => self.look(parts).await,
            News::Configured(config) => {
                self.watcher = watcher(&config, &self.machine);
                self.config = config;
                self.known.clear();
                self.look(parts).await;
            }
            News::Answered { at, device_id } => self.memory.answered(&at, &device_id).await,
        }
    }

    async fn look(&mut self, parts: &Parts) {
        let (config, machine, remembered) =
            (self.config.clone(), self.machine.clone(), self.memory.remembered().clone());
        let before = self.serials.borrow().clone();
        let looked = tokio::task::spawn_blocking(move || {
            serial::look(&config, &machine, &serial::ports_of(&machine), &remembered, &before)
        });
        let Ok(Look { mut encoders, twins }) = looked.await else {
            tracing::error!("listing the serial ports failed");
            return;
        };
        self.memory.twins(twins).await;
        self.keep_known(&mut encoders);
        let has_slept = self.has_slept();
        self.serials.send_if_modified(|serials| {
            let wakings = serials.wakings + u64::from(has_slept);
            let encoders = encoders.iter().map(|found| (found.device_id.clone(), found.whereabouts.clone())).collect();
            let now = Serials { encoders, wakings };
            let is_new = *serials != now;
            *serials = now;
            is_new
        });
        self.reconcile(encoders, parts).await;
    }

    /// Adds the known products that are not plugged in any more.
    fn keep_known(&mut self, encoders: &mut Vec<SerialFound>) {
        for (device_id, known) in &self.known {
            if encoders.iter().all(|found| found.device_id != *device_id) {
                let what = known.display_name.clone();
                encoders.push(SerialFound { whereabouts: Whereabouts::Missing { what }, ..known.clone() });
            }
        }
        for found in encoders.iter().filter(|found| found.configured.is_none()) {
            self.known.insert(found.device_id.clone(), found.clone());
        }
    }

    fn has_slept(&mut self) -> bool {
        let slept = (self.machine.slept)();
        let asleep = slept.saturating_sub(self.slept);
        self.slept = slept;
        if asleep < SLEPT_MIN {
            return false;
        }
        tracing::info!(seconds = asleep.as_secs(), "this machine was asleep: serial encoders are opened anew");
        true
    }

    /// One task for each encoder, and none for what is none any more.
    async fn reconcile(&mut self, encoders: Vec<SerialFound>, parts: &Parts) {
        let stays = |running: &Running| {
            let same =
                |found: &&SerialFound| found.device_id == running.device_id && found.reader.dialect == running.dialect;
            encoders.iter().any(|found| same(&found))
        };
        let gone: Vec<String> =
            self.running.values().filter(|running| !stays(running)).map(|running| running.device_id.clone()).collect();
        for device_id in gone {
            if let Some(device) = self.running.remove(&device_id) {
                end(device, &parts.registry).await;
            }
        }
        for found in encoders {
            if self.running.contains_key(&found.device_id) {
                parts.registry.rename(&found.device_id, &found.display_name);
            } else {
                let running = self.employ(&found, parts);
                self.running.insert(found.device_id, running);
            }
        }
    }

    fn employ(&self, found: &SerialFound, parts: &Parts) -> Running {
        let spot = SerialSpot::new(found, self.serials.subscribe(), self.machine.ports.clone());
        let running = employ(
            Found {
                device_id: found.device_id.clone(),
                place: Place::Serial(Box::new(spot)),
                display_name: found.display_name.clone(),
                simulated: found.simulated,
            },
            parts,
        );
        // What has answered in its dialect is what the configuration means.
        if let (Some(at), Some(device)) = (&found.configured, parts.registry.get(&found.device_id)) {
            let (at, tell) = (at.to_string(), self.tell_answered.clone());
            tokio::spawn(async move {
                if device.online().await {
                    // The supervisor has ended, and with it what is to be remembered.
                    let _ended = tell.send(News::Answered { at, device_id: device.id().to_owned() }).await;
                }
            });
        }
        running
    }
}

/// Watches for devices that come and go, unless the configuration leaves serial ports alone.
fn watcher(config: &Config, machine: &Machine) -> Option<Watcher> {
    (config.discovery.serial != SerialDiscovery::Off).then(|| Watcher::new(&machine.dev, config))
}

/// Gives an encoder a task of its own.
fn employ(found: Found, parts: &Parts) -> Running {
    tracing::info!(device_id = found.device_id, place = %found.place, "encoder known");
    let stop = parts.stop.child_token();
    let (device_id, dialect) = (found.device_id.clone(), found.place.dialect());
    let task = device::spawn(found, parts.key.clone(), &parts.registry, stop.clone());
    Running { device_id, dialect, task, stop }
}

/// The encoders that PC/SC has. Of two with one name the second one's says where it is.
fn behind_pcsc(attached: &mut watch::Receiver<Attached>, registry: &Registry) -> Vec<Found> {
    let now = attached.borrow_and_update().clone();
    let mut found: Vec<Found> = Vec::new();
    for seen in now.encoders() {
        if found.iter().any(|other| other.device_id == seen.device_id) {
            continue;
        }
        let is_taken = |name: &str| {
            found.iter().any(|other| other.display_name == name)
                || registry
                    .all()
                    .iter()
                    .any(|device| device.found().display_name == name && device.id() != seen.device_id)
        };
        let display_name = if is_taken(&seen.display_name) {
            format!("{} ({})", seen.display_name, seen.device_id)
        } else {
            seen.display_name.clone()
        };
        found.push(Found {
            device_id: seen.device_id.clone(),
            place: Place::Pcsc { reader_name: seen.reader_name.clone(), attached: attached.clone() },
            display_name,
            simulated: seen.simulated,
        });
    }
    found
}

async fn end(device: Running, registry: &Registry) {
    device.stop.cancel();
    if let Err(error) = device.task.await {
        tracing::error!(device_id = device.device_id, %error, "device task ended badly");
    }
    registry.remove(&device.device_id);
}
