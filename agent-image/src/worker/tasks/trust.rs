//! Which tasks are given the job's token. Pure.

use crate::args::TokenForTasks;
use uuid::{Uuid, uuid};

/// Tasks of the service's maker that do nothing useful without the token.
const LISTED: [Uuid; 10] = [
    uuid!("2ff763a7-ce83-4e1f-bc89-0ae63477cebe"), // PublishBuildArtifacts
    uuid!("a433f589-fce1-4460-9ee6-44a624aeb1fb"), // DownloadBuildArtifacts
    uuid!("0b0f01ed-7dde-43ff-9cbb-e48954daf9b1"), // PublishTestResults
    uuid!("2a6ca863-f2ce-4f4d-8bcb-15e64608ec4b"), // DownloadSecureFile
    uuid!("333b11bd-d341-40d9-afcf-b32d5ce6f23b"), // NuGetCommand
    uuid!("f5fd8599-ccfa-4d6e-b965-4d14bed7097b"), // NuGetAuthenticate
    uuid!("fe47e961-9fa8-4106-8639-368c022d43ad"), // Npm
    uuid!("ad884ca2-732e-4b85-b2d3-ed71bcbd2788"), // npmAuthenticate
    uuid!("5541a522-603c-47ad-91fc-a4b1d163081b"), // DotNetCoreCLI
    uuid!("31c75bbb-bcdf-4706-8d7c-4da6a1959bc2"), // NodeTool
];

/// Whether a task is given the token. That its files are what the service served is checked before every run,
/// whatever the setting.
pub(crate) fn is_given_token(
    setting: TokenForTasks,
    task: Uuid,
    server_owned: Option<bool>,
) -> bool {
    match setting {
        TokenForTasks::Installed => true,
        TokenForTasks::Listed => LISTED.contains(&task) && server_owned != Some(false),
        TokenForTasks::None => false,
    }
}

/// The one line for a task that is not given the token.
pub(crate) fn refusal(setting: TokenForTasks, task: &str) -> String {
    let why = match setting {
        TokenForTasks::Listed => "and this task is not on the built-in list",
        TokenForTasks::Installed | TokenForTasks::None => "so no task is",
    };
    format!(
        "The task {task} is not given the job's token: tokenForTasks is '{setting}' in the AgentPool, {why}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenForTasks::{Installed, Listed, None};

    #[test]
    fn the_setting_decides_and_the_message_may_only_take_away() {
        let (listed, other) = (LISTED[2], Uuid::from_u128(7));
        for (setting, task, owned, given) in [
            (Installed, other, Option::None, true),
            (Installed, other, Some(false), true),
            (Listed, listed, Option::None, true),
            (Listed, listed, Some(true), true),
            (Listed, listed, Some(false), false),
            (Listed, other, Some(true), false),
            (None, listed, Some(true), false),
        ] {
            assert_eq!(
                is_given_token(setting, task, owned),
                given,
                "{setting} {task} {owned:?}"
            );
        }
    }

    #[test]
    fn a_refusal_names_the_setting() {
        assert!(refusal(Listed, "Greet").contains("tokenForTasks is 'listed'"));
    }
}
