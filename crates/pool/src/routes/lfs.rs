//! Git LFS: the batch call, and the large files themselves. There are no locks.

use super::App;
use super::extract::{Authenticated, Document, Segments, incoming};
use super::reply::{Problem, Reply, document, done, file};
use crate::rules::access::Caller;
use crate::rules::entities::Repository;
use crate::rules::lfs::ObjectId;
use crate::rules::refusal::{Kind, Refusal};
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use dayfly_wire::lfs::{Batch, MEDIA_TYPE, Operation};
use http::header::CONTENT_TYPE;

pub(crate) fn routes() -> Router<App> {
    const OBJECTS: &str = "/{project}/_git/{repository}/info/lfs/objects";
    Router::new()
        .route(&format!("{OBJECTS}/batch"), post(batch))
        .route(
            &format!("{OBJECTS}/{{object}}"),
            get(fetch).put(send).layer(DefaultBodyLimit::disable()),
        )
}

async fn repository(
    app: &App,
    caller: &Caller,
    project: &str,
    name: &str,
    writing: bool,
) -> Result<Repository, Problem> {
    let name = name.strip_suffix(".git").unwrap_or(name);
    Ok(app
        .repository_for_git(caller, project, name, writing)
        .await?)
}

fn id(text: &str) -> Result<ObjectId, Problem> {
    ObjectId::parse(text)
        .ok_or_else(|| Refusal::new(Kind::NotFound, "an object has 64 lower-case digits").into())
}

async fn batch(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, name)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    // Judged before the document is read, and again when it turns out to be about writing.
    repository(&app, &caller, &project, &name, false).await?;
    let Document(batch) = Document::<Batch>::from_request(request, &app).await?;
    let writing = batch.operation == Operation::Upload;
    let repository = repository(&app, &caller, &project, &name, writing).await?;
    let answer = app.large_files(&repository, &batch).await?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], document(&answer)).into_response())
}

async fn fetch(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, name, object)): Segments<(String, String, String)>,
) -> Reply {
    let repository = repository(&app, &caller, &project, &name, false).await?;
    let (content, bytes) = app.open_large_file(&repository, &id(&object)?).await?;
    Ok(file(content, bytes, None))
}

async fn send(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, name, object)): Segments<(String, String, String)>,
    request: Request,
) -> Reply {
    let repository = repository(&app, &caller, &project, &name, true).await?;
    let id = id(&object)?;
    let most = app.large_file_bytes(&repository).await?;
    let content = incoming(&app, request, "a large file", most).await?;
    app.keep_large_file(&repository, &id, content).await?;
    Ok(done())
}
