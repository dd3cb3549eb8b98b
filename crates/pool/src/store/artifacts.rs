//! Files of runs' containers, and the artifacts that name them.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, document, json, millis, name_key, query, truth};
use dayfly_wire::artifact::{ArtifactResource, BuildArtifact};
use dayfly_wire::ids::BuildId;
use jiff::Timestamp;
use uuid::Uuid;

/// A file of a container.
#[derive(Clone, Debug)]
pub struct ContainerFile {
    /// The run.
    pub build: BuildId,
    /// Its path.
    pub path: String,
    /// How long it is, unpacked.
    pub bytes: i64,
    /// How many bytes travel.
    pub total: i64,
    /// How many came.
    pub received: i64,
    /// Whether it travels packed.
    pub gzip: bool,
    /// Where it is collected until it is whole.
    pub upload: Option<Uuid>,
    /// Its content once it is whole.
    pub hash: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

fn file(row: &Row) -> Result<ContainerFile, StoreError> {
    let upload: Option<String> = column(row, "upload")?;
    let upload = upload.map(|text| text.parse()).transpose();
    Ok(ContainerFile {
        build: BuildId(column(row, "build_id")?),
        path: column(row, "path")?,
        bytes: column(row, "bytes")?,
        total: column(row, "total")?,
        received: column(row, "received")?,
        gzip: truth(row, "gzip")?,
        upload: upload.map_err(|_| StoreError::Malformed { what: "upload" })?,
        hash: column(row, "hash")?,
        created_at: date(row, "created_at")?,
        changed_at: date(row, "changed_at")?,
    })
}

/// Keeps a file, new or changed; when it was begun stays.
pub async fn put_file(conn: &mut Conn, file: &ContainerFile) -> Result<(), StoreError> {
    query(
        "INSERT INTO container_files \
         (build_id, path, bytes, total, received, gzip, upload, hash, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (build_id, path) DO UPDATE \
         SET bytes = excluded.bytes, total = excluded.total, received = excluded.received, \
         gzip = excluded.gzip, upload = excluded.upload, hash = excluded.hash, \
         changed_at = excluded.changed_at",
    )
    .bind(file.build.0)
    .bind(&file.path)
    .bind(file.bytes)
    .bind(file.total)
    .bind(file.received)
    .bind(i64::from(file.gzip))
    .bind(file.upload.map(|upload| upload.to_string()))
    .bind(&file.hash)
    .bind(millis(file.created_at))
    .bind(millis(file.changed_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// One file.
pub async fn find_file(
    conn: &mut Conn,
    build: BuildId,
    path: &str,
) -> Result<Option<ContainerFile>, StoreError> {
    let row = query("SELECT * FROM container_files WHERE build_id = $1 AND path = $2")
        .bind(build.0)
        .bind(path)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(file).transpose()
}

/// The files of a container, all or those at and below a path, in order.
pub async fn files(
    conn: &mut Conn,
    build: BuildId,
    below: Option<&str>,
) -> Result<Vec<ContainerFile>, StoreError> {
    let query = match below {
        // No LIKE: what it makes of % and of case differs from database to database.
        Some(path) => query(
            "SELECT * FROM container_files WHERE build_id = $1 \
             AND (path = $2 OR SUBSTR(path, 1, LENGTH($2) + 1) = $2 || '/') ORDER BY path",
        )
        .bind(build.0)
        .bind(path),
        None => {
            query("SELECT * FROM container_files WHERE build_id = $1 ORDER BY path").bind(build.0)
        }
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(file).collect()
}

/// How many files a container has, and how many bytes.
pub async fn usage(conn: &mut Conn, build: BuildId) -> Result<(i64, i64), StoreError> {
    let row = query(
        "SELECT COUNT(*) AS files, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes \
         FROM container_files WHERE build_id = $1",
    )
    .bind(build.0)
    .fetch_one(conn)
    .await?;
    Ok((column(&row, "files")?, column(&row, "bytes")?))
}

fn artifact(row: &Row) -> Result<BuildArtifact, StoreError> {
    Ok(BuildArtifact {
        id: column(row, "id")?,
        name: column(row, "name")?,
        source: column(row, "source")?,
        resource: ArtifactResource {
            kind: column(row, "kind")?,
            data: column(row, "data")?,
            properties: document(row, "properties")?,
            ..ArtifactResource::default()
        },
    })
}

/// Keeps a new artifact.
pub async fn insert(
    conn: &mut Conn,
    build: BuildId,
    artifact: &BuildArtifact,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO artifacts (id, build_id, name, name_key, source, kind, data, properties, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(artifact.id)
    .bind(build.0)
    .bind(&artifact.name)
    .bind(name_key(&artifact.name))
    .bind(&artifact.source)
    .bind(&artifact.resource.kind)
    .bind(&artifact.resource.data)
    .bind(json("properties", &artifact.resource.properties)?)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// A run's artifact of this name, whatever its case.
pub async fn find(
    conn: &mut Conn,
    build: BuildId,
    name: &str,
) -> Result<Option<BuildArtifact>, StoreError> {
    let row = query("SELECT * FROM artifacts WHERE build_id = $1 AND name_key = $2")
        .bind(build.0)
        .bind(name_key(name))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(artifact).transpose()
}

/// A run's artifacts, in the order in which they were made.
pub async fn all(conn: &mut Conn, build: BuildId) -> Result<Vec<BuildArtifact>, StoreError> {
    let rows = query("SELECT * FROM artifacts WHERE build_id = $1 ORDER BY id")
        .bind(build.0)
        .fetch_all(conn)
        .await?;
    rows.iter().map(artifact).collect()
}
