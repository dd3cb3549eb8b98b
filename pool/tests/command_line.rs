//! The program itself: a service process, and the commands that talk to it.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{DEADLINE, Output, run};
use dayfly_client::{AgentCredential, Client, Credential, PlanScope};
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::agent::{Agent, AgentAuthorization, AgentReference};
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage};
use dayfly_wire::log::FeedLines;
use dayfly_wire::session::Session;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

struct Service {
    child: Child,
    url: String,
    token: String,
    directory: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let mut service = Self::on(tempfile::tempdir().unwrap()).await.unwrap();
        let made = service
            .pat(&[
                "create",
                "--name",
                "me",
                "--scopes",
                "agentpools_manage,build_execute,code_write",
            ])
            .await;
        assert_eq!(made.code, 0, "{}", made.err);
        service.token = made.out.trim().to_owned();
        service
    }

    /// Starts on a directory; gives it back, with what the service said, when the service does not start.
    async fn on(directory: tempfile::TempDir) -> Result<Self, (tempfile::TempDir, String)> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Free now; nobody else takes a port of the loopback interface in between but by bad luck.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}/default");
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"))
            .args([
                "serve",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--public-url",
                &url,
            ])
            .arg("--data-dir")
            .arg(directory.path())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut service = Self {
            child,
            url,
            token: String::new(),
            directory,
        };
        let ready = tokio::time::timeout(DEADLINE, service.is_ready(port)).await;
        if ready.unwrap() {
            return Ok(service);
        }
        let said = std::fs::read_to_string(service.directory.path().join("log")).unwrap();
        Err((service.directory, said))
    }

    /// Waits until it serves, or has ended.
    async fn is_ready(&mut self, port: u16) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // It listens before it has opened its data; only then does it answer.
            if answers(port).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn pat(&self, arguments: &[&str]) -> Output {
        let directory = self.directory.path().to_str().unwrap().to_owned();
        let mut all = vec!["pat"];
        all.extend(arguments);
        all.extend(["--data-dir", &directory]);
        run(&all, &[]).await
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let environment = [
            ("DAYFLY_POOL_URL", self.url.as_str()),
            ("DAYFLY_POOL_TOKEN", self.token.as_str()),
            ("THE_SECRET", "s3cret"),
        ];
        run(arguments, &environment).await
    }

    fn client(&self, credential: Credential) -> Client {
        Client::builder(&self.url)
            .credential(credential)
            .build()
            .unwrap()
    }
}

async fn answers(port: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    asked
        .await
        .is_ok_and(|answer: String| answer.starts_with("HTTP/1.1 200"))
}

/// An agent that takes one job, says a line, and ends it well.
async fn work_once(service: &Service) {
    let admin = service.client(Credential::Pat(service.token.clone().into()));
    let pool = admin.find_pool("linux").await.unwrap().unwrap().id;
    let key = Arc::new(AgentKey::generate().unwrap());
    let draft = Agent {
        name: "one".to_owned(),
        authorization: Some(AgentAuthorization {
            public_key: Some(key.public().to_wire()),
            ..AgentAuthorization::default()
        }),
        ..Agent::default()
    };
    let record = admin.register_agent(pool, &draft).await.unwrap();
    let authorization = record.authorization.unwrap();
    let audience = authorization.authorization_url.unwrap();
    let agent = service.client(Credential::Agent(AgentCredential {
        key: Arc::clone(&key),
        client_id: authorization.client_id.unwrap(),
        token_url: audience.clone(),
        audience,
    }));
    let asked = Session {
        agent: AgentReference {
            id: record.id,
            ..AgentReference::default()
        },
        ..Session::default()
    };
    let session = agent.create_session(pool, &asked).await.unwrap();
    let session_key = key
        .unwrap_session_key(&session.encryption_key.unwrap())
        .unwrap();
    let envelope = agent
        .next_message(pool, session.session_id, None)
        .await
        .unwrap()
        .unwrap();
    let body = session_key
        .decrypt(&envelope.iv.unwrap(), &envelope.body)
        .unwrap();
    let message: JobMessage = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        message.variables["hush"].value.as_ref().unwrap().expose(),
        "s3cret"
    );
    agent
        .acknowledge(pool, session.session_id, envelope.message_id)
        .await
        .unwrap();
    agent.renew_request(pool, message.request_id).await.unwrap();
    let token = &message.resources.endpoints[0]
        .authorization
        .as_ref()
        .unwrap()
        .parameters[ACCESS_TOKEN];
    let worker = service.client(Credential::Bearer(token.duplicate()));
    let scope = PlanScope {
        project: message.plan.scope_identifier,
        hub: "Build".to_owned(),
        plan: message.plan.plan_id,
    };
    let lines = FeedLines {
        count: 1,
        value: vec!["hello from the job".to_owned()],
        ..FeedLines::default()
    };
    worker
        .post_feed(&scope, message.timeline.id, message.job_id, &lines)
        .await
        .unwrap();
    let event = JobEvent {
        name: JOB_COMPLETED.to_owned(),
        job_id: message.job_id,
        request_id: message.request_id,
        result: Some(TaskResult::Succeeded),
        agent_shutting_down: true,
    };
    worker.raise_event(&scope, &event).await.unwrap();
}

