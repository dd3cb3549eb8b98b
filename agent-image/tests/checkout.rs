//! Checkout with a real git, from the pool service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use serde_json::json;
use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn depth_paths_and_several_repositories() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "first")]).await;
    world.commit("demo", "a.txt", "second").await;
    world.repository("other", &[("b.txt", "from other")]).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"checkout": "self", "inputs": {"fetchDepth": "1", "fetchTags": "false"}},
                {"checkout": "other", "inputs": {"path": "deep/er/other"}},
                {"bash": "echo commits $(git -C demo rev-list --count HEAD); cat demo/a.txt; echo; cat ../deep/er/other/b.txt; git -C ../deep/er/other rev-list --count HEAD"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    for text in ["commits 1", "second", "from other"] {
        assert!(
            outcome.log.contains(text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
    assert!(
        !outcome.log.contains("fetching all branches instead"),
        "{}",
        outcome.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_put_in_the_way_is_removed_and_not_followed() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "content")]).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"bash": "cd ..; mkdir outside; echo precious > outside/file; rm -r s; ln -s outside s; ls -l; (while :; do ln -sfn outside s; done) > /dev/null 2>&1 &"},
                {"checkout": "self"},
                {"bash": "test -d ../s -a ! -L ../s && cat a.txt; cat ../outside/file; ls ../outside"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    assert!(
        outcome.log.contains("content") && outcome.log.contains("precious"),
        "{}",
        outcome.log
    );
    assert!(outcome.log.contains("because sources are checked out"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_above_the_target_fails_the_checkout() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "content")]).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"bash": "cd ../..; mkdir elsewhere; ln -s ../elsewhere 1/sub"},
                {"checkout": "self", "inputs": {"path": "sub/demo"}},
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed, "{}", outcome.log);
    assert!(
        outcome.log.contains("failed to move the checkout"),
        "{}",
        outcome.log
    );
    assert_eq!(agent.exit().await.code(), Some(0));
    let elsewhere = agent.job_directory().parent().unwrap().join("elsewhere");
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_says_so() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "content")]).await;
    for (number, (inputs, text)) in [
        (json!({"submodules": "all"}), "neither true nor false"),
        (json!({"path": "../../etc"}), "must lie below"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut agent = world.agent(&format!("agent-{number}")).await;
        let job = world
            .queue(json!({"repository": "demo", "steps": [{"checkout": "self", "inputs": inputs}]}))
            .await;
        let outcome = world.outcome(&job).await;
        assert_eq!(outcome.result, TaskResult::Failed);
        assert!(outcome.log.contains(text), "{}", outcome.log);
        assert_eq!(agent.exit().await.code(), Some(0));
        world
            .admin
            .delete_agent(world.pool_id, world.agent_id(&agent.name).await)
            .await
            .unwrap();
    }
}
