//! The HTTP client of the pool protocol: one [`Client`] per service and credential, cheap to clone.
//!
//! One file per resource of the protocol, mirroring `dayfly_wire`. What is common to all calls is here:
//! - no redirect is followed, so a credential never travels to another origin;
//! - every call has a time limit and every answer a size limit;
//! - a sign-in page (203, a redirect, HTML) is an authentication failure, not a decoding error;
//! - the token of an agent or a service principal is asked for once, refreshed before it ends, and asked for again on 401;
//! - the difference to the server's clock, learnt from `Date` headers, is applied to assertions.

mod agents;
mod artifacts;
mod auth;
mod budget;
mod builder;
mod builds;
mod clock;
pub mod error;
mod jobs;
mod pace;
mod pipelines;
mod plans;
mod pools;
mod requests;
mod retry;
mod send;
mod sessions;
mod tasks;
mod token;

pub use agents::AgentQuery;
pub use artifacts::Piece;
pub use auth::{AgentCredential, Credential, FederatedToken, PrincipalCredential, PrincipalProof};
pub use budget::RateLimit;
pub use builder::{BuildError, ClientBuilder};
pub use error::Error;
pub use plans::PlanScope;
pub use send::Download;

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A client of one service with one credential.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base_url: String,
    auth: auth::Auth,
    clock: clock::ServerClock,
    budget: budget::Budget,
    attempts: u32,
    longest_call: Duration,
    pace: Option<pace::Pace>,
}

impl Client {
    /// Starts to describe a client of the service at `base_url` (for example `https://dev.azure.com/contoso`).
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(base_url.into())
    }

    /// The service's base URL, without a trailing slash.
    pub fn base_url(&self) -> &str {
        &self.inner.base_url
    }

    /// How often the service may be asked, as its last answer said.
    pub fn rate_limit(&self) -> RateLimit {
        self.inner.budget.last()
    }

    /// How long calls that can wait should leave the budget to those that cannot.
    pub fn leave_budget_for(&self) -> Duration {
        let pace = self.inner.pace.as_ref();
        pace.map_or(Duration::ZERO, |pace| pace.until_half(Instant::now()))
    }
}
