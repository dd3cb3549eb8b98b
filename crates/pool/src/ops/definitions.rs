//! Pipelines: list, read, make, change.

use super::projects::existing_project;
use super::triggers::begin_triggers;
use crate::rules::access::{Caller, Scope, require_build_reader, require_scope};
use crate::rules::build::definition as document;
use crate::rules::definition::{DefinitionFilter, change, checked_name, named_file, queue_status};
use crate::rules::entities::{Definition, PipelineFile, Project, Repository};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service, Unit};
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::{definitions, projects};
use dayfly_wire::build::{BuildDefinition, DefinitionDraft, QueueStatus};
use dayfly_wire::ids::DefinitionId;

/// Pipelines of a project that a list call looks through.
const MOST: i64 = 10_000;

impl Service {
    /// A project's pipelines, and what the next call says to go on.
    pub async fn definitions(
        &self,
        caller: &Caller,
        project: &str,
        filter: &DefinitionFilter,
    ) -> Result<(Vec<BuildDefinition>, Option<DefinitionId>), Failure> {
        let mut conn = self.store.read().await?;
        let project = existing_project(&mut conn, project).await?;
        require_build_reader(caller, project.id)?;
        let all = definitions::all(&mut conn, project.id, MOST).await?;
        let (found, more) = filter.select(all);
        let token = found.last().map(|last| last.id);
        let base = &self.settings.public_url;
        Ok((
            found.iter().map(|each| document(each, base)).collect(),
            token.filter(|_| more),
        ))
    }

    /// One pipeline.
    pub async fn definition(
        &self,
        caller: &Caller,
        project: &str,
        id: DefinitionId,
    ) -> Result<BuildDefinition, Failure> {
        let mut conn = self.store.read().await?;
        let project = existing_project(&mut conn, project).await?;
        require_build_reader(caller, project.id)?;
        let found = existing_definition(&mut conn, &project, id).await?;
        Ok(document(&found, &self.settings.public_url))
    }

    /// Makes a pipeline of a file in a repository.
    pub async fn create_definition(
        &self,
        caller: &Caller,
        project: &str,
        draft: &DefinitionDraft,
    ) -> Result<BuildDefinition, Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let name = checked_name(draft)?;
        let mut unit = self.begin().await?;
        let project = existing_project(unit.conn(), project).await?;
        check_free(&mut unit, &project, &name, None).await?;
        let repository = repository(&mut unit, &project, draft).await?;
        let made = Definition {
            id: DefinitionId(counters::next(unit.conn(), Counter::Definition).await?),
            project,
            name,
            file: Some(PipelineFile {
                repository,
                path: named_file(draft)?.path,
            }),
            queue_status: queue_status(draft).unwrap_or(QueueStatus::Enabled),
            revision: 1,
            problem: None,
            created_at: unit.now,
        };
        definitions::insert(unit.conn(), &made).await?;
        begin_triggers(&mut unit, &made).await?;
        unit.commit().await?;
        Ok(document(&made, &self.settings.public_url))
    }

    /// Changes a pipeline.
    pub async fn update_definition(
        &self,
        caller: &Caller,
        project: &str,
        id: DefinitionId,
        draft: &DefinitionDraft,
    ) -> Result<BuildDefinition, Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let name = checked_name(draft)?;
        let mut unit = self.begin().await?;
        let project = existing_project(unit.conn(), project).await?;
        let mut changed = existing_definition(unit.conn(), &project, id).await?;
        check_free(&mut unit, &project, &name, Some(id)).await?;
        let repository = repository(&mut unit, &project, draft).await?;
        change(&mut changed, draft, repository)?;
        definitions::update(unit.conn(), &changed).await?;
        begin_triggers(&mut unit, &changed).await?;
        unit.commit().await?;
        Ok(document(&changed, &self.settings.public_url))
    }
}

/// A project's pipeline, or the refusal that says that it is not there.
pub async fn existing_definition(
    conn: &mut Conn,
    project: &Project,
    id: DefinitionId,
) -> Result<Definition, Failure> {
    let found = definitions::by_id(conn, id).await?;
    Ok(found
        .filter(|definition| definition.project.id == project.id)
        .ok_or_else(|| {
            Refusal::new(
                Kind::DefinitionNotFound,
                format!("there is no pipeline {id} in project {}", project.name),
            )
        })?)
}

/// No other pipeline of the project has this name.
async fn check_free(
    unit: &mut Unit<'_>,
    project: &Project,
    name: &str,
    own: Option<DefinitionId>,
) -> Result<(), Failure> {
    let found = definitions::id_of(unit.conn(), project.id, name).await?;
    if found.is_some() && found != own {
        return Err(Refusal::new(
            Kind::Exists,
            format!("project {} has a pipeline {name:?} already", project.name),
        )
        .into());
    }
    Ok(())
}

async fn repository(
    unit: &mut Unit<'_>,
    project: &Project,
    draft: &DefinitionDraft,
) -> Result<Repository, Failure> {
    let named = named_file(draft)?.repository;
    let found = projects::find_repository(unit.conn(), project.id, &named).await?;
    Ok(found.ok_or_else(|| {
        Refusal::invalid(format!(
            "repository: there is no repository {named:?} in project {}",
            project.name
        ))
    })?)
}