#[tokio::test]
async fn a_job_is_queued_watched_and_ended_from_the_command_line() {
    let mut service = Service::start().await;
    assert_eq!(service.run(&["pools", "create", "linux"]).await.code, 0);
    let nobody = service
        .run(&["queue", "--pool", "linux", "--script", "echo", "--watch"])
        .await;
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.contains("No agent is registered"),
        "{}",
        nobody.err
    );

    // An offline placeholder lets the job wait.
    let admin = service.client(Credential::Pat(service.token.clone().into()));
    let pool = admin.find_pool("linux").await.unwrap().unwrap().id;
    let placeholder = Agent {
        name: "placeholder".to_owned(),
        authorization: Some(AgentAuthorization {
            public_key: Some(AgentKey::generate().unwrap().public().to_wire()),
            ..AgentAuthorization::default()
        }),
        ..Agent::default()
    };
    admin.register_agent(pool, &placeholder).await.unwrap();
    let queue = [
        "queue",
        "--pool",
        "linux",
        "--script",
        "echo",
        "--secret",
        "hush=THE_SECRET",
        "--watch",
    ];
    let (watched, ()) = tokio::join!(service.run(&queue), Box::pin(work_once(&service)));
    assert_eq!(watched.code, 0, "{}", watched.err);
    assert_eq!(watched.out, "hello from the job\n");
    assert!(watched.err.contains("job succeeded"), "{}", watched.err);

    let jobs = service.run(&["jobs", "list", "--pool", "linux"]).await;
    assert!(
        jobs.out.contains("succeeded") && jobs.out.contains("failed"),
        "{}",
        jobs.out
    );
    let agents = service.run(&["agents", "list", "--pool", "linux"]).await;
    assert!(agents.out.contains("placeholder"), "{}", agents.out);
    let removed = service
        .run(&["agents", "remove", "--pool", "linux", "placeholder"])
        .await;
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert!(
        !service
            .run(&["agents", "list", "--pool", "linux"])
            .await
            .out
            .contains("placeholder")
    );

    let id = service.child.id().unwrap();
    let status = Command::new("kill")
        .args(["-TERM", &id.to_string()])
        .status()
        .await
        .unwrap();
    assert!(status.success());
    let ended = tokio::time::timeout(DEADLINE, service.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "a service that was told to end ends well");
}

