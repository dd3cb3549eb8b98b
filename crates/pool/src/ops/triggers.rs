//! Pushes queue pipelines.
//!
//! Git notes each move of a branch itself, and the store has up to which commit each branch was looked at. What lies between is
//! worked off after a push, and once in a while for pushes after which the service ended before it came to that.

use super::pipelines::{Ask, try_create};
use super::runs::NewRun;
use crate::beat::Beat;
use crate::git::reading::{self, Update};
use crate::git::{Found, GitError};
use crate::rules::entities::{Definition, Repository};
use crate::rules::pipeline::is_skipped;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::trigger;
use crate::service::{Failure, Service, Unit};
use crate::store::{branch_heads, definitions, schedules};
use dayfly_pipeline::file::Schedule;
use dayfly_wire::build::{BuildReason, QueueStatus};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often all repositories are looked at.
const INTERVAL: Duration = Duration::from_secs(300);

/// What a push means for a pipeline.
enum Outcome {
    /// A run.
    Run(Box<NewRun>),
    /// Nothing.
    Nothing,
    /// The file is wrong.
    Wrong(Refusal),
}

impl Service {
    /// Looks at every branch of a repository, and queues what its moves trigger.
    pub async fn check_in(&self, repository: &Repository) -> Result<(), Failure> {
        let (pipelines, seen) = {
            let mut conn = self.store.read().await?;
            let pipelines = definitions::of_repository(&mut conn, repository.id).await?;
            let seen = branch_heads::all(&mut conn, repository.id).await?;
            (pipelines, seen)
        };
        if pipelines.is_empty() {
            return Ok(());
        }
        let directory = self.repository_dir(repository);
        let branches: BTreeMap<_, _> = reading::branches(&directory).await?.into_iter().collect();
        for (branch, head) in &branches {
            let before = seen.get(branch).map(String::as_str);
            if before == Some(head) {
                continue;
            }
            let noted = reading::updates(&directory, branch).await?;
            let mut from = before.map(ToOwned::to_owned);
            for update in trigger::unseen(noted, before, head) {
                if !self
                    .moved(repository, &pipelines, branch, from.as_deref(), &update)
                    .await?
                {
                    // Somebody else works this branch off.
                    break;
                }
                from = Some(update.commit);
            }
        }
        for gone in seen.keys().filter(|branch| !branches.contains_key(*branch)) {
            let mut unit = self.begin().await?;
            branch_heads::delete(unit.conn(), repository.id, gone).await?;
            unit.commit().await?;
        }
        Ok(())
    }

    /// Works one move of a branch off, in one transaction; false when it is not at `from` any more.
    async fn moved(
        &self,
        repository: &Repository,
        pipelines: &[Definition],
        branch: &str,
        from: Option<&str>,
        update: &Update,
    ) -> Result<bool, Failure> {
        let mut outcomes = Vec::new();
        for definition in pipelines {
            let outcome = self.outcome(definition, branch, update).await?;
            let follows = branch == repository.default_branch;
            let schedules = if follows {
                self.schedules_at(definition, &update.commit).await?
            } else {
                None
            };
            outcomes.push((definition, outcome, schedules));
        }
        let mut unit = self.begin().await?;
        let now = unit.now;
        let stands = branch_heads::find(unit.conn(), repository.id, branch).await?;
        if stands.as_deref() != from {
            return Ok(false);
        }
        for (definition, outcome, schedules) in outcomes {
            if let Some(schedules) = schedules {
                schedules::replace(unit.conn(), definition.id, &schedules, now).await?;
            }
            let problem = match outcome {
                Outcome::Nothing => continue,
                Outcome::Run(new) => try_create(&mut unit, *new).await?.err(),
                Outcome::Wrong(refusal) => Some(refusal),
            };
            if let Some(refusal) = &problem {
                tracing::warn!(pipeline = %definition.name, branch, commit = %update.commit, %refusal, "a push did not queue a pipeline");
            }
            let problem = problem.map(|refusal| refusal.message);
            definitions::put_problem(unit.conn(), definition.id, problem.as_deref()).await?;
        }
        branch_heads::put(unit.conn(), repository.id, branch, &update.commit).await?;
        unit.commit().await?;
        Ok(true)
    }

