//! Artifacts: a job publishes files, a later job finds them; pieces, bounds, and who may write where.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, Raw, Taken, TestAgent};
use dayfly_pool_service::rules::limits::Limits;
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;

struct Job {
    taken: Taken,
    container: String,
    project: String,
}

impl Job {
    /// Takes a job with an agent of its own.
    async fn start(fixture: &Fixture, name: &str) -> (TestAgent, Self) {
        let agent = fixture.register(name).await;
        let session = agent.open().await;
        fixture.queue().await;
        let taken = agent.take_job(&session).await;
        let container = taken.message.variables["build.containerId"].value.as_ref();
        let job = Self {
            container: container.unwrap().expose().to_owned(),
            project: taken.message.plan.scope_identifier.to_string(),
            taken,
        };
        (agent, job)
    }

    fn run(&self) -> String {
        format!(
            "/{}/_apis/build/builds/{}/artifacts",
            self.project, self.container
        )
    }

    fn file(&self, path: &str) -> String {
        format!(
            "/_apis/resources/Containers/{}?itemPath={path}&scope={}",
            self.container, self.project
        )
    }

    async fn put(
        &self,
        fixture: &Fixture,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let path = self.file(path);
        fixture
            .raw("PUT", &path, Some(&self.taken.token), headers, Raw(body))
            .await
    }

    async fn put_piece(&self, fixture: &Fixture, range: &str, body: &[u8]) -> Answer {
        self.put(fixture, "drop/big.bin", &[("content-range", range)], body)
            .await
    }

    async fn read(&self, fixture: &Fixture, path: &str) -> Answer {
        let path = self.file(path);
        let headers = [("accept", "application/octet-stream")];
        fixture
            .raw("GET", &path, Some(&self.taken.token), &headers, Raw(b""))
            .await
    }

    async fn list(&self, fixture: &Fixture, path: &str) -> Value {
        let path = self.file(path);
        fixture
            .call("GET", &path, Some(&self.taken.token), None)
            .await
            .json()
    }

    async fn publish(&self, fixture: &Fixture, name: &str, data: &str) -> Answer {
        let body = json!({"name": name, "resource": {"type": "Container", "data": data,
            "properties": {"artifactsize": "5"}}});
        fixture
            .call("POST", &self.run(), Some(&self.taken.token), Some(body))
            .await
    }
}

