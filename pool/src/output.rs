//! What the commands print: results on standard output, everything else on standard error.

use clap::ValueEnum;
use serde::Serialize;
use std::io::Write;

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the service's own documents.
    Json,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Printed {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl Printed {
    /// Documents: as they are, or one row each.
    pub(crate) fn list<T: Serialize>(
        self,
        documents: &[T],
        header: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        match self.output {
            Format::Json => json(&documents),
            Format::Table => {
                let rows: Vec<_> = documents.iter().map(row).collect();
                table(header, &rows)
            }
        }
    }

    /// Whether it is for programs.
    pub(crate) fn is_json(self) -> bool {
        self.output == Format::Json
    }
}

/// A document for programs.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(document)?)
}

/// A line of a result.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// A text that has its own line ends.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A remark for the person at the terminal.
pub(crate) fn remark(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Why a command failed.
pub(crate) fn complain(text: &str) {
    remark(&format!("error: {text}"));
}

/// Rows in columns that are as wide as they need to be.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    for row in aligned(header, rows) {
        line(&row)?;
    }
    Ok(())
}

fn aligned(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let joined = |row: &&Vec<String>| {
        let cells = row.iter().zip(&widths);
        let text = cells.fold(String::new(), |text, (cell, width)| {
            format!("{text}{cell:<width$}  ")
        });
        text.trim_end().to_owned()
    };
    all.iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec![
            "1".to_owned(),
            "a-long-name".to_owned(),
            "x".to_owned(),
        ]];
        assert_eq!(
            aligned(&["ID", "NAME", "STATE"], &rows),
            ["ID  NAME         STATE", "1   a-long-name  x"]
        );
    }
}
