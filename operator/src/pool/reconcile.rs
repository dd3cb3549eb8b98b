//! One round of an AgentPool, and its loop.

use super::apply::Round;
use super::build::build;
use super::observe::{Observation, earlier_manager, observe};
use super::plan::{Plan, plan};
use super::retire::Site;
use super::status::{is_worth_writing, news, stalled, status};
use super::validate::{InvalidSpec, ValidPool, validate};
use crate::clock;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::crd::pool::AgentPool;
use crate::crd::status::AgentPoolStatus;
use crate::deadline::within;
use crate::mirror::PoolKey;
use crate::{names, report};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a pool in which nothing happens is looked at.
const CALM: Duration = Duration::from_secs(10);
/// How often one is looked at in which something is under way, whether or not anything wakes it.
const ACTIVE: Duration = Duration::from_secs(1);
/// How soon a round is tried again that met a change.
const AGAIN: Duration = Duration::from_millis(50);
/// How long after its deadline a deletion gives up.
const LAST_WORDS: SignedDuration = SignedDuration::from_secs(10);

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The API server refused the finalizer.
    #[error("failed to change the finalizer: {0}")]
    Finalizer(#[source] kube::Error),
    /// The object was changed since it was read; the next round sees the change.
    #[error("the object was changed meanwhile")]
    Changed,
    /// The API server refused the status.
    #[error("failed to write the status: {0}")]
    Status(#[source] kube::Error),
}

impl RoundError {
    /// One word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Finalizer(_) => "finalizer",
            Self::Changed => "changed",
            Self::Status(_) => "status",
        }
    }
}

/// What is kept between rounds.
#[derive(Default)]
struct Rounds {
    status: Option<AgentPoolStatus>,
    written: Option<Timestamp>,
    policy: Option<NetworkPolicy>,
    failures: u32,
    known_uid: Option<String>,
    surplus_since: BTreeMap<String, Timestamp>,
    swept: Option<Timestamp>,
}

impl Rounds {
    /// What the next plan has to know of this one.
    fn remember(&mut self, pool: &ValidPool, plan: &Plan, now: Timestamp) {
        for (template, surplus) in pool.templates.iter().zip(&plan.surplus) {
            if *surplus {
                self.surplus_since
                    .entry(template.name.clone())
                    .or_insert(now);
            } else {
                self.surplus_since.remove(&template.name);
            }
        }
        if !plan.orphans.is_empty() {
            self.swept = Some(now);
        }
    }
}

