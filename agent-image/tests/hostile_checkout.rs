//! A checkout after a step that does not want it to be an honest one. Git runs in the agent's place, with a credential:
//! nothing that a job, a repository or an old volume says may make it run a program or talk to anybody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use dayfly_wire::event::TaskResult;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::{Outcome, World, give_away};

const PLANT: &str = include_str!("hostile_checkout/plant.sh");
const WAIT: &str = "until [ -e $AGENT_TEMPDIRECTORY/gate ]; do sleep 0.02; done";
/// The job's own git, which obeys: what is planted does work.
const OBEY: &str = r#"
cd ..; git init -q scratch; cd scratch; echo x >f; git add f
git -c user.name=t -c user.email=t@example.org commit -q -m one; git checkout -q -b two; git status --short
GIT_CONFIG_PARAMETERS= git ls-remote "$SERVICE/demo/_git/demo" 2>/dev/null
echo "marks after: $(ls $AGENT_TEMPDIRECTORY/marks | xargs)"
"#;

/// A server of somebody else, which remembers what it was asked for.
async fn stranger() -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let router = Router::new().fallback(move |request: Request| {
        heard.lock().unwrap().push(request.uri().to_string());
        async { StatusCode::NOT_FOUND }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

/// Runs one job to its end on an agent of its own, whose volumes are prepared.
async fn run(world: &World, job: Value, prepare: impl FnOnce(&Path)) -> (Outcome, PathBuf) {
    let identity = world.identity("agent-1", false).await;
    prepare(&world.agent_directory("agent-1"));
    let mut agent = world.agent_with(&identity);
    let job = world.queue(job).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    (outcome, agent.directory.clone())
}

fn has(outcome: &Outcome, text: &str) {
    assert!(
        outcome.log.contains(text),
        "{text:?} is missing in\n{}",
        outcome.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_step_planted_is_run_or_asked_by_a_checkout() {
    let world = World::start().await;
    let (url, asked) = stranger().await;
    let sources = [("a.txt", "content"), (".gitattributes", "* filter=x\n")];
    world.repository("demo", &sources).await;
    let commit = world
        .repository("library", &[("l.txt", "from library")])
        .await;
    world.submodule("demo", "lib", "../library", &commit).await;
    world.git("demo", &["lfs", "install", "--local"]);
    world.git("demo", &["lfs", "track", "*.bin"]);
    world.commit("demo", "large.bin", "a large file").await;
    let environment = json!({"SERVICE": world.pool.url(), "STRANGER": url});
    let again = json!({"checkout": "self", "inputs": {"path": "s", "submodules": "recursive", "lfs": "true"}});
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"repository": "demo", "steps": [
            {"checkout": "self", "inputs": {"path": "s"}},
            {"bash": PLANT, "env": environment},
            again,
            {"bash": format!("set +x\necho \"sources: $(cat a.txt lib/l.txt large.bin)\"\necho \"marks: [$(ls $AGENT_TEMPDIRECTORY/marks | xargs)]\"\ngrep -q -e planted -i .git/config || ls .git/hooks .git/info/attributes 2>/dev/null || echo no trace of it in the sources\necho looked; {WAIT}")},
            {"bash": OBEY, "env": environment},
        ]}))
        .await;
    world.line(&job, "looked").await;
    let before = asked.lock().unwrap().clone();
    std::fs::write(agent.directory.join("volume/work/_temp/gate"), "").unwrap();
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(before, Vec::<String>::new(), "{}", outcome.log);
    has(&outcome, "everything is planted");
    has(&outcome, "sources: content");
    has(&outcome, "from library");
    has(&outcome, "a large file");
    has(&outcome, "marks: []\n");
    has(&outcome, "Z no trace of it in the sources\n");
    // The plants do what they should where they are obeyed.
    for mark in ["filter", "fsmonitor", "git", "hook"] {
        let after = outcome.log.split("marks after: ").nth(1).unwrap();
        assert!(
            after.lines().next().unwrap().contains(mark),
            "{mark}: {after}"
        );
    }
    assert!(!asked.lock().unwrap().is_empty(), "{}", outcome.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_directory_that_leads_elsewhere_is_replaced_and_not_followed() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "content")]).await;
    let (outcome, _) = run(
        &world,
        json!({"repository": "demo", "steps": [
            {"checkout": "self", "inputs": {"path": "s"}},
            {"checkout": "self", "inputs": {"path": "other"}},
            {"bash": "mv .git ../kept.git; ln -s ../kept.git .git; cd ../other; mv .git ../kept-too.git; echo 'gitdir: ../kept-too.git' >.git; cd ..; find kept.git kept-too.git -type f | sort | xargs sha256sum >before"},
            {"checkout": "self", "inputs": {"path": "s"}},
            {"checkout": "self", "inputs": {"path": "other"}},
            {"bash": "set +x\nfor d in . ../other; do test -d $d/.git -a ! -L $d/.git && git -C $d log --oneline | wc -l; done\ncd ..; find kept.git kept-too.git -type f | sort | xargs sha256sum | diff - before && echo untouched"},
        ]}),
        |_| {},
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(&outcome, "Z untouched\n");
    assert_eq!(outcome.log.matches("Z 1\n").count(), 2, "{}", outcome.log);
}

