//! `$[ ]`: values that the service works out just before a job starts.

use crate::expression::{Expression, Place, Scope, Status, StatusQuestion, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The expression in a value that is one; a value that only contains `$[` is a plain text.
pub fn inner(value: &str) -> Option<&str> {
    value.trim().strip_prefix("$[")?.strip_suffix(']')
}

/// Why a job's variables or condition have no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Unresolved {
    /// `condition`, or `variables.NAME`.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Nobody to ask: `$[ ]` has no status functions.
struct Nothing;

impl Status for Nothing {
    fn holds(&self, _: StatusQuestion, _: &[String]) -> bool {
        false
    }
}

/// The deepest that variables may refer to each other.
const MAX_DEPTH: usize = 20;

/// Works out the variables. An expression sees those that the service sets and all of these, in whatever order they are.
///
/// Names are compared without regard to case. Secret variables are not among them: what an expression makes of one
/// would not be secret any more.
pub fn resolve(
    variables: &[(String, String)],
    set_by_service: &dyn Fn(&str) -> Option<String>,
    dependencies: &Value,
) -> Result<BTreeMap<String, String>, Unresolved> {
    let resolver = Resolver {
        written: variables
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.as_str()))
            .collect(),
        set_by_service,
        dependencies,
        done: RefCell::default(),
        open: RefCell::default(),
        failed: RefCell::default(),
    };
    let mut resolved = BTreeMap::new();
    for (name, _) in variables {
        let value = resolver.value(name).unwrap_or_default();
        if let Some(reason) = resolver.failed.take() {
            let what = format!("variables.{name}");
            return Err(Unresolved { what, reason });
        }
        resolved.insert(name.clone(), value);
    }
    Ok(resolved)
}

struct Resolver<'a> {
    written: BTreeMap<String, &'a str>,
    set_by_service: &'a dyn Fn(&str) -> Option<String>,
    dependencies: &'a Value,
    done: RefCell<BTreeMap<String, String>>,
    /// Those that are being worked out: who turns up again refers to itself.
    open: RefCell<Vec<String>>,
    failed: RefCell<Option<String>>,
}

impl Resolver<'_> {
    fn value(&self, name: &str) -> Option<String> {
        if let Some(value) = (self.set_by_service)(name) {
            return Some(value);
        }
        let key = name.to_lowercase();
        let written = *self.written.get(&key)?;
        let Some(text) = inner(written) else {
            return Some(written.to_owned());
        };
        if let Some(done) = self.done.borrow().get(&key) {
            return Some(done.clone());
        }
        if self.open.borrow().contains(&key) || self.open.borrow().len() >= MAX_DEPTH {
            self.fail(format!(
                "variable {name} refers to itself, or through too many others"
            ));
            return None;
        }
        self.open.borrow_mut().push(key.clone());
        let value = self.evaluated(text);
        self.open.borrow_mut().pop();
        let value = match value {
            Ok(value) => value,
            Err(reason) => {
                self.fail(reason);
                return None;
            }
        };
        self.done.borrow_mut().insert(key, value.clone());
        Some(value)
    }

    fn evaluated(&self, text: &str) -> Result<String, String> {
        let expression =
            Expression::parse(text, Place::Variable).map_err(|error| error.to_string())?;
        let scope = Scope {
            variable: &|name| self.value(name),
            status: &Nothing,
            dependencies: self.dependencies,
        };
        let value = expression
            .value(&scope)
            .map_err(|error| error.to_string())?;
        Ok(value.text().unwrap_or_default())
    }

    /// The first failure is the one to tell.
    fn fail(&self, reason: String) {
        self.failed.borrow_mut().get_or_insert(reason);
    }
}
