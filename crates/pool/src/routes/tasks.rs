//! Task definitions.

use super::App;
use super::extract::{Authenticated, Parameters, Segments, incoming};
use super::reply::{Problem, Reply, document, done, file, list};
use crate::rules::access::Caller;
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::routing::{get, put};
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::TaskVersion;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_RANGE};

pub(crate) fn routes() -> Router<App> {
    const TASKS: &str = "/_apis/distributedtask/tasks";
    Router::new()
        .route(
            TASKS,
            get(all).merge(put(upload).layer(DefaultBodyLimit::disable())),
        )
        .route(
            &format!("{TASKS}/{{task}}"),
            get(of_task)
                .delete(remove)
                .merge(put(upload_of_task).layer(DefaultBodyLimit::disable())),
        )
        .route(
            &format!("{TASKS}/{{task}}/{{version}}"),
            get(one).delete(remove_version),
        )
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    let every = parameters.flag("allversions");
    Ok(list(app.tasks(&caller, None, every).await?))
}

async fn of_task(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(task): Segments<TaskId>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Reply {
    // Some clients name the version here, and not in the path.
    if let Some(version) = parameters.text("versionstring") {
        return version_of(&app, &caller, task, version, &headers).await;
    }
    let every = parameters.flag("allversions");
    Ok(list(app.tasks(&caller, Some(task), every).await?))
}

fn version(text: &str) -> Result<TaskVersion, Problem> {
    text.parse()
        .map_err(|why| Refusal::invalid(format!("version: {text:?}: {why}")).into())
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((task, version)): Segments<(TaskId, String)>,
    headers: HeaderMap,
) -> Reply {
    version_of(&app, &caller, task, &version, &headers).await
}

/// The archive for those who ask for one, the definition for everybody else.
async fn version_of(
    app: &App,
    caller: &Caller,
    task: TaskId,
    text: &str,
    headers: &HeaderMap,
) -> Reply {
    let found = app.task(caller, task, version(text)?).await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("application/zip")) {
        return Ok(document(&found.definition));
    }
    let archive = app.contents.read(&found.hash).await?;
    Ok(file(archive, found.bytes, Some("application/zip")))
}

async fn upload(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
    request: Request,
) -> Reply {
    app.check_task_upload(&caller)?;
    let archive = archive(&app, request).await?;
    let overwrite = parameters.flag("overwrite");
    let made = app.upload_task(&caller, None, overwrite, archive).await?;
    Ok(document(&made))
}

async fn upload_of_task(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(task): Segments<TaskId>,
    parameters: Parameters,
    request: Request,
) -> Reply {
    app.check_task_upload(&caller)?;
    let archive = archive(&app, request).await?;
    let overwrite = parameters.flag("overwrite");
    let made = app
        .upload_task(&caller, Some(task), overwrite, archive)
        .await?;
    Ok(document(&made))
}

/// The archive in one piece: clients name a range that is all of it.
async fn archive(app: &App, request: Request) -> Result<crate::content::Incoming, Problem> {
    let range = request.headers().get(CONTENT_RANGE);
    let range = range.map(|range| range.to_str().unwrap_or_default());
    if range.is_some_and(|range| !crate::rules::artifact::is_whole(range)) {
        return Err(Refusal::invalid("Content-Range: send the archive in one piece").into());
    }
    incoming(app, request, "a task", app.settings.limits.task_bytes).await
}

async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(task): Segments<TaskId>,
) -> Reply {
    app.delete_task(&caller, task, None).await?;
    Ok(done())
}

async fn remove_version(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((task, text)): Segments<(TaskId, String)>,
) -> Reply {
    app.delete_task(&caller, task, Some(version(&text)?))
        .await?;
    Ok(done())
}
