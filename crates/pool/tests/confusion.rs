//! Every kind of token at every route: the rows below are compared with the list of routes itself, so that a new route
//! needs a row.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, OpenSession, Taken, TestAgent};
use dayfly_keys::service_token::Purpose;
use dayfly_pool_service::ops::principals;
use dayfly_pool_service::rules::access::{JOB, LISTEN, PRINCIPAL, PrincipalClaims};
use dayfly_pool_service::rules::principal;
use dayfly_pool_service::testing::ALL_SCOPES;
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::secret::SecretText;
use serde_json::json;
use std::collections::BTreeMap;

/// Who gets through where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Whoever asks; a credential is not looked at.
    Anybody,
    /// Whoever asks; a credential that does not count is refused all the same.
    AnybodyOrValid,
    /// Personal access tokens and service principals.
    Pat,
    /// Agents.
    Listen,
    /// Agents and personal access tokens.
    ListenOrPat,
    /// Jobs.
    Job,
    /// Jobs and personal access tokens.
    JobOrPat,
    /// The web page itself.
    Page,
}

use Reach::{Anybody, AnybodyOrValid, Job, JobOrPat, Listen, ListenOrPat, Page, Pat};

const ROWS: &[(&str, Reach)] = &[
    ("GET /", Anybody),
    ("GET /default", Anybody),
    ("GET /default/_web", Anybody),
    ("GET /default/_web/{*view}", Anybody),
    ("GET /default/_web/files/{name}", Anybody),
    ("GET /default/_web/session", Anybody),
    ("POST /default/_web/session", Page),
    ("DELETE /default/_web/session", Page),
    ("GET /default/_apis/dayfly/credential", Pat),
    ("GET /default/_apis/dayfly/pools", Pat),
    ("GET /default/_apis/dayfly/queue", Pat),
    ("GET /default/_apis/dayfly/runs", Pat),
    ("GET /default/_apis/dayfly/runs/{build}", Pat),
    ("PATCH /default/_apis/distributedtask/pools/{pool}", Pat),
    ("PUT /default/_apis/distributedtask/pools/{pool}", Pat),
    ("DELETE /default/_apis/distributedtask/pools/{pool}", Pat),
    ("GET /default/_apis/distributedtask/resourceusage", Pat),
    ("GET /default/_apis/distributedtask/tasks", JobOrPat),
    ("PUT /default/_apis/distributedtask/tasks", Pat),
    ("GET /default/_apis/distributedtask/tasks/{task}", JobOrPat),
    ("PUT /default/_apis/distributedtask/tasks/{task}", Pat),
    ("DELETE /default/_apis/distributedtask/tasks/{task}", Pat),
    (
        "GET /default/_apis/distributedtask/tasks/{task}/{version}",
        JobOrPat,
    ),
    (
        "DELETE /default/_apis/distributedtask/tasks/{task}/{version}",
        Pat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines",
        JobOrPat,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines",
        Job,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/attachments/{type}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records/{record}/attachments/{type}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records/{record}/attachments/{type}/{name}",
        JobOrPat,
    ),
    (
        "PUT /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records/{record}/attachments/{type}/{name}",
        Job,
    ),
    (
        "GET /default/{project}/_apis/build/builds/{build}/artifacts",
        JobOrPat,
    ),
    (
        "POST /default/{project}/_apis/build/builds/{build}/artifacts",
        Job,
    ),
    (
        "GET /default/_apis/resources/containers/{container}",
        JobOrPat,
    ),
    ("PUT /default/_apis/resources/containers/{container}", Job),
    (
        "GET /default/_apis/resources/containers/{container}/{*path}",
        JobOrPat,
    ),
    (
        "PUT /default/_apis/resources/containers/{container}/{*path}",
        Job,
    ),
    ("DELETE /default/{project}/_apis/build/builds/{build}", Pat),
    ("GET /default/{project}/_apis/build/builds", JobOrPat),
    (
        "GET /default/{project}/_apis/build/builds/{build}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/build/builds/{build}/logs",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/build/builds/{build}/logs/{log}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/build/builds/{build}/timeline",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/build/builds/{build}/timeline/{timeline}",
        JobOrPat,
    ),
    (
        "PATCH /default/{project}/_apis/build/builds/{build}",
        JobOrPat,
    ),
    ("POST /default/{project}/_apis/build/builds", Pat),
    ("GET /default/{project}/_apis/build/definitions", JobOrPat),
    (
        "GET /default/{project}/_apis/build/definitions/{definition}",
        JobOrPat,
    ),
    ("POST /default/{project}/_apis/build/definitions", Pat),
    (
        "PUT /default/{project}/_apis/build/definitions/{definition}",
        Pat,
    ),
    ("GET /default/{project}/_apis/distributedtask/queues", Pat),
    (
        "GET /default/{project}/_apis/distributedtask/queues/{queue}",
        Pat,
    ),
    ("GET /default/_apis/projects", Pat),
    ("GET /default/_apis/projects/{project}", Pat),
    (
        "DELETE /default/_apis/distributedtask/pools/{pool}/agents/{agent}",
        Pat,
    ),
    (
        "DELETE /default/_apis/distributedtask/pools/{pool}/jobrequests/{request}",
        Pat,
    ),
    (
        "DELETE /default/_apis/distributedtask/pools/{pool}/messages/{message}",
        Listen,
    ),
    (
        "DELETE /default/_apis/distributedtask/pools/{pool}/sessions/{session}",
        Listen,
    ),
    ("GET /default/.well-known/jwks", Anybody),
    ("GET /default/.well-known/openid-configuration", Anybody),
    ("GET /default/_apis/connectiondata", AnybodyOrValid),
    ("GET /default/_apis/distributedtask/pools", Pat),
    ("GET /default/_apis/distributedtask/pools/{pool}", Pat),
    (
        "GET /default/_apis/distributedtask/pools/{pool}/agents",
        Pat,
    ),
    (
        "GET /default/_apis/distributedtask/pools/{pool}/agents/{agent}",
        ListenOrPat,
    ),
    (
        "GET /default/_apis/distributedtask/pools/{pool}/jobrequests",
        Pat,
    ),
    (
        "GET /default/_apis/distributedtask/pools/{pool}/jobrequests/{request}",
        ListenOrPat,
    ),
    (
        "GET /default/_apis/distributedtask/pools/{pool}/messages",
        Listen,
    ),
    ("GET /default/_apis/resourceareas", AnybodyOrValid),
    ("GET /default/_apis/resourceareas/{area}", Anybody),
    ("GET /default/{project}/_apis/dayfly/jobs/{request}", Pat),
    (
        "GET /default/{project}/_apis/dayfly/jobs/{request}/feed",
        Pat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/logs",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/logs/{log}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records",
        JobOrPat,
    ),
    ("GET /default/{project}/_apis/git/repositories", JobOrPat),
    (
        "GET /default/{project}/_git/{repository}/info/refs",
        JobOrPat,
    ),
    (
        "GET /default/{project}/_git/{repository}/info/lfs/objects/{object}",
        JobOrPat,
    ),
    ("GET /healthz", Anybody),
    ("GET /metrics", Anybody),
    ("GET /readyz", Anybody),
    ("OPTIONS /default/_apis", Anybody),
    ("OPTIONS /default/_apis/{area}", Anybody),
    (
        "PATCH /default/_apis/distributedtask/pools/{pool}/agents/{agent}",
        Pat,
    ),
    (
        "PATCH /default/_apis/distributedtask/pools/{pool}/jobrequests/{request}",
        Listen,
    ),
    (
        "PATCH /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records",
        Job,
    ),
    ("POST /default/_apis/distributedtask/pools", Pat),
    (
        "POST /default/_apis/distributedtask/pools/{pool}/agents",
        Pat,
    ),
    (
        "POST /default/_apis/distributedtask/pools/{pool}/sessions",
        Listen,
    ),
    ("POST /default/_apis/oauth2/token", Anybody),
    ("POST /default/oauth2/v2.0/token", Anybody),
    ("POST /default/{tenant}/oauth2/v2.0/token", Anybody),
    ("POST /{tenant}/oauth2/v2.0/token", Anybody),
    ("POST /default/{project}/_apis/dayfly/jobs", Pat),
    (
        "GET /default/{project}/_apis/dayfly/pipelines/{definition}/variables",
        Pat,
    ),
    (
        "DELETE /default/{project}/_apis/dayfly/pipelines/{definition}/variables/{name}",
        Pat,
    ),
    (
        "PUT /default/{project}/_apis/dayfly/pipelines/{definition}/variables/{name}",
        Pat,
    ),
    (
        "POST /default/{project}/_apis/dayfly/jobs/{request}/cancel",
        Pat,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/events",
        Job,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/jobs/{job}/oidctoken",
        Job,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/logs",
        Job,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/logs/{log}",
        Job,
    ),
    (
        "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{timeline}/records/{record}/feed",
        Job,
    ),
    ("POST /default/{project}/_apis/git/repositories", Pat),
    (
        "POST /default/{project}/_git/{repository}/git-receive-pack",
        Pat,
    ),
    (
        "POST /default/{project}/_git/{repository}/git-upload-pack",
        JobOrPat,
    ),
    (
        "POST /default/{project}/_git/{repository}/info/lfs/objects/batch",
        JobOrPat,
    ),
    (
        "PUT /default/_apis/distributedtask/pools/{pool}/agents/{agent}",
        Pat,
    ),
    (
        "PUT /default/_apis/distributedtask/pools/{pool}/agents/{agent}/usercapabilities",
        Pat,
    ),
    (
        "PUT /default/{project}/_git/{repository}/info/lfs/objects/{object}",
        Pat,
    ),
];

