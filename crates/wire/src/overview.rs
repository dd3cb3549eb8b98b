//! What the web page shows beside the protocol's own documents, in the pool service's own words.
//!
//! | call | answer |
//! |---|---|
//! | `GET _apis/dayfly/pools` | a list of [`PoolOverview`] |
//! | `GET _apis/dayfly/queue` | a list of [`JobOverview`]: what runs and what waits, and why |
//! | `GET _apis/dayfly/runs?$top=N&before=ID` | a list of [`RunOverview`], newest first |
//! | `GET _apis/dayfly/runs/{buildId}` | [`RunOverview`] |

use crate::build::BuildResult;
use crate::date;
use crate::ids::{BuildId, PlanId, PoolId, ProjectId, TimelineId};
use crate::request::JobRequest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A pool and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolOverview {
    /// The pool's id.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// Registered agents.
    pub agents: i64,
    /// Those with a live session.
    pub online: i64,
    /// Those that are given no job.
    pub disabled: i64,
    /// Jobs that agents hold.
    pub running: i64,
    /// Jobs that wait for an agent.
    pub waiting: i64,
}

/// A job with what a person asks about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobOverview {
    /// Its request.
    #[serde(flatten)]
    pub request: JobRequest,
    /// The pool's name.
    pub pool_name: String,
    /// The project's name.
    pub project_name: String,
    /// When its end was asked for.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub cancel_time: Option<Timestamp>,
    /// Why it waits; absent once an agent has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A run with its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOverview {
    /// The run.
    pub build_id: BuildId,
    /// Its number, for a person.
    pub build_number: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The project.
    pub project_id: ProjectId,
    /// The project's name.
    pub project_name: String,
    /// Its plan.
    pub plan_id: PlanId,
    /// The plan's timeline.
    pub timeline_id: TimelineId,
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
    /// When its end was asked for.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub cancel_time: Option<Timestamp>,
    /// When its last job ended.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub finish_time: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BuildResult>,
    /// Whether a pipeline's file says what it is, so that it can be run again.
    #[serde(default)]
    pub is_from_file: bool,
    /// Its jobs that have been queued; those that wait for others are in its timeline only.
    pub jobs: Vec<JobOverview>,
}
