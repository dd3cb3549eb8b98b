//! Artifacts: paths of a container, and pieces of files that come one after the other.

use super::refusal::{Kind, Refusal};
use dayfly_wire::artifact::{BuildArtifact, CONTAINER};
use dayfly_wire::ids::BuildId;

const MAX_PATH: usize = 1024;
const MAX_DEPTH: usize = 64;
const MAX_NAME: usize = 256;
const MAX_PROPERTIES: usize = 100;
const MAX_TEXT: usize = 4096;

/// Which part of a file a call brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first byte.
    pub start: i64,
    /// How many bytes there are.
    pub bytes: i64,
    /// The length of the whole.
    pub total: i64,
}

/// What a piece means for what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write it; then this much is there.
    Write(i64),
    /// Write it, and the file is whole.
    Whole,
}

/// A path of a container, without a slash at its ends.
pub fn path(given: &str) -> Result<String, Refusal> {
    let path = given.trim_matches('/');
    let refused = |why: &str| {
        let shown: String = given.chars().take(100).collect();
        Err(Refusal::invalid(format!("itemPath: {shown:?} {why}")))
    };
    if path.is_empty() || path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return refused("is empty, too long or too deep");
    }
    if path.chars().any(char::is_control) || path.contains('\\') {
        return refused("holds a control character or a backslash");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("has an empty part, . or ..");
    }
    Ok(path.to_owned())
}

/// Whether a `Content-Range` is all of what it is a part of.
pub fn is_whole(range: &str) -> bool {
    piece(Some(range), None, i64::MAX)
        .is_ok_and(|piece| piece.start == 0 && piece.bytes == piece.total)
}

/// Reads a `Content-Range`, such as `bytes 0-99/200`; without one the body is the whole.
pub fn piece(range: Option<&str>, length: Option<i64>, most: i64) -> Result<Piece, Refusal> {
    let piece = match range {
        None => {
            let length = length.ok_or_else(|| {
                Refusal::invalid("Content-Length or Content-Range: say how long the file is")
            })?;
            Piece {
                start: 0,
                bytes: length,
                total: length,
            }
        }
        Some(range) => parse(range).ok_or_else(|| {
            let shown: String = range.chars().take(100).collect();
            Refusal::invalid(format!(
                "Content-Range: {shown:?} is not of the form bytes 0-99/200"
            ))
        })?,
    };
    if piece.total > most {
        return Err(super::limits::too_large("a file of an artifact", most));
    }
    Ok(piece)
}

fn parse(range: &str) -> Option<Piece> {
    let (place, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .ok()
            .filter(|number| *number >= 0)
    };
    let total = number(total)?;
    let empty = Piece {
        start: 0,
        bytes: 0,
        total: 0,
    };
    if total == 0 {
        // There is no range that has nothing in it; clients write one of these.
        return matches!(place, "*" | "0-0" | "0--1").then_some(empty);
    }
    let (first, last) = place.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < total).then(|| Piece {
        start: first,
        bytes: last - first + 1,
        total,
    })
}

/// What to do with a piece when `received` bytes are there. A piece that came before is written again: the answer to
/// it was lost.
pub fn next(piece: Piece, received: i64) -> Result<Next, Refusal> {
    if piece.start > received {
        return Err(Refusal::invalid(format!(
            "Content-Range: {received} bytes are there; go on from there, not from {}",
            piece.start
        )));
    }
    let end = (piece.start + piece.bytes).max(received);
    Ok(if end == piece.total {
        Next::Whole
    } else {
        Next::Write(end)
    })
}

/// An artifact that makes sense: files of a container are of the run's own.
pub fn check(draft: &BuildArtifact, run: BuildId) -> Result<(), Refusal> {
    let bad = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | '"' | ':' | '<' | '>' | '|' | '*' | '?')
    };
    let name = draft.name.trim();
    if name.is_empty() || draft.name.chars().count() > MAX_NAME || draft.name.chars().any(bad) {
        return Err(Refusal::invalid(format!(
            "name: an artifact's name has 1 to {MAX_NAME} characters, none of them a control character or one of / \\ \" : < > | * ?"
        )));
    }
    let resource = &draft.resource;
    let texts = [&resource.kind, &resource.data];
    let long = |text: &String| text.len() > MAX_TEXT;
    let pairs = resource.properties.iter();
    if resource.properties.len() > MAX_PROPERTIES
        || texts.into_iter().any(long)
        || pairs.clone().any(|(name, value)| long(name) || long(value))
    {
        return Err(Refusal::invalid(format!(
            "resource: at most {MAX_PROPERTIES} properties, and {MAX_TEXT} bytes in each text"
        )));
    }
    if resource.kind.eq_ignore_ascii_case(CONTAINER) {
        let rest = resource.data.strip_prefix(&format!("#/{run}/"));
        let rest = rest.ok_or_else(|| {
            Refusal::invalid(format!(
                "resource.data: files of this run are named by #/{run}/PATH"
            ))
        })?;
        path(rest)?;
    }
    Ok(())
}

