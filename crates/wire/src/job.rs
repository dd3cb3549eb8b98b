//! The job message: everything that a worker needs to run one job.
//!
//! It carries the job token and secret variables, so the types that hold them have no `Debug`.

use crate::ids::{JobId, PlanId, ProjectId, RecordId, RequestId, TimelineId};
use crate::secret::SecretText;
use crate::timeline::TaskReference;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The body of a `PipelineAgentJobRequest`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMessage {
    /// `PipelineAgentJobRequest`.
    #[serde(default)]
    pub message_type: String,
    /// The plan.
    pub plan: PlanReference,
    /// The timeline, which the service made already.
    pub timeline: TimelineReference,
    /// The job; also the id of its record.
    pub job_id: JobId,
    /// What a person reads.
    #[serde(default)]
    pub job_display_name: String,
    /// `__default` for a pipeline's only job.
    #[serde(default)]
    pub job_name: String,
    /// An alias into the containers, when the job asks for one.
    #[serde(default)]
    pub job_container: Option<String>,
    /// Containers beside the job's, by the name that it reaches them by; each an alias.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub job_sidecar_containers: BTreeMap<String, String>,
    /// Key of the job request calls.
    pub request_id: RequestId,
    /// Endpoints and repositories.
    #[serde(default)]
    pub resources: Resources,
    /// What to clean.
    #[serde(default)]
    pub workspace: Option<Workspace>,
    /// Texts to mask, beside the secret variables.
    #[serde(default, deserialize_with = "null_as_default")]
    pub mask: Vec<MaskHint>,
    /// Variables by name; names are compared without regard to case.
    #[serde(default, deserialize_with = "null_as_default")]
    pub variables: BTreeMap<String, Variable>,
    /// The steps, in order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub steps: Vec<Step>,
}

/// The plan, as the job message names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReference {
    /// The project.
    pub scope_identifier: ProjectId,
    /// `Build`; the hub name in URLs.
    #[serde(default)]
    pub plan_type: String,
    /// 8 or more: the worker reports completion by an event.
    #[serde(default)]
    pub version: i64,
    /// The plan.
    pub plan_id: PlanId,
    /// A grouping; not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_group: Option<String>,
    /// For example `vstfs:///Build/Build/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_uri: Option<String>,
}

/// The timeline, as the job message names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineReference {
    /// The timeline.
    pub id: TimelineId,
    /// Its last change.
    #[serde(default)]
    pub change_id: i64,
}

/// What to clean before the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// `outputs`, `resources` or `all`.
    #[serde(default)]
    pub clean: Option<String>,
}

/// A text to mask.
#[derive(Serialize, Deserialize)]
pub struct MaskHint {
    /// `regex` or `variable`; only `regex` means anything.
    #[serde(rename = "type")]
    pub kind: String,
    /// The expression or the variable's name.
    #[serde(default)]
    pub value: Option<SecretText>,
}

/// A variable of the job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// The value; every value is treated as if it might be secret.
    #[serde(default)]
    pub value: Option<SecretText>,
    /// Whether it is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_secret: bool,
    /// Whether a step may change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_read_only: bool,
}

impl Variable {
    /// A plain variable that steps may not change.
    pub fn read_only(value: impl Into<String>) -> Self {
        Self {
            value: Some(SecretText::new(value.into())),
            is_secret: false,
            is_read_only: true,
        }
    }

    /// A plain variable.
    pub fn plain(value: impl Into<String>) -> Self {
        Self {
            value: Some(SecretText::new(value.into())),
            is_secret: false,
            is_read_only: false,
        }
    }

    /// A secret variable.
    pub fn secret(value: SecretText) -> Self {
        Self {
            value: Some(value),
            is_secret: true,
            is_read_only: false,
        }
    }
}

/// What the job may use.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Service connections; exactly one is named [`SYSTEM_CONNECTION`].
    #[serde(default, deserialize_with = "null_as_default")]
    pub endpoints: Vec<Endpoint>,
    /// Repositories.
    #[serde(default, deserialize_with = "null_as_default")]
    pub repositories: Vec<Repository>,
    /// Secure files, each with the ticket that downloads it.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub secure_files: Vec<SecureFile>,
    /// Containers that the job, its steps or its services name.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub containers: Vec<Container>,
}

/// A container by its alias.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// How the job refers to it.
    pub alias: String,
    /// `image`, and what a container engine is told beside.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: BTreeMap<String, serde_json::Value>,
}

impl Container {
    /// A container of an image.
    pub fn of_image(alias: &str, image: &str) -> Self {
        Self {
            alias: alias.to_owned(),
            properties: [("image".to_owned(), image.into())].into(),
        }
    }

    /// Its image.
    pub fn image(&self) -> Option<&str> {
        let mut properties = self.properties.iter();
        let (_, image) = properties.find(|(name, _)| name.eq_ignore_ascii_case("image"))?;
        image.as_str()
    }
}

/// A file that the service keeps for its jobs.
#[derive(Serialize, Deserialize)]
pub struct SecureFile {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Downloads it, together with the job token.
    #[serde(default)]
    pub ticket: Option<SecretText>,
}

/// The endpoint that carries the job token and the service's URL.
pub const SYSTEM_CONNECTION: &str = "SystemVssConnection";

