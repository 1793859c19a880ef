//! Puts the parts together: state, keys, hub, devices, bridge, control socket; and takes them apart in order.

mod memory;
#[cfg(test)]
mod shuffle;
mod supervisor;

use crate::bridge::Bridge;
use crate::config::{self, Config};
use crate::control::{self, ControlError};
use crate::device::registry::Registry;
use crate::discovery::attached;
use crate::discovery::serial::Machine;
use crate::hub::{self, HubError, PropertySettings, RunningHub};
use crate::keys::{self, CardKey, KeyError};
use crate::link::Links;
use crate::store::StoreError;
use crate::store::state::{self, State};
use crate::upstream::{Account, Hub, UpstreamError};
use memory::Memory;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use supervisor::Supervisor;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    /// The client side of the hub cannot be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ControlError),
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
    bridge: JoinHandle<()>,
    supervisor: JoinHandle<()>,
    pcsc: Option<JoinHandle<()>>,
    control: JoinHandle<()>,
    stops: Stops,
    state: State,
    /// Held for as long as the daemon runs; the lock ends with it.
    _lock: std::fs::File,
}

/// What is told to stop, in this order.
#[derive(Debug, Default)]
struct Stops {
    work: CancellationToken,
    devices: CancellationToken,
    hub: CancellationToken,
}

impl Daemon {
    /// Starts everything; returns when the hub answers and the devices are being opened.
    pub async fn start(config: Config) -> Result<Self, DaemonError> {
        let state_dir = config.daemon.state_dir.clone();
        prepare_state_dir(&state_dir)?;
        let lock = lock_state_dir(&state_dir)?;
        let has_run_before = state_dir.join(state::FILE).exists();
        let state = State::open(&state_dir).await?;
        let card_key = card_key(&config, has_run_before)?;
        let stops = Stops::default();
        let cloud = connect(&config, &stops.hub).await?;
        let links = Arc::new(Links::load(state.clone()).await?);
        let devices = Arc::new(Registry::default());
        let bridge = Arc::new(Bridge {
            hub: Hub::new(&cloud.url, cloud.token)?,
            bridge_id: state.bridge_id().await?,
            state: state.clone(),
            links: links.clone(),
            devices: devices.clone(),
            card_key: card_key.clone(),
            card: config.card.clone(),
            auto_link: config.auto_link(),
            outbox_filled: Notify::new(),
            sync_wanted: Notify::new(),
        });
        let hub_address = cloud.embedded.as_ref().map(|hub| hub.address);
        let control_socket = config.control_socket();
        let (attached, pcsc) =
            if config.discovery.pcsc { Some(attached::watch(stops.devices.clone())).unzip() } else { (None, None) };
        let control = control::serve(
            &control_socket,
            control::Context {
                links,
                devices: devices.clone(),
                bridge: bridge.clone(),
                hub_url: cloud.url,
                card_key: card_key.clone(),
                account: cloud.account,
                attached: attached.clone(),
            },
            stops.devices.clone(),
        )?;
        let supervisor = Supervisor {
            config: Arc::new(config),
            machine: Machine::this(),
            memory: Memory::load(state.clone()).await,
            key: card_key,
            registry: devices,
            attached,
            stop: stops.devices.clone(),
        };
        let supervisor = tokio::spawn(supervisor.run());
        let bridge = tokio::spawn(bridge.run(stops.work.clone()));
        Ok(Self {
            hub_address,
            api_key: cloud.api_key,
            control_socket,
            hub: cloud.embedded,
            bridge,
            supervisor,
            pcsc,
            control,
            stops,
            state,
            _lock: lock,
        })
    }

    /// Stops everything in order: no new jobs, the running ones to a safe point, their results out, then the devices,
    /// then the hub.
    pub async fn stop(self) {
        self.stops.work.cancel();
        joined("bridge", self.bridge).await;
        self.stops.devices.cancel();
        joined("supervisor", self.supervisor).await;
        if let Some(pcsc) = self.pcsc {
            joined("PC/SC", pcsc).await;
        }
        joined("control socket", self.control).await;
        self.stops.hub.cancel();
        if let Some(hub) = self.hub {
            hub.stopped().await;
        }
        self.state.close().await;
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
    /// What the API key opens.
    account: Option<Account>,
}

async fn connect(config: &Config, stop: &CancellationToken) -> Result<CloudSide, DaemonError> {
    if let Some(cloud) = &config.cloud {
        let token = keys::token(&cloud.token_file)?
            .ok_or_else(|| DaemonError::NoBridgeToken { path: cloud.token_file.clone() })?;
        let key = match &cloud.api_key_file {
            Some(file) => Some(keys::token(file)?.ok_or_else(|| DaemonError::NoApiKey { path: file.clone() })?),
            None => None,
        };
        let account = key.map(|key| Account::new(&cloud.url, key)).transpose()?;
        return Ok(CloudSide { url: cloud.url.clone(), token, embedded: None, api_key: None, account });
    }
    let settings = hub_settings(config)?;
    let (token, api_key) = (settings.bridge_token.clone(), settings.api_key.clone());
    let hub = hub::serve(settings, stop.clone()).await?;
    let url = format!("http://{}", reachable(hub.address));
    Ok(CloudSide {
        account: Some(Account::new(&url, api_key.clone())?),
        url,
        token,
        embedded: Some(hub),
        api_key: Some(api_key),
    })
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
        None => keys::token_or_create(&state_dir.join(keys::API_KEY_FILE), "seam_")?,
    };
    Ok(hub::Settings {
        listen: config.hub.listen,
        database: config.hub_database(),
        card_wait: config.daemon.card_wait,
        api_key,
        bridge_token: keys::token_or_create(&state_dir.join(keys::BRIDGE_TOKEN_FILE), "bridge_")?,
        property: config.property.as_ref().map(|property| PropertySettings {
            name: property.name.clone(),
            time_zone: Some(property.time_zone.clone()),
            entrances: property
                .entrances
                .iter()
                .map(|entrance| hub::EntranceSettings { name: entrance.name.clone(), door: entrance.door })
                .collect(),
        }),
        allow_simulate: config.hub.allow_simulate,
        webhook_allow_private: config.hub.webhook_allow_private,
        requests_per_second: config.hub.requests_per_second,
    })
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
