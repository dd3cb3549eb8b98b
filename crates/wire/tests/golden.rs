//! Documents in the shapes that servers and clients of the field send, read and written again.
//!
//! The files under `golden/` are composed from recorded shapes, with invented values. `reads` states what must be
//! understood; `writes` that what we emit reads back as the same thing and keeps the members that peers rely on.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use dayfly_wire::agent::{Agent, AgentReference, AgentStatus};
use dayfly_wire::collection::Collection;
use dayfly_wire::error::{ServiceError, key};
use dayfly_wire::event::{JobEvent, TaskResult};
use dayfly_wire::ids::{AgentId, MessageId, PoolId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage, SYSTEM_CONNECTION, builtin};
use dayfly_wire::message::{Envelope, JobCancellation};
use dayfly_wire::pool::AgentPool;
use dayfly_wire::request::JobRequest;
use dayfly_wire::session::Session;
use dayfly_wire::timeline::{Record, RecordState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/", $name, ".json"))
    };
}

/// Reads a document, writes it, and checks that every member that was written stands in the original with the
/// same value: we may write less than was sent (unknown members), never something else.
fn round_trip<T: DeserializeOwned + Serialize>(text: &str) -> T {
    let original: Value = serde_json::from_str(text).unwrap();
    let document: T = serde_json::from_str(text).unwrap();
    let written = serde_json::to_value(&document).unwrap();
    assert_contained(&written, &original, "");
    document
}

fn assert_contained(written: &Value, original: &Value, at: &str) {
    match (written, original) {
        (Value::Object(written), Value::Object(original)) => {
            for (name, value) in written {
                let at = format!("{at}/{name}");
                match original.get(name) {
                    Some(before) => assert_contained(value, before, &at),
                    None => assert!(is_default(value), "{at} was made up: {value}"),
                }
            }
        }
        (Value::Array(written), Value::Array(original)) => {
            assert_eq!(written.len(), original.len(), "{at}");
            for (index, (after, before)) in written.iter().zip(original).enumerate() {
                assert_contained(after, before, &format!("{at}/{index}"));
            }
        }
        (after, Value::Null) => assert!(is_default(after), "{at}: null became {after}"),
        (Value::String(after), Value::String(before)) => {
            let date = |text: &str| dayfly_wire::date::parse(text).map(dayfly_wire::date::format);
            assert!(
                after == before || date(after) == date(before),
                "{at}: {before} became {after}"
            );
        }
        (after, before) => assert_eq!(after, before, "{at}"),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty() || text == "task" || text == "unknown",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[test]
fn a_registered_agent() {
    let agent: Agent = round_trip(golden!("agent_registered"));
    assert_eq!(
        (agent.id, agent.status),
        (AgentId(1755), Some(AgentStatus::Offline))
    );
    let authorization = agent.authorization.unwrap();
    assert!(authorization.client_id.is_some() && authorization.authorization_url.is_some());
    assert_eq!(
        agent.properties["ServerUrl"].value,
        "https://dev.example.test/org/"
    );
}

#[test]
fn a_reference_whose_status_is_the_undefined_number() {
    let agent: AgentReference =
        serde_json::from_str(golden!("agent_reference_from_client")).unwrap();
    assert_eq!(agent.status, Some(AgentStatus::Other));
}

#[test]
fn a_session_request() {
    let session: Session = serde_json::from_str(golden!("session_request")).unwrap();
    assert_eq!(session.system_capabilities["Agent.OS"], "Linux");
    let written = serde_json::to_value(&session).unwrap();
    assert_eq!(
        written["agentCanHandleOaepSHA256"], false,
        "the name's odd capitals are the wire's"
    );
}

#[test]
fn a_message_envelope() {
    let envelope: Envelope = round_trip(golden!("envelope"));
    assert_eq!(envelope.message_id, MessageId(4235));
}

#[test]
fn a_running_request_and_the_fractional_seconds_of_its_dates() {
    let request: JobRequest = round_trip(golden!("job_request_running"));
    assert_eq!(request.demands.len(), 3);
    assert_eq!(request.pool_id, PoolId(44));
    assert!(request.receive_time.is_some() && request.result.is_none());
}

#[test]
fn a_queued_request_writes_neither_null_nor_a_date_without_zone() {
    let request: JobRequest = serde_json::from_str(golden!("job_request_queued_minimal")).unwrap();
    assert_eq!(request.receive_time, None);
    let written = serde_json::to_string(&request).unwrap();
    assert!(
        !written.contains("null") && !written.contains("0001-01-01"),
        "{written}"
    );
}

#[test]
fn a_job_message_with_its_token_where_workers_look_for_it() {
    let message: JobMessage = round_trip(golden!("job_message"));
    assert_eq!(message.plan.version, 9);
    let endpoint = &message.resources.endpoints[0];
    assert_eq!(endpoint.name, SYSTEM_CONNECTION);
    let token = &endpoint.authorization.as_ref().unwrap().parameters[ACCESS_TOKEN];
    assert_eq!(token.expose(), "eyJ.job.token");
    assert!(message.variables["system.accessToken"].is_secret);
    let step = &message.steps[0];
    assert!(step.enabled, "absent means enabled");
    assert_eq!(
        (step.kind.as_str(), step.reference.id.0),
        ("task", builtin::CMD_LINE)
    );
}

#[test]
fn timeline_records() {
    let records: Collection<Record> = round_trip(golden!("timeline_record_patch"));
    assert_eq!(records.value[0].state, Some(RecordState::InProgress));
    let untouched = serde_json::to_value(Record::default()).unwrap();
    let members: Vec<_> = untouched.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["id"],
        "an absent member means unchanged, so a default record sends its id only"
    );
}

#[test]
fn errors_carry_both_names_that_clients_look_at() {
    let error: ServiceError = round_trip(golden!("service_error"));
    assert_eq!(
        error,
        ServiceError::new(key::SESSION_CONFLICT, error.message.clone())
    );
}

#[test]
fn the_completion_event() {
    let event: JobEvent = round_trip(golden!("job_completed"));
    assert_eq!(event.result, Some(TaskResult::Succeeded));
}

#[test]
fn a_list_of_pools() {
    let pools: Collection<AgentPool> = round_trip(golden!("pools"));
    assert_eq!(
        (pools.count, pools.value[0].name.as_str()),
        (1, "k8s-linux")
    );
}

#[test]
fn enumerations_are_read_in_any_case_and_as_numbers() {
    for text in ["\"Canceled\"", "\"CANCELED\"", "3"] {
        assert_eq!(
            serde_json::from_str::<TaskResult>(text).unwrap(),
            TaskResult::Canceled
        );
    }
    assert_eq!(
        serde_json::from_str::<TaskResult>("\"exploded\"").unwrap(),
        TaskResult::Other
    );
}

#[test]
fn a_cancellation_without_a_timeout_has_the_service_s_default() {
    let text = r#"{"jobId":"33333333-3333-5333-8333-333333333333"}"#;
    let cancellation: JobCancellation = serde_json::from_str(text).unwrap();
    assert_eq!(cancellation.timeout, "00:05:00");
}
