//! Where an identity is in its life, told from what is known of it.

use super::facts::{
    AgentContainer, Blocked, Identity, Known, KnownPod, PodFact, PodPhase, Presence,
};
use crate::crd::conditions::Reason;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A registration without Secret and pod is left alone for this long, and a Secret without a registration: lists may be
/// older than they look. No other process is about to make the other half, since it would not have the Lease.
const HANDOVER: SignedDuration = SignedDuration::from_secs(10);
/// A pod that was asked for and that no watch has shown for this long is taken for gone.
const WATCH_LAG: SignedDuration = SignedDuration::from_secs(10);
/// How long an agent may take to leave after its request has ended.
const FAREWELL: SignedDuration = SignedDuration::from_secs(120);
/// How long after its grace period a pod is taken for lost with its node.
const NODE_SILENCE: SignedDuration = SignedDuration::from_secs(15);

/// What a pool's settings say of stages.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From pod to listening.
    pub startup_timeout: Duration,
    /// How long an image may fail to be pulled.
    pub image_pull_grace: Duration,
    /// Whether pods are kept whose agent ended as it should.
    pub keep_succeeded: bool,
}

/// The end of an agent of an earlier process of which nobody knows whether it claimed.
const UNCLAIMED: &str = "the agent had not claimed its identity when the operator restarted";

/// Where an identity is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Half made or half gone, too young to judge.
    Settling,
    /// Registered and sealed, without a pod.
    Reserved,
    /// Has a pod that does not listen yet.
    Starting,
    /// Listens, since then.
    Idle(Timestamp),
    /// Listens, and is disabled since then: it will leave.
    Draining(Timestamp),
    /// Has a job.
    Busy,
    /// Its job has ended or its pod was asked to go; it is on its way out by itself.
    Leaving,
    /// Only its pod is left, and that was asked to go: its node, or the node's silence, decides when.
    Vanishing,
    /// Its pod ended and is kept for people to look at.
    Kept(Ended),
    /// It has to be removed.
    Over(End),
}

/// A pod that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Since when it was there.
    pub since: Timestamp,
    /// Whether it failed.
    pub failed: bool,
}

/// How an identity came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// One word.
    pub reason: Reason,
    /// What a person, and the request, should be told.
    pub message: String,
    /// Whether the pod may be kept for people to look at.
    pub keep: bool,
}

impl End {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            keep: false,
        }
    }

    fn kept(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            keep: true,
            ..Self::new(reason, message)
        }
    }

    /// Whether the agent was lost, rather than removed on purpose.
    pub fn is_loss(&self) -> bool {
        matches!(
            self.reason,
            Reason::AgentLost | Reason::AgentFailed | Reason::AgentEvicted
        )
    }

    /// Whether the agent may have claimed after all, and may get a job at any time.
    pub fn is_unclaimed(&self) -> bool {
        self.message == UNCLAIMED
    }

    /// Whether a request that the agent held is to be failed.
    pub fn is_abnormal(&self) -> bool {
        self.reason != Reason::JobFinished
    }
}

/// Tells the stage.
pub fn stage(identity: &Identity, limits: Limits, now: Timestamp) -> Stage {
    match &identity.pod {
        Some(pod) => with_pod(identity, pod, limits, now),
        None => without_pod(identity, now),
    }
}

fn without_pod(identity: &Identity, now: Timestamp) -> Stage {
    let known = identity.known.as_ref();
    match known.map(|known| &known.pod) {
        Some(KnownPod::Creating) => return Stage::Starting,
        Some(KnownPod::Created {
            at, seen: false, ..
        }) if now.duration_since(*at) < WATCH_LAG => {
            return Stage::Starting;
        }
        Some(KnownPod::Created { .. } | KnownPod::Adopted { .. }) => return pod_gone(known),
        Some(KnownPod::None) | None => {}
    }
    match (&identity.registration, &identity.secret) {
        (Presence::Present(registration), Some(_)) if !registration.enabled => Stage::Over(
            End::new(Reason::OrphanRemoved, "the registration was disabled"),
        ),
        (Presence::Present(_) | Presence::Unknown, Some(_)) => Stage::Reserved,
        (Presence::Absent, Some(secret)) => {
            let settled = |at: Timestamp| {
                identity
                    .snapshot
                    .is_some_and(|begun| begun.duration_since(at) > HANDOVER)
            };
            if secret.created.is_none_or(settled) {
                Stage::Over(End::new(Reason::OrphanRemoved, "its registration is gone"))
            } else {
                Stage::Settling
            }
        }
        (Presence::Present(registration), None) => {
            let ended = known.and_then(|known| known.ended.as_deref());
            let old = registration
                .created
                .is_none_or(|at| now.duration_since(at) > HANDOVER);
            match ended {
                Some(message) => Stage::Over(End::new(Reason::AgentLost, message)),
                None if old => Stage::Over(End::new(
                    Reason::AgentLost,
                    "the agent's pod disappeared while nobody watched",
                )),
                None => Stage::Settling,
            }
        }
        (Presence::Absent, None) => {
            Stage::Over(End::new(Reason::OrphanRemoved, "nothing is left of it"))
        }
        (Presence::Unknown, None) => Stage::Settling,
    }
}

