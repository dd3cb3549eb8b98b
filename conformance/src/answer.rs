//! What came back, and what is asked of it.

use crate::verdict::{Verdict, differs};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An answer.
pub(crate) struct Answer {
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The answer, if it has this status.
    pub(crate) fn expect(self, status: u16) -> Verdict<Self> {
        if self.status == status {
            Ok(self)
        } else {
            Err(self.otherwise(&format!("status {status}")))
        }
    }

    /// The document of a successful answer.
    pub(crate) fn document(self) -> Verdict<Value> {
        self.expect(200)?.json()
    }

    /// The list of a successful answer: wrapped, with a count that is right.
    pub(crate) fn list(self) -> Verdict<Vec<Value>> {
        let what = self.what.clone();
        let mut document = self.document()?;
        let count = document["count"].as_u64();
        let Value::Array(values) = document["value"].take() else {
            return Err(differs(format!("{what}: a list without `value`")));
        };
        holds!(
            count == Some(values.len() as u64),
            "{what}: `count` is {count:?} and `value` has {}",
            values.len()
        );
        Ok(values)
    }

    /// The document, whatever the status.
    pub(crate) fn json(self) -> Verdict<Value> {
        let kind = self.header(CONTENT_TYPE.as_str());
        holds!(
            kind.to_lowercase().starts_with("application/json"),
            "{}: media type {kind:?}, and not application/json",
            self.what
        );
        serde_json::from_str(&self.body)
            .map_err(|error| differs(format!("{}: not JSON: {error}", self.what)))
    }

    /// The document of a successful answer, as a type of the wire's.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Verdict<T> {
        let what = self.what.clone();
        serde_json::from_value(self.document()?).map_err(|error| {
            differs(format!(
                "{what}: not the document that it should be: {error}"
            ))
        })
    }

    /// That it is a success with nothing in it, and says so: some clients read on for a document otherwise.
    pub(crate) fn empty(self) -> Verdict {
        if !(200..300).contains(&self.status) {
            return Err(self.otherwise("a success"));
        }
        let length = self.header(CONTENT_LENGTH.as_str());
        holds!(
            self.status == 204 || length == "0",
            "{}: an empty answer needs status 204 or Content-Length 0; it has {} and {length:?}",
            self.what,
            self.status
        );
        holds!(self.body.is_empty(), "{}: the answer has a body", self.what);
        Ok(())
    }

    /// That it is a refusal with this status and this type.
    pub(crate) fn refused(self, status: u16, key: &str) -> Verdict {
        let what = self.what.clone();
        let body = self.expect(status)?.json()?;
        let found = body["typeKey"].as_str().unwrap_or_default();
        holds!(
            found == key,
            "{what}: typeKey is {found:?}, and not {key:?}"
        );
        let name = body["typeName"].as_str().unwrap_or_default();
        holds!(
            name.contains(&format!(".{key}, ")),
            "{what}: typeName {name:?} is not `Namespace.{key}, Assembly`: .NET clients look the class up by it"
        );
        Ok(())
    }

    /// That it is a refusal, whichever.
    pub(crate) fn refused_somehow(self) -> Verdict {
        if (400..500).contains(&self.status) {
            Ok(())
        } else {
            Err(self.otherwise("a refusal"))
        }
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        texts.join(", ")
    }

    fn otherwise(&self, expected: &str) -> crate::Stop {
        let body: String = self.body.chars().take(300).collect();
        differs(format!(
            "{}: {expected} was expected, and {} came: {body}",
            self.what, self.status
        ))
    }
}
