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
    /// A function that does not exist, or not here.
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

/// Where an expression stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A step's condition: `variables`, and how the job goes so far.
    Step,
    /// A job's condition: `variables`, `dependencies`, and how the jobs before it ended.
    Job,
    /// A variable's `$[ ]`: `variables` and `dependencies`.
    Variable,
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub(super) root: Node,
    pub(super) is_default: bool,
    text: String,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Literal(Value),
    Variables,
    Dependencies,
    Call(Function, Vec<Self>),
    Index(Box<Self>, Box<Self>),
    /// `[*]` and `.*`.
    All(Box<Self>),
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// What can be called.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant,)* }
        impl Function {
            const ALL: &[Self] = &[$(Self::$variant,)*];
            /// As people write it.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
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
    Failed "failed" 0 255,
    Succeeded "succeeded" 0 255,
    SucceededOrFailed "succeededOrFailed" 0 255,
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
    NotIn "notIn" 2 255,
    Contains "contains" 2 2,
    ContainsValue "containsValue" 2 2,
    StartsWith "startsWith" 2 2,
    EndsWith "endsWith" 2 2,
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
    ConvertToJson "convertToJson" 1 1,
}

impl Function {
    fn named(name: &str, place: Place) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|function| function.name().eq_ignore_ascii_case(name))
            .copied()
            .filter(|function| place != Place::Variable || !function.is_status())
    }

    /// Whether it asks how things went.
    pub(super) fn is_status(self) -> bool {
        matches!(
            self,
            Self::Always
                | Self::Canceled
                | Self::Failed
                | Self::Succeeded
                | Self::SucceededOrFailed
        )
    }
}

impl Expression {
    /// Parses a step's condition; none, or a blank one, is `succeeded()`.
    pub fn condition(text: Option<&str>) -> Result<Self, ParseError> {
        Self::condition_at(text, Place::Step)
    }

    /// Parses the condition of a step or a job; none, or a blank one, is `succeeded()`.
    pub fn condition_at(text: Option<&str>, place: Place) -> Result<Self, ParseError> {
        match text.map(str::trim) {
            None | Some("") => Ok(Self {
                root: Node::Call(Function::Succeeded, Vec::new()),
                is_default: true,
                text: "succeeded()".to_owned(),
            }),
            Some(text) => Self::parse(text, place),
        }
    }

    /// Parses an expression.
    pub fn parse(text: &str, place: Place) -> Result<Self, ParseError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(ParseError::TooBig);
        }
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            place,
        };
        let root = parser.node(0)?;
        match parser.next() {
            None => Ok(Self {
                root,
                is_default: false,
                text: text.to_owned(),
            }),
            Some(token) => Err(unexpected(&token)),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression as it was written; none for a condition that was not.
    pub fn written(&self) -> Option<&str> {
        (!self.is_default).then_some(self.text.as_str())
    }

    /// The jobs of `dependencies.NAME` and `dependencies['NAME']`.
    pub fn named_dependencies(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.visit(&mut |node| {
            if let Node::Index(of, name) = node
                && let (Node::Dependencies, Node::Literal(Value::Text(name))) = (&**of, &**name)
            {
                found.push(name.clone());
            }
        });
        found
    }

    /// The jobs of `succeeded('NAME')` and the like.
    pub fn asked_jobs(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.visit(&mut |node| {
            if let Node::Call(function, arguments) = node
                && function.is_status()
            {
                found.extend(arguments.iter().filter_map(|argument| match argument {
                    Node::Literal(Value::Text(name)) => Some(name.clone()),
                    _ => None,
                }));
            }
        });
        found
    }

    /// Whether `dependencies` is anywhere in it.
    pub fn uses_dependencies(&self) -> bool {
        let mut found = false;
        self.root
            .visit(&mut |node| found |= matches!(node, Node::Dependencies));
        found
    }
}

