//! Checkout: git runs here, in the agent's container, only on directories that job code has never been able to
//! write; the finished checkout is renamed into the job's part of the work volume.

use crate::worker::git::Git;
use crate::worker::git_refs::Fetch;
use crate::worker::git_submodules::Submodules;
use crate::worker::job::Job;
use crate::worker::place::inside;
use crate::worker::proxy::git_credentials;
use crate::worker::repository_credential::{credentials, kept_credential};
use crate::worker::step::{Running, StepError};
use dayfly_wire::event::TaskResult;
use dayfly_wire::job::{Repository, Step};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What a person reads of a checkout that nobody named.
pub(crate) fn display_name(job: &Job, step: &Step, name: &str) -> String {
    let named = !name.is_empty()
        && !name.eq_ignore_ascii_case("checkout")
        && step.name.as_deref() != Some(name);
    let alias = input(step, "repository").unwrap_or("self");
    match repository(job, alias) {
        Some(repository) if !named => {
            let properties = &repository.properties;
            let reference = properties.reference.as_deref().unwrap_or_default();
            let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
            format!("Checkout {}@{branch} to s", properties.name)
        }
        _ => name.to_owned(),
    }
}

fn input<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
    step.inputs
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.expose())
}

fn repository<'a>(job: &'a Job, alias: &str) -> Option<&'a Repository> {
    job.message
        .resources
        .repositories
        .iter()
        .find(|repository| repository.alias.eq_ignore_ascii_case(alias))
}

/// Checks the step's repository out.
pub(crate) async fn run(step: &mut Running<'_>) -> Result<TaskResult, StepError> {
    let alias = step
        .input("repository")
        .0
        .unwrap_or_else(|| "self".to_owned());
    let repository = repository(step.job, &alias)
        .cloned()
        .ok_or_else(|| failed(format!("The job has no repository '{alias}'.")))?;
    refuse_unsupported(&repository)?;
    let submodules = Submodules::parse(step.input("submodules").0.as_deref())?;
    let target = target(step, &repository)?;
    let properties = &repository.properties;
    step.record.write(&format!(
        "Syncing repository: {} ({})",
        properties.name, properties.kind
    ));
    step.job.checked_out += 1;
    let (staged, git) = stage(step, &repository, submodules).await?;
    if step.flag("persistCredentials") {
        keep_credential(step, &git, &staged, &repository, submodules).await?;
    }
    put_in_place(step, &staged, &target).await?;
    set_variables(step, &target);
    Ok(TaskResult::Succeeded)
}

fn failed(reason: impl Into<String>) -> StepError {
    StepError::Failed(reason.into())
}

fn refuse_unsupported(repository: &Repository) -> Result<(), StepError> {
    let is_git = [
        "git",
        "github",
        "githubenterprise",
        "bitbucket",
        "externalgit",
    ];
    let kind = &repository.properties.kind;
    if !is_git.contains(&kind.to_lowercase().as_str()) {
        return Err(failed(format!(
            "Repositories of type '{kind}' are not supported; this agent checks out git repositories."
        )));
    }
    Ok(())
}

/// Where the checkout goes, below the build directory.
fn target(step: &Running<'_>, repository: &Repository) -> Result<PathBuf, StepError> {
    let path = match step.input("path").0 {
        Some(path) => path,
        None if step.job.checkouts > 1 => {
            let name = repository
                .properties
                .name
                .rsplit('/')
                .next()
                .unwrap_or("repository");
            format!("s/{name}")
        }
        None => "s".to_owned(),
    };
    inside(&path).ok_or_else(|| {
        failed(format!(
            "The checkout path '{path}' must lie below the pipeline's workspace."
        ))
    })
}

