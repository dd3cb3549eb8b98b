//! Commands about task definitions.

use crate::connect::Connection;
use crate::output::{self, Printed};
use anyhow::{Context, bail};
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::TaskVersion;
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Files of a task; the service takes no more either.
const MAX_FILES: usize = 20_000;
/// Bytes of a task's archive.
const MAX_ARCHIVE: u64 = 64 * 1024 * 1024;

/// Uploads a directory or an archive.
pub(crate) async fn upload(
    connection: &Connection,
    source: &Path,
    overwrite: bool,
) -> anyhow::Result<()> {
    let archive =
        archive(source).with_context(|| format!("failed to read {}", source.display()))?;
    let made = connection
        .client
        .upload_task(archive.into(), overwrite)
        .await?;
    output::remark(&format!(
        "uploaded task {} {} with id {}",
        made.name, made.version, made.id
    ));
    Ok(())
}

/// Every version of every task.
pub(crate) async fn list(connection: &Connection, printed: Printed) -> anyhow::Result<()> {
    let tasks = connection.client.tasks().await?;
    printed.list(&tasks, &["ID", "NAME", "VERSION"], |task| {
        vec![
            task.id.to_string(),
            task.name.clone(),
            task.version.to_string(),
        ]
    })
}

/// Removes a task or one version of it.
pub(crate) async fn delete(
    connection: &Connection,
    id: TaskId,
    version: Option<&str>,
) -> anyhow::Result<()> {
    let parsed = version.map(str::parse::<TaskVersion>).transpose();
    let parsed = parsed.map_err(|why| anyhow::anyhow!("--version: {why}"))?;
    connection.client.delete_task(id, parsed).await?;
    output::remark(&format!("task {id} is gone"));
    Ok(())
}

fn archive(source: &Path) -> anyhow::Result<Vec<u8>> {
    if source.is_dir() {
        return pack(source);
    }
    let length = std::fs::metadata(source)?.len();
    if length > MAX_ARCHIVE {
        bail!("an archive has at most {MAX_ARCHIVE} bytes");
    }
    Ok(std::fs::read(source)?)
}

/// An archive of a directory, the same one whenever its files are the same.
fn pack(directory: &Path) -> anyhow::Result<Vec<u8>> {
    if !directory.join("task.json").is_file() {
        bail!("there is no task.json; name the directory that has it");
    }
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort();
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for path in files {
        let name = path.strip_prefix(directory)?.to_str();
        let name = name.with_context(|| format!("{} is not UTF-8", path.display()))?;
        archive.start_file(name, SimpleFileOptions::default())?;
        std::io::copy(&mut File::open(&path)?, &mut archive)?;
    }
    let mut packed = archive.finish()?;
    packed.flush()?;
    Ok(packed.into_inner())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        } else {
            bail!("{} is neither file nor directory", entry.path().display());
        }
        if files.len() > MAX_FILES {
            bail!("a task has at most {MAX_FILES} files");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_packed_with_its_files_below_the_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        std::fs::write(directory.path().join("lib/a.js"), "1").unwrap();
        assert!(pack(directory.path()).is_err(), "there is no task.json");
        std::fs::write(directory.path().join("task.json"), "{}").unwrap();
        let packed = pack(directory.path()).unwrap();
        assert_eq!(packed, pack(directory.path()).unwrap());
        let archive = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        let names: Vec<_> = archive.file_names().map(Result::unwrap).collect();
        assert_eq!(names, ["lib/a.js", "task.json"]);
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        assert!(pack(directory.path()).is_err(), "links are not followed");
    }
}