/// The claims of a service principal with every scope.
async fn principal_claims(fixture: &Fixture) -> PrincipalClaims {
    let service = fixture.service.service();
    let (store, now) = (&service.store, service.now());
    let scopes = ALL_SCOPES.parse().unwrap();
    let made = principals::create(store, "robot", &scopes, now).await;
    principals::add_secret(store, "robot", None, now)
        .await
        .unwrap();
    let listed = principals::list(store).await.unwrap();
    principal::claims(&made.unwrap(), &listed[0].1[0], service.keys.instance, now)
}

/// A service with an agent that runs a job.
struct World {
    fixture: Fixture,
    agent: TestAgent,
    session: OpenSession,
    taken: Taken,
}

impl World {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let body = Some(json!({"name": "app"}));
        let path = "/demo/_apis/git/repositories";
        let made = fixture.call("POST", path, Some(&fixture.pat), body).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let agent = fixture.register("one").await;
        let session = agent.open().await;
        fixture.queue().await;
        let taken = agent.take_job(&session).await;
        Self {
            fixture,
            agent,
            session,
            taken,
        }
    }

    /// The path of a route, with what exists in the place of its parameters.
    fn path(&self, template: &str) -> String {
        let values = [
            ("{pool}", self.fixture.pool.to_string()),
            ("{agent}", self.agent.record.id.to_string()),
            ("{session}", self.session.id.to_string()),
            ("{request}", self.taken.message.request_id.to_string()),
            ("{message}", "1".to_owned()),
            ("{log}", "1".to_owned()),
            ("{area}", "distributedtask".to_owned()),
            ("{project}", "demo".to_owned()),
            ("{hub}", "build".to_owned()),
            ("{build}", "1".to_owned()),
            ("{*view}", "runs".to_owned()),
            ("{name}", "app.js".to_owned()),
            ("{definition}", "1".to_owned()),
            ("{queue}", self.fixture.pool.to_string()),
            ("{tenant}", "default".to_owned()),
            ("{plan}", self.taken.message.plan.plan_id.to_string()),
            ("{timeline}", self.taken.message.timeline.id.to_string()),
            ("{record}", self.taken.message.job_id.to_string()),
            ("{job}", self.taken.message.job_id.to_string()),
            ("{repository}", "app".to_owned()),
            ("{container}", "1".to_owned()),
            ("{object}", "0".repeat(64)),
            ("{*path}", "drop/x".to_owned()),
            ("{task}", uuid::Uuid::new_v4().to_string()),
            ("{version}", "1.0.0".to_owned()),
            ("{type}", "some.type".to_owned()),
            ("{name}", "some.name".to_owned()),
        ];
        let path = values
            .iter()
            .fold(template.to_owned(), |path, (name, value)| {
                path.replace(name, value)
            });
        assert!(!path.contains('{'), "no value for a parameter of {path}");
        if path.contains("/messages") {
            format!("{path}?sessionId={}", self.session.id)
        } else if path.ends_with("/info/refs") {
            format!("{path}?service=git-upload-pack")
        } else {
            path
        }
    }

    /// A document that the route can read, so that what refuses it is the credential.
    fn body(&self, method: &str, path: &str) -> Option<serde_json::Value> {
        if matches!(method, "GET" | "DELETE" | "OPTIONS") {
            return None;
        }
        let message = &self.taken.message;
        let empty = ["usercapabilities", "/cancel", "/oidctoken"];
        Some(if empty.iter().any(|end| path.ends_with(end)) {
            json!({})
        } else if path.contains("/variables/") {
            json!({"value": "x"})
        } else if path.ends_with("/dayfly/jobs") {
            json!({"pool": "linux", "steps": [{"script": "x"}]})
        } else if path.ends_with("/events") {
            serde_json::to_value(self.taken.completed(TaskResult::Succeeded)).unwrap()
        } else if path.ends_with("/sessions") {
            let asked = self.agent.asked_session(true, Default::default());
            serde_json::to_value(asked).unwrap()
        } else {
            json!({
                "name": "x", "count": 0, "value": [], "agent": {"id": self.agent.record.id},
                "jobId": message.job_id, "requestId": message.request_id,
            })
        })
    }

    async fn call(&self, row: &str, authorization: Option<&str>) -> Answer {
        let (method, template) = row.split_once(' ').unwrap();
        let path = self.path(template);
        // Probes are beside the collection.
        let (base, path) = match path.strip_prefix("/default") {
            Some(rest) => (self.fixture.service.url().to_owned(), rest.to_owned()),
            None => {
                let base = self.fixture.service.url().strip_suffix("/default").unwrap();
                (base.to_owned(), path.clone())
            }
        };
        let body = self.body(method, &path);
        common::call_at(&format!("{base}{path}"), method, authorization, body).await
    }

    async fn is_refused(&self, row: &str, authorization: Option<&str>, status: u16) {
        let answer = self.call(row, authorization).await;
        assert_eq!(answer.status, status, "{row}: {}", answer.body);
        let key = answer.type_key();
        if status == 401 {
            assert_eq!(key, key::UNAUTHORIZED, "{row}");
        } else {
            let denied = [key::ACCESS_DENIED, key::PLAN_SECURITY];
            assert!(denied.contains(&key.as_str()), "{row}: {key}");
        }
    }

    async fn passes(&self, row: &str, authorization: Option<&str>) {
        let answer = self.call(row, authorization).await;
        let key = if answer.body.starts_with('{') {
            answer.type_key()
        } else {
            String::new()
        };
        let denied = [key::UNAUTHORIZED, key::ACCESS_DENIED, key::PLAN_SECURITY];
        assert!(
            answer.status != 401 && !denied.contains(&key.as_str()),
            "{row}: {} {}",
            answer.status,
            answer.body
        );
    }
}

