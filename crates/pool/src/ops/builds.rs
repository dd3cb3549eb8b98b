//! Runs as clients of the Build REST area ask for them.

use super::definitions::existing_definition;
use super::pipelines::Ask;
use super::plans::{PlanPath, running_request};
use super::projects::existing_project;
use super::runs::cancel_run;
use crate::rules::access::{
    Caller, Scope, require_build_changer, require_build_reader, require_plan_writer, require_scope,
};
use crate::rules::build::{check_number, run as document, timeline as timeline_document};
use crate::rules::build_filter::{BuildFilter, OrderKey, Position, Tally};
use crate::rules::entities::{Plan, Project, Run};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::runs::{self, Among};
use crate::store::{plans, retention};
use dayfly_wire::build::{
    Build, BuildLog, BuildReason, BuildStatus, BuildTimeline, QueueBuild, QueueStatus, UpdateBuild,
};
use dayfly_wire::ids::{BuildId, DefinitionId, TimelineId};
use std::collections::BTreeMap;

/// Runs that are loaded at once.
const PAGE: i64 = 200;

impl Service {
    /// Queues a run of a pipeline.
    pub async fn queue_build(
        &self,
        caller: &Caller,
        project: &str,
        definition: Option<DefinitionId>,
        asked: &QueueBuild,
    ) -> Result<Build, Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let named = asked.definition.as_ref().map(|named| named.id);
        let id = definition
            .or(named)
            .ok_or_else(|| Refusal::invalid("definition: name the pipeline by its id"))?;
        let definition = {
            let mut conn = self.store.read().await?;
            let project = existing_project(&mut conn, project).await?;
            existing_definition(&mut conn, &project, id).await?
        };
        if definition.queue_status == QueueStatus::Disabled {
            let what = format!("pipeline {:?} is disabled", definition.name);
            return Err(Refusal::invalid(what).into());
        }
        let ask = Ask {
            reason: BuildReason::Manual,
            requested_by: caller.name(),
            variables: parameters(asked.parameters.as_deref())?,
        };
        let branch = asked.source_branch.as_deref();
        let commit = asked
            .source_version
            .as_deref()
            .filter(|text| !text.is_empty());
        let created = self.run_pipeline(&definition, branch, commit, &ask).await?;
        Ok(document(&created.run, &self.settings.public_url))
    }

    /// A project's runs, and where the next call goes on.
    pub async fn builds(
        &self,
        caller: &Caller,
        project: &str,
        filter: &BuildFilter,
    ) -> Result<(Vec<Build>, Option<Position>), Failure> {
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let project = existing_project(&mut conn, project).await?;
        require_build_reader(caller, project.id)?;
        let (found, token) = select(&mut conn, &project, filter).await?;
        let base = &self.settings.public_url;
        Ok((found.iter().map(|run| document(run, base)).collect(), token))
    }

    /// One run.
    pub async fn build(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
    ) -> Result<Build, Failure> {
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let run = readable_run(&mut conn, caller, project, id).await?;
        Ok(document(&run, &self.settings.public_url))
    }

    /// Changes a run: asks for its end, has it kept, or gives it another number. A job does the last, of its own run.
    pub async fn update_build(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
        change: &UpdateBuild,
    ) -> Result<Build, Failure> {
        let claims = require_build_changer(caller, change)?;
        let mut unit = self.begin().await?;
        let mut run = readable_run(unit.conn(), caller, project, id).await?;
        if let Some(claims) = claims {
            require_plan_writer(caller, run.plan.id)?;
            running_request(&mut unit, claims).await?;
        }
        if let Some(number) = &change.build_number {
            check_number(number)?;
            plans::set_build_number(unit.conn(), run.plan.id, number).await?;
        }
        if let Some(keep) = change.keep_forever {
            run.keep_forever = keep;
            runs::update(unit.conn(), &run).await?;
        }
        match change.status {
            Some(BuildStatus::Cancelling) => cancel_run(&mut unit, run, None).await?,
            Some(status) if status != run.status => {
                return Err(Refusal::invalid(format!(
                    "status: a run's end can be asked for with {:?}; {status:?} cannot",
                    BuildStatus::Cancelling.as_str()
                ))
                .into());
            }
            Some(_) | None => {}
        }
        let run = readable_run(unit.conn(), caller, project, id).await?;
        unit.commit().await?;
        Ok(document(&run, &self.settings.public_url))
    }

    /// Removes a run that has ended, with all that belongs to it.
    pub async fn delete_build(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
    ) -> Result<(), Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let mut unit = self.begin().await?;
        let run = readable_run(unit.conn(), caller, project, id).await?;
        if run.finished_at.is_none() {
            return Err(Refusal::new(
                Kind::Exists,
                format!("run {id} has not ended: cancel it first"),
            )
            .into());
        }
        retention::forget(unit.conn(), id, run.plan.id, run.plan.timeline).await?;
        unit.commit().await?;
        Ok(())
    }

    /// A run's stored logs.
    pub async fn build_logs(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
    ) -> Result<Vec<BuildLog>, Failure> {
        let plan = self.build_plan(caller, project, id).await?;
        let logs = self.logs(caller, &path_of(&plan)).await?;
        let base = &self.settings.public_url;
        Ok(logs
            .iter()
            .map(|log| crate::rules::build::log(log, &plan, base))
            .collect())
    }

    /// A run's timeline, with the records that changed after a change.
    pub async fn build_timeline(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
        timeline: Option<TimelineId>,
        after: Option<i64>,
    ) -> Result<BuildTimeline, Failure> {
        let plan = self.build_plan(caller, project, id).await?;
        let timeline = timeline.unwrap_or(plan.timeline);
        let after = Some(after.unwrap_or_default());
        let read = self
            .timeline(caller, &path_of(&plan), timeline, after)
            .await?;
        Ok(timeline_document(read, &plan, &self.settings.public_url))
    }

    /// The plan of a run that the caller may read.
    pub async fn build_plan(
        &self,
        caller: &Caller,
        project: &str,
        id: BuildId,
    ) -> Result<Plan, Failure> {
        let mut conn = self.store.read().await?;
        Ok(readable_run(&mut conn, caller, project, id).await?.plan)
    }
}

