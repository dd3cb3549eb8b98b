//! Gets a task's archive, from the cache or the service, and makes it ready to run.

use super::Task;
use super::archive::{ArchiveError, MAX_ARCHIVE, fingerprint, unpack};
use super::definition::{self, DefinitionError, MAX_LENGTH};
use crate::worker::again::Tries;
use crate::worker::job::Job;
use crate::worker::record::RecordWriter;
use crate::worker::report::sender::Destination;
use dayfly_client::{Client, Error};
use dayfly_wire::task::TaskVersion;
use dayfly_wire::timeline::TaskReference;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// How often a download is tried.
const TRIES: u32 = 3;
const DEFINITION: &str = "task.json";
/// Puts what comes over the descriptor into the process's environment, before anything of the task is loaded.
const PRELOAD: &str = include_str!("preload.cjs");
const CA_NAME: &str = "ca.pem";
pub(crate) const PRELOAD_NAME: &str = "preload.cjs";

/// Why a task cannot be used; the text follows its name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("has no version that can be downloaded: a full version, such as 2.1.0, is needed")]
    Version,
    #[error(
        "is not in the service's catalogue. Upload it there, or use a task and version that are"
    )]
    NotInCatalogue,
    #[error("cannot be downloaded: {0}")]
    Download(Error),
    #[error("cannot be used: {0}")]
    Archive(#[from] ArchiveError),
    #[error("cannot be used: {0}")]
    Definition(#[from] DefinitionError),
    #[error("cannot be used: its task.json is of another task")]
    OtherTask,
    #[error("cannot be kept on the work volume: {0}")]
    Volume(#[from] io::Error),
    #[error("was not downloaded: the job was canceled")]
    Canceled,
}

/// Makes a task ready; what goes wrong on the way, and is tried again, is told on the record.
pub(crate) async fn fetch(
    job: &Job,
    record: &mut RecordWriter,
    task: &TaskReference,
) -> Result<Task, FetchError> {
    let version: TaskVersion = task.version.parse().map_err(|_| FetchError::Version)?;
    let scratch = job.volume.private("task", &task.id.to_string())?;
    let cached = job
        .facts
        .task_cache
        .join(format!("{}_{version}.zip", task.id));
    let archive = if cached.is_file() {
        record.write(&format!("Task {} is taken from the cache.", task.name));
        cached
    } else {
        let archive = scratch.join("archive.zip");
        let canceled = job.listener.canceled().clone();
        tokio::select! {
            downloaded = download(&job.destination, record, task, version, &archive) => downloaded?,
            () = canceled.cancelled() => return Err(FetchError::Canceled),
        }
        archive
    };
    let place = format!("{}/{version}", task.id);
    let target = job.volume.tasks()?.join(&place);
    let (definition, fingerprint) = {
        let (scratch, target) = (scratch.clone(), target.clone());
        tokio::task::spawn_blocking(move || ready(&archive, &scratch, &target))
            .await
            .map_err(io::Error::other)??
    };
    if definition.id != task.id.to_string() {
        return Err(FetchError::OtherTask);
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(Task {
        definition,
        fingerprint,
        directory: target,
        shown: format!("{}/{place}", job.facts.job_tasks.trim_end_matches('/')),
    })
}

/// Unpacks beside the place and moves there: nothing half unpacked is ever in it.
fn ready(
    archive: &Path,
    scratch: &Path,
    target: &Path,
) -> Result<(definition::Definition, String), FetchError> {
    let unpacked = scratch.join("files");
    std::fs::create_dir(&unpacked)?;
    unpack(archive, &unpacked)?;
    let mut text = Vec::new();
    std::fs::File::open(unpacked.join(DEFINITION))
        .map_err(ArchiveError::Read)?
        .take(MAX_LENGTH)
        .read_to_end(&mut text)?;
    let definition = definition::parse(&text)?;
    if let Some(above) = target.parent() {
        std::fs::create_dir_all(above)?;
    }
    std::fs::rename(&unpacked, target)?;
    Ok((definition, fingerprint(target)?))
}

async fn download(
    from: &Destination,
    record: &mut RecordWriter,
    task: &TaskReference,
    version: TaskVersion,
    to: &Path,
) -> Result<(), FetchError> {
    let mut tries = Tries::new(TRIES, from.trouble_limit);
    loop {
        let error = match try_download(&from.client, task, version, to).await {
            Ok(()) => return Ok(()),
            Err(FetchError::Download(error)) => error,
            Err(other) => return Err(other),
        };
        if matches!(error, Error::NotFound(_)) {
            return Err(FetchError::NotInCatalogue);
        }
        if !tries.another(&error).await {
            return Err(FetchError::Download(error));
        }
        record.warning(&format!(
            "Failed to download the task {}, trying again: {error}",
            task.name
        ));
    }
}

async fn try_download(
    client: &Client,
    task: &TaskReference,
    version: TaskVersion,
    to: &Path,
) -> Result<(), FetchError> {
    let mut body = client
        .open_task_archive(task.id, version, MAX_ARCHIVE)
        .await
        .map_err(FetchError::Download)?;
    let mut file = tokio::fs::File::create(to).await?;
    while let Some(piece) = body.next().await.map_err(FetchError::Download)? {
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(())
}

/// Where the certificates beside the system's are, as the job's container sees it.
pub(crate) fn ca_file(job: &Job) -> io::Result<Option<String>> {
    let Some(pem) = &job.facts.ca_bundle else {
        return Ok(None);
    };
    let path = job.volume.tasks()?.join(CA_NAME);
    if !path.exists() {
        std::fs::write(&path, pem)?;
    }
    let tasks = job.facts.job_tasks.trim_end_matches('/');
    Ok(Some(format!("{tasks}/{CA_NAME}")))
}

/// Where the preload is, as the job's container sees it.
pub(crate) fn preload(job: &Job) -> io::Result<String> {
    let path: PathBuf = job.volume.tasks()?.join(PRELOAD_NAME);
    if !path.exists() {
        std::fs::write(&path, PRELOAD)?;
    }
    Ok(format!(
        "{}/{PRELOAD_NAME}",
        job.facts.job_tasks.trim_end_matches('/')
    ))
}
