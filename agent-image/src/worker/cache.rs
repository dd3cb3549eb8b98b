//! Cache entries: what a step's files are kept under between runs, on a volume that only the agent mounts. The step
//! host packs, unpacks and hashes; the agent decides which entry, and never looks into one.

pub(crate) mod key;
pub(crate) mod scope;
pub(crate) mod volume;

use super::artifacts::failed;
use super::job::Job;
use super::step::{Running, StepError};
use crate::host::link::HostError;
use dayfly_keys::content::ContentHasher;
use key::{Keys, Segment};
use scope::{Scopes, scopes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;
use volume::{Found, Header, MOST_ARCHIVE, Wanted};

/// Bytes that go to the job container at once.
const PIECE: usize = 1 << 20;

/// What a step restored, which its other part has to know.
#[derive(Clone)]
pub(crate) struct Restored {
    /// The whole key.
    pub(crate) key: Vec<String>,
    /// An entry of this key was there.
    pub(crate) exact: bool,
    /// The folders.
    pub(crate) roots: Vec<String>,
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Exact,
    /// The beginning of the key was enough.
    Inexact,
    Miss,
}

impl Hit {
    /// As steps read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "true",
            Self::Inexact => "inexact",
            Self::Miss => "false",
        }
    }
}

/// What a lookup came to, and what is to be warned of.
pub(crate) struct Looked {
    pub(crate) hit: Hit,
    pub(crate) warning: Option<String>,
}

impl From<Hit> for Looked {
    fn from(hit: Hit) -> Self {
        Self { hit, warning: None }
    }
}

impl Looked {
    fn without(warning: String) -> Self {
        Self {
            hit: Hit::Miss,
            warning: Some(warning),
        }
    }
}

/// The volume and the job's scopes on it; the error says in one line why nothing is cached.
pub(crate) fn place(job: &Job) -> Result<(volume::Volume, Scopes), String> {
    let directory = &job.facts.cache;
    if !directory.is_dir() {
        return Err(format!(
            "This agent has no cache volume, so nothing is restored or saved. To have one, let the AgentPool's template mount a volume at {} in the container 'agent'.",
            directory.display()
        ));
    }
    let scopes = scopes(&job.message).ok_or(
        "The job belongs to no pipeline or no branch, so nothing is restored or saved: entries are kept by pipeline and branch.",
    )?;
    Ok((volume::Volume::new(directory), scopes))
}

/// A key with what its files hold.
pub(crate) async fn resolve(
    step: &Running<'_>,
    segments: &[Segment],
) -> Result<Vec<String>, StepError> {
    let base = step
        .job
        .variables
        .value("pipeline.workspace")
        .unwrap_or("/");
    let mut resolved = Vec::new();
    for segment in segments {
        let (text, hashed) = match segment {
            Segment::Text(text) => (text.clone(), None),
            Segment::Files {
                patterns, without, ..
            } => {
                let hashed = step.job.link.hash(base, patterns, without).await?;
                (hashed.hash.clone(), Some(hashed))
            }
        };
        for line in key::shown(segment, hashed.as_ref()) {
            step.record.write(&line);
        }
        if let (Segment::Files { written, .. }, Some(0)) =
            (segment, hashed.as_ref().map(|hashed| hashed.count))
        {
            return Err(failed(if key::is_one_file(written) {
                format!("File not found: {written}")
            } else {
                format!("No matching files found for pattern: {written}")
            }));
        }
        resolved.push(text);
    }
    step.record
        .write(&format!("Resolved to: {}", key::text(&resolved)));
    Ok(resolved)
}

/// Looks the keys up and puts the first entry that is found in place.
pub(crate) async fn restore(
    step: &Running<'_>,
    volume: &volume::Volume,
    scopes: &Scopes,
    keys: &Keys,
    restored: &Restored,
) -> Result<Looked, StepError> {
    let mut wanted = vec![Wanted {
        key: restored.key.clone(),
        exact: true,
    }];
    for segments in &keys.restore {
        step.record.write("Resolving restore key:");
        wanted.push(Wanted {
            key: resolve(step, segments).await?,
            exact: false,
        });
    }
    let found = match volume.find(scopes.clone(), wanted).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            step.record.write("There is a cache miss.");
            return Ok(Looked::from(Hit::Miss));
        }
        Err(error) => {
            return Ok(Looked::without(format!(
                "The cache volume cannot be read ({error}); going on without."
            )));
        }
    };
    let hit = if found.header.key == restored.key {
        Hit::Exact
    } else {
        Hit::Inexact
    };
    step.record.write(&format!(
        "There is a cache hit: `{}` of {} ({} bytes)",
        key::text(&found.header.key),
        found.header.scope,
        found.header.length
    ));
    if found.header.roots != restored.roots.len() {
        return Ok(Looked::without(format!(
            "The entry has {} folders, and this step names {}; going on without.",
            found.header.roots,
            restored.roots.len()
        )));
    }
    let archive = archive_path(step.job);
    let (key, scope) = (found.header.key.clone(), found.header.scope.clone());
    let copied = hand_over(step.job, found, &archive).await;
    let unpacked = match copied {
        Ok(Ok(())) => step.job.link.unpack(&archive, &restored.roots).await,
        Ok(Err(problem)) => {
            let _ = step.job.link.remove(&archive).await;
            if scope == scopes.refs[0] {
                volume.forget(scopes, &key);
            }
            return Ok(Looked::without(format!(
                "The entry is damaged ({problem}); going on without."
            )));
        }
        Err(error) => Err(error),
    };
    let _ = step.job.link.remove(&archive).await;
    let files = unpacked.map_err(not_restored)?;
    step.record
        .write(&format!("Cache restored: {files} files."));
    Ok(Looked::from(hit))
}

