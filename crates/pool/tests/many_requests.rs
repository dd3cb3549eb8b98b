//! Lists of requests, beside a hundred thousand that have ended.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, Taken};
use dayfly_pool_service::store::dialect::query;
use dayfly_wire::event::TaskResult;
use std::time::{Duration, Instant};

/// Requests that have ended.
const ENDED: i64 = 100_000;
/// Calls that are timed; the middle one counts.
const CALLS: usize = 15;

/// What is asked while jobs wait and run, and what it answers.
struct Question {
    path: String,
    answers: usize,
}

impl Question {
    /// How long the service takes, by the middle of some calls.
    async fn time(&self, fixture: &Fixture) -> Duration {
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let begun = Instant::now();
            let answer = fixture
                .call("GET", &self.path, Some(&fixture.pat), None)
                .await;
            times.push(begun.elapsed());
            assert_eq!(answer.status, 200, "{}: {}", self.path, answer.body);
            let listed = answer.json()["value"].as_array().unwrap().len();
            assert_eq!(listed, self.answers, "{}", self.path);
        }
        times.sort();
        times[CALLS / 2]
    }
}

/// Copies of a request that has ended, each a little later.
async fn copy(fixture: &Fixture, ended: &Taken) {
    let mut unit = fixture.service.service().begin().await.unwrap();
    let statement = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ENDED}) \
         INSERT INTO requests (id, pool_id, plan_id, job_id, name, demands, matched, sealed_message, timeout_minutes, \
         cancel_timeout_minutes, queued_at, assigned_at, received_at, finished_at, result, agent_id, agent_name, place) \
         SELECT id + 1000000 + n, pool_id, plan_id, '00000000-0000-4000-8000-' || CAST(n + 100000000000 AS TEXT), name, \
         demands, matched, '', timeout_minutes, cancel_timeout_minutes, queued_at, assigned_at, received_at, \
         finished_at + n, result, agent_id, agent_name, place FROM requests, numbers WHERE requests.id = {}",
        ended.message.request_id
    );
    let made = query(sqlx::AssertSqlSafe(statement))
        .execute(unit.conn())
        .await
        .unwrap();
    assert_eq!(made, ENDED.unsigned_abs());
    query("ANALYZE").execute(unit.conn()).await.unwrap();
    unit.commit().await.unwrap();
}

#[tokio::test]
async fn lists_take_as_long_beside_a_hundred_thousand_ended_requests_as_beside_one() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let ended = agent.take_job(&session).await;
    ended.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    fixture.queue().await;
    let running = agent.take_job(&session).await;
    fixture.queue().await;

    let pool = format!("/_apis/distributedtask/pools/{}", fixture.pool);
    let plan = running.message.plan.plan_id;
    let own = agent.record.id;
    let question = |path: String, answers| Question { path, answers };
    let questions = [
        question(format!("{pool}/jobrequests?completedRequestCount=0"), 2),
        question(format!("{pool}/jobrequests?completedRequestCount=1"), 3),
        question(format!("{pool}/jobrequests?$top=2"), 2),
        question(format!("{pool}/jobrequests?$top=3"), 3),
        question(
            format!("{pool}/jobrequests?agentId={own}&completedRequestCount=1"),
            2,
        ),
        question(format!("{pool}/jobrequests?planId={plan}"), 1),
        question(
            format!("{pool}/agents?includeAssignedRequest=true&includeLastCompletedRequest=true"),
            1,
        ),
        question("/_apis/dayfly/pools".to_owned(), 1),
        question("/_apis/dayfly/queue".to_owned(), 2),
    ];
    let mut before = Vec::new();
    for question in &questions {
        before.push(question.time(&fixture).await);
    }
    copy(&fixture, &ended).await;
    for (question, before) in questions.iter().zip(before) {
        let after = question.time(&fixture).await;
        // A look at each of them takes a second and more in a test.
        let most = before * 4 + Duration::from_millis(40);
        assert!(
            after < most,
            "{}: {after:?}, and {before:?} beside one",
            question.path
        );
    }
    let root = fixture.service.url().strip_suffix("/default").unwrap();
    let begun = Instant::now();
    common::call_at(&format!("{root}/metrics"), "GET", None, None).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(500), "metrics took {took:?}");
}
