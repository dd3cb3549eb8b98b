//! The variables that the agent sets, beside those of the job message. Pure.

use crate::control::Facts;
use dayfly_wire::job::{JobMessage, Repository};

/// Names and values; no step may change them.
pub(crate) fn system_variables(
    facts: &Facts,
    message: &JobMessage,
    architecture: &str,
) -> Vec<(String, String)> {
    let work = facts.job_work.trim_end_matches('/');
    let build = format!("{work}/1");
    let sources = format!("{build}/s");
    let staging = format!("{build}/a");
    let mut variables: Vec<(String, String)> = [
        ("agent.id", facts.agent_id.to_string()),
        ("agent.name", facts.agent_name.clone()),
        ("agent.machinename", facts.machine_name.clone()),
        ("agent.version", facts.agent_version.clone()),
        ("agent.os", "Linux".to_owned()),
        ("agent.osarchitecture", architecture.to_owned()),
        ("agent.isselfhosted", "1".to_owned()),
        ("agent.jobname", message.job_display_name.clone()),
        ("agent.homedirectory", work.to_owned()),
        ("agent.RootDirectory", work.to_owned()),
        ("agent.workfolder", work.to_owned()),
        ("system.workfolder", work.to_owned()),
        ("agent.ToolsDirectory", format!("{work}/_tool")),
        ("agent.TempDirectory", format!("{work}/_temp")),
        ("agent.builddirectory", build.clone()),
        ("pipeline.workspace", build.clone()),
        ("build.sourcesdirectory", sources.clone()),
        ("build.repository.localpath", sources.clone()),
        ("system.defaultworkingdirectory", sources),
        ("build.artifactstagingdirectory", staging.clone()),
        ("build.stagingdirectory", staging.clone()),
        ("system.artifactsdirectory", staging),
        ("build.binariesdirectory", format!("{build}/b")),
        (
            "common.testresultsdirectory",
            format!("{build}/TestResults"),
        ),
        ("agent.runMode", "once".to_owned()),
        ("TF_BUILD", "True".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(repository) = primary_repository(message) {
        variables.extend(repository_variables(repository));
    }
    variables
}

/// `self`, or the only one.
fn primary_repository(message: &JobMessage) -> Option<&Repository> {
    let repositories = &message.resources.repositories;
    match repositories.as_slice() {
        [only] => Some(only),
        all => all
            .iter()
            .find(|repository| repository.alias.eq_ignore_ascii_case("self")),
    }
}

fn repository_variables(repository: &Repository) -> Vec<(String, String)> {
    let properties = &repository.properties;
    let provider = if properties.kind.eq_ignore_ascii_case("git") {
        "TfsGit"
    } else {
        &properties.kind
    };
    [
        ("build.repository.id", properties.id.as_str()),
        ("build.repository.name", &properties.name),
        ("pipeline.repository.name", &properties.name),
        ("build.repository.provider", provider),
        ("build.repository.uri", &properties.url),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
