//! The key of a cache entry: what a step says, cut into segments, and which segments name files. Pure.

use crate::host::protocol::{Hashed, HashedFile};
use std::path::{Component, Path, PathBuf};

/// How long a key may be, in bytes, and how many segments it may have.
const LONGEST: usize = 16 << 10;
const MOST_SEGMENTS: usize = 64;
/// How many keys to restore by there may be.
const MOST_RESTORE_KEYS: usize = 20;
const WILDCARDS: [char; 4] = ['*', '?', '[', ']'];

/// A segment of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Stands for itself, quotes and all.
    Text(String),
    /// Stands for what the files hold that these patterns name.
    Files {
        /// As it was written.
        written: String,
        /// Absolute patterns.
        patterns: Vec<String>,
        /// Patterns of what does not count.
        without: Vec<String>,
    },
}

/// A step's keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) key: Vec<Segment>,
    /// Their beginnings are enough, in this order.
    pub(crate) restore: Vec<Vec<Segment>>,
    /// The key is of the form with a segment on each line, which is going out of use.
    pub(crate) old_form: bool,
}

/// Reads a step's keys. Relative patterns begin at `root`; `salt` is put before every key.
pub(crate) fn read(
    key: &str,
    restore: &str,
    root: &str,
    salt: Option<&str>,
) -> Result<Keys, String> {
    let old_form = key.trim().contains('\n');
    let lines: Vec<&str> = restore
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if old_form && !lines.is_empty() {
        return Err(
            "A key with a segment on each line cannot be used with restoreKeys; write it as one line with '|'."
                .to_owned(),
        );
    }
    if key.len() > LONGEST || restore.len() > LONGEST || lines.len() > MOST_RESTORE_KEYS {
        return Err(format!(
            "A key is at most {LONGEST} bytes long, and there are at most {MOST_RESTORE_KEYS} restoreKeys."
        ));
    }
    let separator = if old_form { '\n' } else { '|' };
    Ok(Keys {
        key: segments(key, separator, root, salt)?,
        restore: lines
            .into_iter()
            .map(|line| segments(line, '|', root, salt))
            .collect::<Result<_, _>>()?,
        old_form,
    })
}

fn segments(
    text: &str,
    separator: char,
    root: &str,
    salt: Option<&str>,
) -> Result<Vec<Segment>, String> {
    let salt = salt.map(|salt| Segment::Text(format!("AZP_CACHING_SALT={salt}")));
    let own = text
        .split(separator)
        .map(str::trim)
        .filter(|segment| !segment.is_empty());
    let mut segments: Vec<Segment> = salt.into_iter().collect();
    for segment in own {
        segments.push(read_segment(segment, root)?);
    }
    match segments.len() {
        0 => Err("A key has no segment.".to_owned()),
        1..=MOST_SEGMENTS => Ok(segments),
        _ => Err(format!("A key has at most {MOST_SEGMENTS} segments.")),
    }
}

fn read_segment(segment: &str, root: &str) -> Result<Segment, String> {
    if matches!(segment, "*" | "**") {
        return Err(format!(
            "'{segment}' is no segment of a key; for files write ./{segment}"
        ));
    }
    if segment.starts_with(['\'', '`']) {
        return Err(format!(
            "The segment {segment} of a key begins with a quote that keys do not know; use \"."
        ));
    }
    if !names_files(segment) {
        return Ok(Segment::Text(segment.to_owned()));
    }
    let rules = segment.split(',').map(str::trim);
    let (without, patterns): (Vec<&str>, Vec<&str>) = rules
        .filter(|rule| !rule.is_empty())
        .partition(|rule| rule.starts_with('!'));
    if patterns.is_empty() {
        return Err(format!("The segment {segment} of a key names no files."));
    }
    Ok(Segment::Files {
        written: segment.to_owned(),
        patterns: patterns.iter().map(|rule| absolute(root, rule)).collect(),
        without: without
            .iter()
            .map(|rule| absolute(root, rule.trim_start_matches('!').trim()))
            .collect(),
    })
}

/// A file has a dot or a slash; what ends with a dot is a sentence, and what is quoted is a text.
fn names_files(segment: &str) -> bool {
    let quoted = segment.len() > 1 && segment.starts_with('"') && segment.ends_with('"');
    !quoted && segment.contains(['.', '/']) && !segment.ends_with('.') && !segment.contains('\0')
}

/// A path or pattern without `.` and `..`, as the text says it.
fn absolute(root: &str, rule: &str) -> String {
    let mut clean = PathBuf::from("/");
    for component in Path::new(root).join(rule).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean.display().to_string()
}

/// Whether a segment of files names one file only.
pub(crate) fn is_one_file(written: &str) -> bool {
    !written.contains(WILDCARDS) && !written.contains(',')
}

