//! What the client makes of servers that the real pool service is not: proxies, sign-in pages, overload, nonsense.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use dayfly_client::{Client, Credential, Error, RateLimit};
use dayfly_wire::ids::{PoolId, SessionId, TaskId};
use dayfly_wire::task::TaskVersion;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::matchers::{any, header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn server(answer: ResponseTemplate) -> MockServer {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn client(server: &MockServer, attempts: u32) -> Client {
    Client::builder(server.uri())
        .credential(Credential::Pat("canary-pat".into()))
        .attempts(attempts)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_sign_in_page_is_a_rejected_credential_whatever_its_status() {
    for answer in [
        ResponseTemplate::new(203).set_body_string("<html>sign in</html>"),
        ResponseTemplate::new(200).set_body_raw("<html>sign in</html>", "text/html; charset=utf-8"),
        ResponseTemplate::new(302).insert_header("location", "https://login.example.test/_signin"),
    ] {
        let server = server(answer).await;
        let error = client(&server, 3).pools().await.unwrap_err();
        assert!(matches!(error, Error::SignInPage), "{error}");
        assert!(error.is_credential_rejected() && !error.is_retryable());
    }
}

#[tokio::test]
async fn the_credential_does_not_follow_a_redirect_to_another_origin() {
    let elsewhere = server(ResponseTemplate::new(200)).await;
    let moved = ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str());
    let server = server(moved).await;
    let _ = client(&server, 3).pools().await.unwrap_err();
    let travelled = elsewhere.received_requests().await.unwrap();
    assert!(travelled.is_empty(), "a request reached the other origin");
}

#[tokio::test]
async fn a_refusal_is_one_request_and_its_reason_is_kept() {
    let body =
        r#"{"message":"no such pool","typeKey":"TaskAgentPoolNotFoundException","typeName":"x"}"#;
    let server = server(ResponseTemplate::new(404).set_body_raw(body, "application/json")).await;
    let error = client(&server, 5)
        .agent(PoolId(1), dayfly_wire::ids::AgentId(2))
        .await
        .unwrap_err();
    assert_eq!(error.type_key(), Some("TaskAgentPoolNotFoundException"));
    assert!(error.to_string().contains("no such pool"));
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn overload_is_tried_again_and_then_reported_with_the_server_s_wish() {
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "0");
    let server = server(busy).await;
    let error = client(&server, 3).pools().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Throttled {
                after: Some(Duration::ZERO)
            }
        ),
        "{error}"
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_service_says_about_its_limits_is_known_and_a_budget_makes_calls_wait() {
    let limits = ResponseTemplate::new(200)
        .set_body_raw(r#"{"count":0,"value":[]}"#, "application/json")
        .insert_header("x-ratelimit-limit", "200")
        .insert_header("x-ratelimit-remaining", "7")
        .insert_header("retry-after", "3");
    let server = server(limits).await;
    let client = Client::builder(server.uri())
        .calls_per_minute(Some(12))
        .build()
        .unwrap();
    assert_eq!(client.rate_limit(), RateLimit::default());
    client.pools().await.unwrap();
    let said = client.rate_limit();
    assert!(said.is_nearly_used_up());
    assert_eq!(said.wait, Some(Duration::from_secs(3)));
    assert!(client.leave_budget_for().is_zero());
    client.pools().await.unwrap();
    let pause = client.leave_budget_for();
    assert!(
        pause > Duration::from_secs(4),
        "a call every five seconds: {pause:?}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_document_says_which_call_and_not_what_it_held() {
    let server =
        server(ResponseTemplate::new(200).set_body_raw("{\"secret\": ", "application/json")).await;
    let error = client(&server, 1).pools().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("list pools") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn an_empty_poll_is_no_message() {
    for status in [202, 204, 200] {
        let server = server(ResponseTemplate::new(status)).await;
        let poll = client(&server, 1)
            .next_message(PoolId(1), SessionId::default(), None)
            .await;
        assert!(poll.unwrap().is_none(), "{status}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_the_error_names_no_credential() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/default", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(url)
        .credential(Credential::Pat("canary-pat".into()))
        .build()
        .unwrap();
    let error = client.pools().await.unwrap_err();
    assert_eq!(error.reason(), "Unreachable");
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn the_pat_travels_as_basic_with_an_empty_user_and_asks_for_no_sign_in_page() {
    let server = MockServer::start().await;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Mock::given(method("GET"))
        .and(path("/_apis/distributedtask/pools"))
        .and(header("authorization", "Basic OmNhbmFyeS1wYXQ="))
        .and(header("x-tfs-fedauthredirect", "Suppress"))
        .and(header_exists("accept"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_raw(r#"{"count":0,"value":[]}"#, "application/json"),
        )
        .mount(&server)
        .await;
    assert!(client(&server, 1).pools().await.unwrap().is_empty());
}

#[test]
fn urls_that_cannot_be_a_service_are_refused_and_user_information_is_not_repeated() {
    for url in [
        "",
        "ftp://x",
        "https://",
        "https://x?y",
        "https://x#y",
        "dev.azure.com/contoso",
    ] {
        assert!(Client::builder(url).build().is_err(), "{url:?}");
    }
    let error = Client::builder("https://user:canary@x/y")
        .build()
        .err()
        .unwrap();
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn a_download_that_is_too_long_or_breaks_off_is_none() {
    let long = server(ResponseTemplate::new(200).set_body_bytes(vec![7; 1000])).await;
    let error = downloaded(&client(&long, 1)).await.unwrap_err();
    assert!(
        error.to_string().contains("longer than it may be"),
        "{error}"
    );
    assert!(!error.is_retryable());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let half = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        stream.write_all(answer).await.unwrap();
    });
    let broken = Client::builder(format!("http://{address}"))
        .credential(Credential::Pat("canary-pat".into()))
        .build()
        .unwrap();
    let error = downloaded(&broken).await.unwrap_err();
    half.await.unwrap();
    assert!(matches!(error, Error::Transport(_)), "{error}");
    assert!(error.is_retryable());
}

/// How many bytes came, of 999 at most.
async fn downloaded(client: &Client) -> Result<usize, Error> {
    let (task, version) = (TaskId::default(), TaskVersion::default());
    let mut body = client.open_task_archive(task, version, 999).await?;
    let mut bytes = 0;
    while let Some(piece) = body.next().await? {
        bytes += piece.len();
    }
    Ok(bytes)
}
