//! Carries the outbox to the service.

use super::outbox::Outbox;
use crate::backoff::{doubling, jitter};
use crate::worker::again::asked;
use bytes::Bytes;
use dayfly_client::{Client, Error, PlanScope};
use dayfly_wire::ids::{JobId, LogId, RecordId, TimelineId};
use dayfly_wire::log::LogReference;
use dayfly_wire::timeline::Record;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const RECORD_INTERVAL: Duration = Duration::from_millis(500);
const LOG_INTERVAL: Duration = Duration::from_secs(1);
const FEED_INTERVAL: u64 = 500;
const FEED_INTERVALS: std::ops::RangeInclusive<u64> = 250..=60_000;
/// Posts of live lines in one pass.
const FEED_POSTS: usize = 5;
/// The longest interval while calls fail.
const SLOWEST: Duration = Duration::from_secs(30);
/// After this many refusals in a row the job is over.
const REFUSALS: u32 = 3;
const LAST_FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Where everything goes.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) client: Client,
    pub(crate) scope: PlanScope,
    pub(crate) timeline: TimelineId,
    pub(crate) job: JobId,
    /// How long the service is tried when it is away.
    pub(crate) trouble_limit: Duration,
}

/// The outbox, shared, and the loops that empty it.
pub(crate) struct Reporter {
    outbox: Mutex<Outbox>,
    changed: watch::Sender<()>,
    closing: CancellationToken,
    /// Later than `closing`: the last log references are records too.
    closing_records: CancellationToken,
    feed_interval: AtomicU64,
    /// Cancelled when the service takes no records of this job any more: it has ended the job itself.
    refused: CancellationToken,
}

/// The running loops.
pub(crate) struct Sending {
    records: JoinHandle<bool>,
    /// Why the logs did not arrive.
    logs: JoinHandle<Result<(), Error>>,
    feed: JoinHandle<()>,
    limit: Duration,
}

impl Reporter {
    /// Starts to send.
    pub(crate) fn start(
        outbox: Outbox,
        destination: &Destination,
        refused: CancellationToken,
    ) -> (Arc<Self>, Sending) {
        let reporter = Arc::new(Self {
            outbox: Mutex::new(outbox),
            changed: watch::Sender::new(()),
            closing: CancellationToken::new(),
            closing_records: CancellationToken::new(),
            feed_interval: AtomicU64::new(FEED_INTERVAL),
            refused,
        });
        let sending = Sending {
            records: tokio::spawn(records_loop(Arc::clone(&reporter), destination.clone())),
            logs: tokio::spawn(logs_loop(Arc::clone(&reporter), destination.clone())),
            feed: tokio::spawn(feed_loop(Arc::clone(&reporter), destination.clone())),
            limit: destination.trouble_limit,
        };
        (reporter, sending)
    }

