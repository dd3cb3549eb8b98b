//! Projects and their git repositories.

use crate::git;
use crate::message;
use crate::rules::access::{
    Caller, Scope, require_code_reader, require_code_writer, require_scope,
};
use crate::rules::entities::{Project, Repository};
use crate::rules::queueing::check_url_name;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service, Unit};
use crate::store::projects;
use dayfly_wire::ids::ProjectId;
use dayfly_wire::queue::GitRepository;
use std::path::PathBuf;
use uuid::Uuid;

const HEADS: &str = "refs/heads/";

impl Service {
    /// Where a repository lies: by its ids, so that no name ever becomes a path.
    pub fn repository_dir(&self, repository: &Repository) -> PathBuf {
        self.repositories_dir()
            .join(format!("{}.git", repository.id))
    }

    /// A project's repositories.
    pub async fn repositories(
        &self,
        caller: &Caller,
        project: &str,
    ) -> Result<Vec<GitRepository>, Failure> {
        let mut conn = self.store.read().await?;
        let project = projects::find(&mut conn, project).await?;
        let id = project
            .as_ref()
            .map_or(ProjectId(Uuid::nil()), |project| project.id);
        require_code_reader(caller, id)?;
        let all = projects::repositories(&mut conn, id).await?;
        Ok(all
            .iter()
            .map(|each| self.repository_document(each))
            .collect())
    }

    /// Makes an empty repository.
    pub async fn create_repository(
        &self,
        caller: &Caller,
        project: &str,
        draft: &GitRepository,
    ) -> Result<GitRepository, Failure> {
        require_scope(caller, Scope::CodeWrite)?;
        check_url_name("name", &draft.name)?;
        let branch = draft.default_branch.as_deref().unwrap_or("main");
        let branch = branch.strip_prefix(HEADS).unwrap_or(branch);
        git::check_reference("defaultBranch", branch)?;
        let mut unit = self.begin().await?;
        let project = ensure_project(&mut unit, project).await?;
        if projects::find_repository(unit.conn(), project.id, &draft.name)
            .await?
            .is_some()
        {
            return Err(Refusal::new(
                Kind::Exists,
                format!(
                    "project {} has a repository {:?} already",
                    project.name, draft.name
                ),
            )
            .into());
        }
        let repository = Repository {
            id: Uuid::new_v4(),
            project,
            name: draft.name.clone(),
            default_branch: format!("{HEADS}{branch}"),
        };
        let now = unit.now;
        projects::insert_repository(unit.conn(), &repository, now).await?;
        // A directory without a row is garbage of a crash; a row without a directory would be an error for everybody.
        git::init(&self.repository_dir(&repository), branch).await?;
        unit.commit().await?;
        Ok(self.repository_document(&repository))
    }

    /// The repository of a git path, for a caller who may read it, or write it.
    pub async fn repository_for_git(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        writing: bool,
    ) -> Result<Repository, Failure> {
        let mut conn = self.store.read().await?;
        let project = projects::find(&mut conn, project).await?;
        let id = project
            .as_ref()
            .map_or(ProjectId(Uuid::nil()), |project| project.id);
        let repository = projects::find_repository(&mut conn, id, name).await?;
        if writing {
            require_code_writer(caller, repository.as_ref())?;
        } else {
            require_code_reader(caller, id)?;
        }
        Ok(repository.ok_or_else(|| {
            Refusal::new(Kind::NotFound, format!("there is no repository {name:?}"))
        })?)
    }

    /// How many bytes a repository may still take.
    pub async fn repository_room(&self, repository: &Repository) -> Result<u64, Failure> {
        let directory = self.repository_dir(repository);
        let most = self.settings.limits.repository_bytes;
        let measured = tokio::task::spawn_blocking(move || git::size(&directory)).await;
        let used = measured
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(git::GitError::from)?;
        match most.checked_sub(used) {
            Some(room) if room > 0 => Ok(room),
            Some(_) | None => Err(Refusal::new(
                Kind::TooLarge,
                format!(
                    "repository {} has {used} bytes, and {most} is the most; remove what it does not need",
                    repository.name
                ),
            )
            .into()),
        }
    }

    fn repository_document(&self, repository: &Repository) -> GitRepository {
        GitRepository {
            id: repository.id.to_string(),
            name: repository.name.clone(),
            default_branch: Some(repository.default_branch.clone()),
            remote_url: Some(message::clone_url(&self.settings.public_url, repository)),
        }
    }
}

/// The project of this name or id, made when the name is new.
pub async fn ensure_project(unit: &mut Unit<'_>, id_or_name: &str) -> Result<Project, Failure> {
    if let Some(project) = projects::find(unit.conn(), id_or_name).await? {
        return Ok(project);
    }
    if id_or_name.parse::<ProjectId>().is_ok() {
        return Err(
            Refusal::new(Kind::NotFound, format!("there is no project {id_or_name}")).into(),
        );
    }
    check_url_name("project", id_or_name)?;
    let project = Project {
        id: ProjectId(Uuid::new_v4()),
        name: id_or_name.to_owned(),
        created_at: unit.now,
    };
    projects::insert(unit.conn(), &project).await?;
    Ok(project)
}
