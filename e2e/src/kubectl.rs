//! `kubectl`, as a user types it.

use crate::Result;
use anyhow::{Context, bail};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// The longest that one command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `kubectl` and answers what it printed; fails with what it complained of.
pub async fn run(arguments: &[&str]) -> Result<String> {
    run_with_input(arguments, "").await
}

/// Runs `kubectl` with `input` on its standard input.
pub async fn run_with_input(arguments: &[&str], input: &str) -> Result<String> {
    let (success, output, complaint) = attempt(arguments, input).await?;
    if !success {
        bail!("kubectl {} failed: {}", shown(arguments), complaint.trim());
    }
    Ok(output)
}

/// Runs `kubectl` for an answer that may well be a refusal: whether it succeeded, its output, its complaint.
pub async fn attempt(arguments: &[&str], input: &str) -> Result<(bool, String, String)> {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("failed to start kubectl; source e2e/cluster/env.sh")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("kubectl {} did not end in time", shown(arguments)))??;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

/// Applies a manifest.
pub async fn apply(manifest: &str) -> Result<()> {
    run_with_input(&["apply", "-f", "-"], manifest)
        .await
        .map(drop)
}

/// A port of a Service, forwarded to this machine until this value is dropped.
pub struct PortForward {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    _child: Child,
}

impl PortForward {
    /// Forwards `target` (`svc/name` or `pod/name`) of `namespace`.
    pub async fn start(namespace: &str, target: &str, port: u16) -> Result<Self> {
        let mut child = Command::new("kubectl")
            .args([
                "-n",
                namespace,
                "port-forward",
                "--address=127.0.0.1",
                target,
            ])
            .arg(format!(":{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start kubectl port-forward")?;
        let stdout = child.stdout.take().context("kubectl has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
            .await
            .with_context(|| format!("no port-forward to {namespace}/{target} within 30 s"))??
            .with_context(|| format!("kubectl cannot forward to {namespace}/{target}"))?;
        let local = first
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("unexpected words of kubectl: {first}"))?;
        // Its later lines ("Handling connection") must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            port: local,
            _child: child,
        })
    }
}

fn shown(arguments: &[&str]) -> String {
    arguments.join(" ").chars().take(300).collect()
}
