//! Whether the kernel killed something of the job container because its memory ran out, as its control group counts.

use super::protocol::OutOfMemory;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";
/// What version 1 says where there is no limit is about this much.
const NO_LIMIT: u64 = 1 << 60;

/// The control group that this process is in.
pub(crate) struct Group {
    kills: PathBuf,
    limit: PathBuf,
}

impl Group {
    /// Looks for it; a container may show none.
    pub(crate) fn own() -> Option<Self> {
        let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        candidates(&membership, Path::new(MOUNT))
            .into_iter()
            .find(|group| group.kills.is_file())
    }

    /// How many processes were killed so far.
    pub(crate) fn kills(&self) -> u64 {
        let text = std::fs::read_to_string(&self.kills).unwrap_or_default();
        parse_kills(&text)
    }

    /// What happened since there were `before` kills.
    pub(crate) fn since(&self, before: u64) -> Option<OutOfMemory> {
        let kills = self.kills().saturating_sub(before);
        let limit = || {
            let text = std::fs::read_to_string(&self.limit).ok()?;
            parse_limit(&text)
        };
        (kills > 0).then(|| OutOfMemory {
            kills,
            limit: limit(),
        })
    }
}

/// Where the group may be: version 2, then version 1. With a namespace of its own, or without one but with its own
/// group mounted, it is the root of what is mounted.
fn candidates(membership: &str, mount: &Path) -> Vec<Group> {
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let own = path.trim_start_matches('/');
        if number == "0" && controllers.is_empty() {
            let group = |directory: PathBuf| Group {
                kills: directory.join("memory.events"),
                limit: directory.join("memory.max"),
            };
            found.extend([mount.join(own), mount.to_owned()].map(group));
        } else if controllers.split(',').any(|name| name == "memory") {
            let group = |directory: PathBuf| Group {
                kills: directory.join("memory.oom_control"),
                limit: directory.join("memory.limit_in_bytes"),
            };
            let mount = mount.join("memory");
            found.extend([mount.join(own), mount].map(group));
        }
    }
    found
}

/// Both versions have a line `oom_kill NUMBER`.
fn parse_kills(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn parse_limit(text: &str) -> Option<u64> {
    let limit = text.trim().parse().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_and_limits_are_read_from_both_versions() {
        let two = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n";
        let one = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n";
        assert_eq!((parse_kills(two), parse_kills(one)), (3, 4));
        assert_eq!(parse_kills("garbage"), 0);
        assert_eq!(parse_limit("536870912\n"), Some(536_870_912));
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None);
    }

    #[test]
    fn the_group_is_found_in_either_version_with_and_without_a_namespace() {
        let found = |membership: &str| -> Vec<String> {
            let groups = candidates(membership, Path::new("/m"));
            let kills = groups.iter().map(|group| group.kills.display().to_string());
            kills.collect()
        };
        assert_eq!(found("0::/\n"), ["/m/memory.events", "/m/memory.events"]);
        assert_eq!(
            found("5:cpu,cpuacct:/a\n4:memory:/pod/x\n0::/pod/x\n"),
            [
                "/m/memory/pod/x/memory.oom_control",
                "/m/memory/memory.oom_control",
                "/m/pod/x/memory.events",
                "/m/memory.events"
            ]
        );
        assert!(found("no group").is_empty());
    }
}
