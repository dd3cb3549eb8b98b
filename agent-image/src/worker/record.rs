//! One record of the timeline while it is written: a step, or the job.

use super::report::sender::Reporter;
use crate::clock;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{ISSUES_PER_KIND, Issue, IssueKind, Record, RecordState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes lines and changes of one record.
pub(crate) struct RecordWriter {
    id: RecordId,
    reporter: Arc<Reporter>,
    errors: i64,
    warnings: i64,
    issues: Vec<Issue>,
    debug: bool,
}

impl RecordWriter {
    /// A writer of a record; `debug` shows debug lines.
    pub(crate) fn new(id: RecordId, reporter: Arc<Reporter>, debug: bool) -> Self {
        Self {
            id,
            reporter,
            errors: 0,
            warnings: 0,
            issues: Vec::new(),
            debug,
        }
    }

    /// The record.
    pub(crate) fn id(&self) -> RecordId {
        self.id
    }

    pub(crate) fn reporter(&self) -> &Arc<Reporter> {
        &self.reporter
    }

    /// The record begins.
    pub(crate) fn begin(&self) {
        self.update(Record {
            state: Some(RecordState::InProgress),
            start_time: Some(clock::now()),
            ..Record::default()
        });
    }

    /// The record ends.
    pub(crate) fn complete(&self, result: TaskResult, result_code: Option<String>) {
        self.update(Record {
            state: Some(RecordState::Completed),
            finish_time: Some(clock::now()),
            percent_complete: Some(100),
            result: Some(result),
            result_code,
            ..Record::default()
        });
    }

    /// Changes something else of the record.
    pub(crate) fn update(&self, change: Record) {
        self.reporter.outbox(|outbox| {
            outbox.update(Record {
                id: self.id,
                ..change
            });
        });
    }

    /// A line, or several.
    pub(crate) fn write(&self, text: &str) {
        self.numbered(text);
    }

    fn numbered(&self, text: &str) -> u64 {
        self.reporter
            .outbox(|outbox| outbox.write(clock::now(), self.id, text))
    }

    /// A heading.
    pub(crate) fn section(&self, text: &str) {
        self.write(&format!("##[section]{text}"));
    }

    /// A line for those who look for trouble.
    pub(crate) fn debug(&self, text: &str) {
        if self.debug {
            self.write(&format!("##[debug]{text}"));
        }
    }

    /// An error: a line and an issue.
    pub(crate) fn error(&mut self, message: &str) {
        self.issue(IssueKind::Error, message, BTreeMap::new());
    }

    /// A warning: a line and an issue.
    pub(crate) fn warning(&mut self, message: &str) {
        self.issue(IssueKind::Warning, message, BTreeMap::new());
    }

    /// A line and an issue with further facts. Beyond the protocol's limit only the count grows.
    pub(crate) fn issue(
        &mut self,
        kind: IssueKind,
        message: &str,
        mut data: BTreeMap<String, String>,
    ) {
        let (tag, count) = match kind {
            IssueKind::Warning => ("warning", &mut self.warnings),
            IssueKind::Error | IssueKind::Other => ("error", &mut self.errors),
        };
        *count += 1;
        let line = self.numbered(&format!("##[{tag}]{message}"));
        let kept = self.issues.iter().filter(|issue| issue.kind == kind);
        let is_kept = kept.count() < ISSUES_PER_KIND;
        if is_kept {
            let category = if data.contains_key("sourcepath") {
                "Code"
            } else {
                "General"
            };
            data.insert("logFileLineNumber".to_owned(), line.to_string());
            let mut issue = Issue {
                kind,
                category: Some(category.to_owned()),
                message: message.to_owned(),
                data,
            };
            self.reporter.outbox(|outbox| outbox.shorten(&mut issue));
            self.issues.push(issue);
        }
        self.update(Record {
            error_count: Some(self.errors),
            warning_count: Some(self.warnings),
            issues: if is_kept {
                self.issues.clone()
            } else {
                Vec::new()
            },
            ..Record::default()
        });
    }
}
