//! Who may do what.
//!
//! Three kinds of caller: an administrator with scopes, an agent with its listen token, a job with its job token.
//! Every operation begins with one of the `require_*` functions; what none of them allows is refused.

use super::entities::{Agent, Pat, Plan, Repository, Request};
use super::reach::TokenScope;
use super::refusal::{Kind, Refusal};
use super::role::{Roles, require_in_pool};
use dayfly_keys::service_token::Purpose;
use dayfly_wire::build::{IdentityReference, UpdateBuild};
use dayfly_wire::ids::{AgentId, ClientId, JobId, PlanId, PoolId, ProjectId, RequestId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// One thing that a personal access token may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read pools, agents and requests.
    AgentPools,
    /// Change them.
    AgentPoolsManage,
    /// Read jobs, timelines and logs.
    Build,
    /// Queue and cancel jobs.
    BuildExecute,
    /// Clone.
    Code,
    /// Push, and make repositories.
    CodeWrite,
}

const SCOPES: [(Scope, &str); 6] = [
    (Scope::AgentPools, "agentpools"),
    (Scope::AgentPoolsManage, "agentpools_manage"),
    (Scope::Build, "build"),
    (Scope::BuildExecute, "build_execute"),
    (Scope::Code, "code"),
    (Scope::CodeWrite, "code_write"),
];

impl Scope {
    fn name(self) -> &'static str {
        SCOPES
            .iter()
            .find(|(scope, _)| *scope == self)
            .map_or("", |(_, name)| name)
    }

    /// Whether this scope includes `other`.
    fn includes(self, other: Self) -> bool {
        self == other
            || matches!(
                (self, other),
                (Self::AgentPoolsManage, Self::AgentPools)
                    | (Self::BuildExecute, Self::Build)
                    | (Self::CodeWrite, Self::Code)
            )
    }
}

/// The scopes of a personal access token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    fn allow(&self, wanted: Scope) -> bool {
        self.0.iter().any(|scope| scope.includes(wanted))
    }
}

impl FromStr for Scopes {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        let scopes: Result<Vec<_>, _> = names.map(parse_scope).collect();
        match scopes? {
            scopes if scopes.is_empty() => Err(Refusal::invalid("name at least one scope")),
            scopes => Ok(Self(scopes)),
        }
    }
}

fn parse_scope(name: &str) -> Result<Scope, Refusal> {
    SCOPES
        .iter()
        .find(|(_, known)| name.eq_ignore_ascii_case(known))
        .map(|(scope, _)| *scope)
        .ok_or_else(|| {
            let known: Vec<_> = SCOPES.iter().map(|(_, name)| *name).collect();
            Refusal::invalid(format!(
                "{name:?} is no scope; the scopes are {}",
                known.join(", ")
            ))
        })
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// The claims of a listen token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenClaims {
    /// The client that it was given to.
    pub sub: ClientId,
    /// The agent.
    pub agent: AgentId,
    /// Its pool.
    pub pool: PoolId,
    /// The version of its key.
    pub key: i64,
    /// Seconds.
    pub iat: i64,
    /// Seconds.
    pub exp: i64,
}

/// The claims of a job token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobClaims {
    /// The plan.
    pub plan: PlanId,
    /// The job.
    pub job: JobId,
    /// The request.
    pub request: RequestId,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// Whether it reads other projects too.
    pub scope: TokenScope,
    /// The repository that it may push to.
    pub push: Option<Uuid>,
    /// The agent that it was delivered to.
    pub agent: AgentId,
    /// Seconds.
    pub iat: i64,
    /// Seconds.
    pub exp: i64,
}

/// The claims of a service principal's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalClaims {
    /// The principal.
    pub sub: Uuid,
    /// The credential that it proved.
    pub credential: Uuid,
    /// The service.
    pub tid: Uuid,
    /// Seconds.
    pub iat: i64,
    /// Seconds.
    pub exp: i64,
}

