//! Which branches a `trigger` or a schedule means.

use serde::{Deserialize, Serialize};

/// Patterns of branches; `*` is any text, `?` any character.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchFilter {
    /// At least one of them must match; all branches when there is none.
    pub include: Vec<String>,
    /// None of them may match.
    pub exclude: Vec<String>,
}

const HEADS: &str = "refs/heads/";

impl BranchFilter {
    /// Whether a ref is a branch that is meant. A tag is no branch.
    pub fn takes(&self, reference: &str) -> bool {
        let Some(branch) = reference.strip_prefix(HEADS) else {
            return false;
        };
        let any = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| matches(pattern.strip_prefix(HEADS).unwrap_or(pattern), branch))
        };
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// Whether a pattern matches all of a text; takes at most as many steps as both are long, multiplied.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last `*` is, and up to where it matches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some('?') => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, until)) => {
                    star = Some((at, until + 1));
                    (p, t) = (at + 1, until + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_branches() {
        for (pattern, branch, expected) in [
            ("main", "main", true),
            ("main", "maintenance", false),
            ("*", "a/b", true),
            ("releases/*", "releases/1/2", true),
            ("releases/*", "releases", false),
            ("refs/heads/main", "main", true),
            ("v?.?", "v1.2", true),
            ("v?.?", "v10.2", false),
            ("*fix*", "hotfix/1", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.strip_prefix(HEADS).unwrap_or(pattern), branch),
                expected,
                "{pattern} {branch}"
            );
        }
    }

    #[test]
    fn an_excluded_branch_is_not_taken() {
        let filter = BranchFilter {
            include: vec!["main".to_owned(), "feature/*".to_owned()],
            exclude: vec!["feature/private*".to_owned()],
        };
        assert!(filter.takes("refs/heads/feature/x"));
        assert!(!filter.takes("refs/heads/feature/private-1"));
        assert!(!filter.takes("refs/heads/other"));
        assert!(!filter.takes("refs/tags/main"));
        assert!(BranchFilter::default().takes("refs/heads/anything"));
        let all_but = BranchFilter {
            include: Vec::new(),
            exclude: vec!["old".to_owned()],
        };
        assert!(all_but.takes("refs/heads/main") && !all_but.takes("refs/heads/old"));
    }
}