fn pod_gone(known: Option<&Known>) -> Stage {
    let finished = known.is_some_and(|known| known.finished.is_some());
    let message = known.and_then(|known| known.ended.clone());
    Stage::Over(if finished {
        End::new(Reason::JobFinished, "the agent is done")
    } else {
        End::new(
            Reason::AgentLost,
            message
                .unwrap_or_else(|| "the agent's pod was deleted while it was at work".to_owned()),
        )
    })
}

fn with_pod(identity: &Identity, pod: &PodFact, limits: Limits, now: Timestamp) -> Stage {
    if let Some(end) = ended(identity, pod, limits, now) {
        return end;
    }
    let known = identity.known.as_ref();
    match known.and_then(|known| known.pod.uid()) {
        Some(uid) if uid != pod.uid => {
            return Stage::Over(End::new(
                Reason::AgentLost,
                "another pod took the agent's name; its identity is burned",
            ));
        }
        None if known.is_none_or(|known| known.pod == KnownPod::None)
            && identity.secret.is_some() =>
        {
            // Whether it listens, so that it had claimed, is for the service to tell.
            return if identity.registration == Presence::Unknown {
                Stage::Starting
            } else {
                Stage::Over(End::new(Reason::AgentLost, UNCLAIMED))
            };
        }
        Some(_) | None => {}
    }
    if let Some(message) = known.and_then(|known| known.ended.as_deref())
        && pod.deletion.is_none()
    {
        // Its key was altered, or an end was decided that is not carried out yet: nobody may claim it any more.
        return Stage::Over(End::new(Reason::AgentLost, message));
    }
    if is_busy(identity, pod) {
        return at_work(identity, now);
    }
    if pod.deletion.is_some() {
        return Stage::Leaving;
    }
    let created = pod.created.unwrap_or(now);
    if identity.secret.is_some() || !is_listening(identity, pod) {
        return failed_start(pod, created, limits, now).map_or(Stage::Starting, Stage::Over);
    }
    idle(identity, created)
}

/// Why a pod that does not listen yet is given up.
fn failed_start(pod: &PodFact, created: Timestamp, limits: Limits, now: Timestamp) -> Option<End> {
    let older = |since: Timestamp, limit: Duration| {
        now.duration_since(since) > SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
    };
    let late = older(created, limits.startup_timeout);
    match &pod.blocked {
        Some(Blocked::ImagePull(words))
            if late || older(pod.scheduled.unwrap_or(created), limits.image_pull_grace) =>
        {
            let message = format!("an image cannot be pulled: {words}");
            Some(End::kept(Reason::ImagePullFailed, message))
        }
        // A node may be on its way for it until then.
        Some(Blocked::Unschedulable(words)) if late => {
            let message = format!("no node took the pod: {words}");
            Some(End::new(Reason::Unschedulable, message))
        }
        Some(Blocked::ImagePull(_) | Blocked::Unschedulable(_)) | None => late.then(|| {
            let message = startup_message(pod, limits.startup_timeout);
            End::new(Reason::StartupTimeout, message)
        }),
    }
}