/// A plan as a path names it.
pub fn path_of(plan: &Plan) -> PlanPath {
    PlanPath {
        project: plan.project.to_string(),
        hub: "build".to_owned(),
        plan: plan.id,
    }
}

async fn readable_run(
    conn: &mut Conn,
    caller: &Caller,
    project: &str,
    id: BuildId,
) -> Result<Run, Failure> {
    let project = existing_project(conn, project).await?;
    require_build_reader(caller, project.id)?;
    let run = runs::by_id(conn, id).await?;
    Ok(run
        .filter(|run| run.plan.project == project.id)
        .ok_or_else(|| {
            Refusal::new(
                Kind::BuildNotFound,
                format!("there is no build {id} in project {}", project.name),
            )
        })?)
}

/// Goes through pages of runs until there are as many as are wanted.
async fn select(
    conn: &mut Conn,
    project: &Project,
    filter: &BuildFilter,
) -> Result<(Vec<Run>, Option<Position>), Failure> {
    let mut found: Vec<Run> = Vec::new();
    let mut tally = Tally::default();
    let mut after = filter.after;
    loop {
        let page = page(conn, project, filter, after).await?;
        let Some(last) = page.last() else {
            return Ok((found, None));
        };
        after = Some(filter.order.position(last));
        for run in page {
            if !filter.matches(&run) || !tally.admits(&run, filter.most_per_definition) {
                continue;
            }
            if found.len() == filter.room() {
                let token = found.last().map(|last| filter.order.position(last));
                return Ok((found, token));
            }
            found.push(run);
        }
    }
}

async fn page(
    conn: &mut Conn,
    project: &Project,
    filter: &BuildFilter,
    after: Option<Position>,
) -> Result<Vec<Run>, Failure> {
    let order = filter.order;
    if order.key != OrderKey::Queued {
        return Ok(runs::page_by_date(conn, project.id, order, after, PAGE).await?);
    }
    let among = match filter.only_definition() {
        Some(id) => Among::Definition(DefinitionId(id)),
        None if filter.only_unfinished() => Among::Unfinished(project.id),
        None => Among::Project(project.id),
    };
    let after = after.map(|after| BuildId(after.run));
    let mut page = runs::page(conn, among, order.descending, after, PAGE).await?;
    // A pipeline's id may be another project's.
    page.retain(|run| run.plan.project == project.id);
    Ok(page)
}

/// Values for variables, as clients send them: the text of a JSON object.
fn parameters(text: Option<&str>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let given: BTreeMap<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|_| Refusal::invalid("parameters: the text of a JSON object is needed"))?;
    given
        .into_iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => Ok((name, text)),
            other if other.is_number() || other.is_boolean() => Ok((name, other.to_string())),
            _ => Err(Refusal::invalid(format!(
                "parameters.{name}: a text is needed"
            ))),
        })
        .collect()
}