/// How a segment is shown, when its files were looked at.
pub(crate) fn shown(segment: &Segment, hashed: Option<&Hashed>) -> Vec<String> {
    match (segment, hashed) {
        (Segment::Text(text), _) => vec![format!(" - {text} [string]")],
        (Segment::Files { written, .. }, None) => vec![format!(" - {written} [file]")],
        (Segment::Files { written, .. }, Some(hashed)) => match hashed.first.as_slice() {
            [only] if is_one_file(written) => {
                vec![format!(" - {written} [file] --> {}", only.hash)]
            }
            files => {
                let head = format!(" - {written} [file pattern; matches: {}]", hashed.count);
                let files = files
                    .iter()
                    .map(|HashedFile { path, hash }| format!("   - {path} --> {hash}"));
                std::iter::once(head).chain(files).collect()
            }
        },
    }
}

/// Whether a stored key begins with these segments.
pub(crate) fn begins_with(key: &[String], segments: &[String]) -> bool {
    key.len() >= segments.len() && key.iter().zip(segments).all(|(one, other)| one == other)
}

/// A key as text; no segment has the separator in it.
pub(crate) fn text(segments: &[String]) -> String {
    segments.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(segment: &str) -> Segment {
        read_segment(segment, "/work/1/s").unwrap()
    }

    fn files(written: &str, patterns: &[&str], without: &[&str]) -> Segment {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Segment::Files {
            written: written.to_owned(),
            patterns: owned(patterns),
            without: owned(without),
        }
    }

    #[test]
    fn segments_are_texts_or_files() {
        for text in ["npm", "\"Linux\"", "\"a.b\"", "v1 of it.", "a*b", "x,y"] {
            assert_eq!(one(text), Segment::Text(text.to_owned()), "{text}");
        }
        for (written, patterns, without) in [
            (
                "package-lock.json",
                vec!["/work/1/s/package-lock.json"],
                vec![],
            ),
            (
                "**/*.lock, !**/old/**",
                vec!["/work/1/s/**/*.lock"],
                vec!["/work/1/s/**/old/**"],
            ),
            ("./*", vec!["/work/1/s/*"], vec![]),
            ("../x/a.txt", vec!["/work/1/x/a.txt"], vec![]),
            (
                "/etc/os-release,b.c",
                vec!["/etc/os-release", "/work/1/s/b.c"],
                vec![],
            ),
        ] {
            assert_eq!(
                one(written),
                files(written, &patterns, &without),
                "{written}"
            );
        }
    }

    #[test]
    fn keys_are_cut_at_bars_and_restore_keys_at_lines() {
        let keys = read(" npm | \"x\" |", "npm | a\n\n npm\n", "/", Some("2")).unwrap();
        let text = |text: &str| Segment::Text(text.to_owned());
        let salt = || text("AZP_CACHING_SALT=2");
        assert_eq!(keys.key, [salt(), text("npm"), text("\"x\"")]);
        assert_eq!(
            keys.restore,
            [
                vec![salt(), text("npm"), text("a")],
                vec![salt(), text("npm")]
            ]
        );
        let old = read("npm\nx\n", "", "/", None).unwrap();
        assert_eq!((old.key.len(), old.old_form), (2, true));
    }

    #[test]
    fn what_is_no_key_says_why() {
        for (key, restore, why) in [
            (" | ", "", "no segment"),
            ("a\nb", "a", "'|'"),
            ("a | **", "", "./**"),
            ("'a.b'", "", "quote"),
            ("!a.b", "", "no files"),
        ] {
            let problem = read(key, restore, "/", None).unwrap_err();
            assert!(problem.contains(why), "{key}: {problem}");
        }
        assert!(read(&"x".repeat(LONGEST + 1), "", "/", None).is_err());
        assert!(read(&"x|".repeat(MOST_SEGMENTS + 1), "", "/", None).is_err());
    }

    #[test]
    fn a_key_begins_with_whole_segments_only() {
        let owned =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(|it| (*it).into()).collect() };
        let key = owned(&["npm", "Linux", "0123"]);
        for (start, begins) in [
            (vec!["npm"], true),
            (vec!["npm", "Linux", "0123"], true),
            (vec!["np"], false),
            (vec!["npm", "Lin"], false),
            (vec!["npm", "Linux", "0123", "x"], false),
        ] {
            assert_eq!(begins_with(&key, &owned(&start)), begins, "{start:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_breaks_it_and_patterns_are_absolute(key in "[a.*/|,!'\"` \n-]{0,40}") {
            if let Ok(keys) = read(&key, "", "/work", None) {
                for segment in keys.key {
                    if let Segment::Files { patterns, .. } = segment {
                        prop_assert!(patterns.iter().all(|it| it.starts_with('/') && !it.contains("/../")));
                    }
                }
            }
        }
    }
}
