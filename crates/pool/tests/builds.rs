//! Runs of several jobs: which wait, start and are left out, and what the run makes of it.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, OpenSession, Taken, TestAgent};
use dayfly_pool_service::ops::roles;
use dayfly_pool_service::ops::runs::{NewJob, NewRun, Pipeline, cancel_run, create_run};
use dayfly_pool_service::rules::entities::{Run, RunJob};
use dayfly_pool_service::rules::refusal::Kind;
use dayfly_pool_service::rules::role::Role;
use dayfly_pool_service::service::Failure;
use dayfly_pool_service::store::{definitions, projects, runs};
use dayfly_wire::build::{BuildReason, BuildResult, BuildStatus};
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{BuildId, RecordId};
use dayfly_wire::timeline::{Record, RecordState};
use serde_json::json;

/// Makes a run of jobs, each with the names of those that it waits for.
async fn create(fixture: &Fixture, jobs: &[(&str, &[&str])]) -> Run {
    try_create(fixture, jobs).await.unwrap()
}

/// The same, which may be refused.
async fn try_create(fixture: &Fixture, jobs: &[(&str, &[&str])]) -> Result<Run, Failure> {
    let service = fixture.service.service();
    // The project is there once something was made in it.
    let repository = json!({"name": "any"});
    let path = "/demo/_apis/git/repositories";
    fixture
        .call("POST", path, Some(&fixture.pat), Some(repository))
        .await;
    let mut unit = service.begin().await.unwrap();
    let project = projects::find(unit.conn(), "demo").await.unwrap().unwrap();
    let now = unit.now;
    let id = definitions::named(unit.conn(), &project, "ci", now).await;
    let new = NewRun {
        pipeline: Pipeline {
            project,
            id: id.unwrap(),
            name: "ci".to_owned(),
        },
        reason: BuildReason::Manual,
        source: None,
        requested_by: "test".to_owned(),
        given: None,
        jobs: jobs.iter().map(|(name, after)| job(name, after)).collect(),
    };
    let created = create_run(&mut unit, new).await?;
    unit.commit().await.unwrap();
    Ok(created.run)
}

fn job(name: &str, after: &[&str]) -> NewJob {
    let job = json!({
        "pool": "linux",
        "displayName": format!("Job {name}"),
        "variables": {"hush": {"value": "never-on-disk", "isSecret": true}},
        "steps": [{"script": "echo hello"}],
    });
    NewJob {
        name: name.to_owned(),
        depends_on: after.iter().map(|name| (*name).to_owned()).collect(),
        condition: None,
        job: serde_json::from_value(job).unwrap(),
        sources: Vec::new(),
        has_expressions: false,
    }
}

async fn read(fixture: &Fixture, id: BuildId) -> (Run, Vec<RunJob>) {
    let mut conn = fixture.service.service().store.read().await.unwrap();
    let run = runs::by_id(&mut conn, id).await.unwrap().unwrap();
    let jobs = runs::jobs(&mut conn, id).await.unwrap();
    (run, jobs)
}

async fn records(fixture: &Fixture, taken: &Taken) -> Vec<Record> {
    let timeline = taken.message.timeline.id;
    let read = fixture.admin.timeline(&taken.scope(), timeline).await;
    read.unwrap().records.unwrap()
}

/// Ends a job and goes on in a new session, as an agent that said it leaves must.
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
async fn a_job_starts_when_the_one_that_it_waits_for_succeeded() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let run = create(&fixture, &[("build", &[]), ("test", &["Build"])]).await;
    let id = run.plan.build;
    assert_eq!(run.status, BuildStatus::NotStarted);

    let first = agent.take_job(&session).await;
    assert_eq!(first.message.job_name, "build");
    let (now, jobs) = read(&fixture, id).await;
    assert_eq!(now.status, BuildStatus::InProgress);
    assert!(now.started_at.is_some());
    assert!(jobs[1].is_pending(), "{jobs:?}");
    let session = complete(&fixture, &agent, session, &first, TaskResult::Succeeded).await;

    let second = agent.take_job(&session).await;
    assert_eq!(second.message.job_name, "test");
    assert_eq!(second.message.job_display_name, "Job test");
    assert_eq!(second.message.plan.plan_id, first.message.plan.plan_id);
    let hush = second.message.variables["hush"].value.as_ref().unwrap();
    assert_eq!(hush.expose(), "never-on-disk");
    let issues = TaskResult::SucceededWithIssues;
    complete(&fixture, &agent, session, &second, issues).await;
    let (now, _) = read(&fixture, id).await;
    assert_eq!(now.status, BuildStatus::Completed);
    assert_eq!(now.result, Some(BuildResult::PartiallySucceeded));
    assert!(now.finished_at.is_some());

    let records = records(&fixture, &second).await;
    let kinds = |kind: &str| {
        let of_kind = records
            .iter()
            .filter(|each| each.kind.as_deref() == Some(kind));
        of_kind.collect::<Vec<_>>()
    };
    assert_eq!(
        (
            kinds("Stage").len(),
            kinds("Phase").len(),
            kinds("Job").len()
        ),
        (1, 2, 2)
    );
    for record in kinds("Phase") {
        assert_eq!(record.parent_id, Some(kinds("Stage")[0].id));
    }
    for record in &records {
        assert_eq!(record.state, Some(RecordState::Completed), "{record:#?}");
        assert!(record.result.is_some(), "{record:#?}");
    }
}