/// What a listen token is for.
pub const LISTEN: Purpose<'static> = Purpose {
    typ: "dayfly-listen",
    audience: "dayfly:queue",
};
/// What a job token is for.
pub const JOB: Purpose<'static> = Purpose {
    typ: "dayfly-job",
    audience: "dayfly:plan",
};
/// What a service principal's token is for.
pub const PRINCIPAL: Purpose<'static> = Purpose {
    typ: "dayfly-principal",
    audience: super::principal::RESOURCE,
};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person or a program with a personal access token, or a service principal.
    Administrator {
        /// The token's name.
        name: String,
        /// What it reaches.
        scopes: Scopes,
        /// What it may do in which pool.
        roles: Roles,
    },
    /// An agent that listens.
    Listener(ListenClaims),
    /// A job that runs.
    Job(JobClaims),
}

impl Caller {
    /// Whoever has this personal access token, with the roles of its name.
    pub fn of_token(pat: Pat, roles: Roles) -> Result<Self, Refusal> {
        Ok(Self::Administrator {
            name: pat.name,
            scopes: pat.scopes.parse()?,
            roles,
        })
    }

    /// How a person knows the caller, for what is kept of what was asked for.
    pub fn name(&self) -> String {
        match self {
            Self::Administrator { name, .. } => name.clone(),
            Self::Listener(claims) => format!("agent {}", claims.agent),
            Self::Job(claims) => format!("job {}", claims.job),
        }
    }
}

/// Who somebody of this name is, in documents. The id is made from the name, and means nothing else.
pub fn identity(name: &str) -> IdentityReference {
    IdentityReference {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
        display_name: name.to_owned(),
        unique_name: name.to_owned(),
    }
}

/// Whether a personal access token counts.
pub fn pat_counts(pat: &Pat, now: Timestamp) -> bool {
    pat.revoked_at.is_none() && pat.expires_at.is_none_or(|end| now < end)
}

/// Whether a listen token still belongs to the registration that it was given to.
pub fn listener_counts(claims: &ListenClaims, agent: &Agent) -> bool {
    agent.id == claims.agent
        && agent.pool == claims.pool
        && agent.client_id == claims.sub
        && agent.key_version == claims.key
}

/// Whether a job token still belongs to a job that runs: it dies with the job, and with the agent's hold on it.
pub fn job_counts(claims: &JobClaims, request: &Request) -> bool {
    request.id == claims.request
        && request.job == claims.job
        && request.plan.id == claims.plan
        && request.agent == Some(claims.agent)
        && !request.is_finished()
}

/// An administrator with this scope.
pub fn require_scope(caller: &Caller, wanted: Scope) -> Result<(), Refusal> {
    match caller {
        Caller::Administrator { scopes, .. } if scopes.allow(wanted) => Ok(()),
        Caller::Administrator { name, .. } => Err(denied(format!(
            "the token {name:?} lacks the scope {}",
            wanted.name()
        ))),
        Caller::Listener(_) => Err(denied(
            "an agent's token reaches its own messages, session and job request only",
        )),
        Caller::Job(_) => Err(denied("a job's token reaches its own plan only")),
    }
}

/// The agent itself, at its own pool.
pub fn require_listener(caller: &Caller, pool: PoolId) -> Result<&ListenClaims, Refusal> {
    match caller {
        Caller::Listener(claims) if claims.pool == pool => Ok(claims),
        Caller::Listener(_) => Err(denied("the agent belongs to another pool")),
        Caller::Administrator { .. } | Caller::Job(_) => {
            Err(denied("only the agent itself may do this"))
        }
    }
}

/// An administrator who reads pools, or the agent that is asked about.
pub fn require_agent_reader(caller: &Caller, pool: PoolId, agent: AgentId) -> Result<(), Refusal> {
    match caller {
        Caller::Listener(claims) if claims.pool == pool && claims.agent == agent => Ok(()),
        Caller::Listener(_) | Caller::Administrator { .. } | Caller::Job(_) => {
            require_in_pool(caller, Scope::AgentPools, pool)
        }
    }
}

