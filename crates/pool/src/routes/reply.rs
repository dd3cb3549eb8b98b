//! Answers: documents, empty answers, refusals.

use crate::content::ContentError;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::Failure;
use axum::body::Body;
use axum::body::HttpBody as _;
use axum::response::{IntoResponse, Response};
use dayfly_wire::collection::Collection;
use dayfly_wire::error::ServiceError;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

const JSON: HeaderValue =
    HeaderValue::from_static("application/json; charset=utf-8; api-version=7.1");
const SERVICE_ERROR: HeaderName = HeaderName::from_static("x-tfs-serviceerror");
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuationtoken");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"dayfly-pool\"");

/// What a route answers.
pub(crate) type Reply = Result<Response, Problem>;

/// A document.
pub(crate) fn document<T: Serialize>(value: &T) -> Response {
    with_status(StatusCode::OK, value)
}

/// A list: no client takes a bare array.
pub(crate) fn list<T: Serialize>(values: Vec<T>) -> Response {
    document(&Collection::from(values))
}

/// A list that may go on: a token for the next call is in a header.
pub(crate) fn page<T: Serialize>(values: Vec<T>, next: Option<impl ToString>) -> Response {
    let mut response = list(values);
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next.to_string()).ok()) {
        response.headers_mut().insert(CONTINUATION, next);
    }
    response
}

/// The media type of a document.
pub(crate) fn json() -> HeaderValue {
    JSON
}

/// A document with another status.
pub(crate) fn with_status<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Done, and nothing to say.
pub(crate) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// No message came.
pub(crate) fn nothing_yet() -> Response {
    StatusCode::ACCEPTED.into_response()
}

/// Nothing is at this path.
pub(crate) async fn nothing_here() -> Problem {
    Refusal::new(Kind::NotFound, "there is nothing at this path").into()
}

/// What a job wrote is never anything but the text that it is said to be.
pub(crate) fn taken_at_its_word(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An empty answer says that it is empty: without a length some clients go on to read a document.
pub(crate) fn with_length(mut response: Response) -> Response {
    let empty = response.body().size_hint().exact() == Some(0);
    if empty && response.status() != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(HeaderValue::from_static("0"));
    }
    response
}

/// Why there is no answer.
pub(crate) struct Problem {
    refusal: Refusal,
    /// A browser that is offered Basic authentication opens a dialog of its own.
    dialog: bool,
}

impl Problem {
    /// For our own page, which asks for a token itself.
    pub(crate) fn without_dialog(mut self) -> Self {
        self.dialog = false;
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            dialog: true,
        }
    }
}

impl From<ContentError> for Problem {
    fn from(error: ContentError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Store(error) if error.is_about_a_character() => {
                Refusal::invalid("a text has the character NUL, which the database cannot keep")
                    .into()
            }
            Failure::Store(_)
            | Failure::Sealed(_)
            | Failure::Git(_)
            | Failure::Content(_)
            | Failure::Key(_) => {
                // The log has the cause; the caller could do nothing with it.
                tracing::error!(error = %failure, "an operation failed");
                Refusal::new(Kind::Internal, "the service failed; its log says why").into()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self {
            refusal: Refusal { kind, message },
            dialog,
        } = self;
        let status =
            StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let header = HeaderValue::from_str(&percent_encoded(&message));
        let body = ServiceError::new(kind.type_key(), message);
        let mut response = with_status(status, &body);
        let headers = response.headers_mut();
        if let Ok(header) = header {
            headers.insert(SERVICE_ERROR, header);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.append(WWW_AUTHENTICATE, BEARER);
            if dialog {
                headers.append(WWW_AUTHENTICATE, BASIC);
            }
        }
        response
    }
}

/// A message as a header may carry it.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes()
        .take(1000)
        .fold(String::new(), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            encoded
        })
}

/// A stored file. What a job wrote is never shown as a page of this service.
pub(crate) fn file(file: File, bytes: i64, kind: Option<&'static str>) -> Response {
    let builder = Response::builder()
        .header(CONTENT_TYPE, kind.unwrap_or("application/octet-stream"))
        .header(CONTENT_LENGTH, bytes)
        .header(CONTENT_DISPOSITION, "attachment")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff");
    streamed(builder, Body::from_stream(ReaderStream::new(file)))
}

/// A body that was streamed by somebody else.
pub(crate) fn streamed(builder: http::response::Builder, body: Body) -> Response {
    builder
        .body(body)
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
