//! AgentPool: build capacity for one pool of a service.

use super::security::{Profile, Security, TokenForTasks};
use super::span::Span;
use super::status::AgentPoolStatus;
use super::template::Template;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pool of which service this namespace serves, with what kinds of agents, and how many.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dayfly.dev",
    version = "v1alpha1",
    kind = "AgentPool",
    plural = "agentpools",
    shortname = "apool",
    category = "dayfly",
    namespaced,
    status = "AgentPoolStatus",
    derive = "PartialEq",
    doc = "Build capacity for one pool of a service: agents that live for one job each, as many as the queue needs.",
    validation = Rule::new("size(self.metadata.name) <= 50").message("the name must not be longer than 50 characters"),
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Queued","type":"integer","jsonPath":".status.jobs.queued"}"#,
    printcolumn = r#"{"name":"Starting","type":"integer","jsonPath":".status.agents.starting"}"#,
    printcolumn = r#"{"name":"Idle","type":"integer","jsonPath":".status.agents.idle"}"#,
    printcolumn = r#"{"name":"Busy","type":"integer","jsonPath":".status.agents.busy"}"#,
    printcolumn = r#"{"name":"Min","type":"integer","jsonPath":".spec.scaling.minIdle"}"#,
    printcolumn = r#"{"name":"Max","type":"integer","jsonPath":".spec.scaling.maxAgents"}"#,
    printcolumn = r#"{"name":"Limited","type":"string","jsonPath":".status.limitedBy"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Connection","type":"string","jsonPath":".spec.connection","priority":1}"#,
    printcolumn = r#"{"name":"Reserved","type":"integer","jsonPath":".status.agents.reserved","priority":1}"#,
    printcolumn = r#"{"name":"LastPoll","type":"date","jsonPath":".status.service.lastSuccess","priority":1}"#
)]
#[x_kube(
    validation = Rule::new("self.connection == oldSelf.connection && self.pool == oldSelf.pool")
        .message("connection and pool are immutable; create another AgentPool"),
    validation = Rule::new("self.scaling.minIdle <= self.scaling.maxAgents")
        .message("scaling.minIdle must not exceed scaling.maxAgents"),
    validation = Rule::new("self.security.profile == 'Privileged' || self.templates.all(t, !has(t.pod) || !has(t.pod.spec) || ((!has(t.pod.spec.hostNetwork) || !t.pod.spec.hostNetwork) && (!has(t.pod.spec.hostPID) || !t.pod.spec.hostPID) && (!has(t.pod.spec.hostIPC) || !t.pod.spec.hostIPC)))")
        .message("hostNetwork, hostPID and hostIPC need security.profile Privileged"),
    validation = Rule::new("self.templates.all(t, !has(t.pod) || !has(t.pod.spec) || !has(t.pod.spec.shareProcessNamespace) || !t.pod.spec.shareProcessNamespace)")
        .message("shareProcessNamespace is refused: it would show the agent's process to the job"),
)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolSpec {
    /// The PoolConnection, in the operator's namespace, that allows this namespace and pool.
    #[schemars(length(min = 1, max = 50))]
    pub connection: String,
    /// The pool's name in the service.
    #[schemars(length(min = 1, max = 256))]
    pub pool: String,
    /// Whether to start no new agents. Running ones finish.
    #[serde(default)]
    pub paused: bool,
    /// How many agents.
    #[serde(default)]
    pub scaling: Scaling,
    /// The kinds of agents, in the order in which they claim jobs.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub templates: Vec<Template>,
    /// Which tasks are given the job's token. Scripts get it only when they map it, whatever this says.
    #[serde(default)]
    pub token_for_tasks: TokenForTasks,
    /// Registered identities without a pod.
    #[serde(default)]
    pub reserve: Reserve,
    /// Deadlines.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// What is done with registrations that belong to nothing.
    #[serde(default, rename = "orphanGC")]
    pub orphan_gc: OrphanGc,
    /// What the pods may do.
    #[serde(default)]
    pub security: Security,
}

