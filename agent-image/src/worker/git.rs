//! Git, as the agent runs it: no configuration but ours, no hooks, no transport but HTTP, and a credential that is
//! in no argument, environment or file, only behind an inherited descriptor.

use super::git_refs::{Fetch, by_commit, is_commit, local_name, other_reference};
use super::lines::{Lines, Output};
use super::process::until;
use super::proxy::git_setting;
use super::step::{Running, StepError};
use crate::control::Facts;
use crate::git_credential::Credentials;
use crate::inherited;
use dayfly_wire::proxy::Proxy;
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
const NO_HOOKS: (&str, &str) = ("core.hooksPath", "/dev/null");
const CHUNK: usize = 16 * 1024;

/// Git with the credentials of one checkout.
pub(crate) struct Git {
    /// What every call is configured with beside the credentials.
    pub(super) settings: Vec<(&'static str, &'static str)>,
    home: PathBuf,
    agent_version: String,
    ca_file: Option<PathBuf>,
    helper: String,
    /// The setting of the proxy, and what is reached without it.
    proxy: Option<String>,
    no_proxy: String,
    credential: OwnedFd,
}

impl Git {
    /// Prepares git; the credential goes to memory that only an inherited descriptor leads to.
    pub(crate) fn new(
        facts: &Facts,
        home: PathBuf,
        credentials: &Credentials,
        url: &str,
    ) -> io::Result<Self> {
        let memory = memfd_create("credential", MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(&credentials.to_bytes()?)?;
        let program = std::env::current_exe()?;
        let quoted = program.display().to_string().replace('\'', r"'\''");
        let ca_file = match &facts.ca_bundle {
            Some(pem) => Some(ca_file(&home, pem)?),
            None => None,
        };
        let credential = OwnedFd::from(file);
        Ok(Self {
            settings: vec![NO_HOOKS],
            helper: format!(
                "credential.helper=!'{quoted}' git-credential --descriptor {}",
                credential.as_raw_fd()
            ),
            agent_version: facts.agent_version.clone(),
            home,
            ca_file,
            proxy: facts
                .proxy
                .as_ref()
                .and_then(|proxy| git_setting(proxy, url)),
            no_proxy: facts
                .proxy
                .as_ref()
                .map(Proxy::no_proxy_text)
                .unwrap_or_default(),
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
        self.try_to_run(step, mirror, &arguments).await
    }

    /// Runs what talks to a server, which may fail today and work in a second.
    pub(super) async fn try_to_run(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<(), StepError> {
        let mut attempt = 1;
        loop {
            match self.run(step, directory, arguments).await {
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
    pub(super) async fn run(
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

    pub(super) async fn succeeds(
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
            .env("GIT_SSH_COMMAND", "false")
            .env(
                "GIT_HTTP_USER_AGENT",
                format!("git (dayfly-agent/{})", self.agent_version),
            );
        if let Some(file) = &self.ca_file {
            command.env("GIT_SSL_CAINFO", file);
        }
        if let Some(setting) = &self.proxy {
            command
                .env("NO_PROXY", &self.no_proxy)
                .args(["-c", setting]);
        }
        for (key, value) in &self.settings {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        for setting in [
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
