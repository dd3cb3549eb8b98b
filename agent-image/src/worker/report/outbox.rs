//! The one door through which text leaves the worker: everything is masked here.

use super::feed::Feed;
use super::outgoing::{mask_issue, mask_record};
use super::pages::Pages;
use super::pending::Pending;
use crate::worker::lines::{Lines, Output};
use crate::worker::mask::{Added, Masker};
use bytes::Bytes;
use dayfly_wire::ids::RecordId;
use dayfly_wire::log::FeedLines;
use dayfly_wire::timeline::{ISSUES_PER_KIND, Issue, IssueKind, Record};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

/// How many secrets steps may add, and how long all of them may be: each is searched for in dozens of forms.
const MOST_SECRETS: usize = 1000;
const MOST_SECRET_TEXT: usize = 512 << 10;

/// What waits to be sent, and the secrets that must not be.
pub(crate) struct Outbox {
    masker: Masker,
    job: RecordId,
    directory: PathBuf,
    pub(super) records: Pending,
    feed: Feed,
    pages: BTreeMap<RecordId, Pages>,
    /// Logs of which the service takes no more.
    given_up: BTreeSet<RecordId>,
    /// Warnings of the job's own record, about what its log cannot say.
    warnings: Vec<Issue>,
    /// The disk gave out; said once.
    disk_failed: bool,
    /// Secrets that steps added: how many, and how long they are together.
    added: (usize, usize),
}

impl Outbox {
    /// An outbox of a job; its record collects the lines of all others.
    pub(crate) fn new(job: RecordId, directory: PathBuf, masker: Masker) -> Self {
        Self {
            masker,
            job,
            directory,
            records: Pending::default(),
            feed: Feed::default(),
            pages: BTreeMap::new(),
            given_up: BTreeSet::new(),
            warnings: Vec::new(),
            disk_failed: false,
            added: (0, 0),
        }
    }

