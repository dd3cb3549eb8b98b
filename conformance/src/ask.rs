//! One HTTP call, as a client that nobody helps makes it.

use crate::answer::Answer;
use crate::verdict::{Verdict, differs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_wire::secret::SecretText;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// A call that is being put together.
pub(crate) struct Ask {
    what: String,
    request: RequestBuilder,
}

impl Ask {
    pub(crate) fn new(client: &reqwest::Client, method: Method, url: &str) -> Self {
        let what = format!("{method} {url}");
        // The sign-in page of the hosted service is of no use to anybody here.
        let request = client
            .request(method, url)
            .header("X-TFS-FedAuthRedirect", "Suppress");
        Self { what, request }
    }

    fn with(self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        Self {
            what: self.what,
            request: change(self.request),
        }
    }

    /// With a personal access token, as the password of a user of any name.
    pub(crate) fn basic(self, user: &str, token: &SecretText) -> Self {
        let pair = SecretText::new(format!("{user}:{}", token.expose()));
        let value = format!("Basic {}", STANDARD.encode(pair.expose()));
        self.with(|request| request.header(AUTHORIZATION, value))
    }

    pub(crate) fn bearer(self, token: &SecretText) -> Self {
        self.with(|request| request.bearer_auth(token.expose()))
    }

    /// The version that is asked for, where clients put it.
    pub(crate) fn version(self, version: &str) -> Self {
        let value = format!("application/json;api-version={version}");
        self.with(|request| request.header(ACCEPT, value))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.with(|request| request.json(body))
    }

    /// A body of any text.
    pub(crate) fn text(self, kind: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|request| request.header(CONTENT_TYPE, kind).body(body))
    }

    pub(crate) fn form(self, form: &[(&str, &str)]) -> Self {
        self.with(|request| request.form(form))
    }

    pub(crate) async fn send(self) -> Verdict<Answer> {
        let failed = |error: reqwest::Error| {
            // The URL is in `what`; the error's own copy would say it twice.
            differs(format!("{}: {}", self.what, error.without_url()))
        };
        let response = self.request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.text().await.map_err(failed)?;
        Ok(Answer {
            what: self.what,
            status,
            headers,
            body,
        })
    }
}
