//! How clients find out what there is, and how answers look on the wire.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::Fixture;
use dayfly_wire::agent::{Agent, Property};
use dayfly_wire::error::key;
use serde_json::json;

#[tokio::test]
async fn connection_data_names_every_location_and_nobody() {
    let fixture = Fixture::start().await;
    let short = fixture
        .call("GET", "/_apis/ConnectionData", None, None)
        .await;
    assert_eq!(short.status, 200);
    let short = short.json();
    assert_eq!(short["deploymentType"], "onPremises");
    assert!(short.get("authenticatedUser").is_none());
    assert!(
        short["locationServiceData"]
            .get("serviceDefinitions")
            .is_none()
    );
    assert!(short["locationServiceData"].get("serviceOwner").is_none());
    let path = "/_apis/connectionData?connectOptions=1&lastChangeId=-1&lastChangeId64=-1";
    let long = fixture.call("GET", path, None, None).await.json();
    assert_eq!(long["instanceId"], short["instanceId"]);
    let definitions = long["locationServiceData"]["serviceDefinitions"]
        .as_array()
        .unwrap();
    let sessions = definitions
        .iter()
        .find(|definition| definition["identifier"] == "134e239e-2df3-4794-a6f6-24f1f19ec8dc")
        .unwrap();
    assert_eq!(sessions["displayName"], "sessions");
    assert_eq!(sessions["serviceType"], "distributedtask");
    assert_eq!(
        sessions["relativePath"],
        "/_apis/{area}/pools/{poolId}/{resource}/{sessionId}"
    );
    let bad = "no-such-token".into();
    let refused = fixture.call("GET", path, Some(&bad), None).await;
    assert_eq!(
        refused.status, 401,
        "a credential that does not count is told so"
    );
}

#[tokio::test]
async fn options_lists_the_locations_and_resource_areas_are_empty() {
    let fixture = Fixture::start().await;
    for path in ["/_apis", "/_apis/", "/_apis/distributedtask"] {
        let answer = fixture.call("OPTIONS", path, None, None).await;
        let list = answer.json();
        assert_eq!(list["count"], list["value"].as_array().unwrap().len());
        let pools = list["value"]
            .as_array()
            .unwrap()
            .iter()
            .find(|location| location["id"] == "a8c47e17-4d56-4a56-92bb-de7ea7dc65be")
            .unwrap();
        assert_eq!(pools["routeTemplate"], "_apis/{area}/{resource}/{poolId}");
        assert_eq!(pools["maxVersion"], "7.2");
    }
    let areas = fixture
        .call("GET", "/_apis/ResourceAreas", None, None)
        .await;
    assert_eq!(areas.json(), json!({"count": 0, "value": []}));
}

#[tokio::test]
async fn paths_are_read_in_any_case() {
    let fixture = Fixture::start().await;
    let path = "/_APIS/DistributedTask/Pools/?PoolName=LINUX";
    let answer = fixture.call("GET", path, Some(&fixture.pat), None).await;
    let list = answer.json();
    assert_eq!(list["count"], 1);
    assert_eq!(list["value"][0]["name"], "linux");
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/json"), "{kind}");
    for name in ["lin", "linux2", ""] {
        let path = format!("/_apis/distributedtask/pools?poolName=x{name}");
        let list = fixture
            .call("GET", &path, Some(&fixture.pat), None)
            .await
            .json();
        assert_eq!(list["count"], 0, "{name}");
    }
}

#[tokio::test]
async fn errors_carry_what_each_kind_of_client_looks_at() {
    let fixture = Fixture::start().await;
    let answer = fixture
        .call(
            "GET",
            "/_apis/distributedtask/pools/99",
            Some(&fixture.pat),
            None,
        )
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.type_key(), key::POOL_NOT_FOUND);
    assert_eq!(
        answer.json()["typeName"],
        "Microsoft.TeamFoundation.DistributedTask.WebApi.TaskAgentPoolNotFoundException, \
         Microsoft.TeamFoundation.DistributedTask.WebApi"
    );
    assert!(answer.headers.contains_key("x-tfs-serviceerror"));
    let path = format!("/_apis/distributedtask/pools/{}/agents/99", fixture.pool);
    let answer = fixture.call("GET", &path, Some(&fixture.pat), None).await;
    assert_eq!(
        (answer.status, answer.type_key().as_str()),
        (404, key::AGENT_NOT_FOUND)
    );
    let answer = fixture
        .call("GET", "/_apis/FeatureFlags/x", None, None)
        .await;
    assert_eq!(
        (answer.status, answer.type_key().as_str()),
        (404, key::NOT_FOUND)
    );
    let answer = fixture
        .call(
            "POST",
            "/demo/_apis/dayfly/jobs",
            Some(&fixture.pat),
            Some(json!({"pool": 5})),
        )
        .await;
    assert_eq!(
        (answer.status, answer.type_key().as_str()),
        (400, key::INVALID)
    );
}