#[tokio::test]
async fn a_job_that_waits_is_stored_sealed_only() {
    let fixture = Fixture::start().await;
    fixture.register("one").await;
    create(&fixture, &[("build", &[]), ("test", &["build"])]).await;
    let mut found = 0;
    for (name, bytes) in fixture.service.at_rest().await.unwrap() {
        let clear = bytes.windows(13).any(|window| window == b"never-on-disk");
        assert!(!clear, "{name}");
        found += usize::from(bytes.windows(8).any(|window| window == b"Job test"));
    }
    assert!(found > 0, "what was searched holds the job");
}

#[tokio::test]
async fn a_failed_job_leaves_out_those_that_wait_for_it() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let jobs: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"])];
    let run = create(&fixture, jobs).await;
    let first = agent.take_job(&session).await;
    first.complete(&fixture, TaskResult::Failed).await;
    let (now, jobs) = read(&fixture, run.plan.build).await;
    assert_eq!(now.result, Some(BuildResult::Failed));
    for job in &jobs[1..] {
        assert_eq!(job.result, Some(TaskResult::Skipped));
        assert!(
            job.status_message
                .as_ref()
                .unwrap()
                .contains("did not succeed")
        );
        assert!(job.request.is_none());
    }
    let records = records(&fixture, &first).await;
    let skipped = records
        .iter()
        .find(|each| each.id.0 == jobs[2].id.0)
        .unwrap();
    assert_eq!(skipped.result, Some(TaskResult::Skipped));
    assert!(skipped.issues[0].message.contains("Job b"));
}

#[tokio::test]
async fn a_job_that_no_agent_can_run_fails_its_run_at_once() {
    let fixture = Fixture::start().await;
    let run = create(&fixture, &[("a", &[]), ("b", &["a"])]).await;
    assert_eq!(run.status, BuildStatus::Completed);
    assert_eq!(run.result, Some(BuildResult::Failed));
    let (_, jobs) = read(&fixture, run.plan.build).await;
    assert_eq!(jobs[0].result, Some(TaskResult::Failed));
    assert_eq!(jobs[1].result, Some(TaskResult::Skipped));
}

#[tokio::test]
async fn a_cancelled_run_ends_when_its_running_job_has_ended() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let jobs: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &[])];
    let run = create(&fixture, jobs).await;
    let id = run.plan.build;
    let taken = agent.take_job(&session).await;
    let (now, _) = read(&fixture, id).await;
    let mut unit = fixture.service.service().begin().await.unwrap();
    let reason = Some("enough".to_owned());
    cancel_run(&mut unit, now, reason).await.unwrap();
    unit.commit().await.unwrap();

    let (now, jobs) = read(&fixture, id).await;
    assert_eq!((now.status, now.result), (BuildStatus::Cancelling, None));
    assert_eq!(jobs[0].result, None, "the agent is told and takes its time");
    assert_eq!(jobs[1].result, Some(TaskResult::Canceled));
    assert_eq!(jobs[2].result, Some(TaskResult::Canceled));
    assert_eq!(
        agent.see_cancellation(&session).await.job_id,
        taken.message.job_id
    );
    taken.complete(&fixture, TaskResult::Canceled).await;
    let (now, _) = read(&fixture, id).await;
    assert_eq!(now.result, Some(BuildResult::Canceled));
}

