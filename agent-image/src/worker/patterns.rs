//! Which files of an artifact are wanted: one pattern on each line, `!` before those that take away again. `*` and `?` stay
//! within one name, `**` goes over any number of them. Pure.

/// Patterns, in order.
pub(crate) struct Patterns(Vec<Pattern>);

struct Pattern {
    names: Vec<String>,
    takes_away: bool,
}

impl Patterns {
    /// Reads patterns; no pattern at all wants everything.
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let mut patterns: Vec<Pattern> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let takes_away = line.starts_with('!');
                let line = line.trim_start_matches('!').trim_matches('/');
                Pattern {
                    names: line.split('/').map(ToOwned::to_owned).collect(),
                    takes_away,
                }
            })
            .collect();
        if patterns.iter().all(|pattern| pattern.takes_away) {
            patterns.insert(
                0,
                Pattern {
                    names: vec!["**".to_owned()],
                    takes_away: false,
                },
            );
        }
        Self(patterns)
    }

    /// Whether a file is wanted; the last pattern that matches decides.
    pub(crate) fn want(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        self.0
            .iter()
            .rev()
            .find(|pattern| covers(&pattern.names, &names))
            .is_some_and(|pattern| !pattern.takes_away)
    }
}

/// Goes back to the last `**` only, so its cost is bounded by the product of the lengths.
fn covers(pattern: &[String], names: &[&str]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut stars: Option<(usize, usize)> = None;
    while from < names.len() {
        match pattern.get(at) {
            Some(name) if name == "**" => {
                stars = Some((at, from));
                at += 1;
            }
            Some(name) if matches(name.as_bytes(), names[from].as_bytes()) => {
                at += 1;
                from += 1;
            }
            _ => match stars {
                Some((place, taken)) => {
                    stars = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|name| name == "**")
}

/// `*` is any text, `?` any byte. Goes back to the last star only.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        for (patterns, path, wanted) in [
            ("", "any/thing", true),
            ("**", "any/thing", true),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "x/y/a.txt", true),
            ("*.txt", "x/a.txt", false),
            ("x/**", "x/y/z", true),
            ("x/**/z", "x/z", true),
            ("drop/", "drop", true),
            ("**\n!**/*.map", "js/a.map", false),
            ("**\n!**/*.map", "js/a.js", true),
            ("!secret", "secret", false),
            ("!secret", "other", true),
            ("a?c", "abc", true),
            ("# only\nb", "a", false),
        ] {
            assert_eq!(
                Patterns::read(patterns).want(path),
                wanted,
                "{patterns:?} {path}"
            );
        }
    }

    #[test]
    fn names_with_wildcards() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*", "", true),
            ("a?", "ab", true),
            ("a?", "a", false),
            ("**x", "yyx", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_a_name_covers_itself(pattern in "[*?!/ab#\n]{0,30}", path in "[ab/]{0,30}") {
            let _ = Patterns::read(&pattern).want(&path);
            prop_assert!(matches(path.as_bytes(), path.as_bytes()));
        }
    }
}
