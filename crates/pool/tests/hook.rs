//! The hook: whoever wants to know is told at once that a queue has changed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::{DEADLINE, Fixture, within};
use dayfly_pool_service::testing::PoolHandle;
use dayfly_wire::secret::SecretText;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Base64 of `dayfly-pool:the secret`.
const EXPECTED: &str = "Basic ZGF5Zmx5LXBvb2w6dGhlIHNlY3JldA==";

/// Somebody who is called: the `Authorization` of each call.
async fn listen(listener: TcpListener, answer: StatusCode) -> mpsc::UnboundedReceiver<String> {
    let (calls, received) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap| {
        let authorization = headers.get("authorization").cloned();
        let text = authorization.map(|value| value.to_str().unwrap().to_owned());
        calls.send(text.unwrap_or_default()).unwrap();
        async move { answer }
    };
    let routes = Router::new().route("/hooks/wake", post(take));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    received
}

async fn calling(url: String) -> Fixture {
    common::install_tls();
    let builder = PoolHandle::builder().wake_hook(url, SecretText::from("the secret"));
    Fixture::on(builder.start().await.unwrap()).await
}

#[tokio::test]
async fn whoever_is_to_know_is_called_when_a_job_is_queued_and_when_it_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/wake", listener.local_addr().unwrap());
    let mut calls = listen(listener, StatusCode::ACCEPTED).await;
    let fixture = calling(url).await;
    fixture.register("one").await;
    let queued = fixture.queue().await;
    assert_eq!(
        within("the call for the queued job", calls.recv()).await,
        Some(EXPECTED.to_owned())
    );
    while calls.try_recv().is_ok() {}
    let admin = &fixture.admin;
    admin
        .cancel_job("demo", queued.request_id, None)
        .await
        .unwrap();
    within("the call for the ended job", calls.recv()).await;
}

#[tokio::test]
async fn a_hook_that_nobody_answers_holds_up_nothing_and_is_called_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fixture = calling(format!("http://{address}/hooks/wake")).await;
    fixture.register("one").await;
    let begun = tokio::time::Instant::now();
    fixture.queue().await;
    assert!(begun.elapsed() < DEADLINE);
    let listener = TcpListener::bind(address).await.unwrap();
    let mut calls = listen(listener, StatusCode::ACCEPTED).await;
    fixture.queue().await;
    within("a call after the failure", calls.recv()).await;
}
