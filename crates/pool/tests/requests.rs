//! Job requests: lists and pages, priority, the limit of jobs at once, and reasons.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, Raw};
use dayfly_pool_service::rules::limits::Limits;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RequestId;
use serde_json::{Value, json};

async fn get(fixture: &Fixture, path: &str) -> Answer {
    let path = format!("/_apis/distributedtask/{path}");
    fixture.call("GET", &path, Some(&fixture.pat), None).await
}

fn requests(fixture: &Fixture, query: &str) -> String {
    format!("pools/{}/jobrequests{query}", fixture.pool)
}

fn ids(list: &Value) -> Vec<i64> {
    let entries = list["value"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["requestId"].as_i64().unwrap())
        .collect()
}

async fn change(fixture: &Fixture, id: RequestId, query: &str, body: Value) -> Answer {
    let path = format!(
        "/_apis/distributedtask/pools/{}/jobrequests/{id}{query}",
        fixture.pool
    );
    fixture
        .call("PATCH", &path, Some(&fixture.pat), Some(body))
        .await
}

#[tokio::test]
async fn a_list_is_read_in_pages_to_its_end() {
    let fixture = Fixture::start().await;
    fixture.register("offline").await;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(fixture.queue().await.request_id.0);
    }
    for id in &all[..4] {
        fixture.service.cancel(RequestId(*id)).await.unwrap();
    }
    for size in [1, 2, 3, 7, 20] {
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let query = format!("?$top={size}{token}");
            let answer = get(&fixture, &requests(&fixture, &query)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let page = ids(&answer.json());
            assert!(page.len() <= size);
            seen.extend(page);
            let Some(next) = answer.headers.get("x-ms-continuationtoken") else {
                break;
            };
            token = format!("&continuationToken={}", next.to_str().unwrap());
        }
        assert_eq!(seen[..3], all[4..], "those that wait come first");
        let mut ended = seen[3..].to_vec();
        ended.sort_unstable();
        assert_eq!(ended, all[..4], "pages of {size}");
    }
    let query = "?$top=2&continuationToken=nonsense";
    let wrong = get(&fixture, &requests(&fixture, query)).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("continuationToken"), "{}", wrong.body);
    let none = get(&fixture, &requests(&fixture, "?completedRequestCount=0")).await;
    assert_eq!(ids(&none.json()), all[4..]);
    let two = get(&fixture, &requests(&fixture, "?completedRequestCount=2")).await;
    assert_eq!(ids(&two.json()).len(), 5);
}

