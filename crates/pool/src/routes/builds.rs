//! Runs: the Build REST area.

use super::App;
use super::extract::{Authenticated, Document, OptionalDocument, Parameters, Segments};
use super::logs::{lines, text};
use super::reply::{Problem, Reply, document, done, list, page};
use crate::ops::builds::path_of;
use crate::rules::build_filter::{self, BuildFilter, Order, query_date, values};
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::build::{BuildReason, BuildResult, BuildStatus, QueueBuild, UpdateBuild};
use dayfly_wire::ids::{BuildId, DefinitionId, LogId, TimelineId};
use http::HeaderMap;
use http::header::ACCEPT;

/// The number that means every state.
const ALL_STATUSES: i64 = 47;
/// The number that means every reason.
const ALL_REASONS: i64 = 2031;

pub(crate) fn routes() -> Router<App> {
    const BUILDS: &str = "/{project}/_apis/build/builds";
    const BUILD: &str = "/{project}/_apis/build/builds/{build}";
    Router::new()
        .route(BUILDS, get(all).post(queue))
        .route(BUILD, get(one).patch(update).delete(delete))
        .route(&format!("{BUILD}/logs"), get(logs))
        .route(&format!("{BUILD}/logs/{{log}}"), get(log))
        .route(&format!("{BUILD}/timeline"), get(timeline))
        .route(
            &format!("{BUILD}/timeline/{{timeline}}"),
            get(named_timeline),
        )
}

fn filter(parameters: &Parameters) -> Result<BuildFilter, Problem> {
    let text = |name: &str| parameters.text(name).map(str::to_owned);
    Ok(BuildFilter {
        definitions: parameters.numbers("definitions")?,
        queues: parameters.numbers("queues")?,
        ids: parameters.numbers("buildids")?,
        number: text("buildnumber"),
        from: parameters.date("mintime")?,
        to: parameters.date("maxtime")?,
        requested_for: text("requestedfor"),
        reasons: parameters.text("reasonfilter").and_then(|text| {
            let (of_text, of_number) = (BuildReason::from_text, BuildReason::from_number);
            values(text, of_text, of_number, ALL_REASONS)
        }),
        statuses: parameters.text("statusfilter").and_then(|text| {
            let (of_text, of_number) = (BuildStatus::from_text, BuildStatus::from_number);
            values(text, of_text, of_number, ALL_STATUSES)
        }),
        results: parameters
            .text("resultfilter")
            .and_then(|text| values(text, BuildResult::from_text, BuildResult::from_number, 0)),
        branch: text("branchname"),
        repository: text("repositoryid"),
        tags: text("tagfilters"),
        order: parameters
            .text("queryorder")
            .map(Order::from_text)
            .transpose()?
            .unwrap_or_default(),
        most: parameters.parse("$top")?,
        most_per_definition: parameters.parse("maxbuildsperdefinition")?,
        after: parameters
            .text("continuationtoken")
            .map(str::parse)
            .transpose()?,
    })
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
    parameters: Parameters,
) -> Reply {
    let filter = filter(&parameters)?;
    let (builds, next) = app.builds(&caller, &project, &filter).await?;
    Ok(page(builds, next))
}

async fn queue(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
    parameters: Parameters,
    Document(asked): Document<QueueBuild>,
) -> Reply {
    let definition = parameters.parse("definitionid")?.map(DefinitionId);
    Ok(document(
        &app.queue_build(&caller, &project, definition, &asked)
            .await?,
    ))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
) -> Reply {
    Ok(document(&app.build(&caller, &project, build).await?))
}

async fn update(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
    parameters: Parameters,
    OptionalDocument(change): OptionalDocument<UpdateBuild>,
) -> Reply {
    if parameters.flag("retry") {
        return Err(Refusal::invalid("retry: an ended run stays as it is; queue another").into());
    }
    Ok(document(
        &app.update_build(&caller, &project, build, &change).await?,
    ))
}

async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
) -> Reply {
    app.delete_build(&caller, &project, build).await?;
    Ok(done())
}

async fn logs(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
) -> Reply {
    Ok(list(app.build_logs(&caller, &project, build).await?))
}

/// A log, as text or as a list of its lines, whichever the client accepts.
async fn log(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build, log)): Segments<(String, BuildId, LogId)>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Reply {
    let start = parameters.parse("startline")?.unwrap_or(1).max(1);
    let end = parameters.parse("endline")?.unwrap_or(i64::MAX);
    let plan = app.build_plan(&caller, &project, build).await?;
    let cursor = app
        .open_log(&caller, &path_of(&plan), log, start, end)
        .await?;
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepted.is_some_and(|accept| accept.to_lowercase().contains("application/json")) {
        Ok(lines(app, cursor))
    } else {
        Ok(text(app, cursor))
    }
}

async fn timeline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
    parameters: Parameters,
) -> Reply {
    let after = parameters.parse("changeid")?;
    Ok(document(
        &app.build_timeline(&caller, &project, build, None, after)
            .await?,
    ))
}

async fn named_timeline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build, timeline)): Segments<(String, BuildId, TimelineId)>,
    parameters: Parameters,
) -> Reply {
    let after = parameters.parse("changeid")?;
    Ok(document(
        &app.build_timeline(&caller, &project, build, Some(timeline), after)
            .await?,
    ))
}

impl Parameters {
    /// A list of numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<Option<Vec<i64>>, Problem> {
        let read = self.text(name);
        Ok(read
            .map(|text| build_filter::numbers(name, text))
            .transpose()?)
    }

    /// A date, as documents have it or as JavaScript clients write it.
    pub(crate) fn date(&self, name: &str) -> Result<Option<jiff::Timestamp>, Problem> {
        let read = self.text(name);
        Ok(read.map(|text| query_date(name, text)).transpose()?)
    }
}
