//! What holds for every call: the version that a client asks for, and headers that clients correlate by.

use super::App;
use super::extract::OriginalPath;
use super::reply::Problem;
use crate::metrics::RouteLabels;
use crate::rules::discovery::released;
use crate::rules::refusal::Refusal;
use crate::rules::version::{self, ApiVersion, USUAL};
use axum::extract::{MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

/// Methods that are told apart in what is counted.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const SESSION: HeaderName = HeaderName::from_static("x-tfs-session");
const PROCESS: HeaderName = HeaderName::from_static("x-tfs-processid");
const END_TO_END: HeaderName = HeaderName::from_static("x-vss-e2eid");
const ACTIVITY: HeaderName = HeaderName::from_static("activityid");
/// The longest text of a client's that is given back.
const MAX_ECHO: usize = 64;

/// Refuses versions that there are not, and gives every answer its headers.
pub(crate) async fn keep(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let labels = route(&app, &request);
    let headers = request.headers();
    let (session, end_to_end) = (echo(headers, &SESSION), echo(headers, &END_TO_END));
    let asked = asked(&request).and_then(|asked| match asked {
        Some(version) => check(&app, &request, version).map(|()| version),
        None => Ok(USUAL),
    });
    let (version, mut response) = match asked {
        Ok(version) => (version, next.run(request).await),
        Err(refusal) => (USUAL, Problem::from(refusal).into_response()),
    };
    if let Some(labels) = labels {
        let code = response.status().as_u16();
        app.metrics.answered(&labels, code, began.elapsed());
    }
    let activity = Uuid::new_v4().to_string();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, text: Option<&str>| {
        if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    };
    set(ACTIVITY, Some(&activity));
    set(SESSION, session.as_deref().or(Some(&activity)));
    set(END_TO_END, end_to_end.as_deref().or(Some(&activity)));
    set(PROCESS, Some(&app.keys.instance.to_string()));
    name_version(headers, version);
    response
}

/// The route that answers; none where there is nothing, for a path that somebody made up is no label.
fn route(app: &App, request: &Request) -> Option<RouteLabels> {
    let template = request.extensions().get::<MatchedPath>()?.as_str();
    let collection = super::collection_path(&app.settings.public_url);
    let method = METHODS
        .iter()
        .find(|method| request.method().as_str() == **method);
    Some(RouteLabels {
        method: method.copied().unwrap_or("other"),
        route: template
            .strip_prefix(&collection)
            .unwrap_or(template)
            .to_owned(),
    })
}

/// The version in the query, or else in the media type of what is wanted or of what is sent.
fn asked(request: &Request) -> Result<Option<ApiVersion>, Refusal> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let pairs = query.map(|Query(pairs)| pairs).unwrap_or_default();
    let in_query = pairs
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("api-version"))
        .map(|(_, value)| value);
    let in_header = |name| {
        let value = request.headers().get(name)?.to_str().ok()?;
        version::of_media_type(value).map(str::to_owned)
    };
    let text = in_query
        .or_else(|| in_header(ACCEPT))
        .or_else(|| in_header(CONTENT_TYPE));
    text.map(|text| text.parse()).transpose()
}

fn check(app: &App, request: &Request, asked: ApiVersion) -> Result<(), Refusal> {
    let original = request.extensions().get::<OriginalPath>();
    let path = original
        .map(|path| path.0.to_lowercase())
        .unwrap_or_default();
    let collection = super::collection_path(&app.settings.public_url);
    match path.strip_prefix(&collection).and_then(released) {
        Some(released) => version::check(asked, released),
        None => Ok(()),
    }
}

/// A client's own text, if it is short and plain.
fn echo(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (text.len() <= MAX_ECHO && text.chars().all(plain)).then(|| text.to_owned())
}

/// A document says which version it is of.
fn name_version(headers: &mut HeaderMap, version: ApiVersion) {
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let named = format!("application/json; charset=utf-8; api-version={version}");
    if json && let Ok(named) = HeaderValue::from_str(&named) {
        headers.insert(CONTENT_TYPE, named);
    }
}
