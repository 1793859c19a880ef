//! The encoders of this PC without the rest of the daemon: for a command that works with a card while no daemon runs.

use super::memory::Memory;
use super::supervisor::Supervisor;
use super::{DaemonError, lock_state_dir};
use crate::clock::Deadline;
use crate::config::Config;
use crate::control::card::Bench;
use crate::device::registry::Registry;
use crate::discovery::attached;
use crate::discovery::serial::Machine;
use crate::keys::{CardKey, KeyInUse};
use encoder_protocols::layout::ndef::Ndef;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long encoders are looked for: a silent chip is asked at several speeds.
const LOOK_FOR: Duration = Duration::from_secs(6);

/// How often is looked whether they are there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The encoders, held by this process.
#[derive(Debug)]
pub struct Alone {
    devices: Arc<Registry>,
    key: Option<CardKey>,
    /// What phones are to be shown of cards that are prepared.
    ndef: Option<Ndef>,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    pcsc: Option<JoinHandle<()>>,
    /// What the supervisor watches; they live as long as it.
    _config: watch::Sender<Arc<Config>>,
    _key: watch::Sender<Option<CardKey>>,
    _ask: mpsc::Sender<tokio::sync::oneshot::Sender<()>>,
    /// Keeps a daemon from starting meanwhile.
    _lock: Option<std::fs::File>,
}

impl Alone {
    /// Opens them. Nothing is made in the state directory but its lock, and that only where a daemon has run before.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        let state_dir = config.daemon.state_dir.clone();
        let lock = if state_dir.exists() { Some(lock_state_dir(&state_dir)?) } else { None };
        let key = CardKey::load(&state_dir)?;
        let (stop, devices) = (CancellationToken::new(), Arc::new(Registry::default()));
        let (attached, pcsc) =
            if config.discovery.pcsc { Some(attached::watch(stop.clone())).unzip() } else { (None, None) };
        let ndef = config.card.ndef.clone().map(|address| address.0);
        let (config, seen) = watch::channel(Arc::new(config));
        let (ask, asked) = mpsc::channel(1);
        let (key_sender, in_use) = KeyInUse::new(key.clone());
        let supervisor = Supervisor {
            config: seen,
            asked,
            machine: Machine::this(),
            memory: Memory::default(),
            key: in_use,
            registry: devices.clone(),
            attached,
            stop: stop.clone(),
        };
        let supervisor = tokio::spawn(supervisor.run());
        Ok(Self {
            devices,
            key,
            ndef,
            stop,
            supervisor,
            pcsc,
            _config: config,
            _key: key_sender,
            _ask: ask,
            _lock: lock,
        })
    }

    /// Finds an encoder by identity, name or port; without a word when there is just one.
    pub async fn bench(&self, word: Option<&str>) -> Result<Bench, String> {
        let until = Deadline::after(LOOK_FOR);
        loop {
            let devices = self.devices.all();
            let matching: Vec<_> = devices
                .iter()
                .filter(|device| {
                    let found = device.found();
                    let is_it =
                        |word| device.id() == word || found.display_name == word || found.place.to_string() == word;
                    word.is_none_or(is_it)
                })
                .collect();
            let tried = !devices.is_empty() && devices.iter().all(|device| device.status().tried);
            if let ([device], true) = (matching.as_slice(), tried || word.is_some()) {
                let ready = tokio::time::timeout(until.remaining(), device.online()).await;
                if !matches!(ready, Ok(true)) {
                    let fault = device.status().fault.map(|fault| fault.message);
                    return Err(fault.unwrap_or_else(|| "the encoder does not answer".to_owned()));
                }
                let name = device.found().display_name.clone();
                return Ok(Bench {
                    device: (*device).clone(),
                    name,
                    key: self.key.clone(),
                    ndef: self.ndef.clone(),
                    journal: None,
                    stop: self.stop.clone(),
                });
            }
            if tried && matching.len() > 1 {
                let names: Vec<_> =
                    devices.iter().map(|device| format!("\"{}\"", device.found().display_name)).collect();
                return Err(format!("there are several encoders, name one of: {}", names.join(", ")));
            }
            if until.has_passed() {
                return Err(match word {
                    None => "there is no encoder: plug one in or configure its port".to_owned(),
                    Some(word) => format!("there is no encoder \"{word}\""),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Leaves the encoders in order.
    pub async fn end(self) {
        self.stop.cancel();
        // A task that has panicked has told so.
        let _ended = self.supervisor.await;
        if let Some(pcsc) = self.pcsc {
            let _ended = pcsc.await;
        }
    }
}
