//! What to fetch, and what it is called then. Pure.

/// What to fetch.
pub(crate) struct Fetch {
    pub(crate) version: String,
    pub(crate) reference: Option<String>,
    pub(crate) depth: Option<u32>,
    pub(crate) tags: bool,
}

/// Whether a version is a whole commit id.
pub(crate) fn is_commit(version: &str) -> bool {
    matches!(version.len(), 40 | 64) && version.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A refspec for one commit.
pub(crate) fn by_commit(version: &str) -> String {
    format!("+{version}:refs/remotes/origin/{version}")
}

/// A refspec for what is no branch: a pull request, for example. Tags come with `--tags`.
pub(crate) fn other_reference(reference: Option<&str>) -> Option<String> {
    let reference = reference?;
    let rest = reference.strip_prefix("refs/")?;
    (!rest.starts_with("heads/") && !rest.starts_with("tags/"))
        .then(|| format!("+{reference}:refs/remotes/{rest}"))
}

/// Where a fetched reference is found.
pub(crate) fn local_name(reference: Option<&str>) -> String {
    match reference {
        None => "refs/remotes/origin/HEAD".to_owned(),
        Some(reference) => match reference.strip_prefix("refs/heads/") {
            Some(branch) => format!("refs/remotes/origin/{branch}"),
            None if reference.starts_with("refs/tags/") => reference.to_owned(),
            None => format!(
                "refs/remotes/{}",
                reference.strip_prefix("refs/").unwrap_or(reference)
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_local_name_and_refspec() {
        for (reference, refspec, name) in [
            ("refs/heads/a/b", None, "refs/remotes/origin/a/b"),
            ("refs/tags/v1", None, "refs/tags/v1"),
            (
                "refs/pull/7/merge",
                Some("+refs/pull/7/merge:refs/remotes/pull/7/merge"),
                "refs/remotes/pull/7/merge",
            ),
        ] {
            assert_eq!(other_reference(Some(reference)).as_deref(), refspec);
            assert_eq!(local_name(Some(reference)), name);
        }
    }

    #[test]
    fn a_commit_is_hexadecimal_and_whole() {
        assert!(is_commit(&"a0".repeat(20)));
        assert!(!is_commit("main"));
        assert!(!is_commit(&"g".repeat(40)));
    }
}
