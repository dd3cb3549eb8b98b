//! Stored logs and the live console feed.

use crate::date;
use crate::ids::{LogId, RecordId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A stored log of a plan. Created by POST, appended to by POST of raw text, named by a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReference {
    /// Given by the service.
    #[serde(default)]
    pub id: LogId,
    /// `logs\<record id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many lines it holds.
    #[serde(default)]
    pub line_count: i64,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
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
}

/// Lines for whoever watches now; at most [`FEED_LINES`] of at most [`FEED_LINE_CHARACTERS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedLines {
    /// The number of lines.
    #[serde(default)]
    pub count: usize,
    /// The lines, already masked.
    pub value: Vec<String>,
    /// Which step wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<RecordId>,
    /// The number of the first line in the step's output, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<i64>,
}

/// The most lines in one post.
pub const FEED_LINES: usize = 100;
/// The most characters of a line in the feed; the stored log has the whole line.
pub const FEED_LINE_CHARACTERS: usize = 1024;
