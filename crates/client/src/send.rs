//! One call: send, bound, classify, try again.

use crate::Client;
use crate::error::Error;
use crate::retry;
use bytes::Bytes;
use dayfly_wire::error::ServiceError;
use futures::StreamExt;
use rand::Rng;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The largest answer that is read, in bytes: a job message with its variables, or a full list of requests.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// The time limit of a call that does not wait for anything.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long a body may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const ACCEPT_JSON: &str = "application/json;api-version=7.1-preview.1";

/// A call before it is sent; can be sent again.
pub(crate) struct Call {
    name: &'static str,
    method: Method,
    url: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<(&'static str, Bytes)>,
    limit: Duration,
    accept: &'static str,
}

/// The answer to a call that succeeded.
pub(crate) struct Answer {
    name: &'static str,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// A part of a path, whatever it is made of.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

impl Call {
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json<B: Serialize>(mut self, body: &B) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body).map_err(|error| Error::Decode {
            call: self.name,
            problem: problem(&error),
        })?;
        self.body = Some(("application/json; charset=utf-8", bytes.into()));
        Ok(self)
    }

    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.body = Some(("application/octet-stream", body));
        self
    }

    pub(crate) fn accept(mut self, kind: &'static str) -> Self {
        self.accept = kind;
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// A body that is read in pieces.
pub struct Download {
    response: Response,
    name: &'static str,
    room: u64,
    silence: Duration,
}

impl Download {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke or is silent for too long, or more comes than was to be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = tokio::time::timeout(self.silence, self.response.chunk())
            .await
            .map_err(|_| {
                Error::Transport(format!(
                    "nothing came for {} seconds in the middle of an answer",
                    self.silence.as_secs()
                ))
            })?
            .map_err(|error| transport(&error))?;
        let Some(piece) = piece else {
            return Ok(None);
        };
        self.room = self
            .room
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| Error::Decode {
                call: self.name,
                problem: "it is longer than it may be".to_owned(),
            })?;
        Ok(Some(piece))
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Decode {
            call: self.name,
            problem: problem(&error),
        })
    }
}

impl Client {
    /// A call of `path` (below the base URL, beginning with a slash); `name` is for errors and metrics.
    pub(crate) fn call(&self, name: &'static str, method: Method, path: &str) -> Call {
        let url = format!("{}{path}", self.inner.base_url);
        Call {
            name,
            method,
            url,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            limit: CALL_LIMIT,
            accept: ACCEPT_JSON,
        }
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Error> {
        let mut attempt = 1;
        loop {
            match self.send_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let jitter = rand::rng().random::<f64>();
                    let Some(wait) = retry::wait(&error, attempt, self.inner.attempts, jitter)
                    else {
                        return Err(error);
                    };
                    tracing::debug!(
                        call = call.name,
                        attempt,
                        reason = error.reason(),
                        "trying again"
                    );
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Answer, Error> {
        let first = self.send_authorized(call).await;
        match first {
            Err(Error::Unauthorized(_)) if self.inner.auth.can_refresh() => {
                self.inner.auth.forget().await;
                self.send_authorized(call).await
            }
            other => other,
        }
    }

    async fn send_authorized(&self, call: &Call) -> Result<Answer, Error> {
        let response = self.respond(call).await?;
        let body = bounded(response, MAX_ANSWER).await?;
        Ok(Answer {
            name: call.name,
            body,
        })
    }

    /// Sends once, without trying again, and gives the body out in pieces as they come.
    pub(crate) async fn open(&self, call: &Call, most: u64) -> Result<Download, Error> {
        let response = match self.respond(call).await {
            Err(Error::Unauthorized(_)) if self.inner.auth.can_refresh() => {
                self.inner.auth.forget().await;
                self.respond(call).await?
            }
            other => other?,
        };
        Ok(Download {
            response,
            name: call.name,
            room: most,
            silence: SILENCE_LIMIT.min(self.inner.longest_call),
        })
    }

    /// Sends, and gives the answer of a call that succeeded before its body is read.
    async fn respond(&self, call: &Call) -> Result<Response, Error> {
        self.turn().await?;
        let mut request = self
            .inner
            .http
            .request(call.method.clone(), &call.url)
            .query(&call.query)
            .header(ACCEPT, call.accept)
            .header("X-TFS-FedAuthRedirect", "Suppress")
            .timeout(call.limit.min(self.inner.longest_call));
        if let Some(authorization) = self.authorization().await? {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some((kind, body)) = &call.body {
            request = request.header(CONTENT_TYPE, *kind).body(body.clone());
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        self.learn_clock(&response);
        self.inner.budget.learn(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        let html = is_html(&headers);
        if status.as_u16() == 203 || status.is_redirection() || (status.is_success() && html) {
            return Err(Error::SignInPage);
        }
        if status.is_success() {
            return Ok(response);
        }
        let body = bounded(response, MAX_ANSWER).await?;
        Err(failure(status, retry_after(&headers), &body))
    }

    /// Waits for the call's turn, if calls are counted.
    async fn turn(&self) -> Result<(), Error> {
        let Some(pace) = &self.inner.pace else {
            return Ok(());
        };
        match pace.take(Instant::now()) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(Error::Throttled { after: None }),
        }
    }

    pub(crate) fn learn_clock(&self, response: &Response) {
        let date = response.headers().get(reqwest::header::DATE);
        if let Some(date) = date.and_then(|date| date.to_str().ok()) {
            self.inner.clock.learn(date);
        }
    }
}

pub(crate) async fn bounded(response: Response, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut stream = response.bytes_stream();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| transport(&error))?;
        if body.len() + chunk.len() > most {
            return Err(Error::TooLong { most });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The library's text may hold the URL; the cause below it is what a person needs.
pub(crate) fn transport(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Transport("no answer in time".to_owned());
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    Error::Transport(source.to_string())
}

/// Where the JSON is wrong, without its content, which may be a secret.
pub(crate) fn problem(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}

pub(crate) fn failure(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Error {
    let body = serde_json::from_slice::<ServiceError>(body)
        .ok()
        .map(Box::new);
    match status.as_u16() {
        401 => Error::Unauthorized(body),
        403 => Error::Forbidden(body),
        404 => Error::NotFound(body),
        409 => Error::Conflict(body),
        429 => Error::Throttled { after },
        503 if after.is_some() => Error::Throttled { after },
        status @ 500.. => Error::Server { status, body },
        status => Error::Refused { status, body },
    }
}

pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"))
}
