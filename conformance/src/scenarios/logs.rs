//! Logs.

use crate::suite::Suite;
use crate::taken::Taken;
use crate::verdict::{Verdict, differs};
use reqwest::Method;
use serde_json::json;

/// Makes a log and appends two pieces to it; answers its path.
async fn write(suite: &Suite, taken: &Taken) -> Verdict<String> {
    let draft = json!({
        "path": format!("logs\\{}", uuid::Uuid::new_v4()), "id": 0, "location": null,
        "createdOn": "0001-01-01T00:00:00", "lastChangedOn": "0001-01-01T00:00:00",
    });
    let created = suite.in_plan(taken, Method::POST, "/logs").json(&draft);
    let created = created.send().await?.document()?;
    let id = created["id"].as_i64().filter(|id| *id > 0);
    let id = id.ok_or_else(|| differs(format!("a new log has the id {}", created["id"])))?;
    let path = format!("/logs/{id}");
    for (piece, lines) in [("one\ntwo\n", 2), ("three\nfour\n", 4)] {
        let request = suite.in_plan(taken, Method::POST, &path);
        let appended = request
            .text("application/octet-stream", piece)
            .send()
            .await?
            .document()?;
        let count = &appended["lineCount"];
        holds!(
            count.as_i64() == Some(lines),
            "after {lines} lines lineCount is {count}"
        );
    }
    Ok(path)
}

pub(super) async fn a_log_is_made_appended_and_read(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let path = write(suite, &taken).await?;
    let log = suite
        .in_plan(&taken, Method::GET, &path)
        .send()
        .await?
        .expect(200)?;
    let lines: Vec<&str> = log.body.lines().collect();
    holds!(
        lines == ["one", "two", "three", "four"],
        "the log reads {lines:?}"
    );
    Ok(())
}

pub(super) async fn a_range_of_lines_is_read(suite: &Suite) -> Verdict {
    let taken = suite.take_job().await?;
    let path = write(suite, &taken).await? + "?startLine=2&endLine=3";
    let log = suite
        .in_plan(&taken, Method::GET, &path)
        .send()
        .await?
        .expect(200)?;
    let lines: Vec<&str> = log.body.lines().collect();
    holds!(lines == ["two", "three"], "lines 2 to 3 read {lines:?}");
    Ok(())
}