    /// Adds secrets, which are indexed once; what is too short was warned about when the job began.
    pub(crate) fn add_secrets<'a>(&mut self, secrets: impl Iterator<Item = &'a str>) {
        let _ = self.masker.add_all(secrets);
    }

    /// A text without the secrets in it.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.masker.mask(text).into_owned()
    }

    /// Adds a secret that a step tells, within bounds.
    pub(crate) fn add_secret_of_step(&mut self, secret: &str) -> Added {
        if !self.masker.knows(secret) {
            let (count, text) = self.added;
            self.added = (count + 1, text + secret.len());
            if self.added.0 > MOST_SECRETS || self.added.1 > MOST_SECRET_TEXT {
                self.masker.hide_everything();
                return Added::TooMany;
            }
        }
        self.masker.add(secret)
    }

    /// Assembles lines from a chunk of output.
    pub(crate) fn assemble(&self, lines: &mut Lines, chunk: &[u8], out: &mut Vec<Output>) {
        lines.push(chunk, &self.masker, out);
    }

    /// Gives out what an output that has ended left.
    pub(crate) fn finish(&self, lines: &mut Lines, out: &mut Vec<Output>) {
        lines.finish(&self.masker, out);
    }

    /// Writes text to a record's log, the job's log and the live view, every line with the time. Gives the number of its
    /// first line in the record's log.
    pub(crate) fn write(&mut self, now: Timestamp, record: RecordId, text: &str) -> u64 {
        let masked = self.masker.mask(text).into_owned();
        let mut stored = String::with_capacity(masked.len() + 32);
        for line in masked.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            // Writing to a string does not fail.
            let _ = writeln!(stored, "{now:.7} {line}");
            if record != self.job {
                self.feed.push(record, line);
            }
        }
        let number = self.pages.get(&record).map_or(0, Pages::lines) + 1;
        self.store(record, &stored);
        if record != self.job {
            self.store(self.job, &stored);
        }
        number
    }

    fn store(&mut self, record: RecordId, text: &str) {
        if self.given_up.contains(&record) {
            return;
        }
        let pages = match self.pages.entry(record) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                Pages::create(&self.directory, record).map(|pages| entry.insert(pages))
            }
        };
        if let Err(error) = pages.and_then(|pages| pages.append(text))
            && !std::mem::replace(&mut self.disk_failed, true)
        {
            tracing::error!(%error, directory = %self.directory.display(), "failed to keep log lines; the stored log will lack some");
            self.tell_of_disk(record, &error);
        }
    }

    /// The log itself cannot say it.
    fn tell_of_disk(&mut self, record: RecordId, error: &std::io::Error) {
        let message = format!(
            "The agent could not keep log lines on its disk ({error}); the stored logs lack some. Give its volumes more room."
        );
        self.warn_of(record, message);
    }

    /// The service takes no more of a log: what comes is shown live only.
    pub(super) fn give_up_log(&mut self, record: RecordId, error: &impl std::fmt::Display) {
        self.pages.remove(&record);
        let whose = if record == self.job {
            "the whole job"
        } else {
            "a step"
        };
        if self.given_up.insert(record) {
            self.warn_of(
                record,
                format!("The service takes no more of the log of {whose} ({error}); the rest of it is not stored."),
            );
        }
    }

    /// The service does not take the logs: the records say so.
    pub(super) fn tell_of_logs(&mut self, error: &dayfly_client::Error) {
        self.warn(format!(
            "The service did not take the whole log ({error}); the stored logs lack what came last."
        ));
    }

    /// A warning of a record's log, which the job's record has too: the log itself cannot say it.
    fn warn_of(&mut self, record: RecordId, message: String) {
        self.feed.push(record, &format!("##[warning]{message}"));
        self.warn(message);
    }

    /// Adds a warning to the job's record.
    fn warn(&mut self, message: String) {
        self.warnings.push(Issue {
            kind: IssueKind::Warning,
            category: Some("General".to_owned()),
            message,
            data: BTreeMap::new(),
        });
        self.warnings.truncate(ISSUES_PER_KIND);
        self.records.push(Record {
            id: self.job,
            warning_count: i64::try_from(self.warnings.len()).ok(),
            issues: self.warnings.clone(),
            ..Record::default()
        });
    }

    /// Queues a change of a record, masked and within what the service takes of one.
    pub(crate) fn update(&mut self, mut change: Record) {
        mask_record(&self.masker, &mut change);
        self.records.push(change);
    }

    /// An issue as it is sent: masked, and no longer than the service takes.
    pub(crate) fn shorten(&self, issue: &mut Issue) {
        mask_issue(&self.masker, issue);
    }

    pub(super) fn take_feed(&mut self) -> Option<FeedLines> {
        self.feed.take()
    }

    pub(super) fn feed_is_empty(&self) -> bool {
        self.feed.is_empty()
    }

    /// The next piece of a log that is not being sent already.
    pub(super) fn take_log(
        &mut self,
        busy: impl Fn(RecordId) -> bool,
    ) -> Option<(RecordId, Bytes)> {
        for (record, pages) in &mut self.pages {
            if busy(*record) {
                continue;
            }
            match pages.take() {
                Ok(Some(piece)) => return Some((*record, piece)),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, %record, "failed to read log lines back"),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_wire::timeline::RecordVariable;
    use uuid::Uuid;

    fn outbox(directory: &std::path::Path) -> Outbox {
        let mut masker = Masker::default();
        let _ = masker.add("hunter2");
        Outbox::new(RecordId(Uuid::from_u128(1)), directory.to_owned(), masker)
    }

    #[test]
    fn lines_are_masked_stamped_and_stored_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = outbox(directory.path());
        let step = RecordId(Uuid::from_u128(2));
        let now = "2026-11-22T10:00:00.5Z".parse().unwrap();
        outbox.write(now, step, "the password\nis hunter2");
        let expected =
            "2026-11-22T10:00:00.5000000Z the password\n2026-11-22T10:00:00.5000000Z is ***\n";
        for _ in 0..2 {
            assert_eq!(outbox.take_log(|_| false).unwrap().1, expected);
        }
        assert!(outbox.take_log(|_| false).is_none());
        assert_eq!(
            outbox.take_feed().unwrap().value,
            ["the password", "is ***"]
        );
    }

    #[test]
    fn lines_are_numbered_by_record() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = outbox(directory.path());
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let [one, other] = [2, 3].map(|id| RecordId(Uuid::from_u128(id)));
        assert_eq!(outbox.write(now, one, "a\nb"), 1);
        assert_eq!(outbox.write(now, other, "c"), 1);
        assert_eq!(outbox.write(now, one, "d"), 3);
    }

    #[test]
    fn more_secrets_than_can_be_searched_for_hide_everything() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = outbox(directory.path());
        for _ in 0..2 * MOST_SECRETS {
            assert_eq!(outbox.add_secret_of_step("hunter2"), Added::Masked);
        }
        let long = "s".repeat(MOST_SECRET_TEXT + 1);
        assert_eq!(outbox.add_secret_of_step(&long), Added::TooMany);
        assert_eq!(outbox.masked("plain"), "***");
    }

    #[test]
    fn every_text_of_a_record_is_masked_and_secret_outputs_have_no_value() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = outbox(directory.path());
        let leaky = || Some("x hunter2".to_owned());
        let variable = |is_secret| RecordVariable {
            value: leaky(),
            is_secret,
        };
        outbox.update(Record {
            name: leaky(),
            current_operation: leaky(),
            result_code: leaky(),
            issues: vec![Issue {
                kind: IssueKind::Error,
                category: None,
                message: "x hunter2".to_owned(),
                data: [("sourcepath".to_owned(), "hunter2.c".to_owned())].into(),
            }],
            variables: [
                ("open".to_owned(), variable(false)),
                ("closed".to_owned(), variable(true)),
            ]
            .into(),
            ..Record::default()
        });
        let sent = serde_json::to_string(&outbox.records.take()).unwrap();
        assert!(!sent.contains("hunter2"), "{sent}");
        assert!(sent.contains("***.c"));
    }
}