#[tokio::test]
async fn requests_are_listed_by_agent_and_by_plan() {
    let fixture = Fixture::start().await;
    let mut taken = Vec::new();
    for name in ["one", "two"] {
        let agent = fixture.register(name).await;
        let session = agent.open().await;
        let queued = fixture.queue().await;
        agent.take_job(&session).await;
        taken.push((agent.record.id, queued));
    }
    let waits = fixture.queue().await;
    let [(one, first), (two, second)] = &taken[..] else {
        panic!("two agents");
    };
    let listed = async |query: &str| ids(&get(&fixture, &requests(&fixture, query)).await.json());
    let (first_id, second_id) = (first.request_id.0, second.request_id.0);
    assert_eq!(listed(&format!("?agentId={one}")).await, [first_id]);
    let both = format!("?agentIds={one},%20{two}&completedRequestCount=0");
    assert_eq!(listed(&both).await, [first_id, second_id]);
    let plan = format!("?planId={}", waits.plan_id);
    assert_eq!(listed(&plan).await, [waits.request_id.0]);
    let job = format!("{plan}&jobId={}", waits.job_id);
    assert_eq!(listed(&job).await, [waits.request_id.0]);
    let other = format!("{plan}&jobId={}", first.job_id);
    assert!(listed(&other).await.is_empty());
    let wrong = get(&fixture, &requests(&fixture, "?agentIds=1,x")).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_higher_priority_is_served_first_and_a_bumped_request_next() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let usual = fixture.queue().await;
    let low = fixture.queue_with(json!({"priority": -1})).await;
    let urgent = fixture.queue_with(json!({"priority": 5})).await;
    let bumped = fixture.queue().await;
    let answer = change(
        &fixture,
        bumped.request_id,
        "?updateOptions=bumpRequestToTop",
        json!({"requestId": bumped.request_id}),
    )
    .await;
    assert_eq!(answer.json()["priority"], 6, "{}", answer.body);
    let mut session = agent.open().await;
    for expected in [&bumped, &urgent, &usual, &low] {
        let taken = agent.take_job(&session).await;
        assert_eq!(taken.message.request_id, expected.request_id);
        taken.complete(&fixture, TaskResult::Succeeded).await;
        session = agent.reopen(&session).await;
    }
    let wrong = json!({"pool": "linux", "priority": 11, "steps": [{"script": "echo"}]});
    let refused = fixture.service.queue_json(wrong).await.unwrap_err();
    assert!(
        refused.to_string().contains("between -10 and 10"),
        "{refused}"
    );
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_the_service_allows() {
    let limits = Limits {
        parallel_jobs: Some(1),
        ..Limits::default()
    };
    let fixture = Fixture::with_limits(limits).await;
    let elsewhere = fixture.service.create_pool("elsewhere").await.unwrap();
    let here = fixture.register("here").await;
    let session = here.open().await;
    let there = fixture.register_in(elsewhere, "there").await;
    let other_session = there.open().await;
    let first = fixture.queue().await;
    let second = fixture.queue_with(json!({"pool": "elsewhere"})).await;
    let taken = here.take_job(&session).await;
    assert_eq!(taken.message.request_id, first.request_id);
    assert!(there.poll(&other_session).await.is_none());

    let waiting = fixture
        .admin
        .request(elsewhere, second.request_id)
        .await
        .unwrap();
    let reason = waiting.status_message.unwrap();
    assert!(reason.contains("1 of 1 parallel jobs"), "{reason}");
    let job = fixture.admin.job("demo", second.request_id).await.unwrap();
    assert_eq!(job.status_message, Some(reason));
    let usage = get(
        &fixture,
        "resourceusage?parallelismTag=Private&includeRunningRequests=true",
    )
    .await;
    let usage = usage.json();
    assert_eq!(
        (&usage["usedCount"], &usage["resourceLimit"]["totalCount"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(usage["runningRequests"][0]["requestId"], first.request_id.0);

    taken.complete(&fixture, TaskResult::Succeeded).await;
    let next = there.take_job(&other_session).await;
    assert_eq!(next.message.request_id, second.request_id);
    let usage = get(&fixture, "resourceusage").await.json();
    assert_eq!(usage["usedCount"], 1);
    assert!(usage.get("runningRequests").is_none());
}

#[tokio::test]
async fn a_job_that_goes_back_to_the_queue_leaves_its_place_to_others() {
    let limits = Limits {
        parallel_jobs: Some(1),
        ..Limits::default()
    };
    let fixture = Fixture::with_limits(limits).await;
    let elsewhere = fixture.service.create_pool("elsewhere").await.unwrap();
    let here = fixture.register("here").await;
    let there = fixture.register_in(elsewhere, "there").await;
    let (session, other_session) = (here.open().await, there.open().await);
    fixture.queue().await;
    let second = fixture.queue_with(json!({"pool": "elsewhere"})).await;
    assert!(there.poll(&other_session).await.is_none());
    here.client
        .delete_session(fixture.pool, session.id)
        .await
        .unwrap();
    let next = there.take_job(&other_session).await;
    assert_eq!(next.message.request_id, second.request_id);
}

#[tokio::test]
async fn a_request_without_an_idle_agent_says_that_it_waits_for_one() {
    let fixture = Fixture::start().await;
    fixture.register("offline").await;
    let waits = fixture.queue().await;
    let reason = fixture
        .request(waits.request_id)
        .await
        .status_message
        .unwrap();
    assert!(reason.starts_with("Waiting for an agent"), "{reason}");
    let usage = get(&fixture, "resourceusage").await.json();
    assert_eq!(
        usage["resourceLimit"]["isPremium"], true,
        "there is no limit"
    );
}

#[tokio::test]
async fn the_reason_of_an_end_is_shown_wherever_the_job_is_shown() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    const REASON: &str = "The node was drained.";
    let finished = fixture
        .admin
        .finish_request(
            fixture.pool,
            queued.request_id,
            TaskResult::Failed,
            Some(REASON),
        )
        .await;
    finished.unwrap();
    let shown = Some(REASON.to_owned());
    assert_eq!(
        fixture.request(queued.request_id).await.status_message,
        shown
    );
    let listed = fixture
        .admin
        .recent_requests(fixture.pool, 5)
        .await
        .unwrap();
    assert_eq!(listed[0].status_message, shown);
    let job = fixture.admin.job("demo", queued.request_id).await.unwrap();
    assert_eq!(
        (job.result, job.status_message),
        (Some(TaskResult::Failed), shown.clone())
    );
    let page = fixture
        .admin
        .follow_job("demo", queued.request_id, 0)
        .await
        .unwrap();
    assert_eq!(
        (page.result, page.status_message),
        (Some(TaskResult::Failed), shown)
    );
    let timeline = fixture
        .admin
        .timeline(&taken.scope(), taken.message.timeline.id)
        .await
        .unwrap();
    let records = timeline.records.unwrap();
    let own = records.iter().find(|record| record.id.0 == queued.job_id.0);
    let own = own.unwrap();
    assert_eq!(own.result, Some(TaskResult::Failed));
    assert_eq!(own.issues[0].message, REASON);
}

#[tokio::test]
async fn an_administrator_may_end_a_request_by_changing_it_and_an_agent_may_not() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    agent.take_job(&session).await;
    let body = json!({"requestId": queued.request_id, "result": "succeeded", "finishTime": "2026-01-01T00:00:00Z"});
    let path = format!(
        "/_apis/distributedtask/pools/{}/jobrequests/{}",
        fixture.pool, queued.request_id
    );
    let token = agent.listen_token(&fixture).await;
    let by_agent = fixture.call("PATCH", &path, Some(&token), Some(body)).await;
    assert_eq!(by_agent.status, 403, "{}", by_agent.body);
    let unknown = change(
        &fixture,
        queued.request_id,
        "",
        json!({"result": "splendid"}),
    )
    .await;
    assert_eq!(unknown.status, 400);
    let ended = json!({"result": "failed", "statusMessage": "enough"});
    let ended = change(&fixture, queued.request_id, "", ended).await.json();
    assert_eq!(
        (&ended["result"], &ended["statusMessage"]),
        (&json!("failed"), &json!("enough"))
    );
    let empty = fixture
        .raw("PATCH", &path, Some(&token), &[], Raw(b""))
        .await;
    assert_eq!(
        empty.status, 404,
        "a renewal without a body is one all the same"
    );
}

#[tokio::test]
async fn what_an_agent_holds_is_listed_though_it_ended_a_later_request_before() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let early = fixture.queue().await.request_id;
    let late = fixture.queue_with(json!({"priority": 5})).await.request_id;
    let session = agent.open().await;
    let taken = agent.take_job(&session).await;
    assert_eq!(taken.message.request_id, late, "the higher priority first");
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    assert_eq!(agent.take_job(&session).await.message.request_id, early);

    for (count, listed) in [(0, vec![early.0]), (1, vec![early.0, late.0])] {
        let query = format!("?agentId={}&completedRequestCount={count}", agent.record.id);
        let answer = get(&fixture, &requests(&fixture, &query)).await;
        assert_eq!(ids(&answer.json()), listed);
    }
    let query = "includeAssignedRequest=true&includeLastCompletedRequest=true";
    let shown = get(&fixture, &format!("pools/{}/agents?{query}", fixture.pool)).await;
    let shown = &shown.json()["value"][0];
    assert_eq!(shown["assignedRequest"]["requestId"], early.0);
    assert_eq!(shown["lastCompletedRequest"]["requestId"], late.0);
}