/// Copies an entry to where the step host finds it. The outer error is the job container's, the inner one says what
/// is wrong with the entry.
async fn hand_over(job: &Job, found: Found, to: &str) -> Result<Result<(), String>, HostError> {
    let Found { header, mut file } = found;
    let mut hasher = ContentHasher::default();
    let mut left = header.length;
    let mut append = false;
    while left > 0 || !append {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        if let Err(error) = file.read_exact(&mut piece).await {
            return Ok(Err(error.to_string()));
        }
        hasher.update(&piece);
        left -= length as u64;
        job.link.put(to, 0o600, append, piece.into()).await?;
        append = true;
    }
    if hasher.name() == header.hash {
        Ok(Ok(()))
    } else {
        Ok(Err("its content is not what was saved".to_owned()))
    }
}

/// Packs the folders and keeps them under the key; gives what is to be warned of when that went wrong.
pub(crate) async fn save(
    step: &Running<'_>,
    volume: &volume::Volume,
    scopes: &Scopes,
    restored: &Restored,
) -> Result<Option<String>, StepError> {
    if volume.has(scopes, &restored.key) {
        step.record
            .write("An entry of this key was saved meanwhile; entries do not change.");
        return Ok(None);
    }
    let archive = archive_path(step.job);
    let packed = step
        .job
        .link
        .pack(&restored.roots, &archive, MOST_ARCHIVE)
        .await;
    let kept = match packed {
        Ok(length) => keep(step, volume, scopes, restored, &archive, length).await,
        Err(HostError::Refused(reason)) => Ok(Err(reason)),
        Err(HostError::Lost) => Err(HostError::Lost),
    };
    if !matches!(kept, Err(HostError::Lost)) {
        let _ = step.job.link.remove(&archive).await;
    }
    match kept? {
        Ok(length) => {
            step.record.write(&format!(
                "Cache saved: `{}` for {} ({length} bytes).",
                key::text(&restored.key),
                scopes.refs[0]
            ));
            Ok(None)
        }
        Err(problem) => Ok(Some(format!("Nothing was saved to the cache: {problem}."))),
    }
}

/// The outer error is the job container's, the inner one says why nothing was kept.
async fn keep(
    step: &Running<'_>,
    volume: &volume::Volume,
    scopes: &Scopes,
    restored: &Restored,
    archive: &str,
    length: u64,
) -> Result<Result<u64, String>, HostError> {
    let mut header = Header {
        key: restored.key.clone(),
        scope: scopes.refs[0].clone(),
        roots: restored.roots.len(),
        length,
        hash: String::new(),
        saved: crate::clock::now().as_millisecond(),
    };
    let mut entry = match volume.begin(scopes, length).await {
        Ok(entry) => entry,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut hasher = ContentHasher::default();
    let mut at = 0;
    while at < length {
        let piece = step.job.link.read(archive, "", at).await?;
        if piece.is_empty() || at + piece.len() as u64 > length {
            return Ok(Err("the archive changed while it was read".to_owned()));
        }
        hasher.update(&piece);
        at += piece.len() as u64;
        if let Err(error) = entry.file.write_all(&piece).await {
            return Ok(Err(format!("the cache volume cannot be written ({error})")));
        }
    }
    header.hash = hasher.name();
    let ended = entry.finish(&header).await;
    Ok(ended
        .map(|()| length)
        .map_err(|error| format!("the cache volume cannot be written ({error})")))
}

/// Beside the job's own temporary files, under a name that nobody guesses.
fn archive_path(job: &Job) -> String {
    let work = job.facts.job_work.trim_end_matches('/');
    format!("{work}/_temp/cache-{}.tgz", Uuid::new_v4())
}

fn not_restored(error: HostError) -> StepError {
    match error {
        HostError::Refused(reason) => failed(format!(
            "Failed to restore the cache entry: {reason}. If the entry is at fault, another value of the variable AZP_CACHING_SALT leaves it behind."
        )),
        HostError::Lost => StepError::StepHostLost,
    }
}
