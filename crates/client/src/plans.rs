//! What a worker reports, with its job token: records, live lines, logs, the end.

use crate::send::segment;
use crate::{Client, Error};
use bytes::Bytes;
use dayfly_wire::attachment::TaskAttachment;
use dayfly_wire::collection::Collection;
use dayfly_wire::event::JobEvent;
use dayfly_wire::ids::{JobId, LogId, PlanId, ProjectId, RecordId, TimelineId};
use dayfly_wire::log::{FeedLines, LogReference};
use dayfly_wire::timeline::{Record, Timeline};
use reqwest::Method;

/// Which plan of which project; the hub is `Build` for pipelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanScope {
    /// The project.
    pub project: ProjectId,
    /// The hub's name.
    pub hub: String,
    /// The plan.
    pub plan: PlanId,
}

impl PlanScope {
    fn path(&self, rest: &str) -> String {
        let Self { project, hub, plan } = self;
        format!("/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/{rest}")
    }
}

impl Client {
    /// Merges records into a timeline; absent members stay as they are.
    pub async fn update_records(
        &self,
        scope: &PlanScope,
        timeline: TimelineId,
        records: &[Record],
    ) -> Result<Vec<Record>, Error> {
        let body = serde_json::json!({ "count": records.len(), "value": records });
        let path = scope.path(&format!("timelines/{timeline}/records"));
        let call = self
            .call("update records", Method::PATCH, &path)
            .json(&body)?;
        Ok(self.send(call).await?.json::<Collection<Record>>()?.value)
    }

    /// A timeline with its records.
    pub async fn timeline(&self, scope: &PlanScope, id: TimelineId) -> Result<Timeline, Error> {
        let path = scope.path(&format!("timelines/{id}"));
        let call = self
            .call("read timeline", Method::GET, &path)
            .query("includeRecords", "true");
        self.send(call).await?.json()
    }

    /// Shows lines to whoever watches the job.
    pub async fn post_feed(
        &self,
        scope: &PlanScope,
        timeline: TimelineId,
        job: JobId,
        lines: &FeedLines,
    ) -> Result<(), Error> {
        let path = scope.path(&format!("timelines/{timeline}/records/{job}/feed"));
        self.send(self.call("post feed", Method::POST, &path).json(lines)?)
            .await
            .map(drop)
    }

    /// Makes a stored log.
    pub async fn create_log(&self, scope: &PlanScope, path: &str) -> Result<LogReference, Error> {
        let body = LogReference {
            path: Some(path.to_owned()),
            ..LogReference::default()
        };
        let call = self
            .call("create log", Method::POST, &scope.path("logs"))
            .json(&body)?;
        self.send(call).await?.json()
    }

    /// Appends text to a stored log.
    pub async fn append_log(
        &self,
        scope: &PlanScope,
        log: LogId,
        text: Bytes,
    ) -> Result<LogReference, Error> {
        let path = scope.path(&format!("logs/{log}"));
        self.send(self.call("append log", Method::POST, &path).bytes(text))
            .await?
            .json()
    }

    /// A plan's stored logs.
    pub async fn logs(&self, scope: &PlanScope) -> Result<Vec<LogReference>, Error> {
        let call = self.call("list logs", Method::GET, &scope.path("logs"));
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<LogReference>>()?.value)
    }

    /// Hangs a file on a record, by type and name.
    pub async fn put_attachment(
        &self,
        scope: &PlanScope,
        timeline: TimelineId,
        record: RecordId,
        (kind, name): (&str, &str),
        content: Bytes,
    ) -> Result<(), Error> {
        let path = format!(
            "{}/{}/{}",
            scope.path(&format!(
                "timelines/{timeline}/records/{record}/attachments"
            )),
            segment(kind),
            segment(name)
        );
        let call = self.call("put attachment", Method::PUT, &path);
        self.send(call.bytes(content)).await.map(drop)
    }

    /// The files of a type that hang on a record.
    pub async fn attachments(
        &self,
        scope: &PlanScope,
        timeline: TimelineId,
        record: RecordId,
        kind: &str,
    ) -> Result<Vec<TaskAttachment>, Error> {
        let rest = format!(
            "timelines/{timeline}/records/{record}/attachments/{}",
            segment(kind)
        );
        let call = self.call("list attachments", Method::GET, &scope.path(&rest));
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<TaskAttachment>>()?.value)
    }

    /// What a file on a record holds.
    pub async fn attachment(
        &self,
        scope: &PlanScope,
        attachment: &TaskAttachment,
    ) -> Result<Vec<u8>, Error> {
        let rest = format!(
            "timelines/{}/records/{}/attachments/{}/{}",
            attachment.timeline_id,
            attachment.record_id,
            segment(&attachment.kind),
            segment(&attachment.name)
        );
        let call = self.call("read attachment", Method::GET, &scope.path(&rest));
        let answer = self.send(call.accept("application/octet-stream")).await?;
        Ok(answer.body.to_vec())
    }

    /// The text of a stored log.
    pub async fn log_text(&self, scope: &PlanScope, log: LogId) -> Result<String, Error> {
        let path = scope.path(&format!("logs/{log}"));
        let call = self.call("read log", Method::GET, &path);
        let answer = self.send(call.accept("text/plain")).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Raises an event of the plan; `JobCompleted` ends the job and its token.
    pub async fn raise_event(&self, scope: &PlanScope, event: &JobEvent) -> Result<(), Error> {
        let path = scope.path("events");
        self.send(self.call("raise event", Method::POST, &path).json(event)?)
            .await
            .map(drop)
    }
}