/// A service connection.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its id; absent for the system connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its kind; absent for the system connection.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub url: String,
    /// Further facts.
    #[serde(default, deserialize_with = "null_as_default")]
    pub data: BTreeMap<String, String>,
    /// How to authenticate.
    #[serde(default)]
    pub authorization: Option<EndpointAuthorization>,
    /// Whether other projects use it too.
    #[serde(default)]
    pub is_shared: bool,
    /// Whether it can be used.
    #[serde(default)]
    pub is_ready: bool,
}

/// How to authenticate with an endpoint.
#[derive(Serialize, Deserialize)]
pub struct EndpointAuthorization {
    /// For example `OAuth`.
    #[serde(default)]
    pub scheme: String,
    /// For example `AccessToken`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub parameters: BTreeMap<String, SecretText>,
}

/// The parameter of [`EndpointAuthorization`] that holds an OAuth token.
pub const ACCESS_TOKEN: &str = "AccessToken";
/// The variable with the job's token; it comes as a secret.
pub const ACCESS_TOKEN_VARIABLE: &str = "system.accessToken";
/// A variable that is true when every step and script is to see the job's token without mapping it.
pub const ENABLE_ACCESS_TOKEN: &str = "system.enableAccessToken";

/// A repository that the job may check out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// `self`, or the name that the pipeline gave it.
    pub alias: String,
    /// The endpoint that authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointReference>,
    /// The rest.
    #[serde(default)]
    pub properties: RepositoryProperties,
}

/// An endpoint by name or id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointReference {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What is known of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryProperties {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// `Git`, `GitHub`, ...
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The commit.
    #[serde(default)]
    pub version: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The branch that is checked out when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// The full ref.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where it is cloned from.
    #[serde(default)]
    pub url: String,
}

/// A step of the job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `task`, also when absent.
    #[serde(default = "task", rename = "type")]
    pub kind: String,
    /// The id of its timeline record.
    pub id: RecordId,
    /// The name that expressions use.
    #[serde(default)]
    pub name: Option<String>,
    /// What a person reads.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Disabled steps are not run.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it runs; absent or empty is `succeeded()`.
    #[serde(default)]
    pub condition: Option<String>,
    /// A failure becomes an issue.
    #[serde(default)]
    pub continue_on_error: bool,
    /// 0: no limit of its own.
    #[serde(default)]
    pub timeout_in_minutes: i64,
    /// At most 10.
    #[serde(default)]
    pub retry_count_on_task_failure: i64,
    /// Whether the task is one of the service's own, where the service says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_server_owned: Option<bool>,
    /// Which task.
    pub reference: TaskReference,
    /// The task's inputs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub inputs: BTreeMap<String, SecretText>,
    /// Environment that the step maps; may name secrets by macro.
    #[serde(default, deserialize_with = "null_as_default")]
    pub environment: BTreeMap<String, SecretText>,
    /// Where it runs, and what its output may say to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<StepTarget>,
}

/// Where a step runs, and what its output may say to the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTarget {
    /// A container by its alias; absent for where the job runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// [`RESTRICTED`], or absent for all logging commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<String>,
    /// Which variables its output may set; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settable_variables: Option<SettableVariables>,
}

/// Which variables the output of a step may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettableVariables {
    /// Names, and patterns with `*` and `?`; none of them allows nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    pub allowed: Vec<String>,
}

/// Only logging commands count that do no more than say something of the job itself.
pub const RESTRICTED: &str = "restricted";

fn task() -> String {
    "task".to_owned()
}

fn yes() -> bool {
    true
}

/// Ids of the tasks that an agent runs itself.
pub mod builtin {
    use uuid::{Uuid, uuid};

    /// Checks a repository out; never downloaded.
    pub const CHECKOUT: Uuid = uuid!("6d15af64-176c-496d-b583-fd2ae21d4df4");
    /// `script:`.
    pub const CMD_LINE: Uuid = uuid!("d9bafed4-0b18-4f58-968d-86655b4d2ce9");
    /// `bash:`.
    pub const BASH: Uuid = uuid!("6c731c3c-3c68-459a-a5c9-bde6e6595b5b");
    /// `pwsh:`.
    pub const POWER_SHELL: Uuid = uuid!("e213ff0f-5d5c-4791-802d-52ea3e7be1f1");
    /// Keeps files between runs; never downloaded itself.
    pub const CACHE: Uuid = uuid!("d53ccab4-555e-4494-9d06-11db043fb4a9");
    /// `download:`; never downloaded itself.
    pub const DOWNLOAD_ARTIFACT: Uuid = uuid!("61f2a582-95ae-4948-b34d-a1b3c4f6a737");
    /// The older way to publish; never downloaded itself.
    pub const PUBLISH_BUILD_ARTIFACTS: Uuid = uuid!("2ff763a7-ce83-4e1f-bc89-0ae63477cebe");
    /// The older way to download; never downloaded itself.
    pub const DOWNLOAD_BUILD_ARTIFACTS: Uuid = uuid!("a433f589-fce1-4460-9ee6-44a624aeb1fb");
    /// `publish:`; never downloaded itself.
    pub const PUBLISH_ARTIFACT: Uuid = uuid!("ecdc45f6-832d-4ad9-b52b-ee49e94659be");
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
