//! SQLite's readers: a few connections that cannot write, made when they are first needed.
//!
//! There is no server that could be lost, so a connection is lent and taken back without being asked whether it still
//! lives. Each question to it is a change of threads and back, which is most of what a short read costs.

use super::{BUSY_WAIT, Connection, sqlite};
use sqlx::any::AnyConnectOptions;
use sqlx::{Connection as _, Executor as _};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// How many. SQLite serves them from page cache; more would only hold memory.
const READERS: usize = 4;

/// The readers. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    options: AnyConnectOptions,
    /// As many as there are connections.
    places: Arc<Semaphore>,
    connections: [Arc<Mutex<Option<Connection>>>; READERS],
}

impl Readers {
    pub(super) fn new(options: AnyConnectOptions) -> Self {
        Self { options, places: Arc::new(Semaphore::new(READERS)), connections: Default::default() }
    }

    /// Lends a connection.
    pub(super) async fn acquire(&self) -> Result<Reader, sqlx::Error> {
        let place = tokio::time::timeout(BUSY_WAIT, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        // Who has a place finds one that nobody uses. The first ones are taken first, so that quiet hubs have one.
        let free = self.connections.iter().find_map(|connection| Arc::clone(connection).try_lock_owned().ok());
        let mut free = free.ok_or(sqlx::Error::PoolTimedOut)?;
        if free.is_none() {
            let mut connection = Connection::connect_with(&self.options).await?;
            connection.execute(sqlite::READER_PRAGMAS).await?;
            *free = Some(connection);
        }
        let connection = OwnedMutexGuard::try_map(free, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)?;
        Ok(Reader { connection, _place: place })
    }

    /// Waits until all are back, and closes them.
    pub(super) async fn close(&self) {
        for connection in &self.connections {
            let connection = connection.lock().await.take();
            if let Some(connection) = connection
                && let Err(error) = connection.close().await
            {
                tracing::debug!(error = %error, "a reader was not closed in order");
            }
        }
    }
}

/// A connection for reading, until it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    // Dropped in this order: a place stands for a connection that is free.
    connection: OwnedMappedMutexGuard<Option<Connection>, Connection>,
    _place: OwnedSemaphorePermit,
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
