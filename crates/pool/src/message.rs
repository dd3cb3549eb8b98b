//! The job message: composed when the job is queued, completed with its token when it is delivered.
//!
//! What is stored in between carries the job's secret variables and is sealed; the token is never stored.

use crate::rules::entities::{Repository as RepositoryEntity, Request};
use crate::rules::queueing::{SELF, is_self};
use dayfly_wire::ids::{RecordId, TaskId};
use dayfly_wire::job::{
    ACCESS_TOKEN, ACCESS_TOKEN_VARIABLE, Container, ENABLE_ACCESS_TOKEN, Endpoint,
    EndpointAuthorization, EndpointReference, JobMessage, MaskHint, PlanReference, Repository,
    RepositoryProperties, Resources, SYSTEM_CONNECTION, Step, TimelineReference, Variable,
    Workspace, builtin,
};
use dayfly_wire::message::kind;
use dayfly_wire::queue::{QueueJob, QueueStep, QueueVariable};
use dayfly_wire::secret::SecretText;
use dayfly_wire::timeline::TaskReference;
use std::collections::BTreeMap;
use uuid::Uuid;

/// 8 or more: the worker itself reports completion, by an event.
const PLAN_VERSION: i64 = 9;
/// How a job refers to its container.
const CONTAINER: &str = "job";
/// What jobs say of [`ENABLE_ACCESS_TOKEN`] whose scripts map the token.
const TOKEN_BY_MAPPING: &str = "SecretVariable";

/// A repository of the job with the commit that it is checked out at.
pub struct Resolved {
    /// How steps refer to it.
    pub alias: String,
    /// The repository.
    pub repository: RepositoryEntity,
    /// The full ref; absent when a commit was named.
    pub reference: Option<String>,
    /// The commit.
    pub version: String,
}

/// What the message says beside what the job asked for.
pub struct Facts<'a> {
    /// The request with its plan.
    pub request: &'a Request,
    /// The job's name in its run.
    pub job_name: &'a str,
    /// The service's URL, with the collection, without a trailing slash.
    pub base_url: &'a str,
    /// The service's id.
    pub instance: Uuid,
    /// The repositories, `self` first.
    pub repositories: &'a [Resolved],
    /// An id for each step.
    pub step_ids: &'a [Uuid],
}

/// Composes everything but the token.
pub fn compose(job: QueueJob, facts: &Facts<'_>) -> JobMessage {
    let request = facts.request;
    let mut variables = service_variables(facts);
    let enabled = if job.scripts_access_token {
        "true"
    } else {
        TOKEN_BY_MAPPING
    };
    variables.insert(ENABLE_ACCESS_TOKEN.to_owned(), Variable::read_only(enabled));
    let mut mask = Vec::new();
    for (name, variable) in job.variables {
        let variable = queued_variable(variable);
        if let Some(value) = variable.value.as_ref().filter(|value| !value.is_empty())
            && variable.is_secret
        {
            mask.push(mask_of(value));
        }
        variables.insert(name, variable);
    }
    let steps = job
        .steps
        .into_iter()
        .zip(facts.step_ids)
        .enumerate()
        .map(|(index, (step, id))| compose_step(step, RecordId(*id), index + 1))
        .collect();
    JobMessage {
        message_type: kind::JOB.to_owned(),
        plan: PlanReference {
            scope_identifier: request.plan.project,
            plan_type: "Build".to_owned(),
            version: PLAN_VERSION,
            plan_id: request.plan.id,
            plan_group: Some(format!(
                "Build:{}:{}",
                request.plan.project, request.plan.build
            )),
            artifact_uri: Some(format!("vstfs:///Build/Build/{}", request.plan.build)),
        },
        timeline: TimelineReference {
            id: request.plan.timeline,
            change_id: 1,
        },
        job_id: request.job,
        job_display_name: request.name.clone(),
        job_name: facts.job_name.to_owned(),
        job_container: job.container.as_ref().map(|_| CONTAINER.to_owned()),
        job_sidecar_containers: BTreeMap::new(),
        request_id: request.id,
        resources: Resources {
            endpoints: Vec::new(),
            repositories: facts
                .repositories
                .iter()
                .map(|resolved| compose_repository(resolved, facts.base_url))
                .collect(),
            secure_files: Vec::new(),
            containers: job
                .container
                .iter()
                .map(|image| Container::of_image(CONTAINER, image))
                .collect(),
        },
        workspace: Some(Workspace::default()),
        mask,
        variables,
        steps,
    }
}

