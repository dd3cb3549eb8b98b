//! The end of a job whose worker did not report it.

use super::incoming::Contact;
use super::stage::Unreported;
use super::user_agent;
use crate::clock;
use crate::control::Facts;
use dayfly_client::{Client, Credential, Error};
use dayfly_wire::error::key;
use dayfly_wire::event::{JOB_COMPLETED, JobEvent};
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{Issue, IssueKind, Record, RecordState};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

const TRIES: u32 = 5;
const WAIT: Duration = Duration::from_secs(5);

/// Adds the reason to the job's record and raises its end; whether the service has it.
pub(crate) async fn report(contact: &Contact, unreported: &Unreported, facts: &Facts) -> bool {
    tracing::error!(job = %contact.job, reason = unreported.reason, "reporting the job's end in the worker's place");
    let client = Client::builder(&contact.url)
        .credential(Credential::Bearer(contact.token.duplicate()))
        .user_agent(user_agent())
        .ca_bundle(facts.ca_bundle.clone())
        .proxy(facts.proxy.clone())
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "failed to make the client of the job's service");
            return false;
        }
    };
    let record = record(contact, unreported);
    if let Err(error) = client
        .update_records(&contact.scope, contact.timeline, &[record])
        .await
    {
        tracing::warn!(%error, "failed to add the reason to the job's record");
    }
    raise(&client, contact, unreported).await
}

async fn raise(client: &Client, contact: &Contact, unreported: &Unreported) -> bool {
    let event = JobEvent {
        name: JOB_COMPLETED.to_owned(),
        job_id: contact.job,
        request_id: contact.request,
        result: Some(unreported.result),
        agent_shutting_down: true,
    };
    for attempt in 1..=TRIES {
        match client.raise_event(&contact.scope, &event).await {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(%error, attempt, "failed to report the job's end");
                if is_over(&error) {
                    return false;
                }
            }
        }
        if attempt < TRIES {
            sleep(WAIT).await;
        }
    }
    false
}

/// The service has ended the job already: there is nothing left to report it to.
pub(crate) fn is_over(error: &Error) -> bool {
    matches!(
        error.type_key(),
        Some(key::PLAN_NOT_FOUND | key::PLAN_SECURITY)
    ) || matches!(error, Error::Unauthorized(_))
}

fn record(contact: &Contact, unreported: &Unreported) -> Record {
    Record {
        id: RecordId(contact.job.0),
        state: Some(RecordState::Completed),
        result: Some(unreported.result),
        finish_time: Some(clock::now()),
        error_count: Some(1),
        issues: vec![Issue {
            kind: IssueKind::Error,
            category: Some("General".to_owned()),
            message: unreported.reason.clone(),
            data: BTreeMap::new(),
        }],
        ..Record::default()
    }
}
