//! Pipelines.

use super::StoreError;
use super::counters::{self, Counter};
use super::dialect::{
    Conn, Row, column, date, millis, name_key, optional_date, parsed, query, query_scalar,
};
use crate::rules::entities::{Definition, PipelineFile, Project, Repository};
use dayfly_wire::build::QueueStatus;
use dayfly_wire::ids::{DefinitionId, ProjectId};
use jiff::Timestamp;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT definitions.id, definitions.project_id, definitions.name, definitions.yaml_path, \
             definitions.queue_status, definitions.revision, definitions.created_at, definitions.problem, \
             definitions.repository_id, projects.name AS project_name, \
             projects.created_at AS project_created_at, repositories.name AS repository_name, \
             repositories.default_branch FROM definitions \
             JOIN projects ON projects.id = definitions.project_id \
             LEFT JOIN repositories ON repositories.id = definitions.repository_id ",
            $tail
        )
    };
}

fn definition(row: &Row) -> Result<Definition, StoreError> {
    let project = Project {
        id: parsed(row, "project_id")?,
        name: column(row, "project_name")?,
        created_at: date(row, "project_created_at")?,
    };
    let path: Option<String> = column(row, "yaml_path")?;
    let file = match path {
        Some(path) => Some(PipelineFile {
            repository: Repository {
                id: parsed(row, "repository_id")?,
                project: project.clone(),
                name: column(row, "repository_name")?,
                default_branch: column(row, "default_branch")?,
            },
            path,
        }),
        None => None,
    };
    Ok(Definition {
        id: DefinitionId(column(row, "id")?),
        project,
        name: column(row, "name")?,
        file,
        queue_status: QueueStatus::from_text(&column::<String>(row, "queue_status")?),
        revision: column(row, "revision")?,
        problem: column(row, "problem")?,
        created_at: optional_date(row, "created_at")?.unwrap_or_default(),
    })
}

/// The pipeline of this name, made when it is not there.
pub async fn named(
    conn: &mut Conn,
    project: &Project,
    name: &str,
    now: Timestamp,
) -> Result<DefinitionId, StoreError> {
    if let Some(id) = id_of(conn, project.id, name).await? {
        return Ok(id);
    }
    let id = DefinitionId(counters::next(conn, Counter::Definition).await?);
    let made = Definition {
        id,
        project: project.clone(),
        name: name.to_owned(),
        file: None,
        queue_status: QueueStatus::Enabled,
        revision: 1,
        problem: None,
        created_at: now,
    };
    insert(conn, &made).await?;
    Ok(id)
}

/// The id of the pipeline of this name.
pub async fn id_of(
    conn: &mut Conn,
    project: ProjectId,
    name: &str,
) -> Result<Option<DefinitionId>, StoreError> {
    let found: Option<i64> =
        query_scalar("SELECT id FROM definitions WHERE project_id = $1 AND name_key = $2")
            .bind(project.to_string())
            .bind(name_key(name))
            .fetch_optional(conn)
            .await?;
    Ok(found.map(DefinitionId))
}

/// Keeps a new pipeline.
pub async fn insert(conn: &mut Conn, definition: &Definition) -> Result<(), StoreError> {
    let file = definition.file.as_ref();
    query(
        "INSERT INTO definitions (id, project_id, name, name_key, repository_id, yaml_path, \
         queue_status, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(definition.id.0)
    .bind(definition.project.id.to_string())
    .bind(&definition.name)
    .bind(name_key(&definition.name))
    .bind(file.map(|file| file.repository.id.to_string()))
    .bind(file.map(|file| file.path.clone()))
    .bind(definition.queue_status.as_str())
    .bind(definition.revision)
    .bind(millis(definition.created_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a changed pipeline back.
pub async fn update(conn: &mut Conn, definition: &Definition) -> Result<(), StoreError> {
    let file = definition.file.as_ref();
    query(
        "UPDATE definitions SET name = $2, name_key = $3, repository_id = $4, yaml_path = $5, \
         queue_status = $6, revision = $7 WHERE id = $1",
    )
    .bind(definition.id.0)
    .bind(&definition.name)
    .bind(name_key(&definition.name))
    .bind(file.map(|file| file.repository.id.to_string()))
    .bind(file.map(|file| file.path.clone()))
    .bind(definition.queue_status.as_str())
    .bind(definition.revision)
    .execute(conn)
    .await?;
    Ok(())
}

/// The pipeline with this id.
pub async fn by_id(conn: &mut Conn, id: DefinitionId) -> Result<Option<Definition>, StoreError> {
    let row = query(select!("WHERE definitions.id = $1"))
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(definition).transpose()
}

/// A project's pipelines by name, at most so many.
pub async fn all(
    conn: &mut Conn,
    project: ProjectId,
    most: i64,
) -> Result<Vec<Definition>, StoreError> {
    let rows = query(select!(
        "WHERE definitions.project_id = $1 ORDER BY definitions.name_key LIMIT $2"
    ))
    .bind(project.to_string())
    .bind(most)
    .fetch_all(conn)
    .await?;
    rows.iter().map(definition).collect()
}

/// A repository's pipelines: those whose file is in it.
pub async fn of_repository(
    conn: &mut Conn,
    repository: uuid::Uuid,
) -> Result<Vec<Definition>, StoreError> {
    let rows = query(select!(
        "WHERE definitions.repository_id = $1 AND definitions.yaml_path IS NOT NULL \
         ORDER BY definitions.id"
    ))
    .bind(repository.to_string())
    .fetch_all(conn)
    .await?;
    rows.iter().map(definition).collect()
}

/// The repositories that pipelines have their files in.
pub async fn repositories(conn: &mut Conn) -> Result<Vec<Repository>, StoreError> {
    let rows = query(select!(
        "WHERE definitions.yaml_path IS NOT NULL ORDER BY definitions.repository_id, definitions.id"
    ))
    .fetch_all(conn)
    .await?;
    let mut found: Vec<Repository> = Vec::new();
    for row in &rows {
        let file = definition(row)?.file;
        if let Some(file) = file
            && found
                .last()
                .is_none_or(|last| last.id != file.repository.id)
        {
            found.push(file.repository);
        }
    }
    Ok(found)
}

/// Keeps why a push or a schedule did not queue a pipeline; nothing when it did.
pub async fn put_problem(
    conn: &mut Conn,
    id: DefinitionId,
    problem: Option<&str>,
) -> Result<(), StoreError> {
    query("UPDATE definitions SET problem = $2 WHERE id = $1")
        .bind(id.0)
        .bind(problem)
        .execute(conn)
        .await?;
    Ok(())
}
