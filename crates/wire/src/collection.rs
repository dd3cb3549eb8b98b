//! The wrapper around every top-level array.

use serde::{Deserialize, Serialize};

/// `{"count": n, "value": [...]}`: clients refuse a bare array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection<T> {
    /// The number of items in `value`.
    #[serde(default)]
    pub count: usize,
    /// The items.
    pub value: Vec<T>,
}

impl<T> From<Vec<T>> for Collection<T> {
    fn from(value: Vec<T>) -> Self {
        Self {
            count: value.len(),
            value,
        }
    }
}
