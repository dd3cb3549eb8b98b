//! Spec -> [`ValidPool`]: durations read, defaults resolved, pods merged. What follows never meets an invalid value.

use super::build::merge::{self, MergeRefusal};
use super::schedule::{ScheduleProblem, ValidSchedule};
use crate::crd::lifecycle::{EvictionPolicy, InfrastructureLoss};
use crate::crd::pool::{AgentPool, ForeignAgents, OrphanMode};
use crate::crd::scaling::Surge;
use crate::crd::security::{Security, TokenForTasks};
use crate::crd::span::NotADuration;
use crate::crd::template::Template;
use crate::names;
use dayfly_wire::agent::Capabilities;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// A pool that can be planned for.
#[derive(Clone, Debug)]
pub struct ValidPool {
    /// The AgentPool's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The PoolConnection.
    pub connection: String,
    /// The pool in the service.
    pub pool: String,
    /// Start nothing.
    pub paused: bool,
    /// All templates together.
    pub max_agents: usize,
    /// Agents beyond what waiting jobs need.
    pub surge: ValidSurge,
    /// The most starts within a minute, if there is such a limit.
    pub starts_per_minute: Option<usize>,
    /// How often to poll.
    pub poll_interval: Duration,
    /// How long a surplus agent may idle.
    pub idle_timeout: Duration,
    /// How long there must have been a surplus.
    pub scale_down_delay: Duration,
    /// Whether the service's limit of jobs at once counts.
    pub respect_parallelism: bool,
    /// Other numbers at certain times.
    pub schedules: Vec<ValidSchedule>,
    /// From pod to listening.
    pub startup_timeout: Duration,
    /// How long an image may fail to be pulled.
    pub image_pull_grace: Duration,
    /// How long deletion may take.
    pub deregister_deadline: Duration,
    /// The longest that a job may run.
    pub job_timeout: Option<Duration>,
    /// How long a busy agent may finish.
    pub termination_grace: Duration,
    /// Older idle agents are replaced.
    pub max_idle_age: Duration,
    /// Whether busy agents are protected from eviction.
    pub eviction: EvictionPolicy,
    /// What becomes of a job whose agent was lost.
    pub on_loss: InfrastructureLoss,
    /// The first and the longest wait after failed starts.
    pub retry: Retry,
    /// How many pods are kept whose agent ended as it should.
    pub succeeded_history: usize,
    /// How many failed pods are kept.
    pub failed_history: usize,
    /// For how long.
    pub failed_ttl: Duration,
    /// What is done with orphans.
    pub orphan_mode: OrphanMode,
    /// Younger ones are left alone.
    pub orphan_min_age: Duration,
    /// How often they are removed.
    pub orphan_interval: Duration,
    /// Whether agents that are not ours are reported.
    pub foreign_agents: ForeignAgents,
    /// What the pods may do.
    pub security: Security,
    /// Which tasks are given the job's token.
    pub token_for_tasks: TokenForTasks,
    /// In the order in which they claim jobs; never empty.
    pub templates: Vec<ValidTemplate>,
}

/// Agents that start beyond those that waiting jobs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidSurge {
    /// So many.
    Count(usize),
    /// So many of a hundred waiting jobs.
    Percent(usize),
}

impl ValidSurge {
    /// How many that is; none while nothing waits.
    pub fn beyond(self, waiting: usize) -> usize {
        match self {
            Self::Count(_) if waiting == 0 => 0,
            Self::Count(count) => count,
            Self::Percent(percent) => (waiting * percent).div_ceil(100),
        }
    }
}

/// How long a template waits after failed starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

/// A template that can be planned for.
#[derive(Clone, Debug)]
pub struct ValidTemplate {
    /// Its name.
    pub name: String,
    /// The user's capabilities.
    pub capabilities: Capabilities,
    /// The built-in ones.
    pub offered: Capabilities,
    /// The most agents, if it has a limit of its own.
    pub own_max: Option<usize>,
    /// Idle agents to keep, unless a schedule says otherwise.
    pub min_idle: usize,
    /// Identities to keep in reserve.
    pub reserve: usize,
    /// Changes when what is registered changes.
    pub identity_hash: String,
    /// Changes when the pod changes.
    pub pod_hash: String,
    /// The user's pod, checked.
    pub pod: PodTemplateSpec,
    /// Why nothing can be started from it.
    pub refused: Option<String>,
}

