//! A pipeline's file to a run: reads it at a commit, and makes jobs of it.

use super::runs::{Created, NewJob, NewRun, Pipeline as RunPipeline, create_run};
use crate::git::reading::File;
use crate::git::{self, Found};
use crate::message::Resolved;
use crate::rules::entities::{Definition, PipelineFile, Source};
use crate::rules::pipeline::{self, Drafted, Given};
use crate::rules::queueing::{self, SELF};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::task::Uploaded;
use crate::service::{Failure, Service, Unit};
use crate::store::{pools, tasks};
use dayfly_pipeline::Pipeline;
use dayfly_wire::build::BuildReason;
use std::collections::BTreeMap;

/// The longest file that is read.
const MAX_FILE: usize = 256 * 1024;

/// Why a pipeline is to run, and with what.
pub struct Ask {
    /// Why.
    pub reason: BuildReason,
    /// Who asked.
    pub requested_by: String,
    /// Values for its variables.
    pub variables: BTreeMap<String, String>,
}

impl Service {
    /// A pipeline's file as it is in a commit.
    pub async fn pipeline_file(
        &self,
        file: &PipelineFile,
        commit: &str,
    ) -> Result<Pipeline, Failure> {
        let directory = self.repository_dir(&file.repository);
        let path = &file.path;
        let refused = |kind, what: &str| {
            let name = &file.repository.name;
            let place = format!("commit {commit} of repository {name:?}");
            Refusal::new(kind, format!("{path}: {what} in {place}"))
        };
        let text = match git::reading::file(&directory, commit, path, MAX_FILE).await? {
            File::Text(text) => text,
            File::Missing => return Err(refused(Kind::NotFound, "there is no such file").into()),
            File::TooLong => return Err(refused(Kind::Invalid, "the file is too long").into()),
            File::Binary => return Err(refused(Kind::Invalid, "the file is no text").into()),
        };
        let parsed = Pipeline::parse(&text);
        Ok(parsed.map_err(|problem| Refusal::invalid(problem.in_file(path)))?)
    }

    /// The commit of a pipeline's repository that is to be run: the one that is named, or that of the branch.
    async fn pipeline_commit(
        &self,
        file: &PipelineFile,
        branch: Option<&str>,
        commit: Option<&str>,
    ) -> Result<Found, Failure> {
        let branch = branch.filter(|text| !text.is_empty());
        let named = branch.unwrap_or(&file.repository.default_branch);
        let of_branch = self.resolved(file, named).await?;
        match commit {
            None => Ok(of_branch),
            Some(commit) => Ok(Found {
                reference: of_branch.reference,
                commit: self.resolved(file, commit).await?.commit,
            }),
        }
    }

    async fn resolved(&self, file: &PipelineFile, wanted: &str) -> Result<Found, Failure> {
        let found = git::resolve(&self.repository_dir(&file.repository), wanted).await?;
        Ok(found.ok_or_else(|| {
            let name = &file.repository.name;
            Refusal::invalid(format!(
                "repository {name:?} has no branch, tag or commit {wanted:?}; push it first"
            ))
        })?)
    }

    /// A run of a file's jobs, ready to be made. Whatever is wrong is refused here.
    pub async fn plan_run(
        &self,
        definition: &Definition,
        found: &Found,
        parsed: Pipeline,
        ask: &Ask,
    ) -> Result<NewRun, Failure> {
        let file = existing_file(definition)?;
        let secrets = self.opened_secrets(definition.id).await?;
        let tasks = self.named_tasks(&parsed).await?;
        let drafts = {
            let given = Given {
                name: &definition.name,
                path: &file.path,
                repository: &file.repository.name,
                version: &found.commit,
                variables: &ask.variables,
                tasks: &tasks,
            };
            pipeline::jobs(parsed, &given, &secrets)?
        };
        let mut jobs = Vec::new();
        for drafted in drafts {
            self.check_drafted(&drafted, &file.path).await?;
            let mut sources = self
                .drafted_sources(definition, &drafted, &file.path)
                .await?;
            name_branch(&mut sources, found);
            jobs.push(NewJob {
                name: drafted.name,
                depends_on: drafted.depends_on,
                condition: drafted.condition,
                job: drafted.job,
                sources,
                has_expressions: true,
            });
        }
        Ok(NewRun {
            pipeline: RunPipeline {
                project: definition.project.clone(),
                id: definition.id,
                name: definition.name.clone(),
            },
            reason: ask.reason,
            source: Some(Source {
                repository: file.repository.id,
                repository_name: file.repository.name.clone(),
                branch: found.reference.clone(),
                version: found.commit.clone(),
            }),
            requested_by: ask.requested_by.clone(),
            given: Some(ask.variables.clone()),
            jobs,
        })
    }