/// Fetches and checks out where job code cannot reach.
async fn stage(
    step: &mut Running<'_>,
    repository: &Repository,
    submodules: Submodules,
) -> Result<(PathBuf, Git), StepError> {
    let number = step.job.checked_out.to_string();
    let volume =
        |problem: std::io::Error| failed(format!("failed to prepare the work volume: {problem}"));
    let mirror = step.job.volume.private("mirror", &number).map_err(volume)?;
    let staging = step
        .job
        .volume
        .private("staging", &number)
        .map_err(volume)?;
    let home = step
        .job
        .volume
        .private("git-home", &number)
        .map_err(volume)?;
    let with_submodules = submodules != Submodules::None;
    let mut credentials = credentials(&step.job.message, repository, with_submodules)?;
    credentials.0.extend(git_credentials(&step.job.facts));
    let url = &repository.properties.url;
    let mut git = Git::new(&step.job.facts, home, &credentials, url)
        .map_err(|problem| failed(format!("failed to prepare git: {problem}")))?;
    git.initialize(step, &mirror, &repository.properties.url)
        .await?;
    let fetch = Fetch {
        version: repository.properties.version.clone(),
        reference: repository.properties.reference.clone(),
        depth: step
            .input("fetchDepth")
            .0
            .and_then(|depth| depth.parse().ok())
            .filter(|depth| *depth > 0),
        tags: !step
            .input("fetchTags")
            .0
            .is_some_and(|tags| tags.eq_ignore_ascii_case("false")),
    };
    let commit = git.fetch(step, &mirror, &fetch).await?;
    git.make_ordinary(step, &mirror).await?;
    std::fs::rename(&mirror, staging.join(".git")).map_err(volume)?;
    if step.flag("lfs") {
        git.use_large_files(step, &staging).await?;
        git.fetch_large_files(step, &staging, &commit).await?;
    }
    git.check_out(step, &staging, &commit).await?;
    if with_submodules {
        git.update_submodules(step, &staging, submodules, fetch.depth)
            .await?;
    }
    Ok((staging, git))
}

/// The credential goes to a file on the job container's memory volume, and the sources only say where that is: when
/// the job is over, nothing of it is left with them.
async fn keep_credential(
    step: &mut Running<'_>,
    git: &Git,
    staged: &Path,
    repository: &Repository,
    submodules: Submodules,
) -> Result<(), StepError> {
    step.stop_leftovers("the credential is kept for later steps")
        .await?;
    let file = format!("{}/git-{}", step.job.facts.job_scripts, Uuid::new_v4());
    let with_submodules = submodules != Submodules::None;
    let text = kept_credential(&step.job.message, repository, with_submodules)?;
    git.include(step, staged, submodules, &file).await?;
    step.job.link.write(&file, 0o600, text.as_bytes()).await?;
    step.job.kept_credentials.push(file);
    Ok(())
}

/// What is at the target is removed where job code could have changed it, when none of it runs any more.
async fn put_in_place(
    step: &mut Running<'_>,
    staged: &Path,
    target: &Path,
) -> Result<(), StepError> {
    step.stop_leftovers("sources are checked out").await?;
    let build = format!("{}/1", step.job.facts.job_work.trim_end_matches('/'));
    let shown = format!("{build}/{}", target.display());
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => format!("{build}/{}", parent.display()),
        _ => build,
    };
    step.job.link.remove(&shown).await?;
    step.job.link.make_directory(&parent).await?;
    step.job
        .volume
        .place(staged, &Path::new("1").join(target))
        .map_err(|problem| {
            failed(format!(
                "failed to move the checkout to {shown}: {problem}; a step may have replaced a directory by a link"
            ))
        })
}

/// With one checkout the sources are where it went; with several only the last one's place is told.
fn set_variables(step: &mut Running<'_>, target: &Path) {
    let path = format!(
        "{}/1/{}",
        step.job.facts.job_work.trim_end_matches('/'),
        target.display()
    );
    let variables = &mut step.job.variables;
    variables.set_system("build.repository.localpath", &path);
    if step.job.checkouts == 1 {
        variables.set_system("build.sourcesdirectory", &path);
        variables.set_system("system.defaultworkingdirectory", &path);
    }
}
