//! Files to and from a run's container. The agent moves bytes between the service and the step host; it opens no
//! path that the job names.

use super::again::Tries;
use super::ignore_file::{IGNORE_FILE, Ignored, LONGEST};
use super::job::Job;
use super::patterns::Patterns;
use super::place::inside;
use super::process::until;
use super::step::{Running, StepError, would_run_on};
use crate::host::link::HostError;
use crate::host::protocol::{FileKind, ListedFile, PIECES};
use bytes::{Bytes, BytesMut};
use dayfly_client::{Download, Error, Piece};
use dayfly_wire::artifact::{ArtifactResource, BuildArtifact, CONTAINER, ContainerItem, ItemType};
use dayfly_wire::ids::BuildId;
use std::collections::{BTreeMap, HashSet};
use std::future::Future;

/// How often a call is tried through a service in trouble: for some minutes in all.
const TRIES: u32 = 8;
/// Downloaded bytes that are written at once.
const WRITE: usize = 1 << 20;

/// An artifact to publish.
pub(crate) struct Publication {
    pub(crate) name: String,
    /// The folder of the container.
    pub(crate) folder: String,
    /// What is published, as the job names it.
    pub(crate) path: String,
    pub(crate) properties: BTreeMap<String, String>,
    /// Whether [`IGNORE_FILE`] says what stays out.
    pub(crate) ignores: bool,
}

/// What is to be downloaded.
pub(crate) struct Wanted {
    pub(crate) run: BuildId,
    /// One artifact; all when absent.
    pub(crate) name: Option<String>,
    pub(crate) patterns: Patterns,
    /// Whether patterns and places begin with the artifact's name.
    pub(crate) named: bool,
    /// Where to.
    pub(crate) into: String,
}

/// Does something that takes long, unless the job or the step ends before.
pub(crate) async fn within<'a, T, F: Future<Output = Result<T, StepError>> + 'a>(
    step: &'a Running<'_>,
    work: F,
) -> Result<T, StepError> {
    let canceled = step.job.listener.canceled().clone();
    let runs_on = step.runs_on || would_run_on(step.job, step.planned);
    tokio::select! {
        done = work => done,
        () = canceled.cancelled(), if !runs_on => Err(StepError::Canceled),
        () = until(step.deadline) => Err(StepError::TimedOut),
    }
}

/// Uploads files and names them; gives their number.
pub(crate) async fn publish(step: &Running<'_>, what: &Publication) -> Result<usize, StepError> {
    let job = &*step.job;
    let container = container(job)?;
    let kind = job.link.look(&what.path).await?;
    let files = match kind {
        FileKind::File | FileKind::Directory => job.link.list(&what.path).await,
        FileKind::Nothing => return Err(failed(format!("The path {} does not exist.", what.path))),
        FileKind::Other => {
            return Err(failed(format!(
                "{} is neither a file nor a directory.",
                what.path
            )));
        }
    };
    let mut files = files.map_err(|error| cannot_read(&what.path, error))?;
    if what.ignores && kind == FileKind::Directory {
        files = without_ignored(step, what, files).await?;
    }
    if files.is_empty() {
        return Ok(0);
    }
    let bytes: u64 = files.iter().map(|file| file.length).sum();
    step.record.write(&format!(
        "Uploading {} files ({bytes} bytes) to the artifact '{}'.",
        files.len(),
        what.name
    ));
    for file in &files {
        upload(job, container, what, file).await?;
    }
    let mut properties = what.properties.clone();
    properties.insert("localpath".to_owned(), what.path.clone());
    properties.insert("artifactsize".to_owned(), bytes.to_string());
    let resource = ArtifactResource {
        kind: CONTAINER.to_owned(),
        data: format!("#/{container}/{}", job.reporter.masked(&what.folder)),
        properties,
        ..ArtifactResource::default()
    };
    associate(job, &what.name, resource).await?;
    step.record.write(&format!(
        "Published {} files as the artifact '{}'.",
        files.len(),
        what.name
    ));
    Ok(files.len())
}

/// The files that are to be published, and a line about the others.
async fn without_ignored(
    step: &Running<'_>,
    what: &Publication,
    mut files: Vec<ListedFile>,
) -> Result<Vec<ListedFile>, StepError> {
    let ignored = match files.iter().find(|file| file.path == IGNORE_FILE) {
        None => Ignored::without_file(),
        Some(file) if file.length > LONGEST => {
            Err(format!("{IGNORE_FILE} is longer than {LONGEST} bytes."))
        }
        Some(file) => {
            let read = step.job.link.read(&what.path, &file.path, 0).await;
            let text = read.map_err(|error| cannot_read(IGNORE_FILE, error))?;
            Ignored::read(&String::from_utf8_lossy(&text))
        }
    };
    let ignored = ignored.map_err(failed)?;
    let all = files.len();
    files.retain(|file| !ignored.has(&file.path));
    if files.len() < all {
        step.record.write(&format!(
            "Left out {} files that {IGNORE_FILE} or the default without it (.git) excludes.",
            all - files.len()
        ));
    }
    Ok(files)
}

