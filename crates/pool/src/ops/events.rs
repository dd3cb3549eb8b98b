//! Plan events: the worker reports the end of its job.

use super::endings::{EndedBy, end_request};
use super::plans::{PlanPath, running_in_plan};
use crate::rules::access::{Caller, require_plan_writer};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::sessions;
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};

impl Service {
    /// Takes an event. Only `JobCompleted` means anything; others are accepted and forgotten.
    pub async fn raise_event(
        &self,
        caller: &Caller,
        path: &PlanPath,
        event: &JobEvent,
    ) -> Result<(), Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        if !event.name.eq_ignore_ascii_case(JOB_COMPLETED) {
            return Ok(());
        }
        if event.job_id != claims.job || event.request_id != claims.request {
            return Err(Refusal::new(
                Kind::PlanSecurity,
                "the event is about another job than the token's",
            )
            .into());
        }
        let mut unit = self.begin().await?;
        let mut request = running_in_plan(&mut unit, path, claims).await?;
        if event.agent_shutting_down
            && let Some(agent) = request.agent
        {
            sessions::leaving(unit.conn(), agent).await?;
        }
        let result = known(event.result);
        end_request(&mut unit, &mut request, result, None, EndedBy::Agent).await?;
        unit.commit().await?;
        Ok(())
    }
}

/// A result that says nothing counts as a failure.
fn known(result: Option<TaskResult>) -> TaskResult {
    match result {
        None | Some(TaskResult::Other) => TaskResult::Failed,
        Some(result) => result,
    }
}
