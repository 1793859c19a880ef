//! Puts the parts together: state, keys, hub, devices, bridge, control socket; and takes them apart in order.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`alone`] | the encoders for a command, while no daemon runs |
//! | `supervisor` | one task a device |
//! | `watch` | asks the supervisor whether it is alive |
//! | `status` | `/readyz` and `/metrics` where there is no embedded hub |
//! | `reload` | what of another configuration can be applied at once |
//! | [`systemd`] | what the service manager is told, and what it keeps |

pub mod alone;
mod memory;
mod reload;
#[cfg(test)]
mod shuffle;
mod status;
mod supervisor;
pub mod systemd;
mod watch;

use self::reload::Reload;
use self::systemd::Kept;
use crate::api::bridge::EncoderState;
use crate::backup::BackupError;
use crate::backup::nightly::{BackupStatus, Nightly};
use crate::bridge::Bridge;
use crate::config::{self, Config, ConfigError};
use crate::control::{self, ControlError};
use crate::desk;
use crate::device::registry::Registry;
use crate::discovery::attached::{self, Attached};
use crate::discovery::serial::Machine;
use crate::hub::{self, HubError, PropertySettings, Retention, RunningHub};
use crate::keys::{self, CardKey, KeyError, KeyInUse};
use crate::link::Links;
use crate::store::StoreError;
use crate::store::state::{self, State};
use crate::telemetry::{Hop, Readiness, metrics};
use crate::transport::pcsc::Service;
use crate::upstream::{Account, Hub, UpstreamError};
use memory::Memory;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use supervisor::Supervisor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory cannot be made or written.
    #[error("cannot use the state directory {path}: give it to the user of encoderd, or set daemon.state_dir", path = path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another daemon uses the state directory.
    #[error("another encoderd runs on the state directory {path}: stop it first", path = path.display())]
    AlreadyRunning {
        /// The directory.
        path: PathBuf,
    },
    /// A database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or token cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A daemon has worked here, and its card key is gone.
    #[error(
        "{path} is missing, and encoderd has run here before: a new card key would make every card of the property \
         foreign. Put the copy back, or make a new key with `encoderd keys init`",
        path = path.display()
    )]
    CardKeyLost {
        /// Where it should be.
        path: PathBuf,
    },
    /// The API key from the environment cannot be used.
    #[error("{0}")]
    ApiKey(String),
    /// The bridge token of the remote hub is missing.
    #[error("there is no bridge token in {path}: pair this desk with `encoderd pair`, or copy the hub's bridge-token there, mode 0600", path = path.display())]
    NoBridgeToken {
        /// `cloud.token_file`
        path: PathBuf,
    },
    /// The account's API key is missing.
    #[error("there is no API key in {path}: write one of the account there, mode 0600, or leave cloud.api_key_file out", path = path.display())]
    NoApiKey {
        /// `cloud.api_key_file`
        path: PathBuf,
    },
    /// The embedded hub does not start.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The status address cannot be used.
    #[error("cannot listen on {address}; set another `status_listen` under [daemon]")]
    StatusListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The client side of the hub cannot be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It is not known what to back up.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where the embedded hub listens, if there is one.
    pub hub_address: Option<SocketAddr>,
    /// The embedded hub's API key, if there is one.
    pub api_key: Option<SecretString>,
    /// The control socket.
    pub control_socket: PathBuf,
    hub: Option<RunningHub>,
    devices: Arc<Registry>,
    config: channel::Sender<Arc<Config>>,
    card_key: channel::Sender<Option<CardKey>>,
    readiness: Readiness,
    status: systemd::StatusLine,
    watch: JoinHandle<()>,
    status_page: Option<JoinHandle<()>>,
    pcsc_seen: Option<channel::Receiver<Attached>>,
    bridge: JoinHandle<()>,
    supervisor: JoinHandle<()>,
    pcsc: Option<JoinHandle<()>>,
    control: JoinHandle<()>,
    nightly: Option<JoinHandle<()>>,
    stops: Stops,
    state: State,
    /// Held for as long as the daemon runs; the lock ends with it.
    _lock: std::fs::File,
}

