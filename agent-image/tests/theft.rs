//! A job that steals: secrets are planted with unique values wherever the agent has them, and steps search everything
//! that they reach for them, by content, while others use them.
//!
//! Steps run in namespaces of their own, as in a pod. What they promise to one another is secrecy: whoever was not
//! given a secret does not find it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // It is all test code.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dayfly_wire::event::TaskResult;
use dayfly_wire::job::{
    Endpoint, EndpointAuthorization, EndpointReference, JobMessage, SecureFile,
};
use dayfly_wire::secret::SecretText;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::tasks::{TASK, definition, step};
use support::{AgentProcesses, Outcome, World, descendants, give_away, is_root};
use uuid::Uuid;

const THIEF: &str = include_str!("theft/thief.pl");
const CONNECTION: &str = "55555555-5555-4555-8555-555555555555";
const SOURCES: &str = "66666666-6666-4666-8666-666666666666";
const SECURE_FILE: &str = "77777777-7777-4777-8777-777777777777";

/// Until the test says so.
const GATE: &str = "echo at the gate; until [ -e $AGENT_TEMPDIRECTORY/gate ]; do sleep 0.02; done";
/// A thief, and where it looks beside the processes.
const STEAL: &str = "perl $AGENT_TEMPDIRECTORY/thief.pl";
const PLACES: &str = "$AGENT_WORKFOLDER/.. /dev/shm /run /var/tmp";
/// The canary, where the thief must find it.
const CANARIES: &str = r"
canary=$(tr -d ' ' <$AGENT_TEMPDIRECTORY/canary)
rm $AGENT_TEMPDIRECTORY/canary
echo $canary >$AGENT_TEMPDIRECTORY/planted
CANARY=$canary setsid sleep 500 </dev/null >/dev/null 2>&1 &
setsid bash -c 'sleep 501; :' $canary </dev/null >/dev/null 2>&1 &
echo $canary >$AGENT_TEMPDIRECTORY/gone; exec 7<$AGENT_TEMPDIRECTORY/gone; rm $AGENT_TEMPDIRECTORY/gone
setsid sleep 502 </dev/null >/dev/null 2>&1 & exec 7<&-
";

/// The script of a step that leaves a thief behind.
fn leave_a_thief(report: &str) -> Value {
    json!({"bash": format!(
        "cd /; setsid {STEAL} watch $AGENT_TEMPDIRECTORY/values $AGENT_TEMPDIRECTORY/{report} $AGENT_TEMPDIRECTORY $AGENT_WORKFOLDER/../scripts </dev/null >/dev/null 2>&1 &
         until grep -q 'ROUND 1' $AGENT_TEMPDIRECTORY/{report} 2>/dev/null; do sleep 0.02; done; echo left a thief"
    )})
}

fn search_everything(report: &str) -> Value {
    json!({"bash": format!("{STEAL} once $AGENT_TEMPDIRECTORY/values $AGENT_TEMPDIRECTORY/{report} {PLACES}")})
}

/// What is worth stealing, by name.
type Planted = BTreeMap<String, Vec<u8>>;

fn unique(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}

fn write_values(path: &Path, planted: &Planted) {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let lines: String = planted
        .iter()
        .map(|(name, value)| format!("{name} {}\n", hex(value)))
        .collect();
    std::fs::write(path, lines).unwrap();
}

