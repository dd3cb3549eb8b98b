//! Much, long, broken and missing: what the agent does when a job or its machine goes beyond what is usual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use dayfly_wire::job::builtin;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{AgentProcesses, World, descendants};

/// What the worker may need at most, whatever a job writes.
const MOST_MEMORY_KIB: u64 = 64 << 10;
const WAIT: &str = "until [ -e $AGENT_TEMPDIRECTORY/gate ]; do sleep 0.05; done";

/// The most memory that the worker has had so far, in KiB.
fn peak(agent: &AgentProcesses) -> u64 {
    let processes = descendants(agent.agent.id());
    let (worker, _) = processes
        .iter()
        .find(|(_, line)| line.contains(" worker "))
        .unwrap();
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_gate(agent: &AgentProcesses) {
    std::fs::write(agent.directory.join("volume/work/_temp/gate"), "").unwrap();
}

/// Sized for a build without optimisation: length and number only make it take longer, the bounds are the same.
#[tokio::test(flavor = "multi_thread")]
async fn neither_long_lines_nor_many_lines_cost_memory_and_none_is_lost() {
    const LONG: usize = 12 << 20;
    const MANY: usize = 20_000;
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"pw": {"value": "hunter2-secret", "isSecret": true}},
            "steps": [
                {"bash": format!("head -c {LONG} /dev/zero | tr '\\0' x; echo $(pw); echo end of the long line"), "displayName": "Long"},
                {"bash": format!("seq -f 'line %.0f' {MANY}"), "displayName": "Many"},
                {"bash": format!("echo both are over; {WAIT}")},
            ]
        }))
        .await;
    world.line(&job, "both are over").await;
    let peak = peak(&agent);
    open_gate(&agent);
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
    let long = world.log_of(&job, &outcome, "Long").await;
    // Behind the time; the script itself is shown too.
    let written: usize = long
        .lines()
        .filter(|line| line.get(29..30) == Some("x"))
        .map(|line| line.matches('x').count())
        .sum();
    assert_eq!(written, LONG);
    assert!(long.contains("***") && !long.contains("hunter2"));
    assert!(long.contains("Z end of the long line"));
    let many = world.log_of(&job, &outcome, "Many").await;
    let lines = many.lines().filter(|line| line.contains("Z line ")).count();
    assert_eq!(lines, MANY);
    println!("the worker needed {peak} KiB");
    assert!(peak < MOST_MEMORY_KIB, "the worker needed {peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_shown_as_such_and_harm_nothing() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"bash": "head -c 3000000 /dev/urandom; echo; printf 'caf\\xe9 and \\xff\\xfe\\n'; printf 'a\\0b\\x1b[31mred\\n'; head -c 2000000 /dev/urandom >&2; echo; printf 'no line end \\xc3'"},
            {"script": "echo still here"},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
    for text in [
        "caf\u{fffd} and \u{fffd}\u{fffd}",
        "no line end \u{fffd}",
        "still here",
    ] {
        assert!(outcome.log.contains(text), "{text:?} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_variables_and_endless_ones_end_in_a_job_that_says_so() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let mut variables: serde_json::Map<String, Value> = (0..1800)
        .map(|number| (format!("many.{number}"), json!(format!("value {number}"))))
        .collect();
    variables.insert("one".to_owned(), "$(two)".into());
    variables.insert("two".to_owned(), "$(one)".into());
    for number in 0..60 {
        let next = number + 1;
        variables.insert(
            format!("twice{number}"),
            format!("$(twice{next})$(twice{next})").into(),
        );
    }
    variables.insert("twice60".to_owned(), "x".into());
    let job = world
        .queue(json!({"variables": variables, "steps": [
            {"bash": "echo $MANY_0 and $MANY_1799; echo \"[$ONE]\"; echo inline $(many.77)"},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    for text in [
        "value 0 and value 1799",
        "inline value 77",
        "[$(two)]",
        "Unable to expand variable 'one'",
        "Unable to expand variable 'twice0'",
    ] {
        assert!(outcome.log.contains(text), "{text:?} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_what_still_can_be_told_is() {
    let world = World::start().await;
    let identity = world.identity("agent-1", false).await;
    let job = world
        .queue(json!({"steps": [{"script": "echo shown all the same", "displayName": "Writes"}]}))
        .await;
    let directory = world.agent_directory("agent-1");
    // The job's own log is written to a device that is always full.
    let log = directory.join(format!("pages/{}.log", job.job_id));
    std::os::unix::fs::symlink("/dev/full", log).unwrap();
    let mut agent = world.agent_with(&identity);
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Succeeded);
    let text = world.log_of(&job, &outcome, "Writes").await;
    assert!(text.contains("shown all the same"), "{text}");
    let record = outcome
        .records
        .iter()
        .find(|record| record.id.0 == job.job_id.0)
        .unwrap();
    let issues: Vec<_> = record
        .issues
        .iter()
        .map(|issue| issue.message.as_str())
        .collect();
    assert_eq!(issues.len(), 1, "{issues:?}");
    assert!(issues[0].contains("No space left on device"), "{issues:?}");
}

/// A disk that is full soon. Only root can make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, kilobytes: u32) -> Self {
        let size = format!("size={kilobytes}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(at)
            .status();
        assert!(
            mounted.unwrap().success(),
            "failed to mount a disk; run the tests as root"
        );
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_work_volume_fails_the_steps_that_write_and_names_itself() {
    let world = World::start().await;
    let identity = world.identity("agent-1", false).await;
    let work = world.agent_directory("agent-1").join("volume/work");
    let _disk = SmallDisk::mount(&work, 1024);
    let mut agent = world.agent_with(&identity);
    let task = |id: uuid::Uuid, display: &str, inputs: &Value| {
        json!({"task": {"id": id, "name": "Artifacts", "version": "1.250.0"}, "displayName": display,
            "condition": "always()", "inputs": inputs})
    };
    let made = json!({"targetPath": "$(Agent.TempDirectory)/made", "artifactName": "made"});
    let back = json!({"targetPath": "$(Agent.TempDirectory)/back", "artifactName": "made"});
    let job = world
        .queue(json!({"steps": [
            {"bash": "mkdir $AGENT_TEMPDIRECTORY/made && head -c 400000 /dev/zero > $AGENT_TEMPDIRECTORY/made/x"},
            task(builtin::PUBLISH_ARTIFACT, "Publish", &made),
            {"bash": "head -c 5000000 /dev/zero > $AGENT_TEMPDIRECTORY/full", "displayName": "Fill"},
            task(builtin::DOWNLOAD_ARTIFACT, "Download", &back),
            {"bash": "echo still runs; rm $AGENT_TEMPDIRECTORY/full", "condition": "always()"},
            task(builtin::DOWNLOAD_ARTIFACT, "Download again", &back),
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Failed);
    let text = world.log_of(&job, &outcome, "Fill").await;
    assert!(text.contains("No space left on device"), "{text}");
    let issue = &outcome.record("Download").issues[0].message;
    assert!(
        issue.contains("Failed to write") && issue.contains("/back/x: No space left on device"),
        "{issue}"
    );
    assert!(outcome.log.contains("Z still runs"));
    let again = outcome.record("Download again").result;
    assert_eq!(again, Some(TaskResult::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_for_logs_that_fills_up_is_told_of_and_the_job_goes_on() {
    let world = World::start().await;
    let identity = world.identity("agent-1", false).await;
    let pages = world.agent_directory("agent-1").join("pages");
    let _disk = SmallDisk::mount(&pages, 256);
    let mut agent = world.agent_with(&identity);
    let job = world
        .queue(json!({"steps": [
            {"bash": "echo the beginning; seq -f 'line %.0f' 20000", "displayName": "Much"},
            {"bash": "echo shown in the live view"},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Succeeded);
    let text = world.log_of(&job, &outcome, "Much").await;
    assert!(text.contains("Z the beginning"));
    let issues = &outcome.record("Job").issues;
    let said = issues
        .iter()
        .filter(|it| it.message.contains("No space left on device"));
    assert_eq!(said.count(), 1, "{issues:?}");
}
