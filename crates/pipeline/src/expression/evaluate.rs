//! A tree to a value.

use super::parse::{Expression, Function, Node};
use super::value::Value;
use dayfly_wire::event::TaskResult;
use std::cell::Cell;

/// The most bytes of text that one evaluation may make; `replace` in `replace` grows beyond all bounds otherwise.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// What an expression can see.
pub struct Scope<'a> {
    /// A variable's value by name.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// How things went so far.
    pub status: &'a dyn Status,
    /// What `dependencies` is; [`Value::Null`] where there is no such thing.
    pub dependencies: &'a Value,
}

/// What a status function asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusQuestion {
    /// `canceled()`
    Canceled,
    /// `failed()`
    Failed,
    /// `succeeded()`
    Succeeded,
    /// `succeededOrFailed()`
    SucceededOrFailed,
}

/// Who knows how things went.
pub trait Status {
    /// Answers for these jobs; for everything before when none is named.
    fn holds(&self, question: StatusQuestion, jobs: &[String]) -> bool;
}

/// For a step: how its job goes.
impl Status for TaskResult {
    fn holds(&self, question: StatusQuestion, _: &[String]) -> bool {
        match question {
            StatusQuestion::Canceled => matches!(self, Self::Canceled),
            StatusQuestion::Failed => matches!(self, Self::Failed),
            StatusQuestion::Succeeded => {
                matches!(self, Self::Succeeded | Self::SucceededWithIssues)
            }
            StatusQuestion::SucceededOrFailed => {
                matches!(
                    self,
                    Self::Succeeded | Self::SucceededWithIssues | Self::Failed
                )
            }
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// Two values that cannot be compared.
    #[error("unable to convert a value so that it can be compared")]
    NotComparable,
    /// A bad format text.
    #[error("the format text is not valid")]
    Format,
    /// All variables at once have no JSON.
    #[error("the variables as a whole cannot be converted to JSON; name one of them")]
    Json,
    /// Its texts grow too long.
    #[error("the texts that the expression makes are too long")]
    TooBig,
}

impl Expression {
    /// Whether the condition holds.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluateError> {
        self.value(scope).map(|value| value.truth())
    }

    /// Its value.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, EvaluateError> {
        Evaluation::new(scope).value(&self.root)
    }
}

/// One evaluation.
pub(super) struct Evaluation<'a> {
    scope: &'a Scope<'a>,
    made: Cell<usize>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(scope: &'a Scope<'a>) -> Self {
        Self {
            scope,
            made: Cell::new(0),
        }
    }

    pub(super) fn value(&self, node: &Node) -> Result<Value, EvaluateError> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Variables => Ok(Value::Variables),
            Node::Dependencies => Ok(self.scope.dependencies.clone()),
            Node::Index(node, index) => {
                let (value, index) = (self.value(node)?, self.value(index)?);
                self.indexed(&value, &index)
            }
            Node::All(node) => Ok(Value::Filtered(all(&self.value(node)?))),
            Node::Call(function, arguments) => self.call(*function, arguments),
        }
    }

    /// A text, counted.
    pub(super) fn text_of(&self, value: &Value) -> Result<String, EvaluateError> {
        self.count(value.text().unwrap_or_default())
    }

    pub(super) fn count(&self, text: String) -> Result<String, EvaluateError> {
        self.made.set(self.made.get().saturating_add(text.len()));
        if self.made.get() > MAX_TEXT {
            return Err(EvaluateError::TooBig);
        }
        Ok(text)
    }

    /// How many bytes may still be made.
    pub(super) fn left(&self) -> usize {
        MAX_TEXT.saturating_sub(self.made.get())
    }

    pub(super) fn asks(&self, question: StatusQuestion, jobs: &[String]) -> bool {
        self.scope.status.holds(question, jobs)
    }

    fn indexed(&self, value: &Value, index: &Value) -> Result<Value, EvaluateError> {
        Ok(match value {
            Value::Variables => {
                let found = index.text().and_then(|name| (self.scope.variable)(&name));
                match found {
                    Some(text) => Value::Text(self.count(text)?),
                    None => Value::Null,
                }
            }
            Value::Object(_) => {
                let found = index.text().and_then(|name| value.member(&name).cloned());
                found.unwrap_or(Value::Null)
            }
            Value::List(values) => at(values, index),
            Value::Filtered(values) => {
                let mut found = Vec::new();
                for value in values {
                    let member = self.indexed(value, index)?;
                    if member != Value::Null {
                        found.push(member);
                    }
                }
                Value::Filtered(found)
            }
            Value::Null
            | Value::Boolean(_)
            | Value::Number(_)
            | Value::Version(_)
            | Value::Text(_) => Value::Null,
        })
    }
}

/// Beyond the end, and beyond what an index can be, there is nothing.
fn at(values: &[Value], index: &Value) -> Value {
    match index.to_number() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Value::Number(index)) if index >= 0.0 => {
            values.get(index as usize).cloned().unwrap_or(Value::Null)
        }
        _ => Value::Null,
    }
}

/// What `*` gives: one level down, for each value when it was given before.
fn all(value: &Value) -> Vec<Value> {
    match value {
        Value::Filtered(values) => values.iter().flat_map(Value::items).cloned().collect(),
        value => value.items().into_iter().cloned().collect(),
    }
}

impl Function {
    /// The question that a status function asks; `always()` asks none.
    pub(super) fn question(self) -> Option<StatusQuestion> {
        match self {
            Self::Canceled => Some(StatusQuestion::Canceled),
            Self::Failed => Some(StatusQuestion::Failed),
            Self::Succeeded => Some(StatusQuestion::Succeeded),
            Self::SucceededOrFailed => Some(StatusQuestion::SucceededOrFailed),
            _ => None,
        }
    }
}
