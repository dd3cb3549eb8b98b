//! Conditions: their types and reasons. The only place with strings of that kind.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The pool is watched and can be scaled, or the connection can be used.
pub const READY: &str = "Ready";
/// The connection exists and allows this namespace and pool.
pub const CONNECTION_READY: &str = "ConnectionReady";
/// The service accepts the credential.
pub const CREDENTIALS_VALID: &str = "CredentialsValid";
/// The service answers.
pub const REACHABLE: &str = "Reachable";
/// The service is asked less often than would be good.
pub const THROTTLED: &str = "Throttled";
/// A connection lets everybody, or lets use everything.
pub const WILDCARD_GRANT: &str = "WildcardGrant";
/// The pool is there and was polled.
pub const POOL_REACHABLE: &str = "PoolReachable";
/// Jobs wait that no template can take.
pub const UNMATCHED_JOBS: &str = "UnmatchedJobs";
/// A limit keeps jobs waiting.
pub const SCALING_LIMITED: &str = "ScalingLimited";
/// Nothing will happen until somebody changes something (kstatus).
pub const STALLED: &str = "Stalled";
/// Something is under way (kstatus).
pub const RECONCILING: &str = "Reconciling";

/// Declares the reasons of conditions and Events as an enumeration with a static text each.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition holds, or what an Event tells.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }
        impl Reason {
            /// The text in conditions, Events and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    /// All is well.
    PoolWatched,
    /// All is well with the connection.
    Usable,
    /// The connection names this namespace and pool.
    Allowed,
    /// The service accepted the credential.
    Accepted,
    /// The last poll succeeded.
    Polled,
    /// Nothing was asked of the service yet.
    NotChecked,
    /// No template lacks.
    AllMatched,
    /// No template satisfies some job's demands.
    NoTemplate,
    /// No limit is in the way.
    WithinLimits,
    /// Nothing is wrong.
    NotStalled,
    /// Nothing is under way.
    Settled,
    /// Pods or registrations are being made or removed.
    Progressing,
    /// The AgentPool is being deleted.
    Terminating,
    /// `spec.paused` is set.
    Paused,
    /// No PoolConnection of that name.
    ConnectionNotFound,
    /// The connection does not allow this namespace and pool.
    NotAllowed,
    /// The connection's Secret or the key in it is missing.
    SecretNotFound,
    /// The connection's CA bundle is missing or unreadable.
    CaBundleNotFound,
    /// The connection cannot be used as it is written.
    InvalidConnection,
    /// The service refuses the credential.
    CredentialRejected,
    /// The credential ends soon.
    CredentialExpiring,
    /// The service may be asked as often as is needed.
    BudgetOk,
    /// `spec.requestBudget` is used up for now.
    BudgetSpent,
    /// The service says that little is left of what it allows.
    LimitNear,
    /// Every grant names its namespaces and pools.
    AllNamed,
    /// A grant has a `*`.
    GrantsToAll,
    /// The service accepts the credential, but not for this.
    PermissionMissing,
    /// The service does not answer.
    PoolUnreachable,
    /// The service asks to be asked less often.
    Throttled,
    /// The service answered what could not be read.
    UnreadableAnswer,
    /// The service has no pool of that name.
    PoolNotFound,
    /// Another AgentPool manages the same pool.
    PoolAlreadyManaged,
    /// The spec cannot be used.
    InvalidSpec,
    /// A template's pod cannot be used.
    InvalidTemplate,
    /// `scaling.maxAgents` or a template's is reached.
    MaxAgents,
    /// No identity is in reserve yet; one is being made.
    NoReserve,
    /// The schedule that applies has a maximum, and it is reached.
    Schedule,
    /// All of the service's parallel jobs are in use.
    Parallelism,
    /// `scaling.maxStartsPerMinute` is reached.
    RateLimit,
    /// A quota of the namespace is used up.
    QuotaExceeded,
    /// No node takes the pod.
    Unschedulable,
    /// An image cannot be pulled.
    ImagePullFailed,
    /// A job ran longer than `lifecycle.jobTimeout`.
    JobTimeout,
    /// A schedule began or ended.
    ScheduleActivated,
    /// Jobs wait because all of the service's parallel jobs are in use.
    ParallelismExhausted,
    /// No identity could be registered; the next attempt waits.
    RegistrationFailed,
    /// An agent is starting for it.
    AgentStarting,
    /// A job ended.
    JobFinished,
    /// A job was failed because its agent was lost.
    JobLost,
    /// Pods were created.
    ScaledUp,
    /// Idle agents were removed.
    ScaledDown,
    /// An agent did not come up in time.
    StartupTimeout,
    /// An agent's pod was evicted.
    AgentEvicted,
    /// An agent's pod ended with an error.
    AgentFailed,
    /// An agent's pod disappeared.
    AgentLost,
    /// The API server refused the pod.
    PodRefused,
    /// A registration or Secret that belonged to nothing was removed.
    OrphanRemoved,
    /// Registrations were left behind at deletion.
    DeregisterGaveUp,
    /// A sealed identity was altered.
    IdentityTampered,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One condition, in the usual shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 8))]
    pub status: String,
    /// One word for programs.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the status changed last.
    #[schemars(length(max = 40))]
    pub last_transition_time: String,
    /// The generation that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What a condition says, before it is compared with what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The type.
    pub kind: &'static str,
    /// Yes, no, or not known.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Verdict {
    /// A verdict that is known.
    pub fn new(
        kind: &'static str,
        status: bool,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            status: Some(status),
            reason,
            message: message.into(),
        }
    }

    /// A verdict that is not known yet.
    pub fn unknown(kind: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// The longest message of a condition, in characters.
const MAX_MESSAGE: usize = 1024;

/// Turns verdicts into conditions; a status that did not change keeps its time.
pub fn merge(
    previous: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let status = match verdict.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = previous
                .iter()
                .find(|condition| condition.kind == verdict.kind && condition.status == status)
                .map_or_else(|| format!("{now:.0}"), |c| c.last_transition_time.clone());
            Condition {
                kind: verdict.kind.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.as_str().to_owned(),
                message: verdict.message.chars().take(MAX_MESSAGE).collect(),
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let first = merge(
            &[],
            vec![Verdict::new(READY, true, Reason::PoolWatched, "")],
            Some(1),
            at(0),
        );
        let second = merge(
            &first,
            vec![Verdict::new(READY, true, Reason::Usable, "x")],
            Some(2),
            at(9),
        );
        assert_eq!(
            second[0].last_transition_time,
            first[0].last_transition_time
        );
        assert_eq!(
            (second[0].reason.as_str(), second[0].observed_generation),
            ("Usable", Some(2))
        );
        let third = merge(
            &second,
            vec![Verdict::unknown(READY, Reason::NotChecked, "")],
            Some(2),
            at(9),
        );
        assert_eq!(third[0].last_transition_time, "1970-01-01T00:00:09Z");
    }
}
