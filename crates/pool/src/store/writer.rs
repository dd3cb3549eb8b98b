//! The one connection of this process that writes. Who wants to write waits for it in order, instead of colliding with
//! others in the database.
//!
//! It belongs to no pool: a pool asks whether a connection still lives before it is lent and after it came back, and
//! every other writer would wait for that.

use super::connection::Conn;
use super::statement::{DatabaseError, query};
use super::{Source, StoreError, WAIT};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

/// A connection that nobody used for so long is not trusted: what is between here and the database may have forgotten
/// it without a word.
const IDLE: Duration = Duration::from_secs(300);

/// Lends the connection to one after the other.
pub(super) struct Writer {
    source: Arc<Source>,
    place: Place,
}

type Place = Arc<Mutex<Option<Open>>>;

struct Open {
    conn: Conn,
    used_at: Instant,
    /// A transaction was begun, and neither committed nor rolled back.
    is_unfinished: bool,
}

impl Writer {
    /// A writer. It connects when it is needed.
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            place: Place::default(),
        }
    }

    /// Begins a transaction when it is its turn.
    pub(super) async fn begin(&self) -> Result<Write, StoreError> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.place).lock_owned());
        let mut turn = turn.await.map_err(|_| DatabaseError::TimedOut)?;
        if let Some(open) = turn.as_mut().filter(|open| open.used_at.elapsed() < IDLE) {
            match open.begin().await {
                // It was lost since its last use.
                Err(error) if !error.is_busy() => *turn = None,
                begun => return Ok(begun.and_then(|()| self.lend(turn))?),
            }
        }
        *turn = Some(Open {
            conn: self.source.connect().await?,
            used_at: Instant::now(),
            is_unfinished: false,
        });
        if let Some(open) = turn.as_mut() {
            open.begin().await?;
        }
        Ok(self.lend(turn)?)
    }

    fn lend(&self, turn: OwnedMutexGuard<Option<Open>>) -> Result<Write, DatabaseError> {
        let open = OwnedMutexGuard::try_map(turn, Option::as_mut);
        Ok(Write {
            open: open.map_err(|_| DatabaseError::Closed)?,
            place: Arc::clone(&self.place),
        })
    }

    /// Closes the connection, when whoever has it is done.
    pub(super) async fn close(&self) {
        if let Some(open) = self.place.lock().await.take() {
            // Whatever becomes of it: it is not used again.
            let _ = open.conn.close().await;
        }
    }
}

impl Open {
    async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.roll_back().await?;
        // Before it is so: whoever gives up in the middle leaves something to roll back.
        self.is_unfinished = true;
        self.conn.begin().await
    }

    async fn roll_back(&mut self) -> Result<(), DatabaseError> {
        if self.is_unfinished {
            query("ROLLBACK").execute(&mut self.conn).await?;
            self.is_unfinished = false;
        }
        Ok(())
    }
}

/// A transaction that may write; it is rolled back unless it is committed. Others wait until it is one or the other.
pub struct Write {
    open: OwnedMappedMutexGuard<Option<Open>, Open>,
    place: Place,
}

impl Write {
    /// Makes it so.
    pub(super) async fn commit(mut self) -> Result<(), DatabaseError> {
        query("COMMIT").execute(&mut self.open.conn).await?;
        self.open.is_unfinished = false;
        self.open.used_at = Instant::now();
        Ok(())
    }
}

impl Deref for Write {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.open.conn
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.open.conn
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.open.is_unfinished {
            return;
        }
        // Whoever is next rolls it back. There may be nobody for long, and its locks would keep other processes waiting.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tidy(Arc::clone(&self.place)));
        }
    }
}

async fn tidy(place: Place) {
    let mut turn = place.lock().await;
    if let Some(open) = turn.as_mut()
        && open.roll_back().await.is_err()
    {
        *turn = None;
    }
}

#[cfg(test)]
mod tests {
    use crate::store::counters::{self, Counter};
    use crate::store::{Place, Store};
    use std::time::Duration;

    /// Far less than anybody waits for a lock, and far more than a rollback takes.
    const DEADLINE: Duration = Duration::from_secs(8);

    #[tokio::test]
    async fn what_was_given_up_is_rolled_back_though_nobody_else_writes() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().to_owned());
        let (one, other) = (
            Store::open(&place).await.unwrap(),
            Store::open(&place).await.unwrap(),
        );
        let mut write = one.write().await.unwrap();
        let given = counters::next(&mut write, Counter::Pool).await.unwrap();
        drop(write);
        // The lock is free for another process.
        let write = tokio::time::timeout(DEADLINE, other.write()).await;
        let mut write = write.expect("the lock was not given back").unwrap();
        let again = counters::next(&mut write, Counter::Pool).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(given, again);
        let mut write = one.write().await.unwrap();
        let next = counters::next(&mut write, Counter::Pool).await.unwrap();
        assert_eq!(next, again + 1);
    }

    #[tokio::test]
    async fn those_who_wait_and_go_away_leave_the_turn_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().to_owned());
        let store = Store::open(&place).await.unwrap();
        let first = store.write().await.unwrap();
        for _ in 0..3 {
            let waiting = tokio::time::timeout(Duration::from_millis(10), store.write());
            assert!(waiting.await.is_err());
        }
        drop(first);
        let next = tokio::time::timeout(DEADLINE, store.write()).await;
        assert!(next.expect("nobody had the turn").is_ok());
    }
}
