//! Live lines that wait to be shown. Pure.

use dayfly_wire::ids::RecordId;
use dayfly_wire::log::{FEED_LINE_CHARACTERS, FEED_LINES, FeedLines};
use std::collections::VecDeque;

/// What waits per step. A step that writes faster than the service takes lines loses the oldest from the live view;
/// the stored log has them all.
const WAITING: usize = 500;

/// The live lines of all steps, oldest step first.
#[derive(Default)]
pub(crate) struct Feed(Vec<StepLines>);

struct StepLines {
    step: RecordId,
    /// The number of the first waiting line, from 1.
    first: i64,
    lines: VecDeque<String>,
}

impl Feed {
    /// Adds a masked line.
    pub(crate) fn push(&mut self, step: RecordId, line: &str) {
        let at = match self.0.iter().position(|lines| lines.step == step) {
            Some(at) => at,
            None => {
                self.0.push(StepLines {
                    step,
                    first: 1,
                    lines: VecDeque::new(),
                });
                self.0.len() - 1
            }
        };
        let step = &mut self.0[at];
        if step.lines.len() == WAITING {
            step.lines.pop_front();
            step.first += 1;
        }
        step.lines.push_back(cut(line));
    }

    /// The next post, when there is anything to show.
    pub(crate) fn take(&mut self) -> Option<FeedLines> {
        let step = self.0.iter_mut().find(|step| !step.lines.is_empty())?;
        let count = step.lines.len().min(FEED_LINES);
        let value: Vec<String> = step.lines.drain(..count).collect();
        let start_line = step.first;
        step.first += i64::try_from(count).unwrap_or(0);
        Some(FeedLines {
            count,
            value,
            step_id: Some(step.step),
            start_line: Some(start_line),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|step| step.lines.is_empty())
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(FEED_LINE_CHARACTERS) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn posts_are_bounded_and_numbered() {
        let (one, two) = (RecordId(Uuid::from_u128(1)), RecordId(Uuid::from_u128(2)));
        let mut feed = Feed::default();
        for number in 1..=150 {
            feed.push(one, &format!("line {number}"));
        }
        feed.push(two, "other");
        let posts: Vec<_> = std::iter::from_fn(|| feed.take()).collect();
        let shape: Vec<_> = posts
            .iter()
            .map(|post| (post.step_id, post.start_line, post.count))
            .collect();
        assert_eq!(
            shape,
            [
                (Some(one), Some(1), 100),
                (Some(one), Some(101), 50),
                (Some(two), Some(1), 1)
            ]
        );
        assert_eq!(posts[1].value[0], "line 101");
        assert!(feed.is_empty());
    }

    #[test]
    fn a_flood_keeps_the_newest_lines_and_their_numbers() {
        let step = RecordId::default();
        let mut feed = Feed::default();
        for number in 1..=WAITING + 7 {
            feed.push(step, &number.to_string());
        }
        let post = feed.take().unwrap();
        assert_eq!((post.start_line, &*post.value[0]), (Some(8), "8"));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut feed = Feed::default();
        feed.push(RecordId::default(), &"ä".repeat(2000));
        let line = &feed.take().unwrap().value[0];
        assert_eq!(line.chars().count(), FEED_LINE_CHARACTERS + 3);
        assert!(line.ends_with("..."));
    }
}
