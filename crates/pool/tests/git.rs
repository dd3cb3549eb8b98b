//! Repositories, served to the real git.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, Taken};
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::{Change, TokenScope};
use dayfly_wire::event::TaskResult;
use dayfly_wire::queue::GitRepository;
use dayfly_wire::secret::SecretText;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

struct Repository {
    fixture: Fixture,
    url: String,
    work: tempfile::TempDir,
    commit: String,
}

impl Repository {
    /// A repository with one commit on `main`, pushed with the administrator's token.
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let draft = GitRepository {
            name: "App".to_owned(),
            ..GitRepository::default()
        };
        let made = fixture
            .admin
            .create_repository("demo", &draft)
            .await
            .unwrap();
        let url = made.remote_url.unwrap();
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        for arguments in [
            vec!["init", "--quiet", "-b", "main", source.to_str().unwrap()],
            vec![
                "-C",
                source.to_str().unwrap(),
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "one",
            ],
        ] {
            succeeded(&git(&arguments, None).await);
        }
        let push = [
            "-C",
            source.to_str().unwrap(),
            "push",
            "--quiet",
            &url,
            "main",
        ];
        succeeded(&git(&push, Some(&basic(&fixture.pat))).await);
        let head = git(&["-C", source.to_str().unwrap(), "rev-parse", "HEAD"], None).await;
        let commit = String::from_utf8(head.stdout).unwrap().trim().to_owned();
        Self {
            fixture,
            url,
            work,
            commit,
        }
    }

    async fn job(&self) -> Taken {
        let agent = self.fixture.register("one").await;
        let session = agent.open().await;
        self.fixture
            .queue_with(json!({"repository": "app", "steps": [{"checkout": "self"}]}))
            .await;
        agent.take_job(&session).await
    }

    fn target(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    async fn clone_to(&self, target: &Path, header: &str) -> Output {
        let arguments = ["clone", "--quiet", &self.url, target.to_str().unwrap()];
        git(&arguments, Some(header)).await
    }
}

fn basic(token: &SecretText) -> String {
    use base64::Engine;
    let pair = format!("anybody:{}", token.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Authorization: Basic {encoded}")
}

fn bearer(token: &SecretText) -> String {
    // As an agent writes it.
    format!("AUTHORIZATION: bearer {}", token.expose())
}

async fn git(arguments: &[&str], header: Option<&str>) -> Output {
    let mut command = Command::new("git");
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "test")
        .env("GIT_AUTHOR_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_NAME", "test")
        .env("GIT_COMMITTER_EMAIL", "test@example.com");
    if let Some(header) = header {
        command.args(["-c", &format!("http.extraHeader={header}")]);
    }
    command.args(arguments);
    common::within("git", command.output()).await.unwrap()
}

