//! Job requests: the queue as scalers, agents and administrators see it.

use crate::suite::{MARK, Suite, now};
use crate::verdict::{Verdict, differs};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::Value;

/// Members that scalers parse strictly: a date without a zone fails all of a poll.
const DATES: [&str; 5] = [
    "queueTime",
    "assignTime",
    "receiveTime",
    "finishTime",
    "lockedUntil",
];

fn is_readable(request: &Value) -> Verdict {
    let id = &request["requestId"];
    holds!(id.is_i64(), "requestId is {id}");
    for name in DATES {
        let Some(value) = request.get(name) else {
            continue;
        };
        let text = value.as_str().unwrap_or_default();
        holds!(
            text.parse::<Timestamp>().is_ok(),
            "request {id}: {name} is {value}, and no date with a zone"
        );
    }
    if let Some(demands) = request.get("demands") {
        let texts = demands
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string));
        holds!(texts, "request {id}: demands are {demands}, and not texts");
    }
    if let Some(data) = request.get("data") {
        let texts = data
            .as_object()
            .is_some_and(|map| map.values().all(Value::is_string));
        holds!(
            texts,
            "request {id}: data is {data}, and not a map of texts"
        );
    }
    Ok(())
}

pub(super) async fn the_lists_of_scalers_are_served(suite: &Suite) -> Verdict {
    for query in ["?completedRequestCount=0", "", "?$top=250"] {
        let path = suite.in_pool(&format!("/jobrequests{query}"));
        for request in suite.get(&path).await?.list()? {
            is_readable(&request)?;
        }
    }
    Ok(())
}

pub(super) async fn a_queued_job_is_seen_in_the_list(suite: &Suite) -> Verdict {
    suite.needs_a_queue()?;
    let agent = suite.register().await?;
    let queued = suite.queue(&agent).await?;
    holds!(
        queued.result.is_none(),
        "a job for an agent that is offline ended at once"
    );
    let path = suite.in_pool("/jobrequests?completedRequestCount=0");
    let list = suite.get(&path).await?.list()?;
    let found = list
        .iter()
        .find(|request| request["requestId"].as_i64() == Some(queued.request_id.0));
    let request = found.ok_or_else(|| differs("the job is not in the list of unfinished ones"))?;
    is_readable(request)?;
    for absent in ["result", "assignTime", "receiveTime", "finishTime"] {
        holds!(
            request.get(absent).is_none(),
            "a waiting job has {absent}: {}",
            request[absent]
        );
    }
    let demands = request["demands"].to_string();
    holds!(demands.contains(MARK), "the demands are {demands}");
    let matched = request["matchedAgents"].to_string();
    holds!(
        request["matchesAllAgentsInPool"] == true || matched.contains(&agent.document.name),
        "matchedAgents is {matched}"
    );
    Ok(())
}

pub(super) async fn a_renewed_lock_holds_for_minutes(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let renewed = suite.renew(&taken).await?;
    let until = renewed["lockedUntil"].as_str().unwrap_or_default();
    let until: Timestamp = until
        .parse()
        .map_err(|_| differs(format!("lockedUntil is {until:?}: agents read it at once")))?;
    let ahead = until.duration_since(now());
    // Agents renew every minute and give up five minutes after the lock lapsed.
    holds!(
        ahead > SignedDuration::from_mins(2) && ahead < SignedDuration::from_mins(30),
        "the lock holds for {} s",
        ahead.as_secs()
    );
    let request = suite.request(&taken).await?;
    holds!(
        request.get("receiveTime").is_some(),
        "a request whose lock was renewed has no receiveTime"
    );
    holds!(
        request["reservedAgent"]["id"].as_i64() == Some(taken.agent.document.id.0),
        "reservedAgent is {}",
        request["reservedAgent"]
    );
    Ok(())
}

pub(super) async fn a_job_that_nobody_can_take_fails_at_once(suite: &Suite) -> Verdict {
    suite.needs_a_queue()?;
    suite.register().await?;
    let demand = format!("{MARK} -equals nobody");
    let queued = suite.queue_demanding(&[demand.as_str()]).await?;
    let result = queued.result.map(|result| result.as_str());
    holds!(result == Some("failed"), "the result is {result:?}");
    let reason = queued.status_message.unwrap_or_default();
    holds!(
        reason.contains(MARK),
        "the reason does not name the demand: {reason:?}"
    );
    Ok(())
}

pub(super) async fn an_administrator_ends_a_job(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let id = taken.queued.request_id;
    let path = suite.in_pool(&format!(
        "/jobrequests/{id}?result=Failed&lockToken={}",
        uuid::Uuid::nil()
    ));
    suite.ask(Method::DELETE, &path).send().await?.empty()?;
    let request = suite.request(&taken).await?;
    holds!(
        request["result"] == "failed",
        "the result is {}",
        request["result"]
    );
    holds!(
        request.get("finishTime").is_some(),
        "an ended request has no finishTime"
    );
    let path = suite.in_pool(&format!(
        "/jobrequests/{id}?lockToken={}",
        uuid::Uuid::nil()
    ));
    let renewal = suite.anonymous(Method::PATCH, &path).bearer(&taken.listen);
    let body = serde_json::json!({"requestId": id});
    renewal
        .json(&body)
        .send()
        .await?
        .refused(404, "TaskAgentJobNotFoundException")
}
