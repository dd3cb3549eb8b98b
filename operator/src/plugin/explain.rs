//! Why a job has no agent. Pure.

use crate::crd::pool::AgentPool;
use crate::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;
use std::fmt;

/// Warnings that are shown at most; the newest.
const WARNINGS: usize = 5;

/// What is known of a job.
pub struct Facts<'a> {
    /// Its request.
    pub request: i64,
    /// The AgentPools that were looked at.
    pub pools: &'a [AgentPool],
    /// The pod that has it, or had it.
    pub pod: Option<&'a Pod>,
    /// What went wrong in the pool that it waits in, newest last.
    pub warnings: &'a [String],
}

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its request.
    pub request: i64,
    /// `Waiting`, `Running`, `Ended` or `Unknown`.
    pub state: &'static str,
    /// `namespace/name` of its AgentPool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_pool: Option<String>,
    /// One word for programs: the reason for which it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sentences for people.
    pub sentences: Vec<String>,
    /// What went wrong there lately.
    pub warnings: Vec<String>,
}

/// The pool that a request waits in.
pub fn pool_of(pools: &[AgentPool], request: i64) -> Option<&AgentPool> {
    pools.iter().find(|pool| {
        let waiting = pool.status.iter().flat_map(|status| &status.waiting);
        waiting.into_iter().any(|job| job.request == request)
    })
}

/// Says what is known of a job.
pub fn explain(facts: &Facts<'_>) -> Explanation {
    if let Some(pool) = pool_of(facts.pools, facts.request) {
        return waiting(facts, pool);
    }
    let mut answer = Explanation {
        request: facts.request,
        state: "Unknown",
        agent_pool: None,
        reason: None,
        sentences: Vec::new(),
        warnings: Vec::new(),
    };
    match facts.pod {
        Some(pod) => with_pod(&mut answer, pod),
        None => not_found(&mut answer, facts.pools),
    }
    answer
}

fn full_name(pool: &AgentPool) -> String {
    format!(
        "{}/{}",
        pool.namespace().unwrap_or_default(),
        pool.name_any()
    )
}

fn waiting(facts: &Facts<'_>, pool: &AgentPool) -> Explanation {
    let mut sentences = Vec::new();
    let mut reason = None;
    if let Some(status) = &pool.status {
        if let Some(job) = status
            .waiting
            .iter()
            .find(|job| job.request == facts.request)
        {
            let since = job.since.as_deref().map(|since| format!(" since {since}"));
            sentences.push(format!(
                "It waits{} because of {}.",
                since.unwrap_or_default(),
                job.reason
            ));
            if !job.message.is_empty() {
                sentences.push(format!("{}.", job.message.trim_end_matches('.')));
            }
            sentences.push(match job.template.as_str() {
                "" => "No template of the AgentPool satisfies its demands.".to_owned(),
                name => format!("Template {name} is the first that satisfies its demands."),
            });
            reason = Some(job.reason.clone());
        }
        let agents = &status.agents;
        sentences.push(format!(
            "The AgentPool has {} starting, {} idle and {} busy agents, {} in reserve, and may have {}.",
            agents.starting, agents.idle, agents.busy, agents.reserved, pool.spec.scaling.max_agents
        ));
        if let Some(parallelism) = &status.parallelism {
            sentences.push(format!(
                "The service runs {} of at most {} jobs at once.",
                parallelism.used, parallelism.total
            ));
        }
        if !status.active_schedule.is_empty() {
            sentences.push(format!("Schedule {} applies.", status.active_schedule));
        }
        let good = ["Ready", "ConnectionReady", "PoolReachable", "Converged"];
        let bad = status.conditions.iter().filter(|condition| {
            let is_good = good.contains(&condition.kind.as_str());
            (is_good && condition.status == "False")
                || (condition.kind == "Stalled" && condition.status == "True")
        });
        sentences.extend(bad.map(|condition| {
            format!(
                "{} is {}: {}: {}",
                condition.kind, condition.status, condition.reason, condition.message
            )
        }));
    }
    if pool.spec.paused {
        sentences.push(format!(
            "The AgentPool is paused; `kubectl dayfly drain --undo {}` lets it go on.",
            pool.name_any()
        ));
    }
    let newest = facts.warnings.len().saturating_sub(WARNINGS);
    Explanation {
        request: facts.request,
        state: "Waiting",
        agent_pool: Some(full_name(pool)),
        reason,
        sentences,
        warnings: facts.warnings[newest..].to_vec(),
    }
}

