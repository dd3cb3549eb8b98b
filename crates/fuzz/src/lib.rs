//! What is done with bytes of strangers, one function a parser.
//!
//! A function panics when a parser does, and when what it read does not keep what is promised of it: that writing and
//! reading it again changes nothing, that it does not matter how the bytes were cut. The test
//! of this crate calls them with a corpus, with what is near to it, and with random bytes.

use bytes::BytesMut;
use dayfly_agent::host::frame::{FrameCodec, STEP_HOST};
use dayfly_agent::host::protocol;
use dayfly_agent::worker::lines::{Lines, Output};
use dayfly_agent::worker::mask::{MASK, MINIMUM_LENGTH, Masker};
use dayfly_agent::worker::{commands, tasks};
use dayfly_keys::assertion::claimed_client;
use dayfly_keys::cluster_token::ClusterKeys;
use dayfly_keys::public_key::PublicKey;
use dayfly_keys::sealing::{SealingKey, SealingKeys};
use dayfly_keys::service_token::{Purpose, TokenKey, TokenKeys, claimed_typ};
use dayfly_keys::session_key::SessionKey;
use dayfly_pipeline::Pipeline;
use dayfly_pipeline::expression::{Expression, Place, Scope, Value};
use dayfly_pool_service::rules::{path, queueing};
use dayfly_wire::agent::{Agent, AgentPublicKey, Capabilities};
use dayfly_wire::collection::Collection;
use dayfly_wire::demand::{Demand, first_unsatisfied};
use dayfly_wire::event::TaskResult;
use dayfly_wire::identity;
use dayfly_wire::job::JobMessage;
use dayfly_wire::log::FeedLines;
use dayfly_wire::queue::QueueJob;
use dayfly_wire::request::JobRequest;
use dayfly_wire::session::Session;
use dayfly_wire::timeline::Record;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::LazyLock;
use tokio_util::codec::Decoder;

/// A parser and its name, which is also that of its directory in the corpus.
pub type Entry = (&'static str, fn(&[u8]));

/// All of them.
pub const ENTRIES: [Entry; 17] = [
    ("authorization", authorization),
    ("cluster_token", cluster_token),
    ("command", command),
    ("demand", demand),
    ("documents", documents),
    ("expression", expression),
    ("frame", frame),
    ("identity", identity_documents),
    ("masker", masker),
    ("message", message),
    ("path", folded_path),
    ("pipeline", pipeline),
    ("public_key", public_key),
    ("queue_job", queue_job),
    ("sealed", sealed),
    ("task", task),
    ("token", token),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A document that reads is written, read again, and is then the same.
fn document<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let written = serde_json::to_value(&read).ok();
    let again = written
        .clone()
        .and_then(|value| serde_json::from_value::<T>(value).ok());
    assert!(again.is_some(), "what was read cannot be written and read");
    let twice = again.and_then(|again| serde_json::to_value(&again).ok());
    assert_eq!(written, twice, "reading again changes it");
}

/// The documents of the agent protocol.
pub fn documents(bytes: &[u8]) {
    document::<Agent>(bytes);
    document::<JobMessage>(bytes);
    document::<JobRequest>(bytes);
    document::<Session>(bytes);
    document::<Collection<Record>>(bytes);
    document::<FeedLines>(bytes);
    document::<dayfly_wire::event::JobEvent>(bytes);
    document::<dayfly_wire::message::Envelope>(bytes);
}

/// The documents of the identity API.
pub fn identity_documents(bytes: &[u8]) {
    document::<identity::Claim>(bytes);
    document::<identity::ClaimedIdentity>(bytes);
    document::<identity::Accepted>(bytes);
    document::<identity::Finished>(bytes);
    document::<identity::Termination>(bytes);
    document::<identity::Refusal>(bytes);
}

/// Jobs as they are queued, with the rules that they are held against.
pub fn queue_job(bytes: &[u8]) {
    if let Ok(job) = serde_json::from_slice::<QueueJob>(bytes)
        && queueing::check(&job).is_ok()
    {
        let _ = queueing::named_repositories(&job);
    }
}

/// Demands. One that reads is written, read again, and is then the same.
pub fn demand(bytes: &[u8]) {
    let (demand, value) = text(bytes)
        .split_once('\n')
        .unwrap_or((text(bytes), "1.2.3"));
    let Ok(read) = demand.parse::<Demand>() else {
        return;
    };
    assert_eq!(read.to_string().parse::<Demand>().as_ref(), Ok(&read));
    let offered = Capabilities::from([(read.name.clone(), value.to_owned())]);
    let satisfied = read.is_satisfied_by(&[&offered]);
    let texts = [demand.to_owned()];
    assert_eq!(satisfied, first_unsatisfied(&texts, &[&offered]).is_none());
}

/// Frames between agent and step host: it does not matter where they are cut.
pub fn frame(bytes: &[u8]) {
    whole_and_cut::<protocol::Request>(bytes);
    whole_and_cut::<protocol::Answer>(bytes);
}

fn whole_and_cut<H: DeserializeOwned>(bytes: &[u8]) {
    let cut = bytes
        .first()
        .map_or(0, |first| usize::from(*first))
        .min(bytes.len());
    let whole = frames::<H>(&[bytes]);
    let (one, other) = bytes.split_at(cut);
    assert_eq!(whole, frames::<H>(&[one, other]));
}

/// Lengths of the payloads, and whether the connection goes on.
fn frames<H: DeserializeOwned>(pieces: &[&[u8]]) -> (Vec<usize>, bool) {
    let mut codec = FrameCodec::<H, ()>::new(STEP_HOST);
    let mut buffer = BytesMut::new();
    let mut payloads = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => payloads.push(frame.payload.len()),
                Ok(None) => break,
                Err(_) => return (payloads, false),
            }
        }
    }
    (payloads, true)
}

