//! What a person reads about how a condition was decided.

use super::evaluate::{Evaluation, Scope};
use super::parse::{Expression, Node};
use super::value::Value;

/// An expression and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The expression in its usual form.
    pub evaluating: String,
    /// The same with values instead of names.
    pub expanded: String,
    /// Its value, or why it has none.
    pub result: String,
}

impl Trace {
    /// As lines; the middle one only where it says something.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("Evaluating: {}", self.evaluating)];
        if self.expanded != self.result {
            lines.push(format!("Expanded: {}", self.expanded));
        }
        lines.push(format!("Result: {}", self.result));
        lines
    }
}

impl Expression {
    /// How its value comes about. It shows the values of variables: mask it.
    pub fn trace(&self, scope: &Scope<'_>) -> Trace {
        if self.is_default {
            let result = self
                .value(scope)
                .map_or_else(|e| e.to_string(), |v| shown(&v));
            return Trace {
                evaluating: "SucceededNode()".to_owned(),
                expanded: result.clone(),
                result,
            };
        }
        let evaluation = Evaluation::new(scope);
        Trace {
            evaluating: written(&self.root, None),
            expanded: written(&self.root, Some(&evaluation)),
            result: self
                .value(scope)
                .map_or_else(|e| e.to_string(), |v| shown(&v)),
        }
    }
}

fn written(node: &Node, evaluation: Option<&Evaluation<'_>>) -> String {
    let value = |evaluation: &Evaluation<'_>| evaluation.value(node).ok().map(|v| shown(&v));
    match node {
        Node::Literal(value) => shown(value),
        Node::Variables => "variables".to_owned(),
        Node::Dependencies => "dependencies".to_owned(),
        Node::All(inner) => match evaluation.and_then(value) {
            Some(value) => value,
            None => format!("{}[*]", written(inner, None)),
        },
        Node::Index(inner, index) => match evaluation.and_then(value) {
            Some(value) => value,
            None => format!("{}[{}]", written(inner, None), written(index, None)),
        },
        Node::Call(function, arguments) => {
            if let Some(value) = evaluation.filter(|_| function.is_status()).and_then(value) {
                return value;
            }
            let arguments: Vec<_> = arguments
                .iter()
                .map(|argument| written(argument, evaluation))
                .collect();
            format!("{}({})", function.name(), arguments.join(", "))
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "Null".to_owned(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::List(_) | Value::Filtered(_) => "Array".to_owned(),
        Value::Object(_) | Value::Variables => "Object".to_owned(),
        Value::Boolean(_) | Value::Number(_) | Value::Version(_) => {
            value.text().unwrap_or_default()
        }
    }
}
