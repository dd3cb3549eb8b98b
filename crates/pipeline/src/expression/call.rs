//! What functions do.

use super::evaluate::{EvaluateError, Evaluation};
use super::format;
use super::parse::{Function, Node};
use super::value::Value;
use std::cmp::Ordering;

impl Evaluation<'_> {
    pub(super) fn call(
        &self,
        function: Function,
        arguments: &[Node],
    ) -> Result<Value, EvaluateError> {
        use Function as F;
        let at = |index: usize| {
            arguments
                .get(index)
                .map_or(Ok(Value::Null), |node| self.value(node))
        };
        let text = |index: usize| self.text_of(&at(index)?);
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
            F::Canceled | F::Failed | F::Succeeded | F::SucceededOrFailed => {
                self.status(function, arguments)?
            }
            F::And => Value::Boolean(!self.any(arguments, |value| !value.truth())?),
            F::Or => Value::Boolean(self.any(arguments, Value::truth)?),
            F::Not => Value::Boolean(!at(0)?.truth()),
            F::Xor => Value::Boolean(at(0)?.truth() != at(1)?.truth()),
            F::Eq => Value::Boolean(at(0)?.equals(&at(1)?)),
            F::Ne => Value::Boolean(!at(0)?.equals(&at(1)?)),
            F::Gt => order(Ordering::is_gt)?,
            F::Ge => order(Ordering::is_ge)?,
            F::Lt => order(Ordering::is_lt)?,
            F::Le => order(Ordering::is_le)?,
            F::In => Value::Boolean(self.is_in(arguments)?),
            F::NotIn => Value::Boolean(!self.is_in(arguments)?),
            F::Contains => search(|whole, part| whole.contains(part))?,
            F::StartsWith => search(|whole, part| whole.starts_with(part))?,
            F::EndsWith => search(|whole, part| whole.ends_with(part))?,
            F::ContainsValue => {
                let (values, wanted) = (at(0)?, at(1)?);
                Value::Boolean(values.items().into_iter().any(|value| wanted.equals(value)))
            }
            F::Coalesce => self.coalesce(arguments)?,
            F::Format => {
                let pattern = text(0)?;
                let formatted =
                    format::format(&pattern, |index| text(index + 1), arguments.len() - 1)?;
                Value::Text(self.count(formatted)?)
            }
            F::Join => Value::Text(self.join(&text(0)?, &at(1)?)?),
            F::Split => split(&text(0)?, &text(1)?),
            F::Length => length(&at(0)?),
            F::Lower => Value::Text(text(0)?.to_lowercase()),
            F::Upper => Value::Text(text(0)?.to_uppercase()),
            F::Trim => Value::Text(text(0)?.trim().to_owned()),
            F::Replace => self.replace(&text(0)?, &text(1)?, &text(2)?)?,
            F::Iif => at(if at(0)?.truth() { 1 } else { 2 })?,
            F::ConvertToJson => {
                let json = format::json(&at(0)?).ok_or(EvaluateError::Json)?;
                Value::Text(self.count(json)?)
            }
        })
    }

    fn status(&self, function: Function, arguments: &[Node]) -> Result<Value, EvaluateError> {
        let mut jobs = Vec::new();
        for argument in arguments {
            jobs.push(self.text_of(&self.value(argument)?)?);
        }
        let holds = function
            .question()
            .is_some_and(|question| self.asks(question, &jobs));
        Ok(Value::Boolean(holds))
    }

    fn any(
        &self,
        arguments: &[Node],
        accept: impl Fn(&Value) -> bool,
    ) -> Result<bool, EvaluateError> {
        for node in arguments {
            if accept(&self.value(node)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_in(&self, arguments: &[Node]) -> Result<bool, EvaluateError> {
        let Some((first, rest)) = arguments.split_first() else {
            return Ok(false);
        };
        let left = self.value(first)?;
        self.any(rest, |value| left.equals(value))
    }

    fn coalesce(&self, arguments: &[Node]) -> Result<Value, EvaluateError> {
        let mut last = Value::Null;
        for node in arguments {
            last = self.value(node)?;
            if !matches!(&last, Value::Null) && last != Value::Text(String::new()) {
                break;
            }
        }
        Ok(last)
    }

    fn join(&self, separator: &str, value: &Value) -> Result<String, EvaluateError> {
        let (Value::List(values) | Value::Filtered(values)) = value else {
            return self.text_of(value);
        };
        let mut joined = String::new();
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                joined.push_str(separator);
            }
            joined.push_str(&self.text_of(value)?);
            if joined.len() > self.left() {
                return Err(EvaluateError::TooBig);
            }
        }
        self.count(joined)
    }

    fn replace(&self, whole: &str, old: &str, new: &str) -> Result<Value, EvaluateError> {
        if old.is_empty() {
            return Ok(Value::Text(whole.to_owned()));
        }
        let grown = new.len().saturating_mul(whole.matches(old).count());
        if grown > self.left() {
            return Err(EvaluateError::TooBig);
        }
        Ok(Value::Text(self.count(whole.replace(old, new))?))
    }
}

/// Each character of `marks` ends a part.
fn split(text: &str, marks: &str) -> Value {
    Value::List(
        text.split(|c| marks.contains(c))
            .map(|part| Value::Text(part.to_owned()))
            .collect(),
    )
}

fn length(value: &Value) -> Value {
    let length = match value {
        Value::List(_) | Value::Filtered(_) | Value::Object(_) => value.items().len(),
        other => other.text().unwrap_or_default().chars().count(),
    };
    u32::try_from(length).map_or(Value::Null, |length| Value::Number(f64::from(length)))
}
