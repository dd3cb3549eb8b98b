//! The part of the live check that needs a job, which somebody queues meanwhile.

use super::live::{Made, Stop, Trial};
use super::report::Outcome;
use dayfly_client::Error;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RequestId;
use dayfly_wire::message::kind;
use dayfly_wire::request::JobRequest;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(500);
/// Polls until the job must have come.
const POLLS: usize = 3;

/// Waits for a job, takes it, and ends it as failed.
pub(super) async fn check(
    trial: &mut Trial<'_>,
    made: &Made,
    limit: Duration,
) -> Result<(), (&'static str, Stop)> {
    let queued = wait(trial, limit)
        .await
        .map_err(|error| ("placeholder", error.into()))?;
    let Some(request) = queued else {
        let text = format!("nobody queued a job within {} s", limit.as_secs());
        trial.report.found("placeholder", Outcome::Unknown, text);
        return Ok(());
    };
    let text = format!("request {} waits", request.request_id);
    trial.say("placeholder", true, text);
    let id = request.request_id;
    let tried = take(trial, made, id).await;
    // Whatever happened: nobody else will end it.
    let held = trial.admin.request(trial.pool, id).await;
    let is_ours = |request: &JobRequest| {
        let agent = request.reserved_agent.as_ref();
        request.result.is_none() && agent.is_some_and(|agent| agent.id == made.id)
    };
    match held {
        Ok(request) if is_ours(&request) => finish(trial, id).await,
        Ok(_) => trial.report.found(
            "finish",
            Outcome::Unknown,
            "another agent has it, or it ended",
        ),
        Err(error) => trial.say("finish", false, error.to_string()),
    }
    tried
}

/// A request that was not there before.
async fn wait(trial: &Trial<'_>, limit: Duration) -> Result<Option<JobRequest>, Error> {
    let begun = Instant::now();
    let list = || trial.admin.unfinished_requests(trial.pool);
    tracing::info!(pool = %trial.pool, "queue a job to the pool now");
    while begun.elapsed() < limit {
        let mut now = list().await?.into_iter();
        let found = now.find(|one| one.result.is_none() && !trial.before.contains(&one.request_id));
        if found.is_some() {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

async fn take(
    trial: &mut Trial<'_>,
    made: &Made,
    request: RequestId,
) -> Result<(), (&'static str, Stop)> {
    let session = trial.open(made).await.map_err(|stop| ("delivery", stop))?;
    let id = session.session_id;
    let delivered = receive(trial, made, &session).await;
    let closing = match delivered {
        Ok(Some(message)) => hold(trial, made, request, id, message)
            .await
            .map_err(|error| ("receive-time", Stop::from(error))),
        Ok(None) => {
            let text = "no job came; another agent may have it";
            trial.report.found("delivery", Outcome::Unknown, text);
            Ok(())
        }
        Err(stop) => Err(("delivery", stop)),
    };
    // A session that stays behind would end with the agent.
    let _ = made.client.delete_session(trial.pool, id).await;
    closing
}

async fn receive(
    trial: &mut Trial<'_>,
    made: &Made,
    session: &dayfly_wire::session::Session,
) -> Result<Option<dayfly_wire::ids::MessageId>, Stop> {
    for _ in 0..POLLS {
        let polled = made
            .client
            .next_message(trial.pool, session.session_id, None);
        let Some(envelope) = polled.await? else {
            continue;
        };
        let key = match &session.encryption_key {
            Some(wrapped) => made.key.unwrap_session_key(wrapped)?,
            None => return Err(Stop::Answer("the session has no key")),
        };
        key.decrypt(envelope.iv.as_deref().unwrap_or_default(), &envelope.body)?;
        let is_job = envelope.message_type == kind::JOB;
        trial.say("delivery", is_job, envelope.message_type.clone());
        return Ok(Some(envelope.message_id));
    }
    Ok(None)
}

/// What the service says of a request while the agent has it.
async fn hold(
    trial: &mut Trial<'_>,
    made: &Made,
    request: RequestId,
    session: dayfly_wire::ids::SessionId,
    message: dayfly_wire::ids::MessageId,
) -> Result<(), Error> {
    let (admin, pool) = (trial.admin, trial.pool);
    let received = async || Ok::<_, Error>(admin.request(pool, request).await?.receive_time);
    let given = received().await?.is_some();
    made.client.acknowledge(pool, session, message).await?;
    let acknowledged = received().await?.is_some();
    made.client.renew_request(pool, request).await?;
    let renewed = received().await?.is_some();
    let text = format!("given: {given}, acknowledged: {acknowledged}, renewed: {renewed}");
    trial.say("receive-time", !given && renewed, text);

    admin.set_agent_enabled(pool, made.id, false).await?;
    let renewed = made.client.renew_request(pool, request).await;
    let text = renewed.as_ref().err().map(ToString::to_string);
    trial.say("busy-disable", renewed.is_ok(), text.unwrap_or_default());

    match admin.delete_agent(pool, made.id).await {
        Err(error) => trial.say("busy-delete", true, format!("refused: {error}")),
        Ok(()) => {
            let ended = admin.request(pool, request).await;
            let ended = ended.map(|request| request.result.is_some());
            let text = format!("accepted; the request ended: {ended:?}");
            trial.say("busy-delete", ended.unwrap_or(true), text);
        }
    }
    Ok(())
}

async fn finish(trial: &mut Trial<'_>, request: RequestId) {
    let (admin, pool) = (trial.admin, trial.pool);
    let why = Some("dayfly-operator check --live");
    let ended = admin.finish_request(pool, request, TaskResult::Failed, why);
    match ended.await {
        Ok(()) => trial.say("finish", true, ""),
        Err(error) => trial.say("finish", false, error.to_string()),
    }
}
