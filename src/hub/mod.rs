//! The hub: the Seam API on a database, for desks' daemons to work for.
//!
//! It works on a machine without a reader and knows nothing of devices: a daemon, this program's own or another desk's,
//! asks for work at `/bridge/v1/…`.
//!
//! | module | what it does |
//! | --- | --- |
//! | `attempts` | the life of an encode or scan, from the request to its settlement |
//! | `deadlines` | how long attempts still have, on the monotonic clock |
//! | `assignment` | whose credentials are, and which access methods' |
//! | `compact` | which credential a small card means
//! | `credentials` | what the hub holds to be true of credentials and cards |
//! | `grants` | what access grants open, and how they end |
//! | `guests` | what a credential's metadata says of guests, and what of it a card carries |
//! | `simulation` | ends of attempts that were arranged |
//! | `encoders` | how encoders are right now |
//! | `live`, `nodes` | which daemons ask for work, this node and the others |
//! | `property`, `import` | puts properties into the database; reads what people write of them |
//! | `retention` | forgets what happened long ago |
//! | `pairing` | how desks get their tokens |
//! | `routes` | one file a resource, all routes in one table |
//! | `call` | what a handler gets, and how it becomes a route |
//! | `request`, `auth`, `limits`, `error` | parameters, keys, how often, failures |
//! | `openapi` | the API's document, made from the table of routes |
//! | `stream` | what happens, as it happens |
//! | `webhooks` | sends events to the addresses that callers gave |
//! | `server` | connections, their time-outs, and shutting down |

mod assignment;
mod attempts;
mod auth;
mod call;
mod compact;
mod credentials;
mod deadlines;
mod encoders;
mod error;
mod grants;
mod guests;
mod import;
mod limits;
mod live;
mod nodes;
pub mod openapi;
mod pairing;
mod property;
mod request;
mod retention;
mod routes;
mod server;
mod simulation;
mod stream;
mod webhooks;

pub use self::auth::Peer;
use self::deadlines::Deadlines;
use self::limits::Limits;
use self::live::Live;
use self::nodes::Nodes;
pub use self::retention::Retention;
pub use self::webhooks::WebhookPatience;
use self::webhooks::{Mailroom, deliver};
use crate::api::id::{BridgeId, WorkspaceId};
use crate::clock;
use crate::store::hub::SCHEMA;
use crate::store::hub::acs_encoders;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::webhook_deliveries;
use crate::store::{Database, Realm, Ring, StoreError};
use crate::telemetry::Readiness;
use axum::Router;
use secrecy::SecretString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// What a hub needs to know to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its database, `sqlite:///path/to/hub.db` or `postgres://…`; several hubs may share one of the latter.
    pub database: String,
    /// How long an attempt waits for a card.
    pub card_wait: Duration,
    /// What callers of the Seam API send; starts with `seam_`.
    pub api_key: SecretString,
    /// What daemons send.
    pub bridge_token: SecretString,
    /// What it serves as its access system; `None` leaves what the database has.
    pub property: Option<PropertySettings>,
    /// The property as its cards name it, where this is known: jobs say it, and a desk with another property's card key
    /// refuses them.
    pub property_id: Option<Uuid>,
    /// Whether the simulation endpoints are there.
    pub allow_simulate: bool,
    /// Whether webhooks may go to loopback and private addresses.
    pub webhook_allow_private: bool,
    /// How many requests a second each key may make; 0: without a bound.
    pub requests_per_second: u32,
    /// The process around it.
    pub service: Service,
    /// What is served beside the hub's own paths; `None`: nothing.
    pub front: Option<Front>,
    /// For how long it keeps what happened.
    pub retention: Retention,
}

/// What the process around a hub has for it. The default is for a hub that is alone in its process.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// A socket that listens where [`Settings::listen`] says, from [`listen`]; absent: the hub makes one.
    pub listener: Option<Arc<std::net::TcpListener>>,
    /// Cancelled when the hub will stop soon. It serves on, and closes each connection behind its next answer, so that
    /// nobody's request meets a connection that is just being closed.
    pub closing: CancellationToken,
    /// What the process knows of the other hops; the hub adds its own.
    pub readiness: Readiness,
}

/// Puts something before the hub's paths, such as a page at `/`: gets the hub's router, returns what is served. Requests
/// carry their [`Peer`]; the hub knows nothing else of what stands there.
#[derive(Clone)]
pub struct Front(pub Arc<dyn Fn(Router) -> Router + Send + Sync>);

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front(..)")
    }
}

/// A property: what the hub serves as its access system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertySettings {
    /// Its name.
    pub name: String,
    /// Its IANA time zone.
    pub time_zone: Option<String>,
    /// Its doors.
    pub entrances: Vec<EntranceSettings>,
}