/// What an earlier user of the volume left where mirrors and stagings go.
fn hostile_volume(directory: &Path) {
    let volume = directory.join("volume");
    let precious = directory.join("precious");
    std::fs::create_dir_all(precious.join("1")).unwrap();
    std::fs::write(precious.join("1/file"), "x").unwrap();
    for area in ["mirror", "staging", "git-home"] {
        let place = volume.join(area).join("1");
        std::fs::create_dir_all(&place).unwrap();
        let made = Command::new("git")
            .args(["init", "-q", "--bare", "."])
            .current_dir(&place)
            .status();
        assert!(made.unwrap().success());
        let hook = place.join("hooks/post-checkout");
        let mark = precious.join("mark");
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        let text = format!(
            "[core]\n\tbare = true\n\tfsmonitor = touch {0}\n[filter \"x\"]\n\tsmudge = touch {0}\n[http]\n\tproxy = http://127.0.0.1:9\n",
            mark.display()
        );
        for name in ["config", ".gitconfig"] {
            std::fs::write(place.join(name), &text).unwrap();
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(hook, mode).unwrap();
        // The second checkout's place is a link to what must stay.
        std::os::unix::fs::symlink(precious.join("1"), volume.join(area).join("2")).unwrap();
    }
    std::os::unix::fs::symlink(precious.join("nothing"), volume.join("mirror/3")).unwrap();
    give_away(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_volume_holds_is_not_used() {
    let world = World::start().await;
    let sources = [("a.txt", "content"), (".gitattributes", "* filter=x\n")];
    world.repository("demo", &sources).await;
    let (outcome, directory) = run(
        &world,
        json!({"repository": "demo", "steps": [
            {"checkout": "self", "inputs": {"path": "s"}},
            {"checkout": "self", "inputs": {"path": "two"}},
            {"checkout": "self", "inputs": {"path": "three"}},
            {"bash": "set +x\ncat a.txt ../two/a.txt ../three/a.txt; echo"},
        ]}),
        hostile_volume,
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(&outcome, "contentcontentcontent");
    let precious = directory.join("precious");
    assert!(precious.join("1/file").is_file());
    let names = std::fs::read_dir(precious).unwrap().count();
    assert_eq!(names, 1, "something was made beside what was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_area_of_the_volume_that_is_a_link_is_not_followed() {
    let world = World::start().await;
    world.repository("demo", &[("a.txt", "content")]).await;
    let (outcome, directory) = run(
        &world,
        json!({"repository": "demo", "steps": [{"checkout": "self", "inputs": {"path": "s"}}, {"bash": "cat a.txt"}]}),
        |directory| {
            let precious = directory.join("precious");
            std::fs::create_dir_all(precious.join("1")).unwrap();
            std::fs::write(precious.join("1/file"), "x").unwrap();
            std::fs::create_dir_all(directory.join("volume")).unwrap();
            for area in ["mirror", "staging", "git-home"] {
                let place = directory.join("volume").join(area);
                std::os::unix::fs::symlink(&precious, place).unwrap();
            }
        },
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert!(directory.join("precious/1/file").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_cannot_name_a_program_for_its_own_checkout() {
    let world = World::start().await;
    let mark = world.directory.path().join("mark");
    let evil = format!("touch {}", mark.display());
    let commit = world.repository("library", &[("l.txt", "x")]).await;
    let sources = [
        ("a.txt", "content"),
        (
            ".gitattributes",
            "*.txt filter=x diff=x merge=x\n*.bin filter=lfs\n",
        ),
        (
            ".gitconfig",
            &format!("[filter \"x\"]\n\tsmudge = {evil}\n[core]\n\tfsmonitor = {evil}\n"),
        ),
        (
            ".lfsconfig",
            &format!(
                "[lfs \"customtransfer.x\"]\n\tpath = {evil}\n[lfs]\n\tstandalonetransferagent = x\n"
            ),
        ),
        ("hooks/post-checkout", &format!("#!/bin/sh\n{evil}\n")),
    ];
    world.repository("demo", &sources).await;
    world.submodule("demo", "lib", "../library", &commit).await;
    let update = format!("!{evil}");
    world.git(
        "demo",
        &[
            "config",
            "-f",
            ".gitmodules",
            "submodule.lib.update",
            &update,
        ],
    );
    world.commit("demo", "b.txt", "more").await;
    let (outcome, _) = run(
        &world,
        json!({"repository": "demo", "steps": [
            {"checkout": "self", "inputs": {"path": "s", "lfs": "true"}},
            {"bash": "set +x\necho \"found $(cat a.txt)\""},
            {"checkout": "self", "inputs": {"submodules": "recursive"}, "continueOnError": true},
        ]}),
        |_| {},
    )
    .await;
    has(&outcome, "found content");
    assert!(!mark.exists(), "{}", outcome.log);
}
