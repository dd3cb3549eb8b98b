//! Versions: how clients say which they speak.

use crate::suite::Suite;
use crate::verdict::Verdict;
use reqwest::Method;

const POOLS: &str = "/_apis/distributedtask/pools";

pub(super) async fn reading_needs_no_version(suite: &Suite) -> Verdict {
    suite.get(POOLS).await?.list().map(|_| ())
}

pub(super) async fn a_version_is_taken_wherever_clients_put_it(suite: &Suite) -> Verdict {
    suite
        .ask(Method::GET, POOLS)
        .version("7.1")
        .send()
        .await?
        .list()?;
    suite
        .get(&format!("{POOLS}?api-version=7.1"))
        .await?
        .list()?;
    let agent = suite.register().await?;
    let path = suite.in_pool(&format!("/agents/{}", agent.document.id));
    let kind = "application/json; charset=utf-8; api-version=7.1";
    let body = format!("{{\"id\":{},\"maxParallelism\":1}}", agent.document.id);
    let request = suite
        .ask(Method::PATCH, &path)
        .version("7.1")
        .text(kind, body);
    request.send().await?.document().map(|_| ())
}

pub(super) async fn a_preview_version_is_taken(suite: &Suite) -> Verdict {
    for version in ["5.1-preview.1", "7.2-preview.1"] {
        let request = suite.ask(Method::GET, POOLS).version(version);
        request.send().await?.list()?;
    }
    Ok(())
}
