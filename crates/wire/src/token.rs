//! The token endpoint's answers (RFC 6749 section 5).

use crate::secret::SecretText;
use serde::{Deserialize, Serialize};

/// `grant_type` of an agent's token request.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// `client_assertion_type` of an agent's token request (RFC 7523).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token was given.
#[derive(Serialize, Deserialize)]
pub struct TokenAnswer {
    /// The token.
    pub access_token: SecretText,
    /// `JWT` or `Bearer`; not looked at by clients.
    #[serde(default)]
    pub token_type: String,
    /// Seconds; absent or not positive when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
}

/// No token was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRefusal {
    /// For example `invalid_client`.
    pub error: String,
    /// For a person; a clock problem carries the text "Current server time is".
    #[serde(default)]
    pub error_description: String,
}

/// An identity token of a job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcToken {
    /// The token, which others verify.
    pub oidc_token: SecretText,
}
