//! Queues a job: checks it, finds what it names, composes its message, and gives it to an agent if one is idle.

use super::dispatch::dispatch_request;
use super::endings::{EndedBy, end_request, put_record};
use super::jobs::document;
use super::messages::SEALED;
use super::repositories::ensure_project;
use crate::git;
use crate::message::{self, Facts, Resolved};
use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::{Agent, Plan, Pool, Project, Request};
use crate::rules::queueing::{self, NamedRepository, Times};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::{queue, timeline};
use crate::service::{Failure, Service, Unit};
use crate::store::counters::{self, Counter};
use crate::store::{agents, plans, pools, projects, requests};
use dayfly_wire::agent::AgentReference;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, BuildId, JobId, PlanId, RequestId, TimelineId};
use dayfly_wire::queue::{QueueJob, QueuedJob};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Agents that are loaded at once while matching: as many as are named when all of them match.
const PAGE: i64 = 20;
/// Agents that are remembered for saying why none matches.
const SAMPLE: usize = 1000;
const DEFAULT_NAME: &str = "job";
const DEFAULT_DISPLAY_NAME: &str = "Job";

impl Service {
    /// Queues a job to a pool.
    pub async fn queue_job(
        &self,
        caller: &Caller,
        project: &str,
        job: QueueJob,
    ) -> Result<QueuedJob, Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let times = queueing::check(&job)?;
        let repositories = self.resolve_all(project, &job).await?;
        let mut unit = self.begin().await?;
        let project = ensure_project(&mut unit, project).await?;
        let pool = pools::by_name(unit.conn(), &job.pool).await?;
        let pool = pool.ok_or_else(|| {
            Refusal::new(
                Kind::PoolNotFound,
                format!("pool: there is no agent pool {:?}", job.pool),
            )
        })?;
        let matched = match_agents(&mut unit, &pool, &job.demands).await?;
        let mut request = new_request(&mut unit, &pool, &project, &job, times).await?;
        let reason = match matched {
            Ok(matched) => {
                request.matched = matched;
                None
            }
            Err(reason) => Some(reason),
        };
        self.keep(&mut unit, &request, job, &repositories).await?;
        self.metrics.jobs_queued.add();
        unit.wake_followers(request.id);
        if let Some(reason) = reason {
            let failed = TaskResult::Failed;
            end_request(
                &mut unit,
                &mut request,
                failed,
                Some(reason),
                EndedBy::Service,
            )
            .await?;
        } else {
            request = dispatch_request(&mut unit, request).await?;
        }
        unit.commit().await?;
        Ok(document(&request))
    }

    /// Stores the request with its sealed message and its job's record.
    async fn keep(
        &self,
        unit: &mut Unit<'_>,
        request: &Request,
        job: QueueJob,
        repositories: &[Resolved],
    ) -> Result<(), Failure> {
        let step_ids: Vec<Uuid> = job.steps.iter().map(|_| Uuid::new_v4()).collect();
        let facts = Facts {
            request,
            base_url: &self.settings.public_url,
            instance: self.keys.instance,
            repositories,
            step_ids: &step_ids,
        };
        let composed = serde_json::to_vec(&message::compose(job, &facts));
        let composed = Zeroizing::new(
            composed.map_err(|_| Failure::Key("a job message cannot be written".to_owned()))?,
        );
        let sealed = self.keys.seal(SEALED, &request.id.to_string(), &composed)?;
        plans::insert(unit.conn(), &request.plan).await?;
        requests::insert(unit.conn(), request, &sealed).await?;
        put_record(unit, request, None, timeline::pending(request)).await?;
        Ok(())
    }

    async fn resolve_all(&self, project: &str, job: &QueueJob) -> Result<Vec<Resolved>, Failure> {
        let mut resolved = Vec::new();
        for named in queueing::named_repositories(job) {
            resolved.push(self.resolve(project, named).await?);
        }
        Ok(resolved)
    }

    async fn resolve(&self, project: &str, named: NamedRepository) -> Result<Resolved, Failure> {
        let repository = {
            let mut conn = self.store.read().await?;
            match projects::find(&mut conn, project).await? {
                Some(project) => {
                    projects::find_repository(&mut conn, project.id, &named.name).await?
                }
                None => None,
            }
        };
        let repository = repository.ok_or_else(|| {
            Refusal::invalid(format!(
                "{}: there is no repository {:?} in project {project:?}",
                named.place, named.name
            ))
        })?;
        let wanted = named
            .reference
            .as_deref()
            .unwrap_or(&repository.default_branch);
        let directory = self.repository_dir(&repository);
        let found = git::resolve(&directory, wanted).await?;
        let found = found.ok_or_else(|| {
            Refusal::invalid(format!(
                "{}: repository {:?} has no branch, tag or commit {wanted:?}; push it first",
                if named.reference.is_some() {
                    "ref"
                } else {
                    &named.place
                },
                named.name
            ))
        })?;
        Ok(Resolved {
            alias: named.alias,
            repository,
            reference: found.reference,
            version: found.commit,
        })
    }
}

