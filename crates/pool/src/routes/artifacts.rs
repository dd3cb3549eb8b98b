//! Artifacts of runs, and the containers that hold their files.

use super::App;
use super::extract::{
    Authenticated, Document, OriginalSegments, Parameters, Segments, piece_of_upload,
};
use super::reply::{Problem, Reply, document, file, list, with_status};
use crate::ops::containers::Sending;
use crate::rules::artifact;
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::routing::get;
use dayfly_wire::artifact::BuildArtifact;
use dayfly_wire::ids::BuildId;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, StatusCode};

pub(crate) fn routes() -> Router<App> {
    const CONTAINER: &str = "/_apis/resources/containers/{container}";
    let upload = || get(read).put(write).layer(DefaultBodyLimit::disable());
    Router::new()
        .route(CONTAINER, upload())
        .route(&format!("{CONTAINER}/{{*path}}"), upload())
        .route(
            "/{project}/_apis/build/builds/{build}/artifacts",
            get(artifacts).post(publish),
        )
}

/// The path in the query, or behind the container.
fn item_path(
    parameters: &Parameters,
    OriginalSegments(segments): &OriginalSegments,
) -> Result<Option<String>, Refusal> {
    let behind = || {
        let container = segments
            .iter()
            .position(|segment| segment.eq_ignore_ascii_case("containers"))?;
        let rest = segments.get(container + 2..)?;
        (!rest.is_empty()).then(|| rest.join("/"))
    };
    let given = parameters.text("itempath").map(str::to_owned);
    let given = given.or_else(behind).filter(|path| path != "/");
    given.map(|path| artifact::path(&path)).transpose()
}

fn container(segments: &OriginalSegments) -> Result<BuildId, Problem> {
    let mut rest = segments
        .0
        .iter()
        .skip_while(|segment| !segment.eq_ignore_ascii_case("containers"));
    let id = rest.nth(1).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Refusal::invalid("the container is a number").into())
}

async fn write(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    segments: OriginalSegments,
    parameters: Parameters,
    request: Request,
) -> Reply {
    app.check_upload(&caller)?;
    let path =
        item_path(&parameters, &segments)?.ok_or_else(|| Refusal::invalid("itemPath: needed"))?;
    let most = app.settings.limits.artifact_file_bytes;
    let sending = Sending {
        build: container(&segments)?,
        path,
        piece: piece(request.headers(), most)?,
        unpacked: unpacked(request.headers())?,
    };
    let begun = app.begin_piece(&caller, &sending).await?;
    piece_of_upload(&app, request, begun.upload, sending.piece).await?;
    let (item, whole) = app.end_piece(&caller, &sending, begun).await?;
    if whole {
        return Ok(with_status(StatusCode::CREATED, &item));
    }
    let mut answer = with_status(StatusCode::ACCEPTED, &item);
    let last = sending.piece.start + sending.piece.bytes - 1;
    if let Ok(range) = HeaderValue::from_str(&format!("bytes=0-{last}")) {
        answer.headers_mut().insert(RANGE, range);
    }
    Ok(answer)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn piece(headers: &HeaderMap, most: i64) -> Result<artifact::Piece, Refusal> {
    let range = text(headers, CONTENT_RANGE.as_str());
    let length = match text(headers, CONTENT_LENGTH.as_str()) {
        Some(length) => length.parse().ok(),
        // A body of which nothing is said is empty.
        None => (!headers.contains_key(TRANSFER_ENCODING)).then_some(0),
    };
    artifact::piece(range, length, most)
}

/// How long a file that travels packed is when it is unpacked.
fn unpacked(headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
    match text(headers, CONTENT_ENCODING.as_str()) {
        None | Some("" | "identity") => Ok(None),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => {
            let length = text(headers, "x-tfs-filelength").and_then(|length| length.parse().ok());
            let length = length.filter(|length| *length >= 0);
            length.map(Some).ok_or_else(|| {
                Refusal::invalid("x-tfs-filelength: needed with Content-Encoding: gzip")
            })
        }
        Some(_) => Err(Refusal::invalid("Content-Encoding: gzip or none")),
    }
}

/// The content of a file for those who ask for bytes, the list of what is there for everybody else.
async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    segments: OriginalSegments,
    parameters: Parameters,
    headers: HeaderMap,
) -> Reply {
    let container = container(&segments)?;
    let path = item_path(&parameters, &segments)?;
    let format = parameters.text("$format").unwrap_or_default();
    let bytes = format.eq_ignore_ascii_case("octetstream")
        || text(&headers, ACCEPT.as_str()).is_some_and(|accept| accept.contains("octet-stream"));
    if let Some(path) = path.as_deref().filter(|_| bytes) {
        let (hash, length) = app.container_file(&caller, container, path).await?;
        let content = app.contents.read(&hash).await?;
        return Ok(file(content, length, None));
    }
    let items = app.container_items(&caller, container, path.as_deref());
    Ok(list(items.await?))
}

async fn publish(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
    Document(draft): Document<BuildArtifact>,
) -> Reply {
    let made = app.publish_artifact(&caller, &project, build, draft);
    Ok(document(&made.await?))
}

async fn artifacts(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, build)): Segments<(String, BuildId)>,
    parameters: Parameters,
) -> Reply {
    if let Some(name) = parameters.text("artifactname") {
        return Ok(document(
            &app.artifact(&caller, &project, build, name).await?,
        ));
    }
    Ok(list(app.artifacts(&caller, &project, build).await?))
}
