//! Job requests: the queue as everybody sees it.

use crate::agent::{AgentReference, map_or_null};
use crate::date;
use crate::event::TaskResult;
use crate::ids::{JobId, PlanId, PoolId, ProjectId, RequestId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A job that waits for an agent, runs on one, or has ended. Which dates exist tells where it is:
/// queued; + `assign_time` and `reserved_agent`: reserved; + `receive_time`: running; + `finish_time`: ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRequest {
    /// Its id.
    pub request_id: RequestId,
    /// When it was queued.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub queue_time: Option<Timestamp>,
    /// When an agent was reserved for it.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub assign_time: Option<Timestamp>,
    /// When the agent first renewed its lock.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub receive_time: Option<Timestamp>,
    /// When it ended.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub finish_time: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// Until when the agent holds it.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub locked_until: Option<Timestamp>,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<ProjectId>,
    /// `Build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_type: Option<String>,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// What a person reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// What an agent must offer, as text; see [`crate::demand`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<String>,
    /// The agent that it was given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_agent: Option<AgentReference>,
    /// Registered agents that satisfy the demands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched_agents: Vec<AgentReference>,
    /// The pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<OwnerReference>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerReference>,
    /// Further facts, such as `ParallelismTag`.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, String>,
    /// The pool.
    #[serde(default)]
    pub pool_id: PoolId,
    /// Higher is served first; absent for what is as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// The plan and the job, as one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration_id: Option<String>,
    /// Why it waits or how it ended, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
}

/// How much of the service's jobs at once is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceUsage {
    /// What there is.
    pub resource_limit: ResourceLimit,
    /// Jobs that run or are reserved.
    #[serde(default)]
    pub used_count: i64,
    /// Always 0: minutes are not counted here.
    #[serde(default)]
    pub used_minutes: i64,
    /// The jobs that run, when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running_requests: Vec<JobRequest>,
}

/// How many jobs run at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimit {
    /// `Private`: jobs on agents of one's own.
    #[serde(default)]
    pub parallelism_tag: String,
    /// Whether it is about the service's own machines.
    #[serde(default)]
    pub is_hosted: bool,
    /// Whether there is no limit.
    #[serde(default)]
    pub is_premium: bool,
    /// How many; absent when there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
}

/// A pipeline or a run, as a request refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerReference {
    /// Its id.
    pub id: i64,
    /// Its name.
    #[serde(default)]
    pub name: String,
}
