//! Connections that read, lent to several at once.

use super::WAIT;
use super::connection::Conn;
use super::sqlite::{self, DatabaseFile};
use super::statement::DatabaseError;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Lends connections.
pub(super) enum Readers {
    /// To a file.
    File(FileReaders),
    /// To a server; they may be lost, and sqlx looks after them.
    Server(sqlx::Pool<sqlx::Any>),
}

/// Connections to a file: as many may be borrowed as there are permits.
pub(super) struct FileReaders {
    conns: Mutex<Vec<Arc<Turn<Conn>>>>,
    permits: Arc<Semaphore>,
}

/// A borrowed connection.
pub enum Reader {
    /// To a file. The connection is given back before the permit.
    File(OwnedMutexGuard<Conn>, OwnedSemaphorePermit),
    /// To a server.
    Server(Conn),
}

impl Readers {
    /// Opens connections to a file.
    pub(super) fn of_file(file: &DatabaseFile) -> Result<Self, DatabaseError> {
        let open = |_| Ok(Arc::new(Turn::new(Conn::Sqlite(file.open()?))));
        let conns: Result<Vec<_>, DatabaseError> = (0..sqlite::READERS).map(open).collect();
        Ok(Self::File(FileReaders {
            conns: Mutex::new(conns?),
            permits: Arc::new(Semaphore::new(sqlite::READERS as usize)),
        }))
    }

    /// Lends a pool's.
    pub(super) fn of_server(pool: sqlx::Pool<sqlx::Any>) -> Self {
        Self::Server(pool)
    }

    /// A connection when one is free.
    pub(super) async fn acquire(&self) -> Result<Reader, DatabaseError> {
        match self {
            Self::File(readers) => readers.acquire().await,
            Self::Server(pool) => Ok(Reader::Server(Conn::Pooled(pool.acquire().await?))),
        }
    }

    /// Closes them all, when whoever has one is done.
    pub(super) async fn close(&self) {
        match self {
            Self::File(readers) => readers.close().await,
            Self::Server(pool) => pool.close().await,
        }
    }
}

impl FileReaders {
    async fn acquire(&self) -> Result<Reader, DatabaseError> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(|_| DatabaseError::TimedOut)?;
        let permit = permit.map_err(|_| DatabaseError::Closed)?;
        let free = self
            .lock()
            .iter()
            .find_map(|conn| Arc::clone(conn).try_lock_owned().ok());
        Ok(Reader::File(free.ok_or(DatabaseError::Closed)?, permit))
    }

    async fn close(&self) {
        // Closed by another one meanwhile: so much the better.
        let _ = self.permits.acquire_many(sqlite::READERS).await;
        self.permits.close();
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Turn<Conn>>>> {
        self.conns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Reader {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match self {
            Self::File(conn, _) => conn,
            Self::Server(conn) => conn,
        }
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        match self {
            Self::File(conn, _) => conn,
            Self::Server(conn) => conn,
        }
    }
}
