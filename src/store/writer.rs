//! SQLite's one writer: transactions take turns on one connection, and those that wait for each other share a commit.
//!
//! A commit waits for the disk; all else that a transaction does is memory. Transactions that are queued therefore run
//! as savepoints, one after another, of one transaction of the engine, and are on the disk together. Each is told of its
//! commit when that has happened and not before, and a failed commit fails all of them. A transaction that nobody waits
//! behind commits at once.
//!
//! Statements that move from one transaction to the next run in tasks of their own: a caller may go away at any moment,
//! and the next one must find the connection in a known state.

use super::{BUSY_WAIT, Connection, sqlite};
use sqlx::any::AnyConnectOptions;
use sqlx::{Connection as _, Executor as _};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, oneshot};

/// The writer. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// First come, first served. `None` once it is closed.
    batch: Arc<Mutex<Option<Batch>>>,
    /// Transactions that wait for their turn.
    queued: AtomicUsize,
}

type Guard = OwnedMappedMutexGuard<Option<Batch>, Batch>;

/// The engine's transaction and those that share it.
#[derive(Debug)]
struct Batch {
    connection: Connection,
    /// The engine's transaction is open.
    is_open: bool,
    /// The savepoint of one of ours is open. If nobody has his turn, it was dropped and is to be rolled back.
    has_savepoint: bool,
    /// Those that did their part and wait for the commit.
    waiting: Vec<oneshot::Sender<Result<(), sqlx::Error>>>,
}

impl Writer {
    pub(super) async fn open(options: &AnyConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = Connection::connect_with(options).await?;
        connection.execute(sqlite::WRITER_PRAGMAS).await?;
        let batch = Batch { connection, is_open: false, has_savepoint: false, waiting: Vec::new() };
        Ok(Self(Arc::new(Shared { batch: Arc::new(Mutex::new(Some(batch))), queued: AtomicUsize::new(0) })))
    }

