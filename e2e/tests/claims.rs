//! Who gets an identity: the one process of the one pod that it was made for, once. And what the identity is good
//! for: listening.
//!
//! The pods of these tests ask for a node that nobody has, so they never run, and the test plays their agent.

use anyhow::{Context, Result, ensure};
use dayfly_e2e::identity_api::{Answer, IdentityApi, listen_token, nonce, pod_token};
use dayfly_e2e::jobs::bash;
use dayfly_e2e::names::{IDENTITIES_NAMESPACE, PROJECT};
use dayfly_e2e::operator::{self, Metrics};
use dayfly_e2e::repository;
use dayfly_e2e::scenario::{Scenario, name_of};
use dayfly_e2e::service::scope;
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::agent::AgentReference;
use dayfly_wire::event::TaskResult;
use dayfly_wire::identity::{AUDIENCE, ClaimedIdentity};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::Session;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A template whose pods find no node.
fn stuck(idle: usize) -> Value {
    json!({
        "name": "stuck", "minIdle": idle, "capabilities": { "stuck": "yes" },
        "pod": { "spec": { "nodeSelector": { "dayfly.dev/e2e": "nowhere" } } },
    })
}

/// An AgentPool with pods that wait for a node: the test may claim their identities.
async fn with_waiting_pods(
    name: &str,
    pods: usize,
    test: impl AsyncFnOnce(&Scenario, &[Pod]) -> Result<()>,
) -> Result<()> {
    let scenario = Scenario::prepare(name, "e2e-pat").await?;
    let outcome = async {
        scenario
            .put_agent_pool(json!({ "templates": [stuck(pods)] }))
            .await?;
        test(&scenario, &scenario.wait_pods(pods).await?).await
    }
    .await;
    scenario.conclude(outcome).await
}

fn same_key(one: &ClaimedIdentity, other: &ClaimedIdentity) -> bool {
    one.private_key.expose() == other.private_key.expose() && one.agent_id == other.agent_id
}

/// That the operator's log tells of the refusal once, by name, and repeats nothing of the token.
async fn logged_once(identity: &str, token: &SecretText) -> Result<()> {
    let log = operator::log().await?;
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(identity) && line.to_lowercase().contains("refused"))
        .collect();
    ensure!(
        lines.len() == 1,
        "the log tells of the refusal {} times: {lines:#?}",
        lines.len()
    );
    for part in token.expose().split('.').filter(|part| part.len() > 20) {
        ensure!(!log.contains(part), "the log repeats a part of the token");
    }
    Ok(())
}

