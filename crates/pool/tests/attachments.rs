//! What a job reports beside records and console: timelines of details, attachments, logs by lines, and the bounds.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, Raw, Taken};
use dayfly_pool_service::rules::limits::Limits;
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

const NONE: &[(&str, &str)] = &[];

struct Job {
    fixture: Fixture,
    taken: Taken,
    plan: String,
}

impl Job {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::of(Fixture::with_limits(limits).await).await
    }

    async fn of(fixture: Fixture) -> Self {
        let agent = fixture.register("one").await;
        let session = agent.open().await;
        fixture.queue().await;
        let taken = agent.take_job(&session).await;
        let message = &taken.message;
        let plan = format!(
            "/{}/_apis/distributedtask/hubs/Build/plans/{}",
            message.plan.scope_identifier, message.plan.plan_id
        );
        Self {
            fixture,
            taken,
            plan,
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let path = format!("{}/{path}", self.plan);
        let token = Some(&self.taken.token);
        self.fixture.call(method, &path, token, body).await
    }

    async fn raw(&self, method: &str, path: &str, accept: &str, body: Raw<'_>) -> Answer {
        let path = format!("{}/{path}", self.plan);
        let headers = [("accept", accept)];
        self.fixture
            .raw(method, &path, Some(&self.taken.token), &headers, body)
            .await
    }

    fn attachments(&self) -> String {
        let message = &self.taken.message;
        let (timeline, record) = (message.timeline.id, message.steps[0].id);
        format!("timelines/{timeline}/records/{record}/attachments")
    }

    fn records(&self) -> String {
        format!("timelines/{}/records", self.taken.message.timeline.id)
    }
}

