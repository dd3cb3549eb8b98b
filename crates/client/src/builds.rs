//! Runs.

use crate::send::segment;
use crate::{Client, Error};
use dayfly_wire::build::{
    Build, BuildStatus, BuildTimeline, DefinitionById, QueueBuild, UpdateBuild,
};
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::{BuildId, ProjectId};
use reqwest::Method;

impl Client {
    /// The project's runs that were queued last, the latest first.
    pub async fn builds(&self, project: &str, most: u32) -> Result<Vec<Build>, Error> {
        let call = self
            .call("list runs", Method::GET, &builds_path(project))
            .query("$top", most.to_string());
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<Build>>()?.value)
    }

    /// One run.
    pub async fn build(&self, project: &str, id: BuildId) -> Result<Build, Error> {
        let path = format!("{}/{id}", builds_path(project));
        let call = self.call("read run", Method::GET, &path);
        self.send(call).await?.json()
    }

    /// A run's timeline.
    pub async fn build_timeline(&self, project: &str, id: BuildId) -> Result<BuildTimeline, Error> {
        let path = format!("{}/{id}/timeline", builds_path(project));
        let call = self.call("read run's timeline", Method::GET, &path);
        self.send(call).await?.json()
    }

    /// Queues a run again: its pipeline at the same commit, with the same values for variables.
    pub async fn queue_again(&self, project: &str, run: &Build) -> Result<Build, Error> {
        let asked = QueueBuild {
            definition: Some(DefinitionById {
                id: run.definition.id,
            }),
            source_branch: run.source_branch.clone(),
            source_version: run.source_version.clone(),
            parameters: run.parameters.clone(),
        };
        self.queue_build(project, &asked).await
    }

    /// Asks for the end of a run.
    pub async fn cancel_build(&self, project: &str, id: BuildId) -> Result<Build, Error> {
        let path = format!("{}/{id}", builds_path(project));
        let change = UpdateBuild {
            status: Some(BuildStatus::Cancelling),
            ..UpdateBuild::default()
        };
        let call = self
            .call("cancel run", Method::PATCH, &path)
            .json(&change)?;
        self.send(call).await?.json()
    }
}

impl Client {
    /// Gives a run another number.
    pub async fn set_build_number(
        &self,
        project: ProjectId,
        id: BuildId,
        number: &str,
    ) -> Result<(), Error> {
        let path = format!("{}/{id}", builds_path(&project.to_string()));
        let change = UpdateBuild {
            build_number: Some(number.to_owned()),
            ..UpdateBuild::default()
        };
        let call = self
            .call("set run's number", Method::PATCH, &path)
            .json(&change)?;
        self.send(call).await.map(drop)
    }

    /// Tags a run.
    pub async fn add_build_tag(
        &self,
        project: ProjectId,
        id: BuildId,
        tag: &str,
    ) -> Result<(), Error> {
        let path = format!(
            "{}/{id}/tags/{}",
            builds_path(&project.to_string()),
            segment(tag)
        );
        let call = self.call("tag run", Method::PUT, &path);
        self.send(call).await.map(drop)
    }
}

fn builds_path(project: &str) -> String {
    format!("/{project}/_apis/build/builds")
}
