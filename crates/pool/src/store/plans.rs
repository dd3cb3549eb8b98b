//! Plans.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, millis, parsed, query};
use crate::rules::entities::Plan;
use dayfly_wire::ids::{BuildId, DefinitionId, PlanId};

/// Reads a plan from a row that joins `plans`, `definitions` and `projects`; see [`plan_columns`].
pub(super) fn plan(row: &Row) -> Result<Plan, StoreError> {
    Ok(Plan {
        id: parsed(row, "plan_id")?,
        project: parsed(row, "project_id")?,
        project_name: column(row, "project_name")?,
        timeline: parsed(row, "timeline_id")?,
        build: BuildId(column(row, "build_id")?),
        build_number: column(row, "build_number")?,
        definition: DefinitionId(column(row, "definition_id")?),
        definition_name: column(row, "definition_name")?,
        created_at: date(row, "plan_created_at")?,
    })
}

/// The columns of a plan.
macro_rules! plan_columns {
    () => {
        "plans.id AS plan_id, plans.project_id, projects.name AS project_name, plans.timeline_id, \
         plans.build_id, plans.build_number, plans.definition_id, definitions.name AS definition_name, \
         plans.created_at AS plan_created_at"
    };
}
/// What a plan's columns come from.
macro_rules! plan_joins {
    () => {
        "JOIN projects ON projects.id = plans.project_id JOIN definitions ON definitions.id = plans.definition_id"
    };
}
pub(super) use {plan_columns, plan_joins};

/// Keeps a new plan.
pub async fn insert(conn: &mut Conn, plan: &Plan) -> Result<(), StoreError> {
    query(
        "INSERT INTO plans (id, project_id, timeline_id, build_id, build_number, definition_id, \
         last_log_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(plan.id.to_string())
    .bind(plan.project.to_string())
    .bind(plan.timeline.to_string())
    .bind(plan.build.0)
    .bind(&plan.build_number)
    .bind(plan.definition.0)
    .bind(millis(plan.created_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a run another number.
pub async fn set_build_number(
    conn: &mut Conn,
    plan: PlanId,
    number: &str,
) -> Result<(), StoreError> {
    query("UPDATE plans SET build_number = $1 WHERE id = $2")
        .bind(number)
        .bind(plan.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The plan of this run.
pub async fn by_build(conn: &mut Conn, build: BuildId) -> Result<Option<Plan>, StoreError> {
    let row = query(concat!(
        "SELECT ",
        plan_columns!(),
        " FROM plans ",
        plan_joins!(),
        " WHERE plans.build_id = $1 ORDER BY plans.created_at LIMIT 1"
    ))
    .bind(build.0)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(plan).transpose()
}

/// The plan with this id.
pub async fn by_id(conn: &mut Conn, id: PlanId) -> Result<Option<Plan>, StoreError> {
    let row = query(concat!(
        "SELECT ",
        plan_columns!(),
        " FROM plans ",
        plan_joins!(),
        " WHERE plans.id = $1"
    ))
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(plan).transpose()
}