/// Runs the thief as root, whom nothing is hidden from: what it finds is there to be stolen.
fn look_inside(world: &World, mode: &str, planted: &Planted, places: &[String]) -> Vec<String> {
    let place = world.directory.path();
    let (values, report) = (place.join("all-values"), place.join("seen"));
    write_values(&values, planted);
    std::fs::write(place.join("thief.pl"), THIEF).unwrap();
    let status = Command::new("perl")
        .arg(place.join("thief.pl"))
        .arg(mode)
        .args([&values, &report])
        .args(places)
        .status()
        .unwrap();
    assert!(status.success());
    let seen = std::fs::read_to_string(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    seen.lines().map(ToOwned::to_owned).collect()
}

fn agents_processes(agent: &AgentProcesses) -> Vec<String> {
    let below = descendants(agent.agent.id()).into_iter();
    let all = below.map(|(pid, _)| pid).chain([agent.agent.id()]);
    all.map(|pid| pid.to_string()).collect()
}

/// The tokens that the agent's processes hold, by the kind that their heads tell.
fn tokens(world: &World, agent: &AgentProcesses) -> Planted {
    let seen = look_inside(world, "tokens", &Planted::new(), &agents_processes(agent));
    let mut tokens = Planted::new();
    for token in seen.iter().filter_map(|line| line.strip_prefix("TOKEN ")) {
        let head = token.split('.').next().unwrap();
        let head = URL_SAFE_NO_PAD.decode(head).unwrap_or_default();
        let head = String::from_utf8_lossy(&head).into_owned();
        let number = tokens.len();
        for kind in ["dayfly-job", "dayfly-listen"] {
            if head.contains(kind) {
                // The end is what makes it one; the head is every token's.
                let end = token.len().saturating_sub(40);
                tokens.insert(format!("{kind}-{number}"), token[end..].into());
            }
        }
    }
    for kind in ["dayfly-job", "dayfly-listen"] {
        assert!(
            tokens.keys().any(|name| name.starts_with(kind)),
            "the agent holds no {kind} token"
        );
    }
    tokens
}

fn add_secrets_of_others(message: &mut JobMessage, planted: &BTreeMap<&str, String>) {
    let endpoint = |id: &str, user: &str, password: &str| Endpoint {
        id: Some(id.to_owned()),
        name: id[..4].to_owned(),
        kind: Some("generic".to_owned()),
        url: "http://127.0.0.1:9/".to_owned(),
        data: BTreeMap::new(),
        authorization: Some(EndpointAuthorization {
            scheme: "UsernamePassword".to_owned(),
            parameters: [
                ("username".to_owned(), SecretText::from(user)),
                ("password".to_owned(), SecretText::from(password)),
            ]
            .into(),
        }),
        is_shared: false,
        is_ready: true,
    };
    let endpoints = &mut message.resources.endpoints;
    endpoints.push(endpoint(CONNECTION, "somebody", &planted["endpoint"]));
    endpoints.push(endpoint(SOURCES, "a-robot", &planted["checkout"]));
    message.resources.secure_files.push(SecureFile {
        id: SECURE_FILE.to_owned(),
        name: "key.p12".to_owned(),
        ticket: Some(SecretText::from(planted["ticket"].as_str())),
    });
    for repository in &mut message.resources.repositories {
        repository.endpoint = Some(EndpointReference {
            name: None,
            id: Some(SOURCES.to_owned()),
        });
    }
}

/// The steps, in the order in which a thief would like them.
fn steps() -> Value {
    let uses_all = step(
        TASK,
        "hold",
        &json!({"displayName": "Task", "inputs": {"connection": CONNECTION, "secure": SECURE_FILE, "who": "$(pw)"}}),
    );
    json!([
        {"checkout": "self"},
        {"bash": GATE},
        {"bash": format!("{CANARIES}\n{STEAL} once $AGENT_TEMPDIRECTORY/values $AGENT_TEMPDIRECTORY/first {PLACES}; echo core dumps: $(ulimit -Sc)")},
        leave_a_thief("during-checkout"),
        {"checkout": "self", "inputs": {"path": "again"}},
        leave_a_thief("before-a-script"),
        {"bash": "set +x\nsleep 0.5; test ${#P} -gt 20 -a ${#T} -gt 100 && echo used $P and $(inline)", "env": {"P": "$(pw)", "T": "$(System.AccessToken)"}},
        leave_a_thief("before-a-task"),
        uses_all,
        search_everything("last"),
        {"bash": "set +x\ngit -C ../again config --list --show-origin; GIT_TERMINAL_PROMPT=0 git -C ../again fetch -q origin </dev/null && echo git has a credential; env | grep ^GIT_; echo looked at git"},
        leave_a_thief("before-a-credential"),
        {"checkout": "self", "inputs": {"path": "kept", "persistCredentials": "true"}},
        {"bash": "set +x\nGIT_TERMINAL_PROMPT=0 git -C ../kept fetch -q origin </dev/null && echo fetched with what is kept"},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_steals_finds_nothing_that_it_was_not_given() {
    if !is_root() {
        return println!("not run: only root can give a step host namespaces of its own");
    }
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    world.repository("demo", &[("a.txt", "content")]).await;
    let mut secrets: BTreeMap<&str, String> = ["pw", "inline", "endpoint", "ticket", "canary"]
        .map(|name| (name, unique(name)))
        .into();
    let pat = world
        .pool
        .pat_named("git", "code_write", None)
        .await
        .unwrap();
    secrets.insert("checkout", pat.expose().to_owned());

    let identity = world.identity("agent-1", false).await;
    let secret = |name: &str| json!({"value": secrets[name], "isSecret": true});
    let job = world
        .queue(json!({
            "repository": "demo", "steps": steps(),
            "variables": {"pw": secret("pw"), "inline": secret("inline")},
        }))
        .await;
    let amended = world.pool.amend(job.request_id, |message| {
        add_secrets_of_others(message, &secrets)
    });
    amended.await.unwrap();
    let mut agent = world.agent_in_pod(&identity);
    world.line(&job, "at the gate").await;
    // In a pod the agent has its identity from the operator, never from a file.
    std::fs::remove_file(agent.directory.join("identity.json")).unwrap();

    let mut planted: Planted = secrets
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    let key = identity.private_key.expose();
    planted.insert("key-text".to_owned(), key.as_bytes()[800..840].to_vec());
    let key = STANDARD.decode(key).unwrap();
    planted.insert("key".to_owned(), key[600..640].to_vec());
    planted.extend(tokens(&world, &agent));
    is_there_to_be_stolen(&world, &agent, &planted);

    prepare_theft(&agent, &planted, &secrets["canary"]);
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    secrets_were_used(&outcome);
    judge(&agent, &outcome);
    nothing_is_left(&world, &agent, &outcome, planted);
}

/// The agent and its worker hold every one of them, or the search could not find it anywhere.
fn is_there_to_be_stolen(world: &World, agent: &AgentProcesses, planted: &Planted) {
    let seen = look_inside(world, "inside", planted, &agents_processes(agent));
    for name in planted.keys().filter(|name| *name != "canary") {
        // The key is used and forgotten piece by piece; in which form it is still there is its library's choice.
        let is_key = name.starts_with("key");
        let found = seen
            .iter()
            .any(|line| line.starts_with(&format!("FOUND {name} memory")));
        assert!(found || is_key, "{name} is not in the agent: {seen:?}");
    }
}

fn prepare_theft(agent: &AgentProcesses, planted: &Planted, canary: &str) {
    let place = agent.directory.join("volume/work/_temp");
    std::fs::write(place.join("thief.pl"), THIEF).unwrap();
    // In two parts: until it is planted it is nowhere.
    let (one, other) = canary.split_at(canary.len() / 2);
    std::fs::write(place.join("canary"), format!("{one} {other}")).unwrap();
    write_values(&place.join("values"), planted);
    give_away(&place);
    std::fs::write(place.join("gate"), "").unwrap();
}

fn secrets_were_used(outcome: &Outcome) {
    for text in [
        "used *** and ***",
        "held 4 secrets",
        "looked at git",
        "core dumps: 0",
        "fetched with what is kept",
        "because sources are checked out",
        "because this step is given a secret",
        "because this task is given secrets",
        "because the credential is kept for later steps",
    ] {
        assert!(
            outcome.log.contains(text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
    for text in ["git has a credential", "credential.helper", "extraheader"] {
        assert!(
            !outcome.log.contains(text),
            "{text:?} is in\n{}",
            outcome.log
        );
    }
}

/// What the thieves say.
fn judge(agent: &AgentProcesses, outcome: &Outcome) {
    let report = |name: &str| {
        let path = agent.directory.join("volume/work/_temp").join(name);
        std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", outcome.log))
    };
    for name in [
        "first",
        "during-checkout",
        "before-a-script",
        "before-a-task",
        "before-a-credential",
        "last",
    ] {
        let said = report(name);
        let stolen: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("FOUND ") && !line.starts_with("FOUND canary "))
            .collect();
        assert!(stolen.is_empty(), "{name}: {stolen:?}");
        for word in ["SOCKET ", "LISTENER ", "TRACED 1\n"] {
            assert!(!said.contains(word), "{name}: {said}");
        }
        // The step host is there, and nobody looks into it.
        assert!(said.contains("CLOSED memory 1\n"), "{name}: {said}");
    }
    // They do find, and trace, what is not kept from them.
    let first = report("first");
    for kind in ["environment", "arguments", "descriptor", "memory", "file"] {
        let found = format!("FOUND canary {kind} ");
        assert!(
            first.contains(&found),
            "the canary is in no {kind}: {first}"
        );
    }
    assert!(first.contains("TRACED "), "{first}");
    for name in ["first", "last"] {
        assert!(report(name).contains("SEARCHED everything"), "{name}");
    }
}

/// Once the job is over no file, log or record holds any of them.
fn nothing_is_left(world: &World, agent: &AgentProcesses, outcome: &Outcome, mut planted: Planted) {
    planted.remove("canary");
    for (name, value) in &planted {
        let value = String::from_utf8_lossy(value);
        assert!(!outcome.everything.contains(&*value), "{name} was sent");
    }
    assert!(agent.directory.join("step-host.log").is_file());
    let places = [world.directory.path().display().to_string()];
    let seen = look_inside(world, "files", &planted, &places);
    assert_eq!(seen, ["SEARCHED everything"]);
    // The search does find what is there.
    std::fs::write(agent.directory.join("planted"), &planted["pw"]).unwrap();
    let seen = look_inside(world, "files", &planted, &places);
    assert!(seen[0].starts_with("FOUND pw file "), "{seen:?}");
}
