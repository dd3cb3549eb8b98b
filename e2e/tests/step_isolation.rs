//! What a hostile step can find: nothing of the agent's. A script searches every file, process and socket that a step
//! reaches for the values themselves, which the test knows, and must find what is planted for it.

use anyhow::{Context, Result, ensure};
use dayfly_e2e::deadline::until;
use dayfly_e2e::jobs::{GONE_LIMIT, JOB_LIMIT, bash};
use dayfly_e2e::names::{OPERATOR_NAMESPACE, PROJECT};
use dayfly_e2e::scenario::{Scenario, name_of};
use dayfly_e2e::service::scope;
use dayfly_e2e::values::{PKCS8, PKCS8_TEXT, token_head};
use dayfly_e2e::{kubectl, repository};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::sealing::{SealingKey, SealingKeys};
use dayfly_wire::event::TaskResult;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SCAN: &str = include_str!("step_isolation/scan.sh");
/// Values to search for, by what they are called in the findings.
type Values = BTreeMap<String, Vec<u8>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_finds_no_key_no_token_and_no_credential_anywhere() -> Result<()> {
    let scenario = Scenario::prepare("isolation", "e2e-pat").await?;
    let outcome = async {
        scenario
            .put_agent_pool(json!({ "reserve": { "size": 3 } }))
            .await?;
        scenario.wait_reserved(3).await?;
        repository::push(&scenario.service, &scenario.name, &[("a.txt", "a")]).await?;
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let identities = scenario.secrets().await?;
        let values = values(&scenario, &identities, &secret).await?;
        let job = scenario
            .queue_with(json!({
                "repository": scenario.name,
                "variables": { "unmapped": { "value": secret, "isSecret": true } },
                "steps": [
                    { "checkout": "self" },
                    // The token was here, in an environment and in a script's text, and has to be gone again.
                    {
                        "bash": "test -n \"$TOKEN\" && test \"$TOKEN\" = '$(System.AccessToken)'",
                        "env": { "TOKEN": "$(System.AccessToken)" },
                    },
                    bash(&script(&values)),
                ],
            }))
            .await?;
        let identity = scenario.identity_of(&job).await?;
        let known = identities
            .iter()
            .any(|secret| name_of(&secret.metadata) == identity);
        ensure!(known, "{identity} is none of those whose keys are known");
        scenario.expect(&job, TaskResult::Succeeded).await?;
        let log = scenario.service.logs(&job).await?;
        judge(&Findings::of(&log), &values).with_context(|| format!("the findings:\n{log}"))?;
        scenario.wait_gone(&identity, GONE_LIMIT).await
    }
    .await;
    scenario.conclude(outcome).await
}

/// What the script found, sorted.
struct Findings<'a> {
    found: BTreeSet<(&'a str, &'a str)>,
    planted: BTreeMap<&'a str, &'a str>,
    lines: Vec<&'a str>,
}

impl<'a> Findings<'a> {
    /// Stored lines begin with their time.
    fn of(log: &'a str) -> Self {
        let lines: Vec<_> = log
            .lines()
            .filter_map(|line| line.split_once("Z ").map(|(_, text)| text))
            .collect();
        let after = |word: &'static str| lines.iter().filter_map(move |l| l.strip_prefix(word));
        Self {
            found: after("FOUND ")
                .filter_map(|f| f.split_once(" in "))
                .collect(),
            planted: after("PLANTED ")
                .filter_map(|p| p.split_once(' '))
                .collect(),
            lines,
        }
    }

    fn beginning_with(&self, word: &str) -> Vec<&str> {
        let lines = self.lines.iter().copied();
        lines.filter(|line| line.starts_with(word)).collect()
    }
}

fn judge(findings: &Findings<'_>, values: &Values) -> Result<()> {
    ensure!(
        findings.lines.contains(&"SEARCHED everything"),
        "the search did not come to its end"
    );
    // It finds: every value in a file, the canary in an environment and in a process' memory.
    for name in values.keys() {
        let place = format!("file /work/planted/{name}");
        ensure!(
            findings.found.contains(&(name.as_str(), place.as_str())),
            "the planted {name} was not found"
        );
    }
    for kind in ["environment", "memory"] {
        let pid = findings.planted.get(kind).context("nothing was planted")?;
        let place = format!("{kind} {pid}");
        ensure!(
            findings.found.contains(&("canary", place.as_str())),
            "the canary was not found in the {place}"
        );
    }
    // And it finds nothing else.
    let leaks: Vec<_> = findings
        .found
        .iter()
        .filter(|(name, place)| *name != "canary" && !place.starts_with("file /work/planted/"))
        .collect();
    ensure!(leaks.is_empty(), "a step finds {leaks:?}");
    for word in ["SOCKET ", "LISTENER "] {
        let lines = findings.beginning_with(word);
        ensure!(lines.is_empty(), "a step can reach {lines:?}");
    }
    // The step host is there, and nobody looks into it.
    for closed in ["memory 1", "environment 1", "descriptors 1"] {
        let line = format!("CLOSED {closed}");
        ensure!(findings.lines.contains(&line.as_str()), "{closed} is open");
    }
    Ok(())
}

