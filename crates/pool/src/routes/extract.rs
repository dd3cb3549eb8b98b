//! Extractors that refuse in the protocol's own words.

use super::App;
use super::reply::Problem;
use crate::auth::{self, Credential, Judged};
use crate::connections::Standing;
use crate::content::Incoming;
use crate::rules::access::Caller;
use crate::rules::artifact::Piece;
use crate::rules::limits;
use crate::rules::path;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::web_session::{self, Origin};
use crate::throttle::Source;
use axum::body::{BodyDataStream, Bytes};
use axum::extract::{Form, FromRequest, FromRequestParts, Path, Request};
use dayfly_wire::secret::SecretText;
use futures::StreamExt;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How long a client may take for a document or a piece of a log.
pub(crate) const BODY: Duration = Duration::from_secs(120);

/// What a server gives instead of [`BODY`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTime(pub(crate) Duration);

fn body_time(extensions: &Extensions) -> Duration {
    extensions.get::<BodyTime>().map_or(BODY, |time| time.0)
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Our own page sends it. A header that other clients send too will not do: they answer challenges.
const NO_CHALLENGE: HeaderName = HeaderName::from_static("x-dayfly-page");

/// How long a client may take for the next piece of an upload, and for all of it.
const PIECE: Duration = Duration::from_secs(60);
const UPLOAD: Duration = Duration::from_secs(60 * 60);

/// The path as the client wrote it, before it was folded to lower case.
#[derive(Clone, Debug)]
pub(crate) struct OriginalPath(pub(crate) String);

/// Folds the path, and keeps it as it was written.
pub(crate) fn remember_original_path(mut request: Request) -> Request {
    let path::Folded { uri, original } = path::fold(request.uri());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(OriginalPath(original));
    request
}

/// Who calls; a call without a credential that counts goes no further.
pub(crate) struct Authenticated(pub(crate) Caller);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let problem = match caller(parts, app).await {
            Ok(Some(caller)) => return Ok(Self(caller)),
            Ok(None) => {
                app.metrics.unauthorized.inc();
                Problem::from(Refusal::unauthorized())
            }
            Err(problem) => problem,
        };
        Err(if parts.headers.contains_key(NO_CHALLENGE) {
            problem.without_dialog()
        } else {
            problem
        })
    }
}

/// Who calls, if anybody says so; a credential that does not count is refused all the same.
pub(crate) struct MaybeAuthenticated;

impl FromRequestParts<App> for MaybeAuthenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        caller(parts, app).await.map(|_| Self)
    }
}

async fn caller(parts: &Parts, app: &App) -> Result<Option<Caller>, Problem> {
    let credential = match parts.headers.get(AUTHORIZATION) {
        Some(header) => header.to_str().ok().and_then(auth::parse),
        None => match web_session_of(parts, app)? {
            Some(value) => Some(Credential::Web(value)),
            None => return Ok(None),
        },
    };
    let judged = match credential {
        Some(credential) => app.judge_credential(&credential).await?,
        None => Judged::Unknown,
    };
    match judged {
        Judged::Counts(caller) => {
            prove(parts);
            return Ok(Some(caller));
        }
        Judged::Ended => {}
        Judged::Unknown => hold_back(parts, app).await,
    }
    app.metrics.unauthorized.inc();
    Err(Refusal::unauthorized().into())
}

/// The connection has brought a credential that counts.
pub(crate) fn prove(parts: &Parts) {
    if let Some(standing) = parts.extensions.get::<Standing>() {
        standing.prove();
    }
}

/// Whoever tries credentials waits for each refusal.
pub(crate) async fn hold_back(parts: &Parts, app: &App) {
    if let Some(source) = parts.extensions.get::<Source>() {
        let throttled = app.throttle.slow_down(*source, app.now(), &app.metrics);
        throttled.await;
    }
}

