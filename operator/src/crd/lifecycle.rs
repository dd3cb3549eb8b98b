//! Deadlines in the life of an agent, and what is done when it ends otherwise.

use super::span::Span;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Deadlines in the life of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// From the creation of the pod to its agent listening.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("startupTimeout must be at least 10s"))]
    #[serde(default = "startup_timeout")]
    pub startup_timeout: Span,
    /// How long after it was scheduled a pod may fail to pull an image before it is replaced.
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')").message("imagePullGrace must be at most 1h"))]
    #[serde(default = "image_pull_grace")]
    pub image_pull_grace: Span,
    /// How long the deletion of an AgentPool may be held up by jobs and by the service.
    #[serde(default = "deregister_deadline")]
    pub deregister_deadline: Span,
    /// The longest time that a job may run; then it is failed and its agent removed. No limit when absent.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("jobTimeout must be at least 1m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_timeout: Option<Span>,
    /// How long a busy agent may finish its job after its pod was asked to go.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("terminationGracePeriod must be at least 1s"))]
    #[serde(default = "termination_grace_period")]
    pub termination_grace_period: Span,
    /// An idle agent older than this is replaced.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("maxIdleAge must be at least 1m"))]
    #[serde(default = "max_idle_age")]
    pub max_idle_age: Span,
    /// Whether busy agents are protected from eviction.
    #[serde(default)]
    pub eviction_policy: EvictionPolicy,
    /// What becomes of a job whose agent was lost.
    #[serde(default)]
    pub on_infrastructure_loss: InfrastructureLoss,
    /// How long a template waits after its agents failed to start.
    #[serde(default)]
    pub retry_backoff: RetryBackoff,
    /// What is kept of pods that ended.
    #[serde(default)]
    pub history: History,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            startup_timeout: startup_timeout(),
            image_pull_grace: image_pull_grace(),
            deregister_deadline: deregister_deadline(),
            job_timeout: None,
            termination_grace_period: termination_grace_period(),
            max_idle_age: max_idle_age(),
            eviction_policy: EvictionPolicy::default(),
            on_infrastructure_loss: InfrastructureLoss::default(),
            retry_backoff: RetryBackoff::default(),
            history: History::default(),
        }
    }
}

/// Whether busy agents are protected from eviction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvictionPolicy {
    /// By a PodDisruptionBudget, and by annotations for the autoscalers of nodes.
    #[default]
    Protect,
    /// They are not.
    Allow,
}

/// What becomes of a job whose agent was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InfrastructureLoss {
    /// The operator fails it at once, with the reason.
    #[default]
    FailJob,
    /// Nothing is done: the service notices when the job's lock lapses.
    None,
}

/// How long a template waits after its agents failed to start: doubled with every failure, and never for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("duration(self.initial) <= duration(self.max)").message("retryBackoff.initial must not exceed retryBackoff.max"))]
#[serde(rename_all = "camelCase")]
pub struct RetryBackoff {
    /// After the first failure.
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms')").message("retryBackoff.initial must be at least 100ms"))]
    #[serde(default = "retry_initial")]
    pub initial: Span,
    /// The longest.
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')").message("retryBackoff.max must be at most 1h"))]
    #[serde(default = "retry_max")]
    pub max: Span,
}

impl Default for RetryBackoff {
    fn default() -> Self {
        Self {
            initial: retry_initial(),
            max: retry_max(),
        }
    }
}

/// What is kept of pods that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Pods to keep whose agent ended as it should; the newest.
    #[schemars(range(min = 0, max = 100))]
    pub succeeded: i32,
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
            succeeded: 0,
            failed: 5,
            failed_ttl: "1h".into(),
        }
    }
}

fn startup_timeout() -> Span {
    "5m".into()
}

fn image_pull_grace() -> Span {
    "30s".into()
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

fn retry_initial() -> Span {
    "1s".into()
}

fn retry_max() -> Span {
    "1m".into()
}
