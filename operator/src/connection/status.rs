//! What a connection's status says. Pure.

use super::Problem;
use super::health::Standing;
use crate::crd::conditions::{self, Condition, Reason, Verdict};
use crate::crd::connection::{PoolConnectionStatus, RateLimitStatus};
use dayfly_client::RateLimit;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A credential that ends within this time should be renewed.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What is known of a connection.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Why it cannot be used.
    pub problem: Option<Problem>,
    /// How the service takes the credential.
    pub standing: Standing,
    /// Pools that are watched through it.
    pub pools: usize,
    /// Identities in reserve, of all its AgentPools.
    pub reserve: usize,
    /// When the credential ends, if that is known.
    pub expires: Option<Timestamp>,
    /// What the credential lacks, as far as the service tells.
    pub lacks: Vec<String>,
    /// What the service said about how often it may be asked.
    pub rate: RateLimit,
    /// Whether the own budget is used up for now.
    pub budget_spent: bool,
    /// Grants with a `*`.
    pub wildcards: Vec<String>,
}

/// What the status says now.
pub fn status(
    previous: &PoolConnectionStatus,
    facts: &Facts,
    generation: Option<i64>,
    now: Timestamp,
) -> PoolConnectionStatus {
    let credential = credential(facts, now);
    let reachable = reachable(&facts.standing);
    let ready = ready(&credential, &reachable);
    let verdicts = vec![
        ready,
        credential,
        reachable,
        throttled(facts, now),
        wildcards(&facts.wildcards),
    ];
    PoolConnectionStatus {
        observed_generation: generation,
        pools_in_use: number(facts.pools),
        identities_in_reserve: number(facts.reserve),
        credential_expires: facts.expires.map(moment),
        rate_limit: rate_limit(facts, now),
        conditions: conditions::merge(&previous.conditions, verdicts, generation, now),
    }
}

/// What people should hear of beside the status.
pub fn news(previous: &[Condition], next: &[Condition]) -> Vec<(Reason, String)> {
    const WORTH: [Reason; 3] = [
        Reason::CredentialRejected,
        Reason::CredentialExpiring,
        Reason::PermissionMissing,
    ];
    let Some(now) = credentials_valid(next) else {
        return Vec::new();
    };
    let told = credentials_valid(previous).is_some_and(|before| before.reason == now.reason);
    let worth = WORTH.into_iter().filter(|_| !told);
    worth
        .filter(|reason| reason.as_str() == now.reason)
        .map(|reason| (reason, now.message.clone()))
        .collect()
}

/// What a merge makes `after` out of `before` by: it keeps what is left out, so that what is gone is null.
pub fn merged(before: &Value, after: Value) -> Value {
    let (Value::Object(before), Value::Object(mut after)) = (before, after.clone()) else {
        return after;
    };
    for (name, value) in before {
        let next = after.remove(name).unwrap_or(Value::Null);
        after.insert(name.clone(), merged(value, next));
    }
    Value::Object(after)
}

fn credentials_valid(conditions: &[Condition]) -> Option<&Condition> {
    let mut found = conditions.iter();
    found.find(|condition| condition.kind == conditions::CREDENTIALS_VALID)
}

