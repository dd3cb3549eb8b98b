//! What the listener and the worker say to each other, over a socket that the worker inherits. The job message
//! travels as the first frame's payload; nothing secret is in arguments, environment or files.

use crate::args::TokenForTasks;
use crate::host::frame::{FrameCodec, Limits};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::AgentId;
use dayfly_wire::proxy::Proxy;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A job message may be long.
pub(crate) const LIMITS: Limits = Limits {
    header: 1 << 20,
    payload: 50_000_000,
};

/// The listener's side.
pub(crate) type ListenerCodec = FrameCodec<FromWorker, ToWorker>;
/// The worker's side.
pub(crate) type WorkerCodec = FrameCodec<ToWorker, FromWorker>;

/// From the listener.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum ToWorker {
    /// Run the job in the payload. The first frame.
    Run {
        /// What the worker cannot know from the job.
        facts: Box<Facts>,
    },
    /// End the job; the listener kills the worker some time after `seconds`.
    Cancel {
        /// How long the job may take to end.
        seconds: u64,
    },
    /// The job's end may be reported: no second job can be assigned any more.
    MayComplete,
    /// How often live lines are wanted.
    FeedInterval {
        /// Milliseconds.
        milliseconds: u64,
    },
    /// Why the job container ended, as far as is known.
    Termination {
        /// For the job's issue.
        reason: Option<String>,
    },
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum FromWorker {
    /// The step host is gone; why? Answered by `Termination`.
    StepHostLost,
    /// The job has ended so, and is about to be reported.
    Ending {
        /// The job's result.
        result: TaskResult,
    },
    /// The service knows that the job has ended.
    Reported {
        /// The job's result.
        result: TaskResult,
    },
}

/// What the worker is told beside the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    /// The agent's id in the pool.
    pub(crate) agent_id: AgentId,
    /// The agent's name in the pool.
    pub(crate) agent_name: String,
    /// The version that it claims.
    pub(crate) agent_version: String,
    /// The pod's host name.
    pub(crate) machine_name: String,
    /// Certificates (PEM) beside the system's.
    pub(crate) ca_bundle: Option<String>,
    /// The proxy that the service is reached through.
    pub(crate) proxy: Option<Proxy>,
    /// The whole work volume.
    pub(crate) work: PathBuf,
    /// Where log pages wait.
    pub(crate) pages: PathBuf,
    /// The work directory, as steps see it.
    pub(crate) job_work: String,
    /// Where script bodies go, as steps see it.
    pub(crate) job_scripts: String,
    /// Where tasks are, as steps see it; the agent has them on the work volume.
    pub(crate) job_tasks: String,
    /// Archives of tasks that need not be downloaded.
    pub(crate) task_cache: PathBuf,
    /// The longest that a call of the service may take.
    pub(crate) call_limit: Option<Duration>,
    /// How long a service in trouble is tried.
    pub(crate) trouble_limit: Duration,
    /// The cache volume, when it is there.
    pub(crate) cache: PathBuf,
    /// Which tasks are given the job's token.
    pub(crate) token_for_tasks: TokenForTasks,
    /// The job container's image, where it is known.
    pub(crate) job_image: Option<String>,
}