/// An administrator who reads pools, or the agent that the request was given to.
pub fn require_request_reader(caller: &Caller, request: &Request) -> Result<(), Refusal> {
    match caller {
        Caller::Listener(claims) => own_request(claims, request),
        Caller::Administrator { .. } | Caller::Job(_) => {
            require_in_pool(caller, Scope::AgentPools, request.pool)
        }
    }
}

/// The request is this agent's. A request that was taken back from its agent is nobody's, and answers as gone.
pub fn own_request(claims: &ListenClaims, request: &Request) -> Result<(), Refusal> {
    match request.agent {
        Some(agent) if agent == claims.agent && request.pool == claims.pool => Ok(()),
        None if request.pool == claims.pool => Err(Refusal::new(
            Kind::JobNotFound,
            format!("request {} is not assigned to this agent", request.id),
        )),
        Some(_) | None => Err(denied("the request belongs to another agent")),
    }
}

/// A job, of whichever plan: others are refused before they learn what there is.
pub fn require_job(caller: &Caller) -> Result<&JobClaims, Refusal> {
    match caller {
        Caller::Job(claims) => Ok(claims),
        Caller::Administrator { .. } | Caller::Listener(_) => {
            Err(denied("only a job may write for its own run"))
        }
    }
}

/// The job whose plan it is.
pub fn require_plan_writer(caller: &Caller, plan: PlanId) -> Result<&JobClaims, Refusal> {
    match caller {
        Caller::Job(claims) if claims.plan == plan => Ok(claims),
        Caller::Job(_) => Err(Refusal::new(
            Kind::PlanSecurity,
            "the job's token belongs to another plan",
        )),
        Caller::Administrator { .. } | Caller::Listener(_) => {
            Err(denied("only the job itself may report on its plan"))
        }
    }
}

/// The job whose plan it is, or an administrator who reads jobs.
pub fn require_plan_reader(caller: &Caller, plan: PlanId) -> Result<(), Refusal> {
    match caller {
        Caller::Job(_) => require_plan_writer(caller, plan).map(|_| ()),
        Caller::Administrator { .. } | Caller::Listener(_) => require_scope(caller, Scope::Build),
    }
}

/// The plan lies in the project that the path names.
pub fn require_plan_of_project(plan: &Plan, project: &str, hub: &str) -> Result<(), Refusal> {
    let is_its_project = match project.parse::<ProjectId>() {
        Ok(id) => plan.project == id,
        Err(_) => plan.project_name.to_lowercase() == project.to_lowercase(),
    };
    if is_its_project && hub.eq_ignore_ascii_case("build") {
        Ok(())
    } else {
        Err(plan_not_found(plan.id))
    }
}

/// No such plan.
pub fn plan_not_found(plan: PlanId) -> Refusal {
    Refusal::new(
        Kind::PlanNotFound,
        format!("no orchestration plan {plan} was found"),
    )
}

/// Changing a run: who may execute runs, or a job that gives its own another number; the job's claims.
pub fn require_build_changer<'a>(
    caller: &'a Caller,
    change: &UpdateBuild,
) -> Result<Option<&'a JobClaims>, Refusal> {
    match caller {
        Caller::Job(claims) if change.status.is_none() && change.keep_forever.is_none() => {
            Ok(Some(claims))
        }
        Caller::Job(_) => Err(denied(
            "a job changes the number of its run, and nothing else",
        )),
        Caller::Administrator { .. } | Caller::Listener(_) => {
            require_scope(caller, Scope::BuildExecute).map(|()| None)
        }
    }
}

/// Reading runs: a job of the project or with the collection's identity, or an administrator who reads jobs.
pub fn require_build_reader(caller: &Caller, project: ProjectId) -> Result<(), Refusal> {
    match caller {
        Caller::Job(claims) if claims.project == project => Ok(()),
        Caller::Job(claims) if claims.scope == TokenScope::Collection => Ok(()),
        Caller::Job(_) => Err(denied("the job belongs to another project")),
        Caller::Administrator { .. } | Caller::Listener(_) => require_scope(caller, Scope::Build),
    }
}