/// Why a spec cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSpec {
    /// A duration.
    #[error("failed to read {field}: {problem}")]
    Span {
        /// Which.
        field: &'static str,
        /// What is wrong.
        problem: NotADuration,
    },
    /// The surge.
    #[error("scaling.surge {0:?} is neither a number nor a percentage such as 20%")]
    Surge(String),
    /// A schedule.
    #[error("schedule {name}: {problem}")]
    Schedule {
        /// Which.
        name: String,
        /// What is wrong.
        problem: ScheduleProblem,
    },
    /// No template.
    #[error("spec.templates is empty; name at least one template")]
    NoTemplate,
    /// An object that the API server did not complete.
    #[error("the AgentPool has no {0}")]
    Incomplete(&'static str),
}

/// Validates. `build_facts` is what the pods' hash depends on beside the template: images and addresses.
///
/// # Errors
/// A value that cannot be used; a template whose pod cannot be used is marked, and does not stop the others.
pub fn validate(pool: &AgentPool, build_facts: &str) -> Result<ValidPool, InvalidSpec> {
    let spec = &pool.spec;
    let lifecycle = &spec.lifecycle;
    let span = |field, span: &crate::crd::span::Span| {
        span.parse()
            .map_err(|problem| InvalidSpec::Span { field, problem })
    };
    if spec.templates.is_empty() {
        return Err(InvalidSpec::NoTemplate);
    }
    let termination_grace = span(
        "lifecycle.terminationGracePeriod",
        &lifecycle.termination_grace_period,
    )?;
    let salt = format!(
        "{build_facts}|{}|{:?}|{:?}",
        termination_grace.as_secs(),
        spec.security.profile,
        spec.token_for_tasks
    );
    Ok(ValidPool {
        name: pool.name_any(),
        namespace: pool
            .namespace()
            .ok_or(InvalidSpec::Incomplete("namespace"))?,
        uid: pool.uid().ok_or(InvalidSpec::Incomplete("uid"))?,
        connection: spec.connection.clone(),
        pool: spec.pool.clone(),
        paused: spec.paused,
        max_agents: count(spec.scaling.max_agents),
        surge: surge(&spec.scaling.surge)?,
        starts_per_minute: Some(count(spec.scaling.max_starts_per_minute)).filter(|most| *most > 0),
        poll_interval: span("scaling.pollInterval", &spec.scaling.poll_interval)?,
        idle_timeout: span("scaling.idleTimeout", &spec.scaling.idle_timeout)?,
        scale_down_delay: span("scaling.scaleDownDelay", &spec.scaling.scale_down_delay)?,
        respect_parallelism: spec.scaling.respect_parallelism,
        schedules: schedules(pool)?,
        startup_timeout: span("lifecycle.startupTimeout", &lifecycle.startup_timeout)?,
        image_pull_grace: span("lifecycle.imagePullGrace", &lifecycle.image_pull_grace)?,
        job_timeout: lifecycle
            .job_timeout
            .as_ref()
            .map(|limit| span("lifecycle.jobTimeout", limit))
            .transpose()?,
        eviction: lifecycle.eviction_policy,
        on_loss: lifecycle.on_infrastructure_loss,
        retry: Retry {
            initial: span(
                "lifecycle.retryBackoff.initial",
                &lifecycle.retry_backoff.initial,
            )?,
            max: span("lifecycle.retryBackoff.max", &lifecycle.retry_backoff.max)?,
        },
        succeeded_history: count(lifecycle.history.succeeded),
        deregister_deadline: span(
            "lifecycle.deregisterDeadline",
            &lifecycle.deregister_deadline,
        )?,
        termination_grace,
        max_idle_age: span("lifecycle.maxIdleAge", &lifecycle.max_idle_age)?,
        failed_history: count(lifecycle.history.failed),
        failed_ttl: span("lifecycle.history.failedTTL", &lifecycle.history.failed_ttl)?,
        orphan_mode: spec.orphan_gc.mode,
        orphan_min_age: span("orphanGC.minAge", &spec.orphan_gc.min_age)?,
        orphan_interval: span("orphanGC.interval", &spec.orphan_gc.interval)?,
        foreign_agents: spec.orphan_gc.foreign_agents,
        security: spec.security.clone(),
        token_for_tasks: spec.token_for_tasks,
        templates: spec
            .templates
            .iter()
            .enumerate()
            .map(|(index, template)| valid_template(pool, index, template, &salt))
            .collect(),
    })
}

