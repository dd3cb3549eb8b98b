//! Messages in an agent's queue.

use crate::ids::{JobId, MessageId};
use serde::{Deserialize, Serialize};

/// What travels: an envelope with a body that is encrypted when `iv` is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Increases per agent.
    pub message_id: MessageId,
    /// One of [`kind`]; compared without regard to case.
    pub message_type: String,
    /// Base64 of 16 bytes; absent for a plain body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<String>,
    /// Base64 of the ciphertext, or the plain JSON text.
    pub body: String,
}

/// The message types that an agent acts on.
pub mod kind {
    /// A job; the body is a [`crate::job::JobMessage`].
    pub const JOB: &str = "PipelineAgentJobRequest";
    /// Cancel a job; the body is a [`super::JobCancellation`].
    pub const CANCELLATION: &str = "JobCancellation";
    /// How often somebody looks at the log; the body is a [`super::JobMetadataUpdate`].
    pub const METADATA: &str = "JobMetadataUpdate";
    /// Update yourself; never obeyed here.
    pub const REFRESH: &str = "AgentRefresh";
}

/// Asks the agent to end a job within a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobCancellation {
    /// Which job.
    pub job_id: JobId,
    /// `hh:mm:ss`: how long the job has to end by itself.
    #[serde(default = "five_minutes")]
    pub timeout: String,
}

fn five_minutes() -> String {
    "00:05:00".to_owned()
}

/// Tells the agent how often to send console lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMetadataUpdate {
    /// Which job.
    pub job_id: JobId,
    /// Milliseconds between posts.
    #[serde(default)]
    pub post_lines_frequency_millis: Option<u64>,
}
