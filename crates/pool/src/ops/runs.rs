//! Runs: make one with its jobs, go on with it when a job changed, ask for its end.
//!
//! [`create_run`] makes a run and starts the jobs that wait for no other. Whenever one of its jobs was taken or ended,
//! [`job_changed`] looks at the run again: [`run::decision`] says which of the jobs that waited start or are left out.

use super::endings::{cancel_request, complete_record, put_record};
use super::starting::{existing_pool, start_job};
use crate::message::Resolved;
use crate::rules::entities::{Plan, Pool, Project, Request, Run, RunJob, Source};
use crate::rules::refusal::Refusal;
use crate::rules::role::{Role, check_role};
use crate::rules::run::{self, Draft, Next};
use crate::rules::{queueing, timeline};
use crate::service::{Failure, Unit};
use crate::store::counters::{self, Counter};
use crate::store::{plans, projects, records, requests, roles, runs};
use dayfly_wire::build::{BuildReason, BuildStatus};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{BuildId, DefinitionId, JobId, PlanId, TimelineId};
use dayfly_wire::queue::{QueueJob, QueueVariable};
use dayfly_wire::secret::SecretText;
use dayfly_wire::timeline::Record;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What a job that waits is sealed for.
const SEALED: &str = "run-job";
const DEFAULT_DISPLAY_NAME: &str = "Job";

/// The pipeline that a run belongs to.
pub struct Pipeline {
    /// Its project.
    pub project: Project,
    /// Its id.
    pub id: DefinitionId,
    /// Its name.
    pub name: String,
}

/// A run that is to be made.
pub struct NewRun {
    /// Of which pipeline.
    pub pipeline: Pipeline,
    /// Why.
    pub reason: BuildReason,
    /// What it builds.
    pub source: Option<Source>,
    /// Who asked for it.
    pub requested_by: String,
    /// What was given for its variables, if it came from a pipeline file.
    pub given: Option<BTreeMap<String, String>>,
    /// Its jobs, in their order.
    pub jobs: Vec<NewJob>,
}

/// A job of a run that is to be made.
pub struct NewJob {
    /// The name that other jobs of the run wait for.
    pub name: String,
    /// The names of the jobs that must have ended before it starts.
    pub depends_on: Vec<String>,
    /// When it starts, as it was written.
    pub condition: Option<String>,
    /// What it is.
    pub job: QueueJob,
    /// The repositories that it names, at their commits.
    pub sources: Vec<Resolved>,
    /// Whether values that are `$[ ]` are worked out when it starts.
    pub has_expressions: bool,
}

/// A run that was made.
pub struct Created {
    /// The run as it is now.
    pub run: Run,
    /// The requests of the jobs that were started; one that no registered agent can run has ended already.
    pub started: Vec<Request>,
}

/// What a job is started from.
struct Material {
    job: QueueJob,
    sources: Vec<Resolved>,
    has_expressions: bool,
}

/// Makes a run, and starts the jobs that wait for no other.
pub async fn create_run(unit: &mut Unit<'_>, new: NewRun) -> Result<Created, Failure> {
    let pool = check(unit, &new).await?;
    let run = keep_run(unit, &new, pool).await?;
    let mut jobs = Vec::with_capacity(new.jobs.len());
    let mut at_once = HashMap::new();
    for (job, number) in new.jobs.into_iter().zip(1..) {
        let kept = new_job(number, &job);
        let material = Material {
            job: job.job,
            sources: job.sources,
            has_expressions: job.has_expressions,
        };
        let sealed = if kept.depends_on.is_empty() {
            at_once.insert(kept.id, material);
            String::new()
        } else {
            seal(unit, kept.id, material)?
        };
        runs::insert_job(unit.conn(), run.plan.build, &kept, &sealed).await?;
        let timeline = run.plan.timeline;
        put_record(unit, timeline, None, timeline::phase(&run.plan, &kept)).await?;
        put_record(unit, timeline, None, timeline::pending(&kept)).await?;
        jobs.push(kept);
    }
    put_record(unit, run.plan.timeline, None, timeline::stage(&run)).await?;
    advance(unit, run, jobs, at_once).await
}

/// Checks the run, its jobs, and that whoever asks for it may use their pools; answers the first one's pool.
async fn check(unit: &mut Unit<'_>, new: &NewRun) -> Result<Pool, Failure> {
    let drafts: Vec<_> = new
        .jobs
        .iter()
        .map(|job| Draft {
            name: &job.name,
            depends_on: &job.depends_on,
        })
        .collect();
    run::check(&drafts)?;
    let mut first = None;
    let roles = roles::of(unit.conn(), &new.requested_by).await?;
    for job in &new.jobs {
        queueing::check(&job.job)?;
        let pool = existing_pool(unit.conn(), &job.job.pool).await?;
        check_role(&new.requested_by, &roles, pool.id, Role::User)?;
        first.get_or_insert(pool);
    }
    Ok(first.ok_or_else(|| Refusal::invalid("jobs: a run has jobs"))?)
}

