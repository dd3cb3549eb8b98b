//! The body of an unsuccessful answer.

use serde::{Deserialize, Serialize};

/// The namespace and assembly under which .NET clients look up an exception of this protocol.
const AGENT_EXCEPTIONS: &str = "Microsoft.TeamFoundation.DistributedTask.WebApi";

const SERVER_EXCEPTIONS: &str = "Microsoft.TeamFoundation.Framework.Server";
const SERVICES_EXCEPTIONS: &str = "Microsoft.VisualStudio.Services.WebApi";
const BUILD_EXCEPTIONS: &str = "Microsoft.TeamFoundation.Build.WebApi";
const BUILD_ASSEMBLY: &str = "Microsoft.TeamFoundation.Build2.WebApi";
const PROJECT_EXCEPTIONS: &str = "Microsoft.TeamFoundation.Core.WebApi";

/// The error body ("wrapped exception"). The official client picks its reaction by `type_name`, others by
/// `type_key`, so both are always sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceError {
    /// JSON.NET's object id; always "1".
    #[serde(rename = "$id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What happened and what to do, for a person.
    #[serde(default)]
    pub message: String,
    /// `Namespace.Class, Assembly`.
    #[serde(default)]
    pub type_name: String,
    /// The class name alone.
    #[serde(default)]
    pub type_key: String,
    /// Unused; 0.
    #[serde(default)]
    pub error_code: i64,
    /// Unused; 3000.
    #[serde(default)]
    pub event_id: i64,
}

impl ServiceError {
    /// An error of the agent protocol, with the names under which clients know it.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        let (namespace, assembly) = match key {
            key::UNAUTHORIZED => (SERVER_EXCEPTIONS, SERVER_EXCEPTIONS),
            key::PREVIEW_VERSION | key::VERSION_OUT_OF_RANGE | key::ACCESS_DENIED => {
                (SERVICES_EXCEPTIONS, SERVICES_EXCEPTIONS)
            }
            key::BUILD_NOT_FOUND
            | key::DEFINITION_NOT_FOUND
            | key::ARTIFACT_NOT_FOUND
            | key::ARTIFACT_EXISTS => (BUILD_EXCEPTIONS, BUILD_ASSEMBLY),
            key::PROJECT_NOT_FOUND => (PROJECT_EXCEPTIONS, PROJECT_EXCEPTIONS),
            _ => (AGENT_EXCEPTIONS, AGENT_EXCEPTIONS),
        };
        Self {
            id: Some("1".to_owned()),
            message: message.into(),
            type_name: format!("{namespace}.{key}, {assembly}"),
            type_key: key.to_owned(),
            error_code: 0,
            event_id: 3000,
        }
    }
}

/// Type keys that clients react to; each with the status that it travels with.
pub mod key {
    /// 409: the agent has a live session already.
    pub const SESSION_CONFLICT: &str = "TaskAgentSessionConflictException";
    /// 403: the session ended; make another.
    pub const SESSION_EXPIRED: &str = "TaskAgentSessionExpiredException";
    /// 404: no such agent.
    pub const AGENT_NOT_FOUND: &str = "TaskAgentNotFoundException";
    /// 404: no such pool.
    pub const POOL_NOT_FOUND: &str = "TaskAgentPoolNotFoundException";
    /// 409: an agent of that name is there already.
    pub const AGENT_EXISTS: &str = "TaskAgentExistsException";
    /// 409: the agent's request still runs; it cannot be deleted.
    pub const JOB_STILL_RUNNING: &str = "TaskAgentJobStillRunningException";
    /// 404: no such job request.
    pub const JOB_NOT_FOUND: &str = "TaskAgentJobNotFoundException";
    /// 404: no such project.
    pub const PROJECT_NOT_FOUND: &str = "ProjectDoesNotExistWithNameException";
    /// 404: no such run.
    pub const BUILD_NOT_FOUND: &str = "BuildNotFoundException";
    /// 404: no such pipeline.
    pub const DEFINITION_NOT_FOUND: &str = "DefinitionNotFoundException";
    /// 404: no such plan.
    pub const PLAN_NOT_FOUND: &str = "TaskOrchestrationPlanNotFoundException";
    /// 409: the plan, or another, has a timeline of that id.
    pub const TIMELINE_EXISTS: &str = "TimelineExistsException";
    /// 404: no such task, or not in this version.
    pub const TASK_NOT_FOUND: &str = "TaskDefinitionNotFoundException";
    /// 409: the task has that version already.
    pub const TASK_EXISTS: &str = "TaskDefinitionExistsException";
    /// 400: the version that is asked for needs `-preview`.
    pub const PREVIEW_VERSION: &str = "VssInvalidPreviewVersionException";
    /// 400: the version that is asked for is newer than any.
    pub const VERSION_OUT_OF_RANGE: &str = "VssVersionOutOfRangeException";
    /// 404: the run has no artifact of that name.
    pub const ARTIFACT_NOT_FOUND: &str = "ArtifactNotFoundException";
    /// 409: the run has an artifact of that name.
    pub const ARTIFACT_EXISTS: &str = "ArtifactExistsException";
    /// 403: the token does not belong to this plan.
    pub const PLAN_SECURITY: &str = "TaskOrchestrationPlanSecurityException";
    /// 403: authenticated, but not allowed.
    pub const ACCESS_DENIED: &str = "AccessDeniedException";
    /// 401: not authenticated.
    pub const UNAUTHORIZED: &str = "UnauthorizedRequestException";
    /// 400: the request makes no sense.
    pub const INVALID: &str = "ArgumentException";
    /// 404: anything else that is not there.
    pub const NOT_FOUND: &str = "VssResourceNotFoundException";
    /// 500: the service's own fault.
    pub const INTERNAL: &str = "VssServiceException";
}
