//! Commands that administer a service and list what it has, on a service process.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{DEADLINE, Output, run};
use dayfly_client::{AgentCredential, Client, Credential, PlanScope};
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::agent::{Agent, AgentAuthorization, AgentReference};
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::ids::PoolId;
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage};
use dayfly_wire::log::FeedLines;
use dayfly_wire::session::Session;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A service process, and a token with every scope.
struct Service {
    _child: Child,
    url: String,
    token: String,
    directory: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        // Free now; nobody else takes a port of the loopback interface in between but by bad luck.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let url = format!("http://{address}/default");
        let child = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"))
            .args(["serve", "--listen", &address, "--public-url", &url])
            .arg("--data-dir")
            .arg(directory.path())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = async {
            while tokio::net::TcpStream::connect(&address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready)
            .await
            .unwrap_or_else(|_| panic!("the service does not listen at {address}"));
        let mut service = Self {
            _child: child,
            url,
            token: String::new(),
            directory,
        };
        service.token = service
            .pat("me", "agentpools_manage,build_execute,code_write")
            .await;
        service
    }

    async fn pat(&self, name: &str, scopes: &str) -> String {
        let made = self
            .beside(&["pat", "create", "--name", name, "--scopes", scopes])
            .await;
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim().to_owned()
    }

    /// A command on the data directory.
    async fn beside(&self, arguments: &[&str]) -> Output {
        let directory = self.directory.path().to_str().unwrap().to_owned();
        let mut all = arguments.to_vec();
        all.extend(["--data-dir", &directory]);
        run(&all, &[]).await
    }

    fn client(&self, credential: Credential) -> Client {
        let client = Client::builder(&self.url).credential(credential);
        client.build().unwrap()
    }

    /// An agent that nobody runs: jobs wait for it.
    async fn register(&self) -> (PoolId, Agent, Arc<AgentKey>) {
        let admin = self.client(Credential::Pat(self.token.clone().into()));
        let pool = admin.create_pool("linux").await.unwrap().id;
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
        (pool, record, key)
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_as(&self.token, arguments).await
    }

    async fn run_as(&self, token: &str, arguments: &[&str]) -> Output {
        let environment = [
            ("DAYFLY_POOL_URL", self.url.as_str()),
            ("DAYFLY_POOL_TOKEN", token),
        ];
        run(arguments, &environment).await
    }
}

#[tokio::test]
async fn roles_are_given_listed_and_taken_beside_the_running_service() {
    let service = Service::start().await;
    for pool in ["linux", "deploy"] {
        assert_eq!(service.run(&["pools", "create", pool]).await.code, 0);
    }
    let ci = service.pat("ci", "agentpools_manage,build_execute").await;
    let queue = ["queue", "--pool", "deploy", "--script", "x"];
    let set = service
        .beside(&["roles", "set", "ci", "--role", "user", "--pool", "linux"])
        .await;
    assert_eq!(set.code, 0, "{}", set.err);
    let listed = service.run_as(&ci, &["pools", "list"]).await;
    assert!(
        listed.out.contains("linux") && !listed.out.contains("deploy"),
        "{}",
        listed.out
    );
    let refused = service.run_as(&ci, &queue).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("needs Use permissions"),
        "{}",
        refused.err
    );

    let set = service
        .beside(&["roles", "set", "ci", "--role", "user", "--every-pool"])
        .await;
    assert_eq!(set.code, 0, "{}", set.err);
    // No agent is registered, so the job ends at once; but it was let in.
    let queued = service.run_as(&ci, &queue).await;
    assert!(
        queued.err.contains("No agent is registered"),
        "{}",
        queued.err
    );
    let listed = service
        .beside(&["roles", "list", "--output", "json"])
        .await
        .out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        listed,
        serde_json::json!([
            {"name": "ci", "pool": null, "role": "user"},
            {"name": "ci", "pool": "linux", "role": "user"},
        ])
    );
    let unset = ["roles", "unset", "ci", "--every-pool"];
    assert_eq!(service.beside(&unset).await.code, 0);
    let refused = service.run_as(&ci, &queue).await;
    assert!(refused.err.contains("needs Use"), "{}", refused.err);
    assert_eq!(service.beside(&["roles", "clear", "ci"]).await.code, 0);
    let queued = service.run_as(&ci, &queue).await;
    assert!(!queued.err.contains("needs Use"), "{}", queued.err);
    let neither = ["roles", "set", "ci", "--role", "user"];
    assert_eq!(service.beside(&neither).await.code, 2, "no pool is named");
    let unknown = ["roles", "set", "ci", "--role", "owner", "--every-pool"];
    let unknown = service.beside(&unknown).await;
    assert!(unknown.err.contains("administrator"), "{}", unknown.err);
}

