//! Tables for people. Pure.

use crate::crd::pool::AgentPool;
use crate::crd::status::AgentPoolStatus;
use kube::ResourceExt;
use std::fmt::Write;

/// One line for each pool.
pub fn overview(pools: &[AgentPool]) -> String {
    let header = [
        "NAMESPACE",
        "NAME",
        "POOL",
        "READY",
        "QUEUED",
        "RUNNING",
        "STARTING",
        "IDLE",
        "BUSY",
        "RESERVED",
        "DESIRED",
        "MAX",
        "LIMITED",
        "LAST ANSWER",
    ];
    let rows = pools.iter().map(|pool| {
        let status = pool.status.clone().unwrap_or_default();
        let agents = &status.agents;
        let numbers = [
            status.jobs.queued,
            status.jobs.running,
            agents.starting,
            agents.idle,
            agents.busy,
            agents.reserved,
            status.desired,
            pool.spec.scaling.max_agents,
        ];
        let mut row = vec![
            pool.namespace().unwrap_or_default(),
            pool.name_any(),
            pool.spec.pool.clone(),
            ready(&status),
        ];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(dash(&status.limited_by));
        row.push(
            status
                .service
                .last_success
                .unwrap_or_else(|| "never".to_owned()),
        );
        row
    });
    aligned(&header, &rows.collect::<Vec<_>>())
}

/// Everything of one pool.
pub fn detail(pool: &AgentPool) -> String {
    let mut text = overview(std::slice::from_ref(pool));
    let Some(status) = &pool.status else {
        return text + "\nThe operator has not looked at it yet.\n";
    };
    let templates = status.templates.iter().map(|template| {
        let numbers = [
            template.queued,
            template.reserved,
            template.starting,
            template.idle,
            template.busy,
        ];
        let mut row = vec![template.name.clone()];
        row.extend(numbers.map(|number| number.to_string()));
        row
    });
    text.push('\n');
    text += &aligned(
        &["TEMPLATE", "QUEUED", "RESERVED", "STARTING", "IDLE", "BUSY"],
        &templates.collect::<Vec<_>>(),
    );
    text += &left_over(status);
    if !status.waiting.is_empty() {
        let waiting = status.waiting.iter().map(|job| {
            let since = job.since.clone().unwrap_or_default();
            vec![
                job.request.to_string(),
                dash(&job.template),
                job.reason.clone(),
                since,
                job.message.clone(),
            ]
        });
        text.push('\n');
        text += &aligned(
            &["REQUEST", "TEMPLATE", "WAITS BECAUSE", "SINCE", "MESSAGE"],
            &waiting.collect::<Vec<_>>(),
        );
    }
    let conditions = status.conditions.iter().map(|condition| {
        vec![
            condition.kind.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        ]
    });
    text.push('\n');
    text += &aligned(
        &["CONDITION", "STATUS", "REASON", "MESSAGE"],
        &conditions.collect::<Vec<_>>(),
    );
    text
}

/// Agents that nobody expects to see; nothing when there are none.
fn left_over(status: &AgentPoolStatus) -> String {
    let agents = &status.agents;
    let mut text = String::new();
    for (count, what) in [
        (agents.draining, "on their way out"),
        (agents.failed, "failed, their pods kept"),
        (agents.retired, "waiting to be removed from the service"),
        (agents.orphaned, "registered for an AgentPool that is gone"),
        (agents.foreign, "in the service's pool that are not ours"),
    ] {
        if count > 0 {
            // Writing into a text does not fail.
            let _ = writeln!(text, "Agents {what}: {count}");
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("\n{text}")
    }
}

fn ready(status: &AgentPoolStatus) -> String {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.kind == "Ready");
    found.map_or_else(
        || "Unknown".to_owned(),
        |condition| condition.status.clone(),
    )
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

/// Columns as wide as they need to be; control characters of strangers are not shown.
pub(super) fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &String| -> String { cell.chars().filter(|c| !c.is_control()).collect() };
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows = rows.iter().map(|row| row.iter().map(clean).collect());
    let all: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().enumerate();
        let line: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:<0$}", width(column)))
            .collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::plugin) fn pool() -> AgentPool {
        serde_json::from_value(json!({
            "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
            "metadata": {"name": "linux", "namespace": "ci", "uid": "u-1"},
            "spec": {"connection": "contoso", "pool": "k8s-linux", "templates": [{"name": "small"}]},
            "status": {
                "jobs": {"queued": 2, "unmatched": 1, "running": 3}, "desired": 5, "limitedBy": "MaxAgents",
                "agents": {"busy": 3, "foreign": 1},
                "templates": [{"name": "small", "queued": 1, "busy": 3}],
                "waiting": [
                    {"request": 7, "template": "small", "reason": "MaxAgents", "message": "10 agents are the most", "since": "2026-01-02T03:04:05Z"},
                    {"request": 8, "reason": "NoTemplate", "message": "java -equals 21"},
                ],
                "conditions": [{"type": "Ready", "status": "True", "reason": "PoolWatched", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_pool_is_a_line_and_on_request_all_that_is_known() {
        let line = overview(&[pool()]);
        let second = line.lines().nth(1).unwrap();
        let cells: Vec<_> = second.split_whitespace().collect();
        let expected = [
            "ci",
            "linux",
            "k8s-linux",
            "True",
            "2",
            "3",
            "0",
            "0",
            "3",
            "0",
            "5",
            "10",
            "MaxAgents",
            "never",
        ];
        assert_eq!(cells, expected);
        let all = detail(&pool());
        for part in [
            "WAITS BECAUSE",
            "java -equals 21",
            "not ours: 1",
            "PoolWatched",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
        let mut fresh = pool();
        fresh.status = None;
        assert!(detail(&fresh).contains("has not looked"));
    }

    #[test]
    fn what_strangers_wrote_moves_no_cursor() {
        let rows = [vec!["a\u{1b}[2Jb\nc".to_owned(), "d".to_owned()]];
        assert_eq!(
            aligned(&["X", "Y"], &rows),
            "X      Y\na[2Jbc  d\n".replace("X      Y", "X       Y")
        );
    }
}
