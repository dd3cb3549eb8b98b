//! Timelines and their records.

use super::endings::put_record;
use crate::rules::access::{
    Caller, JobClaims, plan_not_found, require_plan_of_project, require_plan_reader,
    require_plan_writer,
};
use crate::rules::entities::{Plan, Request};
use crate::rules::feed;
use crate::rules::limits;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::timeline::{belongs_to, check_maker};
use crate::service::{Failure, Service, Unit};
use crate::store::dialect::Conn;
use crate::store::{feeds, plans, records, requests, timelines};
use dayfly_wire::ids::{JobId, PlanId, RecordId, TimelineId};
use dayfly_wire::log::FeedLines;
use dayfly_wire::timeline::{Record, Timeline};
use uuid::Uuid;

/// A plan as a path names it.
#[derive(Clone, Debug)]
pub struct PlanPath {
    /// The project, by id or name.
    pub project: String,
    /// `build`.
    pub hub: String,
    /// The plan.
    pub plan: PlanId,
}

const MAX_RECORDS: i64 = 5000;
const MAX_TIMELINES: usize = 500;

impl Service {
    /// A plan's timelines: its own, and those that have details of a record.
    pub async fn timelines(
        &self,
        caller: &Caller,
        path: &PlanPath,
    ) -> Result<Vec<Timeline>, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        let plan = existing_plan(&mut conn, path).await?;
        let mut all = vec![plan.timeline];
        all.extend(timelines::of_plan(&mut conn, plan.id).await?);
        let mut found = Vec::with_capacity(all.len());
        for id in all {
            found.push(Timeline {
                id,
                change_id: records::last_change(&mut conn, id).await?,
                ..Timeline::default()
            });
        }
        Ok(found)
    }

    /// Makes a timeline beside the plan's own.
    pub async fn create_timeline(
        &self,
        caller: &Caller,
        path: &PlanPath,
        draft: Timeline,
    ) -> Result<Timeline, Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        let mut unit = self.begin().await?;
        let plan = running_in_plan(&mut unit, path, claims).await?.plan;
        let id = if draft.id.0.is_nil() {
            TimelineId(Uuid::new_v4())
        } else {
            draft.id
        };
        // An id of another plan's timeline is taken as well: records are found by their timeline alone.
        if timelines::exists(unit.conn(), id).await? {
            return Err(Refusal::new(
                Kind::TimelineExists,
                format!("there is a timeline {id} already"),
            )
            .into());
        }
        if timelines::of_plan(unit.conn(), plan.id).await?.len() >= MAX_TIMELINES {
            return Err(limits::too_many("a plan", "timelines", MAX_TIMELINES).into());
        }
        let now = unit.now;
        timelines::insert(unit.conn(), plan.id, claims.job, id, now).await?;
        unit.commit().await?;
        Ok(Timeline {
            id,
            ..Timeline::default()
        })
    }

    /// A timeline, with the records that changed after a change.
    pub async fn timeline(
        &self,
        caller: &Caller,
        path: &PlanPath,
        timeline: TimelineId,
        records_after: Option<i64>,
    ) -> Result<Timeline, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        let plan = existing_plan(&mut conn, path).await?;
        existing_timeline(&mut conn, &plan, timeline).await?;
        let change_id = records::last_change(&mut conn, timeline).await?;
        let records = match records_after {
            Some(after) => Some(records::all(&mut conn, timeline, after).await?),
            None => None,
        };
        Ok(Timeline {
            id: timeline,
            change_id,
            location: None,
            records,
        })
    }

    /// A timeline's records that changed after a change.
    pub async fn records(
        &self,
        caller: &Caller,
        path: &PlanPath,
        timeline: TimelineId,
        after: i64,
    ) -> Result<Vec<Record>, Failure> {
        let timeline = self.timeline(caller, path, timeline, Some(after)).await?;
        Ok(timeline.records.unwrap_or_default())
    }

    /// Merges records into a timeline; answers them merged.
    pub async fn update_records(
        &self,
        caller: &Caller,
        path: &PlanPath,
        timeline: TimelineId,
        patches: Vec<Record>,
    ) -> Result<Vec<Record>, Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        let most = self.settings.limits.records;
        if patches.len() > most {
            return Err(limits::too_many("a call", "records", most).into());
        }
        let mut unit = self.begin().await?;
        let plan = running_in_plan(&mut unit, path, claims).await?.plan;
        writable_timeline(unit.conn(), &plan, timeline, claims.job).await?;
        let mut room = MAX_RECORDS - records::count(unit.conn(), timeline).await?;
        let mut merged = Vec::with_capacity(patches.len());
        for patch in patches {
            let existing = records::find(unit.conn(), timeline, patch.id).await?;
            room -= i64::from(existing.is_none());
            if room < 0 {
                return Err(Refusal::invalid(format!(
                    "a timeline has at most {MAX_RECORDS} records"
                ))
                .into());
            }
            // A timeline of details has no job's record that its own could hang on.
            let own = timeline == plan.timeline;
            if own && !belongs_to(claims.job, existing.as_ref(), &patch) {
                return Err(Refusal::new(
                    Kind::Denied,
                    format!("record {} does not belong to the token's job", patch.id),
                )
                .into());
            }
            merged.push(put_record(&mut unit, timeline, existing, patch).await?);
        }
        unit.commit().await?;
        Ok(merged)
    }

    /// Takes console lines of the job.
    pub async fn post_feed(
        &self,
        caller: &Caller,
        path: &PlanPath,
        timeline: TimelineId,
        record: RecordId,
        lines: FeedLines,
    ) -> Result<(), Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        let most = self.settings.limits.feed_lines;
        if lines.value.len() > most {
            return Err(limits::too_many("a call", "console lines", most).into());
        }
        let mut unit = self.begin().await?;
        let plan = existing_plan(unit.conn(), path).await?;
        check_own_timeline(&plan, timeline)?;
        if record.0 != claims.job.0 {
            return Err(Refusal::new(
                Kind::Denied,
                "lines are posted to the record of the token's own job",
            )
            .into());
        }
        let kept = feed::cut(lines.value);
        if !kept.is_empty() {
            feeds::append(
                unit.conn(),
                claims.request,
                lines.step_id,
                lines.start_line,
                &kept,
            )
            .await?;
            unit.wake_readers(claims.request);
            unit.commit().await?;
        }
        Ok(())
    }
}