    /// Begins a transaction when it is its turn.
    pub(super) async fn begin(&self) -> Result<Turn, sqlx::Error> {
        let shared = Arc::clone(&self.0);
        let batch = {
            let _queued = Queued::new(&shared);
            tokio::time::timeout(BUSY_WAIT, shared.batch()).await.map_err(|_| sqlx::Error::PoolTimedOut)??
        };
        let begun = tokio::spawn(async move {
            let mut turn = Turn { batch, leave: Leave { shared, is_committed: false } };
            turn.batch.enter().await?;
            Ok(turn)
        });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Waits for those who have their turn, and closes the connection, which folds the log into the file.
    pub(super) async fn close(&self) {
        let batch = self.0.batch.lock().await.take();
        if let Some(mut batch) = batch {
            let ended = batch.end().await;
            let closed = batch.connection.close().await;
            if let Err(error) = ended.and(closed) {
                tracing::warn!(error = %error, "the database was not closed in order");
            }
        }
    }
}

impl Shared {
    async fn batch(&self) -> Result<Guard, sqlx::Error> {
        let batch = Arc::clone(&self.batch).lock_owned().await;
        OwnedMutexGuard::try_map(batch, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Makes a transaction last, together with those that are queued now.
    async fn commit(&self, mut batch: Guard) -> Result<(), sqlx::Error> {
        if self.queued.load(Ordering::Relaxed) == 0 {
            return batch.commit().await;
        }
        batch.release().await?;
        let (tell, mut told) = oneshot::channel();
        batch.waiting.push(tell);
        drop(batch);
        // Behind everybody who is queued: whoever of the batch is first here commits for all.
        let batch = tokio::select! {
            biased;
            told = &mut told => return told.unwrap_or(Err(sqlx::Error::WorkerCrashed)),
            batch = self.batch() => batch,
        };
        if let Ok(told) = told.try_recv() {
            return told;
        }
        batch?.commit().await?;
        told.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Rolls back what was dropped, unless somebody else has done so.
    async fn tidy(&self) {
        if let Ok(mut batch) = self.batch().await
            && batch.has_savepoint
            && let Err(error) = batch.roll_back().await
        {
            tracing::warn!(error = %error, "a transaction was not rolled back in order");
        }
    }
}

impl Batch {
    /// Begins one of ours.
    async fn enter(&mut self) -> Result<(), sqlx::Error> {
        let statements = match (self.is_open, self.has_savepoint) {
            (false, _) => "BEGIN IMMEDIATE; SAVEPOINT turn",
            (true, false) => "SAVEPOINT turn",
            // It stays open, and is as good as a new one.
            (true, true) => "ROLLBACK TO turn",
        };
        self.run(statements).await?;
        (self.is_open, self.has_savepoint) = (true, true);
        Ok(())
    }

    /// Ends one of ours, to be committed with others.
    async fn release(&mut self) -> Result<(), sqlx::Error> {
        self.run("RELEASE turn").await?;
        self.has_savepoint = false;
        Ok(())
    }

    /// Undoes one of ours.
    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        if self.waiting.is_empty() {
            self.run("ROLLBACK").await?;
            self.is_open = false;
        } else {
            self.run("ROLLBACK TO turn; RELEASE turn").await?;
        }
        self.has_savepoint = false;
        Ok(())
    }

    /// Makes all of them last, with an open savepoint too.
    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("COMMIT").await?;
        (self.is_open, self.has_savepoint) = (false, false);
        for tell in self.waiting.drain(..) {
            // Who waits for it is a task that stays.
            let _ = tell.send(Ok(()));
        }
        Ok(())
    }

    /// Ends everything while nobody has his turn: what did its part is committed, what was dropped is not.
    async fn end(&mut self) -> Result<(), sqlx::Error> {
        if self.has_savepoint {
            self.roll_back().await?;
        }
        if self.is_open { self.commit().await } else { Ok(()) }
    }

    /// If one of these statements fails nothing of the batch can be relied on: a full disk, for instance, makes the
    /// engine roll everything back.
    async fn run(&mut self, statements: &'static str) -> Result<(), sqlx::Error> {
        let Err(error) = self.connection.execute(statements).await else { return Ok(()) };
        let _ = self.connection.execute("ROLLBACK").await;
        (self.is_open, self.has_savepoint) = (false, false);
        for tell in self.waiting.drain(..) {
            let _ = tell.send(Err(sqlx::Error::Protocol(format!("a commit with others failed: {error}"))));
        }
        Err(error)
    }
}

/// Counts somebody who waits for his turn.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.queued.fetch_add(1, Ordering::Relaxed);
        Self(&shared.queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A transaction that has its turn. Dropped without [`Turn::commit`], nothing of it remains.
#[derive(Debug)]
pub(super) struct Turn {
    // Dropped in this order: the turn is over when the rest is looked after.
    batch: Guard,
    leave: Leave,
}

impl Turn {
    /// Makes everything that was written in it last, and then does what is to be done then, even if the caller goes away.
    pub(super) async fn commit(self, then: impl FnOnce() + Send + 'static) -> Result<(), sqlx::Error> {
        let Self { batch, mut leave } = self;
        let committed = tokio::spawn(async move {
            leave.is_committed = true;
            leave.shared.commit(batch).await?;
            then();
            Ok(())
        });
        committed.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

impl Deref for Turn {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.batch.connection
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.batch.connection
    }
}

/// Looks after a transaction that was dropped: the engine's lock must not wait for the next one.
#[derive(Debug)]
struct Leave {
    shared: Arc<Shared>,
    is_committed: bool,
}

impl Drop for Leave {
    fn drop(&mut self) {
        // Without a runtime the program ends, and what was not committed with it.
        if !self.is_committed
            && let Ok(runtime) = Handle::try_current()
        {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { shared.tidy().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Database, Realm, Schema, StoreError, Transaction};
    use std::path::Path;
    use std::time::Duration;
    use tempfile::TempDir;

    const SCHEMA: Schema = Schema {
        name: "test",
        migrations: &["CREATE TABLE a (id BIGINT PRIMARY KEY);
             CREATE TABLE b (a BIGINT REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)"],
    };

    async fn open() -> (TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let database = open_in(directory.path()).await;
        (directory, database)
    }

    async fn open_in(directory: &Path) -> Database {
        Database::open(&format!("sqlite://{}", directory.join("a.db").display()), SCHEMA).await.unwrap()
    }

    async fn begin(database: &Database) -> Transaction {
        database.begin(Realm::Common).await.unwrap()
    }

    async fn insert(transaction: &mut Transaction, id: i64) {
        sqlx::query("INSERT INTO a VALUES ($1)").bind(id).execute(&mut **transaction).await.unwrap();
    }

    async fn ids(database: &Database) -> Vec<i64> {
        let mut reading = database.read().await.unwrap();
        sqlx::query_scalar("SELECT id FROM a ORDER BY id").fetch_all(&mut *reading).await.unwrap()
    }

    /// How many wait for their turn; counted by the tests' own runtime, which runs one task at a time.
    async fn until_queued(database: &Database, count: usize) {
        let crate::store::Engine::Sqlite(writer, _) = &database.engine else { panic!("not SQLite") };
        let all = async {
            while writer.0.queued.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    }

    /// Inserts in a transaction of its own, in a task of its own.
    fn inserts(database: &Database, id: i64) -> tokio::task::JoinHandle<Result<(), StoreError>> {
        let database = database.clone();
        tokio::spawn(async move {
            let mut transaction = database.begin(Realm::Common).await?;
            insert(&mut transaction, id).await;
            transaction.commit().await
        })
    }

    #[tokio::test]
    async fn those_that_wait_share_a_commit_and_are_told_after_it() {
        let (_directory, database) = open().await;
        let mut first = begin(&database).await;
        insert(&mut first, 1).await;
        let second = inserts(&database, 2);
        let (go, wait) = oneshot::channel::<()>();
        let third = {
            let database = database.clone();
            tokio::spawn(async move {
                let mut third = begin(&database).await;
                insert(&mut third, 3).await;
                wait.await.unwrap();
                third.commit().await
            })
        };
        until_queued(&database, 2).await;
        let first = tokio::spawn(first.commit());
        // The third has its turn now: the others did their part, and are neither told nor to be seen.
        tokio::time::timeout(Duration::from_millis(200), async {
            while !first.is_finished() && !second.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_err();
        assert_eq!(ids(&database).await, [0_i64; 0]);
        go.send(()).unwrap();
        for told in [first, second, third] {
            told.await.unwrap().unwrap();
        }
        assert_eq!(ids(&database).await, [1, 2, 3]);
        database.close().await;
    }

    #[tokio::test]
    async fn one_that_is_dropped_leaves_nothing_and_takes_nobody_with_it() {
        let (_directory, database) = open().await;
        let mut dropped = begin(&database).await;
        insert(&mut dropped, 1).await;
        let next = inserts(&database, 2);
        until_queued(&database, 1).await;
        drop(dropped);
        next.await.unwrap().unwrap();
        let mut first = begin(&database).await;
        insert(&mut first, 3).await;
        let dropped = {
            let database = database.clone();
            tokio::spawn(async move {
                let mut dropped = begin(&database).await;
                insert(&mut dropped, 4).await;
            })
        };
        let last = inserts(&database, 5);
        until_queued(&database, 2).await;
        first.commit().await.unwrap();
        dropped.await.unwrap();
        last.await.unwrap().unwrap();
        assert_eq!(ids(&database).await, [2, 3, 5]);
        database.close().await;
    }

    #[tokio::test]
    async fn after_a_drop_other_programs_can_write() {
        let (directory, database) = open().await;
        let other = open_in(directory.path()).await;
        drop(begin(&database).await);
        inserts(&other, 1).await.unwrap().unwrap();
        inserts(&database, 2).await.unwrap().unwrap();
        assert_eq!(ids(&other).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_while_committing_has_committed() {
        let (_directory, database) = open().await;
        let mut transaction = begin(&database).await;
        insert(&mut transaction, 1).await;
        let mut commit = Box::pin(transaction.commit());
        // Asked once and never again, as when a connection is closed.
        let _ = std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context))).await;
        drop(commit);
        inserts(&database, 2).await.unwrap().unwrap();
        assert_eq!(ids(&database).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_commit_that_fails_fails_for_all_who_share_it_and_the_next_one_works() {
        let (_directory, database) = open().await;
        let mut first = begin(&database).await;
        insert(&mut first, 1).await;
        let second = {
            let database = database.clone();
            tokio::spawn(async move {
                let mut second = begin(&database).await;
                // Nothing is amiss until the commit.
                sqlx::query("INSERT INTO b VALUES (7)").execute(&mut *second).await.unwrap();
                second.commit().await
            })
        };
        until_queued(&database, 1).await;
        let error = first.commit().await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        assert!(second.await.unwrap().is_err());
        assert_eq!(ids(&database).await, [0_i64; 0]);
        inserts(&database, 3).await.unwrap().unwrap();
        assert_eq!(ids(&database).await, [3]);
    }

    #[tokio::test]
    async fn what_shared_a_commit_is_in_the_file_when_the_database_is_closed() {
        let (directory, database) = open().await;
        let all: Vec<_> = (0..100).map(|id| inserts(&database, id)).collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
        database.close().await;
        assert!(matches!(database.begin(Realm::Common).await, Err(StoreError::Statement(sqlx::Error::PoolClosed))));
        assert!(!directory.path().join("a.db-wal").exists(), "the log is folded into the file");
        assert_eq!(ids(&open_in(directory.path()).await).await.len(), 100);
    }
}
