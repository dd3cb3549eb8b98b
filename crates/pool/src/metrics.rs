//! What the service counts, as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters since the start.
#[derive(Default)]
pub struct Metrics {
    /// Jobs queued.
    pub jobs_queued: Counter,
    /// Jobs that ended, whatever the result.
    pub jobs_finished: Counter,
    /// Requests abandoned because their lock lapsed.
    pub locks_lapsed: Counter,
    /// Messages delivered, redeliveries included.
    pub messages_delivered: Counter,
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
}

/// A number that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
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

/// What is so now.
pub struct Gauges {
    /// Requests without an agent.
    pub requests_waiting: i64,
    /// Requests with one.
    pub requests_assigned: i64,
    /// Agents whose long poll is parked here.
    pub agents_polling: usize,
}

impl Metrics {
    /// The text exposition.
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        let mut line = |kind: &str, name: &str, help: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP dayfly_pool_{name} {help}\n# TYPE dayfly_pool_{name} {kind}\ndayfly_pool_{name} {value}"
            );
        };
        for (name, help, counter) in [
            ("jobs_queued_total", "Jobs queued.", &self.jobs_queued),
            (
                "jobs_finished_total",
                "Jobs that ended.",
                &self.jobs_finished,
            ),
            (
                "locks_lapsed_total",
                "Requests whose agent was lost.",
                &self.locks_lapsed,
            ),
            (
                "messages_delivered_total",
                "Messages delivered.",
                &self.messages_delivered,
            ),
            (
                "tokens_issued_total",
                "Listen tokens given.",
                &self.tokens_issued,
            ),
            (
                "tokens_refused_total",
                "Assertions refused.",
                &self.tokens_refused,
            ),
            (
                "unauthorized_total",
                "Calls without a valid credential.",
                &self.unauthorized,
            ),
            (
                "throttled_total",
                "Refusals held back because one source tries credentials.",
                &self.throttled,
            ),
            (
                "connections_refused_total",
                "Connections not taken because their source had too many.",
                &self.connections_refused,
            ),
            (
                "git_requests_total",
                "Git requests served.",
                &self.git_requests,
            ),
            (
                "hook_calls_total",
                "Calls of the hook that were taken.",
                &self.hook_calls,
            ),
            (
                "hook_failures_total",
                "Calls of the hook that were not taken.",
                &self.hook_failures,
            ),
        ] {
            line("counter", name, help, &counter.value());
        }
        line(
            "gauge",
            "connections",
            "Connections that are open.",
            &self.connections.value(),
        );
        line(
            "gauge",
            "requests_waiting",
            "Requests without an agent.",
            &gauges.requests_waiting,
        );
        line(
            "gauge",
            "requests_assigned",
            "Requests with an agent.",
            &gauges.requests_assigned,
        );
        line(
            "gauge",
            "agents_polling",
            "Agents that are parked.",
            &gauges.agents_polling,
        );
        text
    }
}