/// The plan that a path names, or the refusal that says that it is not there.
pub async fn existing_plan(conn: &mut Conn, path: &PlanPath) -> Result<Plan, Failure> {
    let plan = plans::by_id(conn, path.plan).await?;
    let plan = plan.ok_or_else(|| plan_not_found(path.plan))?;
    require_plan_of_project(&plan, &path.project, &path.hub)?;
    Ok(plan)
}

/// The request of a job token that writes to the plan which a path names.
pub async fn running_in_plan(
    unit: &mut Unit<'_>,
    path: &PlanPath,
    claims: &JobClaims,
) -> Result<Request, Failure> {
    let request = running_request(unit, claims).await?;
    require_plan_of_project(&request.plan, &path.project, &path.hub)?;
    Ok(request)
}

/// The request of a job token, within the unit that relies on its running.
pub async fn running_request(unit: &mut Unit<'_>, claims: &JobClaims) -> Result<Request, Failure> {
    let request = requests::by_id(unit.conn(), claims.request).await?;
    Ok(request
        .filter(|request| crate::rules::access::job_counts(claims, request))
        .ok_or_else(Refusal::unauthorized)?)
}

/// Refuses a timeline that is not the plan's own or beside it.
pub async fn existing_timeline(
    conn: &mut Conn,
    plan: &Plan,
    timeline: TimelineId,
) -> Result<(), Failure> {
    if plan.timeline == timeline || timelines::of_plan(conn, plan.id).await?.contains(&timeline) {
        Ok(())
    } else {
        Err(no_timeline(plan, timeline).into())
    }
}

/// Refuses a timeline that a job may not write: another plan's, and details that another job of the plan has made.
pub async fn writable_timeline(
    conn: &mut Conn,
    plan: &Plan,
    timeline: TimelineId,
    job: JobId,
) -> Result<(), Failure> {
    existing_timeline(conn, plan, timeline).await?;
    let maker = timelines::maker(conn, timeline).await?;
    Ok(check_maker(job, maker, &format!("timeline {timeline}"))?)
}

fn check_own_timeline(plan: &Plan, timeline: TimelineId) -> Result<(), Refusal> {
    if plan.timeline == timeline {
        Ok(())
    } else {
        Err(no_timeline(plan, timeline))
    }
}

fn no_timeline(plan: &Plan, timeline: TimelineId) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!("plan {} has no timeline {timeline}", plan.id),
    )
}