fn with_pod(answer: &mut Explanation, pod: &Pod) {
    let name = pod.name_any();
    let namespace = pod.namespace().unwrap_or_default();
    let of = pod.labels().get(names::POOL).cloned().unwrap_or_default();
    answer.agent_pool = Some(format!("{namespace}/{of}"));
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Unknown");
    if matches!(phase, "Succeeded" | "Failed") {
        answer.state = "Ended";
        let message = status
            .and_then(|status| status.message.clone())
            .unwrap_or_default();
        answer.sentences.push(
            format!("Its pod {name} has ended: {phase}. {message}")
                .trim_end()
                .to_owned(),
        );
    } else {
        answer.state = "Running";
        let since = pod.annotations().get(names::ACCEPTED_AT);
        let since = since
            .map(|since| format!(" since {since}"))
            .unwrap_or_default();
        answer
            .sentences
            .push(format!("It runs in pod {name}{since}."));
    }
    answer.sentences.push(format!(
        "`kubectl dayfly logs {} -n {namespace}` shows what its agent logged.",
        answer.request
    ));
}

fn not_found(answer: &mut Explanation, pools: &[AgentPool]) {
    answer.sentences.push(match pools.len() {
        0 => "No AgentPool was found.".to_owned(),
        1 => format!("AgentPool {} does not know it.", full_name(&pools[0])),
        count => format!("None of {count} AgentPools knows it."),
    });
    answer.sentences.push("It has ended and its pod is gone, or it is of another pool of the service, or of another namespace (-A).".to_owned());
    let hidden = pools.iter().filter(|pool| {
        let status = pool.status.as_ref();
        status.is_some_and(|status| {
            usize::try_from(status.jobs.queued).is_ok_and(|queued| queued > status.waiting.len())
        })
    });
    for pool in hidden {
        answer.sentences.push(format!(
            "In {} more jobs wait than its status names (the 20 oldest): it may be one of them.",
            full_name(pool)
        ));
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.agent_pool.as_deref().map(|pool| format!(" in {pool}"));
        writeln!(
            f,
            "Request {}: {}{}",
            self.request,
            self.state,
            place.unwrap_or_default()
        )?;
        for sentence in &self.sentences {
            writeln!(f, "  {}", shown(sentence))?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "Warnings, newest last:")?;
            for warning in &self.warnings {
                writeln!(f, "  {}", shown(warning))?;
            }
        }
        Ok(())
    }
}

/// What strangers wrote moves no cursor.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pools() -> Vec<AgentPool> {
        vec![super::super::table::tests::pool()]
    }

    fn explained(request: i64, pod: Option<&Pod>, warnings: &[String]) -> Explanation {
        explain(&Facts {
            request,
            pools: &pools(),
            pod,
            warnings,
        })
    }

    fn pod(phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "linux-abc", "namespace": "ci", "labels": {"dayfly.dev/pool": "linux"},
                "annotations": {"dayfly.dev/request-id": "9", "dayfly.dev/accepted-at": "2026-01-02T03:04:05Z"},
            },
            "status": {"phase": phase, "message": "out of memory"},
        }))
        .unwrap()
    }

    #[test]
    fn a_job_that_waits_is_told_with_its_reason_the_limits_and_what_went_wrong() {
        let warnings: Vec<String> = (0..9)
            .map(|n| format!("linux-{n}: FailedScheduling: no room"))
            .collect();
        let answer = explained(7, None, &warnings);
        assert_eq!(
            (answer.state, answer.reason.as_deref()),
            ("Waiting", Some("MaxAgents"))
        );
        assert_eq!(answer.agent_pool.as_deref(), Some("ci/linux"));
        assert_eq!(answer.warnings.len(), WARNINGS);
        assert!(answer.warnings[WARNINGS - 1].contains("linux-8"));
        let text = answer.to_string();
        for part in [
            "since 2026-01-02",
            "10 agents are the most.",
            "Template small",
            "3 busy",
            "may have 10",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(explained(8, None, &[]).to_string().contains("No template"));
    }

    #[test]
    fn a_job_that_has_an_agent_is_told_with_its_pod() {
        let answer = explained(9, Some(&pod("Running")), &[]);
        assert_eq!(answer.state, "Running");
        assert!(answer.to_string().contains("pod linux-abc since 2026"));
        let answer = explained(9, Some(&pod("Failed")), &[]);
        assert_eq!(answer.state, "Ended");
        assert!(answer.to_string().contains("out of memory"));
    }

    #[test]
    fn a_job_that_nobody_knows_says_where_it_may_be() {
        let answer = explained(4711, None, &[]);
        assert_eq!(answer.state, "Unknown");
        assert!(answer.sentences[0].contains("ci/linux"), "{answer}");
    }
}
