//! Artifacts of runs: publish, find.

use super::attachments::encoded;
use super::containers::{existing_run, readable_run};
use super::plans::running_request;
use crate::rules::access::{Caller, require_job, require_plan_writer};
use crate::rules::artifact;
use crate::rules::entities::Plan;
use crate::rules::limits;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::artifacts;
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::projects;
use dayfly_wire::artifact::{BuildArtifact, CONTAINER};
use dayfly_wire::ids::BuildId;

const MAX_ARTIFACTS: usize = 1000;

impl Service {
    /// Names a part of the run's container. A job that says the same again gets the same answer.
    pub async fn publish_artifact(
        &self,
        caller: &Caller,
        project: &str,
        build: BuildId,
        draft: BuildArtifact,
    ) -> Result<BuildArtifact, Failure> {
        require_job(caller)?;
        let mut unit = self.begin().await?;
        let plan = existing_run(unit.conn(), build).await?;
        let claims = require_plan_writer(caller, plan.id)?;
        check_project(unit.conn(), &plan, project).await?;
        running_request(&mut unit, claims).await?;
        artifact::check(&draft, build)?;
        if let Some(existing) = artifacts::find(unit.conn(), build, &draft.name).await? {
            let (old, new) = (&existing.resource, &draft.resource);
            if old.kind == new.kind && old.data == new.data {
                return Ok(self.complete(&plan, existing));
            }
            return Err(Refusal::new(
                Kind::ArtifactExists,
                format!("run {build} has an artifact {:?} already", draft.name),
            )
            .into());
        }
        if artifacts::all(unit.conn(), build).await?.len() >= MAX_ARTIFACTS {
            return Err(limits::too_many("a run", "artifacts", MAX_ARTIFACTS).into());
        }
        let made = BuildArtifact {
            id: counters::next(unit.conn(), Counter::Artifact).await?,
            source: Some(draft.source.unwrap_or_else(|| claims.job.to_string())),
            ..draft
        };
        let now = unit.now;
        artifacts::insert(unit.conn(), build, &made, now).await?;
        unit.commit().await?;
        Ok(self.complete(&plan, made))
    }

    /// A run's artifacts.
    pub async fn artifacts(
        &self,
        caller: &Caller,
        project: &str,
        build: BuildId,
    ) -> Result<Vec<BuildArtifact>, Failure> {
        let mut conn = self.store.read().await?;
        let plan = readable_run(&mut conn, caller, build).await?;
        check_project(&mut conn, &plan, project).await?;
        let all = artifacts::all(&mut conn, build).await?;
        Ok(all
            .into_iter()
            .map(|each| self.complete(&plan, each))
            .collect())
    }

    /// A run's artifact.
    pub async fn artifact(
        &self,
        caller: &Caller,
        project: &str,
        build: BuildId,
        name: &str,
    ) -> Result<BuildArtifact, Failure> {
        let mut conn = self.store.read().await?;
        let plan = readable_run(&mut conn, caller, build).await?;
        check_project(&mut conn, &plan, project).await?;
        let found = artifacts::find(&mut conn, build, name).await?;
        let found = found.ok_or_else(|| artifact::not_found(build, name))?;
        Ok(self.complete(&plan, found))
    }

    /// Adds where the artifact and its files are found.
    fn complete(&self, plan: &Plan, mut artifact: BuildArtifact) -> BuildArtifact {
        let base = &self.settings.public_url;
        let resource = &mut artifact.resource;
        resource.url = Some(format!(
            "{base}/{}/_apis/build/builds/{}/artifacts?artifactName={}",
            plan.project,
            plan.build,
            encoded(&artifact.name)
        ));
        if resource.kind.eq_ignore_ascii_case(CONTAINER) {
            let path = resource.data.splitn(3, '/').nth(2).unwrap_or_default();
            resource.download_url = Some(format!(
                "{base}/_apis/resources/Containers/{}?itemPath={}",
                plan.build,
                encoded(path)
            ));
        }
        artifact
    }
}

async fn check_project(conn: &mut Conn, plan: &Plan, project: &str) -> Result<(), Failure> {
    let found = projects::find(conn, project).await?;
    if found.is_some_and(|found| found.id == plan.project) {
        return Ok(());
    }
    let build = plan.build;
    Err(Refusal::new(
        Kind::NotFound,
        format!("there is no run {build} in this project"),
    )
    .into())
}
