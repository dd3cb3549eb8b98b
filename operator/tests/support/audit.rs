//! What somebody asked of the API server, from its audit log.

use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One request that was answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// `get`, `watch`, `create` ...
    pub(crate) verb: String,
    /// The path and query.
    #[serde(rename = "requestURI")]
    pub(crate) uri: String,
    user: User,
    /// What it was about; none for paths that are no resource.
    #[serde(default)]
    pub(crate) object_ref: Option<Object>,
    #[serde(default)]
    response_status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    /// The group; empty for the core.
    pub(crate) api_group: String,
    /// The resource.
    pub(crate) resource: String,
    /// Its part.
    pub(crate) subresource: String,
    /// Where it is.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl Entry {
    /// The status that it was answered with.
    pub(crate) fn code(&self) -> u16 {
        self.response_status
            .as_ref()
            .map_or(0, |status| status.code)
    }
}

impl Object {
    /// The resource as rules name it, with its part.
    pub(crate) fn rule_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            part => format!("{}/{part}", self.resource),
        }
    }
}

/// What a user asked, oldest first. A request stands there twice when it was a watch that has ended.
pub(crate) fn entries(log: &Path, user: &str) -> Vec<Entry> {
    let lines = BufReader::new(std::fs::File::open(log).unwrap()).lines();
    // The last line may be half written.
    let all = lines.filter_map(|line| serde_json::from_str::<Entry>(&line.unwrap()).ok());
    all.filter(|entry| entry.user.username == user).collect()
}