    /// Uses the outbox; what is put in is sent soon.
    pub(crate) fn outbox<R>(&self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        let result = work(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// A text as it may leave the worker.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.lock().masked(text)
    }

    /// How often live lines are wanted.
    pub(crate) fn set_feed_interval(&self, milliseconds: u64) {
        let bounded = milliseconds.clamp(*FEED_INTERVALS.start(), *FEED_INTERVALS.end());
        self.feed_interval.store(bounded, Ordering::Relaxed);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something new, but no sooner than `next`; at once when it is time for the last pass.
    async fn wait(closing: &CancellationToken, changed: &mut watch::Receiver<()>, next: Instant) {
        tokio::select! {
            () = closing.cancelled() => {}
            () = async {
                // An error says that nobody can change anything any more.
                let _ = changed.changed().await;
                sleep_until(next).await;
            } => {}
        }
    }
}

impl Sending {
    /// Sends what is left, live lines, logs and records, in this order; whether all records arrived.
    pub(crate) async fn finish(self, reporter: &Reporter) -> bool {
        reporter.closing.cancel();
        let Self {
            records,
            logs,
            feed,
            limit,
        } = self;
        let last = async {
            let _ = feed.await;
            if let Ok(Err(error)) = logs.await {
                tracing::error!(%error, "failed to store the whole log");
                reporter.outbox(|outbox| outbox.tell_of_logs(&error));
            }
            reporter.closing_records.cancel();
            records.await.unwrap_or(false)
        };
        timeout(limit, last).await.unwrap_or(false)
    }
}

async fn feed_loop(reporter: Arc<Reporter>, to: Destination) {
    let mut changed = reporter.changed.subscribe();
    loop {
        let last = reporter.closing.is_cancelled();
        for _ in 0..FEED_POSTS {
            let Some(lines) = reporter.lock().take_feed() else {
                break;
            };
            // The live view is best effort: the stored log has every line.
            if let Err(error) = to
                .client
                .post_feed(&to.scope, to.timeline, to.job, &lines)
                .await
            {
                tracing::debug!(%error, "failed to show live lines");
            }
        }
        if last {
            return;
        }
        let interval = Duration::from_millis(reporter.feed_interval.load(Ordering::Relaxed));
        let more = !reporter.lock().feed_is_empty();
        if more {
            changed.mark_changed();
        }
        Reporter::wait(&reporter.closing, &mut changed, Instant::now() + interval).await;
    }
}

async fn records_loop(reporter: Arc<Reporter>, to: Destination) -> bool {
    let mut changed = reporter.changed.subscribe();
    let mut failures = 0;
    loop {
        let last = reporter.closing_records.is_cancelled();
        let sent = send_records(&reporter, &to).await;
        if last {
            return sent.is_ok() || retry_last(|| send_records(&reporter, &to)).await;
        }
        let asked = asked_to_wait(&sent);
        failures = after(&sent, failures);
        if failures == REFUSALS && sent.is_err_and(|error| !error.is_retryable()) {
            tracing::error!("the service takes no records of this job any more; ending it");
            reporter.refused.cancel();
        }
        if failures > 0 {
            changed.mark_changed();
        }
        let next = Instant::now() + slower(RECORD_INTERVAL, failures).max(asked);
        Reporter::wait(&reporter.closing_records, &mut changed, next).await;
    }
}

async fn send_records(reporter: &Reporter, to: &Destination) -> Result<(), Error> {
    loop {
        let batch: Vec<Record> = reporter.lock().records.take();
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = to
            .client
            .update_records(&to.scope, to.timeline, &batch)
            .await
        {
            tracing::warn!(%error, "failed to update records");
            reporter.lock().records.give_back(batch);
            return Err(error);
        }
    }
}

async fn logs_loop(reporter: Arc<Reporter>, to: Destination) -> Result<(), Error> {
    let mut changed = reporter.changed.subscribe();
    let mut logs = Logs::default();
    let mut failures = 0;
    loop {
        let last = reporter.closing.is_cancelled();
        let sent = logs.send(&reporter, &to).await;
        if last {
            return match sent {
                Ok(()) => Ok(()),
                Err(error) => retry_logs(&mut logs, &reporter, &to, error).await,
            };
        }
        let asked = asked_to_wait(&sent);
        failures = after(&sent, failures);
        if failures > 0 {
            changed.mark_changed();
        }
        let next = Instant::now() + slower(LOG_INTERVAL, failures).max(asked);
        Reporter::wait(&reporter.closing, &mut changed, next).await;
    }
}

/// How many failures in a row there are now.
fn after(sent: &Result<(), Error>, failures: u32) -> u32 {
    match sent {
        Ok(()) => 0,
        Err(_) => failures.saturating_add(1),
    }
}

/// How long the service asks to be left alone.
fn asked_to_wait(sent: &Result<(), Error>) -> Duration {
    let asked = sent.as_ref().err().and_then(asked);
    asked.unwrap_or_default()
}

/// A service in trouble is asked less and less often.
fn slower(interval: Duration, failures: u32) -> Duration {
    interval.saturating_mul(1 << failures.min(10)).min(SLOWEST)
}

/// The caller bounds the time.
async fn retry_last<F: Future<Output = Result<(), Error>>>(send: impl Fn() -> F) -> bool {
    for attempt in 0.. {
        last_wait(attempt).await;
        match send().await {
            Ok(()) => return true,
            Err(error) if !error.is_retryable() => return false,
            Err(_) => {}
        }
    }
    false
}

/// Takes half of the time at most: what became of the steps is told in the rest.
async fn retry_logs(
    logs: &mut Logs,
    reporter: &Reporter,
    to: &Destination,
    mut last: Error,
) -> Result<(), Error> {
    let deadline = Instant::now() + to.trouble_limit / 2;
    for attempt in 0.. {
        if !last.is_retryable() || Instant::now() >= deadline {
            break;
        }
        last_wait(attempt).await;
        match logs.send(reporter, to).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn last_wait(attempt: u32) {
    sleep(doubling(
        LAST_FIRST_WAIT,
        LAST_LONGEST_WAIT,
        attempt,
        jitter(),
    ))
    .await;
}

/// The stored logs, and the pieces that could not be sent yet.
#[derive(Default)]
struct Logs {
    ids: HashMap<RecordId, LogId>,
    unsent: HashMap<RecordId, Bytes>,
    /// How many lines the service said that it has.
    lines: HashMap<RecordId, i64>,
    /// A piece went there, and what became of it was not heard.
    doubtful: HashSet<RecordId>,
}

impl Logs {
    async fn send(&mut self, reporter: &Reporter, to: &Destination) -> Result<(), Error> {
        let waiting: Vec<RecordId> = self.unsent.keys().copied().collect();
        for record in waiting {
            if let Some(piece) = self.unsent.get(&record).cloned() {
                self.send_or_give_up(reporter, to, record, piece).await?;
            }
        }
        loop {
            let taken = reporter
                .lock()
                .take_log(|record| self.unsent.contains_key(&record));
            let Some((record, piece)) = taken else {
                return Ok(());
            };
            self.unsent.insert(record, piece.clone());
            self.send_or_give_up(reporter, to, record, piece).await?;
        }
    }

    /// One log that the service does not take must not keep it from the others: a log may be as long as it allows.
    async fn send_or_give_up(
        &mut self,
        reporter: &Reporter,
        to: &Destination,
        record: RecordId,
        piece: Bytes,
    ) -> Result<(), Error> {
        match self.send_piece(reporter, to, record, piece).await {
            Err(error @ Error::Refused { .. }) => {
                tracing::error!(%error, %record, "the service does not take more of a log");
                self.unsent.remove(&record);
                reporter.outbox(|outbox| outbox.give_up_log(record, &error));
                Ok(())
            }
            other => other,
        }
    }

    async fn send_piece(
        &mut self,
        reporter: &Reporter,
        to: &Destination,
        record: RecordId,
        piece: Bytes,
    ) -> Result<(), Error> {
        let log = match self.ids.get(&record) {
            Some(log) => *log,
            None => {
                let path = format!("logs\\{record}");
                let log = to.client.create_log(&to.scope, &path).await?.id;
                *self.ids.entry(record).or_insert(log)
            }
        };
        let reference = match self.is_there(to, record, log, &piece).await? {
            Some(reference) => reference,
            None => {
                let sent = to.client.append_log(&to.scope, log, piece).await;
                if let Err(Error::Transport(_) | Error::Decode { .. } | Error::TooLong { .. }) =
                    sent
                {
                    self.doubtful.insert(record);
                }
                sent?
            }
        };
        self.lines.insert(record, reference.line_count);
        self.doubtful.remove(&record);
        self.unsent.remove(&record);
        reporter.outbox(|outbox| {
            outbox.update(Record {
                id: record,
                log: Some(reference),
                ..Record::default()
            });
        });
        Ok(())
    }

    /// Whether the service has a piece whose answer was lost: then its lines are not to be there twice.
    async fn is_there(
        &self,
        to: &Destination,
        record: RecordId,
        log: LogId,
        piece: &Bytes,
    ) -> Result<Option<LogReference>, Error> {
        let lines = piece.iter().filter(|byte| **byte == b'\n').count();
        if !self.doubtful.contains(&record) || lines == 0 {
            return Ok(None);
        }
        let before = self.lines.get(&record).copied().unwrap_or(0);
        let after = before + i64::try_from(lines).unwrap_or(i64::MAX);
        let logs = to.client.logs(&to.scope).await?;
        let found = logs.into_iter().find(|known| known.id == log);
        Ok(found.filter(|known| known.line_count >= after))
    }
}
