//! Timeline records: what a person sees of a job while it runs.

use crate::agent::map_or_null;
use crate::date;
use crate::enums::wire_enum;
use crate::event::TaskResult;
use crate::ids::{RecordId, TaskId, TimelineId};
use crate::job::TimelineReference;
use crate::log::LogReference;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

wire_enum! {
    /// Where a record is in its life.
    RecordState {
        /// Not begun.
        Pending = 0 as "pending",
        /// Running.
        InProgress = 1 as "inProgress",
        /// Over; the result is set.
        Completed = 2 as "completed",
    }
}

wire_enum! {
    /// How bad an issue is.
    IssueKind {
        /// An error.
        Error = 1 as "error",
        /// A warning.
        Warning = 2 as "warning",
    }
}

/// A timeline, with its records when asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Its id; the service gives one when a new timeline has none.
    #[serde(default)]
    pub id: TimelineId,
    /// Increases with every change.
    #[serde(default)]
    pub change_id: i64,
    /// Unused.
    #[serde(default)]
    pub location: Option<String>,
    /// The records, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Record>>,
}

/// A stage, a phase, a job or a step. In a PATCH an absent member means "unchanged".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The record's id; a job record's id is the job's.
    pub id: RecordId,
    /// The record above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<RecordId>,
    /// [`STAGE`], [`PHASE`], [`JOB`] or [`TASK`].
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What a person reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it began.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub finish_time: Option<Timestamp>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_operation: Option<String>,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_complete: Option<i64>,
    /// Where it is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RecordState>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_code: Option<String>,
    /// Set by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_id: Option<i64>,
    /// Set by the service.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_modified: Option<Timestamp>,
    /// The agent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// Its place among its siblings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    /// The name that expressions use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// Its stored log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogReference>,
    /// The timeline that has the details of this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<TimelineReference>,
    /// Which attempt it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// The name that stays the same over attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// How many errors it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_count: Option<i64>,
    /// How many warnings it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_count: Option<i64>,
    /// The issues, at most [`ISSUES_PER_KIND`] of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
    /// Which task a step ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskReference>,
    /// Output variables.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub variables: BTreeMap<String, RecordVariable>,
}

/// The type of a stage's record: the top of a run's timeline.
pub const STAGE: &str = "Stage";
/// The type of a phase's record, which holds a job.
pub const PHASE: &str = "Phase";
/// The type of a job's record.
pub const JOB: &str = "Job";
/// The type of a step's record.
pub const TASK: &str = "Task";
/// The most issues of one kind on a record.
pub const ISSUES_PER_KIND: usize = 10;

/// An error or a warning of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// Error or warning.
    #[serde(rename = "type")]
    pub kind: IssueKind,
    /// A grouping; often absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The text, masked.
    #[serde(default)]
    pub message: String,
    /// Further facts, such as `logFileLineNumber`.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, String>,
}

/// A task as documents refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReference {
    /// The task's id.
    pub id: TaskId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its full version.
    #[serde(default)]
    pub version: String,
}

/// An output variable of a step. Secret values are not written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordVariable {
    /// The value; absent for a secret.
    #[serde(default)]
    pub value: Option<String>,
    /// Whether it is a secret.
    #[serde(default)]
    pub is_secret: bool,
}
