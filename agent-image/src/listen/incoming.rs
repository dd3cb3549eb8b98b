//! A decrypted message to an event. Pure.

use super::stage::Event;
use dayfly_client::PlanScope;
use dayfly_wire::ids::{JobId, MessageId, RequestId, TimelineId};
use dayfly_wire::job::{
    ACCESS_TOKEN, Endpoint, PlanReference, SYSTEM_CONNECTION, TimelineReference,
};
use dayfly_wire::message::{JobCancellation, JobMetadataUpdate, kind};
use dayfly_wire::secret::SecretText;
use serde::Deserialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// The cancellation time when the message's does not parse.
const DEFAULT_CANCEL: Duration = Duration::from_secs(300);

/// A job message, as the worker gets it, and what the listener keeps for the case that the worker dies.
pub(crate) struct Job {
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) contact: Contact,
}

/// How to report the end of a job.
pub(crate) struct Contact {
    pub(crate) url: String,
    pub(crate) token: SecretText,
    pub(crate) scope: PlanScope,
    pub(crate) timeline: TimelineId,
    pub(crate) job: JobId,
    pub(crate) request: RequestId,
}

/// What the listener needs of a job message, which may be long; all of it is the worker's to read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    plan: PlanReference,
    timeline: TimelineReference,
    job_id: JobId,
    request_id: RequestId,
    resources: HeadResources,
}

#[derive(Deserialize)]
struct HeadResources {
    endpoints: Vec<Endpoint>,
}

/// Reads a message. A body that is not understood makes it meaningless.
pub(crate) fn read(
    message: MessageId,
    message_type: &str,
    body: Zeroizing<Vec<u8>>,
) -> (Event, Option<Job>) {
    let is = |kind: &str| message_type.eq_ignore_ascii_case(kind);
    let meaningless = (Event::Meaningless { message }, None);
    if is(kind::JOB) {
        let Some(contact) = contact(without_mark(&body)) else {
            tracing::error!(%message, "a job message does not parse; it is dropped");
            return meaningless;
        };
        let event = Event::Job {
            message,
            job: contact.job,
            request: contact.request,
        };
        return (event, Some(Job { body, contact }));
    }
    let event = if is(kind::CANCELLATION) {
        serde_json::from_slice::<JobCancellation>(without_mark(&body))
            .ok()
            .map(|cancel| Event::Cancel {
                message,
                job: cancel.job_id,
                timeout: duration(&cancel.timeout).unwrap_or(DEFAULT_CANCEL),
            })
    } else if is(kind::METADATA) {
        serde_json::from_slice::<JobMetadataUpdate>(without_mark(&body))
            .ok()
            .and_then(|update| {
                Some(Event::FeedInterval {
                    message,
                    job: update.job_id,
                    milliseconds: update.post_lines_frequency_millis?,
                })
            })
    } else {
        tracing::info!(%message, message_type, "a message of this type means nothing to this agent");
        None
    };
    event.map_or(meaningless, |event| (event, None))
}

fn contact(body: &[u8]) -> Option<Contact> {
    let job: Head = serde_json::from_slice(body).ok()?;
    let connection = job
        .resources
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name.eq_ignore_ascii_case(SYSTEM_CONNECTION))?;
    let (_, token) = connection
        .authorization
        .as_ref()?
        .parameters
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(ACCESS_TOKEN))?;
    Some(Contact {
        url: connection.url.clone(),
        token: token.duplicate(),
        scope: PlanScope {
            project: job.plan.scope_identifier,
            hub: job.plan.plan_type.clone(),
            plan: job.plan.plan_id,
        },
        timeline: job.timeline.id,
        job: job.job_id,
        request: job.request_id,
    })
}

/// The text without the byte order mark that .NET writes.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// `hh:mm:ss`, with an optional `days.` before and a fraction behind.
fn duration(text: &str) -> Option<Duration> {
    let mut parts = text.trim().rsplitn(3, ':');
    let seconds: f64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let hours = parts.next()?;
    let (days, hours) = match hours.split_once('.') {
        Some((days, hours)) => (days.parse::<u64>().ok()?, hours),
        None => (0, hours),
    };
    let hours = hours
        .parse::<u64>()
        .ok()?
        .checked_add(days.checked_mul(24)?)?;
    let whole = hours
        .checked_mul(3600)?
        .checked_add(minutes.checked_mul(60)?)?;
    Duration::try_from_secs_f64(seconds)
        .ok()?
        .checked_add(Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_time_spans() {
        for (text, seconds) in [
            ("00:05:00", Some(300.0)),
            ("1.00:00:01.5", Some(86_401.5)),
            ("5", None),
            ("-1:00:00", None),
            ("99999999999999999999:00:00", None),
        ] {
            assert_eq!(
                duration(text).map(|time| time.as_secs_f64()),
                seconds,
                "{text}"
            );
        }
    }

    #[test]
    fn types_are_compared_without_case_and_a_byte_order_mark_is_fine() {
        let body = b"\xEF\xBB\xBF{\"jobId\":\"00000000-0000-0000-0000-000000000001\",\"timeout\":\"00:01:30\"}";
        let (event, job) = read(
            MessageId(4),
            "jobcancellation",
            Zeroizing::new(body.to_vec()),
        );
        assert!(job.is_none());
        assert!(matches!(event, Event::Cancel { timeout, .. } if timeout.as_secs() == 90));
    }

    #[test]
    fn what_does_not_parse_is_meaningless() {
        for kind in ["PipelineAgentJobRequest", "JobCancellation", "AgentRefresh"] {
            let (event, _) = read(MessageId(1), kind, Zeroizing::new(b"{}".to_vec()));
            assert!(matches!(event, Event::Meaningless { .. }), "{kind}");
        }
    }
}
