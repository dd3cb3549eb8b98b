//! A PostgreSQL database for each test's service, where the tests are to run on PostgreSQL.

use super::TestError;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The variable with the URL of a server on which databases may be made; without it tests run on SQLite.
const SERVER: &str = "DAYFLY_TEST_POSTGRES";
/// Where a service's directory says which database belongs to it.
const FILE: &str = "database-url";

/// The file with the URL of the directory's database, which is made when it has none; none for SQLite.
pub(super) async fn url_file(directory: &Path) -> Result<Option<PathBuf>, TestError> {
    let Ok(server) = std::env::var(SERVER) else {
        return Ok(None);
    };
    let file = directory.join(FILE);
    if !file.exists() {
        std::fs::create_dir_all(directory)?;
        std::fs::write(&file, create(&server).await?)?;
    }
    Ok(Some(file))
}

/// Makes an empty database on a server; answers its URL.
pub async fn create(server: &str) -> Result<String, TestError> {
    let mut options: AnyConnectOptions = server.parse()?;
    let name = format!("dayfly_{}", Uuid::new_v4().simple());
    tell(&options, format!("CREATE DATABASE {name}")).await?;
    options.database_url.set_path(&name);
    Ok(options.database_url.to_string())
}

/// Every table of the directory's database as text, by its name; none for SQLite.
pub(super) async fn tables(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, TestError> {
    let Ok(url) = std::fs::read_to_string(directory.join(FILE)) else {
        return Ok(Vec::new());
    };
    let mut conn = AnyConnection::connect(&url).await?;
    let names = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
                 WHERE table_schema = 'public'";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut conn).await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let rows = format!("SELECT CAST(row_to_json({name}) AS TEXT) FROM {name}");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(rows))
            .fetch_all(&mut conn)
            .await?;
        tables.push((name, rows.join("\n").into_bytes()));
    }
    conn.close().await?;
    Ok(tables)
}

/// Removes the database of a directory, with whoever still uses it. It is called where nothing can be awaited.
pub(super) fn remove(directory: &Path) {
    let (Ok(server), Ok(url)) = (
        std::env::var(SERVER),
        std::fs::read_to_string(directory.join(FILE)),
    ) else {
        return;
    };
    let removing = std::thread::spawn(move || -> Result<(), TestError> {
        let (server, database): (AnyConnectOptions, AnyConnectOptions) =
            (server.parse()?, url.parse()?);
        let name = database.database_url.path().trim_start_matches('/');
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(tell(&server, statement))
    });
    // The server is a test's own and goes as a whole; a database that stays does no harm.
    let _ = removing.join();
}

async fn tell(server: &AnyConnectOptions, statement: String) -> Result<(), TestError> {
    sqlx::any::install_default_drivers();
    let mut conn = AnyConnection::connect_with(server).await?;
    conn.execute(AssertSqlSafe(statement)).await?;
    Ok(conn.close().await?)
}