/// Adds the job token, as the system connection, as the secret variable, and as something to mask.
pub fn with_token(
    mut message: JobMessage,
    token: &SecretText,
    base_url: &str,
    instance: Uuid,
) -> JobMessage {
    message.mask.push(mask_of(token));
    message.variables.insert(
        ACCESS_TOKEN_VARIABLE.to_owned(),
        Variable::secret(token.duplicate()),
    );
    message.resources.endpoints.push(Endpoint {
        id: None,
        name: SYSTEM_CONNECTION.to_owned(),
        kind: None,
        url: format!("{base_url}/"),
        data: [
            ("ServerId", instance.to_string()),
            ("ServerName", collection(base_url).to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        authorization: Some(EndpointAuthorization {
            scheme: "OAuth".to_owned(),
            parameters: [(ACCESS_TOKEN.to_owned(), token.duplicate())].into(),
        }),
        is_shared: false,
        is_ready: true,
    });
    message
}

/// The repository that `checkout: self` means.
pub fn own_repository(message: &JobMessage) -> Option<Uuid> {
    let repositories = message.resources.repositories.iter();
    let mut own = repositories.filter(|repository| repository.alias == SELF);
    own.next()?.properties.id.parse().ok()
}

/// Where a repository is cloned from.
pub fn clone_url(base_url: &str, repository: &RepositoryEntity) -> String {
    format!(
        "{base_url}/{}/_git/{}",
        repository.project.name, repository.name
    )
}

/// Whether a variable of this name belongs to the service.
pub fn is_set_by_service(name: &str) -> bool {
    SERVICE_VARIABLES
        .iter()
        .chain(&REPOSITORY_VARIABLES)
        .chain(&[ACCESS_TOKEN_VARIABLE, ENABLE_ACCESS_TOKEN])
        .any(|own| own.eq_ignore_ascii_case(name))
}

const SERVICE_VARIABLES: [&str; 25] = [
    "system",
    "system.hosttype",
    "system.servertype",
    "system.culture",
    "system.collectionId",
    "system.collectionUri",
    "system.teamFoundationCollectionUri",
    "system.taskDefinitionsUri",
    "system.teamProject",
    "system.teamProjectId",
    "system.definitionId",
    "system.definitionName",
    "system.planId",
    "system.timelineId",
    "system.jobId",
    "system.jobName",
    "system.jobDisplayName",
    "system.jobAttempt",
    "system.oidcRequestUri",
    "agent.readOnlyVariables",
    "build.buildId",
    "build.buildNumber",
    "build.buildUri",
    "build.definitionName",
    "build.containerId",
];

const REPOSITORY_VARIABLES: [&str; 7] = [
    "build.repository.id",
    "build.repository.name",
    "build.repository.uri",
    "build.repository.provider",
    "build.sourceBranch",
    "build.sourceBranchName",
    "build.sourceVersion",
];

fn service_variables(facts: &Facts<'_>) -> BTreeMap<String, Variable> {
    let Facts {
        request, base_url, ..
    } = facts;
    let plan = &request.plan;
    let collection_uri = format!("{base_url}/");
    let values: [String; 25] = [
        "build".to_owned(),
        "build".to_owned(),
        "OnPremises".to_owned(),
        "en-US".to_owned(),
        facts.instance.to_string(),
        collection_uri.clone(),
        collection_uri.clone(),
        collection_uri,
        plan.project_name.clone(),
        plan.project.to_string(),
        plan.definition.to_string(),
        plan.definition_name.clone(),
        plan.id.to_string(),
        plan.timeline.to_string(),
        request.job.to_string(),
        facts.job_name.to_owned(),
        request.name.clone(),
        "1".to_owned(),
        format!(
            "{base_url}/{}/_apis/distributedtask/hubs/Build/plans/{}/jobs/{}/oidctoken",
            plan.project, plan.id, request.job
        ),
        "true".to_owned(),
        plan.build.to_string(),
        plan.build_number.clone(),
        format!("vstfs:///Build/Build/{}", plan.build),
        plan.definition_name.clone(),
        plan.build.to_string(),
    ];
    let own = facts
        .repositories
        .iter()
        .find(|resolved| resolved.alias == SELF)
        .map(|resolved| repository_values(resolved, base_url));
    SERVICE_VARIABLES
        .into_iter()
        .zip(values)
        .chain(
            own.into_iter()
                .flat_map(|values| REPOSITORY_VARIABLES.into_iter().zip(values)),
        )
        .map(|(name, value)| (name.to_owned(), Variable::read_only(value)))
        .collect()
}

fn repository_values(resolved: &Resolved, base_url: &str) -> [String; 7] {
    let branch = resolved.reference.clone().unwrap_or_default();
    let short = branch.rsplit('/').next().unwrap_or_default().to_owned();
    [
        resolved.repository.id.to_string(),
        resolved.repository.name.clone(),
        clone_url(base_url, &resolved.repository),
        "TfsGit".to_owned(),
        branch,
        short,
        resolved.version.clone(),
    ]
}

fn queued_variable(variable: QueueVariable) -> Variable {
    match variable {
        QueueVariable::Plain(value) => Variable {
            value: Some(value),
            is_secret: false,
            is_read_only: false,
        },
        QueueVariable::Full(full) => Variable {
            value: Some(full.value),
            is_secret: full.is_secret,
            is_read_only: full.is_read_only,
        },
    }
}

fn compose_repository(resolved: &Resolved, base_url: &str) -> Repository {
    let repository = &resolved.repository;
    Repository {
        alias: resolved.alias.clone(),
        endpoint: Some(EndpointReference {
            name: Some(SYSTEM_CONNECTION.to_owned()),
            id: None,
        }),
        properties: RepositoryProperties {
            id: repository.id.to_string(),
            kind: "Git".to_owned(),
            version: resolved.version.clone(),
            name: repository.name.clone(),
            project: Some(repository.project.id.to_string()),
            default_branch: Some(repository.default_branch.clone()),
            reference: resolved.reference.clone(),
            url: clone_url(base_url, repository),
        },
    }
}

fn compose_step(step: QueueStep, id: RecordId, number: usize) -> Step {
    let mut inputs = step.inputs;
    let mut set = |name: &str, value: SecretText| {
        inputs.insert(name.to_owned(), value);
    };
    let reference = if let Some(script) = step.script {
        set("script", script);
        task(builtin::CMD_LINE, "CmdLine", "2.250.0")
    } else if let Some(script) = step.bash {
        set("targetType", "inline".into());
        set("script", script);
        task(builtin::BASH, "Bash", "3.250.0")
    } else if let Some(name) = step.checkout {
        let alias = if is_self(&name) {
            SELF.to_owned()
        } else {
            name
        };
        set("repository", alias.into());
        task(builtin::CHECKOUT, "Checkout", "1.0.0")
    } else {
        // The rules let no step through that is none of the four.
        step.task.map_or_else(
            || task(Uuid::nil(), "", ""),
            |named| TaskReference {
                id: named.id,
                name: named.name,
                version: named.version,
            },
        )
    };
    if let Some(directory) = step.working_directory {
        set("workingDirectory", directory.into());
    }
    Step {
        kind: "task".to_owned(),
        id,
        name: Some(
            step.name
                .unwrap_or_else(|| format!("{}{number}", reference.name)),
        ),
        display_name: Some(step.display_name.unwrap_or_else(|| reference.name.clone())),
        enabled: step.enabled.unwrap_or(true),
        condition: Some(step.condition.unwrap_or_else(|| "succeeded()".to_owned())),
        continue_on_error: step.continue_on_error,
        timeout_in_minutes: step.timeout_in_minutes,
        retry_count_on_task_failure: step.retry_count_on_task_failure,
        is_server_owned: None,
        reference,
        inputs,
        environment: step.env,
        target: step.target,
    }
}

fn task(id: Uuid, name: &str, version: &str) -> TaskReference {
    TaskReference {
        id: TaskId(id),
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

/// The collection: the last segment of the base URL.
fn collection(base_url: &str) -> &str {
    base_url.rsplit('/').next().unwrap_or_default()
}

fn mask_of(secret: &SecretText) -> MaskHint {
    MaskHint {
        kind: "regex".to_owned(),
        value: Some(SecretText::new(regex_of(secret.expose()))),
    }
}

/// A regular expression that matches this text and nothing else.
fn regex_of(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_matches_the_text_itself() {
        assert_eq!(regex_of("a.b+c (1)"), r"a\.b\+c \(1\)");
    }

    #[test]
    fn names_of_the_services_variables_are_compared_without_case() {
        assert!(is_set_by_service("Build.SourceVersion"));
        assert!(is_set_by_service("SYSTEM.ACCESSTOKEN"));
        assert!(!is_set_by_service("system.debug"));
    }
}
