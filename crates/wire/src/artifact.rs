//! Artifacts: files that a run publishes, in its container.

use crate::date;
use crate::enums::wire_enum;
use crate::ids::{BuildId, ProjectId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A named part of a run's container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildArtifact {
    /// Given by the service.
    #[serde(default)]
    pub id: i64,
    /// Unique in the run.
    pub name: String,
    /// The record that published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is.
    #[serde(default)]
    pub resource: ArtifactResource,
}

/// What an artifact is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactResource {
    /// [`CONTAINER`], or a kind that the service only remembers.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `#/{container}/{path}` for files of a container.
    #[serde(default)]
    pub data: String,
    /// Further facts, such as `artifactsize`.
    #[serde(
        default,
        deserialize_with = "crate::agent::map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, String>,
    /// Where the artifact is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where its files are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_url: Option<String>,
}

/// The kind of an artifact whose files lie in the run's container.
pub const CONTAINER: &str = "Container";

wire_enum! {
    /// What a container has at a path.
    ItemType {
        /// A folder: whatever has files below it.
        Folder = 1 as "folder",
        /// A file.
        File = 2 as "file",
    }
}

wire_enum! {
    /// How far a file has come.
    ItemStatus {
        /// All of it is there.
        Created = 1 as "created",
        /// It is being uploaded.
        Pending = 2 as "pendingUpload",
    }
}

/// A file or a folder of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerItem {
    /// The container, which has the run's id.
    #[serde(default)]
    pub container_id: BuildId,
    /// The project.
    #[serde(default)]
    pub scope_identifier: ProjectId,
    /// Its path, with slashes.
    pub path: String,
    /// File or folder.
    pub item_type: ItemType,
    /// How far it has come.
    #[serde(default = "created")]
    pub status: ItemStatus,
    /// Bytes of a file.
    #[serde(default)]
    pub file_length: i64,
    /// When it was begun.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub date_created: Option<Timestamp>,
    /// When it last changed.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub date_last_modified: Option<Timestamp>,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_location: Option<String>,
    /// Where its content is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_location: Option<String>,
}

fn created() -> ItemStatus {
    ItemStatus::Created
}
