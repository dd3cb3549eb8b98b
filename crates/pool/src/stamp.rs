//! By what a changed file is recognised.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What differs when another file lies at a path, or when it was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: (i64, i64),
    file: u64,
    size: u64,
}

impl Stamp {
    /// The stamp of the file at a path; links are followed.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let facts = std::fs::metadata(path)?;
        Ok(Self {
            modified: (facts.mtime(), facts.mtime_nsec()),
            file: facts.ino(),
            size: facts.size(),
        })
    }
}