/// A door of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntranceSettings {
    /// Its name.
    pub name: String,
    /// Its number, as cards and locks know it.
    pub door: u16,
}

/// How patient a hub is. The defaults are what the documentation says; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// An attempt's deadline is `card_wait` and this: time to find the job, and to write and verify a card.
    pub work: Duration,
    /// A started attempt is given up only so long after its deadline: one write and verify that began in time.
    pub finish: Duration,
    /// A daemon counts as connected so long after it last asked. Shorter than the shortest attempt, so that an attempt
    /// whose daemon went away says so and does not merely run out of time.
    pub bridge: Duration,
    /// How long daemons have to come back after the hub was started; they try again at least every 5 s.
    pub come_back: Duration,
    /// An offered job that was not started goes to another poll of the same daemon after this.
    pub lease: Duration,
    /// How deliveries to webhooks are tried.
    pub webhooks: WebhookPatience,
    /// How often is looked for what may be forgotten.
    pub retention: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            work: Duration::from_secs(5),
            finish: Duration::from_secs(10),
            bridge: Duration::from_secs(4),
            come_back: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            webhooks: WebhookPatience::default(),
            retention: Duration::from_hours(1),
        }
    }
}

/// Why a hub cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Another program has the port.
    #[error(
        "{address} is in use by another program, perhaps another encoderd; stop that program or set another \
         `listen` under [hub]"
    )]
    PortInUse {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address}; set another `listen` under [hub]")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("the hub cannot use its database")]
    Store(#[from] StoreError),
    /// Webhooks could not be delivered.
    #[error("the hub cannot make HTTPS requests")]
    Client(#[source] reqwest::Error),
}

/// A hub that serves.
#[derive(Debug)]
pub struct RunningHub {
    /// Where it listens.
    pub address: SocketAddr,
    hub: Hub,
    join: JoinHandle<()>,
}

impl RunningHub {
    /// Takes over a property that was changed in the configuration.
    pub async fn set_property(&self, property: Option<&PropertySettings>) -> Result<(), StoreError> {
        property::put(self.hub.store(), property).await.map(drop)
    }

    /// Waits until the hub has stopped, which it does when its token is cancelled.
    pub async fn stopped(self) {
        drop(self.hub);
        if let Err(error) = self.join.await {
            tracing::error!(error = %error, "the hub ended badly");
        }
    }
}

/// Listens where a hub is to serve. A kept socket is used if it is there already: then nobody who called meanwhile was
/// refused. Whether it was.
pub fn listen(
    address: SocketAddr,
    kept: Option<Arc<std::net::TcpListener>>,
) -> Result<(Arc<std::net::TcpListener>, bool), HubError> {
    let is_there = |kept: &Arc<std::net::TcpListener>| {
        kept.local_addr()
            .is_ok_and(|at| at.ip() == address.ip() && (address.port() == 0 || at.port() == address.port()))
    };
    if let Some(kept) = kept.filter(is_there) {
        return Ok((kept, true));
    }
    let unusable = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            HubError::PortInUse { address }
        } else {
            HubError::Listen { address, source }
        }
    };
    // The standard library sets SO_REUSEADDR, so that connections that have just ended are not in the way.
    let listener = std::net::TcpListener::bind(address).map_err(unusable)?;
    // The library's own backlog is 128 connections; calling again makes it longer.
    rustix::net::listen(&listener, BACKLOG).map_err(|error| unusable(error.into()))?;
    Ok((Arc::new(listener), false))
}

/// Connections that may wait to be accepted, also while the program is started anew. The system's own limit is 4096.
const BACKLOG: i32 = 4096;

/// Starts a hub, which serves until the token is cancelled.
///
/// It listens before it opens the database, so that of two programs on one port the second changes nothing. When it
/// returns, the hub answers.
pub async fn serve(settings: Settings, stop: CancellationToken) -> Result<RunningHub, HubError> {
    serve_with(settings, Patience::default(), stop).await
}

