//! How a client is made.

use crate::auth::{Auth, Credential};
use crate::budget::Budget;
use crate::clock::ServerClock;
use crate::pace::Pace;
use crate::{Client, Inner};
use dayfly_wire::proxy::Proxy;
use dayfly_wire::secret::SecretText;
use reqwest::redirect::Policy;
use std::sync::Arc;
use std::time::Duration;

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is not one.
    #[error(
        "failed to use {url:?} as the service's URL: it must begin with http:// or https:// and carry no user name, query or fragment"
    )]
    Url {
        /// What was given.
        url: String,
    },
    /// The CA bundle holds no certificate.
    #[error("failed to read the CA bundle: it must hold PEM certificates")]
    CaBundle,
    /// The proxy's URL is not one; it may hold a secret, so it is not repeated.
    #[error("failed to use the proxy's URL: it must be http(s)://host:port")]
    Proxy,
    /// TLS could not be set up.
    #[error("failed to set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Describes a [`Client`].
#[must_use]
pub struct ClientBuilder {
    base_url: String,
    credential: Credential,
    user_agent: String,
    ca_bundle: Option<String>,
    attempts: u32,
    longest_call: Option<Duration>,
    proxy: Option<Proxy>,
    calls_per_minute: Option<u32>,
}

impl ClientBuilder {
    pub(crate) fn new(base_url: String) -> Self {
        Self {
            base_url,
            credential: Credential::Anonymous,
            user_agent: concat!("dayfly/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_bundle: None,
            attempts: 1,
            longest_call: None,
            proxy: None,
            calls_per_minute: None,
        }
    }

    /// How the client proves who it is.
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// What the client calls itself.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Certificates (PEM) that the service's chain may end in, beside the system's.
    pub fn ca_bundle(mut self, pem: Option<String>) -> Self {
        self.ca_bundle = pem;
        self
    }

    /// How often a call is tried when the failure says that another try may help; 1 by default, at most 10.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.clamp(1, 10);
        self
    }

    /// The proxy; without one those of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used.
    pub fn proxy(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }

    /// How many calls a minute may be made; those above wait for their turn, at most a minute.
    pub fn calls_per_minute(mut self, budget: Option<u32>) -> Self {
        self.calls_per_minute = budget;
        self
    }

    /// The longest that a call may take, whatever its kind, and that an answer may be silent.
    pub fn longest_call(mut self, limit: Option<Duration>) -> Self {
        self.longest_call = limit;
        self
    }

    /// Makes the client. A process-wide rustls provider must be installed before.
    pub fn build(self) -> Result<Client, BuildError> {
        let base_url = checked_url(&self.base_url)?;
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .user_agent(self.user_agent)
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(50))
            .tcp_keepalive(Duration::from_secs(30));
        if let Some(pem) = &self.ca_bundle {
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|_| BuildError::CaBundle)?;
            if certificates.is_empty() {
                return Err(BuildError::CaBundle);
            }
            http = http.tls_certs_merge(certificates);
        }
        if let Some(proxy) = &self.proxy {
            http = through(http, proxy)?;
        }
        let inner = Inner {
            http: http.build().map_err(BuildError::Http)?,
            base_url,
            auth: Auth::new(self.credential),
            clock: ServerClock::default(),
            budget: Budget::default(),
            attempts: self.attempts,
            longest_call: self.longest_call.unwrap_or(Duration::MAX),
            pace: self.calls_per_minute.map(Pace::new),
        };
        Ok(Client {
            inner: Arc::new(inner),
        })
    }
}

fn through(
    mut http: reqwest::ClientBuilder,
    proxy: &Proxy,
) -> Result<reqwest::ClientBuilder, BuildError> {
    http = http.no_proxy();
    let schemes = [
        proxy.http.as_deref().map(reqwest::Proxy::http),
        proxy.https.as_deref().map(reqwest::Proxy::https),
    ];
    for made in schemes.into_iter().flatten() {
        let mut made = made.map_err(|_| BuildError::Proxy)?;
        if let Some(user) = &proxy.user {
            let password = proxy.password.as_ref().map_or("", SecretText::expose);
            made = made.basic_auth(user, password);
        }
        let without = reqwest::NoProxy::from_string(&proxy.no_proxy_text());
        http = http.proxy(made.no_proxy(without));
    }
    Ok(http)
}

fn checked_url(text: &str) -> Result<String, BuildError> {
    let refuse = || BuildError::Url {
        url: text.chars().take(200).collect(),
    };
    let url = reqwest::Url::parse(text).map_err(|_| refuse())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        // A URL with user information may hold a secret; it is not repeated.
        return Err(if plain {
            refuse()
        } else {
            BuildError::Url {
                url: "(hidden)".to_owned(),
            }
        });
    }
    Ok(text.trim_end_matches('/').to_owned())
}
