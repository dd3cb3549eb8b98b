//! The token service: what an agent's key is good for.

use crate::answer::Answer;
use crate::suite::{Suite, new_key, now};
use crate::verdict::Verdict;
use jiff::SignedDuration;
use reqwest::Method;

/// A refusal as RFC 6749 has it, which is what agents read.
fn refused(answer: Answer) -> Verdict<String> {
    let what = answer.what.clone();
    let body = answer.expect(400)?.json()?;
    holds!(
        body["error"].is_string(),
        "{what}: a refusal without `error`"
    );
    let text = body["error_description"].as_str();
    Ok(text.unwrap_or_default().to_owned())
}

pub(super) async fn an_assertion_gets_a_token(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let path = suite.in_pool(&format!("/agents/{}", agent.document.id));
    let own = suite.anonymous(Method::GET, &path).bearer(&token);
    own.send().await?.document().map(|_| ())
}

pub(super) async fn another_key_gets_none(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let assertion = suite.assertion(&agent, &new_key()?, &agent.token_url, now())?;
    refused(suite.exchange(&agent, &assertion).await?).map(|_| ())
}

pub(super) async fn another_audience_gets_none(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let elsewhere = "https://example.com/_apis/oauth2/token";
    let assertion = suite.assertion(&agent, &suite.key, elsewhere, now())?;
    refused(suite.exchange(&agent, &assertion).await?).map(|_| ())
}

pub(super) async fn an_old_assertion_is_told_the_time(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let then = now() - SignedDuration::from_mins(30);
    let assertion = suite.assertion(&agent, &suite.key, &agent.token_url, then)?;
    let text = refused(suite.exchange(&agent, &assertion).await?)?;
    holds!(
        text.contains("Current server time is"),
        "the refusal does not say the time, by which agents know a wrong clock: {text:?}"
    );
    Ok(())
}

pub(super) async fn a_deleted_agent_gets_none(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let path = suite.in_pool(&format!("/agents/{}", agent.document.id));
    suite.ask(Method::DELETE, &path).send().await?.empty()?;
    let assertion = suite.assertion(&agent, &suite.key, &agent.token_url, now())?;
    refused(suite.exchange(&agent, &assertion).await?).map(|_| ())
}

pub(super) async fn a_listen_token_registers_nobody(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let mut draft = suite.draft();
    draft["enabled"] = serde_json::json!(false);
    let request = suite.anonymous(Method::POST, &suite.in_pool("/agents"));
    let answer = request.bearer(&token).json(&draft).send().await?;
    if answer.status == 200 {
        // What should not have been made is to be removed all the same.
        suite.remember_agent(&answer);
    }
    answer.refused_somehow()
}
