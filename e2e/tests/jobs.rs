//! Jobs as their authors see them, and what is left of their agents: nothing.

use anyhow::{Context, Result, ensure};
use dayfly_e2e::deadline::until;
use dayfly_e2e::jobs::{GONE_LIMIT, JOB_LIMIT, bash, hold};
use dayfly_e2e::kubectl::{self, PortForward};
use dayfly_e2e::names::{OPERATOR, OPERATOR_NAMESPACE};
use dayfly_e2e::repository;
use dayfly_e2e::scenario::{Scenario, name_of};
use dayfly_wire::event::TaskResult;
use dayfly_wire::timeline::{RecordState, TASK};
use reqwest::StatusCode;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a pod may take to be created when the operator is told, on a busy machine.
const WOKEN_LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_checkout_and_two_scripts_succeeds_and_leaves_nothing() -> Result<()> {
    Scenario::with("steps", async |scenario| {
        let text = "written in the repository";
        repository::push(&scenario.service, &scenario.name, &[("hello.txt", text)]).await?;
        let job = scenario
            .queue_with(json!({
                "repository": scenario.name,
                "variables": { "word": "from a variable" },
                "steps": [
                    { "checkout": "self" },
                    { "script": "echo the script says: $(word)" },
                    bash("echo the file says: \"$(cat \"$BUILD_SOURCESDIRECTORY/hello.txt\")\""),
                ],
            }))
            .await?;
        let identity = scenario.identity_of(&job).await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;

        let logs = scenario.service.logs(&job).await?;
        let feed = scenario.service.feed(job.request_id, 0).await?;
        for line in [
            "the script says: from a variable",
            &format!("the file says: {text}"),
        ] {
            ensure!(
                logs.contains(line),
                "{line:?} is not in the stored logs:\n{logs}"
            );
            let live = feed.value.iter().any(|entry| entry.line.contains(line));
            ensure!(live, "{line:?} is not in the live feed");
        }
        for record in scenario.service.records(&job).await? {
            let over = record.state == Some(RecordState::Completed);
            let well = record.result == Some(TaskResult::Succeeded);
            ensure!(over && well, "record {:?} is not completed", record.name);
        }
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_fails_the_job_skips_the_rest_and_leaves_nothing() -> Result<()> {
    Scenario::with("failing", async |scenario| {
        let steps = [
            bash("echo before; exit 7"),
            bash("echo never"),
            json!({ "bash": "echo afterwards", "condition": "always()" }),
        ];
        let job = scenario.queue(&steps).await?;
        let identity = scenario.identity_of(&job).await?;
        scenario.expect(&job, TaskResult::Failed).await?;

        let records = scenario.service.records(&job).await?;
        let mut steps: Vec<_> = records
            .iter()
            .filter(|record| record.kind.as_deref() == Some(TASK))
            .filter(|record| record.task.as_ref().is_some_and(|task| task.name == "Bash"))
            .collect();
        steps.sort_by_key(|record| record.order);
        let results: Vec<_> = steps.iter().filter_map(|record| record.result).collect();
        let wanted = [
            TaskResult::Failed,
            TaskResult::Skipped,
            TaskResult::Succeeded,
        ];
        ensure!(results == wanted, "the steps ended {results:?}");
        let issues = scenario.service.issues(&job).await?.join("\n");
        ensure!(
            issues.contains('7'),
            "no issue tells the exit code: {issues}"
        );
        let logs = scenario.service.logs(&job).await?;
        ensure!(
            !logs.contains("never"),
            "the step after the failure ran:\n{logs}"
        );
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_canceled_and_leaves_nothing() -> Result<()> {
    Scenario::with("cancel", async |scenario| {
        let job = scenario.queue(&[hold("echo never")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        scenario.service.cancel(job.request_id).await?;
        scenario.expect(&job, TaskResult::Canceled).await?;
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_cancelled_from_the_command_line_ends_canceled_with_the_reason() -> Result<()> {
    Scenario::with("cancelcli", async |scenario| {
        let job = scenario.queue(&[hold("echo never")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        let request = job.request_id.to_string();
        let arguments = ["jobs", "cancel", &request, "--reason", "it is not needed"];
        scenario.service.command_line(&arguments).await?;
        scenario.expect(&job, TaskResult::Canceled).await?;
        let list = ["jobs", "list", "--pool", &scenario.name];
        let shown = scenario.service.command_line(&list).await?;
        ensure!(shown.contains("it is not needed"), "no reason in:\n{shown}");
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_agent_whose_pod_is_deleted_finishes_its_job() -> Result<()> {
    Scenario::with("deleted", async |scenario| {
        // The step outlives its release by a few seconds, so that the signal to end meets it at work.
        let after = "for i in $(seq 50); do sleep 0.1; done; echo finished all the same";
        let job = scenario.queue(&[hold(after)]).await?;
        let identity = scenario.wait_holding(&job).await?;
        let arguments = [
            "-n",
            &scenario.name,
            "delete",
            "pod",
            &identity,
            "--wait=false",
        ];
        kubectl::run(&arguments).await?;
        until("the pod's deletion to be asked for", JOB_LIMIT, || async {
            let pod = scenario.pod(&identity).await?.context("the pod is gone")?;
            Ok(pod.metadata.deletion_timestamp)
        })
        .await?;
        scenario.release(&identity).await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;
        let logs = scenario.service.logs(&job).await?;
        ensure!(logs.contains("finished all the same"), "{logs}");
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pod_is_deleted_by_force_fails_with_a_reason_and_leaves_nothing() -> Result<()>
{
    Scenario::with("forced", async |scenario| {
        let job = scenario.queue(&[hold("echo never")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        let arguments = [
            "-n",
            &scenario.name,
            "delete",
            "pod",
            &identity,
            "--force",
            "--grace-period=0",
        ];
        kubectl::run(&arguments).await?;
        // Both clocks run from the deletion.
        let (request, gone) = tokio::join!(
            scenario
                .service
                .expect(scenario.pool, &job, TaskResult::Failed, GONE_LIMIT),
            scenario.wait_gone(&identity, GONE_LIMIT),
        );
        gone?;
        let message = request?.status_message.unwrap_or_default();
        ensure!(
            message.to_lowercase().contains("pod"),
            "the request does not say why it failed: {message:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_the_agent_does_not_know_fails_the_job_with_its_name_and_version() -> Result<()>
{
    Scenario::with("unknown", async |scenario| {
        let id = uuid::Uuid::new_v4();
        let task = json!({ "id": id, "name": "MakeCoffee", "version": "9.8.7" });
        let job = scenario
            .queue(&[json!({ "task": task, "displayName": "Coffee" })])
            .await?;
        let identity = scenario.identity_of(&job).await?;
        scenario.expect(&job, TaskResult::Failed).await?;
        let issues = scenario.service.issues(&job).await?;
        ensure!(issues.len() == 1, "there is not one issue but {issues:?}");
        for word in ["MakeCoffee", "9.8.7"] {
            ensure!(
                issues[0].contains(word),
                "{word} is not in the issue {issues:?}"
            );
        }
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_demands_no_agent_satisfies_fails_at_once_and_says_so() -> Result<()> {
    Scenario::with("unmatched", async |scenario| {
        let demand = "espresso.machine";
        let job = scenario
            .queue_with(json!({ "demands": [demand], "steps": [bash("echo never")] }))
            .await?;
        ensure!(
            job.result == Some(TaskResult::Failed),
            "it ended {:?}",
            job.result
        );
        let message = job.status_message.unwrap_or_default();
        ensure!(message.contains(demand), "the reason is {message:?}");
        ensure!(
            scenario.pods().await?.is_empty(),
            "a pod was created for it"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_wakes_an_operator_that_would_not_look_for_minutes() -> Result<()> {
    let scenario = Scenario::prepare("woken", "e2e-pat").await?;
    let outcome = async {
        let scaling = json!({ "minIdle": 0, "maxAgents": 4, "pollInterval": "5m" });
        scenario
            .put_agent_pool(json!({ "scaling": scaling }))
            .await?;
        scenario.wait_reserved(2).await?;
        let queued = std::time::Instant::now();
        let job = scenario.queue(&[bash("echo woken")]).await?;
        let pod = scenario.wait_pods(1).await?.remove(0);
        let waited = queued.elapsed();
        ensure!(
            waited < WOKEN_LIMIT,
            "the pod came after {} s",
            waited.as_secs()
        );
        scenario.expect(&job, TaskResult::Succeeded).await?;
        scenario.wait_gone(name_of(&pod.metadata), GONE_LIMIT).await
    }
    .await;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_wakes_the_operator_without_the_secret() -> Result<()> {
    dayfly_e2e::install_tls();
    let target = format!("deploy/{OPERATOR}");
    let forward = PortForward::start(OPERATOR_NAMESPACE, &target, 8080).await?;
    let http = reqwest::Client::new();
    for path in ["/hooks/wake", "/hooks/wake/demo", "/hooks/wake/nothing"] {
        let url = format!("http://127.0.0.1:{}{path}", forward.port);
        for password in [None, Some(""), Some("guess")] {
            let request = http.post(&url).basic_auth("dayfly-pool", password);
            let status = request.send().await?.status();
            ensure!(status == StatusCode::UNAUTHORIZED, "{path}: it is {status}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_at_once_run_on_two_agents() -> Result<()> {
    Scenario::with("two", async |scenario| {
        let first = scenario.queue(&[hold("echo first")]).await?;
        let second = scenario.queue(&[hold("echo second")]).await?;
        let (one, two) = tokio::join!(
            scenario.wait_holding(&first),
            scenario.wait_holding(&second)
        );
        let agents = [one?, two?];
        ensure!(agents[0] != agents[1], "both run on {}", agents[0]);
        let pods: BTreeSet<_> = scenario
            .pods()
            .await?
            .iter()
            .map(|pod| name_of(&pod.metadata).to_owned())
            .collect();
        ensure!(
            pods == agents.iter().cloned().collect(),
            "the pods are {pods:?}"
        );
        for (agent, job) in agents.iter().zip([&first, &second]) {
            scenario.release(agent).await?;
            scenario.expect(job, TaskResult::Succeeded).await?;
        }
        for agent in &agents {
            scenario.wait_gone(agent, GONE_LIMIT).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_never_shown_however_a_step_writes_it() -> Result<()> {
    Scenario::with("secret", async |scenario| {
        let secret = format!("s3cr3t-{}", uuid::Uuid::new_v4().simple());
        let script = [
            "echo before:$WORD:after",
            "echo \"as an argument: $(word)\"",
            "printf '%s' \"${WORD:0:9}\"; sleep 0.3; printf '%s\\n' \"${WORD:9}\"",
            "printf '%s' \"$WORD\" | while IFS= read -rn1 c; do printf '%s' \"$c\"; done; echo",
            "echo \"##vso[task.logissue type=warning]an issue with $WORD in it\"",
            "echo \"##[section]$WORD\" >&2",
            "echo twice $WORD$WORD",
        ]
        .join("\n");
        let job = scenario
            .queue_with(json!({
                "variables": { "word": { "value": secret, "isSecret": true } },
                "steps": [
                    { "bash": script, "env": { "WORD": "$(word)" }, "displayName": "Say $(word)" },
                    bash("[ -z \"$WORD\" ] && echo not mapped: $((6 * 7))"),
                ],
            }))
            .await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;
        let shown = scenario.everything_shown(&job).await?;
        ensure!(!shown.contains(&secret), "the secret was shown");
        // The lines are there, so it is masking that kept the secret from being seen.
        for line in [
            "before:***:after",
            "an issue with *** in it",
            "not mapped: 42",
        ] {
            ensure!(shown.contains(line), "{line:?} is missing from:\n{shown}");
        }
        Ok(())
    })
    .await
}