/// The script with the values in it, in hexadecimal.
fn script(values: &Values) -> String {
    let lines: Vec<_> = values
        .iter()
        .map(|(name, bytes)| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("value {name} {hex}")
        })
        .collect();
    SCAN.replace("@VALUES@", &lines.join("\n"))
}

async fn values(scenario: &Scenario, identities: &[Secret], secret: &str) -> Result<Values> {
    let mut values = Values::new();
    let mut add = |name: &str, bytes: &[u8]| {
        values.insert(name.to_owned(), bytes.to_vec());
    };
    add(
        "canary",
        uuid::Uuid::new_v4().simple().to_string().as_bytes(),
    );
    add("secret-variable", secret.as_bytes());
    add(
        "administrator-token",
        scenario.service.pat().expose().as_bytes(),
    );
    add("operator-token", &credential(scenario).await?);
    add("job-token", token_head("dayfly-job").as_bytes());
    add("listen-token", token_head("dayfly-listen").as_bytes());
    add(
        "service-account-token",
        service_account_head(scenario).await?.as_bytes(),
    );
    add("private-key", &PKCS8);
    add("private-key-text", PKCS8_TEXT.as_bytes());
    let sealing = sealing_keys(scenario).await?;
    for (number, secret) in identities.iter().enumerate() {
        let key = private_key(&sealing, secret)?;
        let text = key.to_base64()?;
        add(
            &format!("key-{number}-text"),
            &text.expose().as_bytes()[800..832],
        );
        let prime = prime_of(&key.to_pkcs8()?)?;
        let part = part_in_one_line(&prime)?;
        add(&format!("key-{number}-prime"), &part);
        let turned: Vec<_> = part.into_iter().rev().collect();
        add(&format!("key-{number}-prime-little-endian"), &turned);
    }
    Ok(values)
}

/// The header of every service-account token of the cluster, from a real one.
async fn service_account_head(scenario: &Scenario) -> Result<String> {
    let arguments = ["-n", &scenario.name, "create", "token", "default"];
    let token = kubectl::run(&arguments).await?;
    let (head, _) = token.split_once('.').context("not a token")?;
    Ok(head.to_owned())
}

/// The token that the operator works with.
async fn credential(scenario: &Scenario) -> Result<Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(scenario.kube.clone(), OPERATOR_NAMESPACE);
    let data = secrets.get("e2e-pat").await?.data.context("no data")?;
    Ok(data.get("pat").context("no token")?.0.clone())
}

async fn sealing_keys(scenario: &Scenario) -> Result<SealingKeys> {
    let secrets: Api<Secret> = Api::namespaced(scenario.kube.clone(), OPERATOR_NAMESPACE);
    let data = secrets
        .get("dayfly-sealing")
        .await?
        .data
        .context("no data")?;
    let mut keys = Vec::new();
    for (name, bytes) in data {
        if let Some((_, id)) = name
            .strip_prefix("key-")
            .and_then(|rest| rest.split_once('-'))
        {
            keys.push(SealingKey::from_bytes(id, &bytes.0)?);
        }
    }
    Ok(SealingKeys::new(keys)?)
}

fn private_key(sealing: &SealingKeys, secret: &Secret) -> Result<AgentKey> {
    let data = secret.data.iter().flatten().next().context("no data")?;
    let (_, plain) = sealing.open(&data.1.0)?;
    let identity: Value = serde_json::from_slice(&plain)?;
    let text = identity["privateKey"].as_str().context("no key")?;
    Ok(AgentKey::from_base64(&text.into())?)
}

/// The first prime in PKCS#8: a sequence of version, algorithm, and octets with a sequence of numbers.
fn prime_of(der: &[u8]) -> Result<Vec<u8>> {
    let (mut outer, _) = element(der)?;
    for _ in 0..2 {
        outer = element(outer)?.1;
    }
    let (octets, _) = element(outer)?;
    let (mut numbers, _) = element(octets)?;
    for _ in 0..4 {
        numbers = element(numbers)?.1;
    }
    let (prime, _) = element(numbers)?;
    ensure!(
        (128..=129).contains(&prime.len()),
        "not a prime of RSA-2048"
    );
    Ok(prime.to_vec())
}

/// The content of the first DER element, and what comes after it.
fn element(der: &[u8]) -> Result<(&[u8], &[u8])> {
    let first = usize::from(*der.get(1).context("too short")?);
    let (length, start) = if first < 0x80 {
        (first, 2)
    } else {
        let bytes = der.get(2..2 + first - 0x80).context("too short")?;
        let length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        (length, 2 + bytes.len())
    };
    let content = der.get(start..start + length).context("too short")?;
    Ok((content, &der[start + length..]))
}

