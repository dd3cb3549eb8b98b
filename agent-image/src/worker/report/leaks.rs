//! The whole way of what a step writes: chunks, lines, commands, the outbox, and every byte that leaves it. Whatever
//! the secrets, their encodings and the chunking: none of them is in it.

use super::outbox::Outbox;
use crate::worker::command_effects::{Effect, interpret};
use crate::worker::commands::{Parsed, parse};
use crate::worker::lines::{Lines, Output};
use crate::worker::mask::Masker;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{Issue, IssueKind, Record, RecordVariable};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

const STEP: RecordId = RecordId(Uuid::from_u128(2));

/// What a step writes, one after the other.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// A secret, in one of its encodings, behind something that the encoding takes in.
    Secret(Index, Encoding, String),
    LineEnd,
    /// The beginning of a logging command; what follows is its data.
    Command(&'static str),
    /// A command whose property is a secret.
    Property(Index),
    /// A secret that nobody knew before.
    SetSecret(String),
}

/// Encodings that are promised, by encoders that are not the masker's.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Plain,
    Base64,
    Base64Url,
    Base64UrlPadded,
    Hex,
    UpperHex,
    Percent,
    LowerPercent,
    Json,
    Xml,
    XmlNumbers,
    SingleQuoted,
    Command,
}

fn percent(text: &str, lower: bool) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escaped = |byte: u8| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte if lower => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

impl Encoding {
    fn encode(self, before: &str, secret: &str) -> String {
        let both = format!("{before}{secret}");
        match self {
            Self::Plain => both,
            Self::Base64 => STANDARD.encode(both),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(both),
            Self::Base64UrlPadded => URL_SAFE.encode(both),
            Self::Hex => both.bytes().map(|byte| format!("{byte:02x}")).collect(),
            Self::UpperHex => both.bytes().map(|byte| format!("{byte:02X}")).collect(),
            Self::Percent => percent(&both, false),
            Self::LowerPercent => percent(&both, true),
            Self::Json => serde_json::to_string(&both).unwrap(),
            Self::Xml => both
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&apos;"),
            Self::XmlNumbers => both
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
                .replace('\'', "&#39;"),
            Self::SingleQuoted => format!("'{}'", both.replace('\'', r"'\''")),
            Self::Command => both.replace('%', "%AZP25").replace('\r', "%0D"),
        }
    }
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    prop::sample::select(vec![
        Encoding::Plain,
        Encoding::Base64,
        Encoding::Base64Url,
        Encoding::Base64UrlPadded,
        Encoding::Hex,
        Encoding::UpperHex,
        Encoding::Percent,
        Encoding::LowerPercent,
        Encoding::Json,
        Encoding::Xml,
        Encoding::XmlNumbers,
        Encoding::SingleQuoted,
        Encoding::Command,
    ])
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let secret = (any::<Index>(), any_encoding(), "[a-z:]{0,3}");
    prop_oneof![
        2 => "[ -~]{0,12}".prop_map(Piece::Text),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Piece::Bytes),
        5 => secret.prop_map(|(index, encoding, before)| Piece::Secret(index, encoding, before)),
        3 => Just(Piece::LineEnd),
        2 => prop::sample::select(vec![
            "##vso[task.logissue type=error]", "##vso[task.setprogress value=5]",
            "##vso[task.setvariable variable=v;isOutput=true]", "##vso[task.debug]",
            "##vso[task.complete result=Failed]", "##vso[", "##vso[bogus.thing]",
        ]).prop_map(Piece::Command),
        1 => any::<Index>().prop_map(Piece::Property),
        1 => "[b-y]{8,12}".prop_map(Piece::SetSecret),
    ]
}

