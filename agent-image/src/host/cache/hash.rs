//! What the files hold that patterns name.

use super::{MOST_ENTRIES, too_many, too_much};
use crate::host::protocol::{Hashed, HashedFile};
use crate::host::tree::regular_file;
use dayfly_keys::content::ContentHasher;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many of the files are shown.
const SHOWN: usize = 20;
/// The most that the files may come to.
const MOST: u64 = 4 << 30;
const WILDCARDS: [char; 4] = ['*', '?', '[', ']'];

/// Hashes the files that one of the patterns names and none of `without`. Names below `base` count from there.
pub(crate) fn hash(base: &str, patterns: &[String], without: &[String]) -> io::Result<Hashed> {
    let without = set(without)?;
    let mut files = BTreeSet::new();
    let mut seen = 0;
    for pattern in patterns {
        find(pattern, &without, &mut files, &mut seen)?;
    }
    let mut all = ContentHasher::default();
    let mut hashed = Hashed::default();
    let mut left = MOST;
    for file in &files {
        let shown = file
            .strip_prefix(base)
            .unwrap_or(file)
            .display()
            .to_string();
        let (hash, length) = hash_file(file, &mut left)
            .map_err(|error| io::Error::other(format!("{shown}: {error}")))?;
        all.update(format!("{shown}\0{length}\0{hash}\n").as_bytes());
        hashed.count += 1;
        if hashed.first.len() < SHOWN {
            let path = shown.chars().take(200).collect();
            hashed.first.push(HashedFile { path, hash });
        }
    }
    hashed.hash = all.name();
    Ok(hashed)
}

fn hash_file(file: &Path, left: &mut u64) -> io::Result<(String, u64)> {
    let path = file
        .to_str()
        .ok_or_else(|| io::Error::other("its name is no text"))?;
    let mut file = regular_file(path, "")?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher.name(), length)),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
                *left = left
                    .checked_sub(read as u64)
                    .ok_or_else(|| too_much(MOST))?;
            }
        }
    }
}

/// Adds the files that a pattern names. Links to folders are not gone into.
fn find(
    pattern: &str,
    without: &GlobSet,
    files: &mut BTreeSet<PathBuf>,
    seen: &mut usize,
) -> io::Result<()> {
    let Some(first) = pattern.find(WILDCARDS) else {
        let path = PathBuf::from(pattern);
        if fs::metadata(&path).is_ok_and(|it| it.is_file()) && !without.is_match(&path) {
            files.insert(path);
        }
        return Ok(());
    };
    let matcher = glob(pattern)?.compile_matcher();
    let root = &pattern[..pattern[..first].rfind('/').map_or(0, |slash| slash + 1)];
    let deepest = if pattern.contains("**") {
        usize::MAX
    } else {
        pattern[root.len()..].matches('/').count()
    };
    let mut waiting = vec![(PathBuf::from(root), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        // What is not there, and what the job may not look into, matches nothing.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            *seen += 1;
            if *seen > MOST_ENTRIES {
                return Err(too_many());
            }
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                if depth < deepest {
                    waiting.push((path, depth + 1));
                }
            } else if matcher.is_match(&path)
                && !without.is_match(&path)
                && fs::metadata(&path).is_ok_and(|it| it.is_file())
            {
                files.insert(path);
            }
        }
    }
    Ok(())
}

fn set(patterns: &[String]) -> io::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    set.build().map_err(io::Error::other)
}

/// Stars stay within a name, and braces mean themselves.
fn glob(pattern: &str) -> io::Result<Glob> {
    let pattern = pattern.replace('{', "[{]").replace('}', "[}]");
    GlobBuilder::new(&pattern)
        .literal_separator(true)
        .build()
        .map_err(io::Error::other)
}