/// Eight-byte limbs may be kept in either order, so no more than one is searched for at a time; two that follow one
/// another are the same in both. The search is by line, so a line's end must not be in it.
fn part_in_one_line(prime: &[u8]) -> Result<Vec<u8>> {
    let aligned = &prime[prime.len() - 128..];
    let mut parts = aligned.chunks(16);
    let part = parts.find(|part| !part.contains(&b'\n'));
    Ok(part.context("a line's end everywhere")?.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_job_reaches_its_own_plan_and_dies_with_the_job() -> Result<()> {
    Scenario::with("token", async |scenario| {
        let service = &scenario.service;
        repository::push(service, &scenario.name, &[("a.txt", "a")]).await?;
        let other = scenario.queue(&[bash("echo another job")]).await?;
        scenario.expect(&other, TaskResult::Succeeded).await?;
        let (job, identity, token) = captured(scenario).await?;
        let head = token_head("dayfly-job");
        ensure!(token.expose().starts_with(&head), "not a job's token");

        let plan = |job: &QueuedJob| {
            let at = scope(job);
            format!(
                "/{}/_apis/distributedtask/hubs/{}/plans/{}",
                at.project, at.hub, at.plan
            )
        };
        let timeline = |job: &QueuedJob| format!("{}/timelines/{}", plan(job), job.timeline_id);
        let sources = format!(
            "/{PROJECT}/_git/{}/info/refs?service=git-upload-pack",
            scenario.name
        );
        let get = async |path: &str| {
            service
                .status_for(Some(&token), &Method::GET, path, None)
                .await
        };

        // While it runs: its own plan and its project's sources.
        for path in [&timeline(&job), &sources] {
            let status = get(path).await?;
            ensure!(status.is_success(), "GET {path} answered {status}");
        }
        // Nothing of another job, of pools and agents, of the queue.
        let pool = format!("/_apis/distributedtask/pools/{}", scenario.pool);
        let records = format!("{}/records", timeline(&other));
        let nothing = json!({ "count": 0, "value": [] });
        let ending = json!({
            "name": "JobCompleted", "jobId": other.job_id, "requestId": other.request_id,
        });
        let queue = json!({ "pool": scenario.name, "steps": [bash("echo")] });
        for (method, path, body) in [
            (Method::GET, timeline(&other), None),
            (Method::PATCH, records, Some(nothing)),
            (
                Method::POST,
                format!("{}/events", plan(&other)),
                Some(ending),
            ),
            (Method::GET, format!("{pool}/agents"), None),
            (Method::DELETE, format!("{pool}/agents/1"), None),
            (
                Method::GET,
                format!("{pool}/jobrequests?completedRequestCount=0"),
                None,
            ),
            (
                Method::POST,
                format!("/{PROJECT}/_apis/dayfly/jobs"),
                Some(queue),
            ),
        ] {
            let status = service
                .status_for(Some(&token), &method, &path, body.as_ref())
                .await?;
            ensure!(
                status == StatusCode::FORBIDDEN,
                "{method} {path} answered {status}"
            );
        }

        scenario.release(&identity).await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;
        for path in [&timeline(&job), &sources] {
            let status = get(path).await?;
            ensure!(
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status),
                "after the job's end GET {path} answered {status}"
            );
        }
        // It was never shown: the step had to disguise it.
        let shown = scenario.everything_shown(&job).await?;
        ensure!(!shown.contains(token.expose()), "the token was shown");
        Ok(())
    })
    .await
}

/// A job that holds, the agent that runs it, and the job's token, which a step that may have it gives away.
async fn captured(scenario: &Scenario) -> Result<(QueuedJob, String, SecretText)> {
    // Masking knows the usual disguises: hexadecimal in other letters is none of them.
    let reveal = "printf %s \"$SYSTEM_ACCESSTOKEN\" | od -An -v -tx1 -w64 | tr -d ' ' | tr 0-9a-f g-v \
        | sed 's/^/REVEALED /'\necho REVEALED-ALL\n\
        until [ -e /work/release ]; do sleep 0.1; done";
    let step = json!({
        "bash": reveal,
        "env": { "SYSTEM_ACCESSTOKEN": "$(System.AccessToken)" },
    });
    let job = scenario.queue(&[step]).await?;
    let service = &scenario.service;
    service
        .wait_for_line(&job, "REVEALED-ALL", JOB_LIMIT)
        .await?;
    let identity = scenario.identity_of(&job).await?;
    let hex = until("the token in the feed", JOB_LIMIT, || async {
        let feed = service.feed(job.request_id, 0).await?;
        let pieces: String = feed
            .value
            .iter()
            .filter_map(|entry| entry.line.split_once("REVEALED "))
            .map(|(_, piece)| piece.trim())
            .collect();
        Ok((!pieces.is_empty()).then_some(pieces))
    })
    .await?;
    Ok((job, identity, SecretText::new(plain_again(&hex)?)))
}

/// Turns the letters `g` to `v` back into the text whose hexadecimal digits they stand for.
fn plain_again(letters: &str) -> Result<String> {
    let digit = |letter: u8| letter.checked_sub(b'g').filter(|digit| *digit < 16);
    let bytes: Option<Vec<u8>> = letters
        .as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?))
        .collect();
    Ok(String::from_utf8(bytes.context("not as it was written")?)?)
}
