//! What a pipeline file says, once it was read.

use crate::branches::BranchFilter;
use crate::expression::Expression;
use crate::problem::{Mark, Problem};
use crate::read;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most jobs of a file.
pub const MAX_JOBS: usize = 256;
const MAX_IMAGE: usize = 512;
/// The name of the job of a file that has steps and no jobs.
pub const ONLY_JOB: &str = "__default";

/// A pipeline file.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Which pushes queue it; none when pushes do not.
    pub trigger: Option<BranchFilter>,
    /// When it is queued without anybody asking.
    pub schedules: Vec<Schedule>,
    /// Its jobs, in the file's order. At least one; their dependencies exist and have no circle.
    pub jobs: Vec<Job>,
}

impl Pipeline {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        read::pipeline(text)
    }
}

/// An entry of `schedules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields.
    pub cron: String,
    /// A name of the time zone database.
    pub time_zone: String,
    /// What a person reads.
    pub display_name: Option<String>,
    /// Which branches are built; the default branch alone when absent.
    pub branches: Option<BranchFilter>,
    /// Whether branches without a new commit are built too.
    pub always: bool,
}

/// Where a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The pool's name.
    pub name: String,
    /// What an agent must offer.
    pub demands: Vec<String>,
    /// Where it is in the file.
    pub mark: Mark,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name; others wait for it by this.
    pub name: String,
    /// What a person reads.
    pub display_name: Option<String>,
    /// Where it is in the file.
    pub mark: Mark,
    /// The jobs that it waits for, spelt as they are.
    pub depends_on: Vec<String>,
    /// When it runs.
    pub condition: Expression,
    /// How long it may run.
    pub timeout_in_minutes: Option<i64>,
    /// How long it may take to end when it is cancelled.
    pub cancel_timeout_in_minutes: Option<i64>,
    /// Where it runs.
    pub pool: Pool,
    /// The container image that it needs.
    pub container: Option<String>,
    /// Its variables and the file's; a job's own comes in the place of the file's of the same name.
    pub variables: Vec<Variable>,
    /// Its steps; at least one.
    pub steps: Vec<Step>,
}

/// Whether a text can be the name of a container image; it may have `$(name)` in it.
pub fn is_image(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "./:_-@$()".contains(c);
    (1..=MAX_IMAGE).contains(&text.len()) && text.chars().all(good)
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value: a text, or `$[ ]` around an expression.
    pub value: String,
    /// Whether steps may not change it.
    pub is_read_only: bool,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// Where it is in the file.
    pub mark: Mark,
    /// The name that expressions use.
    pub name: Option<String>,
    /// What a person reads.
    pub display_name: Option<String>,
    /// When it runs, as it was written.
    pub condition: Option<String>,
    /// A failure becomes an issue.
    pub continue_on_error: bool,
    /// A step that is switched off does not run.
    pub enabled: bool,
    /// 0: no limit of its own.
    pub timeout_in_minutes: i64,
    /// How often it is tried again.
    pub retry_count_on_task_failure: i64,
    /// Where a script runs.
    pub working_directory: Option<String>,
    /// Its environment beside the job's.
    pub env: BTreeMap<String, String>,
    /// Whether only harmless logging commands count (`target: {commands: restricted}`).
    pub restricted: bool,
    /// Which variables its logging commands may set (`target: {settableVariables: [...]}`); absent for all.
    pub settable_variables: Option<Vec<String>>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Checks out `self`, or another repository of the project.
    Checkout {
        /// Which; none for `checkout: none`.
        repository: Option<String>,
        /// The further settings of `checkout`, as inputs of its task.
        inputs: BTreeMap<String, String>,
    },
    /// A script for a shell.
    Script {
        /// Which shell.
        shell: Shell,
        /// The script.
        script: String,
    },
    /// A task.
    Task {
        /// Its name or id.
        name: String,
        /// Its major version.
        major: u32,
        /// Its inputs.
        inputs: BTreeMap<String, String>,
    },
}

/// Which shell runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `script:`
    Default,
    /// `bash:`
    Bash,
    /// `pwsh:`
    PowerShell,
}

/// The task behind `download`.
pub const DOWNLOAD: (&str, u32) = ("DownloadPipelineArtifact", 2);
/// The task behind `publish`.
pub const PUBLISH: (&str, u32) = ("PublishPipelineArtifact", 1);
