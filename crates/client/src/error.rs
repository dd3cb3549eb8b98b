//! How a call fails.

use dayfly_wire::error::ServiceError;
use std::time::Duration;

/// Why a call did not answer what was asked. Holds no credential and no request body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 401: the credential is not accepted.
    #[error("the service refused the credential: {}", message(.0))]
    Unauthorized(Option<Box<ServiceError>>),
    /// A sign-in page instead of an answer: the credential is malformed, expired, or for another organisation.
    #[error(
        "the service answered with a sign-in page: the credential is expired, malformed or for another organisation"
    )]
    SignInPage,
    /// 403: the credential is accepted but may not do this.
    #[error("the service does not allow this: {}", message(.0))]
    Forbidden(Option<Box<ServiceError>>),
    /// 404: not there.
    #[error("not found: {}", message(.0))]
    NotFound(Option<Box<ServiceError>>),
    /// 409: in the way of something that is there.
    #[error("conflict: {}", message(.0))]
    Conflict(Option<Box<ServiceError>>),
    /// 429, or 503 with `Retry-After`.
    #[error("the service asks to wait{}", .after.map(|after| format!(" for {after:?}")).unwrap_or_default())]
    Throttled {
        /// How long.
        after: Option<Duration>,
    },
    /// 5xx.
    #[error("the service failed with status {status}: {}", message(.body))]
    Server {
        /// The status.
        status: u16,
        /// What it said.
        body: Option<Box<ServiceError>>,
    },
    /// Any other status.
    #[error("the service refused the request with status {status}: {}", message(.body))]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        body: Option<Box<ServiceError>>,
    },
    /// The answer is not what the protocol says.
    #[error("failed to read the service's answer to {call}: {problem}")]
    Decode {
        /// Which call.
        call: &'static str,
        /// What is wrong, without the answer's content.
        problem: String,
    },
    /// The answer goes on and on; what came of it is dropped.
    #[error("the service's answer is longer than {most} bytes")]
    TooLong {
        /// How much is read.
        most: usize,
    },
    /// The token endpoint gave no token.
    #[error("the token endpoint refused the agent's assertion: {0}")]
    TokenRefused(String),
    /// The token endpoint does not take a service principal's proof.
    #[error("the token endpoint refused the credential: {0}")]
    CredentialRefused(String),
    /// There is nothing to prove oneself with.
    #[error("{0}")]
    CredentialUnavailable(String),
    /// The key cannot sign.
    #[error("failed to sign the assertion")]
    Sign,
    /// No answer.
    #[error("failed to reach the service: {0}")]
    Transport(String),
}

fn message(body: &Option<Box<ServiceError>>) -> &str {
    body.as_deref()
        .map_or("(no reason given)", |body| body.message.as_str())
}

impl Error {
    /// The service's own name for what went wrong; see [`dayfly_wire::error::key`].
    pub fn type_key(&self) -> Option<&str> {
        match self {
            Self::Unauthorized(body)
            | Self::Forbidden(body)
            | Self::NotFound(body)
            | Self::Conflict(body)
            | Self::Server { body, .. }
            | Self::Refused { body, .. } => body.as_deref().map(|body| body.type_key.as_str()),
            Self::SignInPage
            | Self::Throttled { .. }
            | Self::Decode { .. }
            | Self::TooLong { .. }
            | Self::TokenRefused(_)
            | Self::CredentialRefused(_)
            | Self::CredentialUnavailable(_)
            | Self::Sign
            | Self::Transport(_) => None,
        }
    }

    /// Whether another try of the same call may succeed by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Transport(_) => true,
            Self::Server { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            Self::Unauthorized(_)
            | Self::SignInPage
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Refused { .. }
            | Self::Decode { .. }
            | Self::TooLong { .. }
            | Self::TokenRefused(_)
            | Self::CredentialRefused(_)
            | Self::CredentialUnavailable(_)
            | Self::Sign => false,
        }
    }

    /// Whether the credential is at fault.
    pub fn is_credential_rejected(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized(_)
                | Self::SignInPage
                | Self::CredentialRefused(_)
                | Self::CredentialUnavailable(_)
        )
    }

    /// A fixed word for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "Unauthorized",
            Self::SignInPage => "SignInPage",
            Self::Forbidden(_) => "Forbidden",
            Self::NotFound(_) => "NotFound",
            Self::Conflict(_) => "Conflict",
            Self::Throttled { .. } => "Throttled",
            Self::Server { .. } => "ServerError",
            Self::Refused { .. } => "Refused",
            Self::Decode { .. } | Self::TooLong { .. } => "UnreadableAnswer",
            Self::TokenRefused(_) => "TokenRefused",
            Self::CredentialRefused(_) => "CredentialRefused",
            Self::CredentialUnavailable(_) => "CredentialUnavailable",
            Self::Sign => "SignFailed",
            Self::Transport(_) => "Unreachable",
        }
    }
}
