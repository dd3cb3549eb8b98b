//! A credential goes to the service that it is for, to its token endpoint, and nowhere else, whatever a service answers
//! and whatever a pool is called.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use base64::Engine;
use dayfly_client::{AgentQuery, Client, Credential, Error, PrincipalCredential, PrincipalProof};
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use dayfly_wire::proxy::Proxy;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const CANARY: &str = "canary-credential";
const TOKEN_PATH: &str = "/tenant/oauth2/v2.0/token";

async fn server() -> MockServer {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    MockServer::start().await
}

async fn answers(server: &MockServer, answer: ResponseTemplate) {
    Mock::given(any()).respond_with(answer).mount(server).await;
}

fn with_pat(service: &MockServer) -> Client {
    Client::builder(format!("{}/contoso", service.uri()))
        .credential(Credential::Pat(CANARY.into()))
        .attempts(3)
        .build()
        .unwrap()
}

fn with_secret(service: &MockServer, token_url: String) -> Client {
    let credential = Credential::Principal(PrincipalCredential {
        token_url,
        client_id: Uuid::from_u128(7),
        proof: PrincipalProof::Secret(CANARY.into()),
    });
    let builder = Client::builder(service.uri()).credential(credential);
    builder.build().unwrap()
}

/// Whether a request shows the canary, as it is or as the password of Basic.
fn shows_canary(request: &Request) -> bool {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!(":{CANARY}"));
    let headers = format!("{:?} {}", request.headers, request.url);
    let text = headers + &String::from_utf8_lossy(&request.body);
    let header = request.headers.get("authorization");
    let header = header.and_then(|header| header.to_str().ok()).unwrap_or("");
    text.contains(CANARY) || header.contains(&basic)
}

/// Everything that the operator asks of a service.
async fn everything(client: &Client, pool: &str) {
    let (id, agent) = (PoolId(1), AgentId(2));
    let _ = client.find_pool(pool).await;
    let _ = client.manages_pool(pool).await;
    let _ = client.credential_standing().await;
    let query = AgentQuery {
        name: Some(pool.to_owned()),
        ..AgentQuery::default()
    };
    let _ = client.agents(id, &query).await;
    let _ = client.agent(id, agent).await;
    let _ = client.unfinished_requests(id).await;
    let _ = client.register_agent(id, &Agent::default()).await;
    let _ = client.replace_agent(id, &Agent::default()).await;
    let _ = client.set_agent_enabled(id, agent, false).await;
    let _ = client.put_user_capabilities(id, agent, &[].into()).await;
    let _ = client.delete_agent(id, agent).await;
    let (request, result) = (RequestId(3), TaskResult::Failed);
    let _ = client.finish_request(id, request, result, None).await;
}

#[tokio::test]
async fn no_redirect_no_location_and_no_document_sends_a_credential_to_another_origin() {
    let foreign = server().await;
    answers(&foreign, ResponseTemplate::new(200)).await;
    let elsewhere = format!("{}/contoso", foreign.uri());
    let mut services = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        let moved = ResponseTemplate::new(status).insert_header("location", elsewhere.as_str());
        services.push(moved);
    }
    // Documents and headers that say where things are: discovery as Azure DevOps has it, and whatever else could be one.
    let document = json!({
        "count": 1,
        "value": [{"id": 1, "name": "linux", "locationUrl": elsewhere, "url": elsewhere}],
        "locationServiceData": {"accessMappings": [{"accessPoint": elsewhere, "moniker": "PublicAccessMapping"}]},
        "id": 2, "locationUrl": elsewhere,
        "authorization": {"authorizationUrl": elsewhere, "clientId": Uuid::from_u128(1)},
        "_links": {"self": {"href": elsewhere}},
    });
    let document = ResponseTemplate::new(200)
        .set_body_json(document)
        .insert_header("location", elsewhere.as_str())
        .insert_header("content-location", elsewhere.as_str())
        .insert_header("link", format!("<{elsewhere}>; rel=\"next\"").as_str())
        .insert_header("refresh", format!("0; url={elsewhere}").as_str())
        .insert_header("x-ms-continuationtoken", elsewhere.as_str())
        .insert_header(
            "alt-svc",
            format!("http/1.1=\"{}\"", foreign.address()).as_str(),
        );
    services.push(document);
    services.push(ResponseTemplate::new(401).insert_header(
        "www-authenticate",
        format!("Bearer authorization_uri={elsewhere}").as_str(),
    ));
    for answer in services {
        let service = server().await;
        answers(&service, answer).await;
        everything(&with_pat(&service), "linux").await;
        let asked = service.received_requests().await.unwrap();
        assert!(asked.iter().all(shows_canary) && asked.len() >= 12);
    }
    let travelled = foreign.received_requests().await.unwrap();
    assert!(travelled.is_empty(), "{travelled:?}");
}

