//! The life of a job, from the queue to its end, over HTTP.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{DEADLINE, Fixture, capabilities, within};
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::agent::Agent;
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::job::builtin;
use dayfly_wire::log::FeedLines;
use dayfly_wire::session::OAEP_SHA256;
use dayfly_wire::timeline::{Record, RecordState};
use jiff::SignedDuration;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test]
async fn a_job_is_queued_delivered_reported_and_ended() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture
        .queue_with(json!({
            "displayName": "Build it",
            "variables": {"plain": "1", "hush": {"value": "s3cret", "isSecret": true}},
        }))
        .await;
    assert_eq!(queued.result, None);
    let reserved = fixture.request(queued.request_id).await;
    assert_eq!(reserved.reserved_agent.unwrap().name, "one");
    assert!(reserved.assign_time.is_some() && reserved.receive_time.is_none());

    let taken = agent.take_job(&session).await;
    let message = &taken.message;
    assert_eq!(message.request_id, queued.request_id);
    assert_eq!(message.plan.version, 9);
    assert_eq!(message.steps[0].reference.id.0, builtin::CMD_LINE);
    assert!(message.variables["hush"].is_secret);
    assert!(message.variables["system.accessToken"].is_secret);
    let masks: Vec<_> = message
        .mask
        .iter()
        .filter_map(|hint| hint.value.as_ref())
        .collect();
    assert!(masks.iter().any(|mask| mask.expose() == "s3cret"));
    assert_eq!(masks.len(), 2, "the secret and the token");
    let running = fixture.request(queued.request_id).await;
    assert!(running.receive_time.is_some());

    report(&fixture, &taken).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let ended = fixture.request(queued.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Succeeded));
    assert!(ended.finish_time.is_some() && ended.locked_until.is_none());
    agent
        .client
        .delete_session(fixture.pool, session.id)
        .await
        .unwrap();
    fixture
        .admin
        .delete_agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
}

/// Records, console lines and a log, as a worker sends them; read back as an administrator sees them.
async fn report(fixture: &Fixture, taken: &common::Taken) {
    let (worker, scope) = (taken.client(fixture), taken.scope());
    let timeline = taken.message.timeline.id;
    let step = taken.message.steps[0].id;
    let log = worker.create_log(&scope, r"logs\step").await.unwrap();
    worker
        .append_log(&scope, log.id, "one\ntwo\n".into())
        .await
        .unwrap();
    let log = worker
        .append_log(&scope, log.id, "three\n".into())
        .await
        .unwrap();
    assert_eq!(log.line_count, 3);
    let record = Record {
        id: step,
        parent_id: Some(RecordId(taken.message.job_id.0)),
        name: Some("say hello".to_owned()),
        state: Some(RecordState::Completed),
        log: Some(log),
        ..Record::default()
    };
    worker
        .update_records(&scope, timeline, &[record])
        .await
        .unwrap();
    let lines = FeedLines {
        count: 2,
        value: vec!["one".to_owned(), "two".to_owned()],
        step_id: Some(step),
        start_line: Some(1),
    };
    worker
        .post_feed(&scope, timeline, taken.message.job_id, &lines)
        .await
        .unwrap();

    let read = fixture.admin.timeline(&scope, timeline).await.unwrap();
    let records = read.records.unwrap();
    assert_eq!(records.len(), 4, "stage, phase, job and step");
    let log = records
        .iter()
        .find(|record| record.id == step)
        .and_then(|record| record.log.clone())
        .unwrap();
    let text = fixture.admin.log_text(&scope, log.id).await.unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
    let page = fixture
        .admin
        .follow_job("demo", taken.message.request_id, 1)
        .await
        .unwrap();
    assert_eq!(page.value[0].line, "two");
    assert_eq!((page.next, page.result), (2, None));
    let path = format!(
        "/{}/_apis/distributedtask/hubs/Build/plans/{}/logs/{}?startLine=2&endLine=3",
        scope.project, scope.plan, log.id
    );
    let answer = fixture.call("GET", &path, Some(&fixture.pat), None).await;
    assert_eq!(answer.body, "two\nthree\n");
}

#[tokio::test]
async fn the_session_key_is_wrapped_in_the_padding_that_the_agent_can() {
    let fixture = Fixture::start().await;
    for (name, sha256) in [("new", true), ("old", false)] {
        let agent = fixture.register(name).await;
        let session = agent.open_with(sha256, capabilities(&[])).await;
        let padding = session.document.encryption_key.unwrap().encryption_padding;
        assert_eq!(padding.as_deref(), sha256.then_some(OAEP_SHA256));
        // The same message is encrypted anew for each delivery.
        fixture.queue().await;
        let session = common::OpenSession {
            document: dayfly_wire::session::Session::default(),
            ..session
        };
        let (first, second) = (agent.see_job(&session).await, agent.see_job(&session).await);
        assert_ne!(first.envelope.iv, second.envelope.iv);
        agent.take_job(&session).await;
    }
}

