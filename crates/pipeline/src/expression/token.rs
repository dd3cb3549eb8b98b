//! Text to tokens.

use super::parse::ParseError;
use super::value::Value;

/// A token of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A literal.
    Literal(Value),
    /// A function's or value's name, lower case, or a property's.
    Name(String),
    /// One of `( ) [ ] , . *`.
    Mark(char),
}

/// Splits an expression.
pub fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' => string(rest)?,
            '(' | ')' | '[' | ']' | ',' | '*' => (Token::Mark(first), 1),
            '.' if follows_value(found.last()) => (Token::Mark('.'), 1),
            '-' | '.' | '0'..='9' => number(rest)?,
            'a'..='z' | 'A'..='Z' | '_' => name(rest, found.last()),
            _ => return Err(ParseError::Unrecognized(rest.chars().take(20).collect())),
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn follows_value(last: Option<&Token>) -> bool {
    matches!(last, Some(Token::Name(_) | Token::Mark(')' | ']' | '*')))
}

fn string(text: &str) -> Result<(Token, usize), ParseError> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '\'' {
            value.push(character);
        } else if characters.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            return Ok((Token::Literal(Value::Text(value)), at + 1));
        }
    }
    Err(ParseError::Unrecognized(text.chars().take(20).collect()))
}

fn number(text: &str) -> Result<(Token, usize), ParseError> {
    let length = text
        .find(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '(' | ')' | ','))
        .unwrap_or(text.len());
    let word = &text[..length];
    let value = if word.matches('.').count() >= 2 {
        Value::version(word)
    } else {
        Value::number(word)
    };
    value
        .map(|value| (Token::Literal(value), length))
        .ok_or_else(|| ParseError::Unrecognized(word.to_owned()))
}

fn name(text: &str, last: Option<&Token>) -> (Token, usize) {
    let length = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let word = &text[..length];
    let token = if last == Some(&Token::Mark('.')) {
        Token::Name(word.to_owned())
    } else {
        match word.to_ascii_lowercase().as_str() {
            "true" => Token::Literal(Value::Boolean(true)),
            "false" => Token::Literal(Value::Boolean(false)),
            lower => Token::Name(lower.to_owned()),
        }
    };
    (token, length)
}