/// Pushes a pipeline's file to `main`.
async fn push(service: &Service, url: &str, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("azure-pipelines.yml"), text).unwrap();
    let url = url.replace("http://", &format!("http://me:{}@", service.token));
    for arguments in [
        &["init", "--quiet", "-b", "main", "."][..],
        &["add", "."],
        &["commit", "--quiet", "-m", "one"],
        &["push", "--quiet", "--force", &url, "main"],
    ] {
        let status = Command::new("git")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "test")
            .env("GIT_AUTHOR_EMAIL", "test@example.com")
            .env("GIT_COMMITTER_NAME", "test")
            .env("GIT_COMMITTER_EMAIL", "test@example.com")
            .current_dir(directory.path())
            .args(arguments)
            .status();
        let status = tokio::time::timeout(DEADLINE, status).await.unwrap();
        assert!(status.unwrap().success(), "git {}", arguments[0]);
    }
}

#[tokio::test]
async fn a_pipeline_is_made_run_and_given_secrets_from_the_command_line() {
    let service = Service::start().await;
    assert_eq!(service.run(&["pools", "create", "linux"]).await.code, 0);
    let url = service.run(&["repos", "create", "app"]).await.out;
    let good = "trigger: none\npool: linux\nsteps:\n- script: echo\n";
    push(&service, url.trim(), good).await;
    let create = ["pipelines", "create", "ci", "--repository", "app"];
    let made = service.run(&create).await;
    assert_eq!(made.code, 0, "{}", made.err);

    let mut setting = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"))
        .args(["variables", "set", "ci", "token"])
        .env("DAYFLY_POOL_URL", &service.url)
        .env("DAYFLY_POOL_TOKEN", &service.token)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = setting.stdin.take().unwrap();
    input.write_all(b"hush-hush\n").await.unwrap();
    drop(input);
    let set = tokio::time::timeout(DEADLINE, setting.wait())
        .await
        .unwrap();
    assert!(set.unwrap().success());
    let names = service.run(&["variables", "list", "ci"]).await;
    assert_eq!(names.out, "token\n", "{}", names.err);
    let deleted = service.run(&["variables", "delete", "CI", "Token"]).await;
    assert_eq!(deleted.code, 0, "{}", deleted.err);

    let queued = service
        .run(&["pipelines", "run", "ci", "--variable", "a=b"])
        .await;
    assert_eq!(queued.code, 0, "{}", queued.err);
    assert!(queued.out.trim().parse::<i64>().is_ok(), "{}", queued.out);
    let again = service.run(&["runs", "rerun", queued.out.trim()]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    assert_ne!(again.out, queued.out);
    let shown = ["runs", "show", again.out.trim(), "--output", "json"];
    let shown = service.run(&shown).await.out;
    assert!(
        shown.contains(r#""parameters": "{\"a\":\"b\"}""#),
        "{shown}"
    );
    let listed = service.run(&["pipelines", "list"]).await;
    assert!(listed.out.contains("azure-pipelines.yml"), "{}", listed.out);

    push(&service, url.trim(), &good.replace("script", "scrpt")).await;
    let refused = service.run(&["pipelines", "run", "ci"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("azure-pipelines.yml:4:3"),
        "{}",
        refused.err
    );
    let unknown = service.run(&["pipelines", "run", "cd"]).await;
    assert!(
        unknown.err.contains("no pipeline \"cd\""),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn runs_are_listed_shown_and_cancelled_from_the_command_line() {
    let service = Service::start().await;
    service.run(&["pools", "create", "linux"]).await;
    let admin = service.client(Credential::Pat(service.token.clone().into()));
    let pool = admin.find_pool("linux").await.unwrap().unwrap().id;
    let placeholder = Agent {
        name: "placeholder".to_owned(),
        authorization: Some(AgentAuthorization {
            public_key: Some(AgentKey::generate().unwrap().public().to_wire()),
            ..AgentAuthorization::default()
        }),
        ..Agent::default()
    };
    admin.register_agent(pool, &placeholder).await.unwrap();
    let queue = [
        "queue", "--pool", "linux", "--script", "echo", "--name", "nightly",
    ];
    assert_eq!(service.run(&queue).await.code, 0);

    let listed = service.run(&["runs", "list"]).await;
    for part in ["nightly", "notStarted", "manual"] {
        assert!(listed.out.contains(part), "{}", listed.out);
    }
    let listed = service.run(&["runs", "list", "--output", "json"]).await;
    let documents: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    let id = documents[0]["id"].to_string();
    assert_eq!(documents[0]["definition"]["name"], "nightly");

    let early = service.run(&["runs", "rerun", &id]).await;
    assert!(early.err.contains("has not ended"), "{}", early.err);
    let cancelled = service.run(&["runs", "cancel", &id]).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.err);
    assert!(cancelled.err.contains("canceled"), "{}", cancelled.err);
    let shown = service.run(&["runs", "show", &id]).await;
    assert!(
        shown.out.contains("Job") && shown.out.contains("canceled"),
        "{}",
        shown.out
    );
    let shown = service
        .run(&["runs", "show", &id, "--output", "json"])
        .await;
    let document: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(document["build"]["result"], "canceled");
    assert_eq!(document["timeline"]["records"].as_array().unwrap().len(), 3);
    let alone = service.run(&["runs", "rerun", &id]).await;
    assert!(alone.err.contains("has no file"), "{}", alone.err);
    let nothing = service.run(&["runs", "show", "99"]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("no build 99"), "{}", nothing.err);
}

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing_from_the_next_call_on() {
    let service = Service::start().await;
    assert_eq!(service.run(&["pools", "list"]).await.code, 0);
    let listed = service.pat(&["list"]).await;
    assert!(listed.out.contains("me") && !listed.out.contains(&service.token));
    assert_eq!(service.pat(&["revoke", "me"]).await.code, 0);
    let refused = service.run(&["pools", "list"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("refused the credential"),
        "{}",
        refused.err
    );
    assert_eq!(
        service.pat(&["revoke", "me"]).await.code,
        1,
        "nothing is left to revoke"
    );
}

#[tokio::test]
async fn principals_pipelines_and_keys_are_administered_beside_the_running_service() {
    let service = Service::start().await;
    let directory = service.directory.path().to_str().unwrap().to_owned();
    let beside = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--data-dir", &directory]);
        run(&all, &[]).await
    };
    let create = [
        "principals",
        "create",
        "--name",
        "robot",
        "--scopes",
        "agentpools_manage",
    ];
    let made = beside(&create).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let again = beside(&create).await;
    assert!(
        again.code == 1 && again.err.contains("already"),
        "{}",
        again.err
    );
    let secret = beside(&["principals", "add-secret", "robot", "--expires-in", "90d"]).await;
    assert_eq!(secret.out.trim().len(), 52);
    let trust = [
        "principals",
        "trust",
        "robot",
        "--issuer",
        "http://issuer",
        "--subject",
        "system:serviceaccount:ci:robot",
    ];
    let refused = beside(&trust).await;
    assert!(refused.err.contains("https://"), "{}", refused.err);
    let mut trust = trust.to_vec();
    trust[4] = "https://issuer.example.com";
    let credential = beside(&trust).await;
    assert_eq!(credential.code, 0, "{}", credential.err);
    let listed = beside(&["principals", "list"]).await.out;
    assert!(listed.contains(made.out.trim()) && listed.contains("serviceaccount:ci:robot"));
    assert!(
        !listed.contains(secret.out.trim()),
        "a secret is shown once"
    );
    let remove = ["principals", "remove-credential", credential.out.trim()];
    assert_eq!(beside(&remove).await.code, 0);
    assert_eq!(beside(&remove).await.code, 1);
    assert_eq!(beside(&["principals", "revoke", "robot"]).await.code, 0);

    let missing = beside(&["pipelines", "tokens", "deploy"]).await;
    assert!(missing.err.contains("no project"), "{}", missing.err);
    assert_eq!(service.run(&["repos", "create", "app"]).await.code, 0);
    let set = beside(&[
        "pipelines",
        "tokens",
        "deploy",
        "--token-scope",
        "collection",
        "--token-scripts",
        "true",
    ])
    .await;
    assert!(
        ["collection", "false", "true"]
            .iter()
            .all(|part| set.out.contains(part)),
        "{}",
        set.out
    );

    let rotated = beside(&["rotate-keys"]).await;
    assert!(rotated.err.contains("1 older"), "{}", rotated.err);
    assert_eq!(service.run(&["pools", "list"]).await.code, 0);
}

#[tokio::test]
async fn a_backup_of_a_running_service_is_a_database_to_start_from() {
    let service = Service::start().await;
    assert_eq!(service.run(&["pools", "create", "linux"]).await.code, 0);
    let restored = tempfile::tempdir().unwrap();
    let (from, to) = (service.directory.path(), restored.path().join("pool.db"));
    let arguments = [
        "backup",
        "--data-dir",
        from.to_str().unwrap(),
        "--output",
        to.to_str().unwrap(),
    ];
    let made = run(&arguments, &[]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let mode = std::fs::metadata(&to).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is for its owner alone");
    let again = run(&arguments, &[]).await;
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert_eq!(service.run(&["pools", "create", "later"]).await.code, 0);

    let Err((directory, complaint)) = Service::on(restored).await else {
        panic!("it started without the keys");
    };
    assert!(complaint.contains("keys"), "{complaint}");
    std::fs::copy(from.join("keys.json"), directory.path().join("keys.json")).unwrap();
    let mut second = Service::on(directory).await.unwrap();
    second.token.clone_from(&service.token);
    let pools = second.run(&["pools", "list"]).await;
    assert!(pools.out.contains("linux"), "{} {}", pools.out, pools.err);
    assert!(!pools.out.contains("later"), "{}", pools.out);
}

#[tokio::test]
async fn what_is_missing_is_asked_for() {
    let output = run(&["pools", "list"], &[]).await;
    assert_eq!(output.code, 1);
    assert!(output.err.contains("DAYFLY_POOL_URL"), "{}", output.err);
    let nowhere = Path::new("/nonexistent/data").to_str().unwrap();
    let output = run(&["pat", "list", "--data-dir", nowhere], &[]).await;
    assert!(output.err.contains("data directory"), "{}", output.err);
    let output = run(
        &[
            "pat",
            "create",
            "--data-dir",
            "/tmp",
            "--name",
            "x",
            "--scopes",
            "all",
        ],
        &[],
    )
    .await;
    assert!(output.err.contains("agentpools_manage"), "{}", output.err);
}

#[test]
fn the_example_of_a_job_is_understood() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/job-hello.json"
    ));
    let job: dayfly_wire::queue::QueueJob = serde_json::from_str(&text.unwrap()).unwrap();
    assert_eq!(job.steps.len(), 3);
}

#[tokio::test]
async fn a_task_is_uploaded_listed_and_deleted_from_the_command_line() {
    let service = Service::start().await;
    let source = tempfile::tempdir().unwrap();
    let path = source.path().to_str().unwrap();
    let nothing = service.run(&["tasks", "upload", path]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("no task.json"), "{}", nothing.err);
    let id = "11111111-1111-4111-8111-111111111111";
    let definition = serde_json::json!({
        "id": id, "name": "Greet", "version": {"Major": 1, "Minor": 2, "Patch": 3},
        "execution": {"Node20_1": {"target": "main.js"}},
    });
    std::fs::write(source.path().join("task.json"), definition.to_string()).unwrap();
    std::fs::write(source.path().join("main.js"), "console.log('hello')").unwrap();
    let uploaded = service.run(&["tasks", "upload", path]).await;
    assert_eq!(uploaded.code, 0, "{}", uploaded.err);
    let listed = service.run(&["tasks", "list"]).await;
    assert!(listed.out.contains("Greet  1.2.3"), "{}", listed.out);
    let again = service.run(&["tasks", "upload", path]).await;
    assert_eq!(again.code, 1, "{}", again.err);
    let over = service.run(&["tasks", "upload", path, "--overwrite"]).await;
    assert_eq!(over.code, 0, "{}", over.err);
    let deleted = service
        .run(&["tasks", "delete", id, "--version", "1.2.3"])
        .await;
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert_eq!(service.run(&["tasks", "list"]).await.out.lines().count(), 1);
}
