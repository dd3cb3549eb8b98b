//! Git, as the agent runs it: no configuration but ours, no hooks, no transport but HTTP, and a credential that is
//! in no argument, environment or file, only behind an inherited descriptor.

use super::lines::{Lines, Output};
use super::process::until;
use super::step::{Running, StepError};
use super::system_connection;
use crate::control::Facts;
use crate::git_credential::Stored;
use crate::inherited;
use dayfly_wire::job::{JobMessage, Repository};
use rustix::fs::{MemfdFlags, memfd_create};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::sleep;

const FETCH_TRIES: u32 = 3;
const NO_HOOKS: &str = "core.hooksPath=/dev/null";
const CHUNK: usize = 16 * 1024;

/// What to fetch.
pub(crate) struct Fetch {
    pub(crate) version: String,
    pub(crate) reference: Option<String>,
    pub(crate) depth: Option<u32>,
    pub(crate) tags: bool,
}

/// Git with one repository's credential.
pub(crate) struct Git {
    home: PathBuf,
    agent_version: String,
    ca_file: Option<PathBuf>,
    helper: String,
    credential: OwnedFd,
}

/// The credential of a repository: its endpoint's, or the job token for the service's own.
pub(crate) fn credential(
    message: &JobMessage,
    repository: &Repository,
) -> Result<Stored, StepError> {
    let reference = repository.endpoint.as_ref();
    let named = message.resources.endpoints.iter().find(|endpoint| {
        let by_id = reference.and_then(|reference| reference.id.as_ref());
        let by_name = reference.and_then(|reference| reference.name.as_ref());
        match (by_id, by_name) {
            (Some(id), _) => endpoint.id.as_ref() == Some(id),
            (None, Some(name)) => endpoint.name.eq_ignore_ascii_case(name),
            (None, None) => false,
        }
    });
    let unknown = || {
        StepError::Failed(
            "The repository's service connection has no credential that git can use.".to_owned(),
        )
    };
    let (user, secret) = match named.and_then(|endpoint| endpoint.authorization.as_ref()) {
        None => ("OAuth", system_connection(message).ok_or_else(unknown)?.1),
        Some(authorization) => {
            let parameter = |name: &str| {
                authorization
                    .parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value)
            };
            let user = parameter("username").map(|user| user.expose());
            match authorization.scheme.to_lowercase().as_str() {
                "oauth" => ("OAuth", parameter("AccessToken").ok_or_else(unknown)?),
                "usernamepassword" => (
                    user.unwrap_or_default(),
                    parameter("password").ok_or_else(unknown)?,
                ),
                _ => (
                    user.unwrap_or("x-access-token"),
                    ["AccessToken", "apitoken", "accessToken"]
                        .into_iter()
                        .find_map(parameter)
                        .ok_or_else(unknown)?,
                ),
            }
        }
    };
    Stored::new(&repository.properties.url, user, secret).ok_or_else(|| {
        StepError::Failed("The repository's URL is not an http or https URL.".to_owned())
    })
}

