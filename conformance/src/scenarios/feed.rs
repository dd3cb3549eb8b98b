//! The console feed.

use crate::suite::Suite;
use crate::verdict::Verdict;
use reqwest::Method;
use serde_json::json;

pub(super) async fn lines_are_taken_without_an_answer(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let queued = &taken.queued;
    let path = format!(
        "/timelines/{}/records/{}/feed",
        queued.timeline_id, queued.job_id
    );
    let lines = json!({
        "count": 2, "value": ["first line", "second line"], "stepId": uuid::Uuid::new_v4(), "startLine": 1,
    });
    let request = suite.in_plan(&taken, Method::POST, &path).json(&lines);
    request.send().await?.empty()?;
    let path = format!(
        "/{}/_apis/dayfly/jobs/{}/feed",
        suite.project, queued.request_id
    );
    let page = suite.get(&path).await?.document()?;
    let shown = page["value"].to_string();
    holds!(
        shown.contains("second line"),
        "a reader of the console sees {shown}"
    );
    Ok(())
}
