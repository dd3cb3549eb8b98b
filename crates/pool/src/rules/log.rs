//! Stored logs: counting lines and cutting a range out.

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

/// Writes text, which comes in pieces, as the document that is the list of its lines.
#[derive(Debug, Default)]
pub struct LineList {
    /// The beginning of a line whose end has not come.
    rest: String,
    count: usize,
}

impl LineList {
    /// What a further piece of text adds to the document.
    pub fn push(&mut self, text: &str) -> String {
        let mut written = String::with_capacity(text.len());
        let mut lines = text.split('\n');
        self.rest.push_str(lines.next().unwrap_or_default());
        for next in lines {
            let ended = std::mem::replace(&mut self.rest, next.to_owned());
            self.write(&ended, &mut written);
        }
        written
    }

    /// What ends the document.
    pub fn end(mut self) -> String {
        let mut written = String::new();
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.write(&rest, &mut written);
        }
        if self.count == 0 {
            written.push_str(BEGIN);
        }
        written + &format!("],\"count\":{}}}", self.count)
    }

    fn write(&mut self, line: &str, written: &mut String) {
        written.push_str(if self.count == 0 { BEGIN } else { "," });
        written.push_str(&serde_json::Value::from(line).to_string());
        self.count += 1;
    }
}

const BEGIN: &str = "{\"value\":[";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_listed_however_the_text_was_cut() {
        let text = "one\ntwo \"quoted\"\n\nlast";
        for cut in 0..text.len() {
            let mut list = LineList::default();
            let (first, second) = text.split_at(cut);
            let written = list.push(first) + &list.push(second) + &list.end();
            let document: serde_json::Value = serde_json::from_str(&written).unwrap();
            let lines = serde_json::json!(["one", "two \"quoted\"", "", "last"]);
            assert_eq!(document, serde_json::json!({"count": 4, "value": lines}));
        }
        let nothing: serde_json::Value = serde_json::from_str(&LineList::default().end()).unwrap();
        assert_eq!(nothing, serde_json::json!({"count": 0, "value": []}));
    }

    #[test]
    fn a_range_counts_from_the_pieces_first_line() {
        assert_eq!(range("e\nf\ng\n", 5, 6, 6), "f\n");
        assert_eq!(range("e\nf\ng", 5, 7, 99), "g");
        assert_eq!(range("e\n", 5, 1, 4), "");
        assert_eq!(line_ends("a\nb"), 1);
    }
}
