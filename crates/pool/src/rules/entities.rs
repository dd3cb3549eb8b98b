//! What the service knows about: the entities that rules read and change.

use dayfly_wire::agent::{AgentPublicKey, AgentReference, AgentStatus, Capabilities, Property};
use dayfly_wire::build::{BuildReason, BuildResult, BuildStatus, QueueStatus};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{
    AgentId, BuildId, ClientId, DefinitionId, JobId, MessageId, PlanId, PoolId, ProjectId,
    RequestId, SessionId, TimelineId,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An agent pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its id.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// What else it says of itself.
    pub settings: PoolSettings,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a pool says of itself beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolSettings {
    /// Whether new projects get a queue for it.
    pub auto_provision: bool,
    /// Whether agents are to update themselves.
    pub auto_update: bool,
    /// How many agents there should be.
    pub target_size: Option<i64>,
    /// Whether each of its agents takes one job.
    pub single_use_agents: bool,
    /// Typed properties.
    pub properties: BTreeMap<String, Property>,
}

/// An agent's registration.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its pool.
    pub pool: PoolId,
    /// Its name, unique in the pool.
    pub name: String,
    /// The version that it claims.
    pub version: Option<String>,
    /// The kernel's own description.
    pub os_description: Option<String>,
    /// Whether it may be given jobs.
    pub enabled: bool,
    /// Whether it is given one job at most.
    pub single_use: bool,
    /// How many jobs it has been given.
    pub jobs_taken: i64,
    /// Issuer and subject of its assertions.
    pub client_id: ClientId,
    /// Its public key.
    pub key: AgentPublicKey,
    /// Increases when the key is replaced; tokens carry it.
    pub key_version: i64,
    /// The id of the last message that was put in its queue.
    pub last_message: MessageId,
    /// What it was registered with.
    pub system_capabilities: Capabilities,
    /// What it said of itself when its session opened, if it said anything.
    pub reported_capabilities: Option<Capabilities>,
    /// Set by an administrator.
    pub user_capabilities: Capabilities,
    /// Typed properties.
    pub properties: BTreeMap<String, Property>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When a session last opened or ended.
    pub status_changed_at: Timestamp,
}

impl Agent {
    /// The short form that other documents carry.
    pub fn reference(&self, online: bool) -> AgentReference {
        AgentReference {
            id: self.id,
            name: self.name.clone(),
            version: self.version.clone(),
            os_description: self.os_description.clone(),
            enabled: Some(self.enabled),
            status: Some(status(online)),
            provisioning_state: Some(PROVISIONED.to_owned()),
        }
    }

    /// Its system capabilities as everybody sees them.
    pub fn shown_capabilities(&self) -> &Capabilities {
        let reported = self.reported_capabilities.as_ref();
        reported.unwrap_or(&self.system_capabilities)
    }
}

/// The only provisioning state that there is here.
pub const PROVISIONED: &str = "Provisioned";

/// Online means a live session.
pub fn status(online: bool) -> AgentStatus {
    if online {
        AgentStatus::Online
    } else {
        AgentStatus::Offline
    }
}

/// An agent's open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub agent: AgentId,
    /// The machine's name.
    pub owner_name: String,
    /// The key of its messages, sealed.
    pub sealed_key: String,
    /// The agent said that it takes no further job.
    pub leaving: bool,
    /// When it opened.
    pub created_at: Timestamp,
    /// When the agent last asked for messages.
    pub last_seen_at: Timestamp,
}

/// A message in an agent's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose queue.
    pub agent: AgentId,
    /// Increases per agent.
    pub id: MessageId,
    /// The message type.
    pub kind: String,
    /// The request that it is about.
    pub request: RequestId,
    /// The plain body; empty for a job, whose body is made when it is delivered.
    pub body: String,
}

/// A plan: one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// The project.
    pub project: ProjectId,
    /// The project's name.
    pub project_name: String,
    /// Its timeline.
    pub timeline: TimelineId,
    /// The run's id.
    pub build: BuildId,
    /// The run's number, for a person.
    pub build_number: String,
    /// The pipeline's id.
    pub definition: DefinitionId,
    /// The pipeline's name.
    pub definition_name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where a run's sources come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The repository's id.
    pub repository: uuid::Uuid,
    /// The repository's name.
    pub repository_name: String,
    /// The full ref; absent when a commit was named.
    pub branch: Option<String>,
    /// The commit.
    pub version: String,
}

