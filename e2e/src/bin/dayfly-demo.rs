//! The demo's second half: with Dayfly installed, run one job and show what happened to it.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // It talks to a terminal and reads the clock.

use anyhow::{Context, Result};
use dayfly_e2e::deadline::until;
use dayfly_e2e::names::{OPERATOR_NAMESPACE, PROJECT, SERVICE_URL};
use dayfly_e2e::service::Service;
use dayfly_e2e::stages::{PodWatch, milliseconds};
use dayfly_e2e::{install_tls, kubectl};
use dayfly_wire::event::TaskResult;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::request::JobRequest;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const NAMESPACE: &str = "ci";
const POOL: &str = "demo";

#[tokio::main]
async fn main() -> Result<()> {
    install_tls();
    let service = Service::connect()
        .await
        .context("the pool service is not there")?;
    let pool = service.pool(POOL).await?;
    let repository = prepare_repository(&service).await?;
    connect_operator(&service).await?;
    kubectl::run(&["apply", "-f", "examples/agentpool-small.yaml"]).await?;
    say("AgentPool applied; waiting for its reserve of registered identities");
    wait_ready().await?;

    let kube = kube::Client::try_default().await?;
    let pods = PodWatch::start(kube, NAMESPACE).await?;
    let job = service.queue(job_document(&repository)?).await?;
    say(&format!(
        "queued request {}; the job's log, live:",
        job.request_id
    ));
    let first_line = stream(&service, &job).await?;
    let request = service
        .wait_finished(pool, &job, Duration::from_secs(60))
        .await?;
    let identity = request
        .reserved_agent
        .as_ref()
        .map(|agent| agent.name.clone())
        .context("no agent")?;
    let gone = wait_gone(&service, pool, &identity, &pods).await?;
    show(&request, &identity, &pods, first_line, gone);
    anyhow::ensure!(
        request.result == Some(TaskResult::Succeeded),
        "the job did not succeed"
    );
    Ok(())
}

fn say(text: &str) {
    println!("\n==> {text}");
}

/// A repository with one file, pushed by the real git. Pushing again what is there changes nothing.
async fn prepare_repository(service: &Service) -> Result<String> {
    let name = "hello";
    let body = json!({ "name": name });
    let path = format!("/{PROJECT}/_apis/git/repositories");
    if let Err(error) = service.rest(reqwest::Method::POST, &path, Some(body)).await {
        anyhow::ensure!(error.to_string().contains("409"), error);
    }
    let directory = std::env::temp_dir().join(format!("dayfly-demo-{}", std::process::id()));
    let script = r#"set -e
mkdir -p "$1" && cd "$1" && git init -q -b main
printf 'Hello from a repository that the pool service hosts.\n' > hello.txt
git add hello.txt
GIT_AUTHOR_DATE=2026-01-01T00:00:00Z GIT_COMMITTER_DATE=2026-01-01T00:00:00Z \
  git -c user.name=demo -c user.email=demo@example.test commit -q -m 'Say hello'
git -c credential.helper='!f() { echo username=demo; echo "password=$DEMO_PAT"; }; f' push -q --force "$2" main
cd / && rm -rf "$1""#;
    let url = format!("{}/{PROJECT}/_git/{name}", service.base_url);
    let status = tokio::process::Command::new("bash")
        .args(["-c", script, "demo"])
        .arg(&directory)
        .arg(&url)
        .env("DEMO_PAT", service.pat().expose())
        .env("GIT_TERMINAL_PROMPT", "0")
        .status()
        .await?;
    anyhow::ensure!(
        status.success(),
        "failed to push the demo repository to {url}"
    );
    Ok(name.to_owned())
}

/// The Secret and the PoolConnection, in the operator's namespace; the namespace that pods run in.
async fn connect_operator(service: &Service) -> Result<()> {
    for manifest in [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } }),
        json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "demo-pat", "namespace": OPERATOR_NAMESPACE },
            "stringData": { "pat": service.pat().expose() } }),
    ] {
        kubectl::apply(&manifest.to_string()).await?;
    }
    kubectl::run(&["apply", "-f", "examples/poolconnection.yaml"]).await?;
    say(&format!(
        "PoolConnection to {SERVICE_URL}, its token in a Secret beside the operator"
    ));
    Ok(())
}