fn refusals(reason: &str) -> String {
    format!("dayfly_identity_refusals_total{{reason=\"{reason}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_claimed_by_one_process_once() -> Result<()> {
    with_waiting_pods("claim", 1, async |scenario, pods| {
        let identity = name_of(&pods[0].metadata);
        let api = IdentityApi::of(&pods[0]).await?;
        let metrics = Metrics::connect().await?;
        let before = metrics.value(&refusals("claimed")).await?;
        let token = pod_token(&pods[0], AUDIENCE).await?;
        let first = nonce();
        let claimed = api.expect(&token, identity, &first).await?;
        ensure!(claimed.agent_name == identity, "another agent's identity");
        ensure!(claimed.pool_id == scenario.pool, "another pool's identity");

        // An answer may get lost: the same process may ask again, and gets the same.
        let again = api.expect(&token, identity, &first).await?;
        ensure!(same_key(&claimed, &again), "the second answer is another");

        // Another process of the same pod may not, whatever it knows.
        let status = api.claim(&token, identity, &nonce()).await?.refused()?;
        ensure!(status == StatusCode::CONFLICT, "it is {status}");
        let after = metrics.value(&refusals("claimed")).await?;
        ensure!(after > before, "the refusal was not counted");
        logged_once(identity, &token).await?;

        // The key is the one that the service knows the agent by.
        let agents = scenario.service.agents(scenario.pool).await?;
        let agent = agents
            .iter()
            .find(|agent| agent.name == identity)
            .context("it is not registered")?;
        ensure!(agent.id == claimed.agent_id, "another agent");
        let key = AgentKey::from_base64(&claimed.private_key)?;
        let registered = agent.authorization.as_ref();
        if let Some(public) = registered.and_then(|found| found.public_key.as_ref()) {
            ensure!(*public == key.public().to_wire(), "another key");
        }
        listen_token(&scenario.service, &claimed).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_the_pods_own_for_this_purpose_is_refused() -> Result<()> {
    with_waiting_pods("tokens", 2, async |scenario, pods| {
        let identity = name_of(&pods[0].metadata);
        let api = IdentityApi::of(&pods[0]).await?;
        let metrics = Metrics::connect().await?;
        let own = pod_token(&pods[0], AUDIENCE).await?;
        let of_api_server = pod_token(&pods[0], "https://kubernetes.default.svc").await?;
        let of_neighbour = pod_token(&pods[1], AUDIENCE).await?;
        let namesake = namesake(scenario, identity).await?;
        let of_namesake = pod_token(&namesake, AUDIENCE).await?;
        let changed = {
            let (head, _) = own.expose().rsplit_once('.').context("no signature")?;
            SecretText::new(format!("{head}.{}", "A".repeat(342)))
        };
        for (token, status, reason) in [
            (&of_api_server, StatusCode::UNAUTHORIZED, "token"),
            (&changed, StatusCode::UNAUTHORIZED, "token"),
            (&"nonsense".into(), StatusCode::UNAUTHORIZED, "token"),
            (&of_neighbour, StatusCode::FORBIDDEN, "wrong_pod"),
            (&of_namesake, StatusCode::FORBIDDEN, "wrong_namespace"),
        ] {
            let before = metrics.value(&refusals(reason)).await?;
            let answered = api.claim(token, identity, &nonce()).await?.refused()?;
            ensure!(answered == status, "{reason}: it is {answered}");
            let after = metrics.value(&refusals(reason)).await?;
            ensure!(after > before, "{reason}: the refusal was not counted");
        }
        let log = operator::log().await?;
        for token in [&own, &of_api_server, &of_neighbour, &of_namesake] {
            for part in token.expose().split('.').filter(|part| part.len() > 100) {
                ensure!(!log.contains(part), "the log repeats a part of a token");
            }
        }
        for reason in ["wrong_pod", "wrong_namespace"] {
            let lines = log
                .lines()
                .filter(|line| line.contains(identity) && line.contains(reason))
                .count();
            ensure!(lines == 1, "the log tells of {reason} {lines} times");
        }
        // What others tried does not cost the pod its identity.
        api.expect(&own, identity, &nonce()).await?;
        let pods: Api<Pod> = Api::default_namespaced(scenario.kube.clone());
        pods.delete(identity, &DeleteParams::default().grace_period(0))
            .await?;
        Ok(())
    })
    .await
}

/// A pod of the same name in a namespace that the AgentPool has nothing to do with.
async fn namesake(scenario: &Scenario, name: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(scenario.kube.clone(), "default");
    Ok(pods.create(&PostParams::default(), &nowhere(name)?).await?)
}

/// A pod without a node.
fn nowhere(name: &str) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeSelector": { "dayfly.dev/e2e": "nowhere" },
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "agent", "image": "localhost/nothing",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_else_made_under_the_name_is_refused() -> Result<()> {
    with_waiting_pods("forged", 1, async |scenario, made| {
        let identity = name_of(&made[0].metadata);
        let api = IdentityApi::of(&made[0]).await?;
        let pods: Api<Pod> = Api::namespaced(scenario.kube.clone(), &scenario.name);
        pods.delete(identity, &DeleteParams::default().grace_period(0))
            .await?;
        let forged = pods
            .create(&PostParams::default(), &nowhere(identity)?)
            .await?;
        ensure!(
            forged.metadata.uid != made[0].metadata.uid,
            "it is still the first pod"
        );
        let token = pod_token(&forged, AUDIENCE).await?;
        let status = api.claim(&token, identity, &nonce()).await?.refused()?;
        ensure!(
            [StatusCode::FORBIDDEN, StatusCode::GONE].contains(&status),
            "it is {status}"
        );
        logged_once(identity, &token).await?;
        pods.delete(identity, &DeleteParams::default().grace_period(0))
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_key_that_was_changed_or_exchanged_is_not_handed_out() -> Result<()> {
    with_waiting_pods("tampered", 2, async |scenario, pods| {
        let names = [name_of(&pods[0].metadata), name_of(&pods[1].metadata)];
        let tokens = [
            pod_token(&pods[0], AUDIENCE).await?,
            pod_token(&pods[1], AUDIENCE).await?,
        ];
        let api = IdentityApi::of(&pods[0]).await?;
        let secrets: Api<Secret> = Api::namespaced(scenario.kube.clone(), IDENTITIES_NAMESPACE);
        let originals = [secrets.get(names[0]).await?, secrets.get(names[1]).await?];
        // One with a bit turned over; one with the other's, which is whole.
        let changed = [changed_copy(&originals[0])?, blob(&originals[0])?.clone()];
        for (original, blob) in originals.iter().zip(changed) {
            replace(&secrets, original, blob).await?;
        }
        let metrics = Metrics::connect().await?;
        for (identity, token) in names.iter().zip(&tokens) {
            let before = metrics.value(&refusals("tampered")).await?;
            let answer = api.claim(token, identity, &nonce()).await?;
            let status = answer.refused()?;
            ensure!(status == StatusCode::GONE, "it is {status}");
            let after = metrics.value(&refusals("tampered")).await?;
            ensure!(after > before, "the refusal was not counted");
        }
        // The second is no news: it came for the same reason from the same place.
        logged_once(names[0], &tokens[0]).await?;
        // Nobody waits for them: others take their place.
        for identity in names {
            scenario
                .wait_gone(identity, dayfly_e2e::jobs::JOB_LIMIT)
                .await?;
        }
        scenario.wait_pods(2).await.map(drop)
    })
    .await
}

fn blob(secret: &Secret) -> Result<&ByteString> {
    let data = secret.data.as_ref().context("no data")?;
    data.values().next().context("no value")
}

fn changed_copy(secret: &Secret) -> Result<ByteString> {
    let mut document: Value = serde_json::from_slice(&blob(secret)?.0)?;
    let text = document["ciphertext"].as_str().context("no ciphertext")?;
    let first = if text.starts_with('A') { "B" } else { "A" };
    document["ciphertext"] = format!("{first}{}", &text[1..]).into();
    Ok(ByteString(serde_json::to_vec(&document)?))
}

/// The Secret is immutable, so whoever wants to change it makes another one.
async fn replace(secrets: &Api<Secret>, original: &Secret, blob: ByteString) -> Result<()> {
    let name = name_of(&original.metadata);
    let key = original.data.iter().flatten().map(|(key, _)| key.clone());
    let copy = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: original.metadata.labels.clone(),
            annotations: original.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        data: Some(key.map(|key| (key, blob.clone())).collect()),
        ..original.clone()
    };
    secrets.delete(name, &DeleteParams::default()).await?;
    secrets.create(&PostParams::default(), &copy).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_agent_listens_and_does_nothing_else() -> Result<()> {
    let scenario = Scenario::prepare("listen", "e2e-pat").await?;
    let outcome = async {
        repository::push(&scenario.service, &scenario.name, &[("a.txt", "a")]).await?;
        let templates = json!([{ "name": "default" }, stuck(2)]);
        scenario
            .put_agent_pool(json!({ "templates": templates }))
            .await?;
        scenario.wait_reserved(1).await?;
        let pods = scenario.wait_pods(2).await?;
        let mine = claimed(&pods[0]).await?;
        let other = claimed(&pods[1]).await?;
        let finished = scenario.queue(&[bash("echo a line")]).await?;
        scenario.expect(&finished, TaskResult::Succeeded).await?;
        let listen = listen_token(&scenario.service, &mine).await?;
        let neighbour = listen_token(&scenario.service, &other).await?;

        let service = &scenario.service;
        let session = service
            .client_for(&neighbour)?
            .create_session(scenario.pool, &session_of(&other))
            .await?;
        let calls = forbidden_calls(&scenario, &finished, &other, &session).await?;
        for (method, path, body) in &calls {
            let status = service
                .status_for(Some(&listen), method, path, body.as_ref())
                .await?;
            ensure!(
                [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status),
                "{method} {path} answered {status}"
            );
            // The same call is a good one: with an administrator's token it is answered.
            if *method == Method::GET && !path.contains("/messages?") {
                let status = service.status_for(None, method, path, None).await?;
                ensure!(status.is_success(), "{path} answers everybody {status}");
            }
        }
        // What it is for.
        let client = service.client_for(&listen)?;
        let own = client
            .create_session(scenario.pool, &session_of(&mine))
            .await
            .context("its own session")?;
        client.agent(scenario.pool, mine.agent_id).await?;
        client.delete_session(scenario.pool, own.session_id).await?;
        // Nothing of the above ended the neighbour's session.
        let neighbour = service.client_for(&neighbour)?;
        neighbour
            .delete_session(scenario.pool, session.session_id)
            .await
            .context("the neighbour's session was ended by somebody else")
    }
    .await;
    scenario.conclude(outcome).await
}

async fn claimed(pod: &Pod) -> Result<ClaimedIdentity> {
    let token = pod_token(pod, AUDIENCE).await?;
    let api = IdentityApi::of(pod).await?;
    match api.claim(&token, name_of(&pod.metadata), &nonce()).await? {
        Answer::Granted(identity) => Ok(*identity),
        Answer::Refused(status, why) => anyhow::bail!("refused: {status} {why}"),
    }
}

fn session_of(identity: &ClaimedIdentity) -> Session {
    Session {
        owner_name: identity.agent_name.clone(),
        agent: AgentReference {
            id: identity.agent_id,
            name: identity.agent_name.clone(),
            ..AgentReference::default()
        },
        ..Session::default()
    }
}

/// Everything that an agent's token must not reach: sources, other agents, their queues, plans, the queue.
async fn forbidden_calls(
    scenario: &Scenario,
    job: &QueuedJob,
    other: &ClaimedIdentity,
    session: &Session,
) -> Result<Vec<(Method, String, Option<Value>)>> {
    let pool = format!("/_apis/distributedtask/pools/{}", scenario.pool);
    let (agent, session) = (other.agent_id, session.session_id);
    let request = job.request_id;
    let at = scope(job);
    let plan = format!(
        "/{}/_apis/distributedtask/hubs/{}/plans/{}",
        at.project, at.hub, at.plan
    );
    let records = scenario.service.records(job).await?;
    let log = records
        .iter()
        .find_map(|record| record.log.as_ref())
        .context("the finished job has no log")?;
    let lock = "lockToken=00000000-0000-0000-0000-000000000000";
    let key = tokio::task::spawn_blocking(AgentKey::generate).await??;
    let registration = json!({
        "name": "intruder", "version": "4.260.0", "maxParallelism": 1,
        "authorization": { "publicKey": key.public().to_wire() },
    });
    let job_document = json!({ "pool": scenario.name, "steps": [bash("echo")] });
    let get = |path: String| (Method::GET, path, None);
    Ok(vec![
        get(format!(
            "/{PROJECT}/_git/{}/info/refs?service=git-upload-pack",
            scenario.name
        )),
        get(format!("/{PROJECT}/_apis/git/repositories")),
        get(format!("{pool}/agents")),
        get(format!("{pool}/agents/{agent}")),
        (Method::POST, format!("{pool}/agents"), Some(registration)),
        (Method::DELETE, format!("{pool}/agents/{agent}"), None),
        (
            Method::PATCH,
            format!("{pool}/agents/{agent}"),
            Some(json!({ "id": agent, "enabled": false })),
        ),
        (
            Method::POST,
            format!("{pool}/sessions"),
            Some(serde_json::to_value(session_of(other))?),
        ),
        get(format!("{pool}/messages?sessionId={session}")),
        (
            Method::DELETE,
            format!("{pool}/messages/1?sessionId={session}"),
            None,
        ),
        (Method::DELETE, format!("{pool}/sessions/{session}"), None),
        get(format!("{pool}/jobrequests?completedRequestCount=0")),
        get(format!("{pool}/jobrequests/{request}")),
        (
            Method::PATCH,
            format!("{pool}/jobrequests/{request}?{lock}"),
            Some(json!({ "requestId": request })),
        ),
        (
            Method::DELETE,
            format!("{pool}/jobrequests/{request}?{lock}&result=failed"),
            None,
        ),
        get(format!("{plan}/timelines/{}", job.timeline_id)),
        (
            Method::PATCH,
            format!("{plan}/timelines/{}/records", job.timeline_id),
            Some(json!({ "count": 0, "value": [] })),
        ),
        (
            Method::POST,
            format!("{plan}/logs"),
            Some(json!({ "path": "logs\\x" })),
        ),
        (
            Method::POST,
            format!("{plan}/events"),
            Some(json!({ "name": "JobCompleted", "jobId": job.job_id, "requestId": request })),
        ),
        get(format!("{plan}/logs/{}", log.id)),
        (
            Method::POST,
            format!("/{PROJECT}/_apis/dayfly/jobs"),
            Some(job_document),
        ),
        get(format!("/{PROJECT}/_apis/dayfly/jobs/{request}")),
    ])
}