#[tokio::test]
async fn every_list_is_a_table_for_people_and_a_document_for_programs() {
    let service = Service::start().await;
    service.register().await;
    let queue = ["queue", "--pool", "linux", "--script", "x"];
    let request = service.run(&queue).await.out.trim().to_owned();
    service.run(&["repos", "create", "app"]).await;
    let beside = service
        .beside(&[
            "principals",
            "create",
            "--name",
            "robot",
            "--scopes",
            "build",
        ])
        .await;
    assert_eq!(beside.code, 0, "{}", beside.err);
    service.beside(&["principals", "add-secret", "robot"]).await;
    for (command, header, member, value) in [
        (&["pools", "list"][..], "ID  NAME", "name", "linux"),
        (&["repos", "list"], "NAME  DEFAULT", "name", "app"),
        (
            &["agents", "list", "--pool", "linux"],
            "ID  NAME",
            "name",
            "one",
        ),
        (
            &["jobs", "list", "--pool", "linux"],
            "ID  PIPELINE",
            "jobName",
            "Job",
        ),
        (&["runs", "list"], "ID  NUMBER", "reason", "manual"),
    ] {
        let table = service.run(command).await;
        assert!(table.out.starts_with(header), "{}", table.out);
        assert!(table.out.contains(value), "{}", table.out);
        let all = [command, &["--output", "json"]].concat();
        let printed = service.run(&all).await;
        assert_eq!(printed.code, 0, "{}", printed.err);
        let document: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
        assert_eq!(document[0][member], value, "{command:?}: {document}");
    }
    for (command, name) in [("pat", "me"), ("principals", "robot")] {
        let printed = service.beside(&[command, "list", "--output", "json"]).await;
        let document: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
        assert_eq!(document[0]["name"], name);
        assert_eq!(document[0]["state"], "counts");
    }
    let printed = service.run(&["tasks", "list", "--output", "json"]).await;
    assert_eq!(printed.out.trim(), "[]");
    let shown = service
        .run(&["jobs", "show", &request, "--output", "json"])
        .await;
    let document: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(document["job"]["requestId"].to_string(), request);
    assert_eq!(document["records"][0]["type"], "Job");
}

#[tokio::test]
async fn a_log_is_watched_as_it_is_written_and_the_result_is_the_exit_code() {
    let service = Service::start().await;
    let (pool, record, key) = service.register().await;
    let queue = ["queue", "--pool", "linux", "--script", "x"];
    let queued = service.run(&queue).await;
    assert_eq!(queued.code, 0, "{}", queued.err);
    let (job, token) = take(&service, pool, &record, &key).await;
    let mut watch = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"))
        .args(["watch", queued.out.trim()])
        .env("DAYFLY_POOL_URL", &service.url)
        .env("DAYFLY_POOL_TOKEN", &service.token)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let worker = service.client(Credential::Bearer(token.into()));
    let scope = PlanScope {
        project: job.plan.scope_identifier,
        hub: "build".to_owned(),
        plan: job.plan.plan_id,
    };
    // Each line is seen before the next one is written, and the last before the job has ended.
    for said in ["first", "second"] {
        let lines_of_job = FeedLines {
            count: 1,
            value: vec![said.to_owned()],
            ..FeedLines::default()
        };
        let posted = worker.post_feed(&scope, job.timeline.id, job.job_id, &lines_of_job);
        posted.await.unwrap();
        let seen = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let seen = seen.unwrap_or_else(|_| panic!("{said:?} was not shown"));
        assert_eq!(seen.unwrap().as_deref(), Some(said));
    }
    assert!(watch.try_wait().unwrap().is_none(), "the job still runs");
    let event = JobEvent {
        name: JOB_COMPLETED.to_owned(),
        job_id: job.job_id,
        request_id: job.request_id,
        result: Some(TaskResult::Failed),
        agent_shutting_down: true,
    };
    worker.raise_event(&scope, &event).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, watch.wait()).await;
    let ended = ended.unwrap_or_else(|_| panic!("watch goes on after the job"));
    assert_eq!(ended.unwrap().code(), Some(1), "the job failed");
}

/// Takes the job that waits, as an agent does; answers its message and token.
async fn take(
    service: &Service,
    pool: PoolId,
    record: &Agent,
    key: &Arc<AgentKey>,
) -> (JobMessage, String) {
    let authorization = record.authorization.as_ref().unwrap();
    let audience = authorization.authorization_url.clone().unwrap();
    let agent = service.client(Credential::Agent(AgentCredential {
        key: Arc::clone(key),
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
    let wrapped = session.encryption_key.unwrap();
    let envelope = agent.next_message(pool, session.session_id, None).await;
    let envelope = envelope.unwrap().unwrap();
    let opened = key.unwrap_session_key(&wrapped).unwrap();
    let body = opened.decrypt(&envelope.iv.unwrap(), &envelope.body);
    let message: JobMessage = serde_json::from_slice(&body.unwrap()).unwrap();
    let taken = agent.acknowledge(pool, session.session_id, envelope.message_id);
    taken.await.unwrap();
    agent.renew_request(pool, message.request_id).await.unwrap();
    let endpoint = &message.resources.endpoints[0];
    let token = &endpoint.authorization.as_ref().unwrap().parameters[ACCESS_TOKEN];
    let token = token.expose().to_owned();
    (message, token)
}

#[tokio::test]
async fn a_shell_completes_commands_and_options() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        let script = run(&["completions", shell], &[]).await;
        assert_eq!(script.code, 0, "{}", script.err);
        for word in ["rotate-keys", "every-pool"] {
            assert!(script.out.contains(word), "{shell} does not know {word}");
        }
    }
    let script = run(&["completions", "bash"], &[]).await.out;
    let path = directory.path().join("completions");
    std::fs::write(&path, script).unwrap();
    let complete = async |words: &[&str]| {
        let program = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; name=$(complete -p dayfly-pool); name=${{name##*-F }}; ${{name%% *}} dayfly-pool {} {}; echo ${{COMPREPLY[@]}}",
            path.display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &program]).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        complete(&["dayfly-pool", "rot"]).await.trim(),
        "rotate-keys"
    );
    let set = complete(&["dayfly-pool", "roles", "set", "--every"]).await;
    assert_eq!(set.trim(), "--every-pool");
    let shells = complete(&["dayfly-pool", "completions", "z"]).await;
    assert_eq!(shells.trim(), "zsh");
}