#[tokio::test]
async fn a_job_cannot_write_the_records_of_another_job_of_its_run() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let run = create(&fixture, &[("a", &[]), ("b", &["a"])]).await;
    let taken = agent.take_job(&session).await;
    let (_, jobs) = read(&fixture, run.plan.build).await;
    let path = format!(
        "/demo/_apis/distributedtask/hubs/build/plans/{}/timelines/{}/records",
        run.plan.id, run.plan.timeline
    );
    let patch = |id: RecordId, parent: Option<RecordId>| json!({"count": 1, "value": [{"id": id, "parentId": parent, "name": "mine"}]});
    let send = |body| fixture.call("PATCH", &path, Some(&taken.token), Some(body));
    let others = RecordId(jobs[1].id.0);
    let below_others = RecordId(uuid::Uuid::new_v4());
    for body in [patch(others, None), patch(below_others, Some(others))] {
        let answer = send(body).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    let own = RecordId(taken.message.job_id.0);
    let answer = send(patch(RecordId(uuid::Uuid::new_v4()), Some(own))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_job_gives_its_own_run_another_number_and_changes_nothing_else() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let (own, other) = (fixture.queue().await, fixture.queue().await);
    let taken = agent.take_job(&session).await;
    let change = |run: BuildId, body: serde_json::Value| {
        let (fixture, token) = (&fixture, &taken.token);
        async move {
            let path = format!("/demo/_apis/build/builds/{run}");
            fixture.call("PATCH", &path, Some(token), Some(body)).await
        }
    };
    let number = json!({"buildNumber": "release 7"});
    let answer = change(own.build_id, number.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("release 7"), "{}", answer.body);
    for (run, body, status) in [
        (other.build_id, number, 403),
        (own.build_id, json!({"status": "cancelling"}), 403),
        (own.build_id, json!({"keepForever": true}), 403),
        (own.build_id, json!({"buildNumber": "a/b"}), 400),
        (own.build_id, json!({"buildNumber": "."}), 400),
    ] {
        let answer = change(run, body.clone()).await;
        assert_eq!(answer.status, status, "{run} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_job_writes_to_no_log_details_or_record_that_another_job_of_its_run_made() {
    let fixture = Fixture::start().await;
    let run = {
        let (one, two) = (fixture.register("one").await, fixture.register("two").await);
        let run = create(&fixture, &[("a", &[]), ("b", &[])]).await;
        let sessions = (one.open().await, two.open().await);
        let first = one.take_job(&sessions.0).await;
        let second = two.take_job(&sessions.1).await;
        (run, first, second)
    };
    let (run, own, other) = run;
    let plan = format!(
        "/demo/_apis/distributedtask/hubs/build/plans/{}",
        run.plan.id
    );
    let call = async |method: &str, path: String, taken: &Taken, body: serde_json::Value| {
        let path = format!("{plan}/{path}");
        let body = Some(body);
        fixture.call(method, &path, Some(&taken.token), body).await
    };
    let log = call("POST", "logs".to_owned(), &own, json!({"path": "own"})).await;
    let details = uuid::Uuid::new_v4();
    let step = uuid::Uuid::new_v4();
    let made = call("POST", "timelines".to_owned(), &own, json!({"id": details})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let main = run.plan.timeline;
    let record = json!({"count": 1, "value": [{"id": step, "parentId": own.message.job_id}]});
    let below = json!({"count": 1, "value": [{"id": uuid::Uuid::new_v4(), "name": "detail"}]});
    // The owner first: what is refused afterwards is there.
    for (taken, status) in [(&own, 200), (&other, 403)] {
        for (method, path, body) in [
            ("POST", format!("logs/{}", log.json()["id"]), json!("text")),
            (
                "PATCH",
                format!("timelines/{details}/records"),
                below.clone(),
            ),
            ("PATCH", format!("timelines/{main}/records"), record.clone()),
            (
                "PUT",
                format!("timelines/{main}/records/{step}/attachments/a.b/c"),
                json!("x"),
            ),
            (
                "PUT",
                format!("timelines/{details}/records/{step}/attachments/a.b/c"),
                json!("x"),
            ),
        ] {
            let answer = call(method, path.clone(), taken, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
            if status == 403 {
                assert_eq!(answer.type_key(), key::ACCESS_DENIED, "{path}");
            }
        }
    }
    let text = fixture
        .call("GET", &format!("{plan}/logs/1"), Some(&fixture.pat), None)
        .await;
    assert_eq!(text.body.matches("text").count(), 1, "{}", text.body);
    // What the other job makes itself is its own.
    let log = call("POST", "logs".to_owned(), &other, json!({"path": "other"})).await;
    let path = format!("logs/{}", log.json()["id"]);
    let appended = call("POST", path, &other, json!("text")).await;
    assert_eq!(appended.status, 200, "{}", appended.body);
}

#[tokio::test]
async fn no_run_is_made_for_somebody_who_may_not_use_the_pools_of_its_jobs() {
    let fixture = Fixture::start().await;
    fixture.register("one").await;
    let store = &fixture.service.service().store;
    let jobs: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"])];
    // By hand and by a push alike: a run is somebody's.
    roles::set(store, "Test", Some("linux"), Role::Reader)
        .await
        .unwrap();
    let refused = try_create(&fixture, jobs).await;
    let Err(Failure::Refused(refusal)) = refused else {
        panic!("a reader queued a run");
    };
    assert_eq!(refusal.kind, Kind::Denied);
    assert!(refusal.message.contains("needs Use"), "{refusal}");
    let listed = "/demo/_apis/build/builds";
    let listed = fixture.call("GET", listed, Some(&fixture.pat), None).await;
    assert_eq!(listed.json()["count"], 0, "nothing is left of it");
    roles::set(store, "test", Some("linux"), Role::User)
        .await
        .unwrap();
    create(&fixture, jobs).await;
}
