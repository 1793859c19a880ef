//! The databases: the hub's and the daemon's own state. Only this module contains SQL.
//!
//! Each database has a [`Schema`]: a name and its migrations, which only go forward. [`Database::open`] looks at a
//! present file before it changes anything, so that a damaged file, a newer one or somebody else's is refused
//! untouched.
//!
//! The same SQL runs on SQLite and on PostgreSQL: `$1` placeholders, `ON CONFLICT`, `RETURNING`, ids and JSON as TEXT,
//! times as BIGINT milliseconds, no BOOLEAN.
//!
//! | kind of access | how |
//! | --- | --- |
//! | read | [`Database::read`]: a pooled connection that cannot write |
//! | write | [`Database::begin`]: a transaction that is alone in its [`Realm`]; dropped without `commit`, it never was |
//!
//! A realm is what one writer at a time changes: a workspace, or what all of them share. What a transaction has read of
//! its realm stays true until it ends, on both engines: SQLite has one writer for the whole file, PostgreSQL gives the
//! realm's advisory lock to one transaction, whichever node it runs on.
//!
//! Queries are functions over `&mut Connection`, so that the same one runs inside a transaction and outside.

pub mod copy;
pub mod hub;
mod postgres;
mod readers;
mod sqlite;
pub mod state;
mod writer;

use self::readers::{Reader, Readers};
use self::writer::{Turn, Writer};
use crate::telemetry::metrics;
use sqlx::any::AnyConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor, Row};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A connection that queries run on; transactions and pooled connections lend it.
pub type Connection = sqlx::AnyConnection;

/// A connection for reading, lent until it is dropped.
#[derive(Debug)]
pub struct Reading(Lent);

#[derive(Debug)]
enum Lent {
    Sqlite(Reader),
    Postgres(PoolConnection<Any>),
}

impl Deref for Reading {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.0 {
            Lent::Sqlite(reader) => reader,
            Lent::Postgres(connection) => connection,
        }
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.0 {
            Lent::Sqlite(reader) => reader,
            Lent::Postgres(connection) => connection,
        }
    }
}

/// What one writer at a time changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// What all workspaces share, and a database that has none.
    Common,
    /// One workspace.
    Workspace(Uuid),
    /// What is to be delivered to one webhook.
    Webhook(Uuid),
    /// What is forgotten because it is old: one node at a time does it.
    Upkeep,
}

/// Something that was committed, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Something in this realm; known on the node that committed it.
    Changed(Realm),
    /// A job for this daemon; known on all nodes.
    Job(Uuid),
}

/// The one writing transaction of a realm. Dropped without [`Transaction::commit`], nothing of it remains.
#[derive(Debug)]
pub struct Transaction {
    inner: Begun,
    realm: Realm,
    jobs: Vec<Uuid>,
    rings: broadcast::Sender<Ring>,
}

#[derive(Debug)]
enum Begun {
    Sqlite(Turn),
    Postgres(sqlx::Transaction<'static, Any>),
}

impl Transaction {
    /// Rings for a daemon once the transaction is committed: there is a job for it.
    pub fn ring_for_job(&mut self, bridge: Uuid) {
        self.jobs.push(bridge);
    }

    /// Makes everything that was written in it last.
    pub async fn commit(self) -> Result<(), StoreError> {
        let committed = self.commit_uncounted().await;
        metrics::commit(committed.is_ok());
        committed
    }

