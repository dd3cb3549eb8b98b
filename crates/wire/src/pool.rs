//! Agent pools.

use crate::agent::{Property, map_or_null};
use crate::date;
use crate::ids::PoolId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An agent pool. A reader of the list takes the first entry with the asked name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPool {
    /// The pool's id.
    pub id: PoolId,
    /// The pool's name; compared without regard to case.
    pub name: String,
    /// When it was made.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_on: Option<Timestamp>,
    /// Whether the service's own machines serve it.
    #[serde(default)]
    pub is_hosted: bool,
    /// `automation` or `deployment`.
    #[serde(default = "automation")]
    pub pool_type: String,
    /// The number of registered agents.
    #[serde(default)]
    pub size: i64,
    /// Whether it is of the old kind.
    #[serde(default)]
    pub is_legacy: bool,
    /// Option flags: [`NO_OPTIONS`] or [`SINGLE_USE_AGENTS`].
    #[serde(default = "none")]
    pub options: String,
    /// The service that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Uuid>,
    /// Whether new projects get a queue for it.
    #[serde(default)]
    pub auto_provision: bool,
    /// Whether agents are to update themselves.
    #[serde(default)]
    pub auto_update: bool,
    /// Whether somebody keeps it at its size.
    #[serde(default)]
    pub auto_size: bool,
    /// How many agents there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_size: Option<i64>,
    /// Typed properties.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, Property>,
}

/// What a new pool is to be, or what is to change of one: absent members stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolChange {
    /// The pool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `automation`; nothing else is kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_type: Option<String>,
    /// Whether new projects get a queue for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_provision: Option<bool>,
    /// Whether agents are to update themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    /// How many agents there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_size: Option<i64>,
    /// [`NO_OPTIONS`] or [`SINGLE_USE_AGENTS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// Typed properties; those that are named are set, and removed by a value of `null`.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, Option<Property>>,
}

/// A pool without options.
pub const NO_OPTIONS: &str = "none";
/// Each of the pool's agents takes one job.
pub const SINGLE_USE_AGENTS: &str = "singleUseAgents";

fn automation() -> String {
    "automation".to_owned()
}

fn none() -> String {
    NO_OPTIONS.to_owned()
}
