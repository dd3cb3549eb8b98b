//! Stored content: attachments, tasks and artifacts, as files that are named by their hash.
//!
//! The database says which content belongs to what. A file that nothing names any more is removed later, by
//! [`Contents::forget`]; until then it costs space and nothing else.

use axum::body::Bytes;
use dayfly_keys::content::ContentHasher;
use flate2::read::MultiGzDecoder;
use std::io::{self, Read, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use uuid::Uuid;

/// Content that nothing names is kept this long, for the call that is about to name it.
const YOUNG: Duration = Duration::from_secs(60 * 60);
/// What the directories are called.
const KEPT: &str = "content";
const INCOMING: &str = "content/incoming";

/// Why content could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} stored content: {source}")]
pub struct ContentError {
    doing: &'static str,
    source: io::Error,
}

impl ContentError {
    /// Content could not be looked through or removed.
    pub fn tidying(source: io::Error) -> Self {
        Self {
            doing: "tidy",
            source,
        }
    }
}

/// Content that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its name.
    pub hash: String,
    /// How long it is.
    pub bytes: i64,
}

/// The directory of all content.
pub struct Contents {
    kept: PathBuf,
    incoming: PathBuf,
}

/// Content that is being written; dropped, it is gone.
pub struct Incoming {
    path: PathBuf,
    file: File,
    hasher: ContentHasher,
    bytes: u64,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After it was kept there is nothing under this name; otherwise tidying comes later.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Incoming {
    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), ContentError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(failed("write"))
    }

    /// All of it was written; answers where it lies until it is kept.
    pub async fn finish(&mut self) -> Result<PathBuf, ContentError> {
        self.file.flush().await.map_err(failed("write"))?;
        Ok(self.path.clone())
    }

    /// How much was written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Contents {
    /// Opens the directory below a data directory, making it when it is not there.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let incoming = data_dir.join(INCOMING);
        std::fs::create_dir_all(&incoming)?;
        Ok(Self {
            kept: data_dir.join(KEPT),
            incoming,
        })
    }

    /// Begins content.
    pub async fn begin(&self) -> Result<Incoming, ContentError> {
        let path = self.incoming.join(Uuid::new_v4().to_string());
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(failed("begin"))?;
        Ok(Incoming {
            path,
            file,
            hasher: ContentHasher::default(),
            bytes: 0,
        })
    }

    /// Keeps content under its hash. Content that is there already is replaced by itself, which makes it young.
    pub async fn keep(&self, mut incoming: Incoming) -> Result<Content, ContentError> {
        incoming.finish().await?;
        incoming.file.sync_data().await.map_err(failed("write"))?;
        let hash = std::mem::take(&mut incoming.hasher).name();
        let path = self.path(&hash);
        place(&incoming.path, &path).map_err(failed("keep"))?;
        let bytes = i64::try_from(incoming.bytes).unwrap_or(i64::MAX);
        Ok(Content { hash, bytes })
    }

    /// Keeps content under a path elsewhere on this volume, if its hash is the one that it should be; whether it was.
    pub async fn keep_as(
        &self,
        mut incoming: Incoming,
        hash: &str,
        path: &Path,
    ) -> Result<bool, ContentError> {
        incoming.finish().await?;
        if std::mem::take(&mut incoming.hasher).name() != hash {
            return Ok(false);
        }
        incoming.file.sync_data().await.map_err(failed("write"))?;
        place(&incoming.path, path).map_err(failed("keep"))?;
        Ok(true)
    }

    /// Opens content for reading.
    pub async fn read(&self, hash: &str) -> Result<File, ContentError> {
        File::open(self.path(hash)).await.map_err(failed("read"))
    }

    /// Where content lies.
    pub fn path(&self, hash: &str) -> PathBuf {
        path_of(&self.kept, hash)
    }

    /// Where a file that comes in pieces is collected.
    pub fn upload(&self, id: Uuid) -> PathBuf {
        self.incoming.join(id.to_string())
    }

    /// Opens a file that comes in pieces, at a place; it is made when it is not there.
    pub async fn open_upload(&self, id: Uuid, start: i64) -> Result<Upload, ContentError> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.upload(id))
            .await
            .map_err(failed("begin"))?;
        file.seek(SeekFrom::Start(start.unsigned_abs()))
            .await
            .map_err(failed("begin"))?;
        Ok(Upload(file))
    }

    /// Keeps a file that came in pieces, unpacked if it is packed; none when that is not `bytes` long.
    pub async fn adopt(
        &self,
        id: Uuid,
        gzip: bool,
        bytes: i64,
    ) -> Result<Option<Content>, ContentError> {
        let (upload, kept) = (self.upload(id), self.kept.clone());
        let unpacked = gzip.then(|| self.upload(Uuid::new_v4()));
        let adopted = tokio::task::spawn_blocking(move || {
            let adopted = adopt(&upload, unpacked.as_deref(), &kept, bytes);
            if let Some(unpacked) = unpacked {
                // It was kept, or it is of no use.
                let _ = std::fs::remove_file(unpacked);
            }
            let _ = std::fs::remove_file(upload);
            adopted
        });
        let adopted = adopted.await.map_err(io::Error::other);
        adopted.flatten().map_err(failed("keep"))
    }

    /// The names of all content that is not young.
    pub fn old(&self, now: SystemTime) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for directory in std::fs::read_dir(&self.kept)? {
            let directory = directory?.path();
            if directory == self.incoming || !directory.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(directory)? {
                let file = file?;
                if is_old(&file.path(), now)
                    && let Ok(name) = file.file_name().into_string()
                {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Removes content that nothing names. What became young since it was looked at stays.
    pub fn forget(&self, hash: &str, now: SystemTime) -> io::Result<()> {
        let path = self.path(hash);
        let aside = self.incoming.join(Uuid::new_v4().to_string());
        match std::fs::rename(&path, &aside) {
            // Another replica has done it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        if is_old(&aside, now) {
            std::fs::remove_file(&aside)
        } else {
            std::fs::rename(&aside, &path)
        }
    }

    /// Removes what was begun long ago and never kept.
    pub fn forget_incoming(&self, now: SystemTime, life: Duration) -> io::Result<()> {
        for file in std::fs::read_dir(&self.incoming)? {
            let path = file?.path();
            if age(&path, now).is_some_and(|age| age > life) {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
        }
        Ok(())
    }
}

/// A file that comes in pieces, open for one of them.
pub struct Upload(File);

impl Upload {
    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), ContentError> {
        self.0.write_all(bytes).await.map_err(failed("write"))
    }

    /// The piece is over.
    pub async fn end(mut self) -> Result<(), ContentError> {
        self.0.flush().await.map_err(failed("write"))
    }
}

/// Opens a file, and tells its length; none when there is no such file.
pub async fn open(path: &Path) -> Result<Option<(File, i64)>, ContentError> {
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read")(error)),
    };
    let bytes = file.metadata().await.map_err(failed("read"))?.len();
    Ok(Some((file, i64::try_from(bytes).unwrap_or(i64::MAX))))
}

fn path_of(kept: &Path, hash: &str) -> PathBuf {
    kept.join(hash.get(..2).unwrap_or(hash)).join(hash)
}

/// Puts a file where its content belongs.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(directory) = to.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::rename(from, to)
}