#[tokio::test]
async fn a_job_that_nobody_can_run_fails_at_once_and_says_why() {
    let fixture = Fixture::start().await;
    let nobody = fixture.queue().await;
    assert_eq!(nobody.result, Some(TaskResult::Failed));
    assert!(
        nobody
            .status_message
            .unwrap()
            .contains("No agent is registered")
    );

    fixture.register("offline").await;
    let lacking = fixture
        .queue_with(json!({"demands": ["java", "docker"]}))
        .await;
    assert_eq!(lacking.result, Some(TaskResult::Failed));
    let reason = fixture
        .request(lacking.request_id)
        .await
        .status_message
        .unwrap();
    assert!(reason.contains("java, docker"), "{reason}");
    let waits = fixture.queue().await;
    assert_eq!(waits.result, None, "an offline agent matches");
    let waits = fixture.request(waits.request_id).await;
    assert_eq!(waits.matched_agents[0].name, "offline");
    assert!(waits.assign_time.is_none());
}

#[tokio::test]
async fn demands_are_matched_against_both_capability_sets() {
    let fixture = Fixture::start().await;
    let plain = fixture.register("plain").await;
    let draft = Agent {
        user_capabilities: capabilities(&[("Java", "21")]),
        ..Agent::default()
    };
    let skilled = fixture.register_as("skilled", draft).await;
    let plain_session = plain.open().await;
    let system = capabilities(&[("Agent.Version", "4.260.0")]);
    let session = skilled.open_with(true, system).await;
    let demands = json!({"demands": ["java -equals 21", "agent.version -gtVersion 2.182.1"]});
    let queued = fixture.queue_with(demands).await;
    assert_eq!(queued.result, None);
    let taken = skilled.take_job(&session).await;
    assert_eq!(taken.message.request_id, queued.request_id);
    assert!(plain.poll(&plain_session).await.is_none());
}

#[tokio::test]
async fn a_parked_poll_wakes_at_once_for_every_poller() {
    let fixture = Fixture::with_long_polls().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let polls = async { tokio::join!(agent.poll(&session), agent.poll(&session)) };
    let queue = async {
        fixture.wait_for_a_parked_poll().await;
        let queued_at = Instant::now();
        fixture.queue().await;
        queued_at
    };
    let ((first, second), queued_at) =
        within("both polls", Box::pin(async { tokio::join!(polls, queue) })).await;
    assert!(queued_at.elapsed() < DEADLINE);
    assert_eq!(first.unwrap().message_id, second.unwrap().message_id);
}

#[tokio::test]
async fn a_message_is_delivered_until_it_is_acknowledged() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let first = agent.see_job(&session).await;
    let again = agent.see_job(&session).await;
    assert_eq!(first.envelope.message_id, again.envelope.message_id);
    let after = agent
        .client
        .next_message(fixture.pool, session.id, Some(first.envelope.message_id))
        .await
        .unwrap();
    assert!(after.is_none(), "nothing after the last one");
    agent.acknowledge(&session, first.envelope.message_id).await;
    agent.acknowledge(&session, first.envelope.message_id).await;
    assert!(agent.poll(&session).await.is_none());
}

