//! Projects, and pools as projects see them.

use crate::rules::access::{Caller, Scope, require_administrator, require_scope};
use crate::rules::build::{project as document, queue};
use crate::rules::entities::Project;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::role::{Role, has_role};
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::{pools, projects};
use dayfly_wire::build::{AgentQueue, ProjectReference};

/// Which queues are wanted. What is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// One of these names.
    pub names: Option<Vec<String>>,
    /// One of these, as queues or as pools: their ids are the same.
    pub ids: Option<Vec<i64>>,
    /// Those in which the caller has at least this role; a reader's without it.
    pub role: Option<Role>,
}

impl Service {
    /// All projects, by name.
    pub async fn projects(&self, caller: &Caller) -> Result<Vec<ProjectReference>, Failure> {
        require_administrator(caller)?;
        let mut conn = self.store.read().await?;
        let all = projects::all(&mut conn).await?;
        let base = &self.settings.public_url;
        Ok(all.iter().map(|project| document(project, base)).collect())
    }

    /// One project, by id or name.
    pub async fn project(&self, caller: &Caller, name: &str) -> Result<ProjectReference, Failure> {
        require_administrator(caller)?;
        let mut conn = self.store.read().await?;
        let project = existing_project(&mut conn, name).await?;
        Ok(document(&project, &self.settings.public_url))
    }

    /// A project's queues: every pool that the caller may see.
    pub async fn queues(
        &self,
        caller: &Caller,
        project: &str,
        filter: &QueueFilter,
    ) -> Result<Vec<AgentQueue>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        let mut conn = self.store.read().await?;
        let project = existing_project(&mut conn, project).await?;
        let all = pools::all(&mut conn).await?;
        let wanted = all.iter().map(|(pool, _)| pool).filter(|pool| {
            let named = |names: &Vec<String>| {
                names
                    .iter()
                    .any(|name| name.to_lowercase() == pool.name.to_lowercase())
            };
            has_role(caller, pool.id, filter.role.unwrap_or(Role::Reader))
                && filter.names.as_ref().is_none_or(named)
                && filter
                    .ids
                    .as_ref()
                    .is_none_or(|ids| ids.contains(&pool.id.0))
        });
        Ok(wanted
            .map(|pool| queue(pool.id, &pool.name, project.id))
            .collect())
    }

    /// One queue.
    pub async fn queue(
        &self,
        caller: &Caller,
        project: &str,
        id: i64,
    ) -> Result<AgentQueue, Failure> {
        let filter = QueueFilter {
            ids: Some(vec![id]),
            ..QueueFilter::default()
        };
        let found = self.queues(caller, project, &filter).await?;
        Ok(found
            .into_iter()
            .next()
            .ok_or_else(|| Refusal::new(Kind::NotFound, format!("there is no agent queue {id}")))?)
    }
}

/// The project, or the refusal that says that it is not there.
pub async fn existing_project(conn: &mut Conn, id_or_name: &str) -> Result<Project, Failure> {
    let project = projects::find(conn, id_or_name).await?;
    Ok(project.ok_or_else(|| {
        Refusal::new(
            Kind::ProjectNotFound,
            format!("there is no project {id_or_name:?}"),
        )
    })?)
}
