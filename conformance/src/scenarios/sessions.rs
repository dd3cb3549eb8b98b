//! Sessions.

use crate::suite::Suite;
use crate::verdict::Verdict;
use reqwest::Method;

pub(super) async fn a_session_opens_with_a_key_for_the_agent(suite: &Suite) -> Verdict {
    for sha256 in [false, true] {
        let agent = suite.register().await?;
        let token = suite.listen_token(&agent).await?;
        // Opening unwraps the key with the padding that the answer names.
        let session = suite.open(&agent, &token, sha256).await?;
        suite.close(&session, &token).await?;
    }
    Ok(())
}

pub(super) async fn a_second_session_is_refused(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    suite.open(&agent, &token, false).await?;
    let second = suite.ask_session(&agent, &token, false).await?;
    let said = second.body.contains("already has an active session");
    second.refused(409, "TaskAgentSessionConflictException")?;
    holds!(said, "the refusal of a second session does not say why");
    Ok(())
}

pub(super) async fn an_agent_is_online_while_its_session_is_open(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let path = suite.in_pool(&format!("/agents/{}", agent.document.id));
    let session = suite.open(&agent, &token, false).await?;
    let open = suite.get(&path).await?.document()?;
    holds!(
        open["status"] == "online",
        "with a session the agent is {}",
        open["status"]
    );
    suite.close(&session, &token).await?;
    let closed = suite.get(&path).await?.document()?;
    holds!(
        closed["status"] == "offline",
        "without one it is {}",
        closed["status"]
    );
    Ok(())
}

pub(super) async fn a_closed_session_is_over(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let token = suite.listen_token(&agent).await?;
    let session = suite.open(&agent, &token, false).await?;
    suite.close(&session, &token).await?;
    let answer = suite.poll_raw(&session, &token, None).await?;
    answer.refused(403, "TaskAgentSessionExpiredException")?;
    suite.open(&agent, &token, false).await.map(|_| ())
}

pub(super) async fn a_session_for_another_agent_is_refused(suite: &Suite) -> Verdict {
    let (one, other) = (suite.register().await?, suite.register().await?);
    let token = suite.listen_token(&one).await?;
    suite
        .ask_session(&other, &token, false)
        .await?
        .refused_somehow()?;
    let token = suite.listen_token(&other).await?;
    let session = suite.open(&other, &token, false).await?;
    let path = suite.in_pool(&format!("/sessions/{}", session.id));
    let stranger = suite.listen_token(&one).await?;
    let request = suite.anonymous(Method::DELETE, &path).bearer(&stranger);
    request.send().await?.refused_somehow()
}