#[tokio::test]
async fn what_a_pool_is_called_changes_neither_host_nor_path() {
    let foreign = server().await;
    answers(&foreign, ResponseTemplate::new(200)).await;
    let host = foreign.address().to_string();
    let service = server().await;
    answers(&service, ResponseTemplate::new(404)).await;
    for pool in [
        format!("@{host}/"),
        format!("//{host}/x"),
        format!("../../../{host}"),
        format!("http://{host}"),
        format!("x\r\nhost: {host}"),
        format!("x#@{host}"),
        format!("x&url=http://{host}"),
    ] {
        everything(&with_pat(&service), &pool).await;
    }
    for request in service.received_requests().await.unwrap() {
        let path = request.url.path();
        assert!(path.starts_with("/contoso/_apis/"), "{path}");
        assert_eq!(request.headers.get_all("host").iter().count(), 1);
    }
    assert!(foreign.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_that_moves_gets_no_answer_and_its_words_are_not_repeated() {
    let foreign = server().await;
    let token = json!({"access_token": "stolen", "expires_in": 3600});
    answers(&foreign, ResponseTemplate::new(200).set_body_json(token)).await;
    for status in [301, 302, 303, 307, 308] {
        let service = server().await;
        let moved = ResponseTemplate::new(status).insert_header("location", foreign.uri().as_str());
        answers(&service, moved).await;
        let url = format!("{}{TOKEN_PATH}", service.uri());
        let error = with_secret(&service, url).pools().await.unwrap_err();
        assert!(matches!(error, Error::CredentialRefused(_)), "{error}");
        let asked = service.received_requests().await.unwrap();
        assert_eq!(asked.len(), 1, "only the token endpoint was asked");
    }
    assert!(foreign.received_requests().await.unwrap().is_empty());

    let service = server().await;
    let echo = json!({"error": "invalid_client", "error_description": format!("not {CANARY}")});
    answers(&service, ResponseTemplate::new(401).set_body_json(echo)).await;
    let client = with_secret(&service, format!("{}{TOKEN_PATH}", service.uri()));
    let error = client.pools().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(CANARY));
}

#[tokio::test]
async fn the_secret_is_for_the_token_endpoint_and_the_token_for_the_service() {
    let (authority, service) = (server().await, server().await);
    let token = json!({"access_token": "the-token", "token_type": "Bearer", "expires_in": 1});
    Mock::given(method("POST"))
        .and(path(TOKEN_PATH))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .mount(&authority)
        .await;
    let none = json!({"count": 0, "value": []});
    answers(&service, ResponseTemplate::new(200).set_body_json(none)).await;
    let client = with_secret(&service, format!("{}{TOKEN_PATH}", authority.uri()));
    // A token that lives for a second is renewed before it ends.
    let renewed = async {
        while authority.received_requests().await.unwrap().len() < 2 {
            client.pools().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), renewed).await;
    waited.expect("waited 10 s for the token to be renewed");
    for request in service.received_requests().await.unwrap() {
        assert_eq!(request.headers["authorization"], "Bearer the-token");
        assert!(!shows_canary(&request));
    }
    for request in authority.received_requests().await.unwrap() {
        assert!(!request.headers.contains_key("authorization"));
        let form = String::from_utf8(request.body).unwrap();
        let scope = "scope=499b84ac-1321-427f-aa17-267ca6975798%2F.default";
        for part in ["grant_type=client_credentials", scope, CANARY] {
            assert!(form.contains(part), "{part}");
        }
    }
}

#[tokio::test]
async fn the_token_endpoint_is_asked_through_the_connections_proxy() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let first_line = tokio::spawn(async move {
        let (mut stream, _) = proxy.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let text = String::from_utf8_lossy(&request[..read]).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    });
    let credential = Credential::Principal(PrincipalCredential {
        token_url: format!("http://login.example.test{TOKEN_PATH}"),
        client_id: Uuid::from_u128(7),
        proof: PrincipalProof::Secret(CANARY.into()),
    });
    let client = Client::builder("http://pool.example.test/default")
        .credential(credential)
        .proxy(Some(Proxy {
            http: Some(address),
            ..Proxy::default()
        }))
        .build()
        .unwrap();
    let error = client.pools().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let waited = tokio::time::timeout(Duration::from_secs(5), first_line).await;
    let line = waited
        .expect("waited 5 s for the proxy to be asked")
        .unwrap();
    assert_eq!(
        line,
        format!("POST http://login.example.test{TOKEN_PATH} HTTP/1.1")
    );
}