fn bearer(token: &SecretText) -> String {
    format!("Bearer {}", token.expose())
}

fn basic(token: &SecretText) -> String {
    use base64::Engine;
    let pair = format!("x:{}", token.expose());
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// Those that end something come last, so that they do not spoil what follows.
fn in_order(reaches: &[Reach]) -> Vec<&'static str> {
    let mut rows: Vec<_> = ROWS
        .iter()
        .filter(|(_, reach)| reaches.contains(reach))
        .map(|(row, _)| *row)
        .collect();
    rows.sort_by_key(|row| (row.starts_with("DELETE"), row.ends_with("/events")));
    rows
}

#[tokio::test]
async fn every_route_has_a_row() {
    let fixture = Fixture::start().await;
    let rows: BTreeMap<_, _> = ROWS.iter().copied().collect();
    assert_eq!(rows.len(), ROWS.len(), "a route has two rows");
    let routes = fixture.service.routes();
    let missing: Vec<_> = routes
        .iter()
        .filter(|route| !rows.contains_key(route.as_str()))
        .collect();
    assert!(missing.is_empty(), "say who may call {missing:#?}");
    let gone: Vec<_> = rows
        .keys()
        .filter(|row| !routes.iter().any(|route| route == *row))
        .collect();
    assert!(gone.is_empty(), "there is no such route: {gone:#?}");
}

