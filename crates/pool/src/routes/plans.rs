//! Plans: timelines, records, console, logs, events.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments, body, wants_document};
use super::logs::{lines, text};
use super::reply::{Reply, document, done, list};
use crate::ops::plans::PlanPath;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::routing::{get, post};
use dayfly_wire::collection::Collection;
use dayfly_wire::event::JobEvent;
use dayfly_wire::ids::{LogId, PlanId, RecordId, TimelineId};
use dayfly_wire::log::{FeedLines, LogReference};
use dayfly_wire::timeline::{Record, Timeline};
use http::HeaderMap;

/// The largest piece of a log in one call; agents send 8 MiB.
const MAX_LOG_PIECE: usize = 32 * 1024 * 1024;

pub(crate) fn routes() -> Router<App> {
    const PLAN: &str = "/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}";
    let timeline = format!("{PLAN}/timelines/{{timeline}}");
    Router::new()
        .route(
            &format!("{PLAN}/timelines"),
            get(timelines).post(create_timeline),
        )
        .route(&timeline, get(one_timeline))
        .route(
            &format!("{timeline}/records"),
            get(records).patch(update_records),
        )
        .route(
            &format!("{timeline}/records/{{record}}/feed"),
            post(post_feed),
        )
        .route(&format!("{PLAN}/logs"), get(logs).post(create_log))
        .route(
            &format!("{PLAN}/logs/{{log}}"),
            get(read_log)
                .post(append_log)
                .layer(DefaultBodyLimit::max(MAX_LOG_PIECE)),
        )
        .route(&format!("{PLAN}/events"), post(raise_event))
}

fn path((project, hub, plan): (String, String, PlanId)) -> PlanPath {
    PlanPath { project, hub, plan }
}

async fn timelines(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(plan): Segments<(String, String, PlanId)>,
) -> Reply {
    Ok(list(app.timelines(&caller, &path(plan)).await?))
}

async fn create_timeline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(plan): Segments<(String, String, PlanId)>,
    Document(draft): Document<Timeline>,
) -> Reply {
    Ok(document(
        &app.create_timeline(&caller, &path(plan), draft).await?,
    ))
}

async fn one_timeline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, timeline)): Segments<(String, String, PlanId, TimelineId)>,
    parameters: Parameters,
) -> Reply {
    let after = parameters.parse("changeid")?.unwrap_or_default();
    let after = parameters.flag("includerecords").then_some(after);
    let path = path((project, hub, plan));
    Ok(document(
        &app.timeline(&caller, &path, timeline, after).await?,
    ))
}

async fn records(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, timeline)): Segments<(String, String, PlanId, TimelineId)>,
    parameters: Parameters,
) -> Reply {
    let path = path((project, hub, plan));
    let after = parameters.parse("changeid")?.unwrap_or(0);
    Ok(list(app.records(&caller, &path, timeline, after).await?))
}

async fn update_records(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, timeline)): Segments<(String, String, PlanId, TimelineId)>,
    Document(patches): Document<Collection<Record>>,
) -> Reply {
    let path = path((project, hub, plan));
    let merged = app
        .update_records(&caller, &path, timeline, patches.value)
        .await?;
    Ok(list(merged))
}

async fn post_feed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, timeline, record)): Segments<(
        String,
        String,
        PlanId,
        TimelineId,
        RecordId,
    )>,
    Document(lines): Document<FeedLines>,
) -> Reply {
    let path = path((project, hub, plan));
    app.post_feed(&caller, &path, timeline, record, lines)
        .await?;
    Ok(done())
}

async fn logs(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(plan): Segments<(String, String, PlanId)>,
) -> Reply {
    Ok(list(app.logs(&caller, &path(plan)).await?))
}

async fn create_log(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(plan): Segments<(String, String, PlanId)>,
    Document(draft): Document<LogReference>,
) -> Reply {
    Ok(document(
        &app.create_log(&caller, &path(plan), draft).await?,
    ))
}

async fn append_log(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, log)): Segments<(String, String, PlanId, LogId)>,
    request: Request,
) -> Reply {
    let text = body(request, &app).await?;
    let path = path((project, hub, plan));
    Ok(document(&app.append_log(&caller, &path, log, &text).await?))
}

async fn read_log(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, log)): Segments<(String, String, PlanId, LogId)>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Reply {
    let start = parameters.parse("startline")?.unwrap_or(1).max(1);
    let end = parameters.parse("endline")?.unwrap_or(i64::MAX);
    let path = path((project, hub, plan));
    let cursor = app.open_log(&caller, &path, log, start, end).await?;
    Ok(if wants_document(&headers) {
        lines(app, cursor)
    } else {
        text(app, cursor)
    })
}

async fn raise_event(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(plan): Segments<(String, String, PlanId)>,
    Document(event): Document<JobEvent>,
) -> Reply {
    app.raise_event(&caller, &path(plan), &event).await?;
    Ok(done())
}
