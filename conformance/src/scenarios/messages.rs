//! Messages: the long poll, the envelope, the acknowledgement.

use crate::suite::Suite;
use crate::taken::read;
use crate::verdict::{Verdict, differs};
use dayfly_wire::message::kind;
use reqwest::Method;
use std::time::{Duration, Instant};

/// Agents give a question up after a hundred seconds.
const HELD: Duration = Duration::from_secs(90);
/// A job that was queued while its agent asked comes at once; this is generous.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) async fn no_message_is_an_empty_answer(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let session = suite.open(&agent, &token, false).await?;
    let asked = Instant::now();
    let answer = suite.poll_raw(&session, &token, None).await?;
    holds!(
        matches!(answer.status, 202 | 204),
        "status {} when there is no message, and neither 202 nor 204",
        answer.status
    );
    answer.empty()?;
    holds!(
        asked.elapsed() < HELD,
        "the answer took {} s",
        asked.elapsed().as_secs()
    );
    Ok(())
}

pub(super) async fn a_job_comes_to_a_parked_question(suite: &Suite) -> Verdict {
    suite.needs_a_queue()?;
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let session = suite.open(&agent, &token, false).await?;
    let queue = async {
        // Long enough for the question to be there before the job.
        tokio::time::sleep(Duration::from_millis(50)).await;
        suite.queue(&agent).await?;
        Ok(Instant::now())
    };
    let wait = async {
        suite.wait(&session, &token).await?;
        Ok(Instant::now())
    };
    let (queued, came) = tokio::try_join!(queue, wait)?;
    let after = came.saturating_duration_since(queued);
    holds!(
        after < AT_ONCE,
        "the message came {} ms after the job was queued",
        after.as_millis()
    );
    Ok(())
}

pub(super) async fn a_job_message_has_what_agents_read(suite: &Suite) -> Verdict {
    let taken = suite.see_job().await?;
    let message = &taken.message;
    holds!(
        message["requestId"].as_i64() == Some(taken.queued.request_id.0),
        "the message is about request {}",
        message["requestId"]
    );
    holds!(
        message["jobId"] == taken.queued.job_id.to_string(),
        "the message is about job {}",
        message["jobId"]
    );
    let plan = &message["plan"];
    holds!(
        plan["version"].as_i64() >= Some(8),
        "plan.version is {}: below 8 the agent reports the end by another way",
        plan["version"]
    );
    for member in ["scopeIdentifier", "planId", "planType"] {
        holds!(
            plan[member].is_string(),
            "plan.{member} is {}",
            plan[member]
        );
    }
    holds!(
        message["timeline"]["id"].is_string(),
        "timeline.id is missing"
    );
    holds!(
        message["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty()),
        "the message has no steps"
    );
    for name in [
        "system.hosttype",
        "system.teamProjectId",
        "system.planId",
        "system.jobId",
    ] {
        let value = &message["variables"][name]["value"];
        holds!(value.is_string(), "the variable {name} is {value}");
    }
    let mask = message["mask"].as_array();
    holds!(
        mask.is_some_and(|mask| !mask.is_empty()),
        "nothing is masked: the token is a secret"
    );
    Ok(())
}

pub(super) async fn a_message_stays_until_it_is_acknowledged(suite: &Suite) -> Verdict {
    let taken = suite.see_job().await?;
    let id = taken.envelope.message_id;
    let (session, listen) = (&taken.session, &taken.listen);
    let again = suite.wait(session, listen).await?;
    holds!(
        again.message_id == id,
        "a message that was not acknowledged is replaced by another"
    );
    suite.acknowledge(session, listen, id.0).await?;
    suite.acknowledge(session, listen, id.0).await?;
    let path = suite.in_pool(&format!("/jobrequests/{}", taken.queued.request_id));
    let request = suite.get(&path).await?.document()?;
    holds!(
        request.get("result").is_none(),
        "an acknowledged job ended: {}",
        request["result"]
    );
    Ok(())
}

pub(super) async fn two_questions_at_once_get_the_same_message(suite: &Suite) -> Verdict {
    let taken = suite.see_job().await?;
    let (session, listen) = (&taken.session, &taken.listen);
    let (one, other) = tokio::try_join!(
        suite.poll(session, listen, None),
        suite.poll(session, listen, None)
    )?;
    let id = |envelope: Option<dayfly_wire::message::Envelope>| envelope.map(|it| it.message_id);
    let (one, other) = (id(one), id(other));
    holds!(
        one.is_some() && one == other,
        "two questions at once got {one:?} and {other:?}"
    );
    Ok(())
}

pub(super) async fn a_cancellation_comes_to_the_agent(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let id = taken.queued.request_id;
    let path = format!("/{}/_apis/dayfly/jobs/{id}/cancel", suite.project);
    suite.ask(Method::POST, &path).send().await?.empty()?;
    let envelope = suite.wait(&taken.session, &taken.listen).await?;
    holds!(
        envelope
            .message_type
            .eq_ignore_ascii_case(kind::CANCELLATION),
        "after a cancellation a {:?} came",
        envelope.message_type
    );
    let body = read(&taken.session, &envelope)?;
    holds!(
        body["jobId"] == taken.message["jobId"],
        "the cancellation is of job {}",
        body["jobId"]
    );
    let timeout = body["timeout"].as_str().unwrap_or_default();
    let parts: Vec<_> = timeout.split(':').map(str::parse::<f64>).collect();
    if parts.len() != 3 || parts.iter().any(Result::is_err) {
        return Err(differs(format!(
            "the cancellation's timeout is {timeout:?}, and not hh:mm:ss"
        )));
    }
    Ok(())
}
