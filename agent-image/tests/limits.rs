//! Much, long, broken and missing: what the agent does when a job or its machine goes beyond what is usual.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // It is all test code.

mod support;

use dayfly_pool_service::rules::limits::Limits as Bounds;
use dayfly_wire::event::TaskResult;
use dayfly_wire::job::{JobMessage, Step, Variable, builtin};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::timeline::Record;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{AgentProcesses, World, descendants};
use uuid::Uuid;

/// What a process of the agent may need at most, whatever a job writes; and with the longest job message.
const MOST_MEMORY_KIB: u64 = 64 << 10;
const MOST_WITH_LONG_MESSAGE_KIB: u64 = 300 << 10;
const WAIT: &str = "until [ -e $AGENT_TEMPDIRECTORY/gate ]; do sleep 0.05; done";

/// The most memory that the listener and the worker have had so far, in KiB.
fn peaks(agent: &AgentProcesses) -> [u64; 2] {
    let processes = descendants(agent.agent.id());
    let (worker, _) = processes
        .iter()
        .find(|(_, line)| line.contains(" worker "))
        .unwrap();
    [agent.agent.id(), *worker].map(|process| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

fn assert_memory(agent: &AgentProcesses, what: &str, most: u64) {
    let [listener, worker] = peaks(agent);
    println!("{what}: the listener needed {listener} KiB, the worker {worker} KiB");
    for peak in [listener, worker] {
        assert!(peak < most, "{what}: {peak} KiB");
    }
}

fn open_gate(agent: &AgentProcesses) {
    std::fs::write(agent.directory.join("volume/work/_temp/gate"), "").unwrap();
}

/// How many lines, and how many of a byte, a record's stored log has. It may be longer than what one answer may be.
async fn count(
    world: &World,
    job: &QueuedJob,
    records: &[Record],
    name: &str,
    byte: u8,
) -> [usize; 2] {
    let record = records
        .iter()
        .find(|record| record.name.as_deref() == Some(name));
    let log = record.unwrap().log.as_ref().unwrap().id;
    let url = format!(
        "{}/{}/_apis/distributedtask/hubs/Build/plans/{}/logs/{log}?api-version=7.1",
        world.pool.url(),
        job.project_id,
        job.plan_id
    );
    let answer = reqwest::Client::new()
        .get(url)
        .basic_auth("", Some(world.pat.expose()))
        .header("accept", "text/plain")
        .send();
    let mut answer = answer.await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let (mut lines, mut found) = (0, 0);
    while let Some(piece) = answer.chunk().await.unwrap() {
        lines += piece.iter().filter(|found| **found == b'\n').count();
        found += piece.iter().filter(|found| **found == byte).count();
    }
    [lines, found]
}

/// A line so long, and so many lines.
async fn much_output(long: usize, many: usize) {
    let bounds = Bounds {
        log_bytes: 8 << 30,
        ..Bounds::default()
    };
    let world = World::within(bounds).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"pw": {"value": "hunter2-secret", "isSecret": true}},
            "timeoutInMinutes": 0,
            "steps": [
                // A character that is in nothing else that is written.
                {"bash": format!("set +x\nhead -c {long} /dev/zero | tr '\\0' '\\176'; echo $(pw); echo end of the long line"), "displayName": "Long"},
                {"bash": format!("set +x\nseq -f 'line %.0f ~' {many}"), "displayName": "Many"},
                {"bash": format!("set +x\necho both are over; {WAIT}")},
            ]
        }))
        .await;
    world.line(&job, "both are over").await;
    assert_memory(&agent, "much output", MOST_MEMORY_KIB);
    open_gate(&agent);
    let (result, records) = world.ended(&job).await;
    assert_eq!(result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
    let [pieces, written] = count(&world, &job, &records, "Long", b'~').await;
    assert_eq!(written, long);
    assert!(pieces < 20 + long / (1 << 19), "{pieces} pieces");
    let [_, lines] = count(&world, &job, &records, "Many", b'~').await;
    assert_eq!(lines, many);
}