fn credential(facts: &Facts, now: Timestamp) -> Verdict {
    let verdict = |status, reason, message: String| {
        Verdict::new(conditions::CREDENTIALS_VALID, status, reason, message)
    };
    if let Some((reason, message)) = &facts.problem {
        return verdict(false, *reason, message.clone());
    }
    let ends = facts.expires.map(|end| (end, end <= now));
    match &facts.standing.verdict {
        Some(Err((reason, message))) => {
            let when = match ends {
                Some((end, true)) => format!("it ended at {}; ", moment(end)),
                _ => String::new(),
            };
            let left = facts.reserve;
            let text = format!(
                "{when}{message}; agents that listen go on, their successors come from the reserve, in which {left} identities are left, and what needs the credential waits for its renewal"
            );
            verdict(false, *reason, text)
        }
        Some(Ok(())) if !facts.lacks.is_empty() => {
            verdict(true, Reason::PermissionMissing, facts.lacks.join("; "))
        }
        Some(Ok(())) => match ends {
            Some((end, true)) => verdict(
                true,
                Reason::CredentialExpiring,
                format!(
                    "it should have ended at {}, and is still accepted",
                    moment(end)
                ),
            ),
            Some((end, false)) if end - EXPIRES_SOON <= now => verdict(
                true,
                Reason::CredentialExpiring,
                format!(
                    "it ends at {}; put a new one into its Secret, nothing needs a restart",
                    moment(end)
                ),
            ),
            Some((end, false)) => verdict(
                true,
                Reason::Accepted,
                format!("it ends at {}", moment(end)),
            ),
            None => verdict(true, Reason::Accepted, String::new()),
        },
        None => Verdict::unknown(
            conditions::CREDENTIALS_VALID,
            Reason::NotChecked,
            "no AgentPool has used the connection yet",
        ),
    }
}

fn reachable(standing: &Standing) -> Verdict {
    let kind = conditions::REACHABLE;
    match &standing.reachable {
        None => Verdict::unknown(kind, Reason::NotChecked, ""),
        Some(Ok(())) => Verdict::new(kind, true, Reason::Polled, ""),
        Some(Err(problem)) => Verdict::new(kind, false, Reason::PoolUnreachable, problem.clone()),
    }
}

fn ready(credential: &Verdict, reachable: &Verdict) -> Verdict {
    [credential, reachable]
        .into_iter()
        .find(|verdict| verdict.status == Some(false))
        .map_or_else(
            || Verdict::new(conditions::READY, true, Reason::Usable, ""),
            |verdict| Verdict {
                kind: conditions::READY,
                ..verdict.clone()
            },
        )
}

fn throttled(facts: &Facts, now: Timestamp) -> Verdict {
    let verdict = |status, reason, message: String| {
        Verdict::new(conditions::THROTTLED, status, reason, message)
    };
    if let Some(until) = facts.standing.silent_until(now) {
        let message = format!("the service wants to be left alone until {}", moment(until));
        return verdict(true, Reason::Throttled, message);
    }
    if facts.budget_spent {
        let message = "spec.requestBudget is used up for now: polls wait".to_owned();
        return verdict(true, Reason::BudgetSpent, message);
    }
    if facts.rate.is_nearly_used_up() {
        let message = "little is left of what the service allows: polls are rare";
        return verdict(true, Reason::LimitNear, message.to_owned());
    }
    verdict(false, Reason::BudgetOk, String::new())
}

fn wildcards(grants: &[String]) -> Verdict {
    if grants.is_empty() {
        Verdict::new(conditions::WILDCARD_GRANT, false, Reason::AllNamed, "")
    } else {
        let text = grants.join("; ");
        Verdict::new(conditions::WILDCARD_GRANT, true, Reason::GrantsToAll, text)
    }
}

