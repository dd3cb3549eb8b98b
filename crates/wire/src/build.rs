//! Runs and pipelines ("builds" and "definitions"), as the Build REST area writes them.

use crate::date;
use crate::enums::wire_enum;
use crate::ids::{BuildId, DefinitionId, LogId, PlanId, PoolId, ProjectId, TimelineId};
use crate::timeline::Record;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

wire_enum! {
    /// Where a run is in its life.
    BuildStatus {
        /// At least one job was taken by an agent.
        InProgress = 1 as "inProgress",
        /// Every job has ended.
        Completed = 2 as "completed",
        /// Its end was asked for, and some job has not ended.
        Cancelling = 4 as "cancelling",
        /// No job was taken yet.
        NotStarted = 32 as "notStarted",
    }
}

wire_enum! {
    /// How a run ended.
    BuildResult {
        /// All went well.
        Succeeded = 2 as "succeeded",
        /// Ended well, with warnings or errors that were allowed.
        PartiallySucceeded = 4 as "partiallySucceeded",
        /// A job failed.
        Failed = 8 as "failed",
        /// Ended because somebody asked for it.
        Canceled = 32 as "canceled",
    }
}

wire_enum! {
    /// Why there is a run.
    BuildReason {
        /// Somebody queued it.
        Manual = 1 as "manual",
        /// A push.
        IndividualCi = 2 as "individualCI",
        /// Several pushes at once.
        BatchedCi = 4 as "batchedCI",
        /// A schedule.
        Schedule = 8 as "schedule",
        /// Another run's end.
        BuildCompletion = 512 as "buildCompletion",
    }
}

wire_enum! {
    /// Whether a pipeline may be queued.
    QueueStatus {
        /// It may.
        Enabled = 0 as "enabled",
        /// It may, by hand only.
        Paused = 1 as "paused",
        /// It may not.
        Disabled = 2 as "disabled",
    }
}

/// A person or a program, as far as the service knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityReference {
    /// The same for the same name.
    #[serde(default)]
    pub id: Uuid,
    /// What a person reads.
    #[serde(default)]
    pub display_name: String,
    /// The same.
    #[serde(default)]
    pub unique_name: String,
}

/// A project, as other documents refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectReference {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Where it is read.
    #[serde(default)]
    pub url: String,
    /// `wellFormed`.
    #[serde(default)]
    pub state: String,
    /// Always 1.
    #[serde(default)]
    pub revision: i64,
    /// `private`.
    #[serde(default)]
    pub visibility: String,
    /// When it was made: nothing else about it changes.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_update_time: Option<Timestamp>,
}

/// A pool, as a queue refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolReference {
    /// Its id.
    pub id: PoolId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Whether the service's own machines serve it.
    #[serde(default)]
    pub is_hosted: bool,
    /// `automation`.
    #[serde(default)]
    pub pool_type: String,
}

/// A pool, as a project sees it. Here every project sees every pool, under the pool's own id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentQueue {
    /// Its id.
    pub id: i64,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolReference>,
}

/// The repository of a run or a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRepository {
    /// Its id.
    #[serde(default)]
    pub id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// `TfsGit`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Where it is cloned from.
    #[serde(default)]
    pub url: Option<String>,
    /// The branch of a run that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
}

/// A pipeline, as other documents refer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionReference {
    /// Its id.
    #[serde(default)]
    pub id: DefinitionId,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The folder that it is in: always the topmost one.
    #[serde(default)]
    pub path: Option<String>,
    /// `build`.
    #[serde(default, rename = "type")]
    pub kind: Option<DefinitionKind>,
    /// Whether it may be queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_status: Option<QueueStatus>,
    /// Increases with every change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Where it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `vstfs:///Build/Definition/N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectReference>,
    /// When it was made.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_date: Option<Timestamp>,
}

wire_enum! {
    /// What kind of pipeline it is.
    DefinitionKind {
        /// Of the oldest kind, which there is not here.
        Xaml = 1 as "xaml",
        /// A pipeline.
        Build = 2 as "build",
    }
}

/// A pipeline with what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// What other documents say of it too.
    #[serde(flatten)]
    pub reference: DefinitionReference,
    /// Its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<BuildProcess>,
    /// The file's repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<BuildRepository>,
    /// The pool service's own: why a push or a schedule did not queue it last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A pipeline that somebody makes or changes. Clients send back whole definitions; only this is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionDraft {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The folder; there is none but the topmost one.
    #[serde(default)]
    pub path: Option<String>,
    /// The revision that is changed.
    #[serde(default)]
    pub revision: Option<i64>,
    /// Whether it may be queued.
    #[serde(default)]
    pub queue_status: Option<QueueStatus>,
    /// Its file.
    #[serde(default)]
    pub process: Option<BuildProcess>,
    /// The file's repository.
    #[serde(default)]
    pub repository: Option<BuildRepository>,
}