/// Starts a hub with another patience.
pub async fn serve_with(
    mut settings: Settings,
    patience: Patience,
    stop: CancellationToken,
) -> Result<RunningHub, HubError> {
    let address = settings.listen;
    let (listener, _) = listen(address, settings.service.listener.take())?;
    let unusable = |source: io::Error| HubError::Listen { address, source };
    let listener = match Arc::try_unwrap(listener) {
        Ok(listener) => listener,
        Err(shared) => shared.try_clone().map_err(unusable)?,
    };
    listener.set_nonblocking(true).map_err(unusable)?;
    let listener = TcpListener::from_std(listener).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let store = Database::open(&settings.database, SCHEMA).await?;
    let system = property::put(&store, settings.property.as_ref()).await?;
    let (changed, _) = watch::channel(0);
    let rings = store.rings();
    let (nodes, allow_private) = (Nodes::new(), settings.webhook_allow_private);
    let mailroom = Mailroom::new(store.clone(), nodes.id, patience.webhooks, allow_private, stop.clone())
        .map_err(HubError::Client)?;
    let came_up = clock::Deadline::after(patience.come_back);
    let hub = Hub(Arc::new(Inner {
        came_up,
        store,
        system,
        live: Live::new(patience.bridge),
        nodes,
        deadlines: Deadlines::new(patience.finish),
        limits: Limits::new(settings.requests_per_second),
        changed,
        stop: stop.clone(),
        patience,
        settings,
    }));
    if !hub.store().is_shared() {
        let mut transaction = hub.store().begin(Realm::Common).await?;
        acs_encoders::forget_reports(&mut transaction).await?;
        webhook_deliveries::release(&mut transaction).await?;
        transaction.commit().await?;
    }
    attempts::resume(&hub).await?;
    tracing::info!(%address, database = %hub.store().place(), "hub listens");
    let closing = hub.0.settings.service.closing.clone();
    let running = hub.clone();
    let join = tokio::spawn(async move {
        let helpers = TaskTracker::new();
        helpers.spawn(attempts::sweep(hub.clone()));
        helpers.spawn(nodes::keep(hub.clone()));
        helpers.spawn(retention::keep(hub.clone()));
        helpers.spawn(pass_on(hub.clone(), rings));
        helpers.spawn(deliver(Arc::new(mailroom), hub.changed()));
        helpers.close();
        let router = routes::router(&hub);
        let router = match &hub.0.settings.front {
            Some(front) => (front.0)(router),
            None => router,
        };
        server::run(listener, router, closing, stop).await;
        helpers.wait().await;
        hub.store().close().await;
        tracing::info!(%address, "hub stopped");
    });
    Ok(RunningHub { address, hub: running, join })
}

/// Rings for those who wait for what was committed, until the hub stops.
async fn pass_on(hub: Hub, mut rings: broadcast::Receiver<Ring>) {
    loop {
        let heard = tokio::select! {
            heard = rings.recv() => heard,
            () = hub.stop().cancelled() => return,
        };
        match heard {
            Ok(Ring::Job(bridge)) => hub.live().ring(BridgeId(bridge)),
            // Nobody waits for what became of a delivery, or for what is forgotten.
            Ok(Ring::Changed(Realm::Webhook(_) | Realm::Upkeep)) => {}
            Ok(Ring::Changed(_)) => hub.0.changed.send_modify(|count| *count += 1),
            Err(RecvError::Lagged(_)) => {
                hub.live().ring_all();
                hub.0.changed.send_modify(|count| *count += 1);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// What all requests share.
#[derive(Clone)]
struct Hub(Arc<Inner>);

struct Inner {
    /// Until then daemons that were connected before the start may come back.
    came_up: clock::Deadline,
    store: Database,
    system: SystemIds,
    live: Live,
    nodes: Nodes,
    deadlines: Deadlines,
    limits: Limits,
    /// Counts what this node has committed.
    changed: watch::Sender<u64>,
    stop: CancellationToken,
    patience: Patience,
    settings: Settings,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("database", self.store().place()).finish_non_exhaustive()
    }
}

impl Hub {
    fn store(&self) -> &Database {
        &self.0.store
    }

    /// Whether a daemon that is not connected may just be coming back: this hub has been up for a moment only, and has not
    /// heard of it yet.
    fn awaits(&self, bridge: BridgeId) -> bool {
        !self.0.came_up.has_passed() && !self.live().was_heard(bridge)
    }

    /// What the process around it knows.
    fn readiness(&self) -> &Readiness {
        &self.0.settings.service.readiness
    }

    /// The access system of the first workspace, which the configuration names.
    fn system(&self) -> SystemIds {
        self.0.system
    }

    /// The property of a workspace as its cards name it. The hub has one of its own; what is on the cards of other workspaces
    /// their desks alone know.
    fn property_id(&self, workspace: WorkspaceId) -> Option<Uuid> {
        self.0.settings.property_id.filter(|_| workspace == self.0.system.workspace_id)
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    fn deadlines(&self) -> &Deadlines {
        &self.0.deadlines
    }

    fn nodes(&self) -> &Nodes {
        &self.0.nodes
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Changes when this node has committed something.
    fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn card_wait(&self) -> Duration {
        self.0.settings.card_wait
    }

    fn allows_simulation(&self) -> bool {
        self.0.settings.allow_simulate
    }

    fn retention(&self) -> Retention {
        self.0.settings.retention
    }

    fn patience(&self) -> Patience {
        self.0.patience
    }

    fn api_key(&self) -> &SecretString {
        &self.0.settings.api_key
    }

    fn bridge_token(&self) -> &SecretString {
        &self.0.settings.bridge_token
    }
}
