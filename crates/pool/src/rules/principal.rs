//! Service principals: programs with an identity of their own, and what they prove it with.

use super::access::{PrincipalClaims, Scopes};
use super::refusal::Refusal;
use dayfly_keys::assertion::AssertionError;
use dayfly_wire::agent::AgentPublicKey;
use dayfly_wire::token::TokenRefusal;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The resource that clients of Azure DevOps ask Entra ID for.
pub const RESOURCE: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// What else clients write for it.
const RESOURCE_URL: &str = "https://app.vssps.visualstudio.com";
/// How long a principal's token lives.
const LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Credentials of one principal.
pub const MAX_CREDENTIALS: usize = 20;

/// A service principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its id: the client id.
    pub id: Uuid,
    /// For a person.
    pub name: String,
    /// What it reaches, as it was written.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Something that a principal proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalCredential {
    /// Its id, by which it is removed; tokens carry it.
    pub id: Uuid,
    /// Whose it is.
    pub principal: Uuid,
    /// What is proven.
    pub proof: Proof,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What a credential proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Proof {
    /// Knowledge of a secret, of which the hash is kept.
    Secret {
        /// SHA-256, in hexadecimal digits: the secret is random, there is nothing to guess.
        hash: String,
    },
    /// A private key.
    Key(AgentPublicKey),
    /// What another issuer says.
    Federated(Trust),
}

impl Proof {
    /// In one line, for a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Secret { .. } => "secret".to_owned(),
            Self::Key(_) => "public key".to_owned(),
            Self::Federated(trust) => format!("{} of {}", trust.subject, trust.issuer),
        }
    }
}

/// Whom another issuer must name, and how its keys are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// The issuer's URL.
    pub issuer: String,
    /// For example `system:serviceaccount:dayfly-system:dayfly-operator`.
    pub subject: String,
    /// Whom its tokens must be for.
    pub audience: String,
    /// Certificates that the issuer's chain may end in, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Without TLS whoever is on the way decides which keys are believed.
    #[serde(default)]
    pub allow_http: bool,
}

/// Checks what an administrator writes.
pub fn check_trust(trust: &Trust) -> Result<(), Refusal> {
    let is_https = trust.issuer.starts_with("https://");
    let is_http = trust.issuer.starts_with("http://") && trust.allow_http;
    if !(is_https || is_http) || trust.issuer.len() > 1000 {
        return Err(Refusal::invalid("issuer: it must begin with https://"));
    }
    for (what, text) in [("subject", &trust.subject), ("audience", &trust.audience)] {
        if text.is_empty() || text.len() > 1000 {
            return Err(Refusal::invalid(format!("{what}: 1 to 1000 characters")));
        }
    }
    Ok(())
}

/// Whether a principal counts.
pub fn principal_counts(principal: &Principal) -> bool {
    principal.revoked_at.is_none()
}

/// Whether a credential counts.
pub fn credential_counts(credential: &PrincipalCredential, now: Timestamp) -> bool {
    credential.expires_at.is_none_or(|end| now < end)
}

/// Whether a token of a principal still belongs to what is kept of it.
pub fn token_counts(
    claims: &PrincipalClaims,
    principal: &Principal,
    credential: &PrincipalCredential,
    now: Timestamp,
) -> bool {
    principal.id == claims.sub
        && credential.id == claims.credential
        && credential.principal == principal.id
        && principal_counts(principal)
        && credential_counts(credential, now)
}

/// The claims of a principal's token given at `issued_at`.
pub fn claims(
    principal: &Principal,
    credential: &PrincipalCredential,
    instance: Uuid,
    issued_at: Timestamp,
) -> PrincipalClaims {
    PrincipalClaims {
        sub: principal.id,
        credential: credential.id,
        tid: instance,
        iat: issued_at.as_second(),
        exp: (issued_at + LIFE).as_second(),
    }
}

/// The form of a token request, as Entra ID takes it.
#[derive(Default, Deserialize)]
pub struct GrantForm {
    /// `client_credentials`.
    #[serde(default)]
    pub grant_type: String,
    /// The principal.
    #[serde(default)]
    pub client_id: String,
    /// The resource with `/.default`.
    #[serde(default)]
    pub scope: String,
    /// The secret, or nothing.
    #[serde(default)]
    pub client_secret: Option<dayfly_wire::secret::SecretText>,
    /// `jwt-bearer`, with an assertion.
    #[serde(default)]
    pub client_assertion_type: String,
    /// The assertion, or nothing.
    #[serde(default)]
    pub client_assertion: Option<dayfly_wire::secret::SecretText>,
}

/// Whether a form asks for what there is to have; who asks is another question.
pub fn check_grant(form: &GrantForm) -> Result<Uuid, TokenRefusal> {
    if form.grant_type != dayfly_wire::token::CLIENT_CREDENTIALS {
        return Err(refusal(
            "unsupported_grant_type",
            "The only grant_type here is client_credentials.",
        ));
    }
    let resource = form.scope.trim().strip_suffix("/.default");
    let is_known = |resource: &str| {
        let resource = resource.trim_end_matches('/');
        resource.eq_ignore_ascii_case(RESOURCE) || resource.eq_ignore_ascii_case(RESOURCE_URL)
    };
    if !resource.is_some_and(is_known) {
        return Err(refusal(
            "invalid_scope",
            &format!("The only scope here is {RESOURCE}/.default."),
        ));
    }
    let is_assertion = form.client_assertion.is_some();
    if is_assertion && form.client_assertion_type != dayfly_wire::token::JWT_BEARER {
        return Err(refusal(
            "invalid_request",
            "A client_assertion needs the client_assertion_type jwt-bearer.",
        ));
    }
    if is_assertion == form.client_secret.is_some() {
        return Err(refusal(
            "invalid_request",
            "Either client_secret or client_assertion is needed.",
        ));
    }
    form.client_id
        .parse()
        .map_err(|_| refusal("invalid_request", "client_id must be a GUID."))
}

