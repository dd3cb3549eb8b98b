//! The status of an AgentPool.

use super::conditions::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator sees and does in a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The pool's id in the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_id: Option<i64>,
    /// How many jobs.
    #[serde(default)]
    pub jobs: JobCounts,
    /// How many agents.
    #[serde(default)]
    pub agents: AgentCounts,
    /// How many agents there should be.
    #[serde(default)]
    pub desired: i32,
    /// What keeps jobs waiting; empty when nothing does.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub limited_by: String,
    /// The schedule that applies; empty when none does.
    #[schemars(length(max = 40))]
    #[serde(default)]
    pub active_schedule: String,
    /// How many jobs the service runs at once, where it has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<ParallelismStatus>,
    /// The service.
    #[serde(default)]
    pub service: ServiceStatus,
    /// By template.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default)]
    pub templates: Vec<TemplateStatus>,
    /// Jobs that wait, with the reason; the 20 oldest.
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["request".into()]))]
    #[serde(default)]
    pub waiting: Vec<WaitingJob>,
    /// See the reference.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// How many jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobCounts {
    /// Waiting for an agent.
    pub queued: i32,
    /// Waiting, and no template satisfies their demands.
    pub unmatched: i32,
    /// Held by one of our agents.
    pub running: i32,
}

/// How many agents, by where they are in their life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentCounts {
    /// Registered, without a pod.
    pub reserved: i32,
    /// Have a pod and do not listen yet.
    pub starting: i32,
    /// Listen.
    pub idle: i32,
    /// Have a job.
    pub busy: i32,
    /// Are on their way out.
    pub draining: i32,
    /// Pods that failed and are kept.
    pub failed: i32,
    /// Wait to be disabled or deleted in the service.
    pub retired: i32,
    /// Carry our mark and belong to no living AgentPool.
    pub orphaned: i32,
    /// Agents of the pool that are not ours.
    pub foreign: i32,
}

/// How many jobs the service runs at once, on whatever agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParallelismStatus {
    /// At most.
    pub total: i32,
    /// Now.
    pub used: i32,
}

/// How the service answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// When it was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub last_poll: Option<String>,
    /// When it answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub last_success: Option<String>,
    /// Failures since.
    pub consecutive_errors: i32,
}

/// One template's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateStatus {
    /// The template.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Jobs that it claims and that wait.
    pub queued: i32,
    /// Registered, without a pod.
    pub reserved: i32,
    /// Have a pod and do not listen yet.
    pub starting: i32,
    /// Listen.
    pub idle: i32,
    /// Have a job.
    pub busy: i32,
}

/// A job that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WaitingJob {
    /// The request's id.
    pub request: i64,
    /// The template that claims it; empty when none does.
    #[schemars(length(max = 40))]
    pub template: String,
    /// Why it waits.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What a person should know.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub since: Option<String>,
}
