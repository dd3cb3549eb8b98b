//! Task definitions: upload, find, remove.

use crate::archive;
use crate::content::Incoming;
use crate::rules::access::{Caller, Scope, require_task_reader};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::role::require_in_every_pool;
use crate::rules::{limits, task};
use crate::service::{Failure, Service};
use crate::store::tasks::{self, Task};
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::{TaskDefinition, TaskVersion};

/// Versions of tasks that are kept.
const MAX_TASKS: i64 = 5000;

impl Service {
    /// Whether this caller may upload tasks; asked before the archive is read.
    pub fn check_task_upload(&self, caller: &Caller) -> Result<(), Failure> {
        Ok(require_in_every_pool(caller, Scope::AgentPoolsManage)?)
    }

    /// Keeps a task whose archive was written. A version that is there already is replaced only if that is said:
    /// agents keep what they downloaded under its version.
    pub async fn upload_task(
        &self,
        caller: &Caller,
        id: Option<TaskId>,
        overwrite: bool,
        mut incoming: Incoming,
    ) -> Result<TaskDefinition, Failure> {
        self.check_task_upload(caller)?;
        let path = incoming.finish().await?;
        let inspected = tokio::task::spawn_blocking(move || archive::inspect(&path)).await;
        let definition =
            inspected.map_err(|_| Failure::Key("an archive could not be read".to_owned()))??;
        if let Some(id) = id.filter(|id| *id != definition.id) {
            return Err(Refusal::invalid(format!(
                "task.json: id: the path says {id}, the archive {}",
                definition.id
            ))
            .into());
        }
        let content = self.contents.keep(incoming).await?;
        let mut unit = self.begin().await?;
        let now = unit.now;
        let (id, version) = (definition.id, definition.version);
        let existing = tasks::find(unit.conn(), id, version).await?;
        if existing.is_some() && !overwrite {
            return Err(Refusal::new(
                Kind::TaskExists,
                format!("task {id} has a version {version} already; raise it, or overwrite it"),
            )
            .into());
        }
        if existing.is_none() && tasks::count(unit.conn()).await? >= MAX_TASKS {
            return Err(limits::too_many("the service", "versions of tasks", MAX_TASKS).into());
        }
        let task = Task {
            definition,
            hash: content.hash,
            bytes: content.bytes,
        };
        tasks::put(unit.conn(), &task, now).await?;
        unit.commit().await?;
        tracing::info!(task = %id, %version, name = task.definition.name, "a task was uploaded");
        Ok(task.definition)
    }

    /// Task definitions: of one task or all, the newest of each major version or every version.
    pub async fn tasks(
        &self,
        caller: &Caller,
        id: Option<TaskId>,
        every_version: bool,
    ) -> Result<Vec<TaskDefinition>, Failure> {
        require_task_reader(caller)?;
        let mut conn = self.store.read().await?;
        let all = tasks::all(&mut conn, id).await?;
        if let Some(id) = id.filter(|_| all.is_empty()) {
            return Err(task::not_found(id, None).into());
        }
        Ok(if every_version {
            all
        } else {
            task::newest(all)
        })
    }

    /// One version of a task, with where its archive is.
    pub async fn task(
        &self,
        caller: &Caller,
        id: TaskId,
        version: TaskVersion,
    ) -> Result<Task, Failure> {
        require_task_reader(caller)?;
        let mut conn = self.store.read().await?;
        let found = tasks::find(&mut conn, id, version).await?;
        Ok(found.ok_or_else(|| task::not_found(id, Some(version)))?)
    }

    /// Removes a task, or one version of it.
    pub async fn delete_task(
        &self,
        caller: &Caller,
        id: TaskId,
        version: Option<TaskVersion>,
    ) -> Result<(), Failure> {
        require_in_every_pool(caller, Scope::AgentPoolsManage)?;
        let mut unit = self.begin().await?;
        if tasks::delete(unit.conn(), id, version).await? == 0 {
            return Err(task::not_found(id, version).into());
        }
        unit.commit().await?;
        Ok(())
    }
}