/// Logging commands in lines that a step wrote.
pub fn command(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    if let commands::Parsed::Command(command) = commands::parse(&line) {
        assert!(line.contains("##vso["), "a command out of nothing");
        assert!(!command.area.is_empty() && !command.event.is_empty());
        let _ = (command.property("name"), command.flag("issecret"));
    }
}

/// Secrets, a line each, then a zero byte and what a step writes. It does not matter where that is cut, and no secret
/// is shown.
pub fn masker(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0);
    let (secrets, written) = bytes.split_at(at.unwrap_or(bytes.len()));
    let written = written.get(1..).unwrap_or_default();
    let secrets = String::from_utf8_lossy(secrets);
    let mut masker = Masker::default();
    let _ = masker.add_all(secrets.lines());
    let cut = bytes.first().map_or(0, |first| usize::from(*first));
    let (one, other) = written.split_at(cut.min(written.len()));
    let whole = shown(&masker, &[written]);
    assert_eq!(whole, shown(&masker, &[one, other]));
    for secret in secrets.lines() {
        let is_marker = secret.trim().starts_with("-----");
        let stands_for_others = secret.contains([MASK.chars().next().unwrap_or('*'), '\u{fffd}']);
        if secret.trim().len() >= MINIMUM_LENGTH && !is_marker && !stands_for_others {
            let leaks = whole.iter().any(|line| line.contains(secret));
            assert!(!leaks, "a secret is shown");
        }
    }
}

fn shown(masker: &Masker, chunks: &[&[u8]]) -> Vec<String> {
    let (mut lines, mut out) = (Lines::default(), Vec::new());
    for chunk in chunks {
        lines.push(chunk, masker, &mut out);
    }
    lines.finish(masker, &mut out);
    out.iter()
        .map(|output| match output {
            Output::Line(text) | Output::Piece(text) => masker.mask(text).into_owned(),
            Output::CommandTooLong => String::new(),
        })
        .collect()
}

/// An encrypted message, as `IV\nBODY`; and what is encrypted is what is decrypted.
pub fn message(bytes: &[u8]) {
    let Ok(key) = SessionKey::from_bytes(&[7; 32]) else {
        return;
    };
    let (iv, body) = text(bytes).split_once('\n').unwrap_or(("", text(bytes)));
    if let Ok(plain) = key.decrypt(iv, body) {
        let _ = serde_json::from_slice::<JobMessage>(&plain);
    }
    let again = key
        .encrypt(bytes)
        .and_then(|(iv, body)| key.decrypt(&iv, &body));
    assert!(again.is_ok_and(|again| again.as_slice() == bytes));
}

