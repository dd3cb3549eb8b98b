//! Challenges: what somebody without a credential that counts is told.

use crate::answer::Answer;
use crate::suite::Suite;
use crate::verdict::Verdict;
use dayfly_wire::secret::SecretText;
use reqwest::Method;

const POOLS: &str = "/_apis/distributedtask/pools";

/// Clients try again only after a challenge that they know.
fn is_challenge(answer: &Answer) -> Verdict {
    holds!(
        answer.status == 401,
        "{}: status {}, and not 401",
        answer.what,
        answer.status
    );
    let offered = answer.header("www-authenticate");
    for scheme in ["Bearer", "Basic"] {
        holds!(
            offered.contains(scheme),
            "{}: WWW-Authenticate {offered:?} offers no {scheme}",
            answer.what
        );
    }
    Ok(())
}

pub(super) async fn nobody_is_asked_for_a_credential(suite: &Suite) -> Verdict {
    let answer = suite.anonymous(Method::GET, POOLS).send().await?;
    is_challenge(&answer)
}

pub(super) async fn a_wrong_token_is_not_told_from_none(suite: &Suite) -> Verdict {
    let wrong = SecretText::from("0000000000000000000000000000000000000000000000000000");
    for request in [
        suite.anonymous(Method::GET, POOLS).basic("", &wrong),
        suite.anonymous(Method::GET, POOLS).bearer(&wrong),
    ] {
        let answer = request.send().await?;
        holds!(
            answer.status == 401,
            "{}: status {} for a wrong token, and not 401",
            answer.what,
            answer.status
        );
    }
    Ok(())
}

pub(super) async fn the_user_beside_a_token_does_not_matter(suite: &Suite) -> Verdict {
    for user in ["", "VstsAgent", "somebody@example.com"] {
        let request = suite.anonymous(Method::GET, POOLS).basic(user, &suite.pat);
        request.send().await?.list()?;
    }
    Ok(())
}