    async fn commit_uncounted(self) -> Result<(), StoreError> {
        let Self { inner, realm, jobs, rings } = self;
        match inner {
            Begun::Sqlite(turn) => turn.commit(move || ring(&rings, realm, jobs)).await?,
            Begun::Postgres(mut transaction) => {
                for bridge in &jobs {
                    postgres::notify(&mut transaction, *bridge).await?;
                }
                transaction.commit().await?;
                ring(&rings, realm, jobs);
            }
        }
        Ok(())
    }
}

/// Tells of a commit. Nobody listens when there is nobody who waits.
fn ring(rings: &broadcast::Sender<Ring>, realm: Realm, jobs: Vec<Uuid>) {
    for bridge in jobs {
        let _ = rings.send(Ring::Job(bridge));
    }
    let _ = rings.send(Ring::Changed(realm));
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.inner {
            Begun::Sqlite(turn) => turn,
            Begun::Postgres(transaction) => transaction,
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.inner {
            Begun::Sqlite(turn) => turn,
            Begun::Postgres(transaction) => transaction,
        }
    }
}

/// Where a database is, as it may be shown: without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a statement waits for another process's lock, and a request for a connection.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// What was committed and not yet taken note of. Who falls behind by more looks at everything.
const RINGS_MAX: usize = 4096;

/// What a database holds, and how it came to be that.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name, kept in the file, so that two databases cannot be mistaken for one another.
    pub name: &'static str,
    /// The statements that lead from version *n* to version *n + 1*; never changed once released.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// The version that this program writes.
    fn version(self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is for an engine that this version does not have.
    #[error(
        "there is no database engine `{scheme}` here; give `sqlite:///path/to/file.db` or `postgres://user@host/database`"
    )]
    Engine {
        /// What stands before the colon.
        scheme: String,
    },
    /// The address is no address.
    #[error("`{url}` is not a database address; give `sqlite:///path/to/file.db` or `postgres://user@host/database`")]
    Address {
        /// As it was given.
        url: String,
    },
    /// The file is not a database, or no longer a whole one.
    #[error(
        "the database {} is damaged ({detail}); nothing in it was changed. Restore it from a backup, or move it away: \
         a missing database is made anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file is a database, but another program's or another one of ours.
    #[error("the database {place} is not a `{expected}` database of encoderd ({detail}); give another one")]
    Foreign {
        /// Where.
        place: Place,
        /// The schema that was to be opened.
        expected: &'static str,
        /// What was found.
        detail: String,
    },
    /// A newer program has written the file.
    #[error(
        "the database {place} has version {found} and this program knows versions up to {known}; nothing in it was \
         changed. Install the newer encoderd again, or restore the backup from before its installation"
    )]
    Newer {
        /// Where.
        place: Place,
        /// The version in it.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file or its directory may not be written.
    #[error(
        "no permission to write {}; give it to the user that runs encoderd, or choose another path",
        path.display()
    )]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file or its directory cannot be used for another reason.
    #[error("cannot use {} for a database", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database server does not let this program in, or cannot be reached at the start.
    #[error("cannot use the database {place}; check its address, user and password, and that the server runs")]
    Server {
        /// Where.
        place: Place,
        /// What the server or the system said.
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("the database refused a statement")]
    Statement(#[from] sqlx::Error),
    /// A value in the database is not what this program writes there.
    #[error("the database holds `{value}` where {expected} belongs")]
    Value {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        value: String,
    },
}

impl StoreError {
    /// Whether a unique index refused the row: somebody else was first.
    pub fn is_conflict(&self) -> bool {
        self.statement()
            .and_then(sqlx::Error::as_database_error)
            .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// Whether the database is out of reach or overloaded for the moment: the same may work in a moment.
    pub fn is_passing(&self) -> bool {
        let Some(error) = self.statement() else { return false };
        // Classes 08 (connection), 53 (resources) and 57 (shutdown, not yet started) of PostgreSQL's error codes, appendix
        // A of its manual, and a lock or serialisation that was waited for in vain (40, 55P03); of SQLite "busy" and
        // "locked".
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let passing_code = code.is_some_and(|code| {
            ["08", "53", "57", "40"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || ["55P03", "5", "6", "261", "517"].contains(&&*code)
        });
        passing_code
            || matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::BeginFailed
            )
    }

    fn statement(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Statement(error) => Some(error),
            Self::Engine { .. }
            | Self::Address { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Unwritable { .. }
            | Self::File { .. }
            | Self::Server { .. }
            | Self::Value { .. } => None,
        }
    }
}

/// The file that a database address names; `None`: it is not a file's.
pub fn file_of(url: &str) -> Result<Option<PathBuf>, StoreError> {
    if is_postgres(url) { Ok(None) } else { sqlite::path_of(url).map(Some) }
}

/// Whether a database address holds a password.
pub fn has_password(url: &str) -> bool {
    sqlite::without_password(url) != url
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
    place: Place,
    rings: broadcast::Sender<Ring>,
    closed: CancellationToken,
}

/// What keeps a database.
#[derive(Clone, Debug)]
enum Engine {
    Sqlite(Writer, Readers),
    Postgres(AnyPool),
}

/// Opens a SQLite file for reading alone.
async fn look_at(path: &std::path::Path) -> Result<sqlx::AnyConnection, StoreError> {
    use sqlx::Connection as _;
    sqlx::any::install_default_drivers();
    Ok(sqlx::AnyConnection::connect(&format!("{}?mode=ro", sqlite::url_of(path))).await?)
}

impl Database {
    /// Opens the database at `url`, makes it when it is missing, and brings it to the schema's newest version.
    ///
    /// SQLite: missing directories are made with mode 0700 and a missing file with mode 0600. Every commit is on the disk
    /// when it returns (WAL, `synchronous=FULL`). PostgreSQL: the database exists and is this program's alone.
    pub async fn open(url: &str, schema: Schema) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (rings, _) = broadcast::channel(RINGS_MAX);
        let closed = CancellationToken::new();
        let (engine, place) = if is_postgres(url) {
            let (pool, place) = postgres::connect(url).await?;
            (Engine::Postgres(pool), place)
        } else {
            let path = sqlite::prepare(&sqlite::path_of(url)?, schema).await?;
            let options = AnyConnectOptions::from_str(&sqlite::url_of(&path))?;
            let writer = Writer::open(&options).await?;
            (Engine::Sqlite(writer, Readers::new(options)), Place(path.display().to_string()))
        };
        let database = Self { engine, place, rings, closed };
        database.migrate(schema).await?;
        if database.is_shared() {
            postgres::listen(url, &database.place, database.rings.clone(), database.closed.clone()).await?;
        }
        Ok(database)
    }

