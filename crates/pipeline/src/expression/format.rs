//! Texts that functions write: `format` and `convertToJson`.

use super::evaluate::EvaluateError;
use super::value::Value;

/// `{0}` is the first argument; `{{` and `}}` are braces.
pub(super) fn format(
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

/// A value as JSON; the variables as a whole have none.
pub(super) fn json(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(_) => value.text()?,
        Value::Version(_) | Value::Text(_) => quoted(&value.text()?),
        Value::List(values) | Value::Filtered(values) => {
            let items: Option<Vec<_>> = values.iter().map(json).collect();
            format!("[{}]", items?.join(","))
        }
        Value::Object(members) => {
            let members: Option<Vec<_>> = members
                .iter()
                .map(|(name, value)| Some(format!("{}:{}", quoted(name), json(value)?)))
                .collect();
            format!("{{{}}}", members?.join(","))
        }
        Value::Variables => return None,
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