async fn wait_ready() -> Result<()> {
    until(
        "the AgentPool to be Ready with a reserve",
        Duration::from_secs(120),
        || async {
            let text = kubectl::run(&["-n", NAMESPACE, "get", "agentpool", "-o", "json"]).await?;
            let list: Value = serde_json::from_str(&text)?;
            let pool = &list["items"][0];
            let ready = dayfly_e2e::scenario::condition(pool, "Ready")
                .is_some_and(|condition| condition["status"] == "True");
            let reserved = pool["status"]["agents"]["reserved"].as_i64().unwrap_or(0);
            Ok((ready && reserved > 0).then_some(()))
        },
    )
    .await
}

fn job_document(repository: &str) -> Result<Value> {
    let text = std::fs::read_to_string("examples/job-hello.json")
        .context("run the demo from the repository's root")?;
    let mut job: Value = serde_json::from_str(&text)?;
    job["pool"] = POOL.into();
    job["repository"] = repository.into();
    Ok(job)
}

/// Prints lines as they come; answers when the first came.
async fn stream(service: &Service, job: &QueuedJob) -> Result<Option<Timestamp>> {
    let (mut after, mut first) = (0, None);
    loop {
        let page = service.feed(job.request_id, after).await?;
        for entry in &page.value {
            first.get_or_insert_with(Timestamp::now);
            println!("    {}", entry.line);
        }
        if page.result.is_some() && page.value.is_empty() {
            return Ok(first);
        }
        after = page.next;
    }
}

async fn wait_gone(
    service: &Service,
    pool: dayfly_wire::ids::PoolId,
    identity: &str,
    pods: &PodWatch,
) -> Result<Timestamp> {
    let what = format!("pod, sealed Secret and registration of {identity} to be gone");
    until(&what, Duration::from_secs(30), || async {
        let secret = kubectl::run(&[
            "-n",
            dayfly_e2e::names::IDENTITIES_NAMESPACE,
            "get",
            "secret",
            identity,
            "--ignore-not-found",
            "-o",
            "name",
        ])
        .await?;
        anyhow::ensure!(secret.trim().is_empty(), "the sealed Secret is there");
        let registered = service
            .agents(pool)
            .await?
            .iter()
            .any(|agent| agent.name == identity);
        anyhow::ensure!(!registered, "the registration is there");
        let deleted = pods
            .histories()
            .get(identity)
            .and_then(|history| history.deleted);
        anyhow::ensure!(deleted.is_some(), "the pod is there");
        Ok(Some(Timestamp::now()))
    })
    .await
}

fn show(
    request: &JobRequest,
    identity: &str,
    pods: &PodWatch,
    first_line: Option<Timestamp>,
    gone: Timestamp,
) {
    let history = pods.histories().remove(identity).unwrap_or_default();
    let result = request.result.map_or("unknown", TaskResult::as_str);
    say(&format!(
        "job {result}; pod, sealed Secret and registration of {identity} are gone"
    ));
    let Some(queued) = request.queue_time else {
        return;
    };
    let stages = [
        ("queued", Some(queued)),
        ("pod created", history.stage("created").or(history.seen)),
        ("claimed", history.stage("claimed")),
        ("session open", history.stage("listening")),
        ("first line", first_line),
        ("finished", request.finish_time),
        ("gone", Some(gone)),
    ];
    println!(
        "\n    {:<14} {:<26} {:>12}",
        "stage", "time", "since queued"
    );
    for (stage, time) in stages {
        match time {
            Some(time) => {
                let since = format!("{:.0} ms", milliseconds(queued, time));
                println!("    {stage:<14} {:<26} {since:>12}", format!("{time:.3}"));
            }
            None => println!("    {stage:<14} {:<26} {:>12}", "not seen", "-"),
        }
    }
}
