//! Tokens to a tree.

use super::token::{Token, tokens};
use super::value::Value;

/// The longest expression, in characters.
const MAX_LENGTH: usize = 21_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 50;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Something that has no place in an expression.
    #[error("unrecognized value: '{0}'")]
    Unrecognized(String),
    /// A function that does not exist.
    #[error("unrecognized function: '{0}'")]
    UnknownFunction(String),
    /// Too few or too many arguments.
    #[error("wrong number of arguments for '{0}'")]
    Arguments(String),
    /// Something else was expected here.
    #[error("unexpected symbol: '{0}'")]
    Unexpected(String),
    /// It ended too early.
    #[error("unexpected end of the expression")]
    End,
    /// Longer or deeper than anybody writes.
    #[error("the expression is too long or too deep")]
    TooBig,
}

/// A parsed condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub(crate) root: Node,
    text: String,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Literal(Value),
    Variables,
    Call(Function, Vec<Self>),
    Index(Box<Self>, Box<Self>),
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// What can be called.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)* }
        impl Function {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
            fn takes(self, count: usize) -> bool {
                match self { $(Self::$variant => ($least..=$most).contains(&count),)* }
            }
        }
    };
}

functions! {
    Always "always" 0 0,
    Canceled "canceled" 0 0,
    Failed "failed" 0 0,
    Succeeded "succeeded" 0 0,
    SucceededOrFailed "succeededorfailed" 0 0,
    And "and" 2 255,
    Or "or" 2 255,
    Not "not" 1 1,
    Xor "xor" 2 2,
    Eq "eq" 2 2,
    Ne "ne" 2 2,
    Gt "gt" 2 2,
    Ge "ge" 2 2,
    Lt "lt" 2 2,
    Le "le" 2 2,
    In "in" 2 255,
    NotIn "notin" 2 255,
    Contains "contains" 2 2,
    ContainsValue "containsvalue" 2 2,
    StartsWith "startswith" 2 2,
    EndsWith "endswith" 2 2,
    Coalesce "coalesce" 2 255,
    Format "format" 1 255,
    Join "join" 2 2,
    Split "split" 2 2,
    Length "length" 1 1,
    Lower "lower" 1 1,
    Upper "upper" 1 1,
    Trim "trim" 1 1,
    Replace "replace" 3 3,
    Iif "iif" 3 3,
}

impl Expression {
    /// Parses a condition; none, or a blank one, is `succeeded()`.
    pub fn condition(text: Option<&str>) -> Result<Self, ParseError> {
        match text.map(str::trim) {
            None | Some("") => Self::parse("succeeded()"),
            Some(text) => Self::parse(text),
        }
    }

    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(ParseError::TooBig);
        }
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
        };
        let root = parser.node(0)?;
        match parser.next() {
            None => Ok(Self {
                root,
                text: text.to_owned(),
            }),
            Some(token) => Err(unexpected(&token)),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self, mark: char) -> bool {
        self.tokens.get(self.at) == Some(&Token::Mark(mark))
    }

    fn expect(&mut self, mark: char) -> Result<(), ParseError> {
        match self.next() {
            Some(Token::Mark(found)) if found == mark => Ok(()),
            Some(token) => Err(unexpected(&token)),
            None => Err(ParseError::End),
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(ParseError::TooBig);
        }
        let mut node = match self.next().ok_or(ParseError::End)? {
            Token::Literal(value) => return Ok(Node::Literal(value)),
            Token::Name(name) if self.peek('(') => self.call(&name, depth)?,
            Token::Name(name) if name == "variables" => Node::Variables,
            Token::Name(name) => return Err(ParseError::Unrecognized(name)),
            token @ Token::Mark(_) => return Err(unexpected(&token)),
        };
        loop {
            let index = if self.peek('[') {
                self.at += 1;
                let index = self.node(depth + 1)?;
                self.expect(']')?;
                index
            } else if self.peek('.') {
                self.at += 1;
                match self.next().ok_or(ParseError::End)? {
                    Token::Name(name) => Node::Literal(Value::Text(name)),
                    token => return Err(unexpected(&token)),
                }
            } else {
                return Ok(node);
            };
            node = Node::Index(Box::new(node), Box::new(index));
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Node, ParseError> {
        let function =
            Function::named(name).ok_or_else(|| ParseError::UnknownFunction(name.to_owned()))?;
        self.expect('(')?;
        let mut arguments = Vec::new();
        if self.peek(')') {
            self.at += 1;
        } else {
            loop {
                arguments.push(self.node(depth + 1)?);
                if self.peek(')') {
                    self.at += 1;
                    break;
                }
                self.expect(',')?;
            }
        }
        if function.takes(arguments.len()) {
            Ok(Node::Call(function, arguments))
        } else {
            Err(ParseError::Arguments(name.to_owned()))
        }
    }
}

fn unexpected(token: &Token) -> ParseError {
    ParseError::Unexpected(match token {
        Token::Literal(value) => value.text().unwrap_or_default(),
        Token::Name(name) => name.clone(),
        Token::Mark(mark) => mark.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_expression_says_why() {
        for (text, error) in [
            ("succeeded(", ParseError::End),
            ("succeeded() x", ParseError::Unexpected("x".into())),
            ("not()", ParseError::Arguments("not".into())),
            ("and(true,)", ParseError::Unexpected(")".into())),
            ("eq('a, 'b')", ParseError::Unrecognized("')".into())),
            ("nope()", ParseError::UnknownFunction("nope".into())),
            (
                "dependencies.a",
                ParseError::Unrecognized("dependencies".into()),
            ),
            ("a && b", ParseError::Unrecognized("&& b".into())),
        ] {
            let found = Expression::parse(text).unwrap_err();
            assert_eq!(found, error, "{text}");
        }
        let deep = format!("{}true{}", "not(".repeat(60), ")".repeat(60));
        assert_eq!(Expression::parse(&deep).unwrap_err(), ParseError::TooBig);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z'(),.\\[\\]0-9 -]{0,40}") {
            let _ = Expression::parse(&text);
        }
    }
}