/// Gives something that is there already the name of an artifact.
pub(crate) async fn associate(
    job: &Job,
    name: &str,
    resource: ArtifactResource,
) -> Result<(), StepError> {
    let masked = |text: &str| job.reporter.masked(text);
    let properties = resource.properties.iter();
    let draft = BuildArtifact {
        name: masked(name),
        source: Some(job.message.job_id.to_string()),
        resource: ArtifactResource {
            properties: properties
                .map(|(name, value)| (masked(name), masked(value)))
                .collect(),
            ..resource
        },
        ..BuildArtifact::default()
    };
    let (client, project) = (&job.destination.client, job.destination.scope.project);
    let run = run(job)?;
    let published = tried(job, || client.publish_artifact(project, run, &draft)).await;
    published
        .map(drop)
        .map_err(|error| refused(&format!("publish the artifact '{name}'"), &error))
}

async fn upload(
    job: &Job,
    container: BuildId,
    what: &Publication,
    file: &ListedFile,
) -> Result<(), StepError> {
    let own = what.path.rsplit('/').next().unwrap_or_default();
    let name = match file.path.as_str() {
        "" => own,
        path => path,
    };
    let path = job.reporter.masked(&format!("{}/{name}", what.folder));
    let (client, project) = (&job.destination.client, job.destination.scope.project);
    let mut start = 0;
    loop {
        // Also of a file that says that it is empty: it may be no file.
        let read = job.link.read(&what.path, &file.path, start).await;
        let bytes = read.map_err(|error| cannot_read(name, error))?;
        let end = start + bytes.len() as u64;
        if end > file.length || (bytes.is_empty() && file.length > 0) {
            return Err(failed(format!(
                "{name} changed while it was uploaded; what writes it must have ended before."
            )));
        }
        let piece = Piece {
            start,
            total: file.length,
            bytes,
        };
        tried(job, || {
            client.upload_piece(project, container, &path, piece.clone())
        })
        .await
        .map_err(|error| refused(&format!("upload {name}"), &error))?;
        start = end;
        if start == file.length {
            return Ok(());
        }
    }
}

/// Downloads files; gives their number.
pub(crate) async fn download(step: &Running<'_>, wanted: &Wanted) -> Result<usize, StepError> {
    let job = &*step.job;
    let (client, project) = (&job.destination.client, job.destination.scope.project);
    let all = tried(job, || client.artifacts(project, wanted.run))
        .await
        .map_err(|error| refused(&format!("list the artifacts of run {}", wanted.run), &error))?;
    let is_wanted = |artifact: &&BuildArtifact| match &wanted.name {
        Some(name) => artifact.name.eq_ignore_ascii_case(name),
        None => true,
    };
    let artifacts: Vec<_> = all.iter().filter(is_wanted).collect();
    if let (Some(name), true) = (&wanted.name, artifacts.is_empty()) {
        return Err(failed(format!(
            "Run {} has no artifact '{name}'.",
            wanted.run
        )));
    }
    let mut count = 0;
    let mut places = Places {
        job,
        made: HashSet::new(),
    };
    for artifact in artifacts {
        let (container, folder) = files_of(artifact)?;
        let items = tried(job, || client.container_items(project, container, folder))
            .await
            .map_err(|error| refused(&format!("list the files of '{}'", artifact.name), &error))?;
        for item in items.iter().filter(|item| item.item_type == ItemType::File) {
            let Some(name) = wanted_name(wanted, &artifact.name, folder, item) else {
                continue;
            };
            step.record.write(&format!("Downloading {name}"));
            places.download(wanted, container, item, &name).await?;
            count += 1;
        }
    }
    step.record
        .write(&format!("Downloaded {count} files to {}.", wanted.into));
    Ok(count)
}

/// The name under which a file is put, when it is wanted.
fn wanted_name(
    wanted: &Wanted,
    artifact: &str,
    folder: &str,
    item: &ContainerItem,
) -> Option<String> {
    let path = item.path.trim_matches('/');
    let inner = path.strip_prefix(folder)?;
    let inner = match inner {
        // The artifact is one file.
        "" => path.rsplit('/').next()?,
        inner => inner.strip_prefix('/')?,
    };
    let name = if wanted.named {
        format!("{artifact}/{inner}")
    } else {
        inner.to_owned()
    };
    wanted.patterns.want(&name).then_some(name)
}