    /// What was uploaded of the tasks that a file names.
    async fn named_tasks(&self, parsed: &Pipeline) -> Result<Vec<Uploaded>, Failure> {
        let mut conn = self.store.read().await?;
        let mut found = Vec::new();
        for (name, major) in pipeline::named_tasks(parsed) {
            let versions = tasks::of_major(&mut conn, &name, major).await?;
            found.extend(versions.iter().map(Uploaded::of));
        }
        Ok(found)
    }

    /// Refuses with its place in the file what would be refused without one later.
    async fn check_drafted(&self, drafted: &Drafted, path: &str) -> Result<(), Failure> {
        queueing::check(&drafted.job).map_err(|refusal| {
            let problem = drafted.mark.problem(refusal.message);
            Refusal::new(refusal.kind, problem.in_file(path))
        })?;
        let pool = &drafted.job.pool;
        let mut conn = self.store.read().await?;
        if pools::by_name(&mut conn, pool).await?.is_none() {
            let what = format!("there is no agent pool {pool:?}");
            let problem = drafted.pool.problem(what).in_file(path);
            return Err(Refusal::new(Kind::PoolNotFound, problem).into());
        }
        Ok(())
    }

    async fn drafted_sources(
        &self,
        definition: &Definition,
        drafted: &Drafted,
        path: &str,
    ) -> Result<Vec<Resolved>, Failure> {
        let project = definition.project.id.to_string();
        let mut sources = Vec::new();
        for mut named in queueing::named_repositories(&drafted.job) {
            named.place = drafted.checkout(&named.alias).in_file(path);
            sources.push(self.resolve(&project, named).await?);
        }
        Ok(sources)
    }

    /// Queues a pipeline because somebody asked for it.
    pub async fn run_pipeline(
        &self,
        definition: &Definition,
        branch: Option<&str>,
        commit: Option<&str>,
        ask: &Ask,
    ) -> Result<Created, Failure> {
        let file = existing_file(definition)?;
        let found = self.pipeline_commit(file, branch, commit).await?;
        let parsed = self.pipeline_file(file, &found.commit).await?;
        let new = self.plan_run(definition, &found, parsed, ask).await?;
        let mut unit = self.begin().await?;
        let created = create_run(&mut unit, new).await?;
        unit.commit().await?;
        Ok(created)
    }
}

/// The file of a pipeline that has one.
pub fn existing_file(definition: &Definition) -> Result<&PipelineFile, Refusal> {
    definition.file.as_ref().ok_or_else(|| {
        Refusal::new(
            Kind::Invalid,
            format!(
                "pipeline {:?} has no file; jobs are queued to it one by one",
                definition.name
            ),
        )
    })
}

/// The commit was asked for as a commit; the run is about a branch all the same.
fn name_branch(sources: &mut [Resolved], found: &Found) {
    for source in sources.iter_mut().filter(|source| source.alias == SELF) {
        source.reference.clone_from(&found.reference);
    }
}

/// Makes a run in a unit that does more than that; what the rules refuse is an answer here, for it must not stop the rest.
pub async fn try_create(
    unit: &mut Unit<'_>,
    new: NewRun,
) -> Result<Result<Created, Refusal>, Failure> {
    match create_run(unit, new).await {
        Ok(created) => Ok(Ok(created)),
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(other) => Err(other),
    }
}