#[tokio::test]
async fn an_attachment_is_put_described_listed_and_read() {
    let job = Job::start().await;
    let path = format!(
        "{}/DistributedTask.Core.Summary/Test%20Results%20%C3%A4.md",
        job.attachments()
    );
    let put = job
        .raw("PUT", &path, "application/json", Raw(b"# First"))
        .await;
    assert_eq!(put.status, 200, "{}", put.body);
    let described = put.json();
    assert_eq!(described["name"], "Test Results ä.md", "its case stays");
    assert_eq!(described["type"], "DistributedTask.Core.Summary");
    let again = job
        .raw("PUT", &path, "application/json", Raw(b"# Second"))
        .await;
    assert_eq!(again.json()["createdOn"], described["createdOn"]);

    let read = job
        .raw("GET", &path, "application/octet-stream", Raw(b""))
        .await;
    assert_eq!(read.body, "# Second");
    assert_eq!(read.headers["x-content-type-options"], "nosniff");
    let document = job.raw("GET", &path, "application/json", Raw(b"")).await;
    assert_eq!(document.json()["name"], "Test Results ä.md");
    let link = document.json()["_links"]["self"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    let linked = link.strip_prefix(job.fixture.service.url()).unwrap();
    let linked = job
        .fixture
        .call("GET", linked, Some(&job.fixture.pat), None)
        .await;
    assert_eq!(linked.body, "# Second", "the link leads there");

    let other = format!("{}/Other/file", job.attachments());
    job.raw("PUT", &other, "application/json", Raw(b"1")).await;
    for list in [
        format!("{}/DistributedTask.Core.Summary", job.attachments()),
        "attachments/DistributedTask.Core.Summary".to_owned(),
    ] {
        let listed = job.call("GET", &list, None).await.json();
        assert_eq!(listed["count"], 1, "{list}: {listed}");
        assert_eq!(listed["value"][0]["name"], "Test Results ä.md");
    }
    let missing = job
        .call("GET", &format!("{}/Other/nothing", job.attachments()), None)
        .await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn attachments_are_bounded_in_size_number_and_name() {
    let limits = Limits {
        attachment_bytes: 10,
        attachments: 2,
        ..Limits::default()
    };
    let job = Job::with(limits).await;
    let put = async |name: &str, body: &'static [u8]| {
        let path = format!("{}/Some.Type/{name}", job.attachments());
        job.raw("PUT", &path, "application/json", Raw(body)).await
    };
    let large = put("large", b"more than ten bytes").await;
    assert_eq!(large.status, 413, "{}", large.body);
    assert!(large.body.contains("at most 10 bytes"), "{}", large.body);
    assert_eq!(put("a", b"1").await.status, 200);
    assert_eq!(put("b", b"1").await.status, 200);
    let third = put("c", b"1").await;
    assert!(
        third.body.contains("at most 2 attachments"),
        "{}",
        third.body
    );
    assert_eq!(
        put("a", b"2").await.status,
        200,
        "replacing is no third one"
    );
    assert_eq!(put("a%2Fb", b"1").await.status, 400);
    // Nothing is left of what was refused.
    let incoming = job.fixture.service.directory().join("content/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
}

#[tokio::test]
async fn attachments_are_the_jobs_own_to_put_and_end_with_it() {
    let job = Job::start().await;
    let path = format!("{}/{}/A/b", job.plan, job.attachments());
    let by_administrator = job
        .fixture
        .raw("PUT", &path, Some(&job.fixture.pat), NONE, Raw(b"1"))
        .await;
    assert_eq!(by_administrator.status, 403);
    let timeline = job.taken.message.timeline.id;
    let foreign = path.replace(
        &format!("timelines/{timeline}"),
        &format!("timelines/{}", Uuid::new_v4()),
    );
    let foreign = job
        .fixture
        .raw("PUT", &foreign, Some(&job.taken.token), NONE, Raw(b"1"))
        .await;
    assert_eq!(foreign.status, 404);
    job.taken
        .complete(&job.fixture, TaskResult::Succeeded)
        .await;
    let late = job
        .fixture
        .raw("PUT", &path, Some(&job.taken.token), NONE, Raw(b"1"))
        .await;
    assert_eq!(late.status, 401);
}

#[tokio::test]
async fn details_have_a_timeline_of_their_own() {
    let job = Job::start().await;
    let id = Uuid::new_v4();
    let made = job.call("POST", "timelines", Some(json!({"id": id}))).await;
    assert_eq!(made.json()["id"], id.to_string());
    let again = job.call("POST", "timelines", Some(json!({"id": id}))).await;
    assert_eq!(
        (again.status, again.type_key().as_str()),
        (409, key::TIMELINE_EXISTS)
    );
    let own = json!({"id": job.taken.message.timeline.id});
    let own = job.call("POST", "timelines", Some(own)).await;
    assert_eq!(own.type_key(), key::TIMELINE_EXISTS);

    let detail = Uuid::new_v4();
    let patch = json!({"count": 1, "value": [{"id": detail, "name": "detail", "type": "Task"}]});
    let path = format!("timelines/{id}/records");
    let merged = job.call("PATCH", &path, Some(patch)).await;
    assert_eq!(merged.json()["value"][0]["name"], "detail");
    let step = job.taken.message.steps[0].id;
    let patch = json!({"count": 1, "value": [{"id": step, "parentId": job.taken.message.job_id,
        "details": {"id": id, "changeId": 0}}]});
    job.call("PATCH", &job.records(), Some(patch)).await;
    let all = job.call("GET", "timelines", None).await.json();
    assert_eq!(all["count"], 2);

    // Only what changed since is listed, and the header alone when nobody asks for records.
    let main = format!("timelines/{}", job.taken.message.timeline.id);
    let read = job
        .call("GET", &format!("{main}?includeRecords=True"), None)
        .await
        .json();
    assert_eq!(read["records"].as_array().unwrap().len(), 4);
    let change = &read["changeId"];
    let since = format!("{main}?includeRecords=True&changeId={change}");
    let since = job.call("GET", &since, None).await.json();
    assert_eq!(
        (
            since["records"].as_array().unwrap().len(),
            &since["changeId"]
        ),
        (0, change)
    );
    let header = job.call("GET", &main, None).await.json();
    assert!(header.get("records").is_none() && &header["changeId"] == change);
}

#[tokio::test]
async fn a_timeline_of_another_plan_is_out_of_reach() {
    let job = Job::start().await;
    let agent = job.fixture.register("two").await;
    let session = agent.open().await;
    job.fixture.queue().await;
    let other = agent.take_job(&session).await.message.timeline.id;
    let taken = job
        .call("POST", "timelines", Some(json!({"id": other})))
        .await;
    assert_eq!(taken.type_key(), key::TIMELINE_EXISTS);
    let patch = json!({"value": [{"id": Uuid::new_v4(), "name": "x"}]});
    let path = format!("timelines/{other}/records");
    assert_eq!(job.call("PATCH", &path, Some(patch)).await.status, 404);
}

#[tokio::test]
async fn what_a_record_does_not_name_stays() {
    let job = Job::start().await;
    let id = job.taken.message.steps[0].id;
    let merge = async |record: Value| {
        let mut record = record;
        record["id"] = json!(id);
        record["parentId"] = json!(job.taken.message.job_id);
        let body = json!({"count": 1, "value": [record]});
        let answer = job.call("PATCH", &job.records(), Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["value"][0].clone()
    };
    let issue = |text: &str| json!({"type": "error", "message": text});
    merge(
        json!({"name": "step", "state": "inProgress", "issues": [issue("one"), issue("two")],
        "variables": {"a": {"value": "1"}}}),
    )
    .await;
    let merged = merge(json!({"name": null, "percentComplete": 50, "issues": [],
        "variables": {"b": {"value": "2"}}}))
    .await;
    assert_eq!(merged["name"], "step");
    assert_eq!(
        merged["issues"].as_array().unwrap().len(),
        2,
        "no issues: they stay"
    );
    assert_eq!(merged["variables"]["a"]["value"], "1");
    assert_eq!(merged["variables"]["b"]["value"], "2");
    let merged = merge(json!({"issues": [issue("three")], "attempt": 2})).await;
    assert_eq!(
        merged["issues"].as_array().unwrap().len(),
        1,
        "issues replace"
    );
    assert_eq!(merged["attempt"], 2);
    let many: Vec<Value> = (0..15).map(|_| issue("x")).collect();
    let merged = merge(json!({"issues": many})).await;
    assert_eq!(merged["issues"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn records_and_console_lines_in_one_call_are_bounded() {
    let limits = Limits {
        records: 2,
        feed_lines: 3,
        ..Limits::default()
    };
    let job = Job::with(limits).await;
    let records: Vec<Value> = (0..3).map(|_| json!({"id": Uuid::new_v4()})).collect();
    let refused = job
        .call("PATCH", &job.records(), Some(json!({"value": records})))
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("at most 2 records"),
        "{}",
        refused.body
    );
    let feed = format!("{}/{}/feed", job.records(), job.taken.message.job_id);
    let lines = |count: usize| json!({"count": count, "value": vec!["x".repeat(2000); count]});
    let refused = job.call("POST", &feed, Some(lines(4))).await;
    assert!(
        refused.body.contains("at most 3 console lines"),
        "{}",
        refused.body
    );
    let taken = job.call("POST", &feed, Some(lines(1))).await;
    assert_eq!(taken.status, 204);
    let request = job.taken.message.request_id;
    let page = job
        .fixture
        .admin
        .follow_job("demo", request, 0)
        .await
        .unwrap();
    assert_eq!(page.value[0].line.len(), 1027, "the line was cut");
}

#[tokio::test]
async fn a_log_is_read_by_lines_as_text_and_as_a_list() {
    let job = Job::start().await;
    let log = job
        .call("POST", "logs", Some(json!({"path": "logs\\x"})))
        .await
        .json();
    assert_eq!((&log["id"], &log["lineCount"]), (&json!(1), &json!(0)));
    for piece in [&b"one\ntw"[..], b"o\nthree\nfour"] {
        job.raw("POST", "logs/1", "application/json", Raw(piece))
            .await;
    }
    let text = async |query: &str| {
        job.raw("GET", &format!("logs/1{query}"), "text/plain", Raw(b""))
            .await
            .body
    };
    assert_eq!(text("").await, "one\ntwo\nthree\nfour");
    assert_eq!(text("?startLine=2&endLine=3").await, "two\nthree\n");
    assert_eq!(text("?startLine=4").await, "four");
    assert_eq!(text("?startLine=9").await, "");
    let list = job
        .raw(
            "GET",
            "logs/1?startLine=2",
            "application/json;api-version=7.1",
            Raw(b""),
        )
        .await;
    assert_eq!(
        list.json(),
        json!({"count": 3, "value": ["two", "three", "four"]})
    );
    let logs = job.call("GET", "logs", None).await.json();
    assert_eq!(
        (&logs["count"], &logs["value"][0]["lineCount"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(job.call("GET", "logs/2", None).await.status, 404);
}

#[tokio::test]
async fn a_log_that_grows_too_large_is_refused_and_keeps_what_it_has() {
    let limits = Limits {
        log_bytes: 8,
        ..Limits::default()
    };
    let job = Job::with(limits).await;
    job.call("POST", "logs", Some(json!({}))).await;
    assert_eq!(
        job.raw("POST", "logs/1", "", Raw(b"12345\n")).await.status,
        200
    );
    let refused = job.raw("POST", "logs/1", "", Raw(b"67890\n")).await;
    assert_eq!(refused.status, 413);
    assert!(
        refused.body.contains("a log has at most 8 bytes"),
        "{}",
        refused.body
    );
    let read = job.raw("GET", "logs/1", "text/plain", Raw(b"")).await;
    assert_eq!(read.body, "12345\n");
}

#[tokio::test]
async fn what_a_job_attached_goes_with_the_job() {
    let fixture = Fixture::with_manual_clock().await;
    let job = Job::of(fixture).await;
    let path = format!("{}/A/b", job.attachments());
    let put = job
        .raw("PUT", &path, "application/json", Raw(b"content"))
        .await;
    assert_eq!(put.status, 200, "{}", put.body);
    job.call("POST", "timelines", Some(json!({"id": Uuid::new_v4()})))
        .await;
    job.taken
        .complete(&job.fixture, TaskResult::Succeeded)
        .await;
    let service = job.fixture.service.service();
    assert_eq!(service.tidy_content().await.unwrap(), 0);
    job.fixture
        .service
        .advance(SignedDuration::from_hours(31 * 24))
        .await
        .unwrap();
    assert_eq!(
        service.tidy_content().await.unwrap(),
        0,
        "it is still named"
    );
    assert_eq!(service.tidy().await.unwrap(), 1);
    assert_eq!(service.tidy_content().await.unwrap(), 1);
}
