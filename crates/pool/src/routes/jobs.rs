//! Queueing jobs and following them; repositories.

use super::App;
use super::extract::{
    Authenticated, Document, OptionalDocument, Parameters, ProjectName, Segments,
};
use super::reply::{Reply, document, done, list};
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use dayfly_wire::ids::RequestId;
use dayfly_wire::queue::{CancelJob, GitRepository, QueueJob};

pub(crate) fn routes() -> Router<App> {
    const JOBS: &str = "/{project}/_apis/dayfly/jobs";
    Router::new()
        .route(JOBS, post(queue))
        .route(&format!("{JOBS}/{{request}}"), get(one))
        .route(&format!("{JOBS}/{{request}}/cancel"), post(cancel))
        .route(&format!("{JOBS}/{{request}}/feed"), get(follow))
        .route(
            "/{project}/_apis/git/repositories",
            get(repositories).post(create_repository),
        )
}

async fn queue(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    ProjectName(project): ProjectName,
    Document(job): Document<QueueJob>,
) -> Reply {
    Ok(document(&app.queue_job(&caller, &project, job).await?))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, request)): Segments<(String, RequestId)>,
) -> Reply {
    Ok(document(&app.job(&caller, &project, request).await?))
}

async fn cancel(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, request)): Segments<(String, RequestId)>,
    OptionalDocument(asked): OptionalDocument<CancelJob>,
) -> Reply {
    app.cancel_job(&caller, &project, request, asked.reason)
        .await?;
    Ok(done())
}

async fn follow(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, request)): Segments<(String, RequestId)>,
    parameters: Parameters,
) -> Reply {
    let after = parameters.parse("after")?.unwrap_or_default();
    let page = app.follow(&caller, &project, request, after).await?;
    Ok(document(&page))
}

async fn repositories(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
) -> Reply {
    Ok(list(app.repositories(&caller, &project).await?))
}

async fn create_repository(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    ProjectName(project): ProjectName,
    Document(draft): Document<GitRepository>,
) -> Reply {
    Ok(document(
        &app.create_repository(&caller, &project, &draft).await?,
    ))
}
