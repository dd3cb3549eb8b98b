//! Metrics, in the names that the reference documents. Labels are bounded: pools, and words of our own.

use crate::mirror::PoolKey;
use crate::pool::plan::Plan;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One AgentPool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PoolLabels {
    namespace: String,
    pool: String,
}

impl From<&PoolKey> for PoolLabels {
    fn from(key: &PoolKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            pool: key.name.clone(),
        }
    }
}

/// Agents of a pool in a phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    namespace: String,
    pool: String,
    phase: &'static str,
}

/// A fixed word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// The word.
    pub reason: &'static str,
}

/// A call to the service and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// Which call.
    pub op: &'static str,
    /// `ok` or the error's reason.
    pub code: &'static str,
}

/// A write to the API server and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// The verb.
    pub verb: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// `ok` or `error`.
    pub code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    connection: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    version: &'static str,
}

/// All families.
pub struct Metrics {
    registry: Registry,
    queued: Family<PoolLabels, Gauge>,
    unmatched: Family<PoolLabels, Gauge>,
    running: Family<PoolLabels, Gauge>,
    agents: Family<PhaseLabels, Gauge>,
    desired: Family<PoolLabels, Gauge>,
    orphaned: Family<PoolLabels, Gauge>,
    foreign: Family<PoolLabels, Gauge>,
    credential_expiry: Family<ConnectionLabels, Gauge>,
    /// Claims and callbacks that were refused.
    pub refusals: Family<ReasonLabels, Counter>,
    /// Agents that ended.
    pub exits: Family<ReasonLabels, Counter>,
    /// From the queue to the pod's creation.
    pub queue_to_pod: Histogram,
    /// From the pod's creation to its agent listening.
    pub pod_to_session: Histogram,
    /// From listening to the job.
    pub session_to_job: Histogram,
    /// From the end of an agent to its registration being gone.
    pub deregister: Histogram,
    /// Calls to services.
    pub service_requests: Family<CallLabels, Counter>,
    /// Writes to the API server.
    pub kube_requests: Family<WriteLabels, Counter>,
    /// Rounds.
    pub reconcile: Histogram,
    /// Rounds that failed.
    pub reconcile_errors: Family<ReasonLabels, Counter>,
    /// Calls of the hook that woke somebody.
    pub wakes: Counter,
    /// Keys in stock.
    pub key_stock: Gauge,
    /// Whether this process leads.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every family.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("dayfly");
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 16));
        let metrics = Self {
            queued: Family::default(),
            unmatched: Family::default(),
            running: Family::default(),
            agents: Family::default(),
            desired: Family::default(),
            orphaned: Family::default(),
            foreign: Family::default(),
            credential_expiry: Family::default(),
            refusals: Family::default(),
            exits: Family::default(),
            queue_to_pod: seconds(),
            pod_to_session: seconds(),
            session_to_job: seconds(),
            deregister: seconds(),
            service_requests: Family::default(),
            kube_requests: Family::default(),
            reconcile: seconds(),
            reconcile_errors: Family::default(),
            wakes: Counter::default(),
            key_stock: Gauge::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }

    fn register(&self, to: &mut Registry) {
        to.register(
            "jobs_queued",
            "Jobs that wait for an agent",
            self.queued.clone(),
        );
        to.register(
            "jobs_unmatched",
            "Waiting jobs that no template can take",
            self.unmatched.clone(),
        );
        to.register(
            "jobs_running",
            "Jobs that our agents hold",
            self.running.clone(),
        );
        to.register("agents", "Agents by phase", self.agents.clone());
        to.register(
            "agents_desired",
            "Agents that there should be",
            self.desired.clone(),
        );
        to.register(
            "agents_orphaned",
            "Registrations of AgentPools that are gone",
            self.orphaned.clone(),
        );
        to.register(
            "agents_foreign",
            "Agents of the pool that are not ours",
            self.foreign.clone(),
        );
        to.register(
            "credential_expiry_timestamp_seconds",
            "When the credential of a connection ends, where that is known",
            self.credential_expiry.clone(),
        );
        to.register(
            "identity_refusals",
            "Identity API calls that were refused",
            self.refusals.clone(),
        );
        to.register("agent_exits", "Agents that ended", self.exits.clone());
        to.register(
            "queue_to_pod_seconds",
            "From queued to Pod created",
            self.queue_to_pod.clone(),
        );
        to.register(
            "pod_to_session_seconds",
            "From Pod created to listening",
            self.pod_to_session.clone(),
        );
        to.register(
            "session_to_job_seconds",
            "From listening to a job",
            self.session_to_job.clone(),
        );
        to.register(
            "deregister_seconds",
            "From an agent's end to its registration gone",
            self.deregister.clone(),
        );
        to.register(
            "service_requests",
            "Calls to the pool service",
            self.service_requests.clone(),
        );
        to.register(
            "kube_requests",
            "Writes to the API server",
            self.kube_requests.clone(),
        );
        to.register(
            "reconcile_seconds",
            "Duration of a round",
            self.reconcile.clone(),
        );
        to.register(
            "reconcile_errors",
            "Rounds that failed",
            self.reconcile_errors.clone(),
        );
        to.register(
            "hook_wakes",
            "Calls of the hook that made the operator look at once",
            self.wakes.clone(),
        );
        to.register("key_stock", "Agent keys in stock", self.key_stock.clone());
        to.register("leader", "1 while this process leads", self.leader.clone());
        let info: Family<VersionLabels, Gauge> = Family::default();
        info.get_or_create(&VersionLabels {
            version: env!("CARGO_PKG_VERSION"),
        })
        .set(1);
        to.register("build_info", "The version", info);
    }

    /// What a plan says of a pool.
    pub fn planned(&self, key: &PoolKey, plan: &Plan, foreign: usize) {
        let labels = PoolLabels::from(key);
        let set = |family: &Family<PoolLabels, Gauge>, value: usize| {
            family
                .get_or_create(&labels)
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.queued, plan.waiting.len());
        set(
            &self.unmatched,
            plan.waiting
                .iter()
                .filter(|waiting| waiting.template.is_none())
                .count(),
        );
        set(&self.running, plan.total.busy);
        set(&self.desired, plan.desired);
        set(&self.orphaned, plan.orphaned);
        set(&self.foreign, foreign);
        let total = &plan.total;
        for (phase, count) in [
            ("reserved", total.reserved),
            ("starting", total.starting),
            ("idle", total.idle),
            ("busy", total.busy),
            ("draining", total.draining),
            ("failed", total.failed),
            ("retired", total.retired),
        ] {
            let labels = PhaseLabels {
                namespace: key.namespace.clone(),
                pool: key.name.clone(),
                phase,
            };
            self.agents
                .get_or_create(&labels)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// When the credential of a connection ends; its series ends when that is not known.
    pub fn credential_expires(&self, connection: &str, second: Option<i64>) {
        let labels = ConnectionLabels {
            connection: connection.to_owned(),
        };
        match second {
            Some(second) => drop(self.credential_expiry.get_or_create(&labels).set(second)),
            None => drop(self.credential_expiry.remove(&labels)),
        }
    }

    /// An AgentPool is gone: its series end.
    pub fn forget(&self, key: &PoolKey) {
        let labels = PoolLabels::from(key);
        for family in [
            &self.queued,
            &self.unmatched,
            &self.running,
            &self.desired,
            &self.orphaned,
            &self.foreign,
        ] {
            family.remove(&labels);
        }
        for phase in [
            "reserved", "starting", "idle", "busy", "draining", "failed", "retired",
        ] {
            let (namespace, pool) = (key.namespace.clone(), key.name.clone());
            self.agents.remove(&PhaseLabels {
                namespace,
                pool,
                phase,
            });
        }
    }

    /// Counts a call to a service.
    pub fn service_call<T>(&self, op: &'static str, result: &Result<T, dayfly_client::Error>) {
        let code = result
            .as_ref()
            .err()
            .map_or("ok", dayfly_client::Error::reason);
        self.service_requests
            .get_or_create(&CallLabels { op, code })
            .inc();
    }

    /// Counts a write to the API server.
    pub fn kube_write<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        result: &Result<T, kube::Error>,
    ) {
        let code = if result.is_ok() { "ok" } else { "error" };
        self.kube_requests
            .get_or_create(&WriteLabels {
                verb,
                resource,
                code,
            })
            .inc();
    }

    /// The exposition text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_has_the_documented_names() {
        let metrics = Metrics::new();
        let key = PoolKey {
            namespace: "ci".to_owned(),
            name: "linux".to_owned(),
        };
        metrics.planned(&key, &Plan::default(), 0);
        metrics
            .refusals
            .get_or_create(&ReasonLabels {
                reason: "wrong_uid",
            })
            .inc();
        let text = metrics.text();
        for name in [
            "dayfly_jobs_queued{namespace=\"ci\",pool=\"linux\"} 0",
            "dayfly_agents{namespace=\"ci\",pool=\"linux\",phase=\"busy\"} 0",
            "dayfly_identity_refusals_total{reason=\"wrong_uid\"} 1",
            "dayfly_build_info{version=",
            "dayfly_leader 0",
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
        metrics.credential_expires("contoso", Some(7));
        let series = "dayfly_credential_expiry_timestamp_seconds{connection=\"contoso\"} 7";
        assert!(metrics.text().contains(series));
        metrics.credential_expires("contoso", None);
        assert!(!metrics.text().contains("contoso"));
        metrics.forget(&key);
        assert!(!metrics.text().contains("pool=\"linux\""));
    }
}
