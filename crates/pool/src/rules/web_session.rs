//! Sessions of the web page: how long they live, and which calls their cookie counts for.

use super::access::{Caller, Scope, require_scope};
use super::entities::{Pat, WebSession};
use super::refusal::{Kind, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// How long somebody stays signed in: a working day.
pub const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// Sessions that one access token has at most; another sign-in ends the oldest.
pub const SESSIONS: i64 = 50;

/// A session opened with an access token; it ends with the token at the latest.
pub fn open(pat: &Pat, now: Timestamp) -> WebSession {
    let end = now + LIFE;
    WebSession {
        pat: pat.id,
        created_at: now,
        expires_at: pat.expires_at.map_or(end, |expires| end.min(expires)),
    }
}

/// Whether the session counts.
pub fn is_live(session: &WebSession, now: Timestamp) -> bool {
    now < session.expires_at
}

/// What a browser says of where a call comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `Sec-Fetch-Site` header, which browsers send over TLS and to the machine itself.
    pub fetch_site: Option<&'a str>,
}

/// Whether a call that a browser authenticates by itself comes from our own page. A call that changes something must
/// say so; the page may be known by another name than the public URL, as behind a forwarded port.
pub fn check_origin(from: Origin<'_>, changes: bool, public_url: &str) -> Result<(), Refusal> {
    if from
        .fetch_site
        .is_some_and(|site| !matches!(site, "same-origin" | "none"))
    {
        return Err(foreign());
    }
    let own = |origin: &str| {
        let authority = |url: &str| {
            let (_, rest) = url.split_once("://")?;
            Some(rest.split('/').next().unwrap_or_default().to_lowercase())
        };
        let theirs = authority(origin);
        theirs.is_some()
            && (theirs == authority(public_url) || theirs == from.host.map(str::to_lowercase))
    };
    match from.origin {
        Some(origin) if own(origin) => Ok(()),
        None if !changes => Ok(()),
        Some(_) | None => Err(foreign()),
    }
}

fn foreign() -> Refusal {
    Refusal::new(
        Kind::Denied,
        "the call comes from another site; use the service's own page, or a token in the Authorization header",
    )
}

/// What whoever is signed in may do, so that the page shows no button that would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct May {
    /// See pools, agents and the queue.
    pub read_pools: bool,
    /// Disable, enable and remove agents.
    pub manage_pools: bool,
    /// See runs and logs.
    pub read_runs: bool,
    /// Cancel runs.
    pub execute_runs: bool,
}

/// What a caller may do.
pub fn may(caller: &Caller) -> May {
    let allowed = |scope| require_scope(caller, scope).is_ok();
    May {
        read_pools: allowed(Scope::AgentPools),
        manage_pools: allowed(Scope::AgentPoolsManage),
        read_runs: allowed(Scope::Build),
        execute_runs: allowed(Scope::BuildExecute),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::at;
    use super::*;

    const URL: &str = "https://pool.example/default";

    fn from<'a>(origin: &'a str, host: &'a str, site: &'a str) -> Origin<'a> {
        let given = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Origin {
            origin: given(origin),
            host: given(host),
            fetch_site: given(site),
        }
    }

    #[test]
    fn only_our_own_page_changes_anything() {
        let changes = |call| check_origin(call, true, URL).is_ok();
        assert!(changes(from("https://pool.example", "inner:8080", "")));
        assert!(changes(from(
            "http://localhost:8080",
            "LOCALHOST:8080",
            "same-origin"
        )));
        assert!(!changes(from("", "pool.example", "")));
        assert!(!changes(from("null", "pool.example", "")));
        assert!(!changes(from("https://evil.example", "pool.example", "")));
        assert!(!changes(from(
            "https://pool.example.evil",
            "pool.example",
            ""
        )));
        assert!(!changes(from(
            "https://pool.example",
            "pool.example",
            "same-site"
        )));
    }

    #[test]
    fn reading_is_for_our_own_page_and_for_whoever_follows_a_link_in_it() {
        let reads = |call| check_origin(call, false, URL).is_ok();
        assert!(reads(from("", "pool.example", "")));
        assert!(reads(from("", "pool.example", "none")));
        assert!(!reads(from("", "pool.example", "cross-site")));
        assert!(!reads(from("https://evil.example", "pool.example", "")));
    }

    #[test]
    fn a_session_ends_with_its_token_at_the_latest() {
        let mut pat = Pat {
            id: uuid::Uuid::from_u128(1),
            name: "me".to_owned(),
            scopes: "build".to_owned(),
            created_at: at(0),
            expires_at: None,
            revoked_at: None,
        };
        let session = open(&pat, at(0));
        assert!(is_live(&session, at(12 * 60 - 1)) && !is_live(&session, at(12 * 60)));
        pat.expires_at = Some(at(5));
        assert!(!is_live(&open(&pat, at(0)), at(5)));
    }
}