/// What is told to stop, in this order.
#[derive(Debug, Default)]
struct Stops {
    closing: CancellationToken,
    work: CancellationToken,
    devices: CancellationToken,
    hub: CancellationToken,
}

impl Daemon {
    /// Starts everything; returns when the hub answers and the devices are being opened.
    pub async fn start(config: Config, kept: Kept) -> Result<Self, DaemonError> {
        let state_dir = config.daemon.state_dir.clone();
        prepare_state_dir(&state_dir)?;
        let lock = lock_state_dir(&state_dir)?;
        let has_run_before = state_dir.join(state::FILE).exists();
        let (state, card_key) = if has_run_before {
            (State::open(&state_dir).await?, card_key(&config, has_run_before)?)
        } else {
            // The key first: a first start that fails must not look like one that had a key.
            let card_key = card_key(&config, has_run_before)?;
            (State::open(&state_dir).await?, card_key)
        };
        let stops = Stops::default();
        let readiness = Readiness::default();
        let cloud = connect(&config, kept, &readiness, &stops).await?;
        let links = Arc::new(Links::load(state.clone()).await?);
        let devices = Arc::new(Registry::default());
        let (card_key_changed, card_key) = KeyInUse::new(card_key);
        show_card_key(&readiness, &card_key);
        readiness.up(Hop::Journal);
        readiness.down(Hop::Hub, "not asked yet");
        let (config_changed, config) = channel::channel(Arc::new(config));
        let now = config.borrow().clone();
        let bridge = Arc::new(Bridge {
            hub: Hub::new(&cloud.url, cloud.token)?,
            bridge_id: state.bridge_id().await?,
            state: state.clone(),
            links: links.clone(),
            devices: devices.clone(),
            card_key: card_key.clone(),
            config: config.clone(),
            own_hub: cloud.embedded.is_some(),
            readiness: readiness.clone(),
            outbox_filled: Notify::new(),
            sync_wanted: Notify::new(),
        });
        let hub_address = cloud.embedded.as_ref().map(|hub| hub.address);
        let control_socket = now.control_socket();
        let (attached, pcsc) =
            if now.discovery.pcsc { Some(attached::watch(stops.devices.clone())).unzip() } else { (None, None) };
        let (backup, nightly) = start_nightly(&now, stops.work.clone())?.unzip();
        let context = control::Context {
            links,
            devices: devices.clone(),
            bridge: bridge.clone(),
            hub_url: cloud.url,
            card_key: card_key.clone(),
            account: cloud.account,
            attached: attached.clone(),
            backup,
            stop: stops.devices.clone(),
        };
        let control = control::serve(&control_socket, context.clone(), stops.devices.clone())?;
        // It is empty: nobody else fills it.
        let _filled = cloud.page.set(context);
        let status_page = match (now.daemon.status_listen, &cloud.embedded) {
            (Some(address), None) => Some(status::serve(address, readiness.clone(), stops.hub.clone()).await?),
            (_, _) => None,
        };
        let (ask, asked) = mpsc::channel(1);
        let supervisor = Supervisor {
            config,
            asked,
            machine: Machine::this(),
            memory: Memory::load(state.clone()).await,
            key: card_key,
            registry: devices.clone(),
            attached: attached.clone(),
            stop: stops.devices.clone(),
        };
        let supervisor = tokio::spawn(supervisor.run());
        let watch = tokio::spawn(watch::for_the_manager(ask, readiness.clone(), stops.devices.clone()));
        let bridge = tokio::spawn(bridge.run(stops.work.clone()));
        Ok(Self {
            hub_address,
            api_key: cloud.api_key,
            control_socket,
            hub: cloud.embedded,
            devices,
            config: config_changed,
            card_key: card_key_changed,
            readiness,
            status: systemd::StatusLine::default(),
            watch,
            status_page,
            pcsc_seen: attached.clone(),
            bridge,
            supervisor,
            pcsc,
            control,
            nightly,
            stops,
            state,
            _lock: lock,
        })
    }

