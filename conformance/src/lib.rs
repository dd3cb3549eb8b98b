//! Holds a service against the agent protocol as clients know it: our pool service, or Azure DevOps.
//!
//! Every scenario makes what it needs (agents with a name of their own, and jobs where the service has a call for
//! queueing one), speaks plain HTTP, and says where an answer differs. What was made is removed, whatever happened.

#[macro_use]
mod verdict;
mod answer;
mod ask;
pub mod report;
mod scenarios;
pub mod suite;
mod taken;

pub use scenarios::{Scenario, all};
pub use verdict::{Outcome, Row, Stop};

use std::time::Duration;
use suite::{Options, Suite};

/// The longest that one scenario may take; a service may hold one question for messages for a minute and a half.
const LIMIT: Duration = Duration::from_secs(300);

/// Everything that a run found out.
pub struct Findings {
    /// One row a scenario.
    pub rows: Vec<Row>,
    /// What could not be removed afterwards, for a person.
    pub left: Vec<String>,
}

impl Findings {
    /// Whether the service differed anywhere.
    pub fn differs(&self) -> bool {
        self.rows
            .iter()
            .any(|row| matches!(row.outcome, Outcome::Failed(_)))
    }
}

/// Runs the scenarios, those of one part when `only` names it, and removes what they made.
pub async fn run(options: &Options, only: Option<&str>) -> Result<Findings, Stop> {
    let suite = Suite::start(options).await?;
    let mut rows = Vec::new();
    for scenario in all() {
        if only.is_some_and(|only| !scenario.part.eq_ignore_ascii_case(only)) {
            continue;
        }
        let ran = tokio::select! {
            ran = tokio::time::timeout(LIMIT, (scenario.run)(&suite)) => ran,
            // Whoever interrupts a run does not want its agents left in the pool.
            _ = tokio::signal::ctrl_c() => break,
        };
        let outcome = match ran {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Stop::Differs(reason))) => Outcome::Failed(reason),
            Ok(Err(Stop::Skipped(reason))) => Outcome::Skipped(reason),
            Err(_) => Outcome::Failed(format!("not over after {} s", LIMIT.as_secs())),
        };
        rows.push(Row {
            part: scenario.part,
            name: scenario.name,
            outcome,
        });
        suite.tidy().await;
    }
    let left = suite.finish().await;
    Ok(Findings { rows, left })
}
