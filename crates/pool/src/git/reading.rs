//! What the service itself reads in a repository: files, branches, and what was pushed to them.

use super::{GitError, git, run};
use std::path::Path;

/// Branches of a repository that are looked at.
const MAX_BRANCHES: usize = 5000;
/// Updates of a branch that are looked at.
const MAX_UPDATES: usize = 50;
const HEADS: &str = "refs/heads/";

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// Its text.
    Text(String),
    /// There is no such file.
    Missing,
    /// It is longer than was asked for.
    TooLong,
    /// It is no text.
    Binary,
}

/// Reads a file of at most this many bytes.
pub async fn file(
    directory: &Path,
    commit: &str,
    path: &str,
    most: usize,
) -> Result<File, GitError> {
    let name = format!("{commit}:{path}");
    let mut asked = git(Some(directory));
    asked.args(["cat-file", "-s"]).arg(&name);
    let size = match run("look at a file", asked).await {
        Ok(size) => size,
        Err(GitError::Failed { .. }) => return Ok(File::Missing),
        Err(error) => return Err(error),
    };
    if size
        .trim()
        .parse::<usize>()
        .map_or(true, |size| size > most)
    {
        return Ok(File::TooLong);
    }
    let mut asked = git(Some(directory));
    asked.args(["cat-file", "blob"]).arg(&name);
    match run("read a file", asked).await {
        Ok(text) if text.contains('\u{fffd}') => Ok(File::Binary),
        Ok(text) => Ok(File::Text(text)),
        Err(GitError::Failed { .. }) => Ok(File::Missing),
        Err(error) => Err(error),
    }
}

/// The branches with their commits, by name.
pub async fn branches(directory: &Path) -> Result<Vec<(String, String)>, GitError> {
    let mut asked = git(Some(directory));
    asked
        .arg("for-each-ref")
        .arg(format!("--count={MAX_BRANCHES}"))
        .args(["--format=%(refname) %(objectname)", HEADS]);
    let text = run("list the branches", asked).await?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, commit)| (name.to_owned(), commit.to_owned()))
        .collect())
}

/// A branch was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// To this commit.
    pub commit: String,
    /// By this one.
    pub pusher: String,
}

/// How a branch was moved, oldest first: what git noted itself when it took the pushes.
pub async fn updates(directory: &Path, branch: &str) -> Result<Vec<Update>, GitError> {
    let mut asked = git(Some(directory));
    asked
        .args(["log", "--walk-reflogs", "--format=%H %gn"])
        .arg(format!("--max-count={MAX_UPDATES}"))
        .arg(branch)
        .arg("--");
    let text = match run("read what was pushed", asked).await {
        Ok(text) => text,
        // The branch went away in the meantime.
        Err(GitError::Failed { .. }) => String::new(),
        Err(error) => return Err(error),
    };
    let mut updates: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(commit, pusher)| Update {
            commit: commit.to_owned(),
            pusher: pusher.to_owned(),
        })
        .collect();
    updates.reverse();
    Ok(updates)
}

/// The message of a commit.
pub async fn message(directory: &Path, commit: &str) -> Result<String, GitError> {
    let mut asked = git(Some(directory));
    asked.args(["log", "-1", "--format=%B", commit, "--"]);
    run("read a commit", asked).await
}