/// Sized for a build without optimisation: length and number only make it take longer, the bounds are the same.
#[tokio::test(flavor = "multi_thread")]
async fn neither_long_lines_nor_many_lines_cost_memory_and_none_is_lost() {
    much_output(12 << 20, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make limits"]
async fn a_line_of_a_gigabyte_and_ten_million_lines_cost_no_more() {
    much_output(1 << 30, 10_000_000).await;
}

/// Makes a job message so long, as many long scripts do.
fn lengthen(message: &mut JobMessage, bytes: usize) {
    const SCRIPT: usize = 100_000;
    let length = |message: &JobMessage| serde_json::to_vec(message).unwrap().len();
    let step = |number: usize, length: usize| -> Step {
        serde_json::from_value(json!({
            "id": Uuid::from_u128(number as u128 + 1), "name": format!("s{number}"), "type": "task",
            "displayName": format!("Step {number}"), "condition": "false", "enabled": number.is_multiple_of(50),
            "reference": {"id": builtin::BASH, "name": "Bash", "version": "3.0.0"},
            "inputs": {"targetType": "inline", "script": "y".repeat(length)},
        }))
        .unwrap()
    };
    let before = length(message);
    message.steps.push(step(0, SCRIPT));
    let one = length(message) - before;
    let more = (bytes - before) / (one + 10) - 1;
    message
        .steps
        .extend((1..more).map(|number| step(number, SCRIPT)));
    let rest = bytes - length(message) - (one - SCRIPT) - 10;
    message.steps.push(step(more, rest));
}

/// What a process may need with a message of so many bytes: at 50 MB less than [`MOST_WITH_LONG_MESSAGE_KIB`].
fn most_with(bytes: usize) -> u64 {
    let most = MOST_MEMORY_KIB + u64::try_from(bytes).unwrap() * 9 / 2 / 1024;
    most.min(MOST_WITH_LONG_MESSAGE_KIB)
}

/// Starts a job whose message holds what this service does not put into one.
async fn started(
    world: &World,
    name: &str,
    job: Value,
    change: impl FnOnce(&mut JobMessage),
) -> (QueuedJob, AgentProcesses) {
    let identity = world.identity(name, false).await;
    let job = world.queue(job).await;
    world.pool.amend(job.request_id, change).await.unwrap();
    (job, world.agent_with(&identity))
}

async fn with_long_message(world: &World, bytes: usize) -> (QueuedJob, AgentProcesses) {
    let job = json!({"steps": [{"bash": format!("set +x\necho it runs; {WAIT}")}]});
    let change = |message: &mut JobMessage| lengthen(message, bytes);
    started(world, "agent-1", job, change).await
}

async fn long_message(bytes: usize) {
    let world = World::start().await;
    let (job, mut agent) = with_long_message(&world, bytes).await;
    world.line(&job, "it runs").await;
    assert_memory(&agent, "a long message", most_with(bytes));
    open_gate(&agent);
    let (result, _) = world.ended(&job).await;
    assert_eq!(result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_message_may_be_long() {
    long_message(6_000_000).await;
}

/// The token makes it a little longer still.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make limits"]
async fn a_job_message_may_be_as_long_as_services_make_them() {
    long_message(49_990_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make limits"]
async fn a_longer_job_message_fails_its_job_and_says_why() {
    let world = World::start().await;
    let (job, mut agent) = with_long_message(&world, 50_100_000).await;
    let (result, records) = world.ended(&job).await;
    assert_eq!(result, TaskResult::Failed);
    let issues: Vec<_> = records.iter().flat_map(|record| &record.issues).collect();
    let why = "and at most 50000000 can be run";
    assert!(
        issues.iter().any(|issue| issue.message.contains(why)),
        "{issues:?}"
    );
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make limits"]
async fn an_agent_leaves_when_its_message_is_too_long_to_be_read_at_all() {
    let world = World::start().await;
    let (_, mut agent) = with_long_message(&world, 55_000_000).await;
    assert_eq!(agent.exit().await.code(), Some(73));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_variables_and_of_secrets_cost_little() {
    let world = World::start().await;
    let job = json!({
        "variables": {"password": {"value": "hunter2-secret", "isSecret": true}},
        "steps": [
            {"bash": format!("set +x\necho \"$PLAIN_4999, $(secret.17) $(plain.3) $(holds.9)\"; {WAIT}")},
            {"bash": "echo and once more $(plain.0)"},
        ],
    });
    let change = |message: &mut JobMessage| {
        let variables = &mut message.variables;
        for number in 0..5000 {
            let value = format!("value {number}");
            variables.insert(format!("plain.{number}"), Variable::plain(value));
        }
        for number in 0..500 {
            let value = format!("{:032x}", u128::MAX / (number + 3));
            variables.insert(format!("secret.{number}"), Variable::secret(value.into()));
            let holds = Variable::plain(format!("https://$(password)@host-{number}/"));
            variables.insert(format!("holds.{number}"), holds);
        }
    };
    let (job, mut agent) = started(&world, "agent-1", job, change).await;
    world.line(&job, "value 4999, *** value 3 ***").await;
    assert_memory(&agent, "many variables", MOST_MEMORY_KIB);
    open_gate(&agent);
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_that_no_program_can_be_started_with_are_named() {
    let world = World::start().await;
    // More than the kernel takes of all; more than reaches the step host. One that is too long by itself is left out.
    for (agent, (variables, length)) in [(40, 100 << 10), (60, 100 << 10)].into_iter().enumerate() {
        let job = json!({"steps": [
            {"script": "echo never", "displayName": "Script"},
            {"script": "echo never", "condition": "always()", "displayName": "Again"},
        ]});
        let change = |message: &mut JobMessage| {
            for number in 0..variables {
                let long = Variable::plain("x".repeat(length));
                message.variables.insert(format!("long.{number}"), long);
            }
        };
        let name = format!("agent-{agent}");
        let (job, mut agent) = started(&world, &name, job, change).await;
        let outcome = world.outcome(&job).await;
        assert_eq!(outcome.result, TaskResult::Failed);
        assert_eq!(agent.exit().await.code(), Some(0));
        for name in ["Script", "Again"] {
            let issues = &outcome.record(name).issues;
            assert_eq!(issues.len(), 1, "{issues:?}");
            let message = &issues[0].message;
            assert!(
                message.contains("of which the longest is LONG_")
                    && message.contains("Put long values into files"),
                "{message}"
            );
        }
        world.forget(&agent.name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_service_takes_no_more_of_does_not_keep_the_others_from_it() {
    let bounds = Bounds {
        log_bytes: 1 << 20,
        ..Bounds::default()
    };
    let world = World::within(bounds).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"bash": "set +x\nseq -f 'line %.0f of very many' 100000", "displayName": "Many"},
            {"bash": "echo the last words", "displayName": "Few"},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Succeeded);
    let few = world.log_of(&job, &outcome, "Few").await;
    assert!(few.contains("the last words"), "{few}");
    let mut records = outcome.records.iter();
    let record = records.find(|record| record.id.0 == job.job_id.0).unwrap();
    let issues: Vec<_> = record
        .issues
        .iter()
        .map(|issue| issue.message.as_str())
        .collect();
    assert_eq!(issues.len(), 2, "{issues:?}");
    assert!(
        issues
            .iter()
            .all(|issue| issue.contains("takes no more of the log of")),
        "{issues:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_says_of_itself_is_cut_and_its_job_goes_on() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"bash": "set +x\nlong=$(head -c 400000 /dev/zero | tr '\\0' x)\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo \"##vso[task.logissue type=error;sourcepath=$long]$long\"; done\necho \"##vso[task.setprogress value=1]$long\"\nfor i in 1 2 3 4 5 6 7; do echo \"##vso[task.setvariable variable=v$i;isOutput=true]${long:0:100000}\"; done", "name": "long", "continueOnError": true},
            {"bash": "echo the last words"},
        ]}))
        .await;
    let (result, records) = world.ended(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(result, TaskResult::SucceededWithIssues);
    let mut all = records.iter();
    let record = all.find(|record| record.ref_name.as_deref() == Some("long"));
    let record = record.unwrap();
    // The last two variables are too much.
    assert_eq!((record.error_count, record.variables.len()), (Some(14), 5));
    assert_eq!(record.issues.len(), 10);
    assert!(record.issues.iter().all(|issue| issue.message.len() < 5000));
    let text = serde_json::to_string(record).unwrap();
    assert!(text.len() < 700_000, "{}", text.len());
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
    let task = |id: Uuid, display: &str, inputs: &Value| {
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

/// A control group with a limit, and a process in it. `None` where this machine has no such groups to give.
struct Limited(PathBuf);

impl Limited {
    fn with(process: u32, limit: u64) -> Option<Self> {
        let name = format!("dayfly-test-{process}");
        for (mount, file) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let group = Path::new(mount).join(&name);
            if !Path::new(mount).join("cgroup.procs").is_file()
                || std::fs::create_dir(&group).is_err()
            {
                continue;
            }
            let limited = Self(group);
            let set = std::fs::write(limited.0.join(file), limit.to_string())
                .and_then(|()| std::fs::write(limited.0.join("cgroup.procs"), process.to_string()));
            if set.is_ok() {
                return Some(limited);
            }
        }
        None
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Empty once its processes are gone; what is left of it harms nobody.
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_runs_out_of_memory_says_so_with_the_limit() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let Some(limited) = Limited::with(agent.step_host.id(), 96 << 20) else {
        return println!("not run: this machine gives no control groups");
    };
    let job = world
        .queue(json!({"steps": [
            {"bash": "set +x\ntail /dev/zero; code=$?; echo the program ended with $code; exit $code", "displayName": "Needs much"},
            {"bash": "set +x\n(tail /dev/zero) || echo it was borne", "displayName": "Bears it", "condition": "always()"},
            {"bash": "echo needs little", "condition": "always()", "displayName": "Needs little"},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    drop(limited);
    assert_eq!(outcome.result, TaskResult::Failed, "{}", outcome.log);
    let issues = |name: &str| -> Vec<String> {
        let issues = outcome.record(name).issues.iter();
        issues
            .map(|issue| format!("{:?} {}", issue.kind, issue.message))
            .collect()
    };
    let text = "Memory ran out while this step ran, and a process was killed: the job container's limit is 96 MiB.";
    let needs_much = issues("Needs much");
    assert!(needs_much[0].contains(text), "{needs_much:?}");
    assert!(needs_much[0].starts_with("Error "), "{needs_much:?}");
    assert!(
        needs_much[1].contains("Bash exited with code '137'"),
        "{needs_much:?}"
    );
    let bears_it = issues("Bears it");
    assert!(
        bears_it[0].starts_with("Warning ") && bears_it[0].contains(text),
        "{bears_it:?}"
    );
    assert!(issues("Needs little").is_empty());
}
