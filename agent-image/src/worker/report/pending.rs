//! Record changes that wait to be sent, merged per record. Pure.

use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::Record;

/// The most records in one call, and how long the call may be, in bytes; services take documents of a few megabytes.
const BATCH: usize = 25;
const BATCH_LENGTH: usize = 2 << 20;

/// Changes in the order in which their records were first touched.
#[derive(Default)]
pub(crate) struct Pending(Vec<Record>);

impl Pending {
    /// Adds a change; what it sets wins over what waits already.
    pub(crate) fn push(&mut self, change: Record) {
        match self.position(change.id) {
            Some(at) => overlay(&mut self.0[at], change),
            None => self.0.push(change),
        }
    }

    /// The next batch; give it back when it could not be sent.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        let mut room = BATCH_LENGTH;
        let mut count = 0;
        for record in self.0.iter().take(BATCH) {
            let length = serde_json::to_vec(record).map_or(0, |text| text.len());
            if count > 0 && length > room {
                break;
            }
            room = room.saturating_sub(length);
            count += 1;
        }
        self.0.drain(..count).collect()
    }

    /// Puts a batch back, below what came since.
    pub(crate) fn give_back(&mut self, batch: Vec<Record>) {
        let newer = std::mem::replace(&mut self.0, batch);
        for change in newer {
            self.push(change);
        }
    }

    fn position(&self, id: RecordId) -> Option<usize> {
        self.0.iter().position(|record| record.id == id)
    }
}

/// Sets in `old` whatever `new` sets.
fn overlay(old: &mut Record, new: Record) {
    // Every field by name: a new one must be thought of here.
    let Record {
        id: _,
        parent_id,
        kind,
        name,
        start_time,
        finish_time,
        current_operation,
        percent_complete,
        state,
        result,
        result_code,
        change_id,
        last_modified,
        worker_name,
        order,
        ref_name,
        log,
        details,
        attempt,
        identifier,
        error_count,
        warning_count,
        issues,
        task,
        variables,
    } = new;
    set(&mut old.parent_id, parent_id);
    set(&mut old.kind, kind);
    set(&mut old.name, name);
    set(&mut old.start_time, start_time);
    set(&mut old.finish_time, finish_time);
    set(&mut old.current_operation, current_operation);
    set(&mut old.percent_complete, percent_complete);
    set(&mut old.state, state);
    set(&mut old.result, result);
    set(&mut old.result_code, result_code);
    set(&mut old.change_id, change_id);
    set(&mut old.last_modified, last_modified);
    set(&mut old.worker_name, worker_name);
    set(&mut old.order, order);
    set(&mut old.ref_name, ref_name);
    set(&mut old.log, log);
    set(&mut old.details, details);
    set(&mut old.attempt, attempt);
    set(&mut old.identifier, identifier);
    set(&mut old.error_count, error_count);
    set(&mut old.warning_count, warning_count);
    set(&mut old.task, task);
    if !issues.is_empty() {
        old.issues = issues;
    }
    old.variables.extend(variables);
}

fn set<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_wire::timeline::RecordState;
    use uuid::Uuid;

    fn change(id: u128, name: Option<&str>, percent: Option<i64>) -> Record {
        Record {
            id: RecordId(Uuid::from_u128(id)),
            name: name.map(ToOwned::to_owned),
            percent_complete: percent,
            ..Record::default()
        }
    }

    #[test]
    fn changes_of_one_record_merge_and_the_newer_wins() {
        let mut pending = Pending::default();
        pending.push(change(1, Some("one"), Some(10)));
        pending.push(change(2, Some("two"), None));
        pending.push(change(1, None, Some(20)));
        assert_eq!(
            pending.take(),
            [
                change(1, Some("one"), Some(20)),
                change(2, Some("two"), None)
            ]
        );
        assert!(pending.take().is_empty());
    }

    #[test]
    fn a_batch_is_no_longer_than_a_call_may_be() {
        let mut pending = Pending::default();
        let long = "x".repeat(BATCH_LENGTH / 3);
        for id in 0..5 {
            pending.push(change(id, Some(&long), None));
        }
        let whole = "y".repeat(2 * BATCH_LENGTH);
        pending.push(change(9, Some(&whole), None));
        let counts: Vec<usize> = std::iter::from_fn(|| Some(pending.take().len()))
            .take_while(|count| *count > 0)
            .collect();
        assert_eq!(counts, [2, 2, 1, 1]);
    }

    #[test]
    fn a_batch_that_failed_goes_below_what_came_since() {
        let mut pending = Pending::default();
        pending.push(change(1, Some("old"), Some(10)));
        let batch = pending.take();
        pending.push(Record {
            state: Some(RecordState::Completed),
            ..change(1, Some("new"), None)
        });
        pending.give_back(batch);
        assert_eq!(
            pending.take(),
            [Record {
                state: Some(RecordState::Completed),
                ..change(1, Some("new"), Some(10))
            }]
        );
    }
}
