//! Plan events: what the worker and the service tell the plan.

use crate::enums::wire_enum;
use crate::ids::{JobId, RequestId};
use serde::{Deserialize, Serialize};

wire_enum! {
    /// How a job or a step ended.
    TaskResult {
        /// All went well.
        Succeeded = 0 as "succeeded",
        /// Ended well, with warnings or errors that were allowed.
        SucceededWithIssues = 1 as "succeededWithIssues",
        /// Failed.
        Failed = 2 as "failed",
        /// Ended because somebody asked for it.
        Canceled = 3 as "canceled",
        /// Not run.
        Skipped = 4 as "skipped",
        /// The agent was lost.
        Abandoned = 5 as "abandoned",
    }
}

/// `JobCompleted`, the only event that an agent raises; the last call of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobEvent {
    /// [`JOB_COMPLETED`].
    pub name: String,
    /// Which job.
    pub job_id: JobId,
    /// Which request.
    #[serde(default)]
    pub request_id: RequestId,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// The agent takes no further job.
    #[serde(default)]
    pub agent_shutting_down: bool,
}

/// The name of the completion event.
pub const JOB_COMPLETED: &str = "JobCompleted";