/// What a pipeline runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildProcess {
    /// [`YAML`].
    #[serde(default, rename = "type")]
    pub kind: i64,
    /// The path of the file in its repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaml_filename: Option<String>,
}

/// The kind of process that is a file.
pub const YAML: i64 = 2;

/// A plan, as a run refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildPlan {
    /// Its id.
    pub plan_id: PlanId,
}

/// A stored log, as builds refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildLog {
    /// Its id in the run.
    pub id: LogId,
    /// `Container`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is read.
    pub url: String,
    /// When it was made.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_on: Option<Timestamp>,
    /// When it was last appended to.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_changed_on: Option<Timestamp>,
    /// How many lines it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_count: Option<i64>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where to.
    pub href: String,
}

/// The links of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLinks {
    /// The run.
    #[serde(rename = "self")]
    pub own: Link,
    /// Its timeline.
    pub timeline: Link,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Where it and its parts are read.
    #[serde(rename = "_links")]
    pub links: BuildLinks,
    /// Its id.
    pub id: BuildId,
    /// Its number, for a person.
    pub build_number: String,
    /// Where it is in its life.
    pub status: BuildStatus,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BuildResult>,
    /// Why there is a run.
    pub reason: BuildReason,
    /// When it was queued.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub queue_time: Option<Timestamp>,
    /// When an agent first took one of its jobs.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub start_time: Option<Timestamp>,
    /// When its last job ended.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub finish_time: Option<Timestamp>,
    /// When it last changed its state.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_changed_date: Option<Timestamp>,
    /// Where it is read.
    pub url: String,
    /// `vstfs:///Build/Build/N`.
    pub uri: String,
    /// Its pipeline.
    pub definition: DefinitionReference,
    /// Its project.
    pub project: ProjectReference,
    /// The full ref that it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_branch: Option<String>,
    /// The commit that it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// What was given for its variables, as the text of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
    /// The repository that it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<BuildRepository>,
    /// The pool of its first job.
    pub queue: AgentQueue,
    /// `normal`.
    pub priority: String,
    /// Who asked for it.
    pub requested_by: IdentityReference,
    /// For whom: the same.
    pub requested_for: IdentityReference,
    /// Its plan.
    pub orchestration_plan: BuildPlan,
    /// Its plans: one.
    pub plans: Vec<BuildPlan>,
    /// Where its logs are listed.
    pub logs: BuildLog,
    /// Not forgotten, however old.
    pub keep_forever: bool,
    /// Always false.
    pub retained_by_release: bool,
    /// None.
    pub tags: Vec<String>,
}

/// A pipeline, named by its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionById {
    /// Its id.
    pub id: DefinitionId,
}

/// A run that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueBuild {
    /// Of which pipeline.
    #[serde(default)]
    pub definition: Option<DefinitionById>,
    /// A branch, a tag or a full ref; the repository's default branch when absent.
    #[serde(default)]
    pub source_branch: Option<String>,
    /// A commit.
    #[serde(default)]
    pub source_version: Option<String>,
    /// Variables, as the text of a JSON object.
    #[serde(default)]
    pub parameters: Option<String>,
}

/// A change of a run. Absent members mean "unchanged".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateBuild {
    /// `cancelling` asks for the run's end.
    #[serde(default)]
    pub status: Option<BuildStatus>,
    /// Not forgotten, however old.
    #[serde(default)]
    pub keep_forever: Option<bool>,
    /// What people call the run.
    #[serde(default)]
    pub build_number: Option<String>,
}

/// A timeline, as builds have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildTimeline {
    /// Its id.
    pub id: TimelineId,
    /// Increases with every change.
    pub change_id: i64,
    /// Where it is read.
    pub url: String,
    /// When a record last changed.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_changed_on: Option<Timestamp>,
    /// Its records.
    pub records: Vec<BuildRecord>,
}

/// A record of a timeline, as builds have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// The record; its log is in `log`.
    #[serde(flatten)]
    pub record: Record,
    /// Its stored log.
    #[serde(default)]
    pub log: Option<BuildLog>,
    /// Always 1.
    pub attempt: i64,
    /// Always empty.
    pub previous_attempts: Vec<serde_json::Value>,
}
