//! What the service counts, in the names that the reference documents. Labels are bounded: templates of routes, statuses,
//! and the ids of pools. Whoever reaches the service may read them, so that no name of anybody's is a label.

use crate::store::timing::DatabaseTimes;
use dayfly_wire::ids::PoolId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The media type of the exposition.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A route, as it was written: with its parameters in braces, without the collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The method.
    pub method: &'static str,
    /// The template of the path.
    pub route: String,
}

/// A route and how a call to it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    method: &'static str,
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: i64,
}

/// How long calls take: from what comes from memory to a long poll.
const CALLS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0,
];

fn calls() -> Histogram {
    Histogram::new(CALLS)
}

/// From milliseconds to hours: a job may wait long for an agent.
fn waits() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 3.0, 14))
}

/// Counters since the start.
pub struct Metrics {
    registry: Registry,
    /// Jobs queued.
    pub jobs_queued: Counter,
    /// Jobs that ended, whatever the result.
    pub jobs_finished: Counter,
    /// Requests abandoned because their lock lapsed.
    pub locks_lapsed: Counter,
    /// Messages delivered, redeliveries included.
    pub messages_delivered: Counter,
    /// From a job queued to its message acknowledged.
    pub delivery: Histogram,
    /// From a job given to an agent to its message acknowledged.
    pub handover: Histogram,
    /// Listen tokens given.
    pub tokens_issued: Counter,
    /// Assertions refused.
    pub tokens_refused: Counter,
    /// Calls without a credential that counts.
    pub unauthorized: Counter,
    /// Bad credentials whose refusal was held back.
    pub throttled: Counter,
    /// Connections that were not taken because their source had too many.
    pub connections_refused: Counter,
    /// Connections that are open.
    pub connections: Level,
    /// Git processes started for clients.
    pub git_requests: Counter,
    /// Calls of the hook that were taken.
    pub hook_calls: Counter,
    /// Calls of the hook that were not.
    pub hook_failures: Counter,
    answers: Family<CodeLabels, Counter>,
    answer_times: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

/// A number that goes up and down.
#[derive(Default)]
pub struct Level(AtomicUsize);

/// One of those that a level counts; it goes down when this is dropped.
pub struct Counted<'a>(&'a Level);

impl Level {
    /// One more, until what is answered is dropped.
    pub fn enter(&self) -> Counted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self)
    }

    /// How many there are.
    pub fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the queue of a pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueGauges {
    /// The pool.
    pub pool: PoolId,
    /// Requests without an agent.
    pub waiting: i64,
    /// Requests with one.
    pub assigned: i64,
    /// Milliseconds that the oldest of those without an agent waits; 0 when none does.
    pub oldest: i64,
}

/// What is so now.
pub struct Gauges {
    /// Each pool's queue.
    pub queues: Vec<QueueGauges>,
    /// Sessions that live.
    pub sessions: i64,
    /// Agents whose long poll is parked here.
    pub agents_polling: usize,
}

impl Metrics {
    /// Everything at its start, and the times of the database.
    pub fn new(database: &DatabaseTimes) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            jobs_queued: Counter::default(),
            jobs_finished: Counter::default(),
            locks_lapsed: Counter::default(),
            messages_delivered: Counter::default(),
            delivery: waits(),
            handover: waits(),
            tokens_issued: Counter::default(),
            tokens_refused: Counter::default(),
            unauthorized: Counter::default(),
            throttled: Counter::default(),
            connections_refused: Counter::default(),
            connections: Level::default(),
            git_requests: Counter::default(),
            hook_calls: Counter::default(),
            hook_failures: Counter::default(),
            answers: Family::default(),
            answer_times: Family::new_with_constructor(calls),
        };
        metrics.registry = metrics.registered(database);
        metrics
    }

    fn registered(&self, database: &DatabaseTimes) -> Registry {
        let mut registry = Registry::with_prefix("dayfly_pool");
        for (name, help, counter) in [
            ("jobs_queued", "Jobs queued", &self.jobs_queued),
            ("jobs_finished", "Jobs that ended", &self.jobs_finished),
            (
                "locks_lapsed",
                "Requests whose agent was lost",
                &self.locks_lapsed,
            ),
            (
                "messages_delivered",
                "Messages delivered",
                &self.messages_delivered,
            ),
            ("tokens_issued", "Listen tokens given", &self.tokens_issued),
            ("tokens_refused", "Assertions refused", &self.tokens_refused),
            (
                "unauthorized",
                "Calls without a valid credential",
                &self.unauthorized,
            ),
            (
                "throttled",
                "Refusals held back because one source tries credentials",
                &self.throttled,
            ),
            (
                "connections_refused",
                "Connections not taken because their source had too many",
                &self.connections_refused,
            ),
            ("git_requests", "Git requests served", &self.git_requests),
            (
                "hook_calls",
                "Calls of the hook that were taken",
                &self.hook_calls,
            ),
            (
                "hook_failures",
                "Calls of the hook that were not taken",
                &self.hook_failures,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "delivery_seconds",
            "From queued to delivered",
            self.delivery.clone(),
        );
        registry.register(
            "handover_seconds",
            "From given to an agent to delivered",
            self.handover.clone(),
        );
        registry.register("http_requests", "Calls answered", self.answers.clone());
        registry.register(
            "http_request_seconds",
            "From a call's head to its answer's",
            self.answer_times.clone(),
        );
        registry.register(
            "database_wait_seconds",
            "Until a connection to the database, or the turn to write, was had",
            database.waited.clone(),
        );
        registry.register(
            "database_seconds",
            "Until a connection was given back, or a transaction was over",
            database.used.clone(),
        );
        registry
    }

    /// A call was answered.
    pub fn answered(&self, labels: &RouteLabels, code: u16, time: Duration) {
        let RouteLabels { method, route } = labels.clone();
        let coded = CodeLabels {
            method,
            route,
            code,
        };
        self.answers.get_or_create(&coded).inc();
        self.answer_times
            .get_or_create(labels)
            .observe(time.as_secs_f64());
    }

    /// The text exposition.
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.now(gauges));
        let _ = encode_eof(&mut text);
        text
    }

    /// What is so now, for one exposition: a pool that went away is not in the next.
    fn now(&self, gauges: &Gauges) -> Registry {
        let mut registry = Registry::with_prefix("dayfly_pool");
        let mut level = |name: &str, help: &str, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        level(
            "connections",
            "Connections that are open",
            number(self.connections.value()),
        );
        level("sessions", "Sessions that live", gauges.sessions);
        level(
            "agents_polling",
            "Agents that are parked",
            number(gauges.agents_polling),
        );
        let waiting: Family<PoolLabels, Gauge> = Family::default();
        let assigned: Family<PoolLabels, Gauge> = Family::default();
        let oldest: Family<PoolLabels, Gauge<f64, std::sync::atomic::AtomicU64>> =
            Family::default();
        for queue in &gauges.queues {
            let labels = PoolLabels { pool: queue.pool.0 };
            waiting.get_or_create(&labels).set(queue.waiting);
            assigned.get_or_create(&labels).set(queue.assigned);
            let seconds = Duration::from_millis(queue.oldest.unsigned_abs()).as_secs_f64();
            oldest.get_or_create(&labels).set(seconds);
        }
        registry.register("requests_waiting", "Requests without an agent", waiting);
        registry.register("requests_assigned", "Requests with an agent", assigned);
        registry.register(
            "oldest_waiting_seconds",
            "Age of the oldest request without an agent",
            oldest,
        );
        registry
    }
}
