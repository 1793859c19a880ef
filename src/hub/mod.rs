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

use self::deadlines::Deadlines;
use self::limits::Limits;
use self::live::Live;
use self::nodes::Nodes;
pub use self::retention::Retention;
pub use self::webhooks::WebhookPatience;
use self::webhooks::{Mailroom, deliver};
use crate::api::id::BridgeId;
use crate::store::hub::SCHEMA;
use crate::store::hub::acs_encoders;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::webhook_deliveries;
use crate::store::{Database, Realm, Ring, StoreError};
use secrecy::SecretString;
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
    /// Whether the simulation endpoints are there.
    pub allow_simulate: bool,
    /// Whether webhooks may go to loopback and private addresses.
    pub webhook_allow_private: bool,
    /// How many requests a second each key may make; 0: without a bound.
    pub requests_per_second: u32,
    /// For how long it keeps what happened.
    pub retention: Retention,
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
    join: JoinHandle<()>,
}

impl RunningHub {
    /// Waits until the hub has stopped, which it does when its token is cancelled.
    pub async fn stopped(self) {
        if let Err(error) = self.join.await {
            tracing::error!(error = %error, "the hub ended badly");
        }
    }
}

/// Starts a hub, which serves until the token is cancelled.
///
/// It listens before it opens the database, so that of two programs on one port the second changes nothing. When it
/// returns, the hub answers.
pub async fn serve(settings: Settings, stop: CancellationToken) -> Result<RunningHub, HubError> {
    serve_with(settings, Patience::default(), stop).await
}

/// Starts a hub with another patience.
pub async fn serve_with(
    settings: Settings,
    patience: Patience,
    stop: CancellationToken,
) -> Result<RunningHub, HubError> {
    let address = settings.listen;
    let unusable = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            HubError::PortInUse { address }
        } else {
            HubError::Listen { address, source }
        }
    };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let store = Database::open(&settings.database, SCHEMA).await?;
    let system = property::put(&store, settings.property.as_ref()).await?;
    let (changed, _) = watch::channel(0);
    let rings = store.rings();
    let (nodes, allow_private) = (Nodes::new(), settings.webhook_allow_private);
    let mailroom = Mailroom::new(store.clone(), nodes.id, patience.webhooks, allow_private, stop.clone())
        .map_err(HubError::Client)?;
    let hub = Hub(Arc::new(Inner {
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
    let join = tokio::spawn(async move {
        let helpers = TaskTracker::new();
        helpers.spawn(attempts::sweep(hub.clone()));
        helpers.spawn(nodes::keep(hub.clone()));
        helpers.spawn(retention::keep(hub.clone()));
        helpers.spawn(pass_on(hub.clone(), rings));
        helpers.spawn(deliver(Arc::new(mailroom), hub.changed()));
        helpers.close();
        server::run(listener, routes::router(&hub), stop).await;
        helpers.wait().await;
        hub.store().close().await;
        tracing::info!(%address, "hub stopped");
    });
    Ok(RunningHub { address, join })
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

impl Hub {
    fn store(&self) -> &Database {
        &self.0.store
    }

    /// The access system of the first workspace, which the configuration names.
    fn system(&self) -> SystemIds {
        self.0.system
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
