//! Projects and their repositories.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, millis, name_key, parsed, query};
use crate::rules::entities::{Project, Repository};
use dayfly_wire::ids::ProjectId;
use jiff::Timestamp;

fn project(row: &Row) -> Result<Project, StoreError> {
    Ok(Project {
        id: parsed(row, "id")?,
        name: column(row, "name")?,
        created_at: date(row, "created_at")?,
    })
}

/// Keeps a new project.
pub async fn insert(conn: &mut Conn, project: &Project) -> Result<(), StoreError> {
    query("INSERT INTO projects (id, name, name_key, created_at) VALUES ($1, $2, $3, $4)")
        .bind(project.id.to_string())
        .bind(&project.name)
        .bind(name_key(&project.name))
        .bind(millis(project.created_at))
        .execute(conn)
        .await?;
    Ok(())
}

/// The project that a path names, by id or by name.
pub async fn find(conn: &mut Conn, id_or_name: &str) -> Result<Option<Project>, StoreError> {
    let query = match id_or_name.parse::<ProjectId>() {
        Ok(id) => query("SELECT * FROM projects WHERE id = $1").bind(id.to_string()),
        Err(_) => query("SELECT * FROM projects WHERE name_key = $1").bind(name_key(id_or_name)),
    };
    let row = query.fetch_optional(conn).await?;
    row.as_ref().map(project).transpose()
}

/// All projects, by name.
pub async fn all(conn: &mut Conn) -> Result<Vec<Project>, StoreError> {
    let rows = query("SELECT * FROM projects ORDER BY name_key")
        .fetch_all(conn)
        .await?;
    rows.iter().map(project).collect()
}

fn repository(row: &Row) -> Result<Repository, StoreError> {
    Ok(Repository {
        id: parsed(row, "id")?,
        project: Project {
            id: parsed(row, "project_id")?,
            name: column(row, "project_name")?,
            created_at: date(row, "project_created_at")?,
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
    query(
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
    let row = query(
        "SELECT repositories.*, projects.name AS project_name, \
         projects.created_at AS project_created_at FROM repositories JOIN projects ON projects.id = project_id \
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
    let rows = query(
        "SELECT repositories.*, projects.name AS project_name, \
         projects.created_at AS project_created_at FROM repositories JOIN projects ON projects.id = project_id WHERE project_id = $1 \
         ORDER BY repositories.name_key",
    )
    .bind(project.to_string())
    .fetch_all(conn)
    .await?;
    rows.iter().map(repository).collect()
}