fn surge(surge: &Surge) -> Result<ValidSurge, InvalidSpec> {
    match surge {
        Surge::Count(number) => Ok(ValidSurge::Count(count(*number))),
        Surge::Percent(text) => text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .filter(|percent| *percent <= 100)
            .map(ValidSurge::Percent)
            .ok_or_else(|| InvalidSpec::Surge(text.clone())),
    }
}

fn schedules(pool: &AgentPool) -> Result<Vec<ValidSchedule>, InvalidSpec> {
    let read = |schedule| {
        ValidSchedule::read(schedule).map_err(|problem| InvalidSpec::Schedule {
            name: schedule.name.clone(),
            problem,
        })
    };
    pool.spec.scaling.schedules.iter().map(read).collect()
}

fn valid_template(
    pool: &AgentPool,
    index: usize,
    template: &Template,
    salt: &str,
) -> ValidTemplate {
    let scaling = &pool.spec.scaling;
    let own_idle = if index == 0 { scaling.min_idle } else { 0 };
    let (pod, refused) = match merge::checked(template.pod.as_ref(), pool.spec.profile()) {
        Ok(pod) => (pod, None),
        Err(MergeRefusal(problem)) => (
            PodTemplateSpec::default(),
            Some(format!("template {}: {problem}", template.name)),
        ),
    };
    let pod_text = template
        .pod
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    ValidTemplate {
        name: template.name.clone(),
        identity_hash: hash(&[
            names::AGENT_VERSION,
            &format!("{:?}", template.capabilities),
        ]),
        pod_hash: hash(&[salt, &pod_text]),
        capabilities: template.capabilities.clone(),
        offered: built_in(None),
        own_max: template.max_agents.map(count),
        min_idle: count(template.min_idle.unwrap_or(own_idle)),
        reserve: count(
            pool.spec
                .reserve
                .size
                .unwrap_or_else(|| scaling.max_agents.min(5)),
        )
        .max(1),
        pod,
        refused,
    }
}

