//! The cache volume: one file for each entry, below a folder for each project, pipeline and ref. What other jobs left
//! there is not trusted: names are hashes, lengths are looked at before anything is read, and an entry counts only
//! when it is whole.
//!
//! An entry is its archive, then its description, then the description's length and a mark: it is written in one
//! go, and what is cut has no mark.

use super::key::begins_with;
use super::scope::Scopes;
use dayfly_keys::content::ContentHasher;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with, statvfs};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// The longest archive.
pub(crate) const MOST_ARCHIVE: u64 = 10 << 30;
/// How much of the volume all entries together may take, in hundredths.
const SHARE: u64 = 80;
/// How long an entry stays that nobody uses.
const UNUSED_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an entry may take to be written.
const UNFINISHED_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How many entries of one scope are looked at.
const MOST_ENTRIES: usize = 10_000;
const LONGEST_HEADER: u64 = 64 << 10;
const MARK: [u8; 8] = *b"DFCACHE1";
/// The length of the description, and the mark.
const END: u64 = 4 + MARK.len() as u64;
const UNFINISHED: &str = "unfinished-";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Its whole key.
    pub(crate) key: Vec<String>,
    /// The ref whose jobs saved it.
    pub(crate) scope: String,
    /// How many folders were packed.
    pub(crate) roots: usize,
    /// The archive's length.
    pub(crate) length: u64,
    /// The archive's hash.
    pub(crate) hash: String,
    /// When, in milliseconds.
    pub(crate) saved: i64,
}

/// What is looked for.
pub(crate) struct Wanted {
    pub(crate) key: Vec<String>,
    /// The whole key, or only its beginning.
    pub(crate) exact: bool,
}

/// An entry; the file stands at the archive's first byte.
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) file: tokio::fs::File,
}

/// An entry that is being written.
pub(crate) struct Unfinished {
    pub(crate) file: tokio::fs::File,
    path: PathBuf,
    folder: PathBuf,
}

/// The volume.
#[derive(Clone)]
pub(crate) struct Volume(PathBuf);

impl Volume {
    pub(crate) fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Whether an entry of this key is there, saved for the job's own ref. What only stands in its place is removed.
    pub(crate) fn has(&self, scopes: &Scopes, key: &[String]) -> bool {
        let place = self.folder(scopes, &scopes.refs[0]).join(name(key));
        let has = read(&place).is_some();
        if !has {
            let _ = fs::remove_file(&place);
        }
        has
    }

    /// Removes an entry of the job's own ref that turned out to be damaged.
    pub(crate) fn forget(&self, scopes: &Scopes, key: &[String]) {
        let _ = fs::remove_file(self.folder(scopes, &scopes.refs[0]).join(name(key)));
    }

    /// The first entry that is wanted: keys in order, for each the scopes in order, of several the newest.
    pub(crate) async fn find(
        &self,
        scopes: Scopes,
        wanted: Vec<Wanted>,
    ) -> io::Result<Option<Found>> {
        let volume = self.clone();
        let found = tokio::task::spawn_blocking(move || volume.find_now(&scopes, &wanted)).await;
        let found = found.map_err(io::Error::other)??;
        Ok(found.map(|(header, file)| Found {
            header,
            file: file.into(),
        }))
    }

    fn find_now(&self, scopes: &Scopes, wanted: &[Wanted]) -> io::Result<Option<(Header, File)>> {
        for wanted in wanted {
            for reference in &scopes.refs {
                let folder = self.folder(scopes, reference);
                let found = if wanted.exact {
                    read(&folder.join(name(&wanted.key))).filter(|(it, _)| it.key == wanted.key)
                } else {
                    newest(&folder, &wanted.key)?
                };
                if let Some((header, file)) = found {
                    // Entries that are in use stay; a volume that cannot be written restores all the same.
                    let _ = file.set_times(FileTimes::new().set_modified(now()));
                    return Ok(Some((header, file)));
                }
            }
        }
        Ok(None)
    }

    /// Begins an entry of a length, after making room for it; the error says why not.
    pub(crate) async fn begin(&self, scopes: &Scopes, length: u64) -> Result<Unfinished, String> {
        let (volume, folder) = (self.clone(), self.folder(scopes, &scopes.refs[0]));
        let begun = tokio::task::spawn_blocking(move || volume.begin_now(folder, length)).await;
        let begun = begun.map_err(io::Error::other).and_then(|begun| begun);
        begun.map_err(|error| format!("the cache volume cannot take it ({error})"))
    }