/// Works on one AgentPool until the object is gone. A panic in here ends this loop only.
pub async fn follow(context: Arc<Context>, key: PoolKey) {
    let bell = context.wakes.bell(&key);
    let mut rounds = Rounds::default();
    while !context.shutdown.is_cancelled() {
        tokio::select! {
            () = context.shutdown.cancelled() => break,
            () = context.until_leading() => {}
        }
        let Some(object) = context.pools.find(&key, "") else {
            break;
        };
        let pause = match &*object {
            DeserializeGuard(Ok(object)) => {
                let begun = std::time::Instant::now();
                let round = round(&context, &key, object, &mut rounds).await;
                context
                    .metrics
                    .reconcile
                    .observe(begun.elapsed().as_secs_f64());
                after(&context, &key, round, &mut rounds)
            }
            DeserializeGuard(Err(invalid)) => {
                tracing::warn!(pool = %key, error = invalid.error, "the AgentPool cannot be read; it is left alone");
                CALM
            }
        };
        tokio::select! {
            () = context.shutdown.cancelled() => {}
            () = bell.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    context.pollers.stop(&key);
    context.metrics.forget(&key);
    context.wakes.forget(&key);
    if let Some(uid) = &rounds.known_uid {
        context.backoffs.forget(uid);
    }
}

fn after(
    context: &Context,
    key: &PoolKey,
    round: Result<Duration, RoundError>,
    rounds: &mut Rounds,
) -> Duration {
    match round {
        Ok(pause) => {
            rounds.failures = 0;
            pause
        }
        Err(RoundError::Changed) => AGAIN,
        Err(error) => {
            let labels = crate::metrics::ReasonLabels {
                reason: error.reason(),
            };
            context
                .metrics
                .reconcile_errors
                .get_or_create(&labels)
                .inc();
            tracing::warn!(pool = %key, %error, "a round failed; it is tried again");
            rounds.failures = rounds.failures.saturating_add(1);
            Duration::from_millis(100 << rounds.failures.min(8))
        }
    }
}

async fn round(
    context: &Arc<Context>,
    key: &PoolKey,
    object: &AgentPool,
    rounds: &mut Rounds,
) -> Result<Duration, RoundError> {
    let now = clock::now();
    rounds.known_uid = object.uid();
    let previous = rounds
        .status
        .clone()
        .or_else(|| object.status.clone())
        .unwrap_or_default();
    let deleting = object.metadata.deletion_timestamp.is_some();
    let has_finalizer = object
        .finalizers()
        .iter()
        .any(|name| name == names::FINALIZER);
    if deleting && !has_finalizer {
        return Ok(CALM);
    }
    if let Some(other) = earlier_manager(context, object) {
        if deleting {
            remove_finalizer(context, object).await?;
            return Ok(CALM);
        }
        let message = format!(
            "AgentPool {other} manages pool {} already; delete one of the two",
            object.spec.pool
        );
        let next = stalled(
            &previous,
            object.metadata.generation,
            Reason::PoolAlreadyManaged,
            &message,
            now,
        );
        write_status(context, object, &previous, next, rounds, now).await?;
        return Ok(CALM);
    }
    let pool = match valid(context, object) {
        Ok(pool) => Arc::new(pool),
        Err(problem) => {
            let next = stalled(
                &previous,
                object.metadata.generation,
                Reason::InvalidSpec,
                &problem.to_string(),
                now,
            );
            write_status(context, object, &previous, next, rounds, now).await?;
            return Ok(CALM);
        }
    };
    if !deleting && !has_finalizer {
        add_finalizer(context, object).await?;
    }
    work(context, key, object, &pool, &previous, rounds, now).await
}

fn valid(context: &Context, object: &AgentPool) -> Result<ValidPool, InvalidSpec> {
    let places = &context.places;
    let facts = format!(
        "{}|{}|{}",
        places.agent_image, places.identity_url, places.identity_ca
    );
    validate(object, &facts)
}

async fn work(
    context: &Arc<Context>,
    key: &PoolKey,
    object: &AgentPool,
    pool: &Arc<ValidPool>,
    previous: &AgentPoolStatus,
    rounds: &mut Rounds,
    now: Timestamp,
) -> Result<Duration, RoundError> {
    let mut observation = observe(context, key, object, pool, now);
    observation.observed.surplus_since = rounds.surplus_since.clone();
    observation.observed.swept = rounds.swept;
    let plan = plan(pool, &observation.observed, now);
    rounds.remember(pool, &plan, now);
    let service_url = observation
        .link
        .as_ref()
        .map(|link| link.endpoint.url.as_str());
    let prepared = build(pool, &plan, &context.places, service_url, now);
    let site = Arc::new(site(&observation, pool, object));
    let mut round = Round {
        context,
        pool,
        observation: &observation,
        site: &site,
        policy: &mut rounds.policy,
    };
    let applied = round.apply(&plan, prepared).await;
    context.pollers.set_active(key, plan.active);
    let foreign = observation
        .observed
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.foreign);
    context.metrics.planned(key, &plan, foreign);
    if observation.observed.deleting.is_some() && may_go(&observation, &plan, pool, previous, now) {
        report_leftovers(context, &site, &plan).await;
        remove_finalizer(context, object).await?;
        return Ok(CALM);
    }
    // After a restart the last word stands until there is a newer one.
    if observation.is_blind() && !previous.conditions.is_empty() {
        return Ok(ACTIVE);
    }
    let parallelism = observation
        .observed
        .snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.parallelism);
    let mut next = status(
        previous,
        object.metadata.generation,
        pool,
        &plan,
        &applied,
        &observation.health,
        parallelism,
        now,
    );
    next.agents.foreign = i32::try_from(foreign).unwrap_or(i32::MAX);
    next.pool_id = observation
        .observed
        .snapshot
        .as_ref()
        .map(|s| s.pool.0)
        .or(next.pool_id);
    write_status(context, object, previous, next, rounds, now).await?;
    let busy = plan.active || plan.total.retired > 0 || !plan.register.is_empty();
    Ok(if busy { ACTIVE } else { CALM })
}

