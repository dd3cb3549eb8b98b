//! Text that must not be logged, but has to travel.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret inside a document: no `Debug`, no `Display`, wiped when dropped.
///
/// It serializes, because the documents that carry secrets (a job message, a claim answer) exist to be sent;
/// what holds one can therefore not be printed by accident, only written out on purpose.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over; the caller's copy is moved, not duplicated.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every use is greppable by this name.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A second copy, for the places that must hold one each (a header and a masker, say).
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether there is any text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