/// Whoever has a personal access token, whatever its scopes.
pub fn require_administrator(caller: &Caller) -> Result<(), Refusal> {
    match caller {
        Caller::Administrator { .. } => Ok(()),
        Caller::Listener(_) | Caller::Job(_) => require_scope(caller, Scope::Build),
    }
}

/// Reading a repository: a job of its project or with the collection's identity, or an administrator with `code`.
pub fn require_code_reader(caller: &Caller, project: ProjectId) -> Result<(), Refusal> {
    match caller {
        Caller::Job(claims) if claims.project == project => Ok(()),
        Caller::Job(claims) if claims.scope == TokenScope::Collection => Ok(()),
        Caller::Job(_) => Err(denied("the job belongs to another project")),
        Caller::Administrator { .. } | Caller::Listener(_) => require_scope(caller, Scope::Code),
    }
}

/// Pushing to a repository: a job whose own it is and whose pipeline allows it, or an administrator with `code_write`.
pub fn require_code_writer(
    caller: &Caller,
    repository: Option<&Repository>,
) -> Result<(), Refusal> {
    match caller {
        Caller::Job(claims) if claims.push.is_some() => {
            let own = repository.is_some_and(|repository| claims.push == Some(repository.id));
            own.then_some(())
                .ok_or_else(|| denied("a job pushes to its own repository only"))
        }
        Caller::Job(_) => Err(denied(
            "the job's pipeline does not allow its jobs to push: see `dayfly-pool pipelines --help`",
        )),
        Caller::Administrator { .. } | Caller::Listener(_) => {
            require_scope(caller, Scope::CodeWrite)
        }
    }
}

/// Reading a run's artifacts: a job of its project, or an administrator who reads jobs.
pub fn require_run_reader(caller: &Caller, project: Option<ProjectId>) -> Result<(), Refusal> {
    match caller {
        Caller::Job(claims) if project == Some(claims.project) => Ok(()),
        Caller::Job(_) => Err(denied("the run belongs to another project")),
        Caller::Administrator { .. } | Caller::Listener(_) => require_scope(caller, Scope::Build),
    }
}

/// Reading tasks: any job, or an administrator who reads pools.
pub fn require_task_reader(caller: &Caller) -> Result<(), Refusal> {
    match caller {
        Caller::Job(_) => Ok(()),
        Caller::Administrator { .. } | Caller::Listener(_) => {
            require_scope(caller, Scope::AgentPools)
        }
    }
}

fn denied(message: impl Into<String>) -> Refusal {
    Refusal::new(Kind::Denied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn administrator(scopes: &str) -> Caller {
        Caller::Administrator {
            name: "test".to_owned(),
            scopes: scopes.parse().unwrap(),
            roles: Roles::Unset,
        }
    }

    #[test]
    fn a_writing_scope_includes_the_reading_one_and_no_other() {
        let manager = administrator("agentpools_manage");
        assert!(require_scope(&manager, Scope::AgentPools).is_ok());
        assert!(require_scope(&manager, Scope::Build).is_err());
        let reader = administrator("agentpools, code");
        assert!(require_scope(&reader, Scope::AgentPoolsManage).is_err());
        assert!(require_scope(&reader, Scope::Code).is_ok());
        assert!(require_scope(&reader, Scope::CodeWrite).is_err());
    }

    #[test]
    fn unknown_scopes_are_refused_with_the_known_ones() {
        let refusal = "agentpool".parse::<Scopes>().unwrap_err();
        assert!(refusal.message.contains("agentpools_manage"), "{refusal}");
        assert!("".parse::<Scopes>().is_err());
    }

    #[test]
    fn scopes_are_written_as_they_are_read() {
        let text = "agentpools_manage,build_execute";
        assert_eq!(text.parse::<Scopes>().unwrap().to_string(), text);
    }
}
