//! The console feed: what is kept of a job's lines for whoever follows it. It is bounded; what a job wrote is in its
//! logs.

use dayfly_wire::ids::RecordId;
use dayfly_wire::log::FEED_LINE_CHARACTERS;
use dayfly_wire::queue::FeedEntry;
use jiff::SignedDuration;

/// Lines that are kept of a job.
pub const LINES: i64 = 5000;
/// The most lines that one page has.
pub const PAGE: usize = 1000;
/// How long lines are kept after the job's end.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Lines that were posted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The number of the first line, from 0.
    pub first: i64,
    /// The step that wrote them.
    pub step: Option<RecordId>,
    /// The number of the first line in the step's output, from 1.
    pub number: Option<i64>,
    /// The lines.
    pub lines: Vec<String>,
}

/// A page of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The lines.
    pub lines: Vec<FeedEntry>,
    /// Where the next page begins.
    pub next: u64,
    /// Lines before the first one that are gone.
    pub dropped: u64,
}

/// Lines as they are kept. Agents cut lines themselves; this bounds those that do not.
pub fn cut(lines: Vec<String>) -> Vec<String> {
    let cut = |line: String| match line.char_indices().nth(FEED_LINE_CHARACTERS + 3) {
        Some((end, _)) => line[..end].to_owned(),
        None => line,
    };
    lines.into_iter().map(cut).collect()
}

/// The lines from number `after` on, out of the chunks that hold them, in their order.
pub fn page(chunks: Vec<Chunk>, after: u64) -> Page {
    let wanted = i64::try_from(after).unwrap_or(i64::MAX);
    let first = chunks.first().map_or(wanted, |chunk| chunk.first);
    let start = wanted.max(first);
    let entries = chunks.into_iter().flat_map(|chunk| {
        let skip = usize::try_from(start - chunk.first).unwrap_or_default();
        let (step_id, number) = (chunk.step, chunk.number);
        let lines = chunk.lines.into_iter().zip(0..).skip(skip);
        lines.map(move |(line, offset)| FeedEntry {
            step_id,
            number: number.map(|first| first.saturating_add(offset)),
            line,
        })
    });
    let lines: Vec<FeedEntry> = entries.take(PAGE).collect();
    let start = u64::try_from(start).unwrap_or(after);
    Page {
        next: start + lines.len() as u64,
        dropped: start - after,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: i64, count: i64) -> Chunk {
        Chunk {
            first,
            step: None,
            number: Some(first + 1),
            lines: (first..first + count)
                .map(|line| line.to_string())
                .collect(),
        }
    }

    #[test]
    fn what_is_dropped_is_said() {
        let page = page(vec![chunk(10, 100), chunk(110, 5)], 0);
        assert_eq!((page.dropped, page.lines.len(), page.next), (10, 105, 115));
        assert_eq!(page.lines[0].line, "10");
        assert_eq!(page.lines[1].number, Some(12));
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let chunks = || (0..30).map(|number| chunk(number * 100, 100)).collect();
        let mut next = 0;
        for expected in [0, 1000, 2000] {
            let page = page(chunks(), next);
            assert_eq!(page.lines[0].line, expected.to_string());
            assert_eq!((page.dropped, page.lines.len()), (0, PAGE));
            next = page.next;
        }
        assert_eq!(page(chunks(), next).next, 3000, "nothing new");
        assert_eq!(
            page(Vec::new(), 7),
            Page {
                next: 7,
                ..Page::default()
            }
        );
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let cut = cut(vec!["ä".repeat(5000), "short".to_owned()]);
        assert_eq!(cut[0].chars().count(), FEED_LINE_CHARACTERS + 3);
        assert_eq!(cut[1], "short");
    }
}