    async fn outcome(
        &self,
        definition: &Definition,
        branch: &str,
        update: &Update,
    ) -> Result<Outcome, Failure> {
        let Some(file) = definition.file.as_ref() else {
            return Ok(Outcome::Nothing);
        };
        let may = definition.queue_status == QueueStatus::Enabled && trigger::counts(update);
        let directory = self.repository_dir(&file.repository);
        if !may || is_skipped(&reading::message(&directory, &update.commit).await?) {
            return Ok(Outcome::Nothing);
        }
        let found = Found {
            reference: Some(branch.to_owned()),
            commit: update.commit.clone(),
        };
        let ask = Ask {
            reason: BuildReason::IndividualCi,
            requested_by: trigger::token_of(&update.pusher).to_owned(),
            variables: BTreeMap::new(),
        };
        let planned = async {
            let parsed = match self.pipeline_file(file, &found.commit).await {
                // A branch without the file has no pipeline.
                Err(Failure::Refused(refusal)) if refusal.kind == Kind::NotFound => {
                    return Ok(Outcome::Nothing);
                }
                other => other?,
            };
            let takes = parsed
                .trigger
                .as_ref()
                .is_some_and(|filter| filter.takes(branch));
            if !takes {
                return Ok(Outcome::Nothing);
            }
            let new = self.plan_run(definition, &found, parsed, &ask).await?;
            Ok(Outcome::Run(Box::new(new)))
        };
        refused_or(planned.await)
    }

    /// The schedules of a pipeline's file; none when the file is wrong, and those of before stay.
    async fn schedules_at(
        &self,
        definition: &Definition,
        commit: &str,
    ) -> Result<Option<Vec<Schedule>>, Failure> {
        let Some(file) = definition.file.as_ref() else {
            return Ok(None);
        };
        match self.pipeline_file(file, commit).await {
            Ok(parsed) => Ok(Some(parsed.schedules)),
            Err(Failure::Refused(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Looks at all repositories that pipelines have their files in.
    pub async fn check_in_all(&self) -> Result<(), Failure> {
        let repositories = {
            let mut conn = self.store.read().await?;
            definitions::repositories(&mut conn).await?
        };
        for repository in repositories {
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = self.check_in(&repository).await {
                tracing::error!(repository = %repository.name, %error, "failed to look at what was pushed; it is repeated");
            }
        }
        Ok(())
    }

    /// Looks at all repositories until the service ends, beginning with what was pushed before it started.
    pub async fn keep_checking_in(&self) {
        let mut beat = Beat::new(INTERVAL, &self.shutdown);
        while beat.next().await {
            if let Err(error) = self.check_in_all().await {
                tracing::error!(%error, "failed to look for pushes; it is repeated");
            }
        }
    }
}

/// A pipeline was made: what its repository has by now triggers nothing, and its schedules count from now on.
///
/// Git is asked inside of the unit, so that nobody sees the pipeline without this.
pub async fn begin_triggers(unit: &mut Unit<'_>, definition: &Definition) -> Result<(), Failure> {
    let Some(file) = definition.file.as_ref() else {
        return Ok(());
    };
    let (service, now, repository) = (unit.service(), unit.now, &file.repository);
    let branches = reading::branches(&service.repository_dir(repository)).await?;
    let seen = branch_heads::all(unit.conn(), repository.id).await?;
    for (branch, commit) in &branches {
        if !seen.contains_key(branch) {
            branch_heads::put(unit.conn(), repository.id, branch, commit).await?;
        }
        if *branch == repository.default_branch
            && let Some(schedules) = service.schedules_at(definition, commit).await?
        {
            schedules::replace(unit.conn(), definition.id, &schedules, now).await?;
        }
    }
    Ok(())
}

/// What is wrong with a file is an outcome; what is wrong with the service is not. Git that fails on a commit counts
/// as the commit's fault, for it would fail again.
fn refused_or(outcome: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
    match outcome {
        Err(Failure::Refused(refusal)) => Ok(Outcome::Wrong(refusal)),
        Err(Failure::Git(error @ GitError::Failed { .. })) => {
            Ok(Outcome::Wrong(Refusal::invalid(error.to_string())))
        }
        other => other,
    }
}
