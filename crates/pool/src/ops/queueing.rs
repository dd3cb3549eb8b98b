//! Queues a single job: checks it, finds the sources that it names, and makes a run of it.

use super::jobs::document;
use super::repositories::ensure_project;
use super::runs::{NewJob, NewRun, Pipeline, create_run};
use crate::git;
use crate::message::Resolved;
use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::Source;
use crate::rules::queueing::{self, NamedRepository, SELF};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::run::ONLY_JOB;
use crate::service::{Failure, Service};
use crate::store::{definitions, projects};
use dayfly_wire::build::BuildReason;
use dayfly_wire::queue::{QueueJob, QueuedJob};

const DEFAULT_NAME: &str = "job";

impl Service {
    /// Queues a job to a pool, as a run of its own.
    pub async fn queue_job(
        &self,
        caller: &Caller,
        project: &str,
        job: QueueJob,
    ) -> Result<QueuedJob, Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        queueing::check(&job)?;
        let sources = self.resolve_all(project, &job).await?;
        let mut unit = self.begin().await?;
        let project = ensure_project(&mut unit, project).await?;
        let name = job
            .name
            .as_deref()
            .unwrap_or(DEFAULT_NAME)
            .trim()
            .to_owned();
        let now = unit.now;
        let id = definitions::named(unit.conn(), &project, &name, now).await?;
        let new = NewRun {
            pipeline: Pipeline { project, id, name },
            reason: BuildReason::Manual,
            source: source_of(&sources),
            requested_by: caller.name(),
            given: None,
            jobs: vec![NewJob {
                name: ONLY_JOB.to_owned(),
                depends_on: Vec::new(),
                condition: None,
                job,
                sources,
                has_expressions: false,
            }],
        };
        let created = create_run(&mut unit, new).await?;
        let request =
            created.started.into_iter().next().ok_or_else(|| {
                Refusal::new(Kind::Internal, "the job of the run was not started")
            })?;
        unit.commit().await?;
        Ok(document(&request))
    }

    async fn resolve_all(&self, project: &str, job: &QueueJob) -> Result<Vec<Resolved>, Failure> {
        let mut resolved = Vec::new();
        for named in queueing::named_repositories(job) {
            resolved.push(self.resolve(project, named).await?);
        }
        Ok(resolved)
    }

    /// Finds the commit of a repository that a job names.
    pub async fn resolve(
        &self,
        project: &str,
        named: NamedRepository,
    ) -> Result<Resolved, Failure> {
        let mut conn = self.store.read().await?;
        let found = projects::find(&mut conn, project).await?;
        let repository = match &found {
            Some(project) => projects::find_repository(&mut conn, project.id, &named.name).await?,
            None => None,
        };
        drop(conn);
        let repository = repository.ok_or_else(|| {
            let project = found.as_ref().map_or(project, |found| &found.name);
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

/// What a run builds: the sources that its job calls its own.
pub fn source_of(sources: &[Resolved]) -> Option<Source> {
    let own = sources.iter().find(|resolved| resolved.alias == SELF)?;
    Some(Source {
        repository: own.repository.id,
        repository_name: own.repository.name.clone(),
        branch: own.reference.clone(),
        version: own.version.clone(),
    })
}
