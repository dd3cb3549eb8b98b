//! Task definitions: what steps may run.

use crate::send::{Call, Download};
use crate::{Client, Error};
use bytes::Bytes;
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::{TaskDefinition, TaskVersion};
use reqwest::Method;
use std::time::Duration;

const TASKS: &str = "/_apis/distributedtask/tasks";
/// An archive takes longer than a document.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(20 * 60);

impl Client {
    /// Every version of every task.
    pub async fn tasks(&self) -> Result<Vec<TaskDefinition>, Error> {
        let call = self
            .call("list tasks", Method::GET, TASKS)
            .query("allVersions", "true");
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<TaskDefinition>>()?.value)
    }

    /// Uploads a task's archive; what it is stands in its `task.json`.
    pub async fn upload_task(
        &self,
        archive: Bytes,
        overwrite: bool,
    ) -> Result<TaskDefinition, Error> {
        let call = self
            .call("upload task", Method::PUT, TASKS)
            .query("overwrite", overwrite.to_string())
            .limit(ARCHIVE_LIMIT)
            .bytes(archive);
        self.send(call).await?.json()
    }

    /// Removes a task, or one version of it.
    pub async fn delete_task(&self, id: TaskId, version: Option<TaskVersion>) -> Result<(), Error> {
        let path = match version {
            Some(version) => format!("{TASKS}/{id}/{version}"),
            None => format!("{TASKS}/{id}"),
        };
        self.send(self.call("delete task", Method::DELETE, &path))
            .await
            .map(drop)
    }

    /// The archive of a task.
    pub async fn task_archive(&self, id: TaskId, version: TaskVersion) -> Result<Vec<u8>, Error> {
        let call = self.archive_call(id, version);
        Ok(self.send(call).await?.body.to_vec())
    }

    /// The archive of a task, in pieces; at most `most` bytes. Not tried again.
    pub async fn open_task_archive(
        &self,
        id: TaskId,
        version: TaskVersion,
        most: u64,
    ) -> Result<Download, Error> {
        self.open(&self.archive_call(id, version), most).await
    }

    fn archive_call(&self, id: TaskId, version: TaskVersion) -> Call {
        self.call(
            "download task",
            Method::GET,
            &format!("{TASKS}/{id}/{version}"),
        )
        .accept("application/zip;api-version=5.1-preview.1")
        .limit(ARCHIVE_LIMIT)
    }
}
