//! A git repository in the pool service, filled by the real git.

use crate::Result;
use crate::names::PROJECT;
use crate::service::Service;
use anyhow::Context;
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use tokio::process::Command;

/// One commit on `main`. The token is handed over in the environment, never on the command line.
const PUSH: &str = r#"set -e
git init -q -b main
git add -A
git -c user.name=e2e -c user.email=e2e@example.test commit -q -m 'First commit'
git -c credential.helper='!f() { echo username=e2e; echo "password=$PUSH_PAT"; }; f' push -q --force "$1" main"#;

/// Makes the repository and pushes one commit with these files to its branch `main`.
pub async fn push(service: &Service, name: &str, files: &[(&str, &str)]) -> Result<()> {
    let path = format!("/{PROJECT}/_apis/git/repositories");
    service
        .rest(Method::POST, &path, Some(json!({ "name": name })))
        .await?;
    let directory = std::env::temp_dir().join(format!("dayfly-e2e-{}", uuid::Uuid::new_v4()));
    let outcome = commit_and_push(service, name, files, &directory).await;
    tokio::fs::remove_dir_all(&directory).await?;
    outcome
}

async fn commit_and_push(
    service: &Service,
    name: &str,
    files: &[(&str, &str)],
    directory: &Path,
) -> Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    for (file, text) in files {
        tokio::fs::write(directory.join(file), text).await?;
    }
    let url = format!("{}/{PROJECT}/_git/{name}", service.base_url);
    let output = Command::new("bash")
        .args(["-c", PUSH, "push", &url])
        .current_dir(directory)
        .env("PUSH_PAT", service.pat().expose())
        .env("GIT_TERMINAL_PROMPT", "0")
        .kill_on_drop(true)
        .output()
        .await
        .context("failed to start git")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "failed to push to {url}: {complaint}"
    );
    Ok(())
}