/// What a step does with a line, as far as it leaves the worker.
fn obey(outbox: &mut Outbox, line: &str) {
    let record = match parse(line) {
        Parsed::Text => {
            outbox.write(Timestamp::UNIX_EPOCH, STEP, line);
            return;
        }
        Parsed::Malformed => {
            outbox.write(Timestamp::UNIX_EPOCH, STEP, line);
            with_issue(format!("'{line}' is no command"), Default::default())
        }
        Parsed::Command(command) => match interpret(command, "/s") {
            Effect::AddSecret(secret) => {
                let _ = outbox.add_secret_of_step(&secret);
                return;
            }
            Effect::Issue { message, data, .. } => with_issue(message, data),
            Effect::SetVariable(set) => {
                let variable = RecordVariable {
                    value: Some(set.value),
                    is_secret: set.secret,
                };
                Record {
                    variables: [(set.name, variable)].into(),
                    ..Record::default()
                }
            }
            Effect::Progress { operation, .. } => Record {
                current_operation: Some(operation),
                ..Record::default()
            },
            Effect::Complete { message, .. } => Record {
                result_code: Some(message),
                ..Record::default()
            },
            Effect::Warn(text) | Effect::Fail(text) | Effect::Debug(text) => {
                outbox.write(Timestamp::UNIX_EPOCH, STEP, &text);
                with_issue(text, Default::default())
            }
            Effect::SetTaskVariable { .. }
            | Effect::SetEndpoint(_)
            | Effect::Upload(_)
            | Effect::PrependPath(_) => return,
        },
    };
    outbox.update(Record { id: STEP, ..record });
}

fn with_issue(message: String, data: std::collections::BTreeMap<String, String>) -> Record {
    Record {
        issues: vec![Issue {
            kind: IssueKind::Error,
            category: None,
            message,
            data,
        }],
        ..Record::default()
    }
}

/// Everything that left, as texts.
fn sent(outbox: &mut Outbox) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((_, piece)) = outbox.take_log(|_| false) {
        texts.push(String::from_utf8(piece.to_vec()).unwrap());
    }
    while let Some(lines) = outbox.take_feed() {
        texts.extend(lines.value);
    }
    for record in outbox.records.take() {
        texts.extend(
            record
                .current_operation
                .into_iter()
                .chain(record.result_code),
        );
        for issue in record.issues {
            texts.push(issue.message);
            texts.extend(
                issue
                    .data
                    .into_iter()
                    .flat_map(|(name, value)| [name, value]),
            );
        }
        for (name, variable) in record.variables {
            texts.push(name);
            texts.extend(variable.value);
        }
    }
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_secret_leaves_in_any_encoding_by_any_way_in_any_chunking(
        // Characters that every encoding treats in its own way; long enough not to turn up by chance.
        secrets in prop::collection::vec("[A-Z][ -)+-~äß€]{6,14}[A-Z]", 1..4),
        pieces in prop::collection::vec(any_piece(), 1..24),
        chunks in prop::collection::vec(1usize..40, 1..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut masker = Masker::default();
        let _ = masker.add_all(secrets.iter().map(String::as_str));
        let mut outbox = Outbox::new(RecordId(Uuid::from_u128(1)), directory.path().to_owned(), masker);
        let mut written = Vec::new();
        let mut hidden: Vec<String> = secrets.clone();
        for piece in &pieces {
            match piece {
                Piece::Text(text) => written.extend_from_slice(text.as_bytes()),
                Piece::Bytes(bytes) => written.extend_from_slice(bytes),
                Piece::Secret(index, encoding, before) => {
                    let secret = index.get(&secrets);
                    let encoded = encoding.encode(before, secret);
                    written.extend_from_slice(encoded.as_bytes());
                    // Without what depends on the neighbours: base64 mixes them.
                    if before.is_empty() {
                        hidden.push(encoding.encode("", secret));
                    }
                }
                Piece::LineEnd => written.push(b'\n'),
                Piece::Command(command) => written.extend_from_slice(command.as_bytes()),
                Piece::Property(index) => {
                    let secret = index.get(&secrets).replace(['=', ';', ']', '%'], "");
                    let text = format!("\n##vso[task.logissue type=error;{secret}={secret};sourcepath={secret}]{secret}\n");
                    written.extend_from_slice(text.as_bytes());
                }
                Piece::SetSecret(secret) => {
                    written.extend_from_slice(format!("\n##vso[task.setsecret]{secret}\n{secret}\n").as_bytes());
                    hidden.push(secret.clone());
                }
            }
        }
        let mut lines = Lines::default();
        let mut rest = written.as_slice();
        for size in chunks.iter().cycle() {
            let (chunk, later) = rest.split_at((*size).min(rest.len()));
            rest = later;
            let mut assembled = Vec::new();
            outbox.assemble(&mut lines, chunk, &mut assembled);
            if rest.is_empty() {
                outbox.finish(&mut lines, &mut assembled);
            }
            for output in assembled {
                if let Output::Line(line) | Output::Piece(line) = output {
                    obey(&mut outbox, &line);
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        for text in sent(&mut outbox) {
            for secret in &hidden {
                prop_assert!(!text.contains(secret.as_str()), "{secret:?} is in {text:?}");
            }
        }
    }
}