fn rate_limit(facts: &Facts, now: Timestamp) -> Option<RateLimitStatus> {
    let RateLimit {
        remaining, limit, ..
    } = facts.rate;
    let retry_after = facts.standing.silent_until(now).map(moment);
    let said = limit.is_some() || remaining.is_some() || retry_after.is_some();
    said.then_some(RateLimitStatus {
        limit,
        remaining,
        retry_after,
    })
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn after(error: Option<&dayfly_client::Error>) -> Facts {
        let mut standing = Standing::default();
        standing.learn(error, at(0));
        Facts {
            standing,
            ..Facts::default()
        }
    }

    fn accepted() -> Facts {
        after(None)
    }

    fn told(facts: &Facts, now: i64) -> PoolConnectionStatus {
        status(&PoolConnectionStatus::default(), facts, Some(1), at(now))
    }

    fn condition(status: &PoolConnectionStatus, kind: &str) -> (String, String, String) {
        let found = status.conditions.iter().find(|one| one.kind == kind);
        let found = found.unwrap().clone();
        (found.status, found.reason, found.message)
    }

    #[test]
    fn what_is_not_known_any_more_leaves_the_status() {
        let before = serde_json::json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 4 });
        let after = serde_json::json!({ "a": 1, "b": { "c": 5 }, "f": 6 });
        assert_eq!(
            merged(&before, after),
            serde_json::json!({ "a": 1, "b": { "c": 5, "d": null }, "e": null, "f": 6 })
        );
    }

    #[test]
    fn an_end_that_comes_near_is_told_and_is_news_once() {
        let facts = Facts {
            expires: Some(at(100 * DAY)),
            ..accepted()
        };
        let early = told(&facts, 10 * DAY);
        assert_eq!(
            early.credential_expires.as_deref(),
            Some("1970-04-11T00:00:00Z")
        );
        let valid = condition(&early, conditions::CREDENTIALS_VALID);
        assert_eq!((valid.0.as_str(), valid.1.as_str()), ("True", "Accepted"));
        assert!(news(&[], &early.conditions).is_empty());
        let near = told(&facts, 87 * DAY);
        let valid = condition(&near, conditions::CREDENTIALS_VALID);
        assert_eq!(
            (valid.0.as_str(), valid.1.as_str()),
            ("True", "CredentialExpiring")
        );
        assert!(valid.2.contains("1970-04-11"), "{}", valid.2);
        let news_of = |before: &[Condition]| news(before, &near.conditions).len();
        assert_eq!(
            (news_of(&early.conditions), news_of(&near.conditions)),
            (1, 0)
        );
        let over = condition(&told(&facts, 101 * DAY), conditions::CREDENTIALS_VALID);
        assert!(over.2.contains("should have ended"), "{}", over.2);
    }

    #[test]
    fn a_rejected_credential_says_when_it_ended_and_what_is_left_in_reserve() {
        let facts = Facts {
            expires: Some(at(DAY)),
            reserve: 3,
            ..after(Some(&dayfly_client::Error::Unauthorized(None)))
        };
        let status = told(&facts, 2 * DAY);
        let (valid, reason, message) = condition(&status, conditions::CREDENTIALS_VALID);
        assert_eq!(
            (valid.as_str(), reason.as_str()),
            ("False", "CredentialRejected")
        );
        for words in ["ended at 1970-01-02", "3 identities are left"] {
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(status.identities_in_reserve, 3);
        assert_eq!(
            condition(&status, conditions::READY).1,
            "CredentialRejected"
        );
        assert_eq!(news(&[], &status.conditions).len(), 1);
    }

    #[test]
    fn what_slows_the_operator_down_and_who_is_let_in_without_a_name_are_conditions() {
        let calm = told(&accepted(), 0);
        let of = |status: &PoolConnectionStatus, kind| {
            let (status, reason, _) = condition(status, kind);
            format!("{status} {reason}")
        };
        assert_eq!(of(&calm, conditions::THROTTLED), "False BudgetOk");
        assert_eq!(of(&calm, conditions::WILDCARD_GRANT), "False AllNamed");
        let rate = RateLimit {
            limit: Some(200),
            remaining: Some(3),
            wait: None,
        };
        let mut facts = Facts {
            rate,
            wildcards: vec!["allow[0]: every namespace may use every pool".to_owned()],
            ..accepted()
        };
        let near = told(&facts, 1);
        assert_eq!(of(&near, conditions::THROTTLED), "True LimitNear");
        assert_eq!(of(&near, conditions::WILDCARD_GRANT), "True GrantsToAll");
        assert_eq!(near.rate_limit.unwrap().remaining, Some(3));
        facts.budget_spent = true;
        assert_eq!(
            of(&told(&facts, 1), conditions::THROTTLED),
            "True BudgetSpent"
        );
        let busy = dayfly_client::Error::Throttled { after: None };
        facts.standing.learn(Some(&busy), at(0));
        let silent = told(&facts, 1);
        assert_eq!(of(&silent, conditions::THROTTLED), "True Throttled");
        assert_eq!(of(&silent, conditions::READY), "True Usable");
        let until = silent.rate_limit.unwrap().retry_after;
        assert_eq!(until.as_deref(), Some("1970-01-01T00:00:30Z"));
    }
}
