//! The batch call of Git LFS: which large files a client may fetch or must send, and where.
//!
//! Source: the Git LFS project's `docs/api/batch.md`. Only the transfer `basic` exists here.

use serde::{Deserialize, Serialize};

/// The media type of these documents.
pub const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// The only transfer: one `GET` or `PUT` an object.
pub const BASIC: &str = "basic";

/// What a client is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Fetch objects.
    Download,
    /// Send objects.
    Upload,
}

/// What a client asks.
#[derive(Clone, Debug, Deserialize)]
pub struct Batch {
    /// What it is about to do.
    pub operation: Operation,
    /// The transfers that it knows; none stands for [`BASIC`].
    #[serde(default)]
    pub transfers: Vec<String>,
    /// The objects.
    pub objects: Vec<Object>,
    /// How objects are named; none stands for `sha256`.
    #[serde(default)]
    pub hash_algo: Option<String>,
}

/// A large file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The SHA-256 of its content, in lower-case hexadecimal digits.
    pub oid: String,
    /// Its length in bytes.
    pub size: i64,
}

/// What the service answers.
#[derive(Clone, Debug, Serialize)]
pub struct BatchAnswer {
    /// The transfer to use.
    pub transfer: &'static str,
    /// One entry an object, in the order of the question.
    pub objects: Vec<ObjectAnswer>,
    /// How objects are named.
    pub hash_algo: &'static str,
}

/// What to do about one object; neither actions nor an error: there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectAnswer {
    /// The object.
    #[serde(flatten)]
    pub object: Object,
    /// Where to fetch it or send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Actions>,
    /// Why it cannot be had or taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ObjectError>,
}

/// Where an object is fetched or sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Actions {
    /// `GET` it here.
    Download(Action),
    /// `PUT` it here.
    Upload(Action),
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its URL.
    pub href: String,
}

/// Why one object of a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectError {
    /// As an HTTP status.
    pub code: u16,
    /// For a person.
    pub message: String,
}
