//! Pipelines, projects, and pools as projects see them.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments};
use super::pools::role;
use super::reply::{Problem, Reply, document, list, page};
use crate::ops::projects::QueueFilter;
use crate::rules::build_filter::MOST;
use crate::rules::definition::DefinitionFilter;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::build::DefinitionDraft;
use dayfly_wire::ids::DefinitionId;

pub(crate) fn routes() -> Router<App> {
    const DEFINITIONS: &str = "/{project}/_apis/build/definitions";
    const QUEUES: &str = "/{project}/_apis/distributedtask/queues";
    Router::new()
        .route(DEFINITIONS, get(definitions).post(create))
        .route(
            &format!("{DEFINITIONS}/{{definition}}"),
            get(definition).put(update),
        )
        .route(QUEUES, get(queues))
        .route(&format!("{QUEUES}/{{queue}}"), get(queue))
        .route("/_apis/projects", get(projects))
        .route("/_apis/projects/{project}", get(project))
}

fn filter(parameters: &Parameters) -> Result<DefinitionFilter, Problem> {
    let text = |name: &str| parameters.text(name).map(str::to_owned);
    let order = parameters.text("queryorder").unwrap_or_default();
    Ok(DefinitionFilter {
        name: text("name"),
        ids: parameters.numbers("definitionids")?,
        repository: text("repositoryid"),
        path: text("yamlfilename"),
        descending: order == "4" || order.eq_ignore_ascii_case("definitionNameDescending"),
        most: parameters.parse("$top")?.unwrap_or(MOST).min(MOST),
        after: parameters.parse("continuationtoken")?,
    })
}

async fn definitions(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
    parameters: Parameters,
) -> Reply {
    let filter = filter(&parameters)?;
    let (found, next) = app.definitions(&caller, &project, &filter).await?;
    Ok(page(found, next))
}

async fn definition(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, definition)): Segments<(String, DefinitionId)>,
) -> Reply {
    Ok(document(
        &app.definition(&caller, &project, definition).await?,
    ))
}

async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
    Document(draft): Document<DefinitionDraft>,
) -> Reply {
    Ok(document(
        &app.create_definition(&caller, &project, &draft).await?,
    ))
}

async fn update(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, definition)): Segments<(String, DefinitionId)>,
    Document(draft): Document<DefinitionDraft>,
) -> Reply {
    Ok(document(
        &app.update_definition(&caller, &project, definition, &draft)
            .await?,
    ))
}

async fn queues(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
    parameters: Parameters,
) -> Reply {
    let names = parameters
        .text("queuenames")
        .or_else(|| parameters.text("queuename"));
    let ids = match parameters.numbers("queueids")? {
        Some(ids) => Some(ids),
        None => parameters.numbers("poolids")?,
    };
    let filter = QueueFilter {
        names: names.map(|names| {
            names
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect()
        }),
        ids,
        role: Some(role(&parameters)?),
    };
    Ok(list(app.queues(&caller, &project, &filter).await?))
}

async fn queue(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, queue)): Segments<(String, i64)>,
) -> Reply {
    Ok(document(&app.queue(&caller, &project, queue).await?))
}

async fn projects(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    let skip = parameters.parse("$skip")?;
    let skip = skip.or(parameters.parse("continuationtoken")?).unwrap_or(0);
    let most = parameters.parse("$top")?.unwrap_or(MOST).min(MOST);
    let mut all = app.projects(&caller).await?;
    all.drain(..skip.min(all.len()));
    let next = (all.len() > most).then(|| (skip + most).to_string());
    all.truncate(most);
    Ok(page(all, next))
}

async fn project(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(project): Segments<String>,
) -> Reply {
    Ok(document(&app.project(&caller, &project).await?))
}
