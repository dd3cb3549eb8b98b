//! What holds for every call: versions, headers, error bodies; and what KEDA's scaler reads.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, Raw};
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use jiff::Timestamp;
use serde_json::{Value, json};

const POOLS: &str = "/_apis/distributedtask/pools";

async fn get(fixture: &Fixture, path: &str, headers: &[(&str, &str)]) -> Answer {
    fixture
        .raw("GET", path, Some(&fixture.pat), headers, Raw(b""))
        .await
}

#[tokio::test]
async fn a_version_is_asked_for_in_the_query_or_a_header_and_never_needed() {
    let fixture = Fixture::start().await;
    let media = |answer: &Answer| answer.headers["content-type"].to_str().unwrap().to_owned();
    let plain = get(&fixture, POOLS, &[]).await;
    assert_eq!(
        media(&plain),
        "application/json; charset=utf-8; api-version=7.1"
    );
    for (query, headers) in [
        ("?api-version=5.1-preview.1", &[][..]),
        (
            "",
            &[("accept", "application/json;api-version=5.1-preview.1")],
        ),
        (
            "",
            &[(
                "content-type",
                "application/json; charset=utf-8; api-version=5.1-preview.1",
            )],
        ),
        (
            "?API-Version=5.1-preview.1",
            &[("accept", "application/json;api-version=9.9")],
        ),
    ] {
        let answer = get(&fixture, &format!("{POOLS}{query}"), headers).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            media(&answer).ends_with("api-version=5.1-preview.1"),
            "{}",
            media(&answer)
        );
    }
    for (version, expected) in [
        ("7.2", key::PREVIEW_VERSION),
        ("8.0-preview", key::VERSION_OUT_OF_RANGE),
        ("nonsense", key::INVALID),
    ] {
        let refused = get(&fixture, &format!("{POOLS}?api-version={version}"), &[]).await;
        assert_eq!(
            (refused.status, refused.type_key().as_str()),
            (400, expected),
            "{version}"
        );
    }
    let usage = "/_apis/distributedtask/resourceusage?api-version=";
    assert_eq!(
        get(&fixture, &format!("{usage}7.1"), &[]).await.type_key(),
        key::PREVIEW_VERSION
    );
    assert_eq!(
        get(&fixture, &format!("{usage}7.1-preview"), &[])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn every_answer_can_be_correlated() {
    let fixture = Fixture::start().await;
    let session = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    let headers = [("x-tfs-session", session), ("x-vss-e2eid", "my-own-id")];
    for path in [POOLS, "/_apis/nothing", "/_apis/connectionData"] {
        let answer = get(&fixture, path, &headers).await;
        assert_eq!(answer.headers["x-tfs-session"], session, "{path}");
        assert_eq!(answer.headers["x-vss-e2eid"], "my-own-id");
        let activity = answer.headers["activityid"].to_str().unwrap();
        assert!(activity.parse::<uuid::Uuid>().is_ok());
        assert!(
            answer.headers.contains_key("date") && answer.headers.contains_key("x-tfs-processid")
        );
    }
    let first = get(&fixture, POOLS, &[]).await;
    let second = get(&fixture, POOLS, &[]).await;
    assert_ne!(first.headers["activityid"], second.headers["activityid"]);
    // What is no id is not given back.
    let answer = get(&fixture, POOLS, &[("x-tfs-session", "<script>")]).await;
    assert_ne!(answer.headers["x-tfs-session"], "<script>");
}

#[tokio::test]
async fn every_error_says_what_it_is_in_every_way_that_clients_look_at() {
    let fixture = Fixture::start().await;
    for (path, status) in [
        ("/_apis/distributedtask/pools/99", 404),
        ("/_apis/distributedtask/pools?api-version=7.2", 400),
        ("/_apis/nothing/here", 404),
    ] {
        let answer = get(&fixture, path, &[]).await;
        assert_eq!(answer.status, status);
        let body = answer.json();
        assert_eq!(
            (&body["$id"], &body["errorCode"], &body["eventId"]),
            (&json!("1"), &json!(0), &json!(3000))
        );
        let (name, type_key) = (
            body["typeName"].as_str().unwrap(),
            body["typeKey"].as_str().unwrap(),
        );
        let (class, assembly) = name.split_once(", ").unwrap();
        assert_eq!(class, format!("{assembly}.{type_key}"));
        assert!(!body["message"].as_str().unwrap().is_empty());
        assert!(answer.headers.contains_key("x-tfs-serviceerror"));
    }
}

/// The request as KEDA's scaler reads it: numbers are numbers, texts are texts, times have a zone.
fn read_as_keda(request: &Value) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for name in ["requestId", "poolId"] {
        assert!(request[name].is_i64(), "{name}: {request}");
    }
    for name in [
        "queueTime",
        "assignTime",
        "receiveTime",
        "finishTime",
        "lockedUntil",
    ] {
        let Some(time) = request.get(name) else {
            continue;
        };
        let time = text(time).unwrap();
        assert!(time.ends_with('Z') || time.contains('+'), "{name}: {time}");
        assert!(time.parse::<Timestamp>().is_ok(), "{name}: {time}");
        assert!(!time.starts_with("0001"), "{name}: an unset time is absent");
    }
    for name in ["planId", "jobId", "planType", "scopeId", "orchestrationId"] {
        assert!(request[name].is_string(), "{name}: {request}");
    }
    for demand in request
        .get("demands")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        assert!(demand.is_string());
    }
    for value in request["data"].as_object().unwrap().values() {
        assert!(value.is_string(), "data: {value}");
    }
    for agent in request
        .get("matchedAgents")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        assert!(agent["id"].is_i64() && agent["name"].is_string());
    }
    for name in ["definition", "owner"] {
        assert!(
            request[name]["id"].is_i64() && request[name]["name"].is_string(),
            "{name}"
        );
    }
    for absent in ["result", "reservedAgent", "priority"] {
        assert_ne!(request.get(absent), Some(&Value::Null), "{absent}");
    }
}

