//! Attachments: put, read, list.

use super::plans::{
    PlanPath, existing_plan, existing_timeline, running_request, writable_timeline,
};
use crate::content::Incoming;
use crate::rules::access::{Caller, require_plan_reader, require_plan_writer};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::{attachment, limits, timeline};
use crate::service::{Failure, Service};
use crate::store::attachments::{self, Attachment};
use crate::store::dialect::Conn;
use crate::store::records;
use dayfly_wire::attachment::{Link, TaskAttachment};
use dayfly_wire::ids::{JobId, RecordId, TimelineId};

/// An attachment as a path names it.
#[derive(Clone, Debug)]
pub struct AttachmentPath {
    /// The plan.
    pub plan: PlanPath,
    /// The timeline.
    pub timeline: TimelineId,
    /// The record.
    pub record: RecordId,
    /// The type.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Service {
    /// Whether this caller may put this attachment; asked before its content is read.
    pub async fn check_attachment(
        &self,
        caller: &Caller,
        path: &AttachmentPath,
    ) -> Result<(), Failure> {
        let claims = require_plan_writer(caller, path.plan.plan)?;
        attachment::check(&path.kind, &path.name)?;
        let mut conn = self.store.read().await?;
        check_place(&mut conn, path, claims.job).await
    }

    /// Keeps an attachment whose content was written; one that is there already is replaced.
    pub async fn put_attachment(
        &self,
        caller: &Caller,
        path: &AttachmentPath,
        incoming: Incoming,
    ) -> Result<TaskAttachment, Failure> {
        let claims = require_plan_writer(caller, path.plan.plan)?;
        let content = self.contents.keep(incoming).await?;
        let mut unit = self.begin().await?;
        let now = unit.now;
        running_request(&mut unit, claims).await?;
        check_place(unit.conn(), path, claims.job).await?;
        let existing = find(unit.conn(), path).await?;
        let most = self.settings.limits.attachments;
        if existing.is_none() && attachments::count(unit.conn(), path.plan.plan).await? >= most {
            return Err(limits::too_many("a run", "attachments", most).into());
        }
        let put = Attachment {
            timeline: path.timeline,
            record: path.record,
            kind: path.kind.clone(),
            name: path.name.clone(),
            hash: content.hash,
            bytes: content.bytes,
            created_at: existing.map_or(now, |existing| existing.created_at),
            changed_at: now,
        };
        attachments::put(unit.conn(), path.plan.plan, &put).await?;
        unit.commit().await?;
        Ok(self.attachment_document(&path.plan, &put))
    }

    /// One attachment, and what opens its content.
    pub async fn attachment(
        &self,
        caller: &Caller,
        path: &AttachmentPath,
    ) -> Result<(TaskAttachment, Attachment), Failure> {
        require_plan_reader(caller, path.plan.plan)?;
        let mut conn = self.store.read().await?;
        let plan = existing_plan(&mut conn, &path.plan).await?;
        existing_timeline(&mut conn, &plan, path.timeline).await?;
        let found = find(&mut conn, path).await?.ok_or_else(|| {
            Refusal::new(
                Kind::NotFound,
                format!(
                    "record {} has no attachment {:?} of type {:?}",
                    path.record, path.name, path.kind
                ),
            )
        })?;
        Ok((self.attachment_document(&path.plan, &found), found))
    }

    /// A record's attachments of a type.
    pub async fn record_attachments(
        &self,
        caller: &Caller,
        path: &PlanPath,
        timeline: TimelineId,
        record: RecordId,
        kind: &str,
    ) -> Result<Vec<TaskAttachment>, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        let plan = existing_plan(&mut conn, path).await?;
        existing_timeline(&mut conn, &plan, timeline).await?;
        let found = attachments::of_record(&mut conn, timeline, record, kind).await?;
        Ok(self.attachment_documents(path, &found))
    }

    /// A plan's attachments of a type.
    pub async fn plan_attachments(
        &self,
        caller: &Caller,
        path: &PlanPath,
        kind: &str,
    ) -> Result<Vec<TaskAttachment>, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        existing_plan(&mut conn, path).await?;
        let found = attachments::of_plan(&mut conn, path.plan, kind).await?;
        Ok(self.attachment_documents(path, &found))
    }

    fn attachment_documents(&self, path: &PlanPath, found: &[Attachment]) -> Vec<TaskAttachment> {
        let documents = found
            .iter()
            .map(|each| self.attachment_document(path, each));
        documents.collect()
    }

    fn attachment_document(&self, path: &PlanPath, attachment: &Attachment) -> TaskAttachment {
        let PlanPath { project, hub, plan } = path;
        let href = format!(
            "{}/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/timelines/{}/records/{}/attachments/{}/{}",
            self.settings.public_url,
            attachment.timeline,
            attachment.record,
            encoded(&attachment.kind),
            encoded(&attachment.name),
        );
        TaskAttachment {
            kind: attachment.kind.clone(),
            name: attachment.name.clone(),
            created_on: Some(attachment.created_at),
            last_changed_on: Some(attachment.changed_at),
            timeline_id: attachment.timeline,
            record_id: attachment.record,
            links: [("self".to_owned(), Link { href })].into(),
        }
    }
}

/// Refuses a place that is not the job's: its own records and the details that it made.
async fn check_place(conn: &mut Conn, path: &AttachmentPath, job: JobId) -> Result<(), Failure> {
    let plan = existing_plan(conn, &path.plan).await?;
    writable_timeline(conn, &plan, path.timeline, job).await?;
    let record = records::find(conn, path.timeline, path.record).await?;
    if path.timeline == plan.timeline && !timeline::may_attach(job, record.as_ref()) {
        return Err(Refusal::new(
            Kind::Denied,
            format!("record {} does not belong to the token's job", path.record),
        )
        .into());
    }
    Ok(())
}

async fn find(conn: &mut Conn, path: &AttachmentPath) -> Result<Option<Attachment>, Failure> {
    let AttachmentPath {
        timeline,
        record,
        kind,
        name,
        ..
    } = path;
    Ok(attachments::find(conn, *timeline, *record, kind, name).await?)
}

/// A segment of a URL.
pub fn encoded(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}
