//! Large files of repositories. They lie beside git's own objects, where git's LFS client would put them too.

use crate::content::Incoming;
use crate::message;
use crate::rules::entities::Repository;
use crate::rules::lfs::{self, ObjectId};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use dayfly_wire::lfs::{Batch, BatchAnswer, Operation};
use std::path::PathBuf;

impl Service {
    /// What a client is to do about a batch of large files.
    pub async fn large_files(
        &self,
        repository: &Repository,
        batch: &Batch,
    ) -> Result<BatchAnswer, Failure> {
        lfs::check(batch)?;
        let room = match batch.operation {
            Operation::Download => 0,
            Operation::Upload => self.large_file_room(repository).await?,
        };
        let clone_url = message::clone_url(&self.settings.public_url, repository);
        let base_url = format!("{clone_url}.git/info/lfs/objects");
        let kept = |id: &ObjectId| {
            let metadata = std::fs::metadata(self.large_file(repository, id)).ok()?;
            i64::try_from(metadata.len()).ok()
        };
        let limits = &self.settings.limits;
        Ok(lfs::answer(batch, kept, room, limits, &base_url))
    }

    /// How many bytes a large file of this repository may have.
    pub async fn large_file_bytes(&self, repository: &Repository) -> Result<i64, Failure> {
        let room = self.large_file_room(repository).await?;
        Ok(room.min(self.settings.limits.large_file_bytes))
    }

    async fn large_file_room(&self, repository: &Repository) -> Result<i64, Failure> {
        let room = self.repository_room(repository).await?;
        Ok(i64::try_from(room).unwrap_or(i64::MAX))
    }

    /// Keeps a large file that was written; content of another name is refused.
    pub async fn keep_large_file(
        &self,
        repository: &Repository,
        id: &ObjectId,
        incoming: Incoming,
    ) -> Result<(), Failure> {
        let target = self.large_file(repository, id);
        let name = id.to_string();
        if self.contents.keep_as(incoming, &name, &target).await? {
            return Ok(());
        }
        Err(Refusal::invalid(format!(
            "the body is not what its name {id} says; send it again"
        ))
        .into())
    }

    /// A large file, and its length.
    pub async fn open_large_file(
        &self,
        repository: &Repository,
        id: &ObjectId,
    ) -> Result<(tokio::fs::File, i64), Failure> {
        let opened = crate::content::open(&self.large_file(repository, id)).await?;
        Ok(opened
            .ok_or_else(|| Refusal::new(Kind::NotFound, format!("there is no object {id}")))?)
    }

    fn large_file(&self, repository: &Repository, id: &ObjectId) -> PathBuf {
        let name = id.to_string();
        let (first, rest) = name.split_at(2);
        let second = rest.get(..2).unwrap_or_default();
        self.repository_dir(repository)
            .join("lfs/objects")
            .join(first)
            .join(second)
            .join(&name)
    }
}
