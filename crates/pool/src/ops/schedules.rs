//! Schedules queue pipelines.

use super::pipelines::{Ask, existing_file, try_create};
use super::runs::NewRun;
use crate::beat::Beat;
use crate::git::Found;
use crate::git::reading;
use crate::rules::entities::Definition;
use crate::rules::refusal::Refusal;
use crate::service::{Failure, Service};
use crate::store::definitions;
use crate::store::schedules::{self, Kept};
use dayfly_pipeline::cron::{Cron, due};
use dayfly_wire::build::{BuildReason, QueueStatus};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the service looks at its schedules.
const INTERVAL: Duration = Duration::from_secs(10);

/// A branch that is due.
struct Due {
    branch: String,
    commit: String,
    planned: Result<NewRun, Refusal>,
}

impl Service {
    /// Queues what is due; answers how many runs.
    pub async fn run_schedules(&self) -> Result<usize, Failure> {
        let kept = {
            let mut conn = self.store.read().await?;
            schedules::all(&mut conn).await?
        };
        let mut runs = 0;
        for schedule in kept {
            match self.run_schedule(&schedule).await {
                Ok(queued) => runs += queued,
                Err(error) => {
                    let pipeline = schedule.definition;
                    tracing::error!(%pipeline, %error, "failed to queue what a schedule asks for; it is repeated");
                }
            }
        }
        Ok(runs)
    }

    async fn run_schedule(&self, kept: &Kept) -> Result<usize, Failure> {
        let now = self.now();
        let Ok(cron) = Cron::parse(&kept.schedule.cron, &kept.schedule.time_zone) else {
            return Ok(0);
        };
        if due(&cron, kept.seen_at, now).is_none() {
            return Ok(0);
        }
        let definition = {
            let mut conn = self.store.read().await?;
            definitions::by_id(&mut conn, kept.definition).await?
        };
        let definition = definition.filter(|found| found.queue_status == QueueStatus::Enabled);
        let branches = match &definition {
            Some(definition) => self.due_branches(definition, kept).await?,
            None => Vec::new(),
        };
        let mut unit = self.begin().await?;
        if !schedules::seen(unit.conn(), kept, now).await? {
            return Ok(0);
        }
        let mut runs = 0;
        for due in branches {
            let tried = match due.planned {
                Ok(new) => try_create(&mut unit, new).await?.map(|_| ()),
                Err(refusal) => Err(refusal),
            };
            let problem = tried.err().map(|refusal| refusal.message);
            definitions::put_problem(unit.conn(), kept.definition, problem.as_deref()).await?;
            if let Some(problem) = problem {
                let pipeline = kept.definition;
                tracing::warn!(%pipeline, branch = %due.branch, problem, "a schedule did not queue a pipeline");
                continue;
            }
            let pipeline = kept.definition;
            schedules::put_queued_version(unit.conn(), pipeline, &due.branch, &due.commit).await?;
            runs += 1;
        }
        unit.commit().await?;
        Ok(runs)
    }

    /// The branches that a schedule means and that have something new.
    async fn due_branches(
        &self,
        definition: &Definition,
        kept: &Kept,
    ) -> Result<Vec<Due>, Failure> {
        let Ok(file) = existing_file(definition) else {
            return Ok(Vec::new());
        };
        let directory = self.repository_dir(&file.repository);
        let mut due = Vec::new();
        for (branch, commit) in reading::branches(&directory).await? {
            let is_meant = match &kept.schedule.branches {
                Some(filter) => filter.takes(&branch),
                None => branch == file.repository.default_branch,
            };
            let is_new = kept.schedule.always || {
                let mut conn = self.store.read().await?;
                let last = schedules::queued_version(&mut conn, definition.id, &branch).await?;
                last.as_ref() != Some(&commit)
            };
            if is_meant && is_new {
                let planned = self.plan_scheduled(definition, &branch, &commit).await?;
                due.push(Due {
                    branch,
                    commit,
                    planned,
                });
            }
        }
        Ok(due)
    }

    async fn plan_scheduled(
        &self,
        definition: &Definition,
        branch: &str,
        commit: &str,
    ) -> Result<Result<NewRun, Refusal>, Failure> {
        let found = Found {
            reference: Some(branch.to_owned()),
            commit: commit.to_owned(),
        };
        let ask = Ask {
            reason: BuildReason::Schedule,
            requested_by: "schedule".to_owned(),
            variables: BTreeMap::new(),
        };
        let planned = async {
            let file = existing_file(definition)?;
            let parsed = self.pipeline_file(file, commit).await?;
            self.plan_run(definition, &found, parsed, &ask).await
        };
        match planned.await {
            Ok(new) => Ok(Ok(new)),
            Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
            Err(other) => Err(other),
        }
    }

    /// Looks at the schedules until the service ends.
    pub async fn keep_scheduling(&self) {
        let mut beat = Beat::new(INTERVAL, &self.shutdown);
        while beat.next().await {
            if let Err(error) = self.run_schedules().await {
                tracing::error!(%error, "failed to look at the schedules; it is repeated");
            }
        }
    }
}
