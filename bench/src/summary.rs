//! From samples to numbers. Pure.

use serde::Serialize;

/// One round, in milliseconds; the job's stages since it was queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// A watch showed the pod.
    pub(crate) created: f64,
    /// The agent had its identity.
    pub(crate) claimed: f64,
    /// The session was open.
    pub(crate) listening: f64,
    /// The agent took the job.
    pub(crate) accepted: f64,
    /// The step's own clock as it began.
    pub(crate) step: f64,
    /// The line reached whoever followed the job.
    pub(crate) first_line: f64,
    /// The job ended.
    pub(crate) finished: f64,
    /// The registration was gone.
    pub(crate) deregistered: f64,
    /// The pod was gone.
    pub(crate) deleted: f64,
    /// A bare pod of the same shape.
    pub(crate) bare: f64,
    /// The same with the volumes.
    pub(crate) shaped: f64,
}

impl Sample {
    /// Nothing was left.
    pub(crate) fn gone(&self) -> f64 {
        self.deregistered.max(self.deleted)
    }
}

/// A number and what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// What it is.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: f64,
    /// `ms`, or `x` for a ratio.
    pub(crate) unit: &'static str,
    /// What it should be at most.
    pub(crate) goal: Option<f64>,
    /// Always `lower`.
    pub(crate) better: &'static str,
}

/// A distance between two stages: name, how it is taken, goals for p50 and p99.
type Measure = (&'static str, fn(&Sample) -> f64, [Option<f64>; 2]);

const MEASURES: [Measure; 7] = [
    (
        "queued to pod created",
        |s| s.created,
        [Some(50.0), Some(150.0)],
    ),
    (
        "pod created to session open",
        |s| s.listening - s.created,
        [None, None],
    ),
    (
        "session open to first line",
        |s| s.first_line - s.listening,
        [None, None],
    ),
    ("queued to first line", |s| s.first_line, [None, None]),
    (
        "finished to gone",
        |s| s.gone() - s.finished,
        [None, Some(2000.0)],
    ),
    ("bare pod of the same shape", |s| s.bare, [None, None]),
    ("bare pod with the same volumes", |s| s.shaped, [None, None]),
];

/// A part of the way from the queue to the first line.
type Part = (&'static str, fn(&Sample) -> f64);

/// How far the cold start of a job may be above a bare pod's.
const RATIO_GOAL: f64 = 1.5;

/// All rows, in the order of the table: p50 and p99 of each measure, then the ratio of the medians.
pub(crate) fn summarize(samples: &[Sample]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, measure, goals) in MEASURES {
        let values: Vec<f64> = samples.iter().map(measure).collect();
        for (percent, goal) in [50, 99].into_iter().zip(goals) {
            rows.push(Row {
                name: format!("{name} p{percent}"),
                value: rounded(percentile(&values, percent)),
                unit: "ms",
                goal,
                better: "lower",
            });
        }
    }
    let ratio = median(samples, |s| s.first_line) / median(samples, |s| s.bare);
    rows.push(Row {
        name: "queued to first line against a bare pod".to_owned(),
        value: (ratio * 100.0).round() / 100.0,
        unit: "x",
        goal: Some(RATIO_GOAL),
        better: "lower",
    });
    rows
}

/// Where the median job's time goes until its first line, largest part first; and after its end.
pub(crate) fn breakdown(samples: &[Sample]) -> String {
    let parts: [Part; 6] = [
        ("until the operator created the pod", |s| s.created),
        ("until the agent ran and had its identity", |s| {
            s.claimed - s.created
        }),
        ("until its session was open", |s| s.listening - s.claimed),
        ("until it took the job", |s| s.accepted - s.listening),
        ("until the step's script ran", |s| s.step - s.accepted),
        ("until its line was seen", |s| s.first_line - s.step),
    ];
    let total = median(samples, |s| s.first_line);
    let mut parts = parts.map(|(name, part)| (name, median(samples, part)));
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let parts = parts.map(|(name, part)| {
        let percent = 100.0 * part / total;
        format!("{part:.0} ms ({percent:.0} %) {name}")
    });
    let deregistered = median(samples, |s| s.deregistered - s.finished);
    let deleted = median(samples, |s| s.deleted - s.finished);
    format!(
        "Of {total:.0} ms to the first line: {}. After its end the registration is gone within {deregistered:.0} ms and \
         the pod within {deleted:.0} ms.",
        parts.join(", ")
    )
}

fn median(samples: &[Sample], measure: fn(&Sample) -> f64) -> f64 {
    let values: Vec<f64> = samples.iter().map(measure).collect();
    percentile(&values, 50)
}

/// The nearest rank: a value that was measured. What could not be measured (not a number) is left out.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(first_line: f64) -> Sample {
        Sample {
            created: 40.0,
            claimed: 400.0,
            listening: 450.0,
            accepted: 460.0,
            step: 500.0,
            first_line,
            finished: 800.0,
            deregistered: 900.0,
            deleted: 1300.0,
            bare: 400.0,
            shaped: 420.0,
        }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99)),
            (3.0, 5.0)
        );
        assert_eq!(percentile(&[7.0], 50), 7.0);
        assert_eq!(percentile(&[f64::NAN, 7.0], 99), 7.0);
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn rows_carry_goals_and_the_ratio_is_of_the_medians() {
        let rows = summarize(&[sample(600.0), sample(620.0), sample(5000.0)]);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("queued to pod created p50").goal, Some(50.0));
        assert_eq!(row("finished to gone p99").value, 500.0);
        let ratio = row("queued to first line against a bare pod");
        assert_eq!(
            (ratio.value, ratio.unit, ratio.goal),
            (1.55, "x", Some(1.5))
        );
    }

    #[test]
    fn the_breakdown_begins_with_the_largest_part() {
        let text = breakdown(&[sample(600.0)]);
        assert!(
            text.starts_with("Of 600 ms to the first line: 360 ms (60 %) until the agent ran"),
            "{text}"
        );
    }
}
