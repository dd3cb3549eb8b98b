//! The table.

use crate::{Findings, Outcome, Row};
use std::fmt::Write;

/// All rows, and how many of which there are.
pub fn table(findings: &Findings) -> String {
    let mut text = String::new();
    let mut part = "";
    for row in &findings.rows {
        if row.part != part {
            part = row.part;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{part}");
        }
        let (word, reason) = match &row.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::Skipped(reason) => ("skipped", reason.as_str()),
        };
        let name = row.name.replace('_', " ");
        let _ = writeln!(text, "  {word:<8} {name}");
        if !reason.is_empty() {
            let _ = writeln!(text, "           {reason}");
        }
    }
    let count = |wanted: fn(&Row) -> bool| findings.rows.iter().filter(|row| wanted(row)).count();
    let _ = writeln!(
        text,
        "{} passed, {} failed, {} skipped",
        count(|row| row.outcome == Outcome::Passed),
        count(|row| matches!(row.outcome, Outcome::Failed(_))),
        count(|row| matches!(row.outcome, Outcome::Skipped(_))),
    );
    for left in &findings.left {
        let _ = writeln!(text, "left behind: {left}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_reason() {
        let row = |name, outcome| Row {
            part: "pools",
            name,
            outcome,
        };
        let findings = Findings {
            rows: vec![
                row("a_pool_is_found", Outcome::Passed),
                row("a_pool_is_read", Outcome::Failed("status 500".to_owned())),
                row("a_pool_is_made", Outcome::Skipped("no queue".to_owned())),
            ],
            left: vec!["pool x".to_owned()],
        };
        let expected = "pools\n  passed   a pool is found\n  FAILED   a pool is read\n           status 500\n  \
                        skipped  a pool is made\n           no queue\n1 passed, 1 failed, 1 skipped\nleft behind: pool x\n";
        assert_eq!(table(&findings), expected);
        assert!(findings.differs());
    }
}
