//! Pipeline files: queued by hand, by pushes of the real git, and by schedules.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, OpenSession, Taken, TestAgent, within};
use dayfly_client::Credential;
use dayfly_pool_service::testing::PoolHandle;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::queue::GitRepository;
use dayfly_wire::secret::SecretText;
use dayfly_wire::timeline::{Record, RecordVariable};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

const FILE: &str = "azure-pipelines.yml";

/// A service with a repository, a working copy of it, and an agent.
struct Project {
    fixture: Fixture,
    url: String,
    work: tempfile::TempDir,
}

impl Project {
    async fn on(fixture: Fixture) -> Self {
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

    async fn start() -> Self {
        Self::on(Fixture::start().await).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    async fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn try_git(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "test")
            .env("GIT_AUTHOR_EMAIL", "test@example.com")
            .env("GIT_COMMITTER_NAME", "test")
            .env("GIT_COMMITTER_EMAIL", "test@example.com")
            .current_dir(self.work.path())
            .args([
                "-c",
                &format!("http.extraHeader={}", basic(&self.fixture.pat)),
            ])
            .args(arguments);
        within("git", command.output()).await.unwrap()
    }

    /// Commits the pipeline's file; answers the commit.
    async fn commit(&self, text: &str, message: &str) -> String {
        tokio::fs::write(self.path(FILE), text).await.unwrap();
        self.git(&["add", "."]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message])
            .await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    async fn push(&self, what: &str) {
        self.git(&["push", "--quiet", "--force", &self.url, what])
            .await;
    }

    /// Makes the pipeline `ci`; answers its id.
    async fn pipeline(&self) -> i64 {
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

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let pat = &self.fixture.pat;
        self.fixture.call(method, path, Some(pat), body).await
    }

    async fn queue(&self, pipeline: i64, members: Value) -> Answer {
        let mut asked = json!({"definition": {"id": pipeline}});
        for (name, value) in members.as_object().unwrap() {
            asked[name] = value.clone();
        }
        self.call("POST", "/demo/_apis/build/builds", Some(asked))
            .await
    }

    /// The runs, oldest first, as `(reason, branch, commit)`.
    async fn runs(&self) -> Vec<(String, String, String)> {
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

    async fn wait_for_runs(&self, count: usize) -> Vec<(String, String, String)> {
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
    async fn checked_in(&self) -> Vec<(String, String, String)> {
        self.fixture.service.service().check_in_all().await.unwrap();
        self.runs().await
    }

    /// Why the pipeline was not queued last time.
    async fn problem(&self) -> Option<String> {
        let listed = self
            .call("GET", "/demo/_apis/build/definitions", None)
            .await;
        let problem = &listed.json()["value"][0]["problem"];
        problem.as_str().map(ToOwned::to_owned)
    }

    async fn build(&self, id: i64) -> Value {
        self.call("GET", &format!("/demo/_apis/build/builds/{id}"), None)
            .await
            .json()
    }
}

fn basic(token: &SecretText) -> String {
    use base64::Engine;
    let pair = format!("anybody:{}", token.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Authorization: Basic {encoded}")
}

fn value(taken: &Taken, name: &str) -> String {
    let variable = &taken.message.variables[name];
    variable.value.as_ref().unwrap().expose().to_owned()
}

/// A step sets output variables, as an agent reports it.
async fn output(fixture: &Fixture, taken: &Taken, step: &str, outputs: &[(&str, &str, bool)]) {
    let sent = taken
        .message
        .steps
        .iter()
        .find(|sent| sent.name.as_deref() == Some(step));
    let variables = outputs.iter().map(|(name, value, is_secret)| {
        let variable = RecordVariable {
            value: (!is_secret).then(|| (*value).to_owned()),
            is_secret: *is_secret,
        };
        ((*name).to_owned(), variable)
    });
    let record = Record {
        id: sent.unwrap().id,
        parent_id: Some(RecordId(taken.message.job_id.0)),
        kind: Some("Task".to_owned()),
        name: Some(step.to_owned()),
        ref_name: Some(step.to_owned()),
        variables: variables.collect(),
        ..Record::default()
    };
    let client = taken.client(fixture);
    let timeline = taken.message.timeline.id;
    client
        .update_records(&taken.scope(), timeline, &[record])
        .await
        .unwrap();
}

/// Ends a job and opens a new session, as an agent that said it leaves must.
async fn complete(
    fixture: &Fixture,
    agent: &TestAgent,
    session: OpenSession,
    taken: &Taken,
    result: TaskResult,
) -> OpenSession {
    taken.complete(fixture, result).await;
    agent.reopen(&session).await
}

#[tokio::test]
async fn jobs_run_in_order_with_outputs_of_earlier_ones_and_secrets_of_the_pipeline() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    let file = "\
pool: linux
variables:
  flavour: plain
  tag: $[ format('{0}-{1}', variables['Build.SourceBranchName'], variables.flavour) ]
jobs:
- job: test
  dependsOn: build
  variables:
    version: $[ dependencies.build.outputs['setter.version'] ]
    hidden: $[ dependencies.build.outputs['setter.hidden'] ]
  steps:
  - checkout: self
- job: build
  displayName: Build it
  steps:
  - script: echo
    name: setter
- job: report
  dependsOn: [build, test]
  condition: failed()
  steps:
  - script: echo
- job: release
  dependsOn: build
  condition: and(succeeded(), eq(dependencies.build.outputs['setter.version'], '1.2.3'), eq(variables['Build.SourceBranch'], 'refs/heads/main'))
  steps:
  - script: echo
";
    let commit = project.commit(file, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let secret = format!("/demo/_apis/dayfly/pipelines/{pipeline}/variables/Token");
    let set = project
        .call("PUT", &secret, Some(json!({"value": "s3cr3t-v4lue"})))
        .await;
    assert_eq!(set.status, 204, "{}", set.body);
    let agent = fixture.register("one").await;
    let session = agent.open().await;

    let parameters = json!({"flavour": "strong"}).to_string();
    let queued = project
        .queue(pipeline, json!({"parameters": parameters}))
        .await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    let build = queued.json()["id"].as_i64().unwrap();

    let first = agent.take_job(&session).await;
    assert_eq!(first.message.job_name, "build");
    assert_eq!(first.message.job_display_name, "Build it");
    assert_eq!(value(&first, "tag"), "main-strong");
    assert!(first.message.variables["Token"].is_secret);
    assert_eq!(value(&first, "Token"), "s3cr3t-v4lue");
    let outputs = [("version", "1.2.3", false), ("hidden", "no", true)];
    output(fixture, &first, "setter", &outputs).await;
    let mut session = complete(fixture, &agent, session, &first, TaskResult::Succeeded).await;

    for _ in 0..2 {
        let next = agent.take_job(&session).await;
        match next.message.job_name.as_str() {
            "test" => {
                assert_eq!(value(&next, "version"), "1.2.3");
                assert_eq!(
                    value(&next, "hidden"),
                    "",
                    "secret outputs stay in their job"
                );
                let own = &next.message.resources.repositories[0].properties;
                assert_eq!(own.version, commit);
                assert_eq!(own.reference.as_deref(), Some("refs/heads/main"));
            }
            other => assert_eq!(other, "release"),
        }
        session = complete(fixture, &agent, session, &next, TaskResult::Succeeded).await;
    }
    let ended = project.build(build).await;
    assert_eq!(
        (ended["status"].as_str(), ended["result"].as_str()),
        (Some("completed"), Some("succeeded"))
    );
    assert_eq!(ended["sourceVersion"], commit.as_str());
    let timeline = project
        .call(
            "GET",
            &format!("/demo/_apis/build/builds/{build}/timeline"),
            None,
        )
        .await
        .json();
    let records = timeline["records"].as_array().unwrap();
    let report = records
        .iter()
        .find(|record| record["type"] == "Job" && record["name"] == "report");
    assert_eq!(report.unwrap()["result"], "skipped");
}

#[tokio::test]
async fn a_file_that_is_not_taken_is_refused_with_its_place_and_nothing_is_queued() {
    let project = Project::start().await;
    project
        .commit("pool: linux\nsteps:\n- script: x\n  colour: red\n", "one")
        .await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    for (file, place) in [
        (None, "azure-pipelines.yml:4:3: steps[0].colour: "),
        (
            Some("pool: linux\nsteps:\n- task: Gradle@9\n"),
            "azure-pipelines.yml:3:3: task: there is no task Gradle@9",
        ),
        (
            Some("pool: nowhere\nsteps:\n- script: x\n"),
            "pool: there is no agent pool \"nowhere\"",
        ),
    ] {
        if let Some(file) = file {
            project
                .commit(&format!("{file}\ntrigger: none\n"), "next")
                .await;
            project.push("main").await;
        }
        let queued = project.queue(pipeline, json!({})).await;
        assert!((400..500).contains(&queued.status), "{}", queued.body);
        let message = queued.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(place), "{message}");
    }
    let queued = project
        .queue(pipeline, json!({"sourceBranch": "refs/heads/gone"}))
        .await;
    assert!(queued.body.contains("refs/heads/gone"), "{}", queued.body);
    assert!(project.runs().await.is_empty());
}

const ON_MAIN: &str = "\
trigger: {branches: {include: [main, 'release/*']}}
pool: linux
steps:
- script: echo
";

#[tokio::test]
async fn a_push_queues_what_its_trigger_matches_once_for_each_update() {
    let project = Project::start().await;
    project.fixture.register("one").await;
    project.commit(ON_MAIN, "before the pipeline").await;
    project.push("main").await;
    project.pipeline().await;
    assert!(
        project.checked_in().await.is_empty(),
        "what was there before triggers nothing"
    );

    let second = project.commit(ON_MAIN, "second").await;
    project.push("main").await;
    let runs = project.wait_for_runs(1).await;
    let main = || "refs/heads/main".to_owned();
    assert_eq!(runs, [("individualCI".to_owned(), main(), second.clone())]);

    project.commit(ON_MAIN, "third [skip ci]").await;
    project.push("main").await;
    project.push("HEAD:refs/heads/other").await;
    project.push("HEAD:refs/tags/release/1").await;
    assert_eq!(project.checked_in().await.len(), 1);

    // A new branch at a commit that another branch had before, and a branch that is set back.
    project
        .push(&format!("{second}:refs/heads/release/1"))
        .await;
    project.wait_for_runs(2).await;
    project.push(&format!("{second}:refs/heads/main")).await;
    let runs = project.wait_for_runs(3).await;
    assert_eq!(runs[1].1, "refs/heads/release/1");
    assert_eq!((&runs[2].1, &runs[2].2), (&main(), &second));
    // A branch that goes queues nothing, and comes back as a new one.
    project.push(":refs/heads/release/1").await;
    assert_eq!(project.checked_in().await.len(), 3);
    project
        .push(&format!("{second}:refs/heads/release/1"))
        .await;
    project.wait_for_runs(4).await;
    assert_eq!(project.checked_in().await.len(), 4);
}

#[tokio::test]
async fn a_push_of_a_wrong_file_queues_nothing_and_says_why_until_it_is_mended() {
    let project = Project::start().await;
    project.fixture.register("one").await;
    project.pipeline().await;
    project.commit("steps: 7\n", "wrong").await;
    project.push("main").await;
    assert!(project.checked_in().await.is_empty());
    let problem = project.problem().await.unwrap();
    assert!(problem.starts_with("azure-pipelines.yml:1:"), "{problem}");
    project.commit(ON_MAIN, "right").await;
    project.push("main").await;
    project.wait_for_runs(1).await;
    assert_eq!(project.problem().await, None);
}

#[tokio::test]
async fn a_push_that_the_service_did_not_come_to_is_worked_off_after_its_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        PoolHandle::builder()
            .poll_hold(common::HOLD)
            .directory(directory.path())
            .start()
    };
    let project = Project::on(Fixture::on(start().await.unwrap()).await).await;
    project.fixture.register("one").await;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    project.pipeline().await;
    let mut fixture = project.fixture;
    fixture.service.stop().await.unwrap();

    // As git leaves it when the service is killed before it looks.
    let project = Project { fixture, ..project };
    let commit = project.commit(ON_MAIN, "two").await;
    let bare = std::fs::read_dir(directory.path().join("repositories"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    project
        .git(&["push", "--quiet", bare.to_str().unwrap(), "main"])
        .await;

    let service = start().await.unwrap();
    let credential = Credential::Pat(project.fixture.pat.duplicate());
    let fixture = Fixture {
        admin: common::client(service.url(), credential),
        service,
        ..project.fixture
    };
    let project = Project { fixture, ..project };
    let runs = project.wait_for_runs(1).await;
    assert_eq!(runs[0].2, commit);
    assert_eq!(project.checked_in().await.len(), 1, "once");
}

#[tokio::test]
async fn schedules_queue_once_when_they_are_due_and_branches_without_a_change_wait() {
    let project = Project::on(Fixture::with_manual_clock().await).await;
    project.fixture.register("one").await;
    let file = "\
trigger: none
schedules:
- cron: '0 * * * *'
  timeZone: Asia/Kolkata
pool: linux
steps:
- script: echo
";
    let first = project.commit(file, "one").await;
    project.push("main").await;
    project.pipeline().await;
    let service = project.fixture.service.service();
    let hour = SignedDuration::from_hours(1);

    // Whatever the minute is, an hour has one full hour of that zone in it.
    service.run_schedules().await.unwrap();
    assert!(project.runs().await.is_empty(), "not due yet");
    project.fixture.service.advance(hour).await.unwrap();
    service.run_schedules().await.unwrap();
    service.run_schedules().await.unwrap();
    let main = || "refs/heads/main".to_owned();
    assert_eq!(
        project.runs().await,
        [("schedule".to_owned(), main(), first)]
    );

    project.fixture.service.advance(hour).await.unwrap();
    service.run_schedules().await.unwrap();
    assert_eq!(project.runs().await.len(), 1, "nothing has changed");

    let second = project.commit(file, "two").await;
    project.push("main").await;
    project.checked_in().await;
    // Of the hours that were missed one is made up for.
    project.fixture.service.advance(hour * 5).await.unwrap();
    service.run_schedules().await.unwrap();
    let runs = project.runs().await;
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].2, second);

    let changed = file.replace("timeZone", "always: true\n  timeZone");
    project.commit(&changed, "three").await;
    project.push("main").await;
    project.checked_in().await;
    for expected in [3, 4] {
        project.fixture.service.advance(hour).await.unwrap();
        service.run_schedules().await.unwrap();
        assert_eq!(project.runs().await.len(), expected);
    }
}

#[tokio::test]
async fn secret_variables_are_stored_sealed_and_never_answered() {
    let project = Project::start().await;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let variables = format!("/demo/_apis/dayfly/pipelines/{pipeline}/variables");
    for (name, body, status) in [
        ("Token", json!({"value": "never-on-disk"}), 204),
        ("token", json!({"value": "never-on-disk"}), 204),
        ("Build.BuildId", json!({"value": "x"}), 400),
        ("empty", json!({"value": ""}), 400),
    ] {
        let set = project
            .call("PUT", &format!("{variables}/{name}"), Some(body))
            .await;
        assert_eq!(set.status, status, "{name}: {}", set.body);
        assert!(!set.body.contains("never-on-disk"));
    }
    let names = project.call("GET", &variables, None).await.json();
    assert_eq!(names["value"], json!(["token"]));
    let mut found = 0;
    for entry in std::fs::read_dir(project.fixture.service.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(13).any(|part| part == b"never-on-disk"),
                "{}",
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 0);
    let reader = project.fixture.service.pat("build").await.unwrap();
    let path = format!("{variables}/other");
    let refused = project
        .fixture
        .call("PUT", &path, Some(&reader), Some(json!({"value": "x"})))
        .await;
    assert_eq!(refused.status, 403);
    let gone = project
        .call("DELETE", &format!("{variables}/TOKEN"), None)
        .await;
    assert_eq!(gone.status, 204);
    let gone = project
        .call("DELETE", &format!("{variables}/token"), None)
        .await;
    assert_eq!(gone.status, 404);
}
