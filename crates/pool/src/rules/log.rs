//! Stored logs: counting lines and cutting a range out.

/// The most that one log holds.
pub const MAX_BYTES: i64 = 256 * 1024 * 1024;

/// Line ends in a piece of text.
pub fn line_ends(text: &str) -> i64 {
    let ends = text.bytes().filter(|byte| *byte == b'\n').count();
    i64::try_from(ends).unwrap_or(i64::MAX)
}

/// Lines `start` to `end` (from 1, both included) of `text`, whose first line has the number `first`.
pub fn range(text: &str, first: i64, start: i64, end: i64) -> String {
    text.split_inclusive('\n')
        .zip(first..)
        .filter(|(_, number)| (start..=end).contains(number))
        .map(|(line, _)| line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_from_the_pieces_first_line() {
        assert_eq!(range("e\nf\ng\n", 5, 6, 6), "f\n");
        assert_eq!(range("e\nf\ng", 5, 7, 99), "g");
        assert_eq!(range("e\n", 5, 1, 4), "");
        assert_eq!(line_ends("a\nb"), 1);
    }
}
