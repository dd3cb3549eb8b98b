//! Queueing a job, in the pool service's own words: Azure DevOps has pipelines for this, and nothing else.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST {project}/_apis/dayfly/jobs` | [`QueueJob`] | [`QueuedJob`] |
//! | `POST {project}/_apis/dayfly/jobs/{requestId}/cancel` | [`CancelJob`] or nothing | 204 |
//! | `GET {project}/_apis/dayfly/jobs/{requestId}` | none | [`QueuedJob`] |
//! | `GET {project}/_apis/dayfly/jobs/{requestId}/feed?after=N` | none | [`FeedPage`], held until there is more |
//! | `GET {project}/_apis/dayfly/pipelines/{definitionId}/variables` | none | the names of its secret variables |
//! | `PUT {project}/_apis/dayfly/pipelines/{definitionId}/variables/{name}` | [`SecretVariable`] | 204 |
//! | `DELETE {project}/_apis/dayfly/pipelines/{definitionId}/variables/{name}` | none | 204 |

use crate::event::TaskResult;
use crate::ids::{BuildId, JobId, PlanId, ProjectId, RecordId, RequestId, TaskId, TimelineId};
use crate::job::StepTarget;
use crate::secret::SecretText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A job to run. Unknown members are refused, so that a misspelt one is not silently ignored.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueJob {
    /// The pool, by name.
    pub pool: String,
    /// The pipeline's name; `job` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a person reads; `Job` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What an agent must offer; see [`crate::demand`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<String>,
    /// Variables of the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, QueueVariable>,
    /// The container image that the job needs; agents that run another refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The repository that `checkout: self` means, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A branch, a tag, a full ref or a commit of `repository`; its default branch when absent.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How long the job may run; 60 when absent, 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_in_minutes: Option<i64>,
    /// How long a cancelled job may take to end; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_timeout_in_minutes: Option<i64>,
    /// Jobs of a higher priority are served first; 0 when absent, from -10 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Whether scripts see the job's token without mapping it (`SYSTEM_ACCESSTOKEN`).
    #[serde(default)]
    pub scripts_access_token: bool,
    /// The steps, in order.
    #[serde(default)]
    pub steps: Vec<QueueStep>,
}

/// A variable: its value alone, or its value and whether it is secret.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum QueueVariable {
    /// `name: value`.
    Plain(SecretText),
    /// `name: {value, isSecret}`.
    Full(FullVariable),
}

/// The long form of a variable.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FullVariable {
    /// The value.
    pub value: SecretText,
    /// Whether it is masked, and kept from environments that do not map it.
    #[serde(default)]
    pub is_secret: bool,
    /// Whether steps may change it.
    #[serde(default)]
    pub is_read_only: bool,
}

/// A step; exactly one of `script`, `bash`, `checkout` and `task` is set.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueStep {
    /// A script for the default shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<SecretText>,
    /// A script for bash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bash: Option<SecretText>,
    /// `self`, or another repository of the project by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<String>,
    /// Any task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<QueueTask>,
    /// The name that expressions use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a person reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where a script runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment of the step; may name secrets as `$(name)`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, SecretText>,
    /// Inputs beside those that the short forms set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, SecretText>,
    /// When it runs; `succeeded()` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// A disabled step is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A failure becomes an issue.
    #[serde(default)]
    pub continue_on_error: bool,
    /// 0: no limit of its own.
    #[serde(default)]
    pub timeout_in_minutes: i64,
    /// At most 10.
    #[serde(default)]
    pub retry_count_on_task_failure: i64,
    /// What its output may say to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<StepTarget>,
}

/// A task by id, name and full version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueTask {
    /// The task's id.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Its full version, for example `2.1.0`.
    pub version: String,
}

/// A queued job's ids, and how it ended once it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedJob {
    /// Its request in the pool.
    pub request_id: RequestId,
    /// Its plan.
    pub plan_id: PlanId,
    /// Its job.
    pub job_id: JobId,
    /// The plan's timeline.
    pub timeline_id: TimelineId,
    /// The project.
    pub project_id: ProjectId,
    /// The run.
    pub build_id: BuildId,
    /// How it ended; a job that no registered agent can run has failed in the answer already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// Why it waits or how it ended, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
}

/// A secret variable of a pipeline, to be set. Nothing ever answers it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretVariable {
    /// Its value.
    pub value: SecretText,
}

/// Asks for the end of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelJob {
    /// For the people who look at the job later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Lines of a job's console feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedPage {
    /// The number of lines in `value`.
    pub count: usize,
    /// The lines, oldest first.
    pub value: Vec<FeedEntry>,
    /// The `after` of the next call.
    pub next: u64,
    /// Lines between `after` and the first of `value` that were dropped, because nobody read them in time.
    #[serde(default)]
    pub dropped: u64,
    /// How the job ended; no further line comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// Why it waits or how it ended, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
}

/// A line of the console feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedEntry {
    /// The step that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<RecordId>,
    /// Its number in the step's output, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// The text.
    pub line: String,
}

/// A git repository that the pool service hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRepository {
    /// Given by the service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Unique in its project; compared without regard to case.
    pub name: String,
    /// `refs/heads/main` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Where it is cloned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_short_and_a_long_form() {
        let job: QueueJob = serde_json::from_value(serde_json::json!({
            "pool": "linux",
            "variables": {"plain": "1", "secret": {"value": "2", "isSecret": true}},
            "steps": [{"script": "echo"}],
        }))
        .unwrap();
        assert!(
            matches!(&job.variables["plain"], QueueVariable::Plain(value) if value.expose() == "1")
        );
        assert!(
            matches!(&job.variables["secret"], QueueVariable::Full(full) if full.is_secret && full.value.expose() == "2")
        );
    }

    #[test]
    fn a_misspelt_member_is_refused_by_name() {
        let text = r#"{"pool": "linux", "step": []}"#;
        let error = serde_json::from_str::<QueueJob>(text).err().unwrap();
        assert!(error.to_string().contains("`step`"), "{error}");
    }
}
