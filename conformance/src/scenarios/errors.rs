//! Errors: clients choose what to do by what is in them.

use crate::suite::Suite;
use crate::verdict::Verdict;
use reqwest::Method;

pub(super) async fn a_refusal_has_the_members_that_clients_read(suite: &Suite) -> Verdict {
    let path = suite.in_pool("/agents/2000000000");
    let body = suite.get(&path).await?.expect(404)?.json()?;
    for member in ["message", "typeName", "typeKey"] {
        let text = body[member].as_str().unwrap_or_default();
        holds!(!text.is_empty(), "the error has no {member}");
    }
    for member in ["errorCode", "eventId"] {
        holds!(body[member].is_i64(), "{member} is {}", body[member]);
    }
    Ok(())
}

pub(super) async fn an_unknown_path_is_not_found(suite: &Suite) -> Verdict {
    let answer = suite
        .get("/_apis/distributedtask/nothing-of-this-name")
        .await?;
    let answer = answer.expect(404)?;
    holds!(
        !answer.body.contains("panicked"),
        "the answer shows the service's inside"
    );
    Ok(())
}

pub(super) async fn what_is_no_json_is_refused(suite: &Suite) -> Verdict {
    let path = suite.in_pool("/agents");
    let request = suite.ask(Method::POST, &path).version("7.1");
    let answer = request
        .text("application/json", "{\"name\": ")
        .send()
        .await?;
    let body = answer.expect(400)?.json()?;
    let message = body["message"].as_str().unwrap_or_default();
    holds!(
        !message.is_empty(),
        "the refusal does not say what is wrong"
    );
    Ok(())
}