impl Git {
    /// Prepares git; the credential goes to memory that only an inherited descriptor leads to.
    pub(crate) fn new(facts: &Facts, home: PathBuf, credential: &Stored) -> io::Result<Self> {
        let memory = memfd_create("credential", MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(&credential.to_bytes()?)?;
        let program = std::env::current_exe()?;
        let quoted = program.display().to_string().replace('\'', r"'\''");
        let ca_file = match &facts.ca_bundle {
            Some(pem) => Some(ca_file(&home, pem)?),
            None => None,
        };
        let credential = OwnedFd::from(file);
        Ok(Self {
            helper: format!(
                "credential.helper=!'{quoted}' git-credential --descriptor {}",
                credential.as_raw_fd()
            ),
            agent_version: facts.agent_version.clone(),
            home,
            ca_file,
            credential,
        })
    }

    /// Makes an empty repository that knows where it comes from.
    pub(crate) async fn initialize(
        &self,
        step: &mut Running<'_>,
        mirror: &Path,
        url: &str,
    ) -> Result<(), StepError> {
        self.run(
            step,
            mirror,
            &["init", "--quiet", "--bare", "--template=", "."],
        )
        .await?;
        for (key, value) in [
            ("remote.origin.url", url),
            ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
            ("gc.auto", "0"),
        ] {
            self.run(step, mirror, &["config", key, value]).await?;
        }
        Ok(())
    }

    /// Fetches, and gives what to check out.
    pub(crate) async fn fetch(
        &self,
        step: &mut Running<'_>,
        mirror: &Path,
        fetch: &Fetch,
    ) -> Result<String, StepError> {
        if let Some(depth) = fetch.depth
            && is_commit(&fetch.version)
        {
            let refspec = by_commit(&fetch.version);
            match self
                .fetch_refs(step, mirror, fetch.tags, Some(depth), &[refspec])
                .await
            {
                Ok(()) => return Ok(fetch.version.clone()),
                Err(StepError::Failed(_)) => step.record.warning(
                    "The server does not give single commits; fetching all branches instead.",
                ),
                Err(other) => return Err(other),
            }
        }
        let mut refspecs = vec!["+refs/heads/*:refs/remotes/origin/*".to_owned()];
        refspecs.extend(other_reference(fetch.reference.as_deref()));
        self.fetch_refs(step, mirror, fetch.tags, None, &refspecs)
            .await?;
        if !is_commit(&fetch.version) {
            return Ok(local_name(fetch.reference.as_deref()));
        }
        let commit = format!("{}^{{commit}}", fetch.version);
        if self
            .succeeds(step, mirror, &["cat-file", "-e", &commit])
            .await?
        {
            return Ok(fetch.version.clone());
        }
        self.fetch_refs(step, mirror, false, None, &[by_commit(&fetch.version)])
            .await?;
        Ok(fetch.version.clone())
    }

    async fn fetch_refs(
        &self,
        step: &mut Running<'_>,
        mirror: &Path,
        tags: bool,
        depth: Option<u32>,
        refspecs: &[String],
    ) -> Result<(), StepError> {
        let depth = depth.map(|depth| format!("--depth={depth}"));
        let mut arguments = vec![
            "fetch",
            "--force",
            if tags { "--tags" } else { "--no-tags" },
        ];
        arguments.extend(["--prune", "--no-recurse-submodules", "origin"]);
        arguments.extend(depth.as_deref());
        arguments.extend(refspecs.iter().map(String::as_str));
        let mut attempt = 1;
        loop {
            match self.run(step, mirror, &arguments).await {
                Err(StepError::Failed(reason)) if attempt < FETCH_TRIES => {
                    step.record.warning(&format!("{reason} Trying again."));
                    self.wait(step, Duration::from_secs(u64::from(attempt)))
                        .await?;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn wait(&self, step: &mut Running<'_>, time: Duration) -> Result<(), StepError> {
        let canceled = step.job.listener.canceled().clone();
        tokio::select! {
            () = sleep(time) => Ok(()),
            () = canceled.cancelled(), if !step.runs_on => Err(StepError::Canceled),
        }
    }

    /// The bare repository becomes an ordinary one's.
    pub(crate) async fn make_ordinary(
        &self,
        step: &mut Running<'_>,
        mirror: &Path,
    ) -> Result<(), StepError> {
        self.run(step, mirror, &["config", "core.bare", "false"])
            .await
    }

    /// Checks a commit out, detached.
    pub(crate) async fn check_out(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        commit: &str,
    ) -> Result<(), StepError> {
        let quiet = ["-c", "advice.detachedHead=false"];
        let arguments = ["checkout", "--force", "--detach", commit];
        self.run(step, directory, &[&quiet[..], &arguments[..]].concat())
            .await
    }

    /// Runs git; its lines go to the step's record.
    async fn run(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<(), StepError> {
        step.record
            .write(&format!("##[command]git {}", arguments.join(" ")));
        let status = self.status(step, directory, arguments).await?;
        if status.success() {
            return Ok(());
        }
        Err(StepError::Failed(format!(
            "Git {} failed with {status}.",
            arguments.first().copied().unwrap_or_default()
        )))
    }

    async fn succeeds(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<bool, StepError> {
        Ok(self.status(step, directory, arguments).await?.success())
    }

    async fn status(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<ExitStatus, StepError> {
        let mut child = self.spawn(directory, arguments).map_err(|problem| {
            StepError::Failed(format!(
                "failed to run git: {problem}; the agent's image must hold it"
            ))
        })?;
        let mut output = follow(&mut child);
        let mut lines = Lines::default();
        let canceled = step.job.listener.canceled().clone();
        loop {
            tokio::select! {
                chunk = output.recv() => match chunk {
                    Some(chunk) => write(step, &mut lines, Some(&chunk)),
                    None => break,
                },
                () = canceled.cancelled(), if !step.runs_on => {
                    if step.must_end() {
                        let _ = child.kill().await;
                        return Err(StepError::Canceled);
                    }
                }
                () = until(step.deadline) => {
                    let _ = child.kill().await;
                    return Err(StepError::TimedOut);
                }
            }
        }
        write(step, &mut lines, None);
        child
            .wait()
            .await
            .map_err(|problem| StepError::Failed(format!("failed to wait for git: {problem}")))
    }

    fn spawn(&self, directory: &Path, arguments: &[&str]) -> io::Result<Child> {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env(
                "PATH",
                std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            )
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "http:https")
            .env(
                "GIT_HTTP_USER_AGENT",
                format!("git (dayfly-agent/{})", self.agent_version),
            );
        if let Some(file) = &self.ca_file {
            command.env("GIT_SSL_CAINFO", file);
        }
        for setting in [
            NO_HOOKS,
            "credential.helper=",
            &self.helper,
            "credential.useHttpPath=true",
        ] {
            command.args(["-c", setting]);
        }
        command
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        inherited::share(&self.credential)?;
        let child = command.spawn();
        inherited::keep(&self.credential)?;
        child
    }
}

/// The chunks of both outputs as they come; ends with both.
fn follow(child: &mut Child) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(8);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(read(out, sender.clone()));
    }
    if let Some(error) = child.stderr.take() {
        tokio::spawn(read(error, sender));
    }
    receiver
}

async fn read(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.send(buffer[..length].to_vec()).await.is_err() {
            return;
        }
    }
}

/// Git's output is no place for logging commands: a branch may be called like one.
fn write(step: &Running<'_>, lines: &mut Lines, chunk: Option<&[u8]>) {
    let mut assembled = Vec::new();
    step.record.reporter().outbox(|outbox| match chunk {
        Some(chunk) => outbox.assemble(lines, chunk, &mut assembled),
        None => outbox.finish(lines, &mut assembled),
    });
    for output in assembled {
        match output {
            Output::Line(text) | Output::Piece(text) => step.record.write(&text),
            Output::CommandTooLong => {}
        }
    }
}

fn ca_file(home: &Path, pem: &str) -> io::Result<PathBuf> {
    let path = home.join("ca.pem");
    let mut all = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    all.extend_from_slice(pem.as_bytes());
    std::fs::write(&path, all)?;
    Ok(path)
}

fn is_commit(version: &str) -> bool {
    matches!(version.len(), 40 | 64) && version.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn by_commit(version: &str) -> String {
    format!("+{version}:refs/remotes/origin/{version}")
}

/// A refspec for what is no branch: a pull request, for example. Tags come with `--tags`.
fn other_reference(reference: Option<&str>) -> Option<String> {
    let reference = reference?;
    let rest = reference.strip_prefix("refs/")?;
    (!rest.starts_with("heads/") && !rest.starts_with("tags/"))
        .then(|| format!("+{reference}:refs/remotes/{rest}"))
}

/// Where a fetched reference is found.
fn local_name(reference: Option<&str>) -> String {
    match reference {
        None => "refs/remotes/origin/HEAD".to_owned(),
        Some(reference) => match reference.strip_prefix("refs/heads/") {
            Some(branch) => format!("refs/remotes/origin/{branch}"),
            None if reference.starts_with("refs/tags/") => reference.to_owned(),
            None => format!(
                "refs/remotes/{}",
                reference.strip_prefix("refs/").unwrap_or(reference)
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_local_name_and_refspec() {
        for (reference, refspec, name) in [
            ("refs/heads/a/b", None, "refs/remotes/origin/a/b"),
            ("refs/tags/v1", None, "refs/tags/v1"),
            (
                "refs/pull/7/merge",
                Some("+refs/pull/7/merge:refs/remotes/pull/7/merge"),
                "refs/remotes/pull/7/merge",
            ),
        ] {
            assert_eq!(other_reference(Some(reference)).as_deref(), refspec);
            assert_eq!(local_name(Some(reference)), name);
        }
    }

    #[test]
    fn a_commit_is_hexadecimal_and_whole() {
        assert!(is_commit(&"a0".repeat(20)));
        assert!(!is_commit("main"));
        assert!(!is_commit(&"g".repeat(40)));
    }
}