/// No such artifact.
pub fn not_found(run: BuildId, name: &str) -> Refusal {
    Refusal::new(
        Kind::ArtifactNotFound,
        format!("run {run} has no artifact {name:?}"),
    )
}

/// The folders above the paths, each once and in order, without those above `below`.
pub fn folders<'a>(paths: impl Iterator<Item = &'a str>, below: Option<&str>) -> Vec<String> {
    let mut folders = std::collections::BTreeSet::new();
    for path in paths {
        for (index, _) in path.match_indices('/') {
            let folder = path.get(..index).unwrap_or_default();
            if below.is_none_or(|below| folder == below || is_below(folder, below)) {
                folders.insert(folder.to_owned());
            }
        }
    }
    folders.into_iter().collect()
}

/// Whether a path lies below a folder.
pub fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_wire::artifact::ArtifactResource;
    use proptest::prelude::*;

    #[test]
    fn paths_stay_in_their_container() {
        assert_eq!(path("/drop/a b.txt/").unwrap(), "drop/a b.txt");
        for bad in ["", "/", "a//b", "../a", "a/./b", "a/..", "a\\b", "a\nb"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranges_are_read() {
        let read = |range| {
            piece(Some(range), None, 1000).map(|piece| (piece.start, piece.bytes, piece.total))
        };
        assert_eq!(read("bytes 0-99/200"), Ok((0, 100, 200)));
        assert_eq!(read("bytes 100-199/200"), Ok((100, 100, 200)));
        for empty in ["bytes 0-0/0", "bytes */0", "bytes 0--1/0"] {
            assert_eq!(read(empty), Ok((0, 0, 0)), "{empty}");
        }
        for bad in [
            "",
            "0-1/2",
            "bytes 5-1/10",
            "bytes 0-10/10",
            "bytes -1-2/3",
            "bytes 0-1/*",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("bytes 0-99/2000").unwrap_err().kind, Kind::TooLarge);
        assert!(piece(None, None, 1000).is_err());
        assert!(is_whole("bytes 0-9/10") && !is_whole("bytes 0-8/10"));
    }

    #[test]
    fn an_artifact_names_files_of_its_own_run() {
        let draft = |name: &str, data: &str| BuildArtifact {
            name: name.to_owned(),
            resource: ArtifactResource {
                kind: "container".to_owned(),
                data: data.to_owned(),
                ..ArtifactResource::default()
            },
            ..BuildArtifact::default()
        };
        let run = BuildId(7);
        assert!(check(&draft("drop", "#/7/drop"), run).is_ok());
        for (name, data) in [
            ("drop", "#/8/drop"),
            ("drop", "#/7/../8"),
            ("drop", ""),
            ("a/b", "#/7/a"),
            ("", "#/7/a"),
        ] {
            assert!(check(&draft(name, data), run).is_err(), "{name} {data}");
        }
    }

    #[test]
    fn folders_are_those_above_files() {
        let paths = ["drop/a/b.txt", "drop/c.txt", "other/d.txt"];
        assert_eq!(
            folders(paths.into_iter(), None),
            ["drop", "drop/a", "other"]
        );
        assert_eq!(folders(paths.into_iter(), Some("drop")), ["drop", "drop/a"]);
        assert!(is_below("drop/a", "drop") && !is_below("dropped", "drop"));
    }

    proptest! {
        /// However a file is cut, and whichever answers are lost, it becomes whole exactly when all of it was sent.
        #[test]
        fn pieces_make_a_whole(cuts in prop::collection::vec((1_i64..50, any::<bool>()), 1..20)) {
            let total: i64 = cuts.iter().map(|(bytes, _)| bytes).sum();
            let (mut received, mut start) = (0, 0);
            for (bytes, again) in cuts {
                let piece = Piece { start, bytes, total };
                for _ in 0..=i32::from(again) {
                    match next(piece, received).unwrap() {
                        Next::Write(now) => received = now,
                        Next::Whole => received = total,
                    }
                    prop_assert_eq!(received, start + bytes);
                }
                start += bytes;
            }
            prop_assert_eq!(received, total);
            let gap = Piece { start: 1, bytes: 1, total: 3 };
            prop_assert!(next(gap, 0).is_err());
        }
    }
}
