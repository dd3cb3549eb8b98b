//! Plans and timelines, with the job's token.

use crate::suite::Suite;
use crate::taken::Taken;
use crate::verdict::{Verdict, differs};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

fn timeline(taken: &Taken) -> String {
    format!("/timelines/{}", taken.queued.timeline_id)
}

async fn patch(suite: &Suite, taken: &Taken, record: Value) -> Verdict<Value> {
    let path = format!("{}/records", timeline(taken));
    let body = json!({"count": 1, "value": [record]});
    let request = suite.in_plan(taken, Method::PATCH, &path).json(&body);
    let mut merged = request.send().await?.list()?;
    merged
        .pop()
        .ok_or_else(|| differs("a change of a record answers no record"))
}

pub(super) async fn the_timeline_has_the_jobs_record(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let path = format!("{}?includeRecords=True", timeline(&taken));
    let document = suite
        .in_plan(&taken, Method::GET, &path)
        .send()
        .await?
        .document()?;
    let job = taken.queued.job_id.to_string();
    let records = document["records"].as_array();
    let found = records.is_some_and(|records| records.iter().any(|record| record["id"] == job));
    holds!(found, "no record has the job's id");
    Ok(())
}

pub(super) async fn a_patch_leaves_what_it_does_not_name(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let id = Uuid::new_v4();
    let first = json!({
        "id": id, "parentId": taken.queued.job_id, "type": "Task", "name": "a step", "order": 1,
        "state": "inProgress", "startTime": "2026-01-02T03:04:05.6789012Z",
    });
    patch(suite, &taken, first).await?;
    let second = json!({
        "id": id, "name": null, "state": "completed", "result": "succeeded",
        "issues": [{"type": "warning", "message": "beware"}],
    });
    let merged = patch(suite, &taken, second).await?;
    for (member, value) in [
        ("name", "a step"),
        ("state", "completed"),
        ("result", "succeeded"),
    ] {
        holds!(
            merged[member] == value,
            "{member} is {} after both changes",
            merged[member]
        );
    }
    holds!(
        merged.get("startTime").is_some(),
        "a change without startTime removed it"
    );
    holds!(
        merged["issues"][0]["message"] == "beware",
        "the issue is {}",
        merged["issues"]
    );
    Ok(())
}

pub(super) async fn another_plan_is_refused(suite: &Suite) -> Verdict {
    let (one, mut other) = (suite.take_job().await?, suite.take_job().await?);
    other.token = one.token.duplicate();
    let path = format!("{}/records", timeline(&other));
    let body = json!({"count": 0, "value": []});
    let request = suite.in_plan(&other, Method::PATCH, &path).json(&body);
    request
        .send()
        .await?
        .refused(403, "TaskOrchestrationPlanSecurityException")
}
