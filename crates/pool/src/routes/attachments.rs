//! Attachments of records.

use super::App;
use super::extract::{Authenticated, OriginalSegments, Segments, incoming, wants_document};
use super::reply::{Reply, document, file, list};
use crate::ops::attachments::AttachmentPath;
use crate::ops::plans::PlanPath;
use crate::rules::refusal::{Kind, Refusal};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::routing::get;
use dayfly_wire::ids::{PlanId, RecordId, TimelineId};
use http::HeaderMap;

pub(crate) fn routes() -> Router<App> {
    const PLAN: &str = "/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}";
    let record = format!("{PLAN}/timelines/{{timeline}}/records/{{record}}/attachments");
    Router::new()
        .route(&format!("{record}/{{type}}"), get(of_record))
        .route(
            &format!("{record}/{{type}}/{{name}}"),
            get(one).put(put).layer(DefaultBodyLimit::disable()),
        )
        .route(&format!("{PLAN}/attachments/{{type}}"), get(of_plan))
}

type OneSegments = (String, String, PlanId, TimelineId, RecordId, String, String);

/// Type and name as the client wrote them: their case matters.
fn path(
    (project, hub, plan, timeline, record, _, _): OneSegments,
    OriginalSegments(mut segments): OriginalSegments,
) -> Result<AttachmentPath, Refusal> {
    let nothing = || Refusal::new(Kind::NotFound, "there is nothing at this path");
    let name = segments.pop().ok_or_else(nothing)?;
    let kind = segments.pop().ok_or_else(nothing)?;
    Ok(AttachmentPath {
        plan: PlanPath { project, hub, plan },
        timeline,
        record,
        kind,
        name,
    })
}

async fn put(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(segments): Segments<OneSegments>,
    original: OriginalSegments,
    request: Request,
) -> Reply {
    let path = path(segments, original)?;
    app.check_attachment(&caller, &path).await?;
    let most = app.settings.limits.attachment_bytes;
    let content = incoming(&app, request, "an attachment", most).await?;
    Ok(document(
        &app.put_attachment(&caller, &path, content).await?,
    ))
}

/// What it is for those who ask for a document, its content for everybody else.
async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(segments): Segments<OneSegments>,
    original: OriginalSegments,
    headers: HeaderMap,
) -> Reply {
    let path = path(segments, original)?;
    let (described, found) = app.attachment(&caller, &path).await?;
    if wants_document(&headers) {
        return Ok(document(&described));
    }
    let content = app.contents.read(&found.hash).await?;
    Ok(file(content, found.bytes, None))
}

async fn of_record(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, timeline, record, _)): Segments<(
        String,
        String,
        PlanId,
        TimelineId,
        RecordId,
        String,
    )>,
    OriginalSegments(mut segments): OriginalSegments,
) -> Reply {
    let kind = segments.pop().unwrap_or_default();
    let path = PlanPath { project, hub, plan };
    let found = app
        .record_attachments(&caller, &path, timeline, record, &kind)
        .await?;
    Ok(list(found))
}

async fn of_plan(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, _)): Segments<(String, String, PlanId, String)>,
    OriginalSegments(mut segments): OriginalSegments,
) -> Reply {
    let kind = segments.pop().unwrap_or_default();
    let path = PlanPath { project, hub, plan };
    Ok(list(app.plan_attachments(&caller, &path, &kind).await?))
}
