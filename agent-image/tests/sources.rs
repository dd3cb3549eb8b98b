//! Submodules, large files and kept credentials, with a real git and git-lfs, from the pool service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::Change;
use dayfly_wire::event::TaskResult;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::{Outcome, World};

/// Runs one job to its end on an agent of its own.
async fn run(world: &World, agent: &str, job: Value) -> Outcome {
    let mut agent = world.agent(agent).await;
    let job = world.queue(job).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    world.forget(&agent.name).await;
    outcome
}

/// A server of somebody else: asks everybody who they are, and remembers what they said.
async fn stranger() -> (String, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let router = Router::new().fallback(move |request: Request| {
        let header = request.headers().get(AUTHORIZATION).cloned();
        let header = header.map_or("nothing".to_owned(), |header| format!("{header:?}"));
        heard.lock().unwrap().push(header);
        async {
            let ask = [(WWW_AUTHENTICATE, "Basic realm=\"who are you\"")];
            (StatusCode::UNAUTHORIZED, ask)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, said)
}

/// `demo` has the submodule `lib` of `library`, which has the submodule `deep` of `depth`.
async fn nested(world: &World) {
    let depth = world.repository("depth", &[("d.txt", "from depth")]).await;
    world
        .repository("library", &[("l.txt", "from library")])
        .await;
    let library = world.submodule("library", "deep", "../depth", &depth).await;
    world.repository("demo", &[("a.txt", "from demo")]).await;
    world.submodule("demo", "lib", "../library", &library).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_come_as_deep_as_the_step_says() {
    let world = World::start().await;
    nested(&world).await;
    for (number, (submodules, listing)) in [
        ("false", "a.txt lib"),
        ("true", "a.txt lib lib/deep lib/l.txt"),
        ("recursive", "a.txt lib lib/deep lib/deep/d.txt lib/l.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = run(
            &world,
            &format!("agent-{number}"),
            json!({"repository": "demo", "steps": [
                {"checkout": "self", "inputs": {"submodules": submodules, "fetchDepth": "1"}},
                {"bash": "echo \"found $(find * -not -name '.git*' | sort | xargs)\"; echo differences $(git status --porcelain --ignore-submodules=none | wc -l)"}
            ]}),
        )
        .await;
        assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
        let found = format!("found {listing}\n");
        assert!(
            outcome.log.contains(&found),
            "{submodules}:\n{}",
            outcome.log
        );
        assert!(outcome.log.contains("differences 0\n"), "{}", outcome.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submodule_elsewhere_gets_no_credential_and_no_other_transport() {
    let world = World::start().await;
    let (url, said) = stranger().await;
    let commit = world.repository("library", &[("l.txt", "x")]).await;
    for (number, url) in [
        format!("{url}/default/demo/_git/library"),
        "file:///etc".to_owned(),
        "ext::sh -c touch%20/tmp/dayfly-was-here".to_owned(),
        "ssh://somebody@127.0.0.1/library".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("demo{number}");
        world.repository(&name, &[("a.txt", "x")]).await;
        world.submodule(&name, "lib", url, &commit).await;
        let outcome = run(
            &world,
            &format!("agent-{number}"),
            json!({"repository": name, "steps": [
                {"checkout": "self", "inputs": {"submodules": "true"}}
            ]}),
        )
        .await;
        assert_eq!(outcome.result, TaskResult::Failed, "{url}\n{}", outcome.log);
        assert!(
            outcome.log.contains("Git submodule failed"),
            "{url}\n{}",
            outcome.log
        );
    }
    let said = said.lock().unwrap();
    assert!(!said.is_empty(), "the stranger was asked");
    assert!(said.iter().all(|header| header == "nothing"), "{said:?}");
    assert!(!std::path::Path::new("/tmp/dayfly-was-here").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_come_whole_when_they_are_asked_for() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "x")]).await;
    world.git("demo", &["lfs", "install", "--local"]);
    world.git("demo", &["lfs", "track", "*.bin"]);
    world.commit("demo", "large.bin", "a large file").await;
    for (number, (lfs, shown)) in [("false", "oid sha256:"), ("true", "shown a large file")]
        .into_iter()
        .enumerate()
    {
        let outcome = run(
            &world,
            &format!("agent-{number}"),
            json!({"repository": "demo", "steps": [
                {"checkout": "self", "inputs": {"lfs": lfs}},
                {"bash": "echo \"shown $(cat large.bin)\""}
            ]}),
        )
        .await;
        assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
        assert!(outcome.log.contains(shown), "{lfs}:\n{}", outcome.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_keeps_its_large_files_elsewhere_tells_nobody_the_credential() {
    let world = World::start().await;
    let (url, said) = stranger().await;
    world.repository("demo", &[("a.txt", "x")]).await;
    world.git("demo", &["lfs", "install", "--local"]);
    world.git("demo", &["lfs", "track", "*.bin"]);
    world.commit("demo", "large.bin", "a large file").await;
    let elsewhere = format!("[lfs]\n\turl = {url}/default/demo/_git/demo.git/info/lfs\n");
    world.commit("demo", ".lfsconfig", &elsewhere).await;
    let outcome = run(
        &world,
        "agent-1",
        json!({"repository": "demo", "steps": [{"checkout": "self", "inputs": {"lfs": "true"}}]}),
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Failed, "{}", outcome.log);
    let said = said.lock().unwrap();
    assert!(!said.is_empty(), "the stranger was asked\n{}", outcome.log);
    assert!(said.iter().all(|header| header == "nothing"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn later_steps_push_when_the_credential_is_kept_and_only_then() {
    let world = World::start().await;
    nested(&world).await;
    let service = world.pool.service();
    reach::change(
        &service.store,
        "demo",
        "deploy",
        Change {
            pushes: Some(true),
            ..Change::default()
        },
        service.now(),
    )
    .await
    .unwrap();
    let push = "git fetch -q origin && git -C lib fetch -q origin && git -c user.name=t -c user.email=t@example.org commit -q --allow-empty -m one && git push -q origin HEAD:refs/heads/from-job && echo pushed; grep -c AUTHORIZATION .git/config";
    for (number, (keep, result)) in [
        ("true", TaskResult::Succeeded),
        ("false", TaskResult::Failed),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = run(
            &world,
            &format!("agent-{number}"),
            json!({"name": "deploy", "repository": "demo", "steps": [
                {"checkout": "self", "inputs": {"persistCredentials": keep, "submodules": "true"}},
                {"bash": format!("export GIT_TERMINAL_PROMPT=0; {push}; ls -A \"$(git config include.path)\"; git ls-remote -q origin from-job")},
            ]}),
        )
        .await;
        assert_eq!(outcome.result, result, "{}", outcome.log);
        assert_eq!(
            outcome.log.contains("pushed\n"),
            keep == "true",
            "{}",
            outcome.log
        );
        let after = "Removed the credential that was kept for the steps.";
        assert_eq!(
            outcome.everything.contains(after),
            keep == "true",
            "{}",
            outcome.everything
        );
    }
}
