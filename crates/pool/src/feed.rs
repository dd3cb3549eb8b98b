//! The console feed: the last lines of jobs, in memory, for whoever follows them.
//!
//! It is best effort and bounded in lines and in jobs; what a job wrote is in its logs.

use dayfly_wire::ids::{RecordId, RequestId};
use dayfly_wire::log::{FEED_LINE_CHARACTERS, FeedLines};
use dayfly_wire::queue::FeedEntry;
use jiff::Timestamp;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Lines that are kept of a job.
const LINES: usize = 5000;
/// Jobs that lines are kept of.
const JOBS: usize = 500;
/// The most lines that one page has.
const PAGE: usize = 1000;

#[derive(Default)]
struct Ring {
    lines: VecDeque<FeedEntry>,
    /// The number of the first line that is kept.
    first: u64,
    bell: Arc<Notify>,
}

/// The feeds of recent jobs.
#[derive(Default)]
pub struct Feed {
    rings: Mutex<Rings>,
}

#[derive(Default)]
struct Rings {
    /// Until when somebody watches a job, as far as is known now.
    watched: HashMap<RequestId, Timestamp>,
    by_request: HashMap<RequestId, Ring>,
    /// Oldest first, for letting go of.
    order: VecDeque<RequestId>,
}

/// A page of a feed.
pub struct Page {
    /// The lines.
    pub lines: Vec<FeedEntry>,
    /// Where the next page begins.
    pub next: u64,
    /// Lines before the first one that are gone.
    pub dropped: u64,
}

impl Feed {
    /// Adds lines, and wakes whoever follows.
    pub fn push(&self, request: RequestId, posted: FeedLines) {
        let mut rings = self.rings();
        let ring = rings.ring(request);
        for (line, offset) in posted.value.into_iter().zip(0..) {
            let number = posted.start_line.map(|first| first.saturating_add(offset));
            ring.push(posted.step_id, number, &line);
        }
        ring.bell.notify_waiters();
    }

    /// Wakes whoever follows: the job's state changed.
    pub fn wake(&self, request: RequestId) {
        if let Some(ring) = self.rings().by_request.get(&request) {
            ring.bell.notify_waiters();
        }
    }

    /// The bell of a job's feed; enable its `notified()` before looking.
    pub fn bell(&self, request: RequestId) -> Arc<Notify> {
        Arc::clone(&self.rings().ring(request).bell)
    }

    /// Somebody watches until then; true when nobody did before.
    pub fn watch(&self, request: RequestId, until: Timestamp) -> bool {
        let mut rings = self.rings();
        let known = rings.watched.entry(request);
        let begins = matches!(known, Entry::Vacant(_));
        let end = known.or_insert(until);
        *end = until.max(*end);
        begins
    }

    /// The jobs that somebody watched until now and nobody does any more; each is told once.
    pub fn left(&self, now: Timestamp) -> Vec<RequestId> {
        let mut rings = self.rings();
        let left = rings.watched.extract_if(|_, until| *until <= now);
        left.map(|(request, _)| request).collect()
    }

    /// The lines from number `after` on.
    pub fn page(&self, request: RequestId, after: u64) -> Page {
        let rings = self.rings();
        let Some(ring) = rings.by_request.get(&request) else {
            return Page {
                lines: Vec::new(),
                next: after,
                dropped: 0,
            };
        };
        let start = after.max(ring.first);
        let skip = usize::try_from(start - ring.first).unwrap_or(usize::MAX);
        let lines: Vec<_> = ring.lines.iter().skip(skip).take(PAGE).cloned().collect();
        Page {
            next: start + lines.len() as u64,
            dropped: start - after,
            lines,
        }
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings {
    fn ring(&mut self, request: RequestId) -> &mut Ring {
        if !self.by_request.contains_key(&request) {
            self.order.push_back(request);
            if self.order.len() > JOBS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_request.remove(&oldest);
            }
        }
        self.by_request.entry(request).or_default()
    }
}

impl Ring {
    fn push(&mut self, step_id: Option<RecordId>, number: Option<i64>, line: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.first += 1;
        }
        // Agents cut lines themselves; this bounds those that do not.
        let line = line.chars().take(FEED_LINE_CHARACTERS + 3).collect();
        self.lines.push_back(FeedEntry {
            step_id,
            number,
            line,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(lines: usize) -> FeedLines {
        FeedLines {
            count: lines,
            value: (0..lines).map(|number| number.to_string()).collect(),
            step_id: None,
            start_line: None,
        }
    }

    #[test]
    fn what_is_dropped_is_said() {
        let feed = Feed::default();
        feed.push(RequestId(1), posted(LINES + 10));
        let page = feed.page(RequestId(1), 0);
        assert_eq!((page.dropped, page.lines.len()), (10, PAGE));
        assert_eq!(page.lines[0].line, "10");
        let next = feed.page(RequestId(1), page.next);
        assert_eq!((next.dropped, next.lines[0].line.as_str()), (0, "1010"));
    }

    #[test]
    fn who_watches_and_leaves_is_told_once() {
        let feed = Feed::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(feed.watch(RequestId(1), at(10)));
        assert!(!feed.watch(RequestId(1), at(20)));
        assert!(
            !feed.watch(RequestId(1), at(5)),
            "another one stays less long"
        );
        assert!(feed.left(at(19)).is_empty());
        assert_eq!(feed.left(at(20)), [RequestId(1)]);
        assert!(feed.left(at(20)).is_empty());
        assert!(feed.watch(RequestId(1), at(30)));
    }

    #[test]
    fn only_recent_jobs_are_kept() {
        let feed = Feed::default();
        for request in 0..=JOBS {
            feed.push(RequestId(i64::try_from(request).unwrap()), posted(1));
        }
        assert!(feed.page(RequestId(0), 0).lines.is_empty());
        assert_eq!(feed.page(RequestId(1), 0).lines.len(), 1);
    }
}
