//! How long the database takes: who borrows a connection is timed, while waiting for it and until it is given back.

use super::connection::Conn;
use super::statement::DatabaseError;
use super::writer::Write;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// From what comes from memory to a disk in trouble.
const BUCKETS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// What a connection is borrowed for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    /// `read` or `write`.
    operation: &'static str,
}

pub(super) const READ: &str = "read";
pub(super) const WRITE: &str = "write";

type Times = Family<Operation, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The times of one database, as its users saw them.
#[derive(Clone)]
pub struct DatabaseTimes {
    /// Until a connection, or the turn to write, was had.
    pub waited: Times,
    /// Until it was given back.
    pub used: Times,
}

impl Default for DatabaseTimes {
    fn default() -> Self {
        Self {
            waited: Family::new_with_constructor(histogram),
            used: Family::new_with_constructor(histogram),
        }
    }
}

impl DatabaseTimes {
    pub(super) fn wait(&self, operation: &'static str) -> Timer {
        Timer::start(&self.waited, operation)
    }

    pub(super) fn timed<C>(&self, operation: &'static str, connection: C) -> Timed<C> {
        Timed {
            connection,
            timer: Timer::start(&self.used, operation),
        }
    }
}

/// Observes the time from its start until it is dropped.
pub(super) struct Timer {
    histogram: Histogram,
    since: Instant,
}

impl Timer {
    fn start(times: &Times, operation: &'static str) -> Self {
        Self {
            histogram: times.get_or_create(&Operation { operation }).clone(),
            since: Instant::now(),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.histogram.observe(self.since.elapsed().as_secs_f64());
    }
}

/// A borrowed connection.
pub struct Timed<C> {
    connection: C,
    timer: Timer,
}

impl<C: Deref<Target = Conn>> Deref for Timed<C> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.connection
    }
}

impl<C: DerefMut<Target = Conn>> DerefMut for Timed<C> {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.connection
    }
}

impl Timed<Write> {
    /// Makes it so.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        let Self { connection, timer } = self;
        let committed = connection.commit().await;
        drop(timer);
        committed
    }
}