#[tokio::test]
async fn a_lock_that_is_not_renewed_lapses_and_the_job_is_abandoned() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    for _ in 0..4 {
        fixture
            .service
            .advance(SignedDuration::from_mins(4))
            .await
            .unwrap();
        agent
            .client
            .renew_request(fixture.pool, queued.request_id)
            .await
            .unwrap();
        agent.poll(&session).await;
    }
    assert_eq!(fixture.request(queued.request_id).await.result, None);
    fixture
        .service
        .advance(SignedDuration::from_mins(11))
        .await
        .unwrap();
    let ended = fixture.request(queued.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Abandoned));
    assert!(ended.status_message.unwrap().contains("one"));
    let renewal = agent
        .client
        .renew_request(fixture.pool, queued.request_id)
        .await;
    assert_eq!(renewal.unwrap_err().type_key(), Some(key::JOB_NOT_FOUND));
    let report = taken
        .client(&fixture)
        .raise_event(&taken.scope(), &taken.completed(TaskResult::Succeeded))
        .await;
    assert!(report.unwrap_err().is_credential_rejected());
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_cancelled_and_then_ended() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let limits = json!({"timeoutInMinutes": 3, "cancelTimeoutInMinutes": 2});
    let queued = fixture.queue_with(limits).await;
    agent.take_job(&session).await;
    fixture
        .service
        .advance(SignedDuration::from_mins(3))
        .await
        .unwrap();
    let cancellation = agent.see_cancellation(&session).await;
    assert_eq!(cancellation.timeout, "00:02:00");
    fixture
        .service
        .advance(SignedDuration::from_mins(2))
        .await
        .unwrap();
    assert_eq!(fixture.request(queued.request_id).await.result, None);
    fixture
        .service
        .advance(SignedDuration::from_mins(1))
        .await
        .unwrap();
    let ended = fixture.request(queued.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Canceled));
    assert!(ended.status_message.unwrap().contains("3 minutes"));
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_a_running_one_by_its_agent() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let waiting = fixture.queue().await;
    fixture.service.cancel(waiting.request_id).await.unwrap();
    let ended = fixture.request(waiting.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Canceled));

    let session = agent.open().await;
    let running = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    fixture
        .admin
        .cancel_job("demo", running.request_id, Some("enough".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        agent.see_cancellation(&session).await.job_id,
        taken.message.job_id
    );
    assert_eq!(fixture.request(running.request_id).await.result, None);
    taken.complete(&fixture, TaskResult::Canceled).await;
    let ended = fixture.request(running.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Canceled));
    assert_eq!(ended.status_message.as_deref(), Some("enough"));
    assert!(
        agent.poll(&session).await.is_none(),
        "its messages are gone"
    );
}

#[tokio::test]
async fn an_administrator_ends_a_job_with_a_reason() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    fixture
        .admin
        .finish_request(
            fixture.pool,
            queued.request_id,
            TaskResult::Failed,
            Some("the pod was evicted"),
        )
        .await
        .unwrap();
    let ended = fixture.request(queued.request_id).await;
    assert_eq!(ended.result, Some(TaskResult::Failed));
    assert_eq!(ended.status_message.as_deref(), Some("the pod was evicted"));
    let timeline = fixture
        .admin
        .timeline(&taken.scope(), queued.timeline_id)
        .await
        .unwrap();
    let mut records = timeline.records.unwrap().into_iter();
    let record = records
        .find(|record| record.id.0 == queued.job_id.0)
        .expect("the job's record");
    assert_eq!(record.result, Some(TaskResult::Failed));
    assert_eq!(record.issues[0].message, "the pod was evicted");
    agent.see_cancellation(&session).await;
    fixture
        .admin
        .finish_request(fixture.pool, queued.request_id, TaskResult::Succeeded, None)
        .await
        .unwrap();
    let still = fixture.request(queued.request_id).await.result;
    assert_eq!(still, Some(TaskResult::Failed), "an end is an end");
}

#[tokio::test]
async fn a_single_use_agent_is_never_given_a_second_job() {
    let fixture = Fixture::start().await;
    let agent = fixture.register_single_use("once").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let second = fixture.queue().await;
    assert_eq!(second.result, None, "it waits for another agent");
    taken.complete(&fixture, TaskResult::Succeeded).await;
    assert!(agent.poll(&session).await.is_none());
    let other = fixture.register("other").await;
    let other_session = other.open().await;
    let taken = other.take_job(&other_session).await;
    assert_eq!(taken.message.request_id, second.request_id);
}

#[tokio::test]
async fn a_disabled_agent_is_given_nothing_until_it_is_enabled() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let set = |enabled| {
        fixture
            .admin
            .set_agent_enabled(fixture.pool, agent.record.id, enabled)
    };
    set(false).await.unwrap();
    fixture.queue().await;
    assert!(agent.poll(&session).await.is_none());
    set(true).await.unwrap();
    agent.take_job(&session).await;
}

#[tokio::test]
async fn jobs_are_given_in_the_order_of_the_queue() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let (first, second) = (fixture.queue().await, fixture.queue().await);
    let session = agent.open().await;
    let taken = agent.take_job(&session).await;
    assert_eq!(taken.message.request_id, first.request_id);
    assert!(
        fixture
            .request(second.request_id)
            .await
            .assign_time
            .is_none()
    );
}

#[tokio::test]
async fn an_agent_has_one_session_and_loses_it_when_it_does_not_ask() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let second = agent
        .client
        .create_session(fixture.pool, &agent.asked_session(true, capabilities(&[])))
        .await
        .unwrap_err();
    assert_eq!(second.type_key(), Some(key::SESSION_CONFLICT));
    assert!(second.to_string().contains("already has an active session"));
    fixture
        .service
        .advance(SignedDuration::from_mins(4))
        .await
        .unwrap();
    agent.poll(&session).await;
    fixture
        .service
        .advance(SignedDuration::from_mins(4))
        .await
        .unwrap();
    let online = fixture
        .admin
        .agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
    assert_eq!(online.status.unwrap().as_str(), "online");

    let queued = fixture.queue().await;
    fixture
        .service
        .advance(SignedDuration::from_mins(6))
        .await
        .unwrap();
    let offline = fixture
        .admin
        .agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
    assert_eq!(offline.status.unwrap().as_str(), "offline");
    let late = agent
        .client
        .next_message(fixture.pool, session.id, None)
        .await
        .unwrap_err();
    assert_eq!(late.type_key(), Some(key::SESSION_EXPIRED));
    let back = fixture.request(queued.request_id).await;
    assert!(
        back.assign_time.is_none(),
        "a job that was never taken goes back"
    );
    assert_eq!(back.result, None);
}