#[tokio::test]
async fn a_job_publishes_files_and_a_later_job_downloads_them() {
    let fixture = Fixture::start().await;
    let (_, first) = Job::start(&fixture, "one").await;
    for (path, text) in [
        ("drop/A%20b.txt", "hello"),
        ("drop/sub/c.txt", ""),
        ("logs/d", "x"),
    ] {
        let put = first.put(&fixture, path, &[], text.as_bytes()).await;
        assert_eq!(put.status, 201, "{}", put.body);
    }
    let made = first
        .publish(&fixture, "drop", &format!("#/{}/drop", first.container))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(
        made.json()["source"],
        first.taken.message.job_id.to_string()
    );
    first.taken.complete(&fixture, TaskResult::Succeeded).await;

    // The later job finds the artifact by its name, and its files by what it says.
    let (_, later) = Job::start(&fixture, "two").await;
    let token = Some(&later.taken.token);
    let found = fixture
        .call(
            "GET",
            &format!("{}?artifactName=DROP", first.run()),
            token,
            None,
        )
        .await
        .json();
    assert_eq!(
        found["resource"]["data"],
        format!("#/{}/drop", first.container)
    );
    let files = found["resource"]["downloadUrl"].as_str().unwrap();
    let files = files.strip_prefix(fixture.service.url()).unwrap();
    let listed = fixture.call("GET", files, token, None).await.json();
    let paths: Vec<_> = listed["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["path"].as_str().unwrap(),
                item["itemType"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        paths,
        [
            ("drop", "folder"),
            ("drop/A b.txt", "file"),
            ("drop/sub", "folder"),
            ("drop/sub/c.txt", "file")
        ]
    );
    let content = listed["value"][1]["contentLocation"].as_str().unwrap();
    let content = content.strip_prefix(fixture.service.url()).unwrap();
    assert_eq!(
        fixture.call("GET", content, token, None).await.body,
        "hello"
    );
    let all = fixture.call("GET", &first.run(), token, None).await.json();
    assert_eq!(
        (&all["count"], &all["value"][0]["name"]),
        (&json!(1), &json!("drop"))
    );

    // What is another run's is there to be read.
    let path = first.file("drop/new.txt");
    let foreign = fixture.raw("PUT", &path, token, &[], Raw(b"x")).await;
    assert_eq!(
        (foreign.status, foreign.type_key().as_str()),
        (403, key::PLAN_SECURITY)
    );
    let body = json!({"name": "mine", "resource": {"type": "Container", "data": "#/1/x"}});
    let foreign = fixture.call("POST", &first.run(), token, Some(body)).await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn a_file_comes_in_pieces_and_goes_on_where_it_broke_off() {
    let fixture = Fixture::start().await;
    let (_, job) = Job::start(&fixture, "one").await;
    let first = job.put_piece(&fixture, "bytes 0-3/10", b"0123").await;
    assert_eq!(first.status, 202, "{}", first.body);
    assert_eq!(first.headers["range"], "bytes=0-3");
    let listed = job.list(&fixture, "drop/big.bin").await;
    assert_eq!(listed["value"][0]["status"], "pendingUpload");
    assert_eq!(
        job.read(&fixture, "drop/big.bin").await.status,
        404,
        "it is not whole"
    );
    let gap = job.put_piece(&fixture, "bytes 8-9/10", b"89").await;
    assert_eq!(gap.status, 400);
    assert!(gap.body.contains("4 bytes are there"), "{}", gap.body);
    let short = job.put_piece(&fixture, "bytes 4-7/10", b"45").await;
    assert!(short.body.contains("shorter"), "{}", short.body);
    for _ in 0..2 {
        assert_eq!(
            job.put_piece(&fixture, "bytes 4-7/10", b"4567")
                .await
                .status,
            202
        );
    }
    for _ in 0..2 {
        let last = job.put_piece(&fixture, "bytes 8-9/10", b"89").await;
        assert_eq!(last.status, 201, "{}", last.body);
        assert_eq!(last.json()["fileLength"], 10);
    }
    assert_eq!(job.read(&fixture, "drop/big.bin").await.body, "0123456789");
    // Another file in its place begins anew.
    assert_eq!(
        job.put_piece(&fixture, "bytes 0-2/3", b"new").await.status,
        201
    );
    assert_eq!(job.read(&fixture, "drop/big.bin").await.body, "new");
    let incoming = fixture.service.directory().join("content/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_outlives_a_restart_of_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::in_directory(directory.path()).await;
    let (_, job) = Job::start(&fixture, "one").await;
    job.put_piece(&fixture, "bytes 0-3/6", b"0123").await;
    let fixture = fixture.restart(directory.path()).await;
    let last = job.put_piece(&fixture, "bytes 4-5/6", b"45").await;
    assert_eq!(last.status, 201, "{}", last.body);
    assert_eq!(job.read(&fixture, "drop/big.bin").await.body, "012345");
}

#[tokio::test]
async fn a_file_that_travels_packed_is_kept_unpacked() {
    let fixture = Fixture::start().await;
    let (_, job) = Job::start(&fixture, "one").await;
    let text = "to and fro ".repeat(1000);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let put = async |length: usize, body: &[u8]| {
        let (length, total) = (length.to_string(), body.len());
        let range = format!("bytes 0-{}/{total}", total - 1);
        let headers = [
            ("content-encoding", "gzip"),
            ("x-tfs-filelength", length.as_str()),
            ("content-range", range.as_str()),
        ];
        job.put(&fixture, "drop/text", &headers, body).await
    };
    let whole = put(text.len(), &packed).await;
    assert_eq!(whole.status, 201, "{}", whole.body);
    assert_eq!(job.read(&fixture, "drop/text").await.body, text);
    // More than it says is not unpacked any further, and rubbish is no file.
    for (length, body) in [
        (10, &packed[..]),
        (20_000, &packed[..]),
        (10, &b"no gzip at all"[..]),
    ] {
        let refused = put(length, body).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains("announced"), "{}", refused.body);
    }
    let headers = [("content-encoding", "gzip")];
    let unsaid = job.put(&fixture, "drop/text", &headers, &packed).await;
    assert!(unsaid.body.contains("x-tfs-filelength"), "{}", unsaid.body);
}

#[tokio::test]
async fn artifacts_are_bounded() {
    let limits = Limits {
        artifact_file_bytes: 10,
        artifact_bytes: 15,
        artifact_files: 3,
        ..Limits::default()
    };
    let fixture = Fixture::with_limits(limits).await;
    let (_, job) = Job::start(&fixture, "one").await;
    let put =
        async |path: &str, bytes: usize| job.put(&fixture, path, &[], &vec![b'x'; bytes]).await;
    let large = put("a", 11).await;
    assert_eq!(large.status, 413);
    assert!(large.body.contains("at most 10 bytes"), "{}", large.body);
    assert_eq!(put("a", 10).await.status, 201);
    let full = put("b", 6).await;
    assert!(
        full.body.contains("the artifacts of a run has at most 15"),
        "{}",
        full.body
    );
    assert_eq!(put("a", 9).await.status, 201, "in place of the other");
    assert_eq!(put("b", 1).await.status, 201);
    assert_eq!(put("c", 1).await.status, 201);
    let many = put("d", 1).await;
    assert!(many.body.contains("at most 3 files"), "{}", many.body);
    for path in ["../a", "a/../b", "%2E%2E/a", "a%5Cb", "a%0Ab", ""] {
        let refused = put(path, 1).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.body.contains("itemPath"), "{}", refused.body);
    }
}

#[tokio::test]
async fn an_artifact_names_files_of_its_own_run_once() {
    let fixture = Fixture::start().await;
    let (_, job) = Job::start(&fixture, "one").await;
    let own = format!("#/{}/drop", job.container);
    assert_eq!(
        job.publish(&fixture, "drop", "#/999/drop").await.status,
        400
    );
    let first = job.publish(&fixture, "drop", &own).await.json();
    let again = job.publish(&fixture, "drop", &own).await.json();
    assert_eq!(first["id"], again["id"], "said again, it is the same");
    let other = job.publish(&fixture, "Drop", &format!("{own}2")).await;
    assert_eq!(
        (other.status, other.type_key().as_str()),
        (409, key::ARTIFACT_EXISTS)
    );
    let missing = format!("{}?artifactName=nothing", job.run());
    let missing = fixture
        .call("GET", &missing, Some(&fixture.pat), None)
        .await;
    assert_eq!(
        (missing.status, missing.type_key().as_str()),
        (404, key::ARTIFACT_NOT_FOUND)
    );
    let path = "/elsewhere/_apis/build/builds/1/artifacts";
    assert_eq!(
        fixture
            .call("GET", path, Some(&fixture.pat), None)
            .await
            .status,
        404
    );
    let path = "/_apis/resources/Containers/999?itemPath=a";
    assert_eq!(
        fixture
            .call("GET", path, Some(&fixture.pat), None)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_job_of_another_project_reads_nothing() {
    let fixture = Fixture::start().await;
    let (_, job) = Job::start(&fixture, "one").await;
    job.put(&fixture, "drop/a", &[], b"secret").await;
    let agent = fixture.register("two").await;
    let session = agent.open().await;
    let body = json!({"pool": "linux", "steps": [{"script": "echo"}]});
    let path = "/elsewhere/_apis/dayfly/jobs";
    let queued = fixture
        .call("POST", path, Some(&fixture.pat), Some(body))
        .await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    let other = agent.take_job(&session).await;
    for path in [job.file("drop/a"), job.file(""), job.run()] {
        let denied = fixture.call("GET", &path, Some(&other.token), None).await;
        assert_eq!(denied.status, 403, "{path}: {}", denied.body);
    }
    let token = agent.listen_token(&fixture).await;
    let denied = fixture
        .call("GET", &job.file("drop/a"), Some(&token), None)
        .await;
    assert_eq!(denied.status, 403);
}
