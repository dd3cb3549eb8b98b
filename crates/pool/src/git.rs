//! Git, as processes: making a repository, finding a commit, and serving clients with `git http-backend`.

pub mod reading;

use crate::rules::refusal::Refusal;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Why git did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Git could not be run.
    #[error("failed to run git: {0}; check that git is installed")]
    Run(#[from] std::io::Error),
    /// Git said no.
    #[error("failed to {what}: git ended with {status}")]
    Failed {
        /// What it was asked for.
        what: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// Git took too long.
    #[error("failed to {0}: git took too long")]
    Timeout(&'static str),
    /// The answer of `git http-backend` is no CGI answer.
    #[error("failed to read the answer of git http-backend")]
    Answer,
}

/// How long the short commands may take.
const SHORT: Duration = Duration::from_secs(20);
/// The most bytes of CGI headers.
const MAX_HEADERS: u64 = 16 * 1024;
const MAX_REFERENCE: usize = 250;

/// A commit, and the ref that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The full ref; absent when a commit was named.
    pub reference: Option<String>,
    /// The commit.
    pub commit: String,
}

/// Makes an empty bare repository.
pub async fn init(directory: &Path, branch: &str) -> Result<(), GitError> {
    let mut command = git(None);
    command
        .args(["init", "--quiet", "--bare", "--initial-branch"])
        .arg(branch)
        .arg("--")
        .arg(directory);
    run("make a repository", command).await.map(drop)
}

/// The commit that a branch, a tag, a full ref or a commit's id means; none when there is no such thing.
pub async fn resolve(directory: &Path, wanted: &str) -> Result<Option<Found>, GitError> {
    if check_reference("ref", wanted).is_err() {
        return Ok(None);
    }
    let is_commit = wanted.len() == 40 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    let candidates = if is_commit {
        vec![(None, wanted.to_lowercase())]
    } else if wanted.starts_with("refs/") {
        vec![(Some(wanted.to_owned()), wanted.to_owned())]
    } else {
        ["refs/heads/", "refs/tags/"]
            .map(|prefix| format!("{prefix}{wanted}"))
            .map(|full| (Some(full.clone()), full))
            .into()
    };
    for (reference, name) in candidates {
        if let Some(commit) = commit_of(directory, &name).await? {
            return Ok(Some(Found { reference, commit }));
        }
    }
    Ok(None)
}

/// Whether a text can be a ref at all; everything else git knows better.
pub fn check_reference(place: &str, name: &str) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\@{".contains(c);
    if name.is_empty()
        || name.len() > MAX_REFERENCE
        || name.starts_with(['-', '/', '.'])
        || name.contains("..")
        || name.chars().any(bad)
    {
        return Err(Refusal::invalid(format!(
            "{place}: {name:?} is no branch, tag, ref or commit"
        )));
    }
    Ok(())
}

async fn commit_of(directory: &Path, name: &str) -> Result<Option<String>, GitError> {
    let mut command = git(Some(directory));
    command
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{name}^{{commit}}"));
    match run("find a commit", command).await {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(GitError::Failed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn run(what: &'static str, mut command: Command) -> Result<String, GitError> {
    let output = tokio::time::timeout(SHORT, command.stdin(Stdio::null()).output())
        .await
        .map_err(|_| GitError::Timeout(what))??;
    if !output.status.success() {
        return Err(GitError::Failed {
            what,
            status: output.status,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Git with an environment of its own: nobody's configuration, no prompts, and repositories that may belong to
/// another uid than this process (a volume that was restored, say).
fn git(directory: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        // What was pushed, by whom and in which order: triggers are worked off from this after a crash too.
        .env("GIT_CONFIG_KEY_1", "core.logAllRefUpdates")
        .env("GIT_CONFIG_VALUE_1", "true")
        .kill_on_drop(true);
    if let Some(directory) = directory {
        command.arg("--git-dir").arg(directory);
    }
    command
}

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// A client's request to a repository.
pub struct Exchange<'a> {
    /// Where all repositories are.
    pub root: PathBuf,
    /// `/{directory}/{what git calls the service}`.
    pub path_info: String,
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// The media type of the body.
    pub content_type: Option<&'a OsStr>,
    /// `gzip`, when the body is.
    pub content_encoding: Option<&'a OsStr>,
    /// The protocol version that the client can.
    pub protocol: Option<&'a OsStr>,
    /// How many bytes a push may bring.
    pub most: Option<u64>,
    /// Who may push; absent for readers, and then git refuses a push by itself too.
    pub pusher: Option<&'a str>,
}

/// A `git http-backend` that runs.
pub struct Backend {
    /// The process; killed when dropped.
    pub child: Child,
    /// The body of its answer.
    pub output: BufReader<ChildStdout>,
    /// The status of its answer.
    pub status: u16,
    /// The headers of its answer.
    pub headers: Vec<(String, String)>,
}

/// Bytes of all files below a directory.
pub fn size(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            // Git removes files of its own while it works.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

/// Starts `git http-backend`; its standard input takes the body.
pub fn start(exchange: &Exchange<'_>) -> Result<Child, GitError> {
    let mut command = git(None);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &exchange.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", &exchange.path_info)
        .env("REQUEST_METHOD", exchange.method)
        .env("QUERY_STRING", exchange.query)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(most) = exchange.most {
        command
            .env("GIT_CONFIG_COUNT", "3")
            .env("GIT_CONFIG_KEY_2", "receive.maxInputSize")
            .env("GIT_CONFIG_VALUE_2", most.to_string());
    }
    for (name, value) in [
        ("CONTENT_TYPE", exchange.content_type),
        ("HTTP_CONTENT_ENCODING", exchange.content_encoding),
        ("GIT_PROTOCOL", exchange.protocol),
        ("REMOTE_USER", exchange.pusher.map(OsStr::new)),
    ] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Ok(command.spawn()?)
}

/// Reads the head of the answer.
pub async fn answer(mut child: Child) -> Result<Backend, GitError> {
    let stdout = child.stdout.take().ok_or(GitError::Answer)?;
    let mut output = BufReader::new(stdout);
    let (status, headers) = head(&mut output).await?;
    Ok(Backend {
        child,
        output,
        status,
        headers,
    })
}

async fn head(
    output: &mut (impl AsyncBufRead + Unpin),
) -> Result<(u16, Vec<(String, String)>), GitError> {
    let mut limited = output.take(MAX_HEADERS);
    let mut status = 200;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line).await? == 0 {
            return Err(GitError::Answer);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or(GitError::Answer)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value
                .split(' ')
                .next()
                .and_then(|code| code.parse().ok())
                .ok_or(GitError::Answer)?;
        } else {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_ref_never_reaches_git() {
        for bad in [
            "", "-x", "a..b", "a b", "HEAD@{1}", "a~1", "a:b", "a\nb", "/a",
        ] {
            assert!(check_reference("ref", bad).is_err(), "{bad:?}");
        }
        for good in ["main", "feature/x", "refs/heads/main", "v1.2.3"] {
            assert!(check_reference("ref", good).is_ok(), "{good:?}");
        }
    }

    #[tokio::test]
    async fn the_head_is_read_to_the_empty_line_and_no_further() {
        let mut text = &b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nbody"[..];
        let (status, headers) = head(&mut text).await.unwrap();
        assert_eq!(status, 403);
        assert_eq!(
            headers,
            [("Content-Type".to_owned(), "text/plain".to_owned())]
        );
        assert_eq!(text, b"body");
    }
}