/// What every agent offers; the service and the plan see the same.
pub fn built_in(agent: Option<&str>) -> Capabilities {
    let architecture = if cfg!(target_arch = "aarch64") {
        "ARM64"
    } else {
        "X64"
    };
    let name = agent.unwrap_or_default();
    [
        ("Agent.Name", name),
        ("Agent.ComputerName", name),
        ("Agent.Version", names::AGENT_VERSION),
        ("Agent.OS", "Linux"),
        ("Agent.OSArchitecture", architecture),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Bounded by the CRD; what is out of bounds all the same is taken for zero.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pool(spec: &Value) -> AgentPool {
        serde_json::from_value(json!({
            "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
            "metadata": { "name": "linux", "namespace": "ci", "uid": "u-1" }, "spec": spec,
        }))
        .unwrap()
    }

    fn smallest() -> Value {
        json!({ "connection": "contoso", "pool": "k8s", "templates": [{ "name": "default" }] })
    }

    #[test]
    fn the_smallest_spec_gets_the_documented_defaults() {
        let valid = validate(&pool(&smallest()), "").unwrap();
        assert_eq!(
            (
                valid.max_agents,
                valid.templates[0].reserve,
                valid.templates[0].min_idle
            ),
            (10, 5, 0)
        );
        assert_eq!(valid.templates[0].own_max, None);
        assert_eq!(
            (valid.surge, valid.starts_per_minute),
            (ValidSurge::Count(0), None)
        );
        assert_eq!(valid.image_pull_grace, Duration::from_secs(30));
        assert_eq!(valid.poll_interval, Duration::from_secs(1));
    }

    #[test]
    fn min_idle_of_the_pool_belongs_to_the_first_template() {
        let mut spec = smallest();
        spec["scaling"] = json!({ "minIdle": 3, "maxAgents": 4 });
        spec["templates"] = json!([{ "name": "a" }, { "name": "b" }, { "name": "c", "minIdle": 2, "maxAgents": 1 }]);
        let valid = validate(&pool(&spec), "").unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let idle: Vec<_> = crate::pool::capacity::capacity(&valid, now)
            .templates
            .iter()
            .map(|share| (share.min_idle, share.max_agents))
            .collect();
        assert_eq!(idle, [(3, 4), (0, 4), (1, 1)]);
    }

    #[test]
    fn a_schedule_replaces_the_numbers_while_it_applies() {
        let mut spec = smallest();
        spec["scaling"] = json!({ "minIdle": 1, "maxAgents": 4, "schedules": [
            { "name": "day", "start": "08:00", "end": "18:00", "minIdle": 5, "maxAgents": 8 }] });
        spec["templates"] = json!([{ "name": "a" }, { "name": "b", "maxAgents": 6 }]);
        let valid = validate(&pool(&spec), "").unwrap();
        let at = |time: &str| crate::pool::capacity::capacity(&valid, time.parse().unwrap());
        let (day, night) = (at("2026-11-20T12:00:00Z"), at("2026-11-20T20:00:00Z"));
        assert_eq!((day.max_agents, day.schedule.as_deref()), (8, Some("day")));
        assert_eq!(
            (day.templates[0].min_idle, day.templates[1].max_agents),
            (5, 6)
        );
        assert_eq!((night.max_agents, night.templates[0].min_idle), (4, 1));
        assert_eq!((night.schedule, night.templates[1].max_agents), (None, 4));
    }

    #[test]
    fn surge_is_a_number_or_a_part_of_what_waits() {
        let surge = |surge: Value| {
            let mut spec = smallest();
            spec["scaling"] = json!({ "surge": surge });
            validate(&pool(&spec), "").map(|valid| valid.surge.beyond(11))
        };
        assert_eq!(surge(json!(3)), Ok(3));
        assert_eq!(surge(json!("20%")), Ok(3), "rounded up");
        assert!(
            surge(json!("many"))
                .unwrap_err()
                .to_string()
                .contains("many")
        );
        assert_eq!(ValidSurge::Count(3).beyond(0), 0, "only while jobs wait");
    }

    #[test]
    fn a_pod_change_leaves_the_reserve_alone_and_a_capability_change_does_not() {
        let before = validate(&pool(&smallest()), "")
            .unwrap()
            .templates
            .remove(0);
        let mut spec = smallest();
        spec["templates"][0]["pod"] = json!({ "spec": { "nodeSelector": { "a": "b" } } });
        let pod = validate(&pool(&spec), "").unwrap().templates.remove(0);
        assert_eq!(pod.identity_hash, before.identity_hash);
        assert_ne!(pod.pod_hash, before.pod_hash);
        spec["templates"][0]["capabilities"] = json!({ "java": "21" });
        let capability = validate(&pool(&spec), "").unwrap().templates.remove(0);
        assert_ne!(capability.identity_hash, before.identity_hash);
    }

    #[test]
    fn a_broken_template_is_named_and_does_not_stop_the_others() {
        let mut spec = smallest();
        spec["templates"] = json!([
            { "name": "bad", "pod": { "spec": { "containers": [{ "name": "extra" }] } } },
            { "name": "good" },
        ]);
        let valid = validate(&pool(&spec), "").unwrap();
        assert!(valid.templates[0].refused.as_ref().unwrap().contains("bad"));
        assert!(valid.templates[1].refused.is_none());
    }
}
