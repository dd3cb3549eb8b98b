//! What runs in the job container beside the step host, and its end.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// How many names are told.
const MAX_NAMES: usize = 50;

/// How everything is found: as process 1 it is everything there is; otherwise what descends from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The whole container.
    Container,
    /// This process's descendants; for tests, with this process as their subreaper.
    Descendants,
}

/// A process as `/proc` shows it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    parent: i32,
    zombie: bool,
    name: String,
}

/// The names of everything that runs, at most [`MAX_NAMES`]; job code chose them.
pub(crate) fn names(reach: Reach) -> Vec<String> {
    living(reach)
        .into_iter()
        .take(MAX_NAMES)
        .map(|(pid, name)| format!("{pid} ({name})"))
        .collect()
}

/// Sends SIGKILL to everything once. The caller reaps, and asks again until nothing lives.
pub(crate) fn kill_all(reach: Reach) {
    match reach {
        Reach::Container => ignore_gone(kill(Pid::from_raw(-1), Signal::SIGKILL)),
        Reach::Descendants => {
            for pid in living(reach).into_keys() {
                ignore_gone(kill(Pid::from_raw(pid), Signal::SIGKILL));
            }
        }
    }
}

/// Whether anything runs.
pub(crate) fn any(reach: Reach) -> bool {
    !living(reach).is_empty()
}

/// Signals a process group; a group that is gone already is fine.
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    ignore_gone(kill(Pid::from_raw(-leader.as_raw()), signal));
}

fn ignore_gone(result: nix::Result<()>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%error, "failed to signal"),
    }
}

fn living(reach: Reach) -> BTreeMap<i32, String> {
    let seen = processes();
    let own = i32::try_from(std::process::id()).unwrap_or(1);
    let wanted = match reach {
        Reach::Container => seen.keys().copied().filter(|pid| *pid != own).collect(),
        Reach::Descendants => descendants(&seen, own),
    };
    seen.into_iter()
        .filter(|(pid, seen)| wanted.contains(pid) && !seen.zombie)
        .map(|(pid, seen)| (pid, seen.name))
        .collect()
}

fn descendants(seen: &BTreeMap<i32, Seen>, root: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let children = seen
            .iter()
            .filter(|(_, process)| found.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect::<Vec<_>>();
        found.extend(children);
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

fn processes() -> BTreeMap<i32, Seen> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse_stat(&stat)?))
        })
        .collect()
}

/// `pid (name) state ppid ...`; the name may hold anything, so its end is the last parenthesis.
fn parse_stat(stat: &str) -> Option<Seen> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(end + 1..)?.split_whitespace();
    let state = fields.next()?;
    Some(Seen {
        parent: fields.next()?.parse().ok()?,
        zombie: matches!(state, "Z" | "X"),
        name: stat.get(start + 1..end)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_read() {
        assert_eq!(
            parse_stat("12 (a) (b) S 7 12 12 0"),
            Some(Seen {
                parent: 7,
                zombie: false,
                name: "a) (b".to_owned()
            })
        );
        assert!(parse_stat("12 (gone) Z 1 0").unwrap().zombie);
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let seen = [(2, 1), (3, 2), (4, 3), (5, 9)]
            .map(|(pid, parent)| {
                let seen = Seen {
                    parent,
                    zombie: false,
                    name: String::new(),
                };
                (pid, seen)
            })
            .into();
        assert_eq!(descendants(&seen, 2), BTreeSet::from([3, 4]));
    }
}
