//! Attachments: files that a job hangs on its records, such as summaries.

use crate::date;
use crate::ids::{RecordId, TimelineId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An attachment, without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskAttachment {
    /// For example [`SUMMARY`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique for its record and type.
    pub name: String,
    /// When it was put first.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_on: Option<Timestamp>,
    /// When it was put last.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_changed_on: Option<Timestamp>,
    /// The timeline of the record.
    #[serde(default)]
    pub timeline_id: TimelineId,
    /// The record.
    #[serde(default)]
    pub record_id: RecordId,
    /// `self` is where it is found.
    #[serde(rename = "_links", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, Link>,
}

/// Where something is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The URL.
    pub href: String,
}

/// Markdown that is shown with the run.
pub const SUMMARY: &str = "DistributedTask.Core.Summary";
/// The beginning of the type of a summary by the older command; the rest is its name.
pub const OLD_SUMMARY: &str = "CustomMarkDownSummary-";
/// A file that is offered beside the log.
pub const FILE: &str = "DistributedTask.Core.FileAttachment";