/// What a task says of itself.
pub fn task(bytes: &[u8]) {
    let _ = tasks::is_definition(bytes);
}

/// Conditions and values of variables.
pub fn expression(bytes: &[u8]) {
    for place in [Place::Step, Place::Job, Place::Variable] {
        let Ok(read) = Expression::parse(text(bytes), place) else {
            continue;
        };
        let _ = (read.named_dependencies(), read.asked_jobs());
        let scope = Scope {
            variable: &|name| name.len().is_multiple_of(2).then(|| name.to_owned()),
            status: &TaskResult::Succeeded,
            dependencies: &Value::Null,
        };
        let first = read.holds(&scope).ok();
        assert_eq!(first, read.holds(&scope).ok());
    }
}

/// Pipeline files.
pub fn pipeline(bytes: &[u8]) {
    if let Err(problem) = Pipeline::parse(text(bytes)) {
        assert!(!problem.to_string().is_empty());
    }
}

/// The `Authorization` header.
pub fn authorization(bytes: &[u8]) {
    let _ = dayfly_pool_service::auth::parse(text(bytes));
}

/// Paths: folding a folded one changes nothing, and the query stays.
pub fn folded_path(bytes: &[u8]) {
    let Ok(uri) = http::Uri::try_from(bytes) else {
        return;
    };
    let folded = path::fold(&uri);
    assert_eq!(path::fold(&folded.uri).uri, folded.uri);
    assert_eq!(folded.uri.query(), uri.query());
}

/// Public keys as agents send them, up to the use of one.
pub fn public_key(bytes: &[u8]) {
    let Ok(key) = serde_json::from_slice::<AgentPublicKey>(bytes) else {
        return;
    };
    if let Ok(key) = PublicKey::from_wire(&key) {
        assert!(PublicKey::from_wire(&key.to_wire()).is_ok());
        let _ = key.verify_assertion("a.b.c", "audience", Timestamp::UNIX_EPOCH);
    }
}

static SEALING: LazyLock<Option<SealingKeys>> = LazyLock::new(|| {
    let key = SealingKey::from_bytes("fuzz", &[7; 32]).ok()?;
    SealingKeys::new(vec![key]).ok()
});

/// Sealed keys: what nobody sealed does not open.
pub fn sealed(bytes: &[u8]) {
    if let Some(keys) = SEALING.as_ref() {
        assert!(keys.open(bytes).is_err(), "a forged blob opened");
    }
}

/// Tokens and assertions: what nobody signed does not count.
pub fn token(bytes: &[u8]) {
    let text = text(bytes);
    let _ = claimed_client(text);
    let _ = claimed_typ(text);
    let purpose = Purpose {
        typ: "kind",
        audience: "audience",
    };
    if let Some(keys) = TokenKeys::new(vec![TokenKey::from_bytes("fuzz", vec![7; 32])]) {
        let verified = keys.verify::<serde_json::Value>(&purpose, text, Timestamp::UNIX_EPOCH);
        assert!(verified.is_err(), "a forged token counts");
    }
    let wire = AgentPublicKey {
        exponent: "AQAB".to_owned(),
        modulus: MODULUS.to_owned(),
    };
    let key = PublicKey::from_wire(&wire).ok();
    let verified = key.map(|key| key.verify_assertion(text, "audience", Timestamp::UNIX_EPOCH));
    assert!(
        !matches!(verified, Some(Ok(_))),
        "a forged assertion counts"
    );
}

/// Somebody's modulus of 2048 bits.
const MODULUS: &str = include_str!("modulus.b64");

/// Tokens of the cluster, with keys of the cluster before them: `KEYS\nTOKEN`.
pub fn cluster_token(bytes: &[u8]) {
    let (keys, token) = text(bytes).split_once('\n').unwrap_or((KEYS, text(bytes)));
    if let Ok(keys) = ClusterKeys::from_jwks(keys) {
        let _ = keys.verify(token, "dayfly", Timestamp::UNIX_EPOCH);
    }
}

const KEYS: &str = r#"{"keys":[]}"#;
