//! The service that is measured: a process of its own, so that its memory and time are its own.

use crate::args::Args;
use anyhow::{Context, Result, ensure};
use dayfly_wire::secret::SecretText;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);
const TOKEN: &str = "DAYFLY_POOL_TOKEN";

/// A service; one that was started here ends with this.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) token: SecretText,
    pub(crate) pid: Option<u32>,
    // In this order: the process goes before its directory.
    _child: Option<Ending>,
    _directory: Option<TempDir>,
}

struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Nothing that it keeps is looked at again.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a service, or takes the one that the arguments name.
pub(crate) async fn start(args: &Args) -> Result<Server> {
    let Some(url) = &args.url else {
        return start_own(args).await;
    };
    let token =
        std::env::var(TOKEN).with_context(|| format!("set {TOKEN} to the service's token"))?;
    Ok(Server {
        url: url.trim_end_matches('/').to_owned(),
        token: token.into(),
        pid: args.pid,
        _child: None,
        _directory: None,
    })
}

async fn start_own(args: &Args) -> Result<Server> {
    let program = program(args)?;
    let directory = tempfile::tempdir()?;
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}/default");
    let child = Command::new(&program)
        .args(["serve", "--data-dir"])
        .arg(directory.path())
        .args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--public-url",
            &url,
        ])
        .args(&args.serve_args)
        .env("DAYFLY_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let mut child = Ending(child);
    let ready = format!("http://127.0.0.1:{port}/readyz");
    wait_ready(&ready, &mut child.0).await?;
    let token = make_token(&program, directory.path(), args)?;
    Ok(Server {
        url,
        token,
        pid: Some(child.0.id()),
        _child: Some(child),
        _directory: Some(directory),
    })
}

fn program(args: &Args) -> Result<PathBuf> {
    let beside = || -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        Ok(own.with_file_name("dayfly-pool"))
    };
    let program = args.program.clone().map_or_else(beside, Ok)?;
    ensure!(
        program.is_file(),
        "there is no {}; build it, or name it with --program",
        program.display()
    );
    Ok(program)
}

/// A port that is free now; that it is taken in the next moment shows at the start.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn wait_ready(url: &str, child: &mut Child) -> Result<()> {
    let wait = async {
        loop {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("dayfly-pool ended at its start: {status}");
            }
            let answer = reqwest::get(url).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START, wait)
        .await
        .context("timed out waiting for the service to be ready")?
}

/// Made as an administrator makes one; the arguments say where the service keeps its data.
fn make_token(program: &Path, directory: &Path, args: &Args) -> Result<SecretText> {
    let made = Command::new(program)
        .args(["pat", "create", "--data-dir"])
        .arg(directory)
        .args([
            "--name",
            "bench",
            "--scopes",
            "agentpools_manage,build_execute",
        ])
        .args(&args.serve_args)
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run `dayfly-pool pat create`")?;
    ensure!(made.status.success(), "`dayfly-pool pat create` failed");
    Ok(SecretText::from(std::str::from_utf8(&made.stdout)?.trim()))
}
