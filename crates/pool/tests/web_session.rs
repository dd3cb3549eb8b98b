//! Signing in to the web page: what the cookie is worth, and what it is not.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, http};
use dayfly_wire::secret::SecretText;
use jiff::SignedDuration;
use serde_json::{Value, json};

const POOLS: &str = "/_apis/distributedtask/pools";
const SESSION: &str = "/_web/session";

/// What a browser sends along.
#[derive(Clone, Copy, Default)]
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    cookie: Option<&'a str>,
    origin: Option<&'a str>,
    site: Option<&'a str>,
}

fn get<'a>(path: &'a str, cookie: &'a str) -> Call<'a> {
    Call {
        method: "GET",
        path,
        cookie: Some(cookie),
        ..Call::default()
    }
}

async fn send(fixture: &Fixture, call: Call<'_>, body: Option<Value>) -> Answer {
    let url = format!("{}{}", fixture.service.url(), call.path);
    let mut request = http().request(call.method.parse().unwrap(), url);
    for (name, value) in [
        ("cookie", call.cookie),
        ("origin", call.origin),
        ("sec-fetch-site", call.site),
    ] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::of(request).await
}

fn origin(fixture: &Fixture) -> String {
    fixture
        .service
        .url()
        .trim_end_matches("/default")
        .to_owned()
}

async fn ask_in(fixture: &Fixture, token: &SecretText) -> Answer {
    let origin = origin(fixture);
    let call = Call {
        method: "POST",
        path: SESSION,
        origin: Some(&origin),
        ..Call::default()
    };
    send(fixture, call, Some(json!({"token": token.expose()}))).await
}

/// Signs in; answers the cookie as a browser sends it back.
async fn sign_in(fixture: &Fixture, token: &SecretText) -> String {
    let answer = ask_in(fixture, token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let header = answer.headers["set-cookie"].to_str().unwrap();
    header.split(';').next().unwrap().to_owned()
}

async fn status(fixture: &Fixture, call: Call<'_>) -> u16 {
    send(fixture, call, None).await.status
}

#[tokio::test]
async fn a_session_reaches_what_its_token_reaches_and_ends_with_it() {
    let fixture = Fixture::start().await;
    let answer = ask_in(&fixture, &fixture.pat).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for wanted in ["; Path=/default; ", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(wanted), "{cookie}");
    }
    assert!(!cookie.contains(fixture.pat.expose()));
    assert_eq!(answer.json()["may"]["managePools"], true);

    let reader = fixture
        .service
        .pat_named("reader", "agentpools", None)
        .await
        .unwrap();
    let cookie = sign_in(&fixture, &reader).await;
    let shown = send(&fixture, get(SESSION, &cookie), None).await.json();
    let may =
        json!({"readPools": true, "managePools": false, "readRuns": false, "executeRuns": false});
    assert_eq!((&shown["name"], &shown["may"]), (&json!("reader"), &may));
    assert_eq!(status(&fixture, get(POOLS, &cookie)).await, 200);
    assert_eq!(
        status(&fixture, get("/_apis/dayfly/runs", &cookie)).await,
        403
    );

    fixture.service.revoke("reader").await.unwrap();
    assert_eq!(status(&fixture, get(POOLS, &cookie)).await, 401);
    assert_eq!(
        status(&fixture, get(SESSION, &cookie)).await,
        204,
        "nobody is signed in"
    );
    assert_eq!(ask_in(&fixture, &reader).await.status, 401);
}