/// How many agents there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Idle agents of the first template to keep.
    #[schemars(range(min = 0, max = 5000))]
    #[serde(default)]
    pub min_idle: i32,
    /// The most agents of all templates together.
    #[schemars(range(min = 0, max = 5000))]
    #[serde(default = "max_agents")]
    pub max_agents: i32,
    /// How often the service is asked while anything waits or starts.
    #[x_kube(validation = Rule::new("duration(self) >= duration('200ms') && duration(self) <= duration('5m')").message("pollInterval must be between 200ms and 5m"))]
    #[serde(default = "poll_interval")]
    pub poll_interval: Span,
    /// How long an agent beyond minIdle may be idle.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("idleTimeout must be at least 10s"))]
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Span,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min_idle: 0,
            max_agents: max_agents(),
            poll_interval: poll_interval(),
            idle_timeout: idle_timeout(),
        }
    }
}

/// Registered identities without a pod: they start without a wait, keep scaling working while the credential is
/// expired, and are the placeholder without which a service fails jobs of an empty pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reserve {
    /// For each template; the smaller of 5 and maxAgents when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub size: Option<i32>,
}

/// Deadlines in the life of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// From the creation of the pod to its agent listening.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("startupTimeout must be at least 10s"))]
    #[serde(default = "startup_timeout")]
    pub startup_timeout: Span,
    /// How long the deletion of an AgentPool may be held up by jobs and by the service.
    #[serde(default = "deregister_deadline")]
    pub deregister_deadline: Span,
    /// How long a busy agent may finish its job after its pod was asked to go.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("terminationGracePeriod must be at least 1s"))]
    #[serde(default = "termination_grace_period")]
    pub termination_grace_period: Span,
    /// An idle agent older than this is replaced.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("maxIdleAge must be at least 1m"))]
    #[serde(default = "max_idle_age")]
    pub max_idle_age: Span,
    /// What is kept of pods that ended.
    #[serde(default)]
    pub history: History,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            startup_timeout: startup_timeout(),
            deregister_deadline: deregister_deadline(),
            termination_grace_period: termination_grace_period(),
            max_idle_age: max_idle_age(),
            history: History::default(),
        }
    }
}

/// What is kept of pods that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Failed pods to keep; the newest.
    #[schemars(range(min = 0, max = 100))]
    pub failed: i32,
    /// How long a failed pod is kept at most.
    #[serde(rename = "failedTTL")]
    pub failed_ttl: Span,
}

impl Default for History {
    fn default() -> Self {
        Self {
            failed: 5,
            failed_ttl: "1h".into(),
        }
    }
}

/// Whether orphans are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrphanMode {
    /// Removed.
    #[default]
    Enforce,
    /// Counted and reported only.
    DryRun,
    /// Not looked for.
    Off,
}

/// What is done with registrations and Secrets that carry our mark and belong to no living AgentPool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrphanGc {
    /// Whether they are removed.
    #[serde(default)]
    pub mode: OrphanMode,
    /// Younger ones are left alone.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("minAge must be at least 1m"))]
    #[serde(default = "min_age")]
    pub min_age: Span,
}

impl Default for OrphanGc {
    fn default() -> Self {
        Self {
            mode: OrphanMode::Enforce,
            min_age: min_age(),
        }
    }
}

fn max_agents() -> i32 {
    10
}

fn poll_interval() -> Span {
    "1s".into()
}

fn idle_timeout() -> Span {
    "5m".into()
}

fn startup_timeout() -> Span {
    "5m".into()
}

fn deregister_deadline() -> Span {
    "10m".into()
}

fn termination_grace_period() -> Span {
    "1h".into()
}

fn max_idle_age() -> Span {
    "24h".into()
}

fn min_age() -> Span {
    "5m".into()
}

impl AgentPoolSpec {
    /// The profile that the pods keep.
    pub fn profile(&self) -> Profile {
        self.security.profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_pool_has_every_default() {
        let spec: AgentPoolSpec = serde_json::from_value(serde_json::json!({
            "connection": "contoso", "pool": "linux", "templates": [{ "name": "default" }],
        }))
        .unwrap();
        assert_eq!((spec.scaling.min_idle, spec.scaling.max_agents), (0, 10));
        assert_eq!(spec.lifecycle.history.failed, 5);
        assert_eq!(spec.profile(), Profile::Restricted);
        assert!(spec.reserve.size.is_none() && !spec.paused);
    }
}
