//! Output chunks to lines, bounded: a line that is too long is given out in pieces that are masked already,
//! because a secret may lie across the place where it is cut.

use crate::worker::mask::{MASK, Masker, merge};

/// The longest line that is kept whole, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// What a stream of output consists of.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A whole line, **not masked**: it may be a logging command.
    Line(String),
    /// A piece of a line that is too long, masked.
    Piece(String),
    /// A line that is too long to be the logging command that it contains; nothing of it is shown.
    CommandTooLong,
}

/// Assembles the lines of one stream.
#[derive(Default)]
pub struct Lines {
    pending: Vec<u8>,
    /// How much of `pending` belongs to a secret for which a mask was written already.
    covered: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Line,
    Pieces,
    Swallow,
}

impl Lines {
    /// Takes a chunk as it comes; gives out what it completes.
    pub fn push(&mut self, chunk: &[u8], masker: &Masker, out: &mut Vec<Output>) {
        let mut parts = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.append(part, masker, out);
            if parts.peek().is_some() {
                self.end_line(masker, out);
            }
        }
    }

    /// The stream has ended; gives out a last line that has no line end.
    pub fn finish(&mut self, masker: &Masker, out: &mut Vec<Output>) {
        if !self.pending.is_empty() || self.state != State::Line {
            self.end_line(masker, out);
        }
    }

    fn append(&mut self, part: &[u8], masker: &Masker, out: &mut Vec<Output>) {
        if self.state == State::Swallow {
            return;
        }
        self.pending.extend_from_slice(part);
        while self.pending.len() > MAX_LINE + masker.longest() {
            if self.state == State::Line && contains_command(&self.pending) {
                self.state = State::Swallow;
                self.pending.clear();
                return;
            }
            self.state = State::Pieces;
            let cut = self.cut(masker.longest());
            let piece = self.take_masked(cut, masker);
            out.push(Output::Piece(piece));
        }
    }

    fn end_line(&mut self, masker: &Masker, out: &mut Vec<Output>) {
        match std::mem::take(&mut self.state) {
            State::Line => {
                let mut line = std::mem::take(&mut self.pending);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                out.push(Output::Line(text(line)));
            }
            State::Pieces => {
                let piece = self.take_masked(self.pending.len(), masker);
                out.push(Output::Piece(piece));
            }
            State::Swallow => out.push(Output::CommandTooLong),
        }
        self.pending.clear();
        self.covered = 0;
    }

    /// A place to cut at, such that every secret that begins before it is complete in `pending`.
    fn cut(&self, longest: usize) -> usize {
        let latest = self.pending.len() - longest.saturating_sub(1);
        // Not inside a character.
        (latest.saturating_sub(3)..=latest)
            .rev()
            .find(|at| self.pending.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80))
            .unwrap_or(latest)
    }

    /// Takes the first `cut` bytes out, masked; a secret across the cut is remembered as covered.
    fn take_masked(&mut self, cut: usize, masker: &Masker) -> String {
        let mut ranges = masker.hits(&self.pending);
        if self.covered > 0 {
            ranges.insert(0, 0..self.covered);
            ranges = merge(ranges);
        }
        let mut masked = Vec::with_capacity(cut);
        let (mut end, mut covered) = (0, 0);
        for range in ranges.into_iter().take_while(|range| range.start < cut) {
            masked.extend_from_slice(&self.pending[end..range.start]);
            if !(range.start == 0 && self.covered > 0) {
                masked.extend_from_slice(MASK.as_bytes());
            }
            covered = range.end.saturating_sub(cut);
            end = range.end.min(cut);
        }
        masked.extend_from_slice(&self.pending[end..cut]);
        self.pending.drain(..cut);
        self.covered = covered;
        text(masked)
    }
}

fn contains_command(bytes: &[u8]) -> bool {
    const START: &[u8] = b"##vso[";
    bytes.windows(START.len()).any(|window| window == START)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(chunks: &[&[u8]], masker: &Masker) -> Vec<Output> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, masker, &mut out);
        }
        lines.finish(masker, &mut out);
        out
    }

    fn line(text: &str) -> Output {
        Output::Line(text.to_owned())
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_the_last_with_nothing() {
        let out = all(&[b"a\nb\r", b"\n\nlast"], &Masker::default());
        assert_eq!(out, [line("a"), line("b"), line(""), line("last")]);
        assert_eq!(all(&[b"a\n"], &Masker::default()), [line("a")]);
    }

    #[test]
    fn a_character_split_over_chunks_survives() {
        let bytes = "grün".as_bytes();
        assert_eq!(
            all(&[&bytes[..3], &bytes[3..]], &Masker::default()),
            [line("grün")]
        );
    }

    #[test]
    fn a_secret_across_the_cut_of_a_long_line_is_masked() {
        let mut masker = Masker::default();
        let _ = masker.add("hunter2!");
        for shift in 0..20 {
            let long = format!(
                "{}hunter2!{}",
                "x".repeat(MAX_LINE - 10 + shift),
                "y".repeat(99)
            );
            let text: String = all(&[long.as_bytes()], &masker)
                .into_iter()
                .map(|output| match output {
                    Output::Piece(piece) => piece,
                    other => masker.mask(&format!("{other:?}")).into_owned(),
                })
                .collect();
            assert!(!text.contains("hunter2"), "shift {shift}");
            assert!(text.contains("***"), "shift {shift}");
        }
    }

    #[test]
    fn a_command_that_is_too_long_shows_nothing() {
        let long = format!(
            "##vso[task.setvariable variable=x;issecret=true]{}\nnext\n",
            "s".repeat(2 * MAX_LINE)
        );
        assert_eq!(
            all(&[long.as_bytes()], &Masker::default()),
            [Output::CommandTooLong, line("next")]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Drives the piecewise path with a small window over an alphabet in which secrets overlap a lot.
        #[test]
        fn no_cutting_leaks(
            secrets in prop::collection::vec("[ab]{3,6}", 1..4),
            text in "[abx]{0,80}",
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let mut masker = Masker::default();
            let _ = masker.add_all(secrets.iter().map(String::as_str));
            let mut lines = Lines { state: State::Pieces, ..Lines::default() };
            let mut shown = String::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                lines.pending.extend_from_slice(now);
                rest = later;
                if lines.pending.len() > masker.longest() {
                    let at = lines.cut(masker.longest());
                    shown += &lines.take_masked(at, &masker);
                }
                if rest.is_empty() { break; }
            }
            shown += &lines.take_masked(lines.pending.len(), &masker);
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
            }
            // Nothing else is lost: the same text masked at once shows the same.
            prop_assert_eq!(shown, masker.mask(&text).into_owned());
        }

        #[test]
        fn no_chunking_leaks(
            secrets in prop::collection::vec("[ab]{3,9}", 1..4),
            text in "[abx\n]{0,200}",
            sizes in prop::collection::vec(1usize..17, 1..9),
        ) {
            let mut masker = Masker::default();
            let _ = masker.add_all(secrets.iter().map(String::as_str));
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            let mut rest = text.as_bytes();
            for size in sizes.iter().cycle() {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                lines.push(now, &masker, &mut out);
                rest = later;
                if rest.is_empty() { break; }
            }
            lines.finish(&masker, &mut out);
            for output in out {
                let Output::Line(line) = output else { panic!("short lines stay whole") };
                let shown = masker.mask(&line);
                for secret in &secrets {
                    prop_assert!(!shown.contains(secret.as_str()));
                }
            }
        }
    }
}