/// The one text for every client that does not prove itself, so that nobody learns why.
pub fn invalid_client() -> TokenRefusal {
    refusal(
        "invalid_client",
        "The client is not known, or did not prove itself: check client_id, and that its secret, key or federated \
         credential is registered and has not expired.",
    )
}

/// What is told about an assertion that does not count. Only whoever has the key gets to read about times.
pub fn bad_assertion(error: &AssertionError, now: Timestamp) -> TokenRefusal {
    match error {
        AssertionError::Signature | AssertionError::Subject => invalid_client(),
        other => super::token::bad_assertion(other, now),
    }
}

/// There is no such tenant.
pub fn unknown_tenant(tenant: &str) -> TokenRefusal {
    let shown: String = tenant.chars().take(64).collect();
    refusal(
        "invalid_request",
        &format!("Tenant '{shown}' not found. Use the collection's name or the service's id."),
    )
}

/// The issuer of a federated token cannot be asked for its keys.
pub fn issuer_unavailable() -> TokenRefusal {
    refusal(
        "temporarily_unavailable",
        "The keys of the token's issuer cannot be had now; the service's log says why.",
    )
}

/// A refusal in the form that clients read.
pub fn refusal(error: &str, text: &str) -> TokenRefusal {
    TokenRefusal {
        error: error.to_owned(),
        error_description: text.to_owned(),
    }
}

/// The HTTP status of a refusal, as Entra ID has it.
pub fn status(refusal: &TokenRefusal) -> u16 {
    match refusal.error.as_str() {
        "invalid_client" => 401,
        "temporarily_unavailable" => 503,
        _ => 400,
    }
}

/// The scopes of a principal.
pub fn scopes(principal: &Principal) -> Result<Scopes, Refusal> {
    principal.scopes.parse()
}

#[cfg(test)]
mod tests {
    use super::super::samples::at;
    use super::*;

    fn form(change: impl FnOnce(&mut GrantForm)) -> GrantForm {
        let mut form = GrantForm {
            grant_type: "client_credentials".to_owned(),
            client_id: Uuid::from_u128(1).to_string(),
            scope: format!("{RESOURCE}/.default"),
            client_secret: Some("x".into()),
            ..GrantForm::default()
        };
        change(&mut form);
        form
    }

    #[test]
    fn a_grant_is_for_the_one_resource_and_brings_one_proof() {
        let error = |change: fn(&mut GrantForm)| match check_grant(&form(change)) {
            Ok(_) => String::new(),
            Err(refusal) => refusal.error,
        };
        assert_eq!(check_grant(&form(|_| {})), Ok(Uuid::from_u128(1)));
        assert_eq!(
            error(|form| form.scope = "https://app.vssps.visualstudio.com/.default".to_owned()),
            ""
        );
        assert_eq!(
            error(|form| form.grant_type.clear()),
            "unsupported_grant_type"
        );
        assert_eq!(
            error(|form| form.scope = "openid".to_owned()),
            "invalid_scope"
        );
        assert_eq!(error(|form| form.client_secret = None), "invalid_request");
        assert_eq!(
            error(|form| form.client_assertion = Some("x".into())),
            "invalid_request"
        );
        assert_eq!(error(|form| form.client_id.clear()), "invalid_request");
    }

    #[test]
    fn a_token_counts_as_long_as_its_principal_and_its_credential() {
        let principal = Principal {
            id: Uuid::from_u128(1),
            name: "operator".to_owned(),
            scopes: "agentpools_manage".to_owned(),
            created_at: at(0),
            revoked_at: None,
        };
        let credential = PrincipalCredential {
            id: Uuid::from_u128(2),
            principal: principal.id,
            proof: Proof::Secret {
                hash: String::new(),
            },
            created_at: at(0),
            expires_at: Some(at(60)),
        };
        let claims = claims(&principal, &credential, Uuid::nil(), at(0));
        assert!(token_counts(&claims, &principal, &credential, at(59)));
        assert!(!token_counts(&claims, &principal, &credential, at(60)));
        let revoked = Principal {
            revoked_at: Some(at(1)),
            ..principal.clone()
        };
        assert!(!token_counts(&claims, &revoked, &credential, at(2)));
        let other = PrincipalCredential {
            id: Uuid::from_u128(3),
            ..credential
        };
        assert!(!token_counts(&claims, &principal, &other, at(2)));
    }

    #[test]
    fn an_issuer_is_reached_by_tls_unless_somebody_insists() {
        let trust = |issuer: &str, allow_http| Trust {
            issuer: issuer.to_owned(),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            ca_bundle: None,
            allow_http,
        };
        assert!(check_trust(&trust("https://issuer", false)).is_ok());
        assert!(check_trust(&trust("http://issuer", false)).is_err());
        assert!(check_trust(&trust("http://issuer", true)).is_ok());
        assert!(check_trust(&trust("file:///etc/passwd", true)).is_err());
    }
}
