//! Commands that administer a service and list what it has, on a service process.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(20);

/// A service process, and a token with every scope.
struct Service {
    _child: Child,
    url: String,
    token: String,
    directory: tempfile::TempDir,
}

struct Output {
    code: i32,
    out: String,
    err: String,
}

impl Service {
    async fn start() -> Self {
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

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"));
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{arguments:?} did not end"))
        .unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
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