async fn keep_run(unit: &mut Unit<'_>, new: &NewRun, pool: Pool) -> Result<Run, Failure> {
    let now = unit.now;
    let build = BuildId(counters::next(unit.conn(), Counter::Build).await?);
    let plan = PlanId(Uuid::new_v4());
    let run = Run {
        plan: Plan {
            id: plan,
            project: new.pipeline.project.id,
            project_name: new.pipeline.project.name.clone(),
            // Clients take the plan's id for its timeline's often enough that they had better be one.
            timeline: TimelineId(plan.0),
            build,
            build_number: format!("{}.{build}", now.strftime("%Y%m%d")),
            definition: new.pipeline.id,
            definition_name: new.pipeline.name.clone(),
            created_at: now,
        },
        status: BuildStatus::NotStarted,
        result: None,
        reason: new.reason,
        pool: pool.id,
        pool_name: pool.name,
        source: new.source.clone(),
        requested_by: new.requested_by.clone(),
        given: new.given.clone(),
        keep_forever: false,
        queued_at: now,
        started_at: None,
        cancelled_at: None,
        finished_at: None,
    };
    plans::insert(unit.conn(), &run.plan).await?;
    runs::insert(unit.conn(), &run).await?;
    Ok(run)
}

fn new_job(number: i64, new: &NewJob) -> RunJob {
    let display_name = new.job.display_name.as_deref();
    RunJob {
        id: JobId(Uuid::new_v4()),
        number,
        name: new.name.clone(),
        display_name: display_name.unwrap_or(DEFAULT_DISPLAY_NAME).to_owned(),
        depends_on: new.depends_on.clone(),
        condition: new.condition.clone(),
        request: None,
        started_at: None,
        finished_at: None,
        result: None,
        status_message: None,
    }
}

/// A job was taken by an agent, or ended: its run may go on.
pub async fn job_changed(unit: &mut Unit<'_>, plan: PlanId, job: JobId) -> Result<(), Failure> {
    let Some(run) = runs::by_plan(unit.conn(), plan).await? else {
        return Ok(());
    };
    let jobs = runs::jobs(unit.conn(), run.plan.build).await?;
    if let Some(changed) = jobs.iter().find(|each| each.id == job) {
        put_phase(unit, &run.plan, changed).await?;
    }
    advance(unit, run, jobs, HashMap::new()).await?;
    Ok(())
}

/// Asks for the end of a run: jobs that run are told, the others end now.
pub async fn cancel_run(
    unit: &mut Unit<'_>,
    mut run: Run,
    reason: Option<String>,
) -> Result<(), Failure> {
    let now = unit.now;
    if !run::cancel(&mut run, now) {
        return Ok(());
    }
    runs::update(unit.conn(), &run).await?;
    let build = run.plan.build;
    for job in runs::jobs(unit.conn(), build).await? {
        let Some(id) = job.request.filter(|_| job.result.is_none()) else {
            continue;
        };
        if let Some(mut request) = requests::by_id(unit.conn(), id).await? {
            cancel_request(unit, &mut request, reason.clone()).await?;
        }
    }
    // Each job that ended has been followed by the run in the meantime.
    if let Some(run) = runs::by_id(unit.conn(), build).await? {
        let jobs = runs::jobs(unit.conn(), build).await?;
        advance(unit, run, jobs, HashMap::new()).await?;
    }
    Ok(())
}

/// Starts and leaves out jobs until all others wait, and brings the run up to date with them.
async fn advance(
    unit: &mut Unit<'_>,
    mut run: Run,
    mut jobs: Vec<RunJob>,
    mut at_once: HashMap<JobId, Material>,
) -> Result<Created, Failure> {
    let mut started = Vec::new();
    let mut outputs = None;
    while let Some(job) = run::ready(&run, &jobs) {
        let mut job = job.clone();
        let new = at_once.remove(&job.id);
        let waited = new.is_none();
        let mut material = match new {
            Some(material) => material,
            None => open(unit, job.id).await?,
        };
        // A job that waits for nobody sees nobody's outputs.
        if outputs.is_none() && !job.depends_on.is_empty() {
            let records = records::all(unit.conn(), run.plan.timeline, 0).await?;
            outputs = Some(run::outputs(&records));
        }
        let known = outputs.as_ref().unwrap_or(&NO_OUTPUTS);
        let written = written_variables(&material);
        let (next, values) = run::decision(&run, &job, &jobs, known, &written);
        match next {
            Next::Start => {
                give(&mut material.job, values);
                started.extend(start(unit, &run, &mut job, material, waited).await?);
            }
            Next::Leave { result, reason } => {
                leave_out(unit, &run, &mut job, result, reason).await?;
            }
        }
        if let Some(kept) = jobs.iter_mut().find(|kept| kept.id == job.id) {
            *kept = job;
        }
    }
    let now = unit.now;
    if run::follow(&mut run, &jobs, now) {
        runs::update(unit.conn(), &run).await?;
        put(unit, run.plan.timeline, timeline::stage(&run)).await?;
    }
    Ok(Created { run, started })
}