/// The web page's cookie, where a browser sends it from our own page. Git has no use for it.
fn web_session_of(parts: &Parts, app: &App) -> Result<Option<SecretText>, Problem> {
    let value = cookie(&parts.headers).filter(|_| parts.uri.path().contains("/_apis"));
    if value.is_some() {
        check_origin(parts, app)?;
    }
    Ok(value)
}

/// The web page's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<SecretText> {
    let header = headers.get(COOKIE)?.to_str().ok()?;
    auth::parse_cookie(header)
}

/// Whether the call comes from our own page.
pub(crate) fn check_origin(parts: &Parts, app: &App) -> Result<(), Refusal> {
    let text = |name| {
        let value = parts.headers.get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let from = Origin {
        origin: text(ORIGIN),
        host: text(HOST),
        fetch_site: text(FETCH_SITE),
    };
    web_session::check_origin(from, !parts.method.is_safe(), &app.settings.public_url)
}

/// The parameters of the path; what does not parse is not there.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Path::from_request_parts(parts, app)
            .await
            .map(|Path(segments)| Self(segments))
            .map_err(|_| Refusal::new(Kind::NotFound, "there is nothing at this path").into())
    }
}

/// The project that the path begins with, as the client wrote it: a new project keeps its case.
pub(crate) struct ProjectName(pub(crate) String);

impl FromRequestParts<App> for ProjectName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let collection = super::collection_path(&app.settings.public_url);
        let skipped = collection
            .split('/')
            .filter(|part| !part.is_empty())
            .count();
        let original = parts.extensions.get::<OriginalPath>();
        original
            .and_then(|path| {
                path.0
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .nth(skipped)
            })
            .map(|name| Self(name.to_owned()))
            .ok_or_else(|| Refusal::new(Kind::NotFound, "the path names no project").into())
    }
}

/// The segments of the path as the client wrote them, decoded: what lies under a name of a client keeps its case.
pub(crate) struct OriginalSegments(pub(crate) Vec<String>);

impl FromRequestParts<App> for OriginalSegments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let path = parts.extensions.get::<OriginalPath>();
        let path = path.map(|path| path.0.as_str()).unwrap_or_default();
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments
            .map(|segment| {
                let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
                decoded
                    .map(|text| text.into_owned())
                    .map_err(|_| Refusal::invalid("the path holds bytes that are no text").into())
            })
            .collect::<Result<_, Problem>>()
            .map(Self)
    }
}

/// Whether the client asks for a document rather than for content.
pub(crate) fn wants_document(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| {
        accept.contains("application/json")
            && !["octet-stream", "text/plain", "application/zip"]
                .iter()
                .any(|content| accept.contains(content))
    })
}

/// Writes the body to a file of its own, piece by piece: nothing that is large is held in memory.
pub(crate) async fn incoming(
    app: &App,
    request: Request,
    what: &str,
    most: i64,
) -> Result<Incoming, Problem> {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<i64>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(limits::too_large(what, most).into());
    }
    let mut incoming = app.contents.begin().await?;
    let mut pieces = request.into_body().into_data_stream();
    let until = tokio::time::Instant::now() + UPLOAD;
    while let Some(piece) = next(&mut pieces, until).await? {
        if incoming.bytes() + piece.len() as u64 > most.unsigned_abs() {
            return Err(limits::too_large(what, most).into());
        }
        incoming.write(&piece).await?;
    }
    Ok(incoming)
}

/// Writes the body to its place in a file that comes in pieces; where there is none, it is read and forgotten.
pub(crate) async fn piece_of_upload(
    app: &App,
    request: Request,
    upload: Option<Uuid>,
    piece: Piece,
) -> Result<(), Problem> {
    let mut file = match upload {
        Some(upload) => Some(app.contents.open_upload(upload, piece.start).await?),
        None => None,
    };
    let mut pieces = request.into_body().into_data_stream();
    let mut missing = piece.bytes.unsigned_abs();
    let until = tokio::time::Instant::now() + UPLOAD;
    while let Some(bytes) = next(&mut pieces, until).await? {
        missing = missing
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Refusal::invalid("Content-Range: the body is longer than it says"))?;
        if let Some(file) = &mut file {
            file.write(&bytes).await?;
        }
    }
    if missing > 0 {
        return Err(Refusal::invalid("Content-Range: the body is shorter than it says").into());
    }
    if let Some(file) = file {
        file.end().await?;
    }
    Ok(())
}