/// The agents that satisfy the demands, or why none does.
async fn match_agents(
    unit: &mut Unit<'_>,
    pool: &Pool,
    demands: &[String],
) -> Result<Result<Vec<AgentReference>, String>, Failure> {
    let now = unit.now;
    let mut matched = Vec::new();
    let mut sample: Vec<Agent> = Vec::new();
    let mut after = AgentId(0);
    loop {
        let page = agents::page(unit.conn(), pool.id, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.agent.id;
        for listed in page {
            if queue::satisfies(demands, &listed.agent.capabilities()) {
                matched.push(listed.agent.reference(listed.is_online(now)));
                if matched.len() == queue::MATCHED {
                    return Ok(Ok(matched));
                }
            } else if matched.is_empty() && sample.len() < SAMPLE {
                sample.push(listed.agent);
            }
        }
    }
    if matched.is_empty() {
        return Ok(Err(queue::unmatched_reason(&pool.name, demands, &sample)));
    }
    Ok(Ok(matched))
}

async fn new_request(
    unit: &mut Unit<'_>,
    pool: &Pool,
    project: &Project,
    job: &QueueJob,
    times: Times,
) -> Result<Request, Failure> {
    let now = unit.now;
    let definition_name = job
        .name
        .as_deref()
        .unwrap_or(DEFAULT_NAME)
        .trim()
        .to_owned();
    let definition = projects::definition(unit.conn(), project, &definition_name).await?;
    let build = BuildId(counters::next(unit.conn(), Counter::Build).await?);
    let id = RequestId(counters::next(unit.conn(), Counter::Request).await?);
    let plan = PlanId(Uuid::new_v4());
    Ok(Request {
        id,
        pool: pool.id,
        plan: Plan {
            id: plan,
            project: project.id,
            project_name: project.name.clone(),
            // Clients take the plan's id for its timeline's often enough that they had better be one.
            timeline: TimelineId(plan.0),
            build,
            build_number: format!("{}.{build}", now.strftime("%Y%m%d")),
            definition,
            definition_name,
            created_at: now,
        },
        job: JobId(Uuid::new_v4()),
        name: job
            .display_name
            .clone()
            .unwrap_or_else(|| DEFAULT_DISPLAY_NAME.to_owned()),
        demands: job.demands.clone(),
        matched: Vec::new(),
        timeout_minutes: times.timeout_minutes,
        cancel_timeout_minutes: times.cancel_timeout_minutes,
        queued_at: now,
        assigned_at: None,
        acknowledged_at: None,
        received_at: None,
        locked_until: None,
        cancelled_at: None,
        finished_at: None,
        result: None,
        status_message: None,
        agent: None,
        agent_name: None,
    })
}