fn site(observation: &Observation, pool: &ValidPool, object: &AgentPool) -> Site {
    let pool_id = observation
        .observed
        .snapshot
        .as_ref()
        .map(|snapshot| snapshot.pool);
    let service = observation
        .link
        .clone()
        .zip(pool_id)
        .filter(|_| observation.observed.writable);
    Site {
        service,
        owner: observation.owner.clone(),
        retry: pool.retry,
        about: report::reference(object),
    }
}

/// Whether the finalizer may go: nothing is left, nothing can have been registered, or the deadline has passed.
fn may_go(
    observation: &Observation,
    plan: &Plan,
    pool: &ValidPool,
    previous: &AgentPoolStatus,
    now: Timestamp,
) -> bool {
    let never_polled = observation.observed.snapshot.is_none() && previous.pool_id.is_none();
    let knows = observation.observed.snapshot.is_some() || never_polled;
    let deadline =
        SignedDuration::try_from(pool.deregister_deadline).unwrap_or(SignedDuration::MAX);
    let overdue = observation
        .observed
        .deleting
        .is_some_and(|since| now.duration_since(since) > deadline.saturating_add(LAST_WORDS));
    (plan.nothing_left && knows) || overdue
}

async fn report_leftovers(context: &Context, site: &Site, plan: &Plan) {
    if plan.nothing_left {
        return;
    }
    let note = format!(
        "{} registrations may be left in the service; they are removed when an AgentPool manages the pool again",
        plan.total.retired + plan.total.busy + plan.total.idle + plan.total.reserved
    );
    tracing::warn!(pool = %site.owner.pool, note, "gave up on deregistration");
    context
        .reports
        .warning(&site.about, Reason::DeregisterGaveUp, note)
        .await;
}

async fn add_finalizer(context: &Context, object: &AgentPool) -> Result<(), RoundError> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(names::FINALIZER.to_owned());
    set_finalizers(context, object, finalizers).await
}

async fn remove_finalizer(context: &Context, object: &AgentPool) -> Result<(), RoundError> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|name| name != names::FINALIZER);
    set_finalizers(context, object, finalizers).await
}

/// The resource version makes it a conflict when somebody else changes them at the same time.
async fn set_finalizers(
    context: &Context,
    object: &AgentPool,
    finalizers: Vec<String>,
) -> Result<(), RoundError> {
    let api: Api<AgentPool> = Api::namespaced(
        context.kube.clone(),
        &object.namespace().unwrap_or_default(),
    );
    let patch = serde_json::json!({ "metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    } });
    let patched = within(api.patch(
        &object.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    ))
    .await;
    context.metrics.kube_write("patch", "agentpools", &patched);
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(RoundError::Changed),
        Err(error) => Err(RoundError::Finalizer(error)),
    }
}

async fn write_status(
    context: &Context,
    object: &AgentPool,
    previous: &AgentPoolStatus,
    next: AgentPoolStatus,
    rounds: &mut Rounds,
    now: Timestamp,
) -> Result<(), RoundError> {
    if !is_worth_writing(previous, &next, rounds.written, now) {
        return Ok(());
    }
    let api: Api<AgentPool> = Api::namespaced(
        context.kube.clone(),
        &object.namespace().unwrap_or_default(),
    );
    let patch = Patch::Merge(serde_json::json!({ "status": next }));
    let written =
        within(api.patch_status(&object.name_any(), &PatchParams::default(), &patch)).await;
    context
        .metrics
        .kube_write("patch", "agentpools/status", &written);
    match written {
        Ok(_) => {
            for (reason, message) in news(&previous.conditions, &next.conditions) {
                context
                    .reports
                    .condition(&report::reference(object), reason, message)
                    .await;
            }
            if let Some(note) = schedule_news(previous, &next) {
                let about = report::reference(object);
                context
                    .reports
                    .normal(&about, Reason::ScheduleActivated, note)
                    .await;
            }
            rounds.status = Some(next);
            rounds.written = Some(now);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(RoundError::Status(error)),
    }
}

fn schedule_news(previous: &AgentPoolStatus, next: &AgentPoolStatus) -> Option<String> {
    let (before, after) = (&previous.active_schedule, &next.active_schedule);
    match (before == after, after.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!("schedule {before} has ended")),
        (false, false) => Some(format!("schedule {after} applies")),
    }
}
