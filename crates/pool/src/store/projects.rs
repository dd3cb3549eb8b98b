//! Projects, their pipelines and their repositories.

use super::StoreError;
use super::counters::{self, Counter};
use super::dialect::{Conn, Row, column, millis, name_key, parsed};
use crate::rules::entities::{Project, Repository};
use dayfly_wire::ids::{DefinitionId, ProjectId};
use jiff::Timestamp;

fn project(row: &Row) -> Result<Project, StoreError> {
    Ok(Project {
        id: parsed(row, "id")?,
        name: column(row, "name")?,
    })
}

/// Keeps a new project.
pub async fn insert(conn: &mut Conn, project: &Project, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO projects (id, name, name_key, created_at) VALUES ($1, $2, $3, $4)")
        .bind(project.id.to_string())
        .bind(&project.name)
        .bind(name_key(&project.name))
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The project that a path names, by id or by name.
pub async fn find(conn: &mut Conn, id_or_name: &str) -> Result<Option<Project>, StoreError> {
    let query = match id_or_name.parse::<ProjectId>() {
        Ok(id) => sqlx::query("SELECT * FROM projects WHERE id = $1").bind(id.to_string()),
        Err(_) => {
            sqlx::query("SELECT * FROM projects WHERE name_key = $1").bind(name_key(id_or_name))
        }
    };
    let row = query.fetch_optional(conn).await?;
    row.as_ref().map(project).transpose()
}

/// The pipeline of this name, made when it is not there.
pub async fn definition(
    conn: &mut Conn,
    project: &Project,
    name: &str,
    now: Timestamp,
) -> Result<DefinitionId, StoreError> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT id FROM definitions WHERE project_id = $1 AND name_key = $2")
            .bind(project.id.to_string())
            .bind(name_key(name))
            .fetch_optional(&mut *conn)
            .await?;
    if let Some(id) = found {
        return Ok(DefinitionId(id));
    }
    let id = counters::next(conn, Counter::Definition).await?;
    sqlx::query(
        "INSERT INTO definitions (id, project_id, name, name_key, created_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(project.id.to_string())
    .bind(name)
    .bind(name_key(name))
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(DefinitionId(id))
}

fn repository(row: &Row) -> Result<Repository, StoreError> {
    Ok(Repository {
        id: parsed(row, "id")?,
        project: Project {
            id: parsed(row, "project_id")?,
            name: column(row, "project_name")?,
        },
        name: column(row, "name")?,
        default_branch: column(row, "default_branch")?,
    })
}

/// Keeps a new repository.
pub async fn insert_repository(
    conn: &mut Conn,
    repository: &Repository,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO repositories (id, project_id, name, name_key, default_branch, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(repository.id.to_string())
    .bind(repository.project.id.to_string())
    .bind(&repository.name)
    .bind(name_key(&repository.name))
    .bind(&repository.default_branch)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// A project's repository by name or id.
pub async fn find_repository(
    conn: &mut Conn,
    project: ProjectId,
    id_or_name: &str,
) -> Result<Option<Repository>, StoreError> {
    let row = sqlx::query(
        "SELECT repositories.*, projects.name AS project_name FROM repositories \
         JOIN projects ON projects.id = project_id \
         WHERE project_id = $1 AND (repositories.name_key = $2 OR repositories.id = $2)",
    )
    .bind(project.to_string())
    .bind(name_key(id_or_name))
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(repository).transpose()
}

/// A project's repositories.
pub async fn repositories(
    conn: &mut Conn,
    project: ProjectId,
) -> Result<Vec<Repository>, StoreError> {
    let rows = sqlx::query(
        "SELECT repositories.*, projects.name AS project_name FROM repositories \
         JOIN projects ON projects.id = project_id WHERE project_id = $1 \
         ORDER BY repositories.name_key",
    )
    .bind(project.to_string())
    .fetch_all(conn)
    .await?;
    rows.iter().map(repository).collect()
}