    /// Where the database is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether other nodes may use the same database.
    pub fn is_shared(&self) -> bool {
        match self.engine {
            Engine::Sqlite(..) => false,
            Engine::Postgres(_) => true,
        }
    }

    /// What is committed from now on. A receiver that lags behind has to look at everything.
    pub fn rings(&self) -> broadcast::Receiver<Ring> {
        self.rings.subscribe()
    }

    /// A connection for reading; on SQLite it refuses to write.
    pub async fn read(&self) -> Result<Reading, StoreError> {
        Ok(Reading(match &self.engine {
            Engine::Sqlite(_, readers) => Lent::Sqlite(readers.acquire().await?),
            Engine::Postgres(pool) => Lent::Postgres(pool.acquire().await?),
        }))
    }

    /// Begins the writing transaction of a realm; there is one at a time.
    pub async fn begin(&self, realm: Realm) -> Result<Transaction, StoreError> {
        let inner = match &self.engine {
            Engine::Sqlite(writer, _) => Begun::Sqlite(writer.begin().await?),
            Engine::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                postgres::lock(&mut transaction, realm).await?;
                Begun::Postgres(transaction)
            }
        };
        Ok(Transaction { inner, realm, jobs: Vec::new(), rings: self.rings.clone() })
    }

    /// Closes all connections; SQLite's write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.closed.cancel();
        match &self.engine {
            Engine::Sqlite(writer, readers) => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    /// Brings the database to the schema's version, all steps in one transaction, which is the only one of its kind.
    async fn migrate(&self, schema: Schema) -> Result<(), StoreError> {
        let mut transaction = self.begin(Realm::Common).await?;
        if self.is_shared() {
            postgres::check(&mut transaction, schema, &self.place).await?;
        }
        transaction
            .execute("CREATE TABLE IF NOT EXISTS schema_version (name TEXT PRIMARY KEY, version BIGINT NOT NULL)")
            .await?;
        let found = sqlx::query("SELECT version FROM schema_version WHERE name = $1")
            .bind(schema.name)
            .fetch_optional(&mut *transaction)
            .await?
            .map(|row| row.try_get::<i64, _>(0))
            .transpose()?
            .unwrap_or(0);
        if found > schema.version() {
            return Err(StoreError::Newer { place: self.place.clone(), found, known: schema.version() });
        }
        let done = usize::try_from(found)
            .map_err(|_| StoreError::Value { expected: "a schema version", value: found.to_string() })?;
        for (index, statements) in schema.migrations.iter().enumerate().skip(done) {
            tracing::info!(database = schema.name, version = index + 1, "migrating");
            sqlx::raw_sql(*statements).execute(&mut *transaction).await?;
        }
        sqlx::query(
            "INSERT INTO schema_version (name, version) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        )
        .bind(schema.name)
        .bind(schema.version())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    const ONE: Schema = Schema { name: "test", migrations: &["CREATE TABLE a (id TEXT PRIMARY KEY)"] };
    const TWO: Schema = Schema {
        name: "test",
        migrations: &["CREATE TABLE a (id TEXT PRIMARY KEY)", "CREATE TABLE b (id TEXT); INSERT INTO b VALUES ('x')"],
    };
    const OTHER: Schema = Schema { name: "other", migrations: &["CREATE TABLE c (id TEXT)"] };

    fn url(path: &Path) -> String {
        format!("sqlite://{}", path.display())
    }

    /// Name and bytes of everything in a directory.
    fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    async fn open_and_close(path: &Path, schema: Schema) {
        Database::open(&url(path), schema).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_missing_database_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new dir/50% #1?.db");
        let address = format!(
            "sqlite://{}",
            path.display().to_string().replace('%', "%25").replace('#', "%23").replace('?', "%3f")
        );
        let database = Database::open(&address, ONE).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let mut connection = database.read().await.unwrap();
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(mode, "wal");
        assert!(
            sqlx::query("INSERT INTO a VALUES ('x')").execute(&mut *connection).await.is_err(),
            "readers only read"
        );
        let mut transaction = database.begin(Realm::Common).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }

    #[tokio::test]
    async fn migrations_go_forward_and_a_newer_database_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        open_and_close(&path, ONE).await;
        open_and_close(&path, TWO).await;
        let before = contents(directory.path());
        let error = Database::open(&url(&path), ONE).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()));
        assert_eq!(contents(directory.path()), before);
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_nothing_behind() {
        const BROKEN: Schema =
            Schema { name: "test", migrations: &[ONE.migrations[0], "CREATE TABLE d (id TEXT); NONSENSE"] };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        open_and_close(&path, ONE).await;
        assert!(Database::open(&url(&path), BROKEN).await.is_err());
        open_and_close(&path, TWO).await;
    }

    #[tokio::test]
    async fn a_damaged_database_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        open_and_close(&path, TWO).await;
        let whole = fs::read(&path).unwrap();
        let mut scribbled = whole.clone();
        scribbled[4096..4200].fill(0x5A);
        let cases = [
            b"this is no database, but long enough to be looked at".to_vec(),
            whole[..whole.len() / 2].to_vec(),
            scribbled,
        ];
        for bytes in cases {
            fs::write(&path, &bytes).unwrap();
            let before = contents(directory.path());
            let error = Database::open(&url(&path), TWO).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()) && error.to_string().contains("Restore"));
            assert_eq!(contents(directory.path()), before, "neither the file nor its neighbours");
        }
    }

    #[tokio::test]
    async fn a_database_that_was_not_closed_is_taken_up_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, copy) = (directory.path().join("a.db"), directory.path().join("copy.db"));
        let database = Database::open(&url(&path), TWO).await.unwrap();
        let mut transaction = database.begin(Realm::Common).await.unwrap();
        sqlx::query("INSERT INTO a VALUES ('kept')").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        // What a power cut leaves: the file with its log, never folded in.
        fs::copy(&path, &copy).unwrap();
        fs::copy(directory.path().join("a.db-wal"), directory.path().join("copy.db-wal")).unwrap();
        let taken_up = Database::open(&url(&copy), TWO).await.unwrap();
        let mut connection = taken_up.read().await.unwrap();
        let id: String = sqlx::query_scalar("SELECT id FROM a").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(id, "kept");
    }

    #[tokio::test]
    async fn two_kinds_of_database_are_not_mistaken_for_one_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        open_and_close(&path, ONE).await;
        let before = contents(directory.path());
        let error = Database::open(&url(&path), OTHER).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(contents(directory.path()), before);
    }

    #[tokio::test]
    async fn other_engines_and_unusable_places_are_refused_with_a_sentence() {
        let error = Database::open("mysql://hub@db/hub", ONE).await.unwrap_err();
        assert!(error.to_string().contains("sqlite:") && error.to_string().contains("postgres:"), "{error}");
        assert!(matches!(Database::open("hub.db", ONE).await.unwrap_err(), StoreError::Address { .. }));
        // A place where not even root may make files.
        let error = Database::open("sqlite:///sys/encoderd/hub.db", ONE).await.unwrap_err();
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error:?}");
        assert!(error.to_string().contains("/sys/encoderd") && error.to_string().contains("permission"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let error = Database::open(&url(directory.path()), ONE).await.unwrap_err();
        assert!(matches!(error, StoreError::File { .. }), "a directory is no database: {error:?}");
    }
}