    /// Serves until SIGTERM or SIGINT. SIGHUP has the configuration read again by `read`.
    pub async fn serve(&mut self, read: impl Fn() -> Result<Config, ConfigError>) -> std::io::Result<()> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut changes = self.devices.changes();
        let mut pcsc = self.pcsc_seen.clone();
        self.show_status("");
        systemd::ready();
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hangup.recv() => {
                    systemd::reloading();
                    let note = self.reload(read()).await + &self.reload_card_key();
                    self.show_status(&note);
                    systemd::ready();
                }
                Ok(()) = changes.changed() => self.show_status(""),
                Ok(()) = attached_changed(&mut pcsc) => self.show_status(""),
            }
        }
        systemd::stopping();
        Ok(())
    }

    /// Applies what was read, all of it or nothing; says in a few words what became of it.
    async fn reload(&self, read: Result<Config, ConfigError>) -> String {
        let running = self.config.borrow().clone();
        let applied = match read {
            Ok(read) => {
                let reload = Reload::new(&running, read);
                match (&self.hub, reload.property) {
                    (Some(hub), true) => {
                        let property = reload.config.property.as_ref().map(property_settings);
                        hub.set_property(property.as_ref()).await.map(|()| reload).map_err(|error| error.to_string())
                    }
                    (_, _) => Ok(reload),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        metrics::reloaded(applied.is_ok());
        match applied {
            Ok(reload) => {
                self.config.send_replace(Arc::new(reload.config));
                if reload.needs_restart.is_empty() {
                    tracing::info!("configuration read again and applied");
                    return String::new();
                }
                let keys = reload.needs_restart.join(", ");
                tracing::warn!(keys, "configuration read again; these keys are applied by a restart only");
                format!("; a restart is needed for {keys}")
            }
            Err(error) => {
                tracing::error!(error, "the new configuration is refused; the running one stays");
                format!("; the configuration read at {} is refused: {error}", systemd::at())
            }
        }
    }

    /// Takes over another generation of the property's card key; says in a few words what became of it. Jobs in hand end
    /// with the one that they began with.
    fn reload_card_key(&self) -> String {
        let running = self.card_key.borrow().clone();
        let problem = match (CardKey::load(&self.config.borrow().daemon.state_dir), running) {
            (Ok(read), running) if read == running => return String::new(),
            (Ok(Some(read)), running) if running.as_ref().is_none_or(|own| own.property_id == read.property_id) => {
                tracing::info!(property_id = %read.property_id, keys = ?read.ids(), "card key read again and applied");
                self.card_key.send_replace(Some(read));
                show_card_key(&self.readiness, &KeyInUse::of(&self.card_key));
                return String::new();
            }
            (Ok(Some(read)), _) => format!("it is property {}'s, which a restart only applies", read.property_id),
            (Ok(None), _) => "it is not there any more".to_owned(),
            (Err(error), _) => error.to_string(),
        };
        tracing::error!(problem, "the card key that was read is not taken; the running one stays");
        format!("; the card key read at {} is not taken: {problem}", systemd::at())
    }

    /// Says in one line how the encoders are.
    fn show_status(&mut self, note: &str) {
        let all: Vec<EncoderState> = self.devices.all().iter().map(|device| device.status().state).collect();
        let count = |state| all.iter().filter(|other| **other == state).count();
        let states = [
            ("online", count(EncoderState::Online)),
            ("offline", count(EncoderState::Offline)),
            ("unavailable", count(EncoderState::Unavailable)),
            ("silent", count(EncoderState::Silent)),
        ];
        metrics::encoders(&states);
        if let Some(pcsc) = &self.pcsc_seen {
            self.readiness.set(
                Hop::Pcsc,
                match pcsc.borrow().service {
                    Service::Gone { why } => Err(why.to_string()),
                    Service::Starting | Service::Running => Ok(()),
                },
            );
        }
        self.readiness.set(
            Hop::Encoders,
            match count(EncoderState::Online) {
                0 if all.is_empty() => Err("there is no encoder".to_owned()),
                0 => Err("no encoder can be used".to_owned()),
                _ => Ok(()),
            },
        );
        let each: Vec<String> =
            states.iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {state}")).collect();
        let each = if each.is_empty() { "none".to_owned() } else { each.join(", ") };
        self.status.show(format!("encoders: {each}"), note);
    }

    /// Stops everything in order: no new jobs, the running ones to a safe point, their results out, then the devices,
    /// then the hub.
    pub async fn stop(self) {
        self.stops.closing.cancel();
        self.stops.work.cancel();
        joined("bridge", self.bridge).await;
        if let Some(nightly) = self.nightly {
            joined("nightly backup", nightly).await;
        }
        self.stops.devices.cancel();
        joined("supervisor", self.supervisor).await;
        joined("watch", self.watch).await;
        if let Some(pcsc) = self.pcsc {
            joined("PC/SC", pcsc).await;
        }
        joined("control socket", self.control).await;
        self.stops.hub.cancel();
        if let Some(hub) = self.hub {
            hub.stopped().await;
        }
        if let Some(page) = self.status_page {
            joined("status page", page).await;
        }
        self.state.close().await;
    }
}

fn show_card_key(readiness: &Readiness, card_key: &KeyInUse) {
    let there = if card_key.is_there() { Ok(()) } else { Err("there is no card key of the property".to_owned()) };
    readiness.set(Hop::CardKey, there);
}

async fn attached_changed(pcsc: &mut Option<channel::Receiver<Attached>>) -> Result<(), channel::error::RecvError> {
    match pcsc {
        Some(pcsc) => pcsc.changed().await,
        None => std::future::pending().await,
    }
}

async fn joined(part: &'static str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(part, %error, "ended badly");
    }
}

/// The cloud that the bridge works for.
struct CloudSide {
    url: String,
    token: SecretString,
    embedded: Option<RunningHub>,
    api_key: Option<SecretString>,
    /// For the clerk's page: filled when the devices are there.
    page: Arc<OnceLock<control::Context>>,
    /// What the API key opens.
    account: Option<Account>,
}

async fn connect(config: &Config, kept: Kept, readiness: &Readiness, stops: &Stops) -> Result<CloudSide, DaemonError> {
    if let Some(cloud) = &config.cloud {
        let token = match keys::token_credential(keys::BRIDGE_TOKEN_FILE)? {
            Some(token) => Some(token),
            None => keys::token(&cloud.token_file)?,
        };
        let token = token.ok_or_else(|| DaemonError::NoBridgeToken { path: cloud.token_file.clone() })?;
        let key = match &cloud.api_key_file {
            Some(file) => Some(keys::token(file)?.ok_or_else(|| DaemonError::NoApiKey { path: file.clone() })?),
            None => None,
        };
        let account = key.map(|key| Account::new(&cloud.url, key)).transpose()?;
        return Ok(CloudSide {
            url: cloud.url.clone(),
            token,
            embedded: None,
            api_key: None,
            page: Arc::default(),
            account,
        });
    }
    let mut settings = hub_settings(config)?;
    settings.service = service(config, kept, readiness.clone(), stops.closing.clone())?;
    let (token, api_key) = (settings.bridge_token.clone(), settings.api_key.clone());
    let page = Arc::new(OnceLock::new());
    let (pin, daemon) = (config.desk.pin.clone(), page.clone());
    settings.front = Some(desk::front(Some(desk::Local { api_key: api_key.clone(), pin, daemon })));
    let hub = hub::serve(settings, stops.hub.clone()).await?;
    let url = format!("http://{}", reachable(hub.address));
    Ok(CloudSide {
        account: Some(Account::new(&url, api_key.clone())?),
        url,
        token,
        embedded: Some(hub),
        api_key: Some(api_key),
        page,
    })
}

/// What this process has for its hub: the socket that the service manager has kept over a restart, or a new one that it
/// keeps from now on.
pub fn service(
    config: &Config,
    kept: Kept,
    readiness: Readiness,
    closing: CancellationToken,
) -> Result<hub::Service, DaemonError> {
    let had_one = kept.hub.is_some();
    let (listener, is_kept) = hub::listen(config.hub.listen, kept.hub)?;
    if !is_kept {
        if had_one {
            systemd::forget_hub();
        }
        systemd::keep_hub(&listener);
    }
    Ok(hub::Service { listener: Some(listener), closing, readiness })
}

/// The property's card key. The first start with an embedded hub makes it; a later one must find it.
fn card_key(config: &Config, has_run_before: bool) -> Result<Option<CardKey>, DaemonError> {
    let state_dir = &config.daemon.state_dir;
    let key = CardKey::load(state_dir)?;
    match (&key, &config.cloud) {
        (Some(_), _) => Ok(key),
        (None, Some(_)) => {
            tracing::error!(
                "this desk has no card key of the property: nothing is encoded until `encoderd keys import`"
            );
            Ok(None)
        }
        (None, None) if has_run_before => Err(DaemonError::CardKeyLost { path: state_dir.join(keys::CARD_KEY_FILE) }),
        (None, None) => Ok(Some(CardKey::create(state_dir)?)),
    }
}

/// Nightly backups: how they went, and the task that makes them.
pub type NightlyBackups = (channel::Receiver<BackupStatus>, JoinHandle<()>);

/// Starts to make nightly backups, unless there are to be none.
pub fn start_nightly(config: &Config, stop: CancellationToken) -> Result<Option<NightlyBackups>, DaemonError> {
    let Some(nightly) = Nightly::of(config)? else { return Ok(None) };
    let (sender, status) = channel::channel(nightly.status());
    Ok(Some((status, tokio::spawn(nightly.run(sender, stop)))))
}

/// The address to reach a hub at that may listen on all addresses.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port())),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

/// The embedded hub's settings; makes its API key and the bridge token on the first start.
pub fn hub_settings(config: &Config) -> Result<hub::Settings, DaemonError> {
    let state_dir = &config.daemon.state_dir;
    let api_key = match config::api_key_from_environment().map_err(DaemonError::ApiKey)? {
        Some(key) => key,
        None => token(state_dir, keys::API_KEY_FILE, "seam_")?,
    };
    Ok(hub::Settings {
        listen: config.hub.listen,
        database: config.hub_database(),
        card_wait: config.daemon.card_wait,
        api_key,
        bridge_token: token(state_dir, keys::BRIDGE_TOKEN_FILE, "bridge_")?,
        property: config.property.as_ref().map(property_settings),
        property_id: property_id(state_dir),
        allow_simulate: config.hub.allow_simulate,
        webhook_allow_private: config.hub.webhook_allow_private,
        requests_per_second: config.hub.requests_per_second,
        service: hub::Service::default(),
        front: Some(desk::front(None)),
        retention: Retention::days(config.retention.events_days, config.retention.attempts_days),
    })
}

/// A token that the service manager hands over, or that lies in the state directory; made if there is none.
fn token(state_dir: &Path, name: &str, prefix: &str) -> Result<SecretString, KeyError> {
    match keys::token_credential(name)? {
        Some(token) => Ok(token),
        None => keys::token_or_create(&state_dir.join(name), prefix),
    }
}

/// The property as its cards name it. A hub without a desk may have no card key: then the desks alone know.
fn property_id(state_dir: &Path) -> Option<Uuid> {
    match CardKey::load(state_dir) {
        Ok(key) => key.map(|key| key.property_id),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "jobs do not say which property they are for");
            None
        }
    }
}

fn property_settings(property: &config::Property) -> PropertySettings {
    let entrance =
        |entrance: &config::Entrance| hub::EntranceSettings { name: entrance.name.clone(), door: entrance.door };
    PropertySettings {
        name: property.name.clone(),
        time_zone: Some(property.time_zone.clone()),
        entrances: property.entrances.iter().map(entrance).collect(),
    }
}

/// Makes the state directory, mode 0700, and checks that it can be written.
pub fn prepare_state_dir(path: &Path) -> Result<(), DaemonError> {
    let unusable = |source| DaemonError::StateDir { path: path.to_path_buf(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| unusable(error.into()))
}

/// Makes sure that one daemon works on a state directory. The lock ends with the process, however it ends.
pub fn lock_state_dir(path: &Path) -> Result<std::fs::File, DaemonError> {
    let unusable = |source| DaemonError::StateDir { path: path.to_path_buf(), source };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(DaemonError::AlreadyRunning { path: path.to_path_buf() }),
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}