fn succeeded(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[tokio::test]
async fn a_job_clones_its_sources_at_the_commit_that_its_message_names() {
    let repository = Repository::start().await;
    let taken = repository.job().await;
    let own = &taken.message.resources.repositories[0];
    assert_eq!(own.alias, "self");
    assert_eq!(own.properties.version, repository.commit);
    assert_eq!(own.properties.reference.as_deref(), Some("refs/heads/main"));
    assert_eq!(own.properties.url, repository.url);
    let version = taken.message.variables["build.sourceVersion"]
        .value
        .as_ref();
    assert_eq!(version.unwrap().expose(), repository.commit);
    for (name, header) in [
        ("bearer", bearer(&taken.token)),
        ("basic", basic(&taken.token)),
    ] {
        let target = repository.target(name);
        succeeded(&repository.clone_to(&target, &header).await);
        let head = git(&["-C", target.to_str().unwrap(), "rev-parse", "HEAD"], None).await;
        assert_eq!(
            String::from_utf8(head.stdout).unwrap().trim(),
            repository.commit
        );
    }
    taken
        .complete(&repository.fixture, TaskResult::Succeeded)
        .await;
    let late = repository
        .clone_to(&repository.target("late"), &bearer(&taken.token))
        .await;
    assert!(!late.status.success(), "the token died with its job");
}

#[tokio::test]
async fn only_an_administrator_with_the_scope_pushes() {
    let repository = Repository::start().await;
    let taken = repository.job().await;
    let reader = repository.fixture.service.pat("code").await.unwrap();
    let source = repository.target("source");
    let push = [
        "-C",
        source.to_str().unwrap(),
        "push",
        "--quiet",
        &repository.url,
        "main:evil",
    ];
    for header in [bearer(&taken.token), basic(&reader)] {
        assert!(!git(&push, Some(&header)).await.status.success());
    }
    succeeded(&git(&["ls-remote", &repository.url], Some(&basic(&reader))).await);
    succeeded(&git(&push, Some(&basic(&repository.fixture.pat))).await);
    assert!(
        !git(&["ls-remote", &repository.url], None)
            .await
            .status
            .success()
    );
}

#[tokio::test]
async fn a_job_names_branches_tags_and_commits_and_is_told_what_is_not_there() {
    let repository = Repository::start().await;
    let fixture = &repository.fixture;
    fixture.register("offline").await;
    for reference in ["main", "refs/heads/main", &repository.commit] {
        let job = json!({"repository": "APP", "ref": reference, "steps": [{"checkout": "self"}]});
        assert_eq!(fixture.queue_with(job).await.result, None, "{reference}");
    }
    for (job, place) in [
        (
            json!({"repository": "app", "ref": "gone", "steps": [{"checkout": "self"}]}),
            "ref: ",
        ),
        (
            json!({"repository": "nope", "steps": [{"checkout": "self"}]}),
            "repository: ",
        ),
        (
            json!({"steps": [{"checkout": "nope"}]}),
            "steps[0].checkout: ",
        ),
        (
            json!({"repository": "app", "ref": "--upload-pack=x", "steps": [{"checkout": "self"}]}),
            "ref: ",
        ),
    ] {
        let mut body = job;
        body["pool"] = "linux".into();
        let answer = fixture
            .call(
                "POST",
                "/demo/_apis/dayfly/jobs",
                Some(&fixture.pat),
                Some(body),
            )
            .await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        let json = answer.json();
        assert!(
            json["message"].as_str().unwrap().starts_with(place),
            "{json}"
        );
    }
}

#[tokio::test]
async fn a_large_push_and_its_clone_flow_through() {
    let repository = Repository::start().await;
    let source = repository.target("source");
    // Random, so that git cannot make it small: larger than any buffer on the way.
    let bytes: Vec<u8> = (0..8)
        .flat_map(|_| dayfly_keys::random::bytes::<{ 512 * 1024 }>().to_vec())
        .collect();
    std::fs::write(source.join("large"), &bytes).unwrap();
    let directory = source.to_str().unwrap();
    succeeded(&git(&["-C", directory, "add", "."], None).await);
    succeeded(&git(&["-C", directory, "commit", "--quiet", "-m", "large"], None).await);
    let push = ["-C", directory, "push", "--quiet", &repository.url, "main"];
    succeeded(&git(&push, Some(&basic(&repository.fixture.pat))).await);
    let target = repository.target("copy");
    succeeded(
        &repository
            .clone_to(&target, &basic(&repository.fixture.pat))
            .await,
    );
    assert_eq!(std::fs::read(target.join("large")).unwrap(), bytes);
}

#[tokio::test]
async fn names_that_could_be_paths_are_refused() {
    let fixture = Fixture::start().await;
    for name in ["", "..", "a/b", ".hidden", "x.git", "a b"] {
        let body = json!({"name": name});
        let answer = fixture
            .call(
                "POST",
                "/demo/_apis/git/repositories",
                Some(&fixture.pat),
                Some(body),
            )
            .await;
        assert_eq!(answer.status, 400, "{name:?}: {}", answer.body);
    }
    for path in [
        "/demo/_git/..%2f..%2fetc/info/refs?service=git-upload-pack",
        "/demo/_git/app/objects/info/packs",
        "/demo/_git/app/config",
    ] {
        let answer = fixture.call("GET", path, Some(&fixture.pat), None).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_job_reads_and_pushes_as_far_as_its_pipeline_says() {
    let repository = Repository::start().await;
    let fixture = &repository.fixture;
    let create = async |project: &str, name: &str| {
        let draft = GitRepository {
            name: name.to_owned(),
            ..GitRepository::default()
        };
        let made = fixture.admin.create_repository(project, &draft).await;
        made.unwrap().remote_url.unwrap()
    };
    let (neighbour, elsewhere) = (create("demo", "lib").await, create("other", "app").await);
    let reads = async |url: &str, token: &SecretText| {
        git(&["ls-remote", "--quiet", url], Some(&bearer(token)))
            .await
            .status
            .success()
    };
    let target = repository.target("source");
    let target = target.to_str().unwrap();
    let pushes = async |url: &str, token: &SecretText, branch: &str| {
        let to = format!("HEAD:refs/heads/{branch}");
        let push = ["-C", target, "push", "--quiet", url, &to];
        git(&push, Some(&bearer(token))).await.status.success()
    };
    let agent = fixture.register("one").await;
    let mut session = agent.open().await;
    let queued = json!({"name": "deploy", "repository": "app", "steps": [{"checkout": "self"}]});

    fixture.queue_with(queued.clone()).await;
    let taken = agent.take_job(&session).await;
    assert!(reads(&neighbour, &taken.token).await);
    assert!(
        !reads(&elsewhere, &taken.token).await,
        "another project's sources"
    );
    assert!(
        !pushes(&repository.url, &taken.token, "a").await,
        "nobody allowed it"
    );
    taken.complete(fixture, TaskResult::Succeeded).await;

    let store = &fixture.service.service().store;
    let now = fixture.service.service().now();
    let change = Change {
        scope: Some(TokenScope::Collection),
        pushes: Some(true),
        ..Change::default()
    };
    let set = reach::change(store, "demo", "Deploy", change, now)
        .await
        .unwrap();
    let unchanged = reach::change(store, "demo", "deploy", Change::default(), now)
        .await
        .unwrap();
    assert_eq!(set, unchanged);
    session = agent.reopen(&session).await;
    fixture.queue_with(queued).await;
    let taken = agent.take_job(&session).await;
    assert!(reads(&elsewhere, &taken.token).await);
    assert!(pushes(&repository.url, &taken.token, "b").await);
    assert!(
        !pushes(&neighbour, &taken.token, "b").await,
        "not its own repository"
    );
    assert!(
        !pushes(&elsewhere, &taken.token, "b").await,
        "not its own repository"
    );
    taken.complete(fixture, TaskResult::Succeeded).await;
    assert!(
        !pushes(&repository.url, &taken.token, "c").await,
        "the job has ended"
    );

    // Another pipeline's jobs have what theirs allows.
    session = agent.reopen(&session).await;
    fixture
        .queue_with(json!({"repository": "app", "steps": [{"checkout": "self"}]}))
        .await;
    let taken = agent.take_job(&session).await;
    assert!(!reads(&elsewhere, &taken.token).await);
    assert!(!pushes(&repository.url, &taken.token, "d").await);
}

#[tokio::test]
async fn large_files_go_by_git_lfs_and_a_job_reads_them() {
    let repository = Repository::start().await;
    let source = repository.target("source");
    let directory = source.to_str().unwrap();
    let administrator = basic(&repository.fixture.pat);
    let bytes: Vec<u8> = (0..4)
        .flat_map(|_| dayfly_keys::random::bytes::<{ 512 * 1024 }>().to_vec())
        .collect();
    std::fs::write(source.join("large.bin"), &bytes).unwrap();
    for arguments in [
        &["lfs", "install", "--local"][..],
        &["lfs", "track", "*.bin"],
        &["add", "."],
        &["commit", "--quiet", "-m", "large"],
        &["push", "--quiet", &repository.url, "main"],
        // What is there already is not sent again.
        &["lfs", "push", &repository.url, "--all"],
    ] {
        let arguments = [&["-C", directory], arguments].concat();
        succeeded(&git(&arguments, Some(&administrator)).await);
    }
    let pointer = git(&["-C", directory, "show", "HEAD:large.bin"], None).await;
    let pointer = String::from_utf8(pointer.stdout).unwrap();
    let name = pointer.split("sha256:").nth(1).unwrap()[..64].to_owned();

    let taken = repository.job().await;
    let target = repository.target("copy");
    let clone = [
        "-c",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "-c",
        "filter.lfs.required=true",
        "clone",
        "--quiet",
        &repository.url,
        target.to_str().unwrap(),
    ];
    succeeded(&git(&clone, Some(&bearer(&taken.token))).await);
    assert_eq!(std::fs::read(target.join("large.bin")).unwrap(), bytes);

    let objects = "/demo/_git/app.git/info/lfs/objects";
    let fixture = &repository.fixture;
    let put = async |name: &str, token: &SecretText| {
        let path = format!("{objects}/{name}");
        fixture
            .call("PUT", &path, Some(token), Some(json!({})))
            .await
    };
    assert_eq!(put(&name, &taken.token).await.status, 403);
    let other = put(&"0".repeat(64), &fixture.pat).await;
    assert_eq!(other.status, 400, "{}", other.body);
    assert!(
        other.body.contains("is not what its name"),
        "{}",
        other.body
    );
    assert_eq!(put("config", &fixture.pat).await.status, 404);
    let upload = json!({"operation": "upload", "objects": [{"oid": "0".repeat(64), "size": 1}]});
    let batch = format!("{objects}/batch");
    let refused = fixture
        .call("POST", &batch, Some(&taken.token), Some(upload))
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}
