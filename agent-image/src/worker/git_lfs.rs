//! Large files of a checkout, by git-lfs.

use super::git::Git;
use super::step::{Running, StepError};
use std::path::Path;

/// What `git lfs install` would write.
const FILTERS: [(&str, &str); 4] = [
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.required", "true"),
];
impl Git {
    /// From now on files are checked out whole, not as pointers, also by git commands of later steps.
    pub(crate) async fn use_large_files(
        &mut self,
        step: &mut Running<'_>,
        directory: &Path,
    ) -> Result<(), StepError> {
        if !self.succeeds(step, directory, &["lfs", "version"]).await? {
            return Err(StepError::Failed(
                "The agent's image has no git-lfs; add it, or set lfs: false.".to_owned(),
            ));
        }
        for (key, value) in FILTERS {
            self.run(step, directory, &["config", key, value]).await?;
        }
        // For every call of git here, and so for those that git makes in submodules.
        self.settings.extend(FILTERS);
        Ok(())
    }

    /// Fetches a commit's large files. What cannot be had now is asked for again by the checkout, which then fails.
    pub(crate) async fn fetch_large_files(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        commit: &str,
    ) -> Result<(), StepError> {
        // A repository may say in its `.lfsconfig` where its large files are; git-lfs looks for that in HEAD.
        self.run(
            step,
            directory,
            &["update-ref", "--no-deref", "HEAD", commit],
        )
        .await?;
        let arguments = ["lfs", "fetch", "origin", commit];
        match self.try_to_run(step, directory, &arguments).await {
            Err(StepError::Failed(reason)) => {
                step.record.warning(&reason);
                Ok(())
            }
            other => other,
        }
    }
}
