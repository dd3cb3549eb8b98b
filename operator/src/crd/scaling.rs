//! How many agents a pool has, and when.

use super::span::Span;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How many agents there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Idle agents of the first template to keep.
    #[schemars(range(min = 0, max = 5000))]
    #[serde(default)]
    pub min_idle: i32,
    /// The most agents of all templates together.
    #[schemars(range(min = 0, max = 5000))]
    #[serde(default = "max_agents")]
    pub max_agents: i32,
    /// Agents that start beyond those that waiting jobs need, while jobs wait: a number, or a percentage of the jobs.
    #[serde(default)]
    pub surge: Surge,
    /// The most agents that start within a minute; 0 is no limit.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(default)]
    pub max_starts_per_minute: i32,
    /// How often the service is asked while anything waits or starts.
    #[x_kube(validation = Rule::new("duration(self) >= duration('200ms') && duration(self) <= duration('5m')").message("pollInterval must be between 200ms and 5m"))]
    #[serde(default = "poll_interval")]
    pub poll_interval: Span,
    /// How long an agent beyond minIdle may be idle.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("idleTimeout must be at least 10s"))]
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Span,
    /// How long there must have been too many idle agents before any is removed.
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("scaleDownDelay must be at most 24h"))]
    #[serde(default = "scale_down_delay")]
    pub scale_down_delay: Span,
    /// Whether to start no agents for jobs that the service holds back because all parallel jobs are in use.
    #[serde(default = "yes")]
    pub respect_parallelism: bool,
    /// Other numbers at certain times; the first one that applies counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub schedules: Vec<Schedule>,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min_idle: 0,
            max_agents: max_agents(),
            surge: Surge::default(),
            max_starts_per_minute: 0,
            poll_interval: poll_interval(),
            idle_timeout: idle_timeout(),
            scale_down_delay: scale_down_delay(),
            respect_parallelism: true,
            schedules: Vec::new(),
        }
    }
}

/// A number of agents, or a percentage such as `20%` of the waiting jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Surge {
    /// So many.
    Count(i32),
    /// So many of a hundred, rounded up.
    Percent(String),
}

impl Default for Surge {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl JsonSchema for Surge {
    fn schema_name() -> Cow<'static, str> {
        "Surge".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": 5000,
            "maxLength": 4,
            "pattern": "^(100|[1-9]?[0-9])%$",
        })
    }
}

/// Other numbers at certain times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.cron) ? !has(self.days) && !has(self.start) && !has(self.end) : has(self.start) && has(self.end)")
        .message("a schedule has either cron, or start and end, with days or without"),
    validation = Rule::new("!has(self.start) || !has(self.end) || self.start != self.end")
        .message("start and end must differ; 00:00 to 24:00 is the whole day"),
    validation = Rule::new("has(self.minIdle) || has(self.maxAgents)")
        .message("a schedule sets minIdle, maxAgents or both"),
)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Unique in the pool.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Applies in the minutes that these five fields match, for example `* 7-17 * * mon-fri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 100))]
    pub cron: Option<String>,
    /// Applies on these days; on all when absent. A time that passes midnight belongs to the day on which it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// From then on, by the clock of the time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: Option<String>,
    /// Until then; on the next day when it is before start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 5),
        regex(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")
    )]
    pub end: Option<String>,
    /// A name such as `Europe/Berlin`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Instead of `scaling.minIdle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub min_idle: Option<i32>,
    /// Instead of `scaling.maxAgents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub max_agents: Option<i32>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // The names say it.
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

pub(super) fn max_agents() -> i32 {
    10
}

fn poll_interval() -> Span {
    "1s".into()
}

fn idle_timeout() -> Span {
    "5m".into()
}

fn scale_down_delay() -> Span {
    "30s".into()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn yes() -> bool {
    true
}