static NO_OUTPUTS: run::Outputs = run::Outputs::new();

/// The variables of a job that expressions may see: those that are not secret.
fn written_variables(material: &Material) -> Vec<(String, String)> {
    let variables = material.job.variables.iter();
    variables
        .filter(|_| material.has_expressions)
        .filter_map(|(name, variable)| match variable {
            QueueVariable::Plain(value) => Some((name, value)),
            QueueVariable::Full(full) if !full.is_secret => Some((name, &full.value)),
            QueueVariable::Full(_) => None,
        })
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect()
}

/// Puts the values of expressions in their place.
fn give(job: &mut QueueJob, values: BTreeMap<String, String>) {
    for (name, value) in values {
        match job.variables.get_mut(&name) {
            Some(QueueVariable::Plain(written)) => *written = SecretText::new(value),
            Some(QueueVariable::Full(full)) => full.value = SecretText::new(value),
            None => {}
        }
    }
}

/// Starts a job. One that waited and cannot be started any more fails, and the run goes on.
async fn start(
    unit: &mut Unit<'_>,
    run: &Run,
    job: &mut RunJob,
    material: Material,
    waited: bool,
) -> Result<Option<Request>, Failure> {
    let Material {
        job: asked,
        sources,
        ..
    } = material;
    let request = match start_job(unit, run, job, asked, &sources).await {
        Err(Failure::Refused(refusal)) if waited => {
            leave_out(unit, run, job, TaskResult::Failed, refusal.message).await?;
            return Ok(None);
        }
        other => other?,
    };
    job.request = Some(request.id);
    job.result = request.result;
    job.finished_at = request.finished_at;
    job.status_message.clone_from(&request.status_message);
    if job.result.is_some() {
        put_phase(unit, &run.plan, job).await?;
    }
    Ok(Some(request))
}

/// Ends a job that is not started.
async fn leave_out(
    unit: &mut Unit<'_>,
    run: &Run,
    job: &mut RunJob,
    result: TaskResult,
    reason: String,
) -> Result<(), Failure> {
    job.result = Some(result);
    job.finished_at = Some(unit.now);
    job.status_message = Some(reason);
    runs::left_out(unit.conn(), job).await?;
    let reason = job.status_message.as_deref();
    complete_record(unit, run.plan.timeline, job.id, result, reason).await?;
    put_phase(unit, &run.plan, job).await
}

async fn put_phase(unit: &mut Unit<'_>, plan: &Plan, job: &RunJob) -> Result<(), Failure> {
    put(unit, plan.timeline, timeline::phase(plan, job)).await
}

async fn put(unit: &mut Unit<'_>, timeline: TimelineId, patch: Record) -> Result<(), Failure> {
    let existing = records::find(unit.conn(), timeline, patch.id).await?;
    put_record(unit, timeline, existing, patch).await?;
    Ok(())
}

/// A job that waits, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    job: QueueJob,
    #[serde(default)]
    has_expressions: bool,
    sources: Vec<KeptSource>,
}

#[derive(Serialize, Deserialize)]
struct KeptSource {
    alias: String,
    project: String,
    repository: Uuid,
    reference: Option<String>,
    version: String,
}

fn seal(unit: &Unit<'_>, id: JobId, material: Material) -> Result<String, Failure> {
    let sources = material.sources.into_iter().map(|resolved| KeptSource {
        alias: resolved.alias,
        project: resolved.repository.project.id.to_string(),
        repository: resolved.repository.id,
        reference: resolved.reference,
        version: resolved.version,
    });
    let kept = Kept {
        job: material.job,
        has_expressions: material.has_expressions,
        sources: sources.collect(),
    };
    let written = serde_json::to_vec(&kept)
        .map_err(|_| Failure::Key("a job that waits cannot be written".to_owned()))?;
    let keys = &unit.service().keys;
    Ok(keys.seal(SEALED, &id.to_string(), &Zeroizing::new(written))?)
}

async fn open(unit: &mut Unit<'_>, id: JobId) -> Result<Material, Failure> {
    let broken = |what: &str| Failure::Key(format!("a stored job {what}"));
    let sealed = runs::sealed_job(unit.conn(), id).await?;
    let keys = &unit.service().keys;
    let plain = keys.open_sealed(SEALED, &id.to_string(), &sealed)?;
    let kept: Kept = serde_json::from_slice(&plain).map_err(|_| broken("does not parse"))?;
    let mut sources = Vec::with_capacity(kept.sources.len());
    for source in kept.sources {
        let project = source
            .project
            .parse()
            .map_err(|_| broken("names no project"))?;
        let id = source.repository.to_string();
        let repository = projects::find_repository(unit.conn(), project, &id).await?;
        sources.push(Resolved {
            alias: source.alias,
            repository: repository.ok_or_else(|| broken("names a repository that is gone"))?,
            reference: source.reference,
            version: source.version,
        });
    }
    Ok(Material {
        job: kept.job,
        sources,
        has_expressions: kept.has_expressions,
    })
}
