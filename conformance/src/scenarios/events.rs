//! Plan events: how a job ends.

use crate::answer::Answer;
use crate::suite::Suite;
use crate::taken::Taken;
use crate::verdict::Verdict;
use reqwest::Method;
use serde_json::json;

async fn raise(suite: &Suite, taken: &Taken, name: &str) -> Verdict<Answer> {
    let event = json!({
        "name": name, "jobId": taken.queued.job_id, "requestId": taken.queued.request_id,
        "result": "succeededWithIssues", "agentShuttingDown": true,
    });
    suite
        .in_plan(taken, Method::POST, "/events")
        .json(&event)
        .send()
        .await
}

pub(super) async fn the_end_of_a_job_is_its_result(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    raise(suite, &taken, "JobCompleted").await?.empty()?;
    let request = suite.request(&taken).await?;
    holds!(
        request["result"] == "succeededWithIssues",
        "the result is {}, and not what the agent reported",
        request["result"]
    );
    holds!(
        request.get("finishTime").is_some(),
        "an ended request has no finishTime"
    );
    Ok(())
}

pub(super) async fn a_token_ends_with_its_job(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    raise(suite, &taken, "JobCompleted").await?.empty()?;
    let late = suite.in_plan(&taken, Method::GET, "/logs").send().await?;
    holds!(
        late.status == 401,
        "after the end of the job its token is answered with {}",
        late.status
    );
    Ok(())
}

pub(super) async fn an_unknown_event_is_let_pass(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    raise(suite, &taken, "JobStarted").await?.empty()?;
    let request = suite.request(&taken).await?;
    holds!(
        request.get("result").is_none(),
        "the job ended: {}",
        request["result"]
    );
    Ok(())
}
