//! The operator's own process: its log, its metrics, its end and its return.

use crate::Result;
use crate::deadline::until;
use crate::kubectl::{self, PortForward};
use crate::names::{OPERATOR, OPERATOR_NAMESPACE};
use std::time::Duration;

/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Its pods.
const SELECTOR: &str = "app.kubernetes.io/component=operator";
/// The one that works.
const LEADER: &str = "dayfly.dev/leader=true";

/// What it logged in the last minutes.
pub async fn log() -> Result<String> {
    let target = format!("deploy/{OPERATOR}");
    kubectl::run(&["-n", OPERATOR_NAMESPACE, "logs", &target, "--since=10m"]).await
}

/// Its metrics.
pub struct Metrics {
    url: String,
    _forward: PortForward,
}

impl Metrics {
    /// Forwards the port.
    pub async fn connect() -> Result<Self> {
        let forward =
            PortForward::start(OPERATOR_NAMESPACE, &format!("deploy/{OPERATOR}"), 8080).await?;
        Ok(Self {
            url: format!("http://127.0.0.1:{}/metrics", forward.port),
            _forward: forward,
        })
    }

    /// The value of a series, written as in the exposition; 0 when it is not there yet.
    pub async fn value(&self, series: &str) -> Result<f64> {
        let text = reqwest::get(&self.url)
            .await?
            .error_for_status()?
            .text()
            .await?;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        Ok(line.map_or(Ok(0.0), |rest| rest.trim().parse())?)
    }
}

/// Stops the operator, as a scale to zero does, and waits until no process is left.
pub async fn stop() -> Result<()> {
    scale(0).await?;
    until("the operator to be gone", START_LIMIT, || async {
        Ok(pods().await?.is_empty().then_some(()))
    })
    .await
}

/// Starts it again and waits until it is ready.
pub async fn start() -> Result<()> {
    scale(1).await?;
    wait_ready().await
}

/// Kills it without warning: no signal that it could act on, no time.
pub async fn kill() -> Result<()> {
    for pod in pods().await? {
        let arguments = [
            "-n",
            OPERATOR_NAMESPACE,
            "delete",
            &pod,
            "--force",
            "--grace-period=0",
        ];
        kubectl::run(&arguments).await?;
    }
    Ok(())
}

/// Waits until its Deployment is as wanted, and its pod leads: one that is ready may still wait for the Lease of a dead one.
pub async fn wait_ready() -> Result<()> {
    let target = format!("deploy/{OPERATOR}");
    let limit = format!("--timeout={}s", START_LIMIT.as_secs() - 10);
    let arguments = [
        "-n",
        OPERATOR_NAMESPACE,
        "rollout",
        "status",
        &target,
        &limit,
    ];
    kubectl::run(&arguments).await?;
    until("the operator to lead", START_LIMIT, || async {
        let (all, leaders) = (pods().await?, named(&format!("{SELECTOR},{LEADER}")).await?);
        Ok((all.len() == 1 && all == leaders).then_some(()))
    })
    .await
}

async fn scale(replicas: usize) -> Result<()> {
    let target = format!("deploy/{OPERATOR}");
    let replicas = format!("--replicas={replicas}");
    kubectl::run(&["-n", OPERATOR_NAMESPACE, "scale", &target, &replicas])
        .await
        .map(drop)
}

async fn pods() -> Result<Vec<String>> {
    named(SELECTOR).await
}

async fn named(selector: &str) -> Result<Vec<String>> {
    let arguments = [
        "-n",
        OPERATOR_NAMESPACE,
        "get",
        "pods",
        "-l",
        selector,
        "-o",
        "name",
    ];
    let output = kubectl::run(&arguments).await?;
    Ok(output.lines().map(str::to_owned).collect())
}
