//! What is printed and written.
#![allow(clippy::print_stdout)] // It talks to a terminal.

use crate::summary::{Row, Sample, breakdown};
use anyhow::{Context, Result};
use std::path::Path;

/// One line per round.
pub(crate) fn progress(number: u32, of: u32, sample: &Sample) {
    let Sample {
        created,
        listening,
        first_line,
        finished,
        bare,
        ..
    } = sample;
    println!(
        "{number:>4}/{of}: pod {created:.0} ms, session {listening:.0} ms, first line {first_line:.0} ms, gone {:.0} ms \
         after the end; bare pod {bare:.0} ms",
        sample.gone() - finished
    );
}

/// The table.
pub(crate) fn print(samples: &[Sample], rows: &[Row]) {
    println!("\n{:<44} {:>10}    {:>9}", "", "value", "goal");
    for row in rows {
        let goal = match row.goal {
            Some(goal) if row.value <= goal => format!("{goal} {} met", row.unit),
            Some(goal) => format!("{goal} {} MISSED", row.unit),
            None => String::new(),
        };
        let value = format!("{} {}", row.value, row.unit);
        println!("{:<44} {value:>10}    {goal}", row.name);
    }
    println!("\n{} jobs. {}", samples.len(), breakdown(samples));
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