/// The next bytes of a body, which must come in time.
async fn next(
    pieces: &mut BodyDataStream,
    until: tokio::time::Instant,
) -> Result<Option<Bytes>, Problem> {
    let next = tokio::time::timeout(PIECE, pieces.next());
    match tokio::time::timeout_at(until, next).await {
        Ok(Ok(Some(Ok(bytes)))) => Ok(Some(bytes)),
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(Err(_)))) => Err(Refusal::invalid("the body broke off").into()),
        Ok(Err(_)) | Err(_) => Err(Refusal::invalid("the body did not come in time").into()),
    }
}

/// The query's parameters; names are compared without regard to case.
pub(crate) struct Parameters(HashMap<String, String>);

impl FromRequestParts<App> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Refusal::invalid("the query cannot be read"))?;
        let pairs = query.0.into_iter();
        Ok(Self(
            pairs
                .map(|(name, value)| (name.to_lowercase(), value))
                .collect(),
        ))
    }
}

impl Parameters {
    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A truth value in any case.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }

    /// A list with commas; what does not parse is refused by name.
    pub(crate) fn list<T: std::str::FromStr>(&self, name: &str) -> Result<Vec<T>, Problem> {
        let entries = self.text(name).unwrap_or_default().split(',');
        let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| {
                entry.parse().map_err(|_| {
                    Refusal::invalid(format!("{name}: {entry:?} cannot be read")).into()
                })
            })
            .collect()
    }

    /// Something that is parsed; what does not parse is refused by name.
    pub(crate) fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::invalid(format!("{name}: {text:?} cannot be read")).into()
                })
            })
            .transpose()
    }
}

/// A document in the body, whatever media type it claims.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let body = body(request, app).await?;
        serde_json::from_slice(without_mark(&body))
            .map(Self)
            .map_err(|error| {
                Refusal::invalid(format!("the document cannot be read: {error}")).into()
            })
    }
}

/// A document that may be left out.
pub(crate) struct OptionalDocument<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalDocument<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let body = body(request, app).await?;
        if without_mark(&body).trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(without_mark(&body))
            .map(Self)
            .map_err(|error| {
                Refusal::invalid(format!("the document cannot be read: {error}")).into()
            })
    }
}

/// The body, bounded by the route's limit.
pub(crate) async fn body(request: Request, app: &App) -> Result<Bytes, Problem> {
    let time = body_time(request.extensions());
    let read = tokio::time::timeout(time, Bytes::from_request(request, app)).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Refusal::new(
            Kind::TooLarge,
            "the body is larger than the service takes, or it broke off",
        )
        .into()),
        Err(_) => Err(Refusal::invalid("the body did not come in time").into()),
    }
}

/// A form in the body, with the head that it came with; none when it cannot be read.
pub(crate) async fn form<T: DeserializeOwned>(request: Request, app: &App) -> (Parts, Option<T>) {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts.clone(), body);
    let time = body_time(&parts.extensions);
    let read = tokio::time::timeout(time, Form::<T>::from_request(request, app)).await;
    let form = read.ok().and_then(Result::ok);
    (parts, form.map(|Form(form)| form))
}

/// Some clients begin a document with a byte order mark.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_folded_and_remembered() {
        let request = Request::builder()
            .uri("/Default//_apis/DistributedTask/Pools/?poolName=Linux")
            .body(axum::body::Body::empty())
            .unwrap();
        let request = remember_original_path(request);
        assert_eq!(
            request.uri().to_string(),
            "/default/_apis/distributedtask/pools?poolName=Linux"
        );
        let original = request.extensions().get::<OriginalPath>().unwrap();
        assert_eq!(original.0, "/Default/_apis/DistributedTask/Pools");
    }
}