/// The pod's own ends, which need no memory.
fn ended(identity: &Identity, pod: &PodFact, limits: Limits, now: Timestamp) -> Option<Stage> {
    let known = identity.known.as_ref();
    let removed =
        !matches!(identity.registration, Presence::Present(_)) && identity.secret.is_none();
    if removed && pod.deletion.is_some() && known.is_none_or(|known| known.listening.is_none()) {
        return Some(Stage::Vanishing);
    }
    let kept = |failed| {
        Stage::Kept(Ended {
            since: pod.created.unwrap_or(now),
            failed,
        })
    };
    let done = || {
        let keep = limits.keep_succeeded;
        let end = End::new(Reason::JobFinished, "the agent is done");
        if keep && removed && pod.deletion.is_none() {
            kept(false)
        } else {
            Stage::Over(End { keep, ..end })
        }
    };
    if let Some(finished) = known.and_then(|known| known.finished) {
        let closing =
            limits.keep_succeeded && pod.is_at_work() && now.duration_since(finished) < FAREWELL;
        return Some(if closing { Stage::Leaving } else { done() });
    }
    let end = match (&pod.agent, pod.phase) {
        (AgentContainer::Terminated { code: 0, .. }, _) | (_, PodPhase::Succeeded) => {
            // Its key was never claimed: it is no agent that ran there.
            if identity.secret.is_none() || pod.deletion.is_some() {
                return Some(done());
            }
            End::kept(Reason::AgentFailed, "the agent ended before it listened")
        }
        (_, PodPhase::Failed) if pod.reason == "Evicted" => End::kept(
            Reason::AgentEvicted,
            format!("the agent's pod was evicted: {}", pod.message),
        ),
        (AgentContainer::Terminated { code, reason }, _) => End::kept(
            Reason::AgentFailed,
            format!("the agent ended with exit code {code} ({reason})"),
        ),
        (_, PodPhase::Failed) => End::kept(
            Reason::AgentFailed,
            format!("the agent's pod failed: {} {}", pod.reason, pod.message)
                .trim_end()
                .to_owned(),
        ),
        _ => {
            let silent = pod
                .deletion
                .is_some_and(|at| now.duration_since(at) > NODE_SILENCE);
            return silent.then(|| {
                Stage::Over(End::new(
                    Reason::AgentLost,
                    "the agent's pod did not end within its grace period; its node does not answer",
                ))
            });
        }
    };
    if removed && pod.deletion.is_none() {
        return Some(kept(true));
    }
    Some(Stage::Over(end))
}

fn is_busy(identity: &Identity, pod: &PodFact) -> bool {
    pod.busy
        || identity.request.is_some()
        || identity
            .known
            .as_ref()
            .is_some_and(|known| known.accepted.is_some())
}

/// Busy while the request is unfinished, as far as the snapshot is new enough to tell.
fn at_work(identity: &Identity, now: Timestamp) -> Stage {
    let known = identity.known.as_ref();
    let accepted = known.and_then(|known| known.accepted).map(|(_, at)| at);
    let unseen = match (identity.snapshot, accepted) {
        (None, _) => true,
        (Some(begun), Some(at)) => begun <= at,
        (Some(_), None) => false,
    };
    if identity.request.is_some() || unseen {
        return Stage::Busy;
    }
    let overdue = known
        .and_then(|known| known.request_gone)
        .is_some_and(|since| now.duration_since(since) > FAREWELL);
    if overdue {
        return Stage::Over(End::new(
            Reason::JobFinished,
            "the agent did not leave after its job",
        ));
    }
    Stage::Leaving
}

fn is_listening(identity: &Identity, pod: &PodFact) -> bool {
    match &identity.known {
        Some(known) if known.listening.is_some() => true,
        Some(Known {
            pod: KnownPod::Adopted { .. },
            ..
        })
        | None => pod.agent == AgentContainer::Running,
        Some(_) => false,
    }
}

fn idle(identity: &Identity, created: Timestamp) -> Stage {
    let known = identity.known.as_ref();
    let registration = match &identity.registration {
        Presence::Present(registration) => registration,
        Presence::Unknown => return Stage::Idle(created),
        Presence::Absent => {
            return Stage::Over(End::new(
                Reason::AgentLost,
                "its registration was removed from the pool",
            ));
        }
    };
    let since = known
        .and_then(|known| known.listening)
        .or(registration.changed)
        .unwrap_or(created);
    if registration.enabled {
        Stage::Idle(since)
    } else {
        // Disabled by an earlier process: any snapshot is later than that.
        let disabled = known
            .and_then(|known| known.disabled)
            .unwrap_or(Timestamp::MIN);
        Stage::Draining(disabled)
    }
}

fn startup_message(pod: &PodFact, limit: Duration) -> String {
    let limit = humantime::format_duration(limit);
    match &pod.agent {
        AgentContainer::Waiting(reason) if !reason.is_empty() => {
            format!("the agent did not listen within {limit}: its container waits ({reason})")
        }
        AgentContainer::Waiting(_)
        | AgentContainer::Running
        | AgentContainer::Terminated { .. } => {
            format!("the agent did not listen within {limit}")
        }
    }
}
