//! A service with a repository that has a pipeline's file.

// Each test file uses its own part of this; a helper of a test may fail like the test itself.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::common::{Answer, Fixture, Raw, within};
use dayfly_wire::queue::GitRepository;
use dayfly_wire::secret::SecretText;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

pub(crate) const FILE: &str = "azure-pipelines.yml";

/// The id of the task that tests upload.
pub(crate) const GREET: &str = "22222222-2222-4222-8222-222222222222";

/// A service with a repository, a working copy of it, and an agent.
pub(crate) struct Project {
    pub(crate) fixture: Fixture,
    pub(crate) url: String,
    pub(crate) work: tempfile::TempDir,
}

impl Project {
    pub(crate) async fn on(fixture: Fixture) -> Self {
        let draft = GitRepository {
            name: "app".to_owned(),
            ..GitRepository::default()
        };
        let made = fixture.admin.create_repository("demo", &draft).await;
        let project = Self {
            fixture,
            url: made.unwrap().remote_url.unwrap(),
            work: tempfile::tempdir().unwrap(),
        };
        project.git(&["init", "--quiet", "-b", "main", "."]).await;
        project
    }

    pub(crate) async fn start() -> Self {
        Self::on(Fixture::start().await).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub(crate) async fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) async fn try_git(&self, arguments: &[&str]) -> Output {
        self.git_with(&self.fixture.pat, arguments).await
    }

    async fn git_with(&self, token: &SecretText, arguments: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "test")
            .env("GIT_AUTHOR_EMAIL", "test@example.com")
            .env("GIT_COMMITTER_NAME", "test")
            .env("GIT_COMMITTER_EMAIL", "test@example.com")
            .current_dir(self.work.path())
            .args(["-c", &format!("http.extraHeader={}", basic(token))])
            .args(arguments);
        within("git", command.output()).await.unwrap()
    }

    /// Commits the pipeline's file; answers the commit.
    pub(crate) async fn commit(&self, text: &str, message: &str) -> String {
        tokio::fs::write(self.path(FILE), text).await.unwrap();
        self.git(&["add", "."]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message])
            .await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    pub(crate) async fn push(&self, what: &str) {
        self.git(&["push", "--quiet", "--force", &self.url, what])
            .await;
    }

    /// Pushes with another token than the administrator's; whether it was taken.
    pub(crate) async fn push_with(&self, token: &SecretText, what: &str) -> bool {
        let push = ["push", "--quiet", &self.url, what];
        self.git_with(token, &push).await.status.success()
    }

    /// Uploads the task `Greet`, whose input `whom` may be called `who`.
    pub(crate) async fn upload_task(&self, version: [u32; 3]) {
        let [major, minor, patch] = version;
        let definition = json!({
            "id": GREET, "name": "Greet",
            "version": {"Major": major, "Minor": minor, "Patch": patch},
            "inputs": [{"name": "whom", "aliases": ["who"], "type": "string"}],
            "execution": {"Node20_1": {"target": "main.js"}},
        });
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("task.json", options).unwrap();
        archive
            .write_all(definition.to_string().as_bytes())
            .unwrap();
        let archive = archive.finish().unwrap().into_inner();
        let range = format!("bytes 0-{}/{}", archive.len() - 1, archive.len());
        let path = format!("/_apis/distributedtask/tasks/{GREET}");
        let headers = [("content-range", range.as_str())];
        let pat = Some(&self.fixture.pat);
        let uploaded = self
            .fixture
            .raw("PUT", &path, pat, &headers, Raw(&archive))
            .await;
        assert_eq!(uploaded.status, 200, "{}", uploaded.body);
    }

    /// Makes the pipeline `ci`; answers its id.
    pub(crate) async fn pipeline(&self) -> i64 {
        let draft = json!({
            "name": "ci",
            "process": {"type": 2, "yamlFilename": FILE},
            "repository": {"name": "app", "type": "TfsGit"},
        });
        let made = self
            .call("POST", "/demo/_apis/build/definitions", Some(draft))
            .await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.json()["id"].as_i64().unwrap()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let pat = &self.fixture.pat;
        self.fixture.call(method, path, Some(pat), body).await
    }

    pub(crate) async fn queue(&self, pipeline: i64, members: Value) -> Answer {
        let mut asked = json!({"definition": {"id": pipeline}});
        for (name, value) in members.as_object().unwrap() {
            asked[name] = value.clone();
        }
        self.call("POST", "/demo/_apis/build/builds", Some(asked))
            .await
    }

    /// The runs, oldest first, as `(reason, branch, commit)`.
    pub(crate) async fn runs(&self) -> Vec<(String, String, String)> {
        let path = "/demo/_apis/build/builds?queryOrder=queueTimeAscending";
        let listed = self.call("GET", path, None).await.json();
        let mut runs = listed["value"].as_array().unwrap().clone();
        runs.sort_by_key(|run| run["id"].as_i64());
        let text = |run: &Value, name: &str| run[name].as_str().unwrap_or_default().to_owned();
        runs.iter()
            .map(|run| {
                (
                    text(run, "reason"),
                    text(run, "sourceBranch"),
                    text(run, "sourceVersion"),
                )
            })
            .collect()
    }

    pub(crate) async fn wait_for_runs(&self, count: usize) -> Vec<(String, String, String)> {
        within(&format!("{count} runs"), async {
            loop {
                let runs = self.runs().await;
                if runs.len() >= count {
                    return runs;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Waits until the service has looked at everything that was pushed.
    pub(crate) async fn checked_in(&self) -> Vec<(String, String, String)> {
        self.fixture.service.service().check_in_all().await.unwrap();
        self.runs().await
    }

    /// Why the pipeline was not queued last time.
    pub(crate) async fn problem(&self) -> Option<String> {
        let listed = self
            .call("GET", "/demo/_apis/build/definitions", None)
            .await;
        let problem = &listed.json()["value"][0]["problem"];
        problem.as_str().map(ToOwned::to_owned)
    }

    pub(crate) async fn build(&self, id: i64) -> Value {
        self.call("GET", &format!("/demo/_apis/build/builds/{id}"), None)
            .await
            .json()
    }
}

pub(crate) fn basic(token: &SecretText) -> String {
    use base64::Engine;
    let pair = format!("anybody:{}", token.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Authorization: Basic {encoded}")
}

/// A file that pushes to `main` and below `release` queue.
pub(crate) const ON_MAIN: &str = "\
trigger: {branches: {include: [main, 'release/*']}}
pool: linux
steps:
- script: echo
";
