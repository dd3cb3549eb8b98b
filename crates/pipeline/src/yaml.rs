//! YAML to a tree that knows its places. What a pipeline file needs no use of is refused: anchors and aliases, tags,
//! merged keys, further documents, and anything larger than people write.

use crate::problem::{Position, Problem};
use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::collections::BTreeSet;

/// The longest file, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 24;
/// The most values.
const MAX_NODES: usize = 20_000;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text; `plain` when it is not quoted, so that it may mean a number, yes or no, or nothing.
    Text { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// Keys and their values, in order.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// Reads a file that has one document.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    let start = Position { line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        return Err(Problem::new(
            start,
            "",
            format!("the file is longer than {MAX_BYTES} bytes"),
        ));
    }
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        nodes: 0,
        at: start,
    };
    reader.document()
}

struct Reader<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> {
    events: I,
    nodes: usize,
    at: Position,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Reader<'a, I> {
    fn next(&mut self) -> Result<Event<'a>, Problem> {
        match self.events.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.at = position(&span.start);
                Ok(event)
            }
            Some(Err(error)) => Err(Problem::new(
                position(error.marker()),
                "",
                format!("this is no YAML: {}", error.kind()),
            )),
        }
    }

    fn document(&mut self) -> Result<Node, Problem> {
        let empty = "the file is empty";
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Err(self.problem("", empty)),
                first => {
                    let node = self.node(first, "", 0)?;
                    self.end()?;
                    return Ok(node);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), Problem> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd => {}
                _ => return Err(self.problem("", "a pipeline file has one YAML document")),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, key: &str, depth: usize) -> Result<Node, Problem> {
        let at = self.at;
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(self.problem(key, "the file has too many values, or nests them too deep"));
        }
        let (anchor, is_tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(self.problem(key, "anchors and aliases are not taken; write it out"));
        }
        if is_tagged {
            return Err(self.problem(key, "tags are not taken; leave `!...` out"));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => Value::Text {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => self.list(key, depth)?,
            Event::MappingStart(..) => self.map(key, depth)?,
            _ => return Err(self.problem(key, "anchors and aliases are not taken; write it out")),
        };
        Ok(Node { at, value })
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => {
                    let key = format!("{key}[{}]", items.len());
                    items.push(self.node(event, &key, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, key: &str, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Map(entries));
            }
            let name = self.node(event, key, depth + 1)?;
            let Value::Text { text, .. } = name.value else {
                return Err(Problem::new(name.at, key, "a key must be a text"));
            };
            let inner = below(key, &text);
            if text == "<<" {
                return Err(Problem::new(
                    name.at,
                    &inner,
                    "merged keys are not taken; write it out",
                ));
            }
            if !seen.insert(text.clone()) {
                return Err(Problem::new(name.at, &inner, "this key is there twice"));
            }
            let event = self.next()?;
            let value = self.node(event, &inner, depth + 1)?;
            entries.push(Entry {
                key: text,
                at: name.at,
                value,
            });
        }
    }

    fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.at, key, message)
    }
}

/// The key of a member.
pub(crate) fn below(key: &str, name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    if key.is_empty() {
        name
    } else {
        format!("{key}.{name}")
    }
}

fn position(mark: &Marker) -> Position {
    Position {
        line: mark.line().max(1),
        column: mark.col() + 1,
    }
}
