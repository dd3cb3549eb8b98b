//! Pools and agents: filters, changes, and what an agent may say of itself; sessions and their messages.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{
    Answer, Fixture, OpenSession, TestAgent, agent_client, capabilities, decrypt, within,
};
use dayfly_keys::agent_key::AgentKey;
use dayfly_pool_service::rules::limits::Limits;
use dayfly_wire::agent::{Agent, AgentStatus, Property};
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::message::{JobMetadataUpdate, kind};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;

const POOLS: &str = "/_apis/distributedtask/pools";

async fn call(fixture: &Fixture, method: &str, path: &str, body: Option<Value>) -> Answer {
    let path = format!("{POOLS}{path}");
    fixture.call(method, &path, Some(&fixture.pat), body).await
}

fn names(list: &Value) -> Vec<&str> {
    let entries = list["value"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn pools_are_found_by_every_filter_and_by_nothing_else() {
    let fixture = Fixture::start().await;
    let other = fixture.service.create_pool("Linux large").await.unwrap();
    let found = async |query: &str| call(&fixture, "GET", query, None).await.json();
    assert_eq!(names(&found("?poolName=LINUX").await), ["linux"]);
    assert_eq!(
        found("?poolName=lin").await["count"],
        0,
        "a name, and no beginning of one"
    );
    assert_eq!(
        names(&found("?poolName=linux%20large&poolType=Automation").await),
        ["Linux large"]
    );
    assert_eq!(found("?poolType=deployment").await["count"], 0);
    assert_eq!(
        names(&found(&format!("?poolIds={other}")).await),
        ["Linux large"]
    );
    assert_eq!(found("").await["count"], 2);
    assert_eq!(
        found(&format!("?poolID={other}")).await["name"],
        "Linux large"
    );
    assert_eq!(
        call(&fixture, "GET", "?poolIds=1,x", None).await.status,
        400
    );
    let one = found(&format!("/{other}")).await;
    assert_eq!(
        (&one["isHosted"], &one["poolType"], &one["size"]),
        (&json!(false), &json!("automation"), &json!(0))
    );
    assert!(one["createdOn"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_pool_is_changed_and_removed_when_nothing_uses_it() {
    let fixture = Fixture::start().await;
    let path = format!("/{}", fixture.pool);
    let change = json!({"autoUpdate": true, "properties": {"Note": {"$type": "System.String", "$value": "mine"}}});
    let changed = call(&fixture, "PATCH", &path, Some(change)).await.json();
    assert_eq!(
        (&changed["autoUpdate"], &changed["name"]),
        (&json!(true), &json!("linux"))
    );
    let renamed = call(&fixture, "PATCH", &path, Some(json!({"name": "Linux"})))
        .await
        .json();
    assert_eq!(
        renamed["properties"]["Note"]["$value"], "mine",
        "what is not named stays"
    );
    fixture.service.create_pool("other").await.unwrap();
    let taken = call(&fixture, "PATCH", &path, Some(json!({"name": "OTHER"}))).await;
    assert_eq!(taken.status, 409);
    let wrong = call(
        &fixture,
        "PATCH",
        &path,
        Some(json!({"options": "elasticPool"})),
    )
    .await;
    assert_eq!(wrong.status, 400);

    let agent = fixture.register("one").await;
    let refused = call(&fixture, "DELETE", &path, None).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("1 agents"), "{}", refused.body);
    let queued = fixture.queue().await;
    fixture
        .admin
        .delete_agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
    assert!(
        call(&fixture, "DELETE", &path, None)
            .await
            .body
            .contains("1 unfinished")
    );
    fixture.service.cancel(queued.request_id).await.unwrap();
    assert_eq!(call(&fixture, "DELETE", &path, None).await.status, 204);
    let gone = call(&fixture, "GET", &path, None).await;
    assert_eq!(
        (gone.status, gone.type_key().as_str()),
        (404, key::POOL_NOT_FOUND)
    );
    let again = call(&fixture, "POST", "", Some(json!({"name": "linux"})))
        .await
        .json();
    assert_ne!(
        again["id"],
        json!(fixture.pool),
        "the name is free, the id is not"
    );
    let job = fixture.admin.job("demo", queued.request_id).await.unwrap();
    assert_eq!(
        job.result,
        Some(TaskResult::Canceled),
        "its jobs are remembered"
    );
}

#[tokio::test]
async fn every_agent_of_a_single_use_pool_takes_one_job() {
    let fixture = Fixture::start().await;
    let change = json!({"options": "singleUseAgents"});
    call(
        &fixture,
        "PATCH",
        &format!("/{}", fixture.pool),
        Some(change),
    )
    .await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    fixture.queue().await;
    assert!(agent.poll(&session).await.is_none());
}

#[tokio::test]
async fn agents_are_found_by_what_they_offer_and_shown_as_asked_for() {
    let fixture = Fixture::start().await;
    let draft = |name: &str, value: &str| Agent {
        system_capabilities: capabilities(&[(name, value)]),
        properties: [
            ("One".to_owned(), Property::text("1")),
            ("Two".to_owned(), Property::text("2")),
        ]
        .into(),
        ..Agent::default()
    };
    let plain = fixture.register_as("plain", draft("git", "2")).await;
    fixture.register_as("docker", draft("Docker", "27.1")).await;
    let path = format!("/{}/agents", fixture.pool);
    let found = async |query: &str| {
        call(&fixture, "GET", &format!("{path}{query}"), None)
            .await
            .json()
    };
    assert_eq!(names(&found("?demands=docker").await), ["docker"]);
    assert_eq!(
        names(&found("?demands=git,git%20-equals%202").await),
        ["plain"]
    );
    assert_eq!(found("?demands=git,docker").await["count"], 0);
    assert_eq!(
        call(
            &fixture,
            "GET",
            &format!("{path}?demands=a%20-like%20b"),
            None
        )
        .await
        .status,
        400
    );

    let properties = async |query: &str| {
        let found = found(query).await["value"][0]["properties"].clone();
        let names = found.as_object().cloned().unwrap_or_default();
        names.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(properties("").await, ["One", "Two"]);
    assert_eq!(properties("?propertyFilters=two,three").await, ["Two"]);
    assert_eq!(properties("?propertyFilters=*").await, ["One", "Two"]);

    // What it ran last and what it runs now, in lists and alone.
    let session = plain.open().await;
    let first = fixture.queue().await;
    let taken = plain.take_job(&session).await;
    taken.complete(&fixture, TaskResult::Failed).await;
    let session = plain.reopen(&session).await;
    let second = fixture.queue().await;
    plain.take_job(&session).await;
    let query = "?agentName=plain&includeLastCompletedRequest=True&includeAssignedRequest=True&includeCapabilities=True";
    let listed = found(query).await["value"][0].clone();
    let one = found(&format!("/{}{query}", plain.record.id)).await;
    for shown in [listed, one] {
        assert_eq!(
            shown["lastCompletedRequest"]["requestId"],
            first.request_id.0
        );
        assert_eq!(shown["lastCompletedRequest"]["result"], "failed");
        assert_eq!(shown["assignedRequest"]["requestId"], second.request_id.0);
        assert_eq!(shown["systemCapabilities"]["git"], "2");
        assert_eq!(shown["status"], "online");
    }
    let short = found("?agentName=plain").await["value"][0].clone();
    for absent in [
        "lastCompletedRequest",
        "assignedRequest",
        "systemCapabilities",
    ] {
        assert!(short.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn an_agent_cannot_claim_what_it_was_not_registered_with() {
    let fixture = Fixture::start().await;
    let registered = |pairs: &[(&str, &str)]| Agent {
        system_capabilities: capabilities(pairs),
        ..Agent::default()
    };
    let honest = fixture
        .register_as("honest", registered(&[("signing", "")]))
        .await;
    let greedy = fixture.register("greedy").await;
    let reported = capabilities(&[("signing", ""), ("Agent.Version", "4.260.0")]);
    let session = greedy.open_with(true, reported).await;
    assert_eq!(
        session.document.system_capabilities["signing"], "",
        "it is shown"
    );
    let queued = fixture.queue_with(json!({"demands": ["signing"]})).await;
    let waits = fixture.request(queued.request_id).await;
    let matched: Vec<_> = waits
        .matched_agents
        .iter()
        .map(|agent| agent.name.as_str())
        .collect();
    assert_eq!(matched, ["honest"]);
    assert!(waits.assign_time.is_none() && greedy.poll(&session).await.is_none());
    // Its version is its own to say, and an administrator may add to what counts.
    let version = json!({"demands": ["Agent.Version -gtVersion 4.200.0"]});
    let versioned = fixture.queue_with(version).await;
    let taken = greedy.take_job(&session).await;
    assert_eq!(taken.message.request_id, versioned.request_id);
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = greedy.reopen(&session).await;
    let added = capabilities(&[("signing", "")]);
    fixture
        .admin
        .put_user_capabilities(fixture.pool, greedy.record.id, &added)
        .await
        .unwrap();
    assert_eq!(
        greedy.take_job(&session).await.message.request_id,
        queued.request_id
    );
    drop(honest);
}

#[tokio::test]
async fn a_busy_agent_stays_and_one_that_ended_its_job_goes() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let path = format!("/{}/agents/{}", fixture.pool, agent.record.id);
    let refused = call(&fixture, "DELETE", &path, None).await;
    assert_eq!(
        (refused.status, refused.type_key().as_str()),
        (409, key::JOB_STILL_RUNNING)
    );
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let gone = call(&fixture, "DELETE", &path, None).await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    let again = call(&fixture, "DELETE", &path, None).await;
    assert_eq!(
        (again.status, again.type_key().as_str()),
        (404, key::AGENT_NOT_FOUND)
    );
}

#[tokio::test]
async fn a_replaced_key_ends_the_session_and_a_changed_version_does_not() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let changed = Agent {
        id: agent.record.id,
        version: Some("4.999.0".to_owned()),
        ..agent.record.clone()
    };
    fixture
        .admin
        .replace_agent(fixture.pool, &changed)
        .await
        .unwrap();
    assert!(agent.poll(&session).await.is_none(), "it listens on");
    let token = agent.listen_token(&fixture).await;
    let poll = format!("{POOLS}/{}/messages?sessionId={}", fixture.pool, session.id);
    let mut replaced = changed;
    let other = AgentKey::generate().unwrap();
    replaced.authorization.as_mut().unwrap().public_key = Some(other.public().to_wire());
    fixture
        .admin
        .replace_agent(fixture.pool, &replaced)
        .await
        .unwrap();
    assert_eq!(
        fixture.call("GET", &poll, Some(&token), None).await.status,
        401
    );
    let shown = fixture.admin.agent(fixture.pool, agent.record.id).await;
    assert_eq!(shown.unwrap().status, Some(AgentStatus::Offline));
    let renewed = TestAgent {
        client: agent_client(fixture.service.url(), &agent.record, Arc::new(other)),
        ..agent
    };
    let poll = renewed.client.next_message(fixture.pool, session.id, None);
    let over = poll.await.unwrap_err();
    assert_eq!(over.type_key(), Some(key::SESSION_EXPIRED));
}

async fn interval(agent: &TestAgent, session: &OpenSession) -> u64 {
    let envelope = within("a metadata update", async {
        loop {
            if let Some(envelope) = agent.poll(session).await {
                return envelope;
            }
        }
    })
    .await;
    assert_eq!(envelope.message_type, kind::METADATA);
    let update: JobMetadataUpdate = serde_json::from_slice(&decrypt(session, &envelope)).unwrap();
    agent.acknowledge(session, envelope.message_id).await;
    update.post_lines_frequency_millis.unwrap()
}

#[tokio::test]
async fn an_agent_hears_when_somebody_begins_and_stops_to_watch_its_job() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    // Somebody who watches before the job began has told nobody.
    fixture
        .admin
        .follow_job("demo", queued.request_id, 0)
        .await
        .unwrap();
    fixture
        .service
        .advance(SignedDuration::from_mins(1))
        .await
        .unwrap();
    let taken = agent.take_job(&session).await;
    assert!(agent.poll(&session).await.is_none());

    fixture
        .admin
        .follow_job("demo", queued.request_id, 0)
        .await
        .unwrap();
    assert_eq!(interval(&agent, &session).await, 500);
    fixture
        .admin
        .follow_job("demo", queued.request_id, 0)
        .await
        .unwrap();
    assert!(agent.poll(&session).await.is_none(), "it is told once");
    fixture
        .service
        .advance(SignedDuration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(interval(&agent, &session).await, 5000);

    // Only the last word waits for an agent that does not ask.
    for _ in 0..3 {
        fixture
            .admin
            .follow_job("demo", queued.request_id, 0)
            .await
            .unwrap();
        fixture
            .service
            .advance(SignedDuration::from_mins(1))
            .await
            .unwrap();
    }
    assert_eq!(interval(&agent, &session).await, 5000);
    assert!(agent.poll(&session).await.is_none());
    taken.complete(&fixture, TaskResult::Succeeded).await;
    fixture
        .admin
        .follow_job("demo", queued.request_id, 0)
        .await
        .unwrap();
    assert!(agent.poll(&session).await.is_none(), "the job is over");
}

#[tokio::test]
async fn sessions_and_questions_for_messages_are_bounded() {
    let limits = Limits {
        sessions: 1,
        pollers: 2,
        ..Limits::default()
    };
    let fixture = Fixture::with_long_polls_and(limits).await;
    let key = Arc::new(AgentKey::generate().unwrap());
    let one = fixture
        .register_with_key("one", Agent::default(), Arc::clone(&key))
        .await;
    let two = fixture
        .register_with_key("two", Agent::default(), key)
        .await;
    let session = one.open().await;
    let asked = two.asked_session(true, capabilities(&[]));
    let token = two.listen_token(&fixture).await;
    let path = format!("{POOLS}/{}/sessions", fixture.pool);
    let body = serde_json::to_value(&asked).unwrap();
    let refused = fixture.call("POST", &path, Some(&token), Some(body)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("1 sessions"), "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));

    let token = one.listen_token(&fixture).await;
    let path = format!("{POOLS}/{}/messages?sessionId={}", fixture.pool, session.id);
    let polls = async { tokio::join!(one.poll(&session), one.poll(&session)) };
    let third = async {
        let wakes = &fixture.service.service().wakes;
        within("two parked polls", async {
            while wakes.waiting_for(one.record.id) < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        let third = fixture.call("GET", &path, Some(&token), None).await;
        fixture.queue().await;
        third
    };
    let ((first, second), third) =
        within("the polls", Box::pin(async { tokio::join!(polls, third) })).await;
    assert_eq!(third.status, 503, "{}", third.body);
    assert_eq!(first.unwrap().message_id, second.unwrap().message_id);
}
