//! Roles in pools: who sees, uses and manages which.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

// This file uses its own part of it.
#[allow(dead_code)]
mod browser;
mod common;

use browser::Browser;
use common::{Answer, Fixture};
use dayfly_pool_service::ops::{principals, roles};
use dayfly_pool_service::rules::access::PRINCIPAL;
use dayfly_pool_service::rules::principal;
use dayfly_pool_service::rules::role::Role;
use dayfly_pool_service::testing::ALL_SCOPES;
use dayfly_wire::error::key;
use dayfly_wire::ids::PoolId;
use dayfly_wire::secret::SecretText;
use serde_json::json;

/// A service with the pools `linux` and `deploy`, each with an agent, and somebody called `ci`.
struct World {
    fixture: Fixture,
    deploy: PoolId,
    ci: SecretText,
}

impl World {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let deploy = fixture.service.create_pool("deploy").await.unwrap();
        fixture.register("one").await;
        fixture.register_in(deploy, "two").await;
        let ci = fixture.service.pat_named("ci", ALL_SCOPES, None);
        let ci = ci.await.unwrap();
        Self {
            fixture,
            deploy,
            ci,
        }
    }

    async fn give(&self, pool: Option<&str>, role: Role) {
        let store = &self.fixture.service.service().store;
        roles::set(store, "CI", pool, role).await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> Answer {
        self.fixture.call(method, path, Some(&self.ci), body).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let answer = self.call("GET", path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let listed = answer.json()["value"].as_array().unwrap().clone();
        let name = |each: &serde_json::Value| each["name"].as_str().unwrap().to_owned();
        listed.iter().map(name).collect()
    }

    /// What `ci` gets to do in a pool: see it, queue to it, manage it.
    async fn reach(&self, pool: PoolId, name: &str) -> [bool; 3] {
        let base = format!("/_apis/distributedtask/pools/{pool}");
        let mut sees = Vec::new();
        for path in ["", "/agents", "/jobrequests", "/jobrequests/77"] {
            sees.push(
                self.is_let("GET", &format!("{base}{path}"), json!(null))
                    .await,
            );
        }
        let job = json!({"pool": name, "steps": [{"script": "x"}]});
        let uses = self.is_let("POST", "/demo/_apis/dayfly/jobs", job).await;
        let mut manages = Vec::new();
        for (method, path) in [
            ("PATCH", ""),
            ("POST", "/agents"),
            ("PUT", "/agents/77"),
            ("PATCH", "/agents/77"),
            ("PUT", "/agents/77/usercapabilities"),
            ("DELETE", "/agents/77"),
            ("DELETE", "/jobrequests/77"),
            ("PATCH", "/jobrequests/77?updateOptions=bumpRequestToTop"),
        ] {
            let body = if path.ends_with("capabilities") {
                json!({})
            } else {
                json!({"id": pool})
            };
            manages.push(self.is_let(method, &format!("{base}{path}"), body).await);
        }
        let all = |each: &[bool]| {
            let first = each[0];
            assert!(each.iter().all(|other| *other == first), "{each:?}");
            first
        };
        [all(&sees), uses, all(&manages)]
    }

    /// Whether a call is not refused for who calls; what is refused says so as Azure DevOps does.
    async fn is_let(&self, method: &str, path: &str, body: serde_json::Value) -> bool {
        let body = Some(body).filter(|body| !body.is_null() && method != "DELETE");
        let answer = self.call(method, path, body).await;
        if answer.status != 403 {
            return true;
        }
        assert_eq!(answer.type_key(), key::ACCESS_DENIED, "{method} {path}");
        let message = answer.json()["message"].to_string();
        assert!(message.contains("Access denied. ci needs "), "{message}");
        false
    }
}

#[tokio::test]
async fn a_role_says_what_its_holder_sees_uses_and_manages_in_a_pool() {
    let world = World::start().await;
    let linux = world.fixture.pool;
    for (role, reach) in [
        (Role::Nothing, [false, false, false]),
        (Role::Reader, [true, false, false]),
        (Role::User, [true, true, false]),
        (Role::Administrator, [true, true, true]),
    ] {
        world.give(Some("linux"), role).await;
        assert_eq!(world.reach(linux, "linux").await, reach, "{role}");
        // Another pool, of which nothing was said.
        assert_eq!(world.reach(world.deploy, "deploy").await, [false; 3]);
    }
    // Only the job of the user and that of the administrator got in.
    let waiting = world.fixture.admin.unfinished_requests(linux).await;
    assert_eq!(waiting.unwrap().len(), 2);
    let refused = world
        .call(
            "POST",
            "/_apis/distributedtask/pools",
            Some(json!({"name": "mine"})),
        )
        .await;
    assert_eq!(
        refused.status, 403,
        "pools are made by whoever manages them all"
    );
    let refused = world
        .call("PUT", "/_apis/distributedtask/tasks", None)
        .await;
    assert_eq!(refused.status, 403, "tasks run in every pool");
}

#[tokio::test]
async fn lists_show_the_pools_that_somebody_has_a_role_in() {
    let world = World::start().await;
    let paths = [
        "/_apis/distributedtask/pools",
        "/_apis/dayfly/pools",
        "/demo/_apis/distributedtask/queues",
    ];
    world.fixture.queue().await;
    world.fixture.queue_with(json!({"pool": "deploy"})).await;
    for path in paths {
        let mut names = world.names(path).await;
        names.sort();
        assert_eq!(names, ["deploy", "linux"], "{path}");
    }
    world.give(Some("linux"), Role::Reader).await;
    for path in paths {
        assert_eq!(world.names(path).await, ["linux"], "{path}");
    }
    assert!(
        world
            .names("/_apis/distributedtask/pools?poolName=deploy")
            .await
            .is_empty()
    );
    let queue = world.call("GET", "/_apis/dayfly/queue", None).await.json();
    assert_eq!(queue["count"], 1);
    assert_eq!(queue["value"][0]["poolName"], "linux");
    // What a client asks for before it offers to use or manage a pool.
    world.give(Some("deploy"), Role::User).await;
    for (filter, names) in [
        ("use", vec!["deploy"]),
        ("manage", vec![]),
        ("none", vec!["linux", "deploy"]),
    ] {
        for path in [
            "/_apis/distributedtask/pools",
            "/demo/_apis/distributedtask/queues",
        ] {
            let listed = world.names(&format!("{path}?actionFilter={filter}")).await;
            assert_eq!(listed, names, "{path} {filter}");
        }
    }
}

#[tokio::test]
async fn scopes_count_alone_until_a_role_is_given_and_not_because_the_last_one_is_taken() {
    let world = World::start().await;
    let store = &world.fixture.service.service().store;
    let linux = world.fixture.pool;
    assert_eq!(world.reach(linux, "linux").await, [true; 3]);
    world.give(Some("linux"), Role::User).await;
    roles::unset(store, "ci", Some("linux")).await.unwrap();
    assert_eq!(world.reach(linux, "linux").await, [false; 3]);
    world.give(None, Role::Administrator).await;
    assert_eq!(world.reach(linux, "linux").await, [true; 3]);
    roles::unset(store, "ci", None).await.unwrap();
    assert_eq!(world.reach(linux, "linux").await, [false; 3]);
    roles::clear(store, "ci").await.unwrap();
    assert_eq!(world.reach(linux, "linux").await, [true; 3]);
    assert!(roles::clear(store, "ci").await.is_err(), "there is nothing");
    assert!(
        roles::set(store, "ci", Some("nowhere"), Role::User)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_role_adds_nothing_to_the_scopes_of_a_token() {
    let world = World::start().await;
    world.give(Some("linux"), Role::Administrator).await;
    let reads = world.fixture.service.pat_named("ci", "agentpools", None);
    let reads = reads.await.unwrap();
    let pool = format!("/_apis/distributedtask/pools/{}", world.fixture.pool);
    let fixture = &world.fixture;
    let seen = fixture.call("GET", &pool, Some(&reads), None).await;
    assert_eq!(seen.status, 200);
    let refused = fixture
        .call("PATCH", &pool, Some(&reads), Some(json!({})))
        .await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.body.contains("agentpools_manage"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn service_principals_and_the_web_page_are_bound_by_roles_too() {
    let world = World::start().await;
    let service = world.fixture.service.service();
    let (store, now) = (&service.store, service.now());
    let scopes = ALL_SCOPES.parse().unwrap();
    let made = principals::create(store, "ci", &scopes, now).await.unwrap();
    principals::add_secret(store, "ci", None, now)
        .await
        .unwrap();
    let listed = principals::list(store).await.unwrap();
    let claims = principal::claims(&made, &listed[0].1[0], service.keys.instance, now);
    let token = service.keys.issue(&PRINCIPAL, &claims).unwrap();
    let (cookie, _) = service.sign_in(&world.ci).await.unwrap();
    world.give(Some("linux"), Role::Reader).await;
    let pool = format!("/_apis/distributedtask/pools/{}", world.deploy);
    let by_principal = world.fixture.call("GET", &pool, Some(&token), None).await;
    assert_eq!(by_principal.status, 403, "{}", by_principal.body);
    // The session was opened before; what counts is what is so at the call.
    let url = format!("{}{pool}", world.fixture.service.url());
    let request = common::http()
        .get(url)
        .header("cookie", format!("dayfly_session={}", cookie.expose()));
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test]
async fn a_page_shows_no_button_to_whoever_is_no_administrator_of_the_pool() {
    let world = World::start().await;
    world.give(Some("linux"), Role::User).await;
    world.give(Some("deploy"), Role::Administrator).await;
    let url = world.fixture.service.url();
    let browser = Browser::open(url).await;
    browser.sign_in(world.ci.expose()).await;
    browser.see("h1", "Runs").await;
    let page = format!("pools/{}", world.deploy);
    browser.go(url, &page).await;
    browser.see(".actions", "Disable").await;
    let page = format!("pools/{}", world.fixture.pool);
    browser.go(url, &page).await;
    browser.see(".hint", "no administrator of this pool").await;
    assert_eq!(browser.count(".actions, button.danger").await, 0);
    browser.close().await;
}
