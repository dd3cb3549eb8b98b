//! The variables that the agent sets, beside those of the job message. Pure.

use crate::control::Facts;
use dayfly_wire::job::{JobMessage, Repository, Step, builtin};

/// What steps find of themselves while they run.
pub(crate) const TASK_VARIABLES: [&str; 5] = [
    "task.displayname",
    "task.publishTelemetry",
    "system.taskDisplayName",
    "system.taskInstanceId",
    "system.taskInstanceName",
];

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
        ("agent.acceptteeeula", "False".to_owned()),
        ("system.isazurevm", "0".to_owned()),
        ("system.isdockercontainer", "1".to_owned()),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ("VSTS_PROCESS_LOOKUP_ID", format!("vsts_{}", message.job_id)),
        ("TF_BUILD", "True".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some((connection, _)) = super::system_connection(message) {
        let name = "system.TeamFoundationServerUri".to_owned();
        variables.push((name, connection.url.clone()));
    }
    let own = checkout_variables(message);
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(repository) = primary_repository(message) {
        variables.extend(repository_variables(repository));
    }
    variables
}

/// The values of [`TASK_VARIABLES`].
pub(crate) fn task_variables(step: &Step, name: &str) -> [(&'static str, String); 5] {
    let values = [
        name.to_owned(),
        "False".to_owned(),
        name.to_owned(),
        step.id.to_string(),
        step.name.clone().unwrap_or_default(),
    ];
    let [a, b, c, d, e] = values;
    let [one, two, three, four, five] = TASK_VARIABLES;
    [(one, a), (two, b), (three, c), (four, d), (five, e)]
}

/// What the checkout of `self` says, for those who ask the variables.
fn checkout_variables(message: &JobMessage) -> [(&'static str, String); 2] {
    let own = message.steps.iter().find(|step| {
        let repository = input(step, "repository");
        step.reference.id.0 == builtin::CHECKOUT
            && repository.is_some_and(|alias| alias.eq_ignore_ascii_case("self"))
    });
    let said = |name| {
        own.and_then(|step| input(step, name))
            .filter(|it| !it.is_empty())
    };
    let submodules = said("submodules").is_some();
    [
        (
            "build.repository.clean",
            said("clean").unwrap_or("False").to_owned(),
        ),
        (
            "build.repository.git.submodulecheckout",
            if submodules { "True" } else { "False" }.to_owned(),
        ),
    ]
}

fn input<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
    let mut inputs = step.inputs.iter();
    let (_, value) = inputs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.expose())
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
