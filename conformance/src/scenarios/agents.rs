//! Agents: register, find, change, replace, remove.

use crate::suite::{MARK, Suite, new_key};
use crate::verdict::Verdict;
use reqwest::Method;
use serde_json::{Value, json};

async fn read(suite: &Suite, id: dayfly_wire::ids::AgentId, query: &str) -> Verdict<Value> {
    let path = suite.in_pool(&format!("/agents/{id}{query}"));
    suite.get(&path).await?.document()
}

pub(super) async fn a_registration_gets_a_client_id_and_a_token_url(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    holds!(agent.document.id.0 > 0, "the agent has no id");
    holds!(
        agent.token_url.starts_with("http"),
        "authorizationUrl is {:?}",
        agent.token_url
    );
    holds!(
        agent
            .document
            .status
            .is_none_or(|status| status.as_str() == "offline"),
        "an agent that never listened is not offline"
    );
    Ok(())
}

pub(super) async fn an_agent_is_found_by_its_name(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let name = &agent.document.name;
    let path = format!("/agents?agentName={name}&includeCapabilities=False");
    let found = suite.get(&suite.in_pool(&path)).await?.list()?;
    holds!(
        found.len() == 1
            && found
                .iter()
                .all(|found| found["id"].as_i64() == Some(agent.document.id.0)),
        "agentName={name} finds {} agents",
        found.len()
    );
    let nobody = suite.in_pool("/agents?agentName=nobody-of-this-name");
    holds!(
        suite.get(&nobody).await?.list()?.is_empty(),
        "a name of nobody finds an agent"
    );
    Ok(())
}

pub(super) async fn capabilities_come_when_asked_for(suite: &Suite) -> Verdict {
    let id = suite.register().await?.document.id;
    let full = read(suite, id, "?includeCapabilities=True").await?;
    holds!(
        full["systemCapabilities"]["Agent.OS"] == "Linux",
        "the system capabilities are not what was sent: {}",
        full["systemCapabilities"]
    );
    let short = read(suite, id, "?includeCapabilities=false").await?;
    let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    holds!(
        empty(&short["systemCapabilities"]),
        "capabilities that nobody asked for"
    );
    Ok(())
}

pub(super) async fn a_second_agent_of_the_name_is_refused(suite: &Suite) -> Verdict {
    let draft = suite.draft();
    suite.register_as(&draft).await?;
    let request = suite
        .ask(Method::POST, &suite.in_pool("/agents"))
        .json(&draft);
    request
        .send()
        .await?
        .refused(409, "TaskAgentExistsException")
}

pub(super) async fn an_agent_is_disabled_and_enabled(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let id = agent.document.id;
    let path = suite.in_pool(&format!("/agents/{id}"));
    for enabled in [false, true, false] {
        let request = suite
            .ask(Method::PATCH, &path)
            .json(&json!({"id": id, "enabled": enabled}));
        request.send().await?.document()?;
        let now = read(suite, id, "").await?;
        holds!(
            now["enabled"] == enabled,
            "enabled is {}, and not {enabled}",
            now["enabled"]
        );
        holds!(
            now["name"] == agent.document.name.as_str(),
            "a change of one member changed the name"
        );
    }
    Ok(())
}

pub(super) async fn user_capabilities_are_replaced(suite: &Suite) -> Verdict {
    let id = suite.register().await?.document.id;
    let path = suite.in_pool(&format!("/agents/{id}/usercapabilities"));
    let request = suite.ask(Method::PUT, &path).json(&json!({"Second": "2"}));
    request.send().await?.document()?;
    let agent = read(suite, id, "?includeCapabilities=true").await?;
    let user = &agent["userCapabilities"];
    holds!(
        user["Second"] == "2",
        "the new user capability is not there: {user}"
    );
    holds!(
        user.get(MARK).is_none(),
        "the old user capability is still there: {user}"
    );
    holds!(
        agent["systemCapabilities"]["Agent.OS"] == "Linux",
        "the system capabilities went with them"
    );
    Ok(())
}

pub(super) async fn a_replaced_agent_keeps_its_id(suite: &Suite) -> Verdict {
    let agent = suite.register().await?;
    let id = agent.document.id;
    let mut draft = suite.draft();
    draft["id"] = json!(id);
    draft["name"] = json!(agent.document.name);
    draft["authorization"]["publicKey"] = json!(new_key()?.public().to_wire());
    let path = suite.in_pool(&format!("/agents/{id}"));
    let replaced = suite
        .ask(Method::PUT, &path)
        .json(&draft)
        .send()
        .await?
        .document()?;
    holds!(
        replaced["id"].as_i64() == Some(id.0),
        "a replaced agent has another id"
    );
    for member in ["clientId", "authorizationUrl"] {
        holds!(
            replaced["authorization"][member].is_string(),
            "a replaced agent is not told its authorization.{member}"
        );
    }
    let user = read(suite, id, "?includeCapabilities=true").await?["userCapabilities"].take();
    holds!(
        user.get(MARK).is_some(),
        "a replacement took the user capabilities: {user}"
    );
    Ok(())
}

pub(super) async fn a_deleted_agent_is_gone(suite: &Suite) -> Verdict {
    let id = suite.register().await?.document.id;
    let path = suite.in_pool(&format!("/agents/{id}"));
    suite.ask(Method::DELETE, &path).send().await?.empty()?;
    let answer = suite.get(&path).await?;
    answer.refused(404, "TaskAgentNotFoundException")
}
