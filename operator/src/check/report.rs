//! What a check found, for people and for programs.

use serde::Serialize;
use std::fmt::Write;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// As it should be.
    Yes,
    /// Otherwise.
    No,
    /// Nobody knows: it was not tried, or could not be.
    Unknown,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "NO",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For programs, and for finding it in the documents.
    pub id: String,
    /// What should be so.
    pub claim: String,
    /// Whether it is.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it was.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Nothing of this was tried yet.
    pub fn of(claims: &[(&str, &str)]) -> Self {
        let findings = claims.iter().map(|(id, claim)| Finding {
            id: (*id).to_owned(),
            claim: (*claim).to_owned(),
            outcome: Outcome::Unknown,
            detail: "not tried".to_owned(),
        });
        Self {
            findings: findings.collect(),
        }
    }

    /// Writes down how something is.
    pub fn found(&mut self, id: &str, outcome: Outcome, detail: impl Into<String>) {
        let mut findings = self.findings.iter_mut();
        if let Some(finding) = findings.find(|finding| finding.id == id) {
            finding.outcome = outcome;
            finding.detail = detail.into();
        }
    }

    /// How something is.
    pub fn outcome(&self, id: &str) -> Option<Outcome> {
        let mut findings = self.findings.iter();
        let found = findings.find(|finding| finding.id == id);
        found.map(|finding| finding.outcome)
    }

    /// Whether nothing is otherwise than it should be.
    pub fn is_good(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.all(|finding| finding.outcome != Outcome::No)
    }

    /// For people.
    pub fn table(&self) -> String {
        let width = |of: fn(&Finding) -> &str| {
            let lengths = self.findings.iter().map(|finding| of(finding).len());
            lengths.max().unwrap_or(0)
        };
        let (ids, claims) = (width(|one| &one.id), width(|one| &one.claim));
        let mut text = String::new();
        for finding in &self.findings {
            let outcome = finding.outcome.as_str();
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{:ids$}  {outcome:7}  {:claims$}  {}",
                finding.id, finding.claim, finding.detail
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_good_unless_something_is_otherwise() {
        let mut report = Report::of(&[("one", "the first"), ("second", "the other")]);
        assert!(report.is_good());
        report.found("one", Outcome::Yes, "");
        report.found("second", Outcome::No, "it is not");
        assert!(!report.is_good());
        assert_eq!(
            report.table(),
            "one     yes      the first  \nsecond  NO       the other  it is not\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["outcome"], "no");
    }
}
