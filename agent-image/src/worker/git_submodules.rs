//! Submodules of a checkout. Only HTTP is spoken, whatever `.gitmodules` says.

use super::git::Git;
use super::step::{Running, StepError};
use std::path::Path;

/// Which submodules are checked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submodules {
    None,
    /// Those of the repository.
    Own,
    /// Those of submodules too.
    Recursive,
}

impl Submodules {
    /// Reads the step's input.
    pub(crate) fn parse(input: Option<&str>) -> Result<Self, StepError> {
        let input = input.unwrap_or_default().to_lowercase();
        match input.as_str() {
            "" | "false" => Ok(Self::None),
            "true" => Ok(Self::Own),
            "recursive" => Ok(Self::Recursive),
            other => Err(StepError::Failed(format!(
                "submodules: '{other}' is neither true nor false nor recursive."
            ))),
        }
    }

    fn argument(self) -> Option<&'static str> {
        (self == Self::Recursive).then_some("--recursive")
    }
}

impl Git {
    /// Checks submodules out.
    pub(crate) async fn update_submodules(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        submodules: Submodules,
        depth: Option<u32>,
    ) -> Result<(), StepError> {
        let mut arguments = vec!["submodule", "sync"];
        arguments.extend(submodules.argument());
        self.run(step, directory, &arguments).await?;
        let depth = depth.map(|depth| format!("--depth={depth}"));
        let mut arguments = vec!["submodule", "update", "--init", "--force"];
        arguments.extend(depth.as_deref());
        arguments.extend(submodules.argument());
        self.try_to_run(step, directory, &arguments).await
    }

    /// Lets later git commands, also those in submodules, read one more file of configuration.
    pub(crate) async fn include(
        &self,
        step: &mut Running<'_>,
        directory: &Path,
        submodules: Submodules,
        file: &str,
    ) -> Result<(), StepError> {
        self.run(step, directory, &["config", "include.path", file])
            .await?;
        if submodules == Submodules::None {
            return Ok(());
        }
        let command = format!("git config include.path '{file}'");
        let mut arguments = vec!["submodule", "--quiet", "foreach"];
        arguments.extend(submodules.argument());
        arguments.push(&command);
        self.run(step, directory, &arguments).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_one_of_three_words() {
        for (input, expected) in [
            (None, Some(Submodules::None)),
            (Some("False"), Some(Submodules::None)),
            (Some("true"), Some(Submodules::Own)),
            (Some("Recursive"), Some(Submodules::Recursive)),
            (Some("all"), None),
        ] {
            assert_eq!(Submodules::parse(input).ok(), expected, "{input:?}");
        }
    }
}