#[tokio::test]
async fn lists_hold_the_unfinished_and_as_many_finished_as_asked_for() {
    let fixture = Fixture::start().await;
    for _ in 0..3 {
        fixture.queue().await; // Fails at once: nobody is registered.
    }
    fixture.register("offline").await;
    fixture.queue().await;
    let list = |query: &'static str| {
        let path = format!(
            "/_apis/distributedtask/pools/{}/jobrequests{query}",
            fixture.pool
        );
        let fixture = &fixture;
        async move {
            let answer = fixture.call("GET", &path, Some(&fixture.pat), None).await;
            let list = answer.json();
            assert_eq!(list["count"], list["value"].as_array().unwrap().len());
            list["value"].as_array().unwrap().clone()
        }
    };
    assert_eq!(list("?completedRequestCount=0").await.len(), 1);
    assert_eq!(list("?completedRequestCount=2").await.len(), 3);
    assert_eq!(list("?$top=2").await.len(), 2);
    assert_eq!(list("").await.len(), 4);
    let waiting = &list("?completedRequestCount=0").await[0];
    assert!(waiting.get("result").is_none() && waiting.get("receiveTime").is_none());
    assert!(waiting["queueTime"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_busy_agent_is_not_deleted_and_a_reserved_one_gives_its_job_back() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let refused = fixture
        .admin
        .delete_agent(fixture.pool, agent.record.id)
        .await;
    assert_eq!(
        refused.unwrap_err().type_key(),
        Some(key::JOB_STILL_RUNNING)
    );
    taken.complete(&fixture, TaskResult::Succeeded).await;

    let next = fixture.queue().await;
    assert_ne!(next.request_id, queued.request_id);
    fixture
        .admin
        .delete_agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
    let back = fixture.request(next.request_id).await;
    assert!(back.reserved_agent.is_none() && back.result.is_none());
}

#[tokio::test]
async fn jobs_that_ended_long_ago_are_forgotten_with_all_that_they_wrote() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    report(&fixture, &taken).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let service = fixture.service.service();
    assert_eq!(service.tidy().await.unwrap(), 0);
    fixture
        .service
        .advance(SignedDuration::from_hours(31 * 24))
        .await
        .unwrap();
    fixture.register("offline").await;
    let unfinished = fixture.queue().await;
    assert_eq!(service.tidy().await.unwrap(), 1);
    let gone = fixture.admin.request(fixture.pool, queued.request_id).await;
    assert_eq!(gone.unwrap_err().type_key(), Some(key::JOB_NOT_FOUND));
    assert_eq!(fixture.request(unfinished.request_id).await.result, None);
}

#[tokio::test]
async fn a_long_queue_and_a_large_pool_are_served_to_the_end() {
    // More than is looked at in one go.
    const MANY: usize = 55;
    let fixture = Fixture::start().await;
    let gpu = |size| Agent {
        user_capabilities: capabilities(&[("gpu", size)]),
        ..Agent::default()
    };
    let key = Arc::new(AgentKey::generate().unwrap());
    for number in 0..MANY {
        let name = format!("idle-{number}");
        let idle = fixture
            .register_with_key(&name, Agent::default(), Arc::clone(&key))
            .await;
        idle.open().await;
    }
    fixture.register_as("offline", gpu("big")).await;
    let agent = fixture.register_as("small", gpu("small")).await;
    for _ in 0..MANY {
        let waits = fixture
            .queue_with(json!({"demands": ["gpu -equals big"]}))
            .await;
        assert_eq!(waits.result, None);
    }
    // The last job of the queue, when its agent comes; then the last agent of the pool, when its job comes.
    let last = fixture.queue_with(json!({"demands": ["gpu"]})).await;
    let session = agent.open().await;
    let taken = agent.take_job(&session).await;
    assert_eq!(taken.message.request_id, last.request_id);
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    let next = fixture
        .queue_with(json!({"demands": ["gpu -equals small"]}))
        .await;
    let taken = agent.take_job(&session).await;
    assert_eq!(taken.message.request_id, next.request_id);
}
