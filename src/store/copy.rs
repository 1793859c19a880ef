//! Copies of SQLite databases, taken while others write, for backups.
//!
//! The original is opened as any other reader opens it, by SQLite itself and never as a plain file: a process that closes
//! a plain descriptor of a database loses the locks that it holds on it. Source: SQLite, "How To Corrupt An SQLite
//! Database File", section 2.2.

use super::{Place, Schema, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What a webhook's deliveries are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecretRow {
    /// The webhook.
    pub webhook_id: String,
    /// Its secret.
    pub secret: String,
}

/// Writes what a database holds at one moment into a new file; returns the version of its schema.
///
/// Writers go on meanwhile, and nothing that they commit after that moment is in the copy. It has no log beside it.
/// Source: SQLite, "VACUUM", section on `VACUUM INTO`.
pub async fn take(database: &Path, to: &Path, schema: Schema) -> Result<i64, StoreError> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    connection.execute("PRAGMA busy_timeout=10000").await?;
    let version = version(&mut connection, database, schema).await?;
    let target = to.to_str().ok_or_else(|| StoreError::File {
        path: to.to_path_buf(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8"),
    })?;
    sqlx::query("VACUUM INTO $1").bind(target.to_owned()).execute(&mut connection).await?;
    // Closing a connection that only read cannot lose anything.
    let _ = connection.close().await;
    Ok(version)
}

/// The version that a schema has here.
pub fn newest(schema: Schema) -> i64 {
    schema.version()
}

/// A database file that nobody else uses: a copy, on its way into a backup or out of one.
#[derive(Debug)]
pub struct Copy {
    connection: SqliteConnection,
    path: PathBuf,
}

