//! PostgreSQL: several nodes on one database.
//!
//! A transaction that writes takes its realm's advisory lock first, so that there is one writer of a workspace, as there
//! is one of a SQLite file. New jobs are told to the other nodes with `NOTIFY`; what a lost connection swallows is found
//! by the sweep, which looks at all open attempts.

use super::{Connection, Place, Realm, Ring, Schema, StoreError};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AnyPool, Executor as _};
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Connections of one node. A server takes 100 as it is installed, and two nodes and an administrator share them.
const CONNECTIONS_MAX: u32 = 24;

/// How long a request waits for a connection before it is told that the database is out of reach. The SDKs try a read
/// again two times and give a request 30 s.
const CONNECTION_WAIT: Duration = Duration::from_secs(3);

/// How long to wait before the lost connection of the listener is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// A statement gives up waiting for another node's transaction after 10 s, and the server ends a transaction whose node
/// went away without a word after 20 s, so that its realm is not locked for ever.
const SESSION: &str = "SET application_name = 'encoderd'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '20s'; SET client_min_messages = 'warning'";

/// The channel on which nodes tell each other of jobs.
const CHANNEL: &str = "encoderd_job";

/// Connects, and says where to.
pub(super) async fn connect(url: &str) -> Result<(AnyPool, Place), StoreError> {
    let place = place_of(url)?;
    let address = |_| StoreError::Address { url: place.to_string() };
    let options = AnyConnectOptions::from_str(url).map_err(address)?;
    let pool = AnyPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(CONNECTION_WAIT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .map_err(|source| StoreError::Server { place: place.clone(), source })?;
    Ok((pool, place))
}

fn place_of(url: &str) -> Result<Place, StoreError> {
    let shown = super::sqlite::without_password(url);
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Address { url: shown })?;
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    Ok(Place(format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())))
}

/// Waits until the transaction is the only one that writes in its realm.
pub(super) async fn lock(connection: &mut Connection, realm: Realm) -> Result<(), StoreError> {
    if realm == Realm::Common {
        // Behind another node that brings a large database forward a start waits, and does not give up.
        sqlx::query("SET LOCAL lock_timeout = '10min'").execute(&mut *connection).await?;
    }
    // The lock's own answer has a type that the common driver does not know; text it does.
    sqlx::query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)").bind(lock_key(realm)).execute(connection).await?;
    Ok(())
}

/// Two realms with one key would wait for each other and nothing worse.
fn lock_key(realm: Realm) -> i64 {
    match realm {
        Realm::Common => 0x0065_6E63_6F64_6572,
        Realm::Upkeep => 0x0065_6E63_6F64_6573,
        Realm::Workspace(id) | Realm::Webhook(id) => {
            let (high, low) = id.as_u64_pair();
            (high ^ low).cast_signed()
        }
    }
}

/// Tells all nodes of a job, once the transaction is committed.
pub(super) async fn notify(connection: &mut Connection, bridge: Uuid) -> Result<(), StoreError> {
    sqlx::query("SELECT CAST(pg_notify($1, $2) AS TEXT)")
        .bind(CHANNEL)
        .bind(bridge.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Refuses a database that another program or another schema of ours lives in.
pub(super) async fn check(connection: &mut Connection, schema: Schema, place: &Place) -> Result<(), StoreError> {
    let foreign = |detail: String| StoreError::Foreign { place: place.clone(), expected: schema.name, detail };
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()",
    )
    .fetch_all(&mut *connection)
    .await?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|table| table == "schema_version") {
        return Err(foreign("it belongs to another program".to_owned()));
    }
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM schema_version").fetch_all(connection).await?;
    match names.into_iter().find(|name| name != schema.name) {
        Some(other) => Err(foreign(format!("it is a `{other}` database"))),
        None => Ok(()),
    }
}

/// Passes on what other nodes tell of, until the database is closed.
pub(super) async fn listen(
    url: &str,
    place: &Place,
    rings: broadcast::Sender<Ring>,
    closed: CancellationToken,
) -> Result<(), StoreError> {
    let server = |source| StoreError::Server { place: place.clone(), source };
    let options = PgConnectOptions::from_str(url).map_err(server)?.application_name("encoderd listener");
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECTION_WAIT)
        .connect_with(options)
        .await
        .map_err(server)?;
    let mut listener = PgListener::connect_with(&pool).await.map_err(server)?;
    listener.listen(CHANNEL).await.map_err(server)?;
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                heard = listener.recv() => heard,
                () = closed.cancelled() => break,
            };
            match heard {
                Ok(notification) => {
                    if let Ok(bridge) = Uuid::try_parse(notification.payload()) {
                        // Nobody listens when there is nobody who waits.
                        let _ = rings.send(Ring::Job(bridge));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "other nodes are not heard for the moment");
                    tokio::select! {
                        () = tokio::time::sleep(LISTEN_AGAIN) => {}
                        () = closed.cancelled() => break,
                    }
                }
            }
        }
        drop(listener);
        pool.close().await;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let place = place_of("postgres://hub:s3cret@db.example.com:5433/keys?sslmode=require").unwrap();
        assert_eq!(place.to_string(), "postgres://hub@db.example.com:5433/keys");
        let error = place_of("postgres://hub:s3cret@db:port/keys").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn each_realm_has_a_lock_of_its_own() {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        assert_ne!(lock_key(Realm::Workspace(one)), lock_key(Realm::Workspace(other)));
        assert_ne!(lock_key(Realm::Workspace(one)), lock_key(Realm::Common));
        assert_ne!(lock_key(Realm::Upkeep), lock_key(Realm::Common));
    }
}
