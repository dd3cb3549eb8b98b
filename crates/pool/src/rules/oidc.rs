//! Identity tokens of jobs: what they say, and for whom.

use super::access::JobClaims;
use super::entities::Plan;
use super::refusal::{Kind, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Whom an identity token is for, unless the job asks for another that is allowed.
pub const AUDIENCE: &str = "api://AzureADTokenExchange";
/// How long an identity token lives.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The claims of an identity token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdClaims {
    /// The service.
    pub iss: String,
    /// What runs: `p://collection/project/pipeline`.
    pub sub: String,
    /// Whom it is for.
    pub aud: String,
    /// Unique.
    pub jti: Uuid,
    /// Seconds.
    pub iat: i64,
    /// Seconds.
    pub nbf: i64,
    /// Seconds.
    pub exp: i64,
    /// The service's id.
    pub org_id: Uuid,
    /// The project's id.
    pub prj_id: String,
    /// The pipeline's id.
    pub def_id: i64,
    /// The run's id.
    pub run_id: i64,
    /// The job's id.
    pub job_id: String,
}

/// The audience of a token that is asked for with these members.
pub fn audience(asked: &BTreeMap<String, String>, allowed: &[String]) -> Result<String, Refusal> {
    if let Some(other) = asked.keys().find(|name| *name != "aud") {
        return Err(Refusal::invalid(format!(
            "{other}: only aud can be asked for"
        )));
    }
    let Some(audience) = asked.get("aud") else {
        return Ok(AUDIENCE.to_owned());
    };
    if audience == AUDIENCE || allowed.contains(audience) {
        return Ok(audience.clone());
    }
    Err(Refusal::new(
        Kind::Denied,
        format!("aud: this service gives no identity tokens for {audience:?}"),
    ))
}

/// The claims of the token that a job is given.
pub fn claims(
    plan: &Plan,
    job: &JobClaims,
    service: (&str, Uuid),
    audience: String,
    jti: Uuid,
    now: Timestamp,
) -> IdClaims {
    let (public_url, instance) = service;
    IdClaims {
        iss: public_url.to_owned(),
        sub: format!(
            "p://{}/{}/{}",
            collection(public_url),
            plan.project_name,
            plan.definition_name
        ),
        aud: audience,
        jti,
        iat: now.as_second(),
        nbf: now.as_second(),
        exp: (now + LIFE).as_second(),
        org_id: instance,
        prj_id: plan.project.to_string(),
        def_id: plan.definition.0,
        run_id: plan.build.0,
        job_id: job.job.to_string(),
    }
}

/// What verifiers read first.
pub fn discovery(public_url: &str) -> Value {
    json!({
        "issuer": public_url,
        "jwks_uri": format!("{public_url}{KEY_SET}"),
        "response_types_supported": ["id_token"],
        "response_modes_supported": ["form_post"],
        "grant_types_supported": [],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": [
            "iss", "sub", "aud", "jti", "iat", "nbf", "exp",
            "org_id", "prj_id", "def_id", "run_id", "job_id",
        ],
    })
}

/// Where the discovery document is, below the collection.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where the public keys are, below the collection.
pub const KEY_SET: &str = "/.well-known/jwks";

/// The collection: the last segment of the base URL.
fn collection(public_url: &str) -> &str {
    public_url.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_audience_is_the_usual_one_or_one_that_is_allowed() {
        let allowed = ["sts.example.com".to_owned()];
        let of = |pairs: &[(&str, &str)]| audience(&asked(pairs), &allowed);
        assert_eq!(of(&[]).unwrap(), AUDIENCE);
        assert_eq!(of(&[("aud", AUDIENCE)]).unwrap(), AUDIENCE);
        assert_eq!(of(&[("aud", "sts.example.com")]).unwrap(), allowed[0]);
        assert_eq!(of(&[("aud", "x")]).unwrap_err().kind, Kind::Denied);
        assert_eq!(of(&[("sub", "x")]).unwrap_err().kind, Kind::Invalid);
    }
}