#[tokio::test]
async fn a_session_ends_by_signing_out_and_by_time() {
    let fixture = Fixture::with_manual_clock().await;
    let (first, second) = (
        sign_in(&fixture, &fixture.pat).await,
        sign_in(&fixture, &fixture.pat).await,
    );
    let own = origin(&fixture);
    let out = Call {
        method: "DELETE",
        origin: Some(&own),
        ..get(SESSION, &first)
    };
    let left = send(&fixture, out, None).await;
    assert_eq!(left.status, 204);
    assert!(
        left.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(status(&fixture, get(POOLS, &first)).await, 401);
    assert_eq!(status(&fixture, get(POOLS, &second)).await, 200);
    let short = SignedDuration::from_hours(1);
    let short = fixture
        .service
        .pat_named("short", "build", Some(short))
        .await
        .unwrap();
    let short = sign_in(&fixture, &short).await;
    for (minutes, expected) in [(59, [200, 200]), (2, [401, 200]), (11 * 60, [401, 401])] {
        let by = SignedDuration::from_mins(minutes);
        fixture.service.advance(by).await.unwrap();
        let runs = status(&fixture, get("/_apis/dayfly/runs", &short)).await;
        let pools = status(&fixture, get(POOLS, &second)).await;
        assert_eq!([runs, pools], expected, "after {minutes} more minutes");
    }
}

#[tokio::test]
async fn a_call_that_another_site_makes_is_refused() {
    let fixture = Fixture::start().await;
    let cookie = sign_in(&fixture, &fixture.pat).await;
    let own = origin(&fixture);
    let new = |origin, site| Call {
        method: "POST",
        origin,
        site,
        ..get(POOLS, &cookie)
    };
    let pool = |name: &str| Some(json!({"name": name}));
    for (origin, site) in [
        (None, None),
        (Some("https://evil.example"), None),
        (Some("null"), None),
        (Some(own.as_str()), Some("cross-site")),
        (Some(own.as_str()), Some("same-site")),
    ] {
        let answer = send(&fixture, new(origin, site), pool("evil")).await;
        assert_eq!(answer.status, 403, "{origin:?} {site:?}");
        assert!(answer.body.contains("another site"), "{}", answer.body);
    }
    let made = send(&fixture, new(Some(&own), Some("same-origin")), pool("ours")).await;
    assert_eq!(made.status, 200);
    let read = Call {
        site: Some("cross-site"),
        ..get(POOLS, &cookie)
    };
    assert_eq!(status(&fixture, read).await, 403);
    let foreign = Call {
        method: "POST",
        path: SESSION,
        origin: Some("https://evil.example"),
        ..Call::default()
    };
    let token = Some(json!({"token": fixture.pat.expose()}));
    assert_eq!(
        send(&fixture, foreign, token).await.status,
        403,
        "nobody is signed in by another site"
    );
}

#[tokio::test]
async fn a_cookie_is_no_token_and_a_token_is_no_cookie() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let listen = agent.listen_token(&fixture).await;
    for (kind, token) in [
        ("access token", &fixture.pat),
        ("listen token", &listen),
        ("job token", &taken.token),
    ] {
        let cookie = format!("dayfly_session={}", token.expose());
        assert_eq!(status(&fixture, get(POOLS, &cookie)).await, 401, "{kind}");
        assert_eq!(status(&fixture, get(SESSION, &cookie)).await, 204, "{kind}");
    }
    for token in [&listen, &taken.token] {
        assert_eq!(ask_in(&fixture, token).await.status, 401);
    }
    let cookie = sign_in(&fixture, &fixture.pat).await;
    let value: SecretText = cookie.split_once('=').unwrap().1.into();
    assert_eq!(
        fixture.call("GET", POOLS, Some(&value), None).await.status,
        401
    );
    let basic = http().get(format!("{}{POOLS}", fixture.service.url()));
    let basic = basic.basic_auth("any", Some(value.expose()));
    assert_eq!(Answer::of(basic).await.status, 401);
    assert_eq!(ask_in(&fixture, &value).await.status, 401);
    let git = "/demo/_git/any/info/refs?service=git-upload-pack";
    assert_eq!(status(&fixture, get(git, &cookie)).await, 401);
}

#[tokio::test]
async fn the_page_and_its_files_allow_a_browser_nothing_that_they_do_not_need() {
    let fixture = Fixture::start().await;
    for path in [
        "/_web",
        "/_web/runs/7",
        "/_web/files/app.js",
        "/_web/files/app.css",
    ] {
        let answer = fixture.call("GET", path, None, None).await;
        assert_eq!(answer.status, 200, "{path}");
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(wanted), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "same-origin");
        let again = http().get(format!("{}{path}", fixture.service.url()));
        let again = again.header("if-none-match", header("etag"));
        assert_eq!(Answer::of(again).await.status, 304, "{path}");
    }
    let missing = fixture
        .call("GET", "/_web/files/nothing.js", None, None)
        .await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn a_browser_opens_no_dialog_of_its_own_for_the_page() {
    let fixture = Fixture::start().await;
    let challenges = |answer: &Answer| {
        let all = answer.headers.get_all("www-authenticate").iter();
        all.map(|each| each.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let bare = fixture.call("GET", POOLS, None, None).await;
    assert!(
        challenges(&bare)
            .iter()
            .any(|each| each.starts_with("Basic"))
    );
    let page = http().get(format!("{}{POOLS}", fixture.service.url()));
    let page = Answer::of(page.header("x-dayfly-page", "1")).await;
    assert_eq!(
        (page.status, challenges(&page)),
        (401, vec!["Bearer".to_owned()])
    );
}
