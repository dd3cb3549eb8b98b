//! The service as clients see it that nobody here wrote: the Python and the Node client of Azure DevOps.
//!
//! `e2e/clients.sh` installs them. Each drives a service of its own, in which one build has run to its end and another
//! runs until it is cancelled.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests fail like tests.
#![allow(clippy::disallowed_methods)] // The libraries lie where the environment says.

mod common;

use common::{Fixture, OpenSession, Taken, TestAgent, within};
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{Record, RecordState, TASK};
use serde_json::json;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command as GitCommand, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The longest that a client may take.
const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_python_client_drives_the_service() {
    let libraries = installed("python");
    let mut command = Command::new("python3");
    command
        .arg(script("drive.py"))
        .env("PYTHONPATH", &libraries)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    drive(command).await;
}

#[tokio::test]
async fn the_node_client_drives_the_service() {
    let libraries = installed("node").join("node_modules");
    let mut command = Command::new("node");
    command
        .arg(script("drive.js"))
        .env("NODE_PATH", &libraries)
        // The library writes about its own use of old functions.
        .env("NODE_NO_WARNINGS", "1");
    drive(command).await;
}

fn script(name: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    tests.join(name)
}

fn installed(name: &str) -> PathBuf {
    let cache = std::env::var_os("DAYFLY_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        home.join(".cache/dayfly")
    });
    let libraries = cache.join("clients").join(name);
    assert!(
        libraries.join("installed").exists(),
        "there are no client libraries at {}; run e2e/clients.sh",
        libraries.display()
    );
    libraries
}

/// Sets a service up, and lets the client loose on it while an agent is at work.
async fn drive(mut command: Command) {
    let fixture = Fixture::start().await;
    push_a_commit(&fixture).await;
    let agent = fixture.register("worker").await;
    let session = agent.open().await;
    let finished = fixture
        .queue_with(json!({"name": "nightly", "displayName": "Build", "repository": "app"}))
        .await;
    let taken = agent.take_job(&session).await;
    report(&fixture, &taken).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    let running = fixture.queue_with(json!({"name": "endless"})).await;
    let held = agent.take_job(&session).await;

    let caches = tempfile::tempdir().unwrap();
    let mut child = command
        .env("AZURE_DEVOPS_CACHE_DIR", caches.path())
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let key = AgentKey::generate().unwrap().public().to_wire();
    let listener = fixture.register("listener").await;
    let message = &held.message;
    let given = json!({
        "job": {
            "token": held.token.expose(),
            "project": message.plan.scope_identifier,
            "plan": message.plan.plan_id,
            "timeline": message.timeline.id,
            "id": message.job_id,
            "request": message.request_id,
        },
        "listener": {
            "id": listener.record.id,
            "name": listener.record.name,
            "token": listener.listen_token(&fixture).await.expose(),
        },
        "task": base64(&task()),
        "url": fixture.service.url(),
        "pat": fixture.pat.expose(),
        "modulus": key.modulus,
        "finished": finished.build_id,
        "running": running.build_id,
    });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let waited = tokio::time::timeout(LIMIT, async {
        let mut ended = pin!(child.wait_with_output());
        tokio::select! {
            // It failed before it asked for the end of the build.
            output = &mut ended => output,
            () = obey(&fixture, &agent, &session, &held) => ended.await,
        }
    });
    let output = waited.await.expect("the client ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(said.trim(), "done", "{complained}");
}

/// Holds on to a job until its end is asked for.
async fn obey(fixture: &Fixture, agent: &TestAgent, session: &OpenSession, held: &Taken) {
    loop {
        if agent.poll(session).await.is_some() {
            held.complete(fixture, TaskResult::Canceled).await;
            return;
        }
    }
}

/// What a worker reports of a job of one step.
async fn report(fixture: &Fixture, taken: &Taken) {
    let (worker, scope) = (taken.client(fixture), taken.scope());
    let step = taken.message.steps[0].id;
    let log = worker.create_log(&scope, r"logs\step").await.unwrap();
    let text = "one\ntwo\nthree\n".into();
    let log = worker.append_log(&scope, log.id, text).await.unwrap();
    let job = RecordId(taken.message.job_id.0);
    let ended = |id: RecordId| Record {
        id,
        state: Some(RecordState::Completed),
        result: Some(TaskResult::Succeeded),
        ..Record::default()
    };
    let records = [
        Record {
            parent_id: Some(job),
            kind: Some(TASK.to_owned()),
            name: Some("say hello".to_owned()),
            log: Some(log),
            ..ended(step)
        },
        ended(job),
    ];
    let timeline = taken.message.timeline.id;
    worker
        .update_records(&scope, timeline, &records)
        .await
        .unwrap();
}

/// A repository with one commit on its default branch.
async fn push_a_commit(fixture: &Fixture) {
    let repository = json!({"name": "app"});
    let path = "/demo/_apis/git/repositories";
    let made = fixture
        .call("POST", path, Some(&fixture.pat), Some(repository))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let url = format!("{}/demo/_git/app", fixture.service.url());
    let pat = fixture.pat.expose().to_owned();
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().to_owned();
    let pushing = tokio::task::spawn_blocking(move || {
        std::fs::write(directory.join("README"), "hello\n").unwrap();
        let header = format!("Authorization: Basic {}", basic(&pat));
        let commands: [&[&str]; 4] = [
            &["init", "--quiet", "--initial-branch=main"],
            &["add", "README"],
            &["commit", "--quiet", "--message=first"],
            &["push", "--quiet", &url, "main"],
        ];
        for arguments in commands {
            let done = GitCommand::new("git")
                .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
                .args(arguments)
                .current_dir(&directory)
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env("GIT_CONFIG_VALUE_0", &header)
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
    });
    within("a commit to be pushed", pushing).await.unwrap();
}

fn basic(password: &str) -> String {
    base64(format!(":{password}").as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The archive of a task.
fn task() -> Vec<u8> {
    let definition = json!({
        "id": "11111111-1111-4111-8111-111111111111", "name": "Greet", "friendlyName": "Greet somebody",
        "version": {"Major": 1, "Minor": 2, "Patch": 3},
        "inputs": [{"name": "who", "type": "string", "required": true}],
        "execution": {"Node20_1": {"target": "main.js"}},
    });
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [
        ("task.json", definition.to_string()),
        ("main.js", "1".to_owned()),
    ] {
        let options = SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}