#[tokio::test]
async fn keda_reads_waiting_running_and_finished_requests() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("template").await;
    let session = agent.open().await;
    let finished = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    let session = agent.reopen(&session).await;
    let running = fixture.queue().await;
    agent.take_job(&session).await;
    let waiting = fixture.queue_with(json!({"priority": 1})).await;

    // The pool is found by its name alone, or by its id.
    let named = get(&fixture, &format!("{POOLS}?poolName=linux"), &[])
        .await
        .json();
    assert_eq!(named["value"].as_array().unwrap().len(), 1);
    let id = named["value"][0]["id"].as_i64().unwrap();
    assert_eq!(
        get(&fixture, &format!("{POOLS}?poolID={id}"), &[])
            .await
            .json()["id"],
        id
    );

    // KEDA sends no version, no Accept, and a dollar sign as it is.
    for (query, expected) in [("?completedRequestCount=0", 2), ("?$top=250", 3), ("", 3)] {
        let list = get(&fixture, &format!("{POOLS}/{id}/jobrequests{query}"), &[])
            .await
            .json();
        let requests = list["value"].as_array().unwrap();
        assert_eq!(
            (&list["count"], requests.len()),
            (&json!(expected), expected),
            "{query}"
        );
        requests.iter().for_each(read_as_keda);
        let by_id = |id: i64| requests.iter().find(|request| request["requestId"] == id);
        // It counts what has neither a result nor been received.
        let counted: Vec<_> = requests
            .iter()
            .filter(|request| {
                request.get("result").is_none() && request.get("receiveTime").is_none()
            })
            .collect();
        assert_eq!(counted.len(), 1);
        let waits = by_id(waiting.request_id.0).unwrap();
        assert_eq!(waits["matchedAgents"][0]["name"], "template");
        assert!(
            by_id(running.request_id.0)
                .unwrap()
                .get("receiveTime")
                .is_some()
        );
        if expected == 3 {
            assert_eq!(by_id(finished.request_id.0).unwrap()["result"], "succeeded");
        }
    }
}

#[tokio::test]
async fn a_job_says_whether_scripts_get_its_token_unasked() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let mut session = agent.open().await;
    for (members, expected) in [
        (json!({}), "SecretVariable"),
        (json!({"scriptsAccessToken": true}), "true"),
    ] {
        fixture.queue_with(members).await;
        let taken = agent.take_job(&session).await;
        let variables = &taken.message.variables;
        let said = variables["system.enableAccessToken"]
            .value
            .as_ref()
            .unwrap();
        assert_eq!(said.expose(), expected);
        let token = &variables["system.accessToken"];
        assert!(token.is_secret && token.value.as_ref().unwrap().expose() == taken.token.expose());
        taken.complete(&fixture, TaskResult::Succeeded).await;
        session = agent.reopen(&session).await;
    }
    let claimed = json!({"pool": "linux", "steps": [{"script": "echo"}],
        "variables": {"system.enableAccessToken": "true"}});
    let refused = fixture.service.queue_json(claimed).await.unwrap_err();
    assert!(
        refused.to_string().contains("system.enableAccessToken"),
        "{refused}"
    );
}

/// Every text of a document that begins as a date does.
fn dates<'a>(document: &'a Value, found: &mut Vec<&'a str>) {
    match document {
        Value::String(text) => {
            let begins = text.get(..11).is_some_and(|begin| {
                begin.ends_with('T') && begin.bytes().filter(u8::is_ascii_digit).count() == 8
            });
            found.extend(begins.then_some(text.as_str()));
        }
        Value::Array(values) => values.iter().for_each(|value| dates(value, found)),
        Value::Object(members) => members.values().for_each(|value| dates(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn every_date_of_every_document_has_a_zone() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let worker = taken.client(&fixture);
    worker.create_log(&taken.scope(), "log").await.unwrap();
    taken.complete(&fixture, TaskResult::Succeeded).await;
    fixture.queue().await;
    let pool = format!("{POOLS}/{}", fixture.pool);
    let plan = format!(
        "/demo/_apis/distributedtask/hubs/build/plans/{}",
        queued.plan_id
    );
    let build = format!("/demo/_apis/build/builds/{}", queued.build_id);
    for (path, least) in [
        (POOLS.to_owned(), 1),
        (format!("{pool}/agents?includeLastCompletedRequest=true"), 4),
        (format!("{pool}/jobrequests"), 5),
        (format!("{plan}/logs"), 2),
        (
            format!("{plan}/timelines/{}/records", queued.timeline_id),
            3,
        ),
        (build.clone(), 3),
        (format!("{build}/timeline"), 3),
        (format!("{build}/logs"), 2),
        ("/demo/_apis/build/builds".to_owned(), 4),
        ("/demo/_apis/build/definitions".to_owned(), 1),
        ("/_apis/dayfly/runs".to_owned(), 4),
        ("/_apis/dayfly/queue".to_owned(), 1),
    ] {
        let answer = get(&fixture, &path, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let document = answer.json();
        let mut found = Vec::new();
        dates(&document, &mut found);
        assert!(found.len() >= least, "{path} has {found:?}: {document:#}");
        for date in found {
            let parsed = date.parse::<Timestamp>();
            assert!(parsed.is_ok(), "{path}: {date} has no zone");
            assert!(!date.starts_with("0001"), "{path}: {date} is no date");
        }
    }
}
