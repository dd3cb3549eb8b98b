//! Why a call is refused: a kind, which fixes the status and the type key, and a text for a person.

use dayfly_wire::error::key;
use std::fmt;

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No credential, or none that counts.
    Unauthorized,
    /// The credential does not reach that far.
    Denied,
    /// A job token at another plan.
    PlanSecurity,
    /// The document or a parameter makes no sense.
    Invalid,
    /// The body is larger than the service keeps.
    TooLarge,
    /// Nothing of that name.
    NotFound,
    /// No such pool.
    PoolNotFound,
    /// No such agent.
    AgentNotFound,
    /// No such job request, or not any more.
    JobNotFound,
    /// No such project.
    ProjectNotFound,
    /// No such run.
    BuildNotFound,
    /// No such pipeline.
    DefinitionNotFound,
    /// No such plan.
    PlanNotFound,
    /// No such task, or not in this version.
    TaskNotFound,
    /// The run has no artifact of that name.
    ArtifactNotFound,
    /// An agent of that name is there already.
    AgentExists,
    /// A timeline of that id is there already.
    TimelineExists,
    /// The task has that version already.
    TaskExists,
    /// The run has an artifact of that name already.
    ArtifactExists,
    /// Something of that name is there already.
    Exists,
    /// The agent holds a running request.
    JobStillRunning,
    /// The agent has a live session.
    SessionConflict,
    /// The session is over.
    SessionExpired,
    /// The version that is asked for needs `-preview`.
    PreviewVersion,
    /// The version that is asked for is newer than any here.
    VersionOutOfRange,
    /// Too much is asked at once; ask again.
    Busy,
    /// The service's own fault.
    Internal,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Denied | Self::PlanSecurity | Self::SessionExpired => 403,
            Self::Invalid | Self::PreviewVersion | Self::VersionOutOfRange => 400,
            Self::TooLarge => 413,
            Self::NotFound
            | Self::PoolNotFound
            | Self::AgentNotFound
            | Self::JobNotFound
            | Self::ProjectNotFound
            | Self::BuildNotFound
            | Self::DefinitionNotFound
            | Self::PlanNotFound
            | Self::TaskNotFound
            | Self::ArtifactNotFound => 404,
            Self::AgentExists
            | Self::TimelineExists
            | Self::TaskExists
            | Self::ArtifactExists
            | Self::Exists
            | Self::JobStillRunning
            | Self::SessionConflict => 409,
            Self::Busy => 503,
            Self::Internal => 500,
        }
    }

    /// The type key that clients react to.
    pub fn type_key(self) -> &'static str {
        match self {
            Self::Unauthorized => key::UNAUTHORIZED,
            Self::Denied => key::ACCESS_DENIED,
            Self::PlanSecurity => key::PLAN_SECURITY,
            Self::Invalid | Self::TooLarge | Self::Exists => key::INVALID,
            Self::NotFound => key::NOT_FOUND,
            Self::PoolNotFound => key::POOL_NOT_FOUND,
            Self::AgentNotFound => key::AGENT_NOT_FOUND,
            Self::JobNotFound => key::JOB_NOT_FOUND,
            Self::PlanNotFound => key::PLAN_NOT_FOUND,
            Self::ProjectNotFound => key::PROJECT_NOT_FOUND,
            Self::BuildNotFound => key::BUILD_NOT_FOUND,
            Self::DefinitionNotFound => key::DEFINITION_NOT_FOUND,
            Self::TaskNotFound => key::TASK_NOT_FOUND,
            Self::ArtifactNotFound => key::ARTIFACT_NOT_FOUND,
            Self::AgentExists => key::AGENT_EXISTS,
            Self::TimelineExists => key::TIMELINE_EXISTS,
            Self::TaskExists => key::TASK_EXISTS,
            Self::ArtifactExists => key::ARTIFACT_EXISTS,
            Self::PreviewVersion => key::PREVIEW_VERSION,
            Self::VersionOutOfRange => key::VERSION_OUT_OF_RANGE,
            Self::JobStillRunning => key::JOB_STILL_RUNNING,
            Self::SessionConflict => key::SESSION_CONFLICT,
            Self::SessionExpired => key::SESSION_EXPIRED,
            Self::Busy | Self::Internal => key::INTERNAL,
        }
    }
}

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub kind: Kind,
    /// What happened and what to do. Never repeats a secret.
    pub message: String,
}

impl Refusal {
    /// A refusal with its text.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The document or a parameter makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The one text for every credential that does not count, so that nobody learns why.
    pub fn unauthorized() -> Self {
        Self::new(
            Kind::Unauthorized,
            "access denied: authenticate with a valid token",
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