impl Node {
    fn visit(&self, look: &mut impl FnMut(&Self)) {
        look(self);
        match self {
            Self::Literal(_) | Self::Variables | Self::Dependencies => {}
            Self::All(node) => node.visit(look),
            Self::Index(node, index) => {
                node.visit(look);
                index.visit(look);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|node| node.visit(look)),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    place: Place,
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

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek(mark);
        self.at += usize::from(found);
        found
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
            Token::Name(name) => self.named(name)?,
            token @ Token::Mark(_) => return Err(unexpected(&token)),
        };
        // A chain of indexes is as deep a tree as nested brackets are.
        for _ in depth..MAX_DEPTH {
            node = if self.take('[') {
                if self.take('*') {
                    self.expect(']')?;
                    Node::All(Box::new(node))
                } else {
                    let index = self.node(depth + 1)?;
                    self.expect(']')?;
                    Node::Index(Box::new(node), Box::new(index))
                }
            } else if self.take('.') {
                match self.next().ok_or(ParseError::End)? {
                    Token::Name(name) => {
                        Node::Index(Box::new(node), Box::new(Node::Literal(Value::Text(name))))
                    }
                    Token::Mark('*') => Node::All(Box::new(node)),
                    token => return Err(unexpected(&token)),
                }
            } else {
                return Ok(node);
            };
        }
        Err(ParseError::TooBig)
    }

    fn named(&self, name: String) -> Result<Node, ParseError> {
        match name.as_str() {
            "variables" => Ok(Node::Variables),
            "dependencies" if self.place != Place::Step => Ok(Node::Dependencies),
            _ => Err(ParseError::Unrecognized(name)),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Node, ParseError> {
        let function = Function::named(name, self.place)
            .ok_or_else(|| ParseError::UnknownFunction(name.to_owned()))?;
        self.expect('(')?;
        let mut arguments = Vec::new();
        if !self.take(')') {
            loop {
                arguments.push(self.node(depth + 1)?);
                if self.take(')') {
                    break;
                }
                self.expect(',')?;
            }
        }
        // A step has no other jobs to ask about.
        let may_name_jobs = self.place != Place::Step || !function.is_status();
        if function.takes(arguments.len()) && (may_name_jobs || arguments.is_empty()) {
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
            ("succeeded('a')", ParseError::Arguments("succeeded".into())),
            ("variables.*.", ParseError::End),
            ("eq(*, 1)", ParseError::Unexpected("*".into())),
            ("a && b", ParseError::Unrecognized("&& b".into())),
        ] {
            let found = Expression::parse(text, Place::Step).unwrap_err();
            assert_eq!(found, error, "{text}");
        }
        for deep in [
            format!("{}true{}", "not(".repeat(60), ")".repeat(60)),
            format!("variables{}", ".a".repeat(60)),
            format!("variables{}", "[*]".repeat(60)),
        ] {
            let found = Expression::parse(&deep, Place::Job).unwrap_err();
            assert_eq!(found, ParseError::TooBig);
        }
    }

    #[test]
    fn a_variable_cannot_ask_how_jobs_went() {
        let found = Expression::parse("succeeded('a')", Place::Variable).unwrap_err();
        assert_eq!(found, ParseError::UnknownFunction("succeeded".into()));
        assert!(Expression::parse("dependencies.a.result", Place::Variable).is_ok());
    }

    #[test]
    fn jobs_that_are_named_are_found() {
        let text = "and(succeeded('A'), eq(dependencies.B.result, dependencies['C'].outputs['s.x']), in('x', dependencies.*.result))";
        let expression = Expression::parse(text, Place::Job).unwrap();
        assert_eq!(expression.asked_jobs(), ["A"]);
        assert_eq!(expression.named_dependencies(), ["B", "C"]);
        assert!(expression.uses_dependencies());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z'(),.\\[\\]0-9 *-]{0,40}") {
            let _ = Expression::parse(&text, Place::Job);
        }
    }
}
