//! A tree to a value.

use super::parse::{Expression, Function, Node};
use super::value::Value;
use dayfly_wire::event::TaskResult;
use std::cmp::Ordering;

/// What an expression can see.
pub struct Scope<'a> {
    /// A variable's value by name.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The job's result so far.
    pub status: TaskResult,
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
}

impl Expression {
    /// Whether the condition holds.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluateError> {
        evaluate(&self.root, scope).map(|value| value.truth())
    }
}

fn evaluate(node: &Node, scope: &Scope<'_>) -> Result<Value, EvaluateError> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Variables => Ok(Value::Variables),
        Node::Index(node, index) => {
            let (value, index) = (evaluate(node, scope)?, evaluate(index, scope)?);
            Ok(index_value(&value, &index, scope))
        }
        Node::Call(function, arguments) => call(*function, arguments, scope),
    }
}

fn index_value(value: &Value, index: &Value, scope: &Scope<'_>) -> Value {
    match (value, index) {
        (Value::Variables, index) => index
            .text()
            .and_then(|name| (scope.variable)(&name))
            .map_or(Value::Null, Value::Text),
        (Value::List(values), Value::Number(index)) if *index >= 0.0 => {
            // Beyond the end, and beyond what an index can be, there is nothing.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            values.get(*index as usize).cloned().unwrap_or(Value::Null)
        }
        _ => Value::Null,
    }
}

fn call(function: Function, arguments: &[Node], scope: &Scope<'_>) -> Result<Value, EvaluateError> {
    use Function as F;
    use TaskResult as R;
    let at = |index: usize| {
        arguments
            .get(index)
            .map_or(Ok(Value::Null), |node| evaluate(node, scope))
    };
    let text = |index: usize| at(index).map(|value| value.text().unwrap_or_default());
    let status = |wanted: &[R]| Value::Boolean(wanted.contains(&scope.status));
    let order = |accept: fn(Ordering) -> bool| match at(0)?.compare(&at(1)?) {
        Some(ordering) => Ok(Value::Boolean(accept(ordering))),
        None => Err(EvaluateError::NotComparable),
    };
    let search = |accept: fn(&str, &str) -> bool| {
        let (whole, part) = (text(0)?.to_uppercase(), text(1)?.to_uppercase());
        Ok(Value::Boolean(accept(&whole, &part)))
    };
    Ok(match function {
        F::Always => Value::Boolean(true),
        F::Canceled => status(&[R::Canceled]),
        F::Failed => status(&[R::Failed]),
        F::Succeeded => status(&[R::Succeeded, R::SucceededWithIssues]),
        F::SucceededOrFailed => status(&[R::Succeeded, R::SucceededWithIssues, R::Failed]),
        F::And => Value::Boolean(!any(arguments, scope, |value| !value.truth())?),
        F::Or => Value::Boolean(any(arguments, scope, Value::truth)?),
        F::Not => Value::Boolean(!at(0)?.truth()),
        F::Xor => Value::Boolean(at(0)?.truth() != at(1)?.truth()),
        F::Eq => Value::Boolean(at(0)?.equals(&at(1)?)),
        F::Ne => Value::Boolean(!at(0)?.equals(&at(1)?)),
        F::Gt => order(Ordering::is_gt)?,
        F::Ge => order(Ordering::is_ge)?,
        F::Lt => order(Ordering::is_lt)?,
        F::Le => order(Ordering::is_le)?,
        F::In => Value::Boolean(is_in(arguments, scope)?),
        F::NotIn => Value::Boolean(!is_in(arguments, scope)?),
        F::Contains => search(|whole, part| whole.contains(part))?,
        F::StartsWith => search(|whole, part| whole.starts_with(part))?,
        F::EndsWith => search(|whole, part| whole.ends_with(part))?,
        F::ContainsValue => {
            let (values, wanted) = (at(0)?, at(1)?);
            let Value::List(values) = values else {
                return Ok(Value::Boolean(false));
            };
            Value::Boolean(values.iter().any(|value| wanted.equals(value)))
        }
        F::Coalesce => coalesce(arguments, scope)?,
        F::Format => Value::Text(format_text(
            &text(0)?,
            |index| text(index + 1),
            arguments.len() - 1,
        )?),
        F::Join => Value::Text(join(&text(0)?, &at(1)?)),
        F::Split => Value::List(
            text(0)?
                .split(|c| text(1).is_ok_and(|marks| marks.contains(c)))
                .map(|part| Value::Text(part.to_owned()))
                .collect(),
        ),
        F::Length => length(&at(0)?),
        F::Lower => Value::Text(text(0)?.to_lowercase()),
        F::Upper => Value::Text(text(0)?.to_uppercase()),
        F::Trim => Value::Text(text(0)?.trim().to_owned()),
        F::Replace => Value::Text(text(0)?.replace(&text(1)?, &text(2)?)),
        F::Iif => at(if at(0)?.truth() { 1 } else { 2 })?,
    })
}

