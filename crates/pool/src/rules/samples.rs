//! Entities for the tests of rules.

use super::entities::{Agent, Plan, Request, Run, RunJob};
use dayfly_wire::agent::{AgentPublicKey, Capabilities};
use dayfly_wire::build::{BuildReason, BuildStatus};
use dayfly_wire::ids::{
    AgentId, BuildId, ClientId, DefinitionId, JobId, MessageId, PlanId, PoolId, ProjectId,
    RequestId, TimelineId,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) const POOL: PoolId = PoolId(1);

/// Minutes after the beginning of time.
pub(super) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(minutes * 60).unwrap()
}

pub(super) fn agent(id: i64, capabilities: &[(&str, &str)]) -> Agent {
    Agent {
        id: AgentId(id),
        pool: POOL,
        name: format!("agent-{id}"),
        version: None,
        os_description: None,
        enabled: true,
        single_use: false,
        jobs_taken: 0,
        client_id: ClientId(Uuid::from_u128(1)),
        key: AgentPublicKey {
            exponent: "AQAB".to_owned(),
            modulus: String::new(),
        },
        key_version: 1,
        last_message: MessageId(0),
        system_capabilities: capabilities
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        reported_capabilities: None,
        user_capabilities: Capabilities::new(),
        properties: BTreeMap::new(),
        created_at: at(0),
        status_changed_at: at(0),
    }
}

pub(super) fn request(id: i64, demands: &[&str]) -> Request {
    Request {
        id: RequestId(id),
        pool: POOL,
        plan: plan(id),
        job: JobId(Uuid::from_u128(4)),
        name: "Job".to_owned(),
        demands: demands.iter().map(|demand| (*demand).to_owned()).collect(),
        matched: Vec::new(),
        priority: 0,
        timeout_minutes: 60,
        cancel_timeout_minutes: 5,
        queued_at: at(0),
        assigned_at: None,
        acknowledged_at: None,
        received_at: None,
        locked_until: None,
        cancelled_at: None,
        finished_at: None,
        result: None,
        status_message: None,
        agent: None,
        agent_name: None,
    }
}

fn plan(id: i64) -> Plan {
    Plan {
        id: PlanId(Uuid::from_u128(2)),
        project: ProjectId(Uuid::from_u128(3)),
        project_name: "demo".to_owned(),
        timeline: TimelineId(Uuid::from_u128(2)),
        build: BuildId(id),
        build_number: id.to_string(),
        definition: DefinitionId(1),
        definition_name: "job".to_owned(),
        created_at: at(0),
    }
}

pub(super) fn run() -> Run {
    Run {
        plan: plan(1),
        status: BuildStatus::NotStarted,
        result: None,
        reason: BuildReason::Manual,
        pool: POOL,
        pool_name: "linux".to_owned(),
        source: None,
        requested_by: "somebody".to_owned(),
        given: None,
        keep_forever: false,
        queued_at: at(0),
        started_at: None,
        cancelled_at: None,
        finished_at: None,
    }
}

pub(super) fn run_job(name: &str, depends_on: &[&str]) -> RunJob {
    RunJob {
        id: JobId(Uuid::new_v4()),
        number: 1,
        name: name.to_owned(),
        display_name: name.to_owned(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        condition: None,
        request: None,
        started_at: None,
        finished_at: None,
        result: None,
        status_message: None,
    }
}