    fn begin_now(&self, folder: PathBuf, length: u64) -> io::Result<Unfinished> {
        self.make_room(length)?;
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600))?;
        Ok(Unfinished {
            file: File::from(file).into(),
            path,
            folder,
        })
    }

    /// Removes what nobody uses, and then the entries that were not used for longest, until `length` bytes more are
    /// within the share of the volume.
    fn make_room(&self, length: u64) -> io::Result<()> {
        let disk = statvfs(&self.0)?;
        let most = disk.f_blocks.saturating_mul(disk.f_frsize) / 100 * SHARE;
        let now = now();
        let mut kept = Vec::new();
        for (path, used, length) in self.entries()? {
            let age = now.duration_since(used).unwrap_or_default();
            let is_unfinished = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED));
            let limit = if is_unfinished {
                UNFINISHED_LIMIT
            } else {
                UNUSED_LIMIT
            };
            if age > limit {
                let _ = fs::remove_file(&path);
            } else {
                kept.push((used, path, length));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, _, length)| length).sum();
        for (_, path, its) in kept {
            if total.saturating_add(length) <= most {
                return Ok(());
            }
            tracing::info!(entry = %path.display(), "removing a cache entry to make room");
            let _ = fs::remove_file(&path);
            total -= its;
        }
        if total.saturating_add(length) <= most {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "its {length} bytes are more than the {most} that entries may take"
        )))
    }

    /// Every entry: place, last use, length.
    fn entries(&self) -> io::Result<Vec<(PathBuf, SystemTime, u64)>> {
        let mut entries = Vec::new();
        let mut waiting = vec![(self.0.join("entries"), 0)];
        while let Some((folder, depth)) = waiting.pop() {
            let Ok(inside) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in inside.flatten() {
                let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
                    continue;
                };
                if metadata.is_dir() && depth < 3 {
                    waiting.push((entry.path(), depth + 1));
                } else if metadata.is_file() {
                    entries.push((entry.path(), metadata.modified()?, metadata.len()));
                }
            }
        }
        Ok(entries)
    }

    fn folder(&self, scopes: &Scopes, reference: &str) -> PathBuf {
        let parts = [&scopes.project, &scopes.pipeline, reference];
        let folder = self.0.join("entries");
        parts.into_iter().fold(folder, |folder, part| {
            folder.join(&hash(part.as_bytes())[..32])
        })
    }
}

impl Unfinished {
    /// Completes the entry; one that is there already stays as it is. A crash before leaves nothing that counts.
    pub(crate) async fn finish(mut self, header: &Header) -> io::Result<()> {
        let text = serde_json::to_vec(header)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.file.write_all(&text).await?;
        self.file.write_all(&length.to_le_bytes()).await?;
        self.file.write_all(&MARK).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        let place = self.folder.join(name(&header.key));
        match renameat_with(CWD, &self.path, CWD, &place, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            // Some network file systems do not know the flag.
            Err(rustix::io::Errno::INVAL) => fs::rename(&self.path, &place),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Unfinished {
    /// Nothing is there any more when it was finished.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn now() -> SystemTime {
    crate::clock::now().into()
}

/// The newest entry whose key begins so.
fn newest(folder: &Path, start: &[String]) -> io::Result<Option<(Header, File)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut best: Option<(Header, File)> = None;
    for entry in entries.take(MOST_ENTRIES) {
        let Some((header, file)) = read(&entry?.path()) else {
            continue;
        };
        let is_newer = best
            .as_ref()
            .is_none_or(|(best, _)| best.saved < header.saved);
        if begins_with(&header.key, start) && is_newer {
            best = Some((header, file));
        }
    }
    Ok(best)
}

/// An entry that is whole: described at its end, as long as it says, under the name of its key.
fn read(path: &Path) -> Option<(Header, File)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(CWD, path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let before_end = metadata.len().checked_sub(END)?;
    file.seek(SeekFrom::Start(before_end)).ok()?;
    let mut end = [0; END as usize];
    file.read_exact(&mut end).ok()?;
    let (length, mark) = end.split_first_chunk::<4>()?;
    let length = u64::from(u32::from_le_bytes(*length));
    let archive = before_end.checked_sub(length)?;
    if mark != MARK || length > LONGEST_HEADER {
        return None;
    }
    file.seek(SeekFrom::Start(archive)).ok()?;
    let mut text = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut text).ok()?;
    let header: Header = serde_json::from_slice(&text).ok()?;
    let is_named = path
        .file_name()
        .is_some_and(|file| *file == *name(&header.key));
    if header.length != archive || !is_named {
        return None;
    }
    file.seek(SeekFrom::Start(0)).ok()?;
    Some((header, file))
}

/// The name of an entry's file. Segments are told apart, whatever is in them.
fn name(key: &[String]) -> String {
    let mut hasher = ContentHasher::default();
    for segment in key {
        hasher.update(&(segment.len() as u64).to_le_bytes());
        hasher.update(segment.as_bytes());
    }
    hasher.name()
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(bytes);
    hasher.name()
}

#[cfg(test)]
mod tests;
