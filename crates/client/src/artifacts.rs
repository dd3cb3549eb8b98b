//! Artifacts: files in a run's container, and their names.

use crate::send::Download;
use crate::{Client, Error};
use bytes::Bytes;
use dayfly_wire::artifact::{BuildArtifact, ContainerItem};
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::{BuildId, ProjectId};
use reqwest::Method;
use std::time::Duration;

/// A piece of a file takes longer than a document, and a whole file longer than a piece.
const PIECE_LIMIT: Duration = Duration::from_secs(5 * 60);
const FILE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A part of a file: `bytes` of a file of `total` bytes, from `start` on.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The first byte's place.
    pub start: u64,
    /// The whole file's length.
    pub total: u64,
    /// The bytes; all of them when the file is empty.
    pub bytes: Bytes,
}

impl Client {
    /// Sends a piece of a container's file; pieces follow one another, and a piece may be sent again.
    pub async fn upload_piece(
        &self,
        project: ProjectId,
        container: BuildId,
        path: &str,
        piece: Piece,
    ) -> Result<(), Error> {
        let call = self
            .call("upload file", Method::PUT, &container_path(container))
            .query("itemPath", path)
            .query("scope", project.to_string())
            .limit(PIECE_LIMIT);
        let length = piece.bytes.len() as u64;
        let call = match length {
            0 => call,
            length => call.header(
                "Content-Range",
                format!(
                    "bytes {}-{}/{}",
                    piece.start,
                    piece.start + length - 1,
                    piece.total
                ),
            ),
        };
        self.send(call.bytes(piece.bytes)).await.map(drop)
    }

    /// What a container has at and below a path.
    pub async fn container_items(
        &self,
        project: ProjectId,
        container: BuildId,
        path: &str,
    ) -> Result<Vec<ContainerItem>, Error> {
        let call = self
            .call("list files", Method::GET, &container_path(container))
            .query("itemPath", path)
            .query("scope", project.to_string());
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<ContainerItem>>()?.value)
    }

    /// A file of a container, in pieces; at most `most` bytes. Not tried again.
    pub async fn open_container_file(
        &self,
        project: ProjectId,
        container: BuildId,
        path: &str,
        most: u64,
    ) -> Result<Download, Error> {
        let call = self
            .call("download file", Method::GET, &container_path(container))
            .query("itemPath", path)
            .query("scope", project.to_string())
            .query("$format", "OctetStream")
            .accept("application/octet-stream;api-version=7.1-preview.4")
            .limit(FILE_LIMIT);
        self.open(&call, most).await
    }

    /// Names an artifact of a run.
    pub async fn publish_artifact(
        &self,
        project: ProjectId,
        run: BuildId,
        artifact: &BuildArtifact,
    ) -> Result<BuildArtifact, Error> {
        let call = self
            .call("publish artifact", Method::POST, &artifacts(project, run))
            .json(artifact)?;
        self.send(call).await?.json()
    }

    /// A run's artifacts.
    pub async fn artifacts(
        &self,
        project: ProjectId,
        run: BuildId,
    ) -> Result<Vec<BuildArtifact>, Error> {
        let call = self.call("list artifacts", Method::GET, &artifacts(project, run));
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<BuildArtifact>>()?.value)
    }
}

fn container_path(container: BuildId) -> String {
    format!("/_apis/resources/Containers/{container}")
}

fn artifacts(project: ProjectId, run: BuildId) -> String {
    format!("/{project}/_apis/build/builds/{run}/artifacts")
}