/// Container and folder of an artifact whose files this agent can fetch.
fn files_of(artifact: &BuildArtifact) -> Result<(BuildId, &str), StepError> {
    let resource = &artifact.resource;
    let place = resource
        .data
        .strip_prefix("#/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(container, folder)| Some((container.parse().ok()?, folder.trim_matches('/'))));
    match place {
        Some(place) if resource.kind.eq_ignore_ascii_case(CONTAINER) => Ok(place),
        _ => Err(failed(format!(
            "The artifact '{}' is of type {}; this agent downloads artifacts of type {CONTAINER} only.",
            artifact.name, resource.kind
        ))),
    }
}

/// Places in the job's container that are written to.
struct Places<'a> {
    job: &'a Job,
    made: HashSet<String>,
}

impl Places<'_> {
    async fn download(
        &mut self,
        wanted: &Wanted,
        container: BuildId,
        item: &ContainerItem,
        name: &str,
    ) -> Result<(), StepError> {
        let inner = inside(name).ok_or_else(|| {
            failed(format!(
                "The artifact has a file {name:?}, which would leave {}.",
                wanted.into
            ))
        })?;
        let target = format!("{}/{}", wanted.into.trim_end_matches('/'), inner.display());
        if let Some((parent, _)) = target.rsplit_once('/')
            && self.made.insert(parent.to_owned())
        {
            self.job.link.make_directory(parent).await?;
        }
        let mut tries = Tries::new(TRIES, self.job.destination.trouble_limit);
        loop {
            if self.job.link.look(&target).await? == FileKind::Directory {
                return Err(failed(format!("{target} is a directory.")));
            }
            self.job.link.remove(&target).await?;
            let tried = self.try_download(container, item, &target).await;
            let Err(error) = tried.map_err(|error| cannot_write(&target, error))? else {
                return Ok(());
            };
            if !tries.another(&error).await {
                return Err(refused(&format!("download {name}"), &error));
            }
        }
    }

    /// The outer error is the job container's, the inner one the service's.
    async fn try_download(
        &self,
        container: BuildId,
        item: &ContainerItem,
        target: &str,
    ) -> Result<Result<(), Error>, HostError> {
        let destination = &self.job.destination;
        let length = u64::try_from(item.file_length).unwrap_or(0);
        let opened = destination
            .client
            .open_container_file(destination.scope.project, container, &item.path, length)
            .await;
        let mut body = match opened {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        let mut written = 0;
        loop {
            let bytes = match next(&mut body).await {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(error)),
            };
            let is_end = bytes.len() < WRITE;
            let append = written > 0;
            written += bytes.len() as u64;
            self.job.link.put(target, 0o644, append, bytes).await?;
            if is_end {
                break;
            }
        }
        if written == length {
            return Ok(Ok(()));
        }
        Ok(Err(Error::Transport(format!(
            "{written} of {length} bytes came"
        ))))
    }
}

/// The next bytes; fewer than [`WRITE`] at the end only.
async fn next(body: &mut Download) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while bytes.len() < WRITE {
        match body.next().await? {
            Some(piece) => bytes.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(bytes.freeze())
}

/// Tries a call again while the service is in trouble.
pub(crate) async fn tried<T, F: Future<Output = Result<T, Error>>>(
    job: &Job,
    call: impl Fn() -> F,
) -> Result<T, Error> {
    let mut tries = Tries::new(TRIES, job.destination.trouble_limit);
    loop {
        match call().await {
            Err(error) => {
                if !tries.another(&error).await {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
}

fn container(job: &Job) -> Result<BuildId, StepError> {
    number(job, "build.containerId")
}

/// The run that the job belongs to.
pub(crate) fn run(job: &Job) -> Result<BuildId, StepError> {
    number(job, "build.buildId")
}

fn number(job: &Job, name: &str) -> Result<BuildId, StepError> {
    let value = job.variables.value(name);
    value.and_then(|value| value.parse().ok()).ok_or_else(|| {
        failed(format!(
            "The service keeps no files for this job: the variable {name} is missing."
        ))
    })
}

pub(crate) fn cannot_read(path: &str, error: HostError) -> StepError {
    match error {
        HostError::Refused(reason) => failed(format!("Failed to read {path}: {reason}.")),
        HostError::Lost => StepError::StepHostLost,
    }
}

/// A file of the job's container could not be written.
pub(crate) fn cannot_write(path: &str, error: HostError) -> StepError {
    match error {
        HostError::Refused(reason) => failed(format!("Failed to write {path}: {reason}.")),
        HostError::Lost => StepError::StepHostLost,
    }
}

pub(crate) fn refused(what: &str, error: &Error) -> StepError {
    failed(match error {
        Error::NotFound(_) => format!(
            "Failed to {what}: {error}. If the service does not offer containers for files, publish and download by a script."
        ),
        error => format!("Failed to {what}: {error}."),
    })
}

pub(crate) fn failed(reason: impl Into<String>) -> StepError {
    StepError::Failed(reason.into())
}

/// How long one piece of a file is, which the step host reads and the service takes.
const _: () = assert!(PIECES <= crate::host::frame::STEP_HOST.payload);