#[tokio::test]
async fn no_kind_of_token_passes_for_another_at_any_route() {
    let world = World::start().await;
    // This test is somebody who tries credentials.
    world.fixture.service.service().throttle.tolerate(u32::MAX);
    let keys = &world.fixture.service.service().keys;
    let listen = world.agent.listen_token(&world.fixture).await;
    let job = world.taken.token.duplicate();
    let pat = &world.fixture.pat;
    let principal = principal_claims(&world.fixture).await;
    let principal = keys.issue(&PRINCIPAL, &principal).unwrap();

    // What is no credential at all, and what claims to be of another kind than it is.
    let now = world.fixture.service.service().now();
    let claims_of = |purpose: &Purpose<'_>, token: &SecretText| {
        keys.verify::<serde_json::Map<String, serde_json::Value>>(purpose, token.expose(), now)
            .map(|mut claims| {
                claims.remove("aud");
                claims
            })
            .unwrap()
    };
    let purposes = [
        (LISTEN, claims_of(&LISTEN, &listen)),
        (JOB, claims_of(&JOB, &job)),
        (PRINCIPAL, claims_of(&PRINCIPAL, &principal)),
    ];
    let oidc = "POST /default/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/jobs/{job}/oidctoken";
    let id_token = world.call(oidc, Some(&bearer(&job))).await.json();
    let mut none = vec![
        bearer(&"a-token-that-never-was".into()),
        bearer(&id_token["oidcToken"].as_str().unwrap().into()),
        bearer(&"e30.e30.e30".into()),
        basic(&listen),
        "Negotiate abc".to_owned(),
    ];
    for (purpose, _) in &purposes {
        for (other, claims) in purposes.iter().filter(|(other, _)| other != purpose) {
            none.push(bearer(&keys.issue(purpose, claims).unwrap()));
            // The type alone, the audience alone.
            let typed = Purpose {
                typ: purpose.typ,
                ..*other
            };
            let addressed = Purpose {
                audience: purpose.audience,
                ..*other
            };
            none.push(bearer(&keys.issue(&typed, claims).unwrap()));
            none.push(bearer(&keys.issue(&addressed, claims).unwrap()));
        }
    }
    for (row, reach) in ROWS {
        match reach {
            Anybody => world.passes(row, none.first().map(String::as_str)).await,
            AnybodyOrValid => world.passes(row, None).await,
            Page => world.is_refused(row, Some(&bearer(pat)), 403).await,
            Pat | Listen | ListenOrPat | Job | JobOrPat => world.is_refused(row, None, 401).await,
        }
        if !matches!(reach, Anybody | Page) {
            for authorization in &none {
                world.is_refused(row, Some(authorization), 401).await;
            }
        }
    }

    // Each kind where it does not belong.
    let (listen_basic, pat_basic, job_basic) = (bearer(&listen), basic(pat), basic(&job));
    for (row, reach) in ROWS {
        if matches!(reach, Pat | Job | JobOrPat) {
            world.is_refused(row, Some(&listen_basic), 403).await;
        }
        if matches!(reach, Pat | Listen | ListenOrPat) {
            world.is_refused(row, Some(&job_basic), 403).await;
            world.is_refused(row, Some(&bearer(&job)), 403).await;
        }
        if matches!(reach, Listen | Job) {
            world.is_refused(row, Some(&pat_basic), 403).await;
            world.is_refused(row, Some(&bearer(pat)), 403).await;
            world.is_refused(row, Some(&bearer(&principal)), 403).await;
        }
    }

    // Each kind where it belongs; the job's last call ends the job, and its token with it.
    for row in in_order(&[AnybodyOrValid, Job, JobOrPat]) {
        world.passes(row, Some(&bearer(&job))).await;
    }
    for row in in_order(&[AnybodyOrValid, Listen, ListenOrPat]) {
        world.passes(row, Some(&bearer(&listen))).await;
    }
    for row in in_order(&[AnybodyOrValid, Pat, ListenOrPat, JobOrPat]) {
        world.passes(row, Some(&pat_basic)).await;
        world.passes(row, Some(&bearer(&principal))).await;
    }
    for row in in_order(&[Job, JobOrPat]) {
        world.is_refused(row, Some(&bearer(&job)), 401).await;
    }
}