impl Copy {
    /// Opens a copy. What is overwritten or deleted in it is gone from the file.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let damaged = |error: sqlx::Error| damaged(path, error.to_string());
        let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
        let mut connection = options.connect().await.map_err(damaged)?;
        // No journal on the disk would hold what was overwritten; who is interrupted throws the copy away.
        connection.execute("PRAGMA journal_mode=MEMORY; PRAGMA secure_delete=ON").await.map_err(damaged)?;
        Ok(Self { connection, path: path.to_path_buf() })
    }

    /// Reads every page and every reference; returns the version of the schema.
    pub async fn check(&mut self, schema: Schema) -> Result<i64, StoreError> {
        let problem: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| damaged(&self.path, error.to_string()))?;
        if problem != "ok" {
            return Err(damaged(&self.path, problem));
        }
        let lost = sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut self.connection).await?;
        if let Some(row) = lost {
            let table: String = row.try_get(0)?;
            return Err(damaged(&self.path, format!("a row of `{table}` names one that is not there")));
        }
        version(&mut self.connection, &self.path, schema).await
    }

    /// The names of the properties of a hub's database, the first one first.
    pub async fn property_names(&mut self) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar("SELECT name FROM workspace ORDER BY created_at, workspace_id");
        Ok(names.fetch_all(&mut self.connection).await?)
    }

    /// Takes the webhooks' secrets out of a hub's database.
    pub async fn take_webhook_secrets(&mut self) -> Result<Vec<WebhookSecretRow>, StoreError> {
        let rows = sqlx::query("SELECT webhook_id, secret FROM webhook ORDER BY webhook_id")
            .fetch_all(&mut self.connection)
            .await?;
        let secrets = rows
            .iter()
            .map(|row| Ok(WebhookSecretRow { webhook_id: row.try_get(0)?, secret: row.try_get(1)? }))
            .collect::<Result<_, StoreError>>()?;
        self.connection.execute("UPDATE webhook SET secret = ''").await?;
        Ok(secrets)
    }

    /// Takes the images of raw jobs that have not ended out of a hub's database: their keys are a lock vendor's.
    pub async fn drop_raw_images(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE job SET work = $1 WHERE work LIKE '{\"type\":\"raw\"%'")
            .bind(super::hub::jobs::WIPED)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// The webhooks without a secret.
    pub async fn webhooks_without_secret(&mut self) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar("SELECT webhook_id FROM webhook WHERE secret = '' ORDER BY webhook_id");
        Ok(ids.fetch_all(&mut self.connection).await?)
    }

    /// Puts webhooks' secrets into a hub's database.
    pub async fn put_webhook_secrets(&mut self, secrets: &[WebhookSecretRow]) -> Result<(), StoreError> {
        let mut transaction = self.connection.begin().await?;
        for WebhookSecretRow { webhook_id, secret } in secrets {
            sqlx::query("UPDATE webhook SET secret = $1 WHERE webhook_id = $2")
                .bind(secret)
                .bind(webhook_id)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Gives the daemon of a state database another identity.
    pub async fn renew_bridge_id(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE settings SET value = $1 WHERE name = 'bridge_id'")
            .bind(Uuid::new_v4().to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Closes the copy.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

fn damaged(path: &Path, detail: String) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), detail }
}

/// The version of a database's schema; refuses another schema's and a newer one.
async fn version(connection: &mut SqliteConnection, path: &Path, schema: Schema) -> Result<i64, StoreError> {
    let place = || Place(path.display().to_string());
    let row = sqlx::query("SELECT name, version FROM schema_version")
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| damaged(path, error.to_string()))?;
    let (name, found): (String, i64) = match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (String::new(), 0),
    };
    if name != schema.name {
        return Err(StoreError::Foreign {
            place: place(),
            expected: schema.name,
            detail: format!("it is a `{name}` database"),
        });
    }
    if found > schema.version() {
        return Err(StoreError::Newer { place: place(), found, known: schema.version() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hub::SCHEMA;
    use crate::store::{Database, Realm};

    async fn hub(directory: &Path) -> Database {
        Database::open(&format!("sqlite://{}", directory.join("hub.db").display()), SCHEMA).await.unwrap()
    }

    async fn write(database: &Database, statements: &'static str) {
        let mut transaction = database.begin(Realm::Common).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    const WORKSPACE: &str = "INSERT INTO workspace VALUES ('w', 'Hotel', 1)";
    const WEBHOOK: &str = "INSERT INTO webhook VALUES ('k', 'w', 'https://example.com', '[\"*\"]', 'whsec_canary-in-clear', 1, NULL, NULL)";

    #[tokio::test]
    async fn a_copy_holds_what_was_committed_and_leaves_the_original_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let database = hub(directory.path()).await;
        write(&database, WORKSPACE).await;
        // An open transaction neither waits nor is waited for, and is not in the copy.
        let mut open = database.begin(Realm::Common).await.unwrap();
        sqlx::query("INSERT INTO workspace VALUES ('x', 'Not yet', 2)").execute(&mut *open).await.unwrap();
        let to = directory.path().join("copy.db");
        let version = take(&directory.path().join("hub.db"), &to, SCHEMA).await.unwrap();
        open.commit().await.unwrap();
        assert_eq!(version, newest(SCHEMA));
        let mut copy = Copy::open(&to).await.unwrap();
        assert_eq!(copy.check(SCHEMA).await.unwrap(), version);
        assert_eq!(copy.property_names().await.unwrap(), ["Hotel"]);
        assert!(take(&directory.path().join("hub.db"), &to, SCHEMA).await.is_err(), "a copy overwrites nothing");
    }

    #[tokio::test]
    async fn a_secret_that_was_taken_out_is_not_in_the_file_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let database = hub(directory.path()).await;
        write(&database, WORKSPACE).await;
        write(&database, WEBHOOK).await;
        let to = directory.path().join("copy.db");
        take(&directory.path().join("hub.db"), &to, SCHEMA).await.unwrap();
        let has_canary = || {
            let bytes = std::fs::read(&to).unwrap();
            bytes.windows(15).any(|window| window == b"canary-in-clear")
        };
        assert!(has_canary(), "the check sees it");
        let mut copy = Copy::open(&to).await.unwrap();
        let secrets = copy.take_webhook_secrets().await.unwrap();
        assert_eq!(copy.webhooks_without_secret().await.unwrap(), ["k"]);
        copy.close().await.unwrap();
        assert!(!has_canary());
        let mut copy = Copy::open(&to).await.unwrap();
        copy.put_webhook_secrets(&secrets).await.unwrap();
        assert!(copy.webhooks_without_secret().await.unwrap().is_empty());
        copy.close().await.unwrap();
        assert!(has_canary(), "and puts it back");
    }

    #[tokio::test]
    async fn a_copy_with_a_lost_reference_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let database = hub(directory.path()).await;
        write(&database, WORKSPACE).await;
        write(&database, WEBHOOK).await;
        let to = directory.path().join("copy.db");
        take(&directory.path().join("hub.db"), &to, SCHEMA).await.unwrap();
        let mut copy = Copy::open(&to).await.unwrap();
        copy.connection.execute("PRAGMA foreign_keys=OFF; DELETE FROM workspace").await.unwrap();
        let error = copy.check(SCHEMA).await.unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { detail, .. } if detail.contains("webhook")), "{error}");
        let error = copy.check(crate::store::state::SCHEMA).await.unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