fn adopt(
    upload: &Path,
    unpacked: Option<&Path>,
    kept: &Path,
    bytes: i64,
) -> io::Result<Option<Content>> {
    let source = std::fs::File::open(upload)?;
    let mut hasher = ContentHasher::default();
    let most = bytes.unsigned_abs();
    let read = match unpacked {
        None => {
            let read = hash(source, &mut io::sink(), &mut hasher, most)?;
            std::fs::File::open(upload)?.sync_data()?;
            read
        }
        Some(path) => {
            let mut target = std::fs::File::create(path)?;
            match hash(MultiGzDecoder::new(source), &mut target, &mut hasher, most) {
                Ok(read) => {
                    target.sync_data()?;
                    read
                }
                // What it is packed with is the client's matter, a disk that is full is not.
                Err(error) if is_malformed(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    };
    if read != most {
        return Ok(None);
    }
    let hash = hasher.name();
    place(unpacked.unwrap_or(upload), &path_of(kept, &hash))?;
    Ok(Some(Content { hash, bytes }))
}

fn is_malformed(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Copies and hashes at most one byte more than `most`: enough to know that it is too long.
fn hash(
    source: impl Read,
    target: &mut impl io::Write,
    hasher: &mut ContentHasher,
    most: u64,
) -> io::Result<u64> {
    let mut source = source.take(most.saturating_add(1));
    let mut buffer = vec![0; 64 * 1024];
    let mut read = 0;
    loop {
        let count = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(read);
        };
        hasher.update(bytes);
        target.write_all(bytes)?;
        read += count as u64;
    }
}

fn is_old(path: &Path, now: SystemTime) -> bool {
    age(path, now).is_some_and(|age| age > YOUNG)
}

fn age(path: &Path, now: SystemTime) -> Option<Duration> {
    let changed = std::fs::metadata(path).ok()?.modified().ok()?;
    now.duration_since(changed).ok()
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> ContentError {
    move |source| ContentError { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(contents: &Contents, text: &'static str) -> Content {
        let mut incoming = contents.begin().await.unwrap();
        incoming
            .write(&Bytes::from_static(text.as_bytes()))
            .await
            .unwrap();
        contents.keep(incoming).await.unwrap()
    }

    fn later(by: Duration) -> SystemTime {
        std::fs::metadata("/proc/self")
            .unwrap()
            .modified()
            .unwrap()
            .checked_add(by)
            .unwrap()
    }

    #[tokio::test]
    async fn content_is_there_once_and_goes_when_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let contents = Contents::open(directory.path()).unwrap();
        let first = put(&contents, "hello").await;
        assert_eq!(put(&contents, "hello").await, first);
        assert_eq!(std::fs::read(contents.path(&first.hash)).unwrap(), b"hello");
        assert!(contents.old(later(Duration::ZERO)).unwrap().is_empty());
        let tomorrow = later(2 * YOUNG);
        assert_eq!(contents.old(tomorrow).unwrap(), [first.hash.as_str()]);
        contents.forget(&first.hash, later(Duration::ZERO)).unwrap();
        assert!(contents.path(&first.hash).exists(), "young again: it stays");
        contents.forget(&first.hash, tomorrow).unwrap();
        assert!(!contents.path(&first.hash).exists());
    }

    #[tokio::test]
    async fn content_that_is_not_kept_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let contents = Contents::open(directory.path()).unwrap();
        drop(contents.begin().await.unwrap());
        let left = std::fs::read_dir(&contents.incoming).unwrap().count();
        assert_eq!(left, 0);
    }
}
