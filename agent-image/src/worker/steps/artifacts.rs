//! The tasks that publish and download artifacts: in Microsoft's agent they are parts of the agent, and so they are here.

use crate::worker::artifacts::{
    Publication, Wanted, associate, download, failed, publish, run as own_run, within,
};
use crate::worker::command_uploads::Publishing;
use crate::worker::patterns::Patterns;
use crate::worker::place::inside;
use crate::worker::step::{Running, StepError};
use dayfly_wire::artifact::{ArtifactResource, CONTAINER};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::BuildId;
use dayfly_wire::job::builtin;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Which of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArtifactTask {
    PublishPipeline,
    DownloadPipeline,
    PublishBuild,
    DownloadBuild,
}

impl ArtifactTask {
    /// The task of an id.
    pub(crate) fn of(id: Uuid) -> Option<Self> {
        match id {
            builtin::PUBLISH_ARTIFACT => Some(Self::PublishPipeline),
            builtin::DOWNLOAD_ARTIFACT => Some(Self::DownloadPipeline),
            builtin::PUBLISH_BUILD_ARTIFACTS => Some(Self::PublishBuild),
            builtin::DOWNLOAD_BUILD_ARTIFACTS => Some(Self::DownloadBuild),
            _ => None,
        }
    }
}

/// Runs the step.
pub(crate) async fn run(
    step: &mut Running<'_>,
    task: ArtifactTask,
) -> Result<TaskResult, StepError> {
    match task {
        ArtifactTask::PublishPipeline | ArtifactTask::PublishBuild => {
            publish_step(step, task).await
        }
        ArtifactTask::DownloadPipeline | ArtifactTask::DownloadBuild => {
            let wanted = wanted(step, task)?;
            within(step, download(step, &wanted)).await?;
            Ok(TaskResult::Succeeded)
        }
    }
}

async fn publish_step(step: &mut Running<'_>, task: ArtifactTask) -> Result<TaskResult, StepError> {
    let what = publication(step, task)?;
    if task == ArtifactTask::PublishBuild && step.flag("StoreAsTar") {
        step.record
            .warning("StoreAsTar is not supported: the files are published one by one.");
    }
    let files = within(step, publish(step, &what)).await?;
    if files > 0 {
        return Ok(TaskResult::Succeeded);
    }
    step.record.warning(&format!(
        "{} has no files; nothing was added to the artifact '{}'.",
        what.path, what.name
    ));
    Ok(TaskResult::SucceededWithIssues)
}

fn publication(step: &Running<'_>, task: ArtifactTask) -> Result<Publication, StepError> {
    let pipeline = task == ArtifactTask::PublishPipeline;
    let kind = first(step, &["publishLocation", "artifactType"]).unwrap_or_default();
    if kind.eq_ignore_ascii_case("filepath") {
        return Err(failed(
            "This agent publishes to the service only; a file share is not supported.",
        ));
    }
    let (path, place, name) = if pipeline {
        let name = step.job.message.job_id.to_string();
        (
            first(step, &["targetPath", "path"]),
            "pipeline.workspace",
            name,
        )
    } else {
        let path = first(step, &["PathtoPublish"]);
        (path, "build.artifactstagingdirectory", "drop".to_owned())
    };
    let name = first(step, &["artifactName", "artifact"]).unwrap_or(name);
    check_name(&name)?;
    Ok(Publication {
        folder: name.clone(),
        name,
        path: match path {
            Some(path) => rooted(step, &path, "system.defaultworkingdirectory"),
            None => variable(step, place),
        },
        properties: BTreeMap::new(),
        ignores: pipeline,
    })
}

fn wanted(step: &Running<'_>, task: ArtifactTask) -> Result<Wanted, StepError> {
    let pipeline = task == ArtifactTask::DownloadPipeline;
    let name = first(step, &["artifactName", "artifact"]);
    let many =
        first(step, &["downloadType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("specific"));
    let name = name.filter(|_| pipeline || !many);
    if name.is_none() && !pipeline && !many {
        return Err(failed("Input required: artifactName"));
    }
    let patterns = first(step, &["patterns", "itemPattern"]).unwrap_or_default();
    let (into, place, root) = if pipeline {
        let path = first(step, &["targetPath", "path", "downloadPath"]);
        (path, "pipeline.workspace", "pipeline.workspace")
    } else {
        let path = first(step, &["downloadPath"]);
        (
            path,
            "system.artifactsdirectory",
            "system.defaultworkingdirectory",
        )
    };
    Ok(Wanted {
        run: source(step)?,
        named: !pipeline || name.is_none(),
        name,
        patterns: Patterns::read(&patterns),
        into: match into {
            Some(into) => rooted(step, &into, root),
            None => variable(step, place),
        },
    })
}

/// The run whose artifacts are downloaded.
fn source(step: &Running<'_>) -> Result<BuildId, StepError> {
    let kind = first(step, &["buildType", "source"]).unwrap_or_else(|| "current".to_owned());
    if kind.eq_ignore_ascii_case("current") {
        return own_run(step.job);
    }
    if let Some(project) = first(step, &["project"]) {
        let own = ["system.teamProject", "system.teamProjectId"].map(|name| variable(step, name));
        if !own.iter().any(|own| own.eq_ignore_ascii_case(&project)) {
            return Err(failed(format!(
                "Artifacts of the project '{project}' cannot be downloaded: the job's token reads its own project only."
            )));
        }
    }
    let id = first(step, &["runId", "pipelineId", "buildId"]);
    id.and_then(|id| id.parse().ok()).ok_or_else(|| {
        failed(
            "This agent downloads from this run or from one that is named by its id: set buildType to current, or buildVersionToDownload to specific and the run's id.",
        )
    })
}

/// A name that is a folder's name too.
fn check_name(name: &str) -> Result<(), StepError> {
    let is_fine = !name.contains(['/', '\\']) && inside(name).is_some();
    is_fine
        .then_some(())
        .ok_or_else(|| failed(format!("'{name}' cannot be the name of an artifact.")))
}

fn first(step: &Running<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| step.input(name).0)
}

fn variable(step: &Running<'_>, name: &str) -> String {
    let value = step.job.variables.value(name);
    value.unwrap_or_default().to_owned()
}

/// A path of the job's, from a place that a variable names.
fn rooted(step: &Running<'_>, path: &str, root: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", variable(step, root).trim_end_matches('/'))
    }
}

impl Running<'_> {
    /// Publishes an artifact that the step's output asked for.
    pub(crate) async fn publish_one(&mut self, publishing: Publishing) -> Result<(), StepError> {
        check_name(&publishing.name)?;
        if !publishing.upload {
            let masked = |text: &str| self.job.reporter.masked(text);
            let resource = ArtifactResource {
                kind: masked(publishing.kind.as_deref().unwrap_or(CONTAINER)),
                data: masked(&publishing.data),
                properties: publishing.properties,
                ..ArtifactResource::default()
            };
            return within(self, associate(self.job, &publishing.name, resource)).await;
        }
        let folder = inside(&publishing.folder).ok_or_else(|| {
            failed(format!(
                "'{}' is no folder of a container.",
                publishing.folder
            ))
        })?;
        let what = Publication {
            name: publishing.name,
            folder: folder.display().to_string(),
            path: rooted(self, &publishing.data, "system.defaultworkingdirectory"),
            properties: publishing.properties,
            ignores: false,
        };
        if within(self, publish(self, &what)).await? == 0 {
            self.record.warning(&format!(
                "{} has no files; nothing was added to the artifact '{}'.",
                what.path, what.name
            ));
        }
        Ok(())
    }
}
