//! Slow, half-open and too many connections, and the certificate that changes under a running service.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, HOLD, within};
use dayfly_pool_service::server::Limits;
use dayfly_pool_service::testing::PoolHandle;
use dayfly_pool_service::tls::Certificates;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIFE: Duration = Duration::from_millis(400);

fn limits() -> Limits {
    Limits {
        unproven: 4,
        unproven_life: LIFE,
        head: Duration::from_millis(800),
        body: LIFE,
        write: LIFE,
        ..Limits::default()
    }
}

async fn service(limits: Limits) -> Fixture {
    let service = PoolHandle::builder().poll_hold(HOLD).limits(limits);
    Fixture::on(service.start().await.unwrap()).await
}

fn address(fixture: &Fixture) -> String {
    let url = fixture.service.url();
    let (_, rest) = url.split_once("://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

async fn connect(fixture: &Fixture) -> TcpStream {
    TcpStream::connect(address(fixture)).await.unwrap()
}

/// Reads until the other side is done; answers what came.
async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    within("the end of the connection", async {
        let mut all = Vec::new();
        // A connection that is reset is over too.
        let _ = stream.read_to_end(&mut all).await;
        all
    })
    .await
}

/// Sends one byte at a time, slowly, until the service has had enough; answers how long that took.
async fn dribble(stream: &mut TcpStream, text: &[u8]) -> Duration {
    let begun = Instant::now();
    let (mut read, mut write) = stream.split();
    let ended = async {
        let mut all = Vec::new();
        let _ = read.read_to_end(&mut all).await;
    };
    let writing = async {
        for byte in text.iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    within("the service to end a slow connection", async {
        tokio::select! {
            () = ended => {}
            () = writing => {}
        }
    })
    .await;
    begun.elapsed()
}

fn head(fixture: &Fixture, call: &str, more: &str) -> String {
    use base64::Engine;
    let pair = format!(":{}", fixture.pat.expose());
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("{call} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n{more}\r\n")
}

/// A connection on which a credential was shown.
async fn proven(fixture: &Fixture) -> TcpStream {
    let mut stream = connect(fixture).await;
    let head = head(fixture, "GET /default/_apis/distributedtask/pools", "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn a_connection_without_a_credential_ends_soon_whatever_it_does() {
    let fixture = service(limits()).await;
    let mut silent = connect(&fixture).await;
    let begun = Instant::now();
    assert!(rest_of(&mut silent).await.is_empty());
    assert!(begun.elapsed() >= LIFE - Duration::from_millis(50));

    let mut slow = connect(&fixture).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    assert!(dribble(&mut slow, b"X-Header: x\r\n").await < 3 * LIFE);

    // Answers do not make a connection one that may stay.
    let mut busy = connect(&fixture).await;
    let begun = Instant::now();
    within("the end of a connection that asks for ever", async {
        loop {
            let asked = busy
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                .await;
            let mut answer = [0; 1024];
            if asked.is_err() || !busy.read(&mut answer).await.is_ok_and(|read| read > 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(begun.elapsed() < 3 * LIFE);
}

#[tokio::test]
async fn one_source_cannot_take_the_room_of_those_who_showed_a_credential() {
    let patient = Limits {
        unproven_life: Duration::from_secs(60),
        ..limits()
    };
    let fixture = service(patient).await;
    let mut known = proven(&fixture).await;
    // The test's own clients have proven themselves and do not count.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect(&fixture).await);
    }
    let mut one_more = connect(&fixture).await;
    assert!(rest_of(&mut one_more).await.is_empty(), "there is no room");
    let head = head(&fixture, "GET /default/_apis/distributedtask/pools", "");
    known.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let read = known.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    silent.clear();
    within("room after the silent ones left", async {
        loop {
            let mut stream = connect(&fixture).await;
            let asked = stream.write_all(head.as_bytes()).await;
            let mut answer = [0; 1024];
            if asked.is_ok() && stream.read(&mut answer).await.is_ok_and(|read| read > 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_body_and_a_slow_head_end_with_a_credential_too() {
    let fixture = service(limits()).await;
    let mut slow = connect(&fixture).await;
    let call = "POST /default/_apis/distributedtask/pools";
    let head = head(&fixture, call, "Content-Length: 100000\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(b"{").await.unwrap();
    let mut answer = [0; 1024];
    let read = within("a refusal of a slow body", slow.read(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(
        answer.contains("400") && answer.contains("in time"),
        "{answer}"
    );

    let mut slow = proven(&fixture).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    assert!(dribble(&mut slow, b"X-Header: x\r\n").await < Duration::from_secs(4));
}

#[tokio::test]
async fn whoever_does_not_read_the_answer_is_left() {
    let fixture = service(limits()).await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let worker = taken.client(&fixture);
    let scope = taken.scope();
    let log = worker.create_log(&scope, "logs/1").await.unwrap();
    let line = format!("{}\n", "x".repeat(1023)).repeat(1024);
    for _ in 0..24 {
        worker
            .append_log(&scope, log.id, line.clone().into())
            .await
            .unwrap();
    }
    let mut stream = connect(&fixture).await;
    let path = format!(
        "GET /default/{}/_apis/distributedtask/hubs/build/plans/{}/logs/{}",
        scope.project, scope.plan, log.id
    );
    let head = head(&fixture, &path, "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 16];
    stream.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    within("the service to give the reader up", async {
        while fixture.service.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let came = rest_of(&mut stream).await.len();
    assert!(came < 24 * 1024 * 1024, "the answer broke off: {came}");
}

fn write_certificate(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

async fn asks(fixture: &Fixture, authority: &str) -> bool {
    let certificate = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([certificate]);
    let client = client.build().unwrap();
    let url = format!("{}/_apis/connectionData", fixture.service.url());
    client.get(url).send().await.is_ok()
}

#[tokio::test]
async fn the_certificate_is_taken_up_when_it_changes_and_kept_while_it_makes_no_sense() {
    common::install_tls();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let first = write_certificate(path);
    let open = || Certificates::open(&path.join("tls.crt"), &path.join("tls.key"));
    let service = PoolHandle::builder().poll_hold(HOLD).limits(limits());
    let service = service.tls(open().unwrap()).start().await.unwrap();
    let fixture = Fixture::with_authority(service, Some(first.clone())).await;
    let agent = fixture.register("one").await;
    agent.open().await;
    assert!(asks(&fixture, &first).await);

    // A client that never shakes hands.
    let mut silent = connect(&fixture).await;
    assert!(rest_of(&mut silent).await.is_empty());

    let second = write_certificate(path);
    within("the second certificate", async {
        while !asks(&fixture, &second).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!asks(&fixture, &first).await);

    // A key that does not belong to the certificate: nothing is taken up.
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(path.join("tls.key"), other).unwrap();
    assert!(open().is_err());
    assert!(asks(&fixture, &second).await);
    let third = write_certificate(path);
    within("the third certificate", async {
        while !asks(&fixture, &third).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
