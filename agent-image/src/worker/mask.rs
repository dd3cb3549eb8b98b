//! Takes secrets out of text before it leaves the process.
//!
//! Every known form of a secret is searched for at once, overlapping hits included; hits that overlap or touch
//! become one `***`.

use crate::worker::mask_expressions::Expressions;
use crate::worker::secret_forms::forms;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// Shorter secrets are not masked: a secret `1` would leave no log readable.
pub const MINIMUM_LENGTH: usize = 3;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// The set of secrets, ready to search.
#[derive(Default)]
pub struct Masker {
    patterns: BTreeSet<String>,
    automaton: Option<AhoCorasick>,
    expressions: Expressions,
    longest: usize,
    /// The secrets cannot be indexed: everything is masked.
    blind: bool,
}

/// Whether a secret will be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It will.
    Masked,
    /// It is shorter than [`MINIMUM_LENGTH`], or blank, and will not.
    TooShort,
    /// There are more than can be searched for; from now on everything is masked.
    TooMany,
}

/// Whether a secret is there but will not be masked.
pub(crate) fn is_too_short(secret: &str) -> bool {
    !secret.is_empty() && secret.trim().len() < MINIMUM_LENGTH
}

impl Masker {
    /// Adds one secret in all its forms.
    pub fn add(&mut self, secret: &str) -> Added {
        self.add_all([secret])
    }

    /// Adds secrets in all their forms; one rebuild for all of them. `TooShort` when any was too short.
    pub fn add_all<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) -> Added {
        let before = self.patterns.len();
        let mut added = Added::Masked;
        for secret in secrets {
            if secret.is_empty() {
                continue;
            }
            if is_too_short(secret) {
                added = Added::TooShort;
                continue;
            }
            self.patterns.extend(forms(secret));
        }
        if self.patterns.len() != before {
            self.rebuild();
        }
        added
    }

    /// Masks everything from now on.
    pub(crate) fn hide_everything(&mut self) {
        self.blind = true;
    }

    /// Whether a text is searched for already, as a secret or as a form of one.
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.patterns.contains(text)
    }

    /// Masks what an expression matches; whether it is understood.
    pub fn add_expression(&mut self, pattern: &str) -> bool {
        self.expressions.add(pattern)
    }

    /// The length in bytes of the longest text that is searched for.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The text with every secret replaced.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let ranges = self.hits(text.as_bytes());
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for range in ranges {
            // An expression may match a part of a character.
            let start = text.floor_char_boundary(range.start);
            masked.push_str(&text[end..start.max(end)]);
            masked.push_str(MASK);
            end = text.ceil_char_boundary(range.end);
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }

    /// Where secrets are, in order, merged.
    pub(crate) fn hits(&self, text: &[u8]) -> Vec<Range<usize>> {
        if self.blind {
            return std::iter::once(0..text.len()).collect();
        }
        let mut found = Vec::new();
        if let Some(automaton) = &self.automaton {
            let hits = automaton.find_overlapping_iter(text);
            found.extend(hits.map(|hit| hit.range()));
        }
        self.expressions.find(text, &mut found);
        found.sort_unstable_by_key(|range| range.start);
        merge(found)
    }

    /// Indexing fails beyond 2^31 bytes of secrets; showing nothing is then better than showing one.
    ///
    /// A token in all its forms is tens of kilobytes: as a full table that takes 25 MB and is slower to make than most
    /// logs are to search. The compact one takes half a megabyte and is there before the first step begins.
    fn rebuild(&mut self) {
        self.longest = self.patterns.iter().map(String::len).max().unwrap_or(0);
        let built = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&self.patterns);
        self.blind = built.is_err();
        self.automaton = built.ok();
    }
}

/// Joins ranges, sorted by start, that overlap or touch.
pub(crate) fn merge(sorted: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(secrets: &[&str]) -> Masker {
        let mut masker = Masker::default();
        let _ = masker.add_all(secrets.iter().copied());
        masker
    }

    #[test]
    fn overlapping_and_touching_hits_become_one_mask() {
        for (secrets, text, expected) in [
            (&["abc"][..], "abcabcdef", "***def"),
            (&["def", "bcd"], "abcdefg", "a***g"),
            (&["efg", "bcd"], "abcdefgh", "a***h"),
            (&["abc", "xyz"], "abc-xyz", "***-***"),
            (&["ärger"], "viel ärger!", "viel ***!"),
            (&[], "nothing", "nothing"),
        ] {
            assert_eq!(masker(secrets).mask(text), expected, "{secrets:?}");
        }
    }

    #[test]
    fn short_secrets_are_refused_and_said_so() {
        let mut masker = Masker::default();
        assert_eq!(masker.add("ab"), Added::TooShort);
        assert_eq!(masker.add("  a \n"), Added::TooShort);
        assert_eq!(masker.add("abc"), Added::Masked);
        assert_eq!(masker.mask("ab abc"), "ab ***");
    }

    #[test]
    fn a_secret_added_later_is_masked_from_then_on() {
        let mut masker = masker(&["first"]);
        assert_eq!(masker.mask("first second"), "*** second");
        let _ = masker.add("second");
        assert_eq!(masker.mask("first second"), "*** ***");
    }
}
