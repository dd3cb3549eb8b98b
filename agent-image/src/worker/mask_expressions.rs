//! What is masked by its shape: expressions that the service sends, and passwords in URLs. Pure.
//!
//! They are matched in time that grows with the text only. In a line that is too long to be kept whole an expression is
//! looked for in each piece of it.

use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;
use std::sync::LazyLock;

/// The most expressions, and the most memory that one may be turned into.
const MOST: usize = 100;
const MOST_MEMORY: usize = 1 << 20;

/// The password of `scheme://user:password@host`, also as logging commands escape it.
static PASSWORD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let allowed = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%(?:AZP25)?[0-9A-Fa-f]{2})";
    Regex::new(&format!(r"//[^:/?#\n]*:({allowed}+)@")).ok()
});

/// The expressions of one job.
#[derive(Default)]
pub(crate) struct Expressions(Vec<Regex>);

impl Expressions {
    /// Adds an expression; whether it is understood. What looks around is not.
    pub(crate) fn add(&mut self, pattern: &str) -> bool {
        let built = RegexBuilder::new(pattern)
            .size_limit(MOST_MEMORY)
            .dfa_size_limit(MOST_MEMORY)
            .build();
        match built {
            Ok(expression) if self.0.len() < MOST => {
                self.0.push(expression);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Adds where they match.
    pub(crate) fn find(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        for expression in &self.0 {
            let matches = expression.find_iter(text).map(|hit| hit.range());
            found.extend(matches.filter(|range| !range.is_empty()));
        }
        if let Some(password) = PASSWORD.as_ref() {
            let matches = password.captures_iter(text);
            found.extend(matches.filter_map(|hit| Some(hit.get(1)?.range())));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::worker::mask::Masker;

    #[test]
    fn the_password_of_a_url_is_masked_wherever_it_stands() {
        let masker = Masker::default();
        for (text, expected) in [
            ("https://u:p4ss@h/x", "https://u:***@h/x"),
            ("//u:p%20s@h and ftp://:x@h", "//u:***@h and ftp://:***@h"),
            ("git://u:a%AZP2540b@h", "git://u:***@h"),
            ("https://host:8080/path@x", "https://host:8080/path@x"),
            ("https://user@host", "https://user@host"),
            ("// see: a@b", "// see: a@b"),
            ("https://u:päss@h", "https://u:päss@h"),
        ] {
            assert_eq!(masker.mask(text), expected);
        }
    }

    #[test]
    fn expressions_are_matched_and_those_that_look_around_are_not_understood() {
        let mut masker = Masker::default();
        assert!(masker.add_expression(r"tok_[a-z0-9]{4,}"));
        assert!(masker.add_expression(r"(?-u)\xbc"));
        assert!(!masker.add_expression(r"(?<=key=)\w+"));
        assert!(!masker.add_expression(r"(?:\w{1000}){1000}"));
        assert_eq!(masker.mask("a tok_ab12c, tok_1"), "a ***, tok_1");
        // Half a character is all of it.
        assert_eq!(masker.mask("grün"), "gr***n");
    }

    #[test]
    fn an_expression_that_matches_everything_takes_no_longer() {
        let mut masker = Masker::default();
        assert!(masker.add_expression("(x+x+)+y"));
        let text = "x".repeat(100_000);
        assert_eq!(masker.mask(&text), text);
    }
}