#[tokio::test]
async fn an_empty_answer_says_that_it_is_empty() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let token = agent.listen_token(&fixture).await;
    let path = format!(
        "/_apis/distributedtask/pools/{}/messages?sessionId={}",
        fixture.pool, session.id
    );
    let answer = fixture.call("GET", &path, Some(&token), None).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["content-length"], "0");
    let path = format!(
        "/_apis/distributedtask/pools/{}/agents/{}",
        fixture.pool, agent.record.id
    );
    let answer = fixture
        .call("DELETE", &path, Some(&fixture.pat), None)
        .await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn agents_are_found_replaced_and_changed() {
    let fixture = Fixture::start().await;
    let draft = Agent {
        user_capabilities: common::capabilities(&[("Dayfly.Owner", "me")]),
        system_capabilities: common::capabilities(&[("Agent.OS", "Linux")]),
        properties: [("Note".to_owned(), Property::text("kept"))].into(),
        ..Agent::default()
    };
    let agent = fixture.register_as("Blue", draft).await;
    let agents = format!("/_apis/distributedtask/pools/{}/agents", fixture.pool);
    let get = |query: String| {
        let path = format!("{agents}{query}");
        let fixture = &fixture;
        async move {
            fixture
                .call("GET", &path, Some(&fixture.pat), None)
                .await
                .json()
        }
    };
    let found = get("?agentName=bLUE&includeCapabilities=False".to_owned()).await;
    assert_eq!(found["count"], 1);
    let one = &found["value"][0];
    assert!(one.get("userCapabilities").is_none());
    assert_eq!(
        (&one["status"], &one["enabled"]),
        (&json!("offline"), &json!(true))
    );
    assert_eq!(one["properties"]["Note"]["$value"], "kept");
    assert!(one["authorization"]["clientId"].is_string());
    assert_eq!(get("?agentName=blu".to_owned()).await["count"], 0);
    let one = get(format!("/{}?includeCapabilities=true", agent.record.id)).await;
    assert_eq!(one["userCapabilities"]["Dayfly.Owner"], "me");

    // A PUT without a new key keeps the client, the user capabilities and the tokens.
    let token = agent.listen_token(&fixture).await;
    let path = format!("{agents}/{}", agent.record.id);
    let body = json!({"id": agent.record.id, "name": "Blue", "version": "4.261.0", "systemCapabilities": {"x": "y"}});
    let replaced = fixture
        .call("PUT", &path, Some(&fixture.pat), Some(body))
        .await
        .json();
    assert_eq!(replaced["version"], "4.261.0");
    assert_eq!(replaced["systemCapabilities"], json!({"x": "y"}));
    assert_eq!(replaced["userCapabilities"]["Dayfly.Owner"], "me");
    assert_eq!(
        fixture.call("GET", &path, Some(&token), None).await.status,
        200
    );
    let body = json!({"id": agent.record.id, "enabled": false});
    let changed = fixture
        .call("PATCH", &path, Some(&fixture.pat), Some(body))
        .await
        .json();
    assert_eq!(changed["enabled"], false);

    // The name is taken, whatever its case; a key that is none is refused.
    let mut second = agent.record.clone();
    second.name = "BLUE".to_owned();
    let refused = fixture
        .admin
        .register_agent(fixture.pool, &second)
        .await
        .unwrap_err();
    assert_eq!(refused.type_key(), Some(key::AGENT_EXISTS));
    let body = json!({"name": "x", "authorization": {"publicKey": {"exponent": "AQAB", "modulus": "AAAA"}}});
    let refused = fixture
        .call("POST", &agents, Some(&fixture.pat), Some(body))
        .await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("publicKey"));
}

#[tokio::test]
async fn health_and_metrics_need_no_credential() {
    let fixture = Fixture::start().await;
    let root = fixture
        .service
        .url()
        .trim_end_matches("/default")
        .to_owned();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = reqwest::get(format!("{root}{path}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_service_that_ends_answers_its_long_polls() {
    let mut fixture = Fixture::with_long_polls().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let poll = tokio::spawn(async move { agent.poll(&session).await });
    fixture.wait_for_a_parked_poll().await;
    common::within("the end of the service", fixture.service.stop())
        .await
        .unwrap();
    let answer = common::within("the answer of the poll", poll)
        .await
        .unwrap();
    assert!(answer.is_none(), "202 without a message");
}
