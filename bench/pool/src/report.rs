//! What is printed and written.
#![allow(clippy::print_stdout)] // It talks to a terminal.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// A number and what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    better: Better,
}

impl Row {
    /// A number of which less is better.
    pub(crate) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Option<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            value: (value * 100.0).round() / 100.0,
            unit,
            goal,
            better: Better::Lower,
        }
    }

    pub(crate) fn better(self, better: Better) -> Self {
        Self { better, ..self }
    }

    fn verdict(&self) -> String {
        let Some(goal) = self.goal else {
            return String::new();
        };
        let met = match self.better {
            Better::Lower => self.value <= goal,
            Better::Higher => self.value >= goal,
        };
        format!(
            "{goal} {} {}",
            self.unit,
            if met { "met" } else { "MISSED" }
        )
    }
}

/// The nearest rank: a value that was measured.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// What is being done: it takes minutes.
pub(crate) fn progress(what: &str) {
    println!("{what}");
}

/// The table.
pub(crate) fn print(rows: &[Row]) {
    println!("\n{:<60} {:>18}    goal", "", "value");
    for row in rows {
        let value = format!("{} {}", row.value, row.unit);
        println!("{:<60} {value:>18}    {}", row.name, row.verdict());
    }
}

/// The numbers for programs.
pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("failed to make {}", directory.display()))?;
    }
    let text = serde_json::to_string_pretty(rows)?;
    std::fs::write(path, text + "\n")
        .with_context(|| format!("failed to write {}", path.display()))?;
    println!("Written to {}.", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_in_the_direction_that_is_better() {
        let slow = Row::new("wake", 51.0, "ms", Some(50.0));
        assert_eq!(slow.verdict(), "50 ms MISSED");
        let many = Row::new("jobs", 501.0, "1/s", Some(500.0)).better(Better::Higher);
        assert_eq!(many.verdict(), "500 1/s met");
        let json = serde_json::to_value(&many).unwrap();
        assert_eq!(
            (&json["better"], &json["goal"]),
            (&"higher".into(), &500.0.into())
        );
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 50), 2.0);
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 99), 3.0);
    }
}
