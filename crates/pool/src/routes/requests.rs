//! Job requests.

use super::App;
use super::extract::{Authenticated, OptionalDocument, Parameters, Segments};
use super::reply::{Problem, Reply, document, done, list};
use crate::ops::requests::Selection;
use crate::rules::paging::Continuation;
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use http::{HeaderName, HeaderValue};

pub(crate) fn routes() -> Router<App> {
    const REQUESTS: &str = "/_apis/distributedtask/pools/{pool}/jobrequests";
    Router::new()
        .route(REQUESTS, get(all))
        .route(
            &format!("{REQUESTS}/{{request}}"),
            get(one).patch(change).delete(finish),
        )
        .route("/_apis/distributedtask/resourceusage", get(usage))
}

/// Finished requests in an answer that did not say how many it wants.
const FINISHED: i64 = 25;
/// Requests in a page that did not say how many it wants.
const PAGE: i64 = 250;
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuationtoken");

fn selection(parameters: &Parameters) -> Result<Selection, Problem> {
    let finished = parameters.parse("completedrequestcount")?;
    if let Some(plan) = parameters.parse("planid")? {
        let job = parameters.parse("jobid")?;
        return Ok(Selection::OfPlan { plan, job });
    }
    let mut agents: Vec<AgentId> = parameters.list("agentids")?;
    agents.extend(parameters.parse::<AgentId>("agentid")?);
    if !agents.is_empty() {
        return Ok(Selection::OfAgents {
            agents,
            and_finished: finished.unwrap_or(FINISHED),
        });
    }
    let from = parameters.text("continuationtoken").map(str::parse);
    let from: Option<Continuation> = from.transpose()?;
    let most = parameters.parse("$top")?;
    if most.is_some() || from.is_some() {
        return Ok(Selection::Page {
            most: most.unwrap_or(PAGE),
            from: from.unwrap_or(Continuation::START),
        });
    }
    Ok(Selection::Unfinished {
        and_finished: finished.unwrap_or(FINISHED),
    })
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    parameters: Parameters,
) -> Reply {
    let selection = selection(&parameters)?;
    let (found, next) = app.page_of_requests(&caller, pool, selection).await?;
    let mut answer = list(found);
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next.to_string()).ok()) {
        answer.headers_mut().insert(CONTINUATION, next);
    }
    Ok(answer)
}

async fn usage(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    let with_requests = parameters.flag("includerunningrequests");
    Ok(document(&app.resource_usage(&caller, with_requests).await?))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
) -> Reply {
    Ok(document(&app.request(&caller, pool, request).await?))
}

/// What a change may say beside "I still hold it".
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(default)]
    result: Option<TaskResult>,
    #[serde(default)]
    status_message: Option<String>,
}

async fn change(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
    parameters: Parameters,
    OptionalDocument(change): OptionalDocument<Change>,
) -> Reply {
    let options = parameters.text("updateoptions").unwrap_or_default();
    if options.eq_ignore_ascii_case("bumpRequestToTop") {
        return Ok(document(&app.bump_request(&caller, pool, request).await?));
    }
    if let Some(result) = change.result {
        let result = known(result, result.as_str())?;
        let message = change.status_message;
        app.finish_request(&caller, pool, request, result, message)
            .await?;
        return Ok(document(&app.request(&caller, pool, request).await?));
    }
    Ok(document(&app.renew_request(&caller, pool, request).await?))
}

async fn finish(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
    parameters: Parameters,
) -> Reply {
    let result = match parameters.text("result") {
        None => TaskResult::Canceled,
        Some(text) => {
            let number = text.parse().map(TaskResult::from_number);
            known(number.unwrap_or_else(|_| TaskResult::from_text(text)), text)?
        }
    };
    let message = parameters.text("statusmessage").map(str::to_owned);
    app.finish_request(&caller, pool, request, result, message)
        .await?;
    Ok(done())
}

fn known(result: TaskResult, text: &str) -> Result<TaskResult, Refusal> {
    match result {
        TaskResult::Other => Err(Refusal::invalid(format!("result: {text:?} is no result"))),
        known => Ok(known),
    }
}
