//! AgentPool: build capacity for one pool of a service.

use super::lifecycle::Lifecycle;
use super::scaling::Scaling;
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
    validation = Rule::new("!has(self.scaling.schedules) || self.scaling.schedules.all(s, (has(s.minIdle) ? s.minIdle : 0) <= (has(s.maxAgents) ? s.maxAgents : self.scaling.maxAgents))")
        .message("a schedule's minIdle must not exceed its maxAgents, or scaling.maxAgents if it has none"),
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
    /// How often they are removed.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("interval must be between 10s and 24h"))]
    #[serde(default = "interval")]
    pub interval: Span,
    /// Whether agents of the pool that are not ours are counted and reported. They are never touched.
    #[serde(default)]
    pub foreign_agents: ForeignAgents,
}

/// What is said of agents that are not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForeignAgents {
    /// Status, condition, Event and metric tell of them.
    #[default]
    Report,
    /// Nothing.
    Ignore,
}

impl Default for OrphanGc {
    fn default() -> Self {
        Self {
            mode: OrphanMode::Enforce,
            min_age: min_age(),
            interval: interval(),
            foreign_agents: ForeignAgents::default(),
        }
    }
}

fn min_age() -> Span {
    "5m".into()
}

fn interval() -> Span {
    "1m".into()
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
