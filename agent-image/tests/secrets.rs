//! What the job token and secrets reach, and what they do not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // It is all test code.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::Change;
use dayfly_wire::event::TaskResult;
use serde_json::json;
use std::path::{Path, PathBuf};
use support::{PROJECT, World, descendants, wait_for};

const SECRET: &str = "correct-horse-battery";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_service_receives_holds_a_secret() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"password": {"value": SECRET, "isSecret": true}, "url": "https://u:$(password)@host/"},
            "steps": [
                {"bash": "echo plain $P; echo $P | base64; printf %s \"user:$P\" | base64; echo $P | rev; echo url $(url); echo inline $(password); echo err $P >&2",
                 "displayName": "Print $(password)", "env": {"P": "$(password)"}},
                {"bash": "printf 'split '; printf 'correct-horse'; sleep 0.05; printf -- '-battery'; echo; echo \"##vso[task.logissue type=error]oops $P\"; echo \"##vso[task.setprogress value=5]at $P\"; echo \"##vso[task.setvariable variable=leak;isOutput=true]$P\"; echo '##vso[task.setsecret]made-up-later'; echo is made-up-later hidden",
                 "name": "second", "env": {"P": "$(password)"}},
                {"bash": "echo token $T; echo $T | base64 -w0; echo; echo length ${#T}", "env": {"T": "$(System.AccessToken)"}},
                {"bash": "env | grep -i -e token -e password -e '^P=' || echo nothing here"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    let feed = world
        .admin
        .follow_job(PROJECT, job.request_id, 0)
        .await
        .unwrap();
    let feed = serde_json::to_string(&feed).unwrap();
    for text in [&outcome.everything, &feed] {
        let encoded = STANDARD.encode(SECRET);
        for secret in [SECRET, &encoded, "made-up-later"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        // No token of this service, in clear or in base64, is in anything.
        assert!(!text.contains("eyJ"), "{text}");
        assert!(!text.contains(&STANDARD.encode("eyJ")[..3]), "{text}");
    }
    for shown in [
        "plain ***",
        "split ***",
        "inline ***",
        "err ***",
        "token ***",
        "is *** hidden",
        "nothing here",
    ] {
        assert!(
            outcome.log.contains(shown),
            "{shown:?} is missing in\n{}",
            outcome.log
        );
    }
    assert_eq!(
        outcome.record("Print ***").result,
        Some(TaskResult::Succeeded)
    );
    assert!(!outcome.log.contains("length 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_no_argument_environment_or_file_of_the_agent() {
    let world = World::start().await;
    world.repository("demo", &[("a", "b")]).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"checkout": "self"},
                {"bash": "echo it runs; while [ ! -e ../go ]; do sleep 0.02; done", "env": {"SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}}
            ]
        }))
        .await;
    world.line(&job, "it runs").await;
    let token = token_of_a_step(agent.step_host.id()).await;
    assert!(token.starts_with("eyJ") && token.len() > 100);

    let agent_processes = descendants(agent.agent.id());
    assert!(
        agent_processes
            .iter()
            .any(|(_, line)| line.contains(" worker ")),
        "{agent_processes:?}"
    );
    // The steps are not the agent's children: another container, in a pod.
    assert!(
        !agent_processes
            .iter()
            .any(|(_, line)| line.contains("bash")),
        "{agent_processes:?}"
    );
    let steps = descendants(agent.step_host.id());
    assert!(
        steps.iter().any(|(_, line)| line.contains("bash")),
        "{steps:?}"
    );
    for pid in agent_processes
        .iter()
        .map(|(pid, _)| *pid)
        .chain([agent.agent.id(), agent.step_host.id()])
    {
        for file in ["cmdline", "environ"] {
            let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(
                !contains(&content, token.as_bytes()),
                "the token is in {file} of {pid}"
            );
        }
    }
    no_file_holds(&agent.directory, token.as_bytes());
    std::fs::write(agent.job_directory().join("go"), "").unwrap();
    assert_eq!(world.outcome(&job).await.result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
    no_file_holds(&agent.directory, token.as_bytes());
    assert!(!agent.agent_log().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_left_running_may_stay_until_a_secret_comes() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"password": {"value": SECRET, "isSecret": true}},
            "steps": [
                {"bash": "setsid sleep 271.5 < /dev/null > /dev/null 2>&1 & echo left one"},
                {"bash": "pgrep -f 'sleep 271.5' > /dev/null && echo still there"},
                {"bash": "pgrep -f '^sleep 271.5' > /dev/null || echo gone now", "env": {"P": "$(password)"}}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert!(outcome.log.contains("still there"));
    assert!(outcome.log.contains("gone now"), "{}", outcome.log);
    assert!(
        outcome
            .log
            .contains("Stopped what earlier steps left running"),
        "{}",
        outcome.log
    );
    assert!(outcome.log.contains("(sleep)"));
    assert_eq!(agent.exit().await.code(), Some(0));
}

/// Processes in a frozen group do not die before they are thawed.
struct Frozen(PathBuf);

impl Frozen {
    fn group(name: &str) -> Option<Self> {
        let group = Path::new("/sys/fs/cgroup/freezer").join(name);
        std::fs::create_dir(&group).ok()?;
        Some(Self(group))
    }

    fn set(&self, file: &str, value: &str) {
        std::fs::write(self.0.join(file), value).unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_what_cannot_be_killed_no_step_is_given_a_secret() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let Some(group) = Frozen::group(&format!("dayfly-test-{}", agent.step_host.id())) else {
        return println!("not run: this machine gives no groups that can be frozen");
    };
    let job = world
        .queue(json!({
            "variables": {"password": {"value": SECRET, "isSecret": true}},
            "steps": [
                {"bash": "set +x\nsetsid sleep 272.5 < /dev/null > /dev/null 2>&1 & echo left $! behind; until [ -e ../go ]; do sleep 0.02; done"},
                {"bash": "set +x\necho never, with $P", "env": {"P": "$(password)"}, "displayName": "Secret"},
                {"bash": "echo without a secret", "condition": "always()"}
            ]
        }))
        .await;
    world.line(&job, " behind").await;
    let below = descendants(agent.step_host.id());
    let (left, _) = below
        .iter()
        .find(|(_, line)| line.starts_with("sleep 272.5"))
        .unwrap();
    group.set("cgroup.procs", &left.to_string());
    group.set("freezer.state", "FROZEN");
    std::fs::write(agent.job_directory().join("go"), "").unwrap();
    world.line(&job, "without a secret").await;
    drop(group);
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    let issue = &outcome.record("Secret").issues[0].message;
    assert!(
        issue.contains("because this step is given a secret") && issue.contains("(sleep)"),
        "{issue}"
    );
    assert!(!outcome.log.contains("Z never, with"), "{}", outcome.log);
}

/// Says whether a script has the job's token, without printing it: that would be masked.
const HAS_TOKEN: &str =
    "test ${#SYSTEM_ACCESSTOKEN} -gt 100 && echo has the token || echo has none";

#[tokio::test(flavor = "multi_thread")]
async fn scripts_see_the_token_where_they_map_it_or_their_pipeline_opts_in() {
    let world = World::start().await;
    let service = world.pool.service();
    world.repository("demo", &[("a", "b")]).await;
    let change = Change {
        scripts: Some(true),
        ..Change::default()
    };
    let changed = reach::change(&service.store, PROJECT, "opted", change, service.now()).await;
    assert!(changed.unwrap().scripts);
    let job = |name: &str| {
        json!({"name": name, "steps": [
            {"bash": format!("echo -n 'mapped ';{HAS_TOKEN}"), "env": {"SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}},
            {"bash": format!("echo -n 'other ';{HAS_TOKEN}")},
            {"script": format!("echo -n 'script ';{HAS_TOKEN}; echo \"shown as ${{SYSTEM_ACCESSTOKEN:-nothing}}\"")},
        ]})
    };
    for (number, (name, unmapped, shown)) in [
        ("careful", "has none", "nothing"),
        ("opted", "has the token", "***"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut agent = world.agent(&format!("agent-{number}")).await;
        let queued = world.queue(job(name)).await;
        let outcome = world.outcome(&queued).await;
        assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
        assert_eq!(agent.exit().await.code(), Some(0));
        for line in [
            "mapped has the token".to_owned(),
            format!("other {unmapped}"),
            format!("script {unmapped}"),
            format!("shown as {shown}"),
        ] {
            assert!(
                outcome.log.contains(&line),
                "{name}: {line:?} is missing in\n{}",
                outcome.log
            );
        }
        assert!(
            !outcome.everything.contains("eyJ"),
            "{}",
            outcome.everything
        );
    }
}

async fn token_of_a_step(step_host: u32) -> String {
    wait_for("a step with a token", || async {
        descendants(step_host).iter().find_map(|(pid, _)| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let text = String::from_utf8_lossy(&environment).into_owned();
            text.split('\0')
                .find_map(|entry| entry.strip_prefix("SYSTEM_ACCESSTOKEN="))
                .map(ToOwned::to_owned)
        })
    })
    .await
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|window| window == wanted)
}

fn no_file_holds(directory: &Path, wanted: &[u8]) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            no_file_holds(&path, wanted);
        } else if kind.is_file() {
            let content = std::fs::read(&path).unwrap();
            assert!(
                !contains(&content, wanted),
                "the token is in {}",
                path.display()
            );
        }
    }
}