/// A run of a pipeline. Its id, number and pipeline are its plan's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its plan.
    pub plan: Plan,
    /// Where it is in its life; follows from its jobs.
    pub status: BuildStatus,
    /// How it ended; follows from its jobs.
    pub result: Option<BuildResult>,
    /// Why there is a run.
    pub reason: BuildReason,
    /// The pool of its first job.
    pub pool: PoolId,
    /// That pool's name.
    pub pool_name: String,
    /// What it builds.
    pub source: Option<Source>,
    /// Who asked for it.
    pub requested_by: String,
    /// What was given for its variables; none for a run that came from no pipeline file.
    pub given: Option<BTreeMap<String, String>>,
    /// Not forgotten, however old.
    pub keep_forever: bool,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When an agent first took one of its jobs.
    pub started_at: Option<Timestamp>,
    /// When its end was asked for.
    pub cancelled_at: Option<Timestamp>,
    /// When its last job ended.
    pub finished_at: Option<Timestamp>,
}

/// A job of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunJob {
    /// Its id, which is its timeline record's too.
    pub id: JobId,
    /// Its place in the run, from 1.
    pub number: i64,
    /// The name that other jobs of the run wait for.
    pub name: String,
    /// What a person reads.
    pub display_name: String,
    /// The names of the jobs that must have ended before it starts.
    pub depends_on: Vec<String>,
    /// When it starts, as it was written; absent for "when those that it waits for succeeded".
    pub condition: Option<String>,
    /// Its request, once it was started.
    pub request: Option<RequestId>,
    /// When an agent took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub result: Option<TaskResult>,
    /// Why it ended so.
    pub status_message: Option<String>,
}

impl RunJob {
    /// Whether it waits for other jobs.
    pub fn is_pending(&self) -> bool {
        self.request.is_none() && self.result.is_none()
    }
}

/// A job request with what the rules need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id; requests of one priority are served in this order.
    pub id: RequestId,
    /// The pool.
    pub pool: PoolId,
    /// The plan.
    pub plan: Plan,
    /// The job.
    pub job: JobId,
    /// What a person reads.
    pub name: String,
    /// What an agent must offer.
    pub demands: Vec<String>,
    /// Registered agents that satisfied the demands when it was queued.
    pub matched: Vec<AgentReference>,
    /// Higher is served first; 0 unless somebody said otherwise.
    pub priority: i64,
    /// 0 for no limit.
    pub timeout_minutes: i64,
    /// How long a cancelled job may take.
    pub cancel_timeout_minutes: i64,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When an agent was reserved.
    pub assigned_at: Option<Timestamp>,
    /// When the agent acknowledged the message.
    pub acknowledged_at: Option<Timestamp>,
    /// When the agent first renewed the lock.
    pub received_at: Option<Timestamp>,
    /// Until when the agent holds it.
    pub locked_until: Option<Timestamp>,
    /// When its end was asked for.
    pub cancelled_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub result: Option<TaskResult>,
    /// Why it waits or how it ended.
    pub status_message: Option<String>,
    /// The agent that it was given to.
    pub agent: Option<AgentId>,
    /// That agent's name, which outlives its registration.
    pub agent_name: Option<String>,
}

impl Request {
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.finished_at.is_some()
    }

    /// Whether it waits for an agent.
    pub fn is_waiting(&self) -> bool {
        !self.is_finished() && self.assigned_at.is_none()
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its id.
    pub id: DefinitionId,
    /// Its project.
    pub project: Project,
    /// Its name, unique in the project.
    pub name: String,
    /// The file that says what it runs; absent for one that jobs are queued to one by one.
    pub file: Option<PipelineFile>,
    /// Whether it may be queued.
    pub queue_status: QueueStatus,
    /// Increases with every change.
    pub revision: i64,
    /// Why a push or a schedule did not queue it last time.
    pub problem: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A pipeline's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineFile {
    /// The repository that it is in.
    pub repository: Repository,
    /// Its path in there.
    pub path: String,
}

/// A git repository of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its id, which is also its directory's name.
    pub id: uuid::Uuid,
    /// Its project.
    pub project: Project,
    /// Its name.
    pub name: String,
    /// The branch of a checkout that names none.
    pub default_branch: String,
}

/// A personal access token, of which only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pat {
    /// Its id, by which it is revoked.
    pub id: uuid::Uuid,
    /// For a person.
    pub name: String,
    /// What it reaches, as it was written.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Somebody's being signed in to the web page; of its cookie only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSession {
    /// The access token that it was opened with.
    pub pat: uuid::Uuid,
    /// When.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}