fn any(
    arguments: &[Node],
    scope: &Scope<'_>,
    accept: impl Fn(&Value) -> bool,
) -> Result<bool, EvaluateError> {
    for node in arguments {
        if accept(&evaluate(node, scope)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_in(arguments: &[Node], scope: &Scope<'_>) -> Result<bool, EvaluateError> {
    let Some((first, rest)) = arguments.split_first() else {
        return Ok(false);
    };
    let left = evaluate(first, scope)?;
    any(rest, scope, |value| left.equals(value))
}

fn coalesce(arguments: &[Node], scope: &Scope<'_>) -> Result<Value, EvaluateError> {
    let mut last = Value::Null;
    for node in arguments {
        last = evaluate(node, scope)?;
        if !matches!(&last, Value::Null) && last != Value::Text(String::new()) {
            break;
        }
    }
    Ok(last)
}

fn length(value: &Value) -> Value {
    let length = match value {
        Value::List(values) => values.len(),
        other => other.text().unwrap_or_default().chars().count(),
    };
    u32::try_from(length).map_or(Value::Null, |length| Value::Number(f64::from(length)))
}

fn join(separator: &str, value: &Value) -> String {
    match value {
        Value::List(values) => values
            .iter()
            .map(|value| value.text().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(separator),
        other => other.text().unwrap_or_default(),
    }
}

/// `{0}` is the first argument; `{{` and `}}` are braces.
fn format_text(
    text: &str,
    argument: impl Fn(usize) -> Result<String, EvaluateError>,
    count: usize,
) -> Result<String, EvaluateError> {
    let mut formatted = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        formatted.push_str(&rest[..at]);
        let (brace, behind) = rest[at..].split_at(1);
        if behind.starts_with(brace) {
            formatted.push_str(brace);
            rest = &behind[1..];
            continue;
        }
        let (number, behind) = behind.split_once('}').ok_or(EvaluateError::Format)?;
        let index: usize = number.trim().parse().map_err(|_| EvaluateError::Format)?;
        if brace == "}" || index >= count {
            return Err(EvaluateError::Format);
        }
        formatted.push_str(&argument(index)?);
        rest = behind;
    }
    Ok(formatted + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, status: TaskResult) -> Result<bool, EvaluateError> {
        let variable = |name: &str| match name.to_lowercase().as_str() {
            "build.sourcebranch" => Some("refs/heads/main".to_owned()),
            "flag" => Some("false".to_owned()),
            "count" => Some("12".to_owned()),
            _ => None,
        };
        Expression::parse(text).unwrap().holds(&Scope {
            variable: &variable,
            status,
        })
    }

    #[test]
    fn status_functions() {
        use TaskResult::{Canceled, Failed, Succeeded, SucceededWithIssues};
        for (text, yes) in [
            ("succeeded()", &[Succeeded, SucceededWithIssues][..]),
            ("failed()", &[Failed]),
            (
                "succeededOrFailed()",
                &[Succeeded, SucceededWithIssues, Failed],
            ),
            ("canceled()", &[Canceled]),
            (
                "always()",
                &[Succeeded, SucceededWithIssues, Failed, Canceled],
            ),
        ] {
            for status in [Succeeded, SucceededWithIssues, Failed, Canceled] {
                assert_eq!(
                    holds(text, status),
                    Ok(yes.contains(&status)),
                    "{text} {status}"
                );
            }
        }
    }

    #[test]
    fn table_of_expressions() {
        for (text, expected) in [
            (
                "eq(variables['Build.SourceBranch'], 'REFS/heads/MAIN')",
                true,
            ),
            ("and(succeeded(), ne(variables.missing, 'x'))", true),
            ("eq(variables.flag, true)", false),
            ("eq(variables.flag, false)", true),
            // The right side turns into the left one's kind: any text is true.
            ("eq(true, variables.flag)", true),
            ("gt(variables.count, 2)", false),
            ("gt(2, variables.count)", false),
            ("lt(2, variables['count'])", true),
            ("eq(variables.missing, '')", true),
            ("in('b', 'a', 'B')", true),
            ("notIn('b', 'a', 'c')", true),
            ("contains('hello', 'ELL')", true),
            (
                "startsWith(variables['build.sourcebranch'], 'refs/heads/')",
                true,
            ),
            ("endsWith('abc', 'bc')", true),
            ("eq(coalesce(variables.missing, '', 'x'), 'x')", true),
            ("eq(format('{0}-{{{1}}}', 'a', 1.50), 'a-{1.5}')", true),
            ("ge(1.10.0, 1.9.5)", true),
            ("eq(1, '01')", true),
            ("xor(true, false)", true),
            ("not(or(false, ''))", true),
            ("containsValue(split('a;b', ';'), 'B')", true),
            ("eq(join('-', split('a,b', ',')), 'a-b')", true),
            ("eq(length('four'), 4)", true),
            ("eq(iif(failed(), 'f', upper('s')), 'S')", true),
            ("eq(split('a,b', ',')[1], 'b')", true),
            ("eq('it''s', 'it''s')", true),
        ] {
            assert_eq!(holds(text, TaskResult::Succeeded), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        assert_eq!(
            holds("gt(1, 'abc')", TaskResult::Succeeded),
            Err(EvaluateError::NotComparable)
        );
        assert_eq!(
            holds("eq(format('{3}', 1), '')", TaskResult::Succeeded),
            Err(EvaluateError::Format)
        );
    }
}
