//! Personal access tokens, on the service's database: whoever can write there may make them.

use crate::output::{self, Printed};
use anyhow::Context;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::ops::pats;
use dayfly_pool_service::rules::access::{Scopes, pat_counts};
use dayfly_pool_service::store::{Place, Store};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Makes a token and prints it, and nothing else, so that a script can take it.
pub(crate) async fn create(
    place: &Place,
    name: &str,
    scopes: &str,
    expires_in: Option<&str>,
) -> anyhow::Result<()> {
    let scopes: Scopes = scopes.parse()?;
    let life = expires_in.map(parse_life).transpose()?;
    let store = open(place).await?;
    let token = pats::create(&store, name, &scopes, life, SystemClock.now()).await?;
    store.close().await;
    output::line(token.expose())
}

/// A token without what it is.
#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    state: &'static str,
    expires: Option<Timestamp>,
    scopes: String,
}

/// Lists the tokens.
pub(crate) async fn list(place: &Place, printed: Printed) -> anyhow::Result<()> {
    let store = open(place).await?;
    let now = SystemClock.now();
    let tokens: Vec<Shown> = pats::list(&store)
        .await?
        .into_iter()
        .map(|pat| Shown {
            id: pat.id.to_string(),
            state: match (pat.revoked_at, pat_counts(&pat, now)) {
                (Some(_), _) => "revoked",
                (None, false) => "expired",
                (None, true) => "counts",
            },
            name: pat.name,
            expires: pat.expires_at,
            scopes: pat.scopes,
        })
        .collect();
    store.close().await;
    let header = ["ID", "NAME", "STATE", "EXPIRES", "SCOPES"];
    printed.list(&tokens, &header, |each| {
        let expires = each.expires;
        vec![
            each.id.clone(),
            each.name.clone(),
            each.state.to_owned(),
            expires.map_or_else(|| "never".to_owned(), |end| format!("{end:.0}")),
            each.scopes.clone(),
        ]
    })
}

/// Revokes tokens.
pub(crate) async fn revoke(place: &Place, name: &str) -> anyhow::Result<()> {
    let store = open(place).await?;
    let revoked = pats::revoke(&store, name, SystemClock.now()).await?;
    store.close().await;
    anyhow::ensure!(
        revoked > 0,
        "no token that counts has the name or id {name:?}"
    );
    output::remark(&format!("revoked {revoked}"));
    Ok(())
}

pub(crate) async fn open(place: &Place) -> anyhow::Result<Store> {
    if let Place::Directory(directory) = place {
        anyhow::ensure!(
            directory.is_dir(),
            "{} is no directory; name the service's data directory",
            directory.display()
        );
    }
    Ok(Store::open(place).await?)
}

/// Reads a duration such as 90d.
pub(crate) fn parse_life(text: &str) -> anyhow::Result<SignedDuration> {
    let life = humantime::parse_duration(text)
        .with_context(|| format!("{text:?} is no duration; write for example 90d or 12h"))?;
    Ok(SignedDuration::try_from(life)?)
}
