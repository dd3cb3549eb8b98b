//! Which pushes queue a pipeline.

use crate::git::reading::Update;

/// Whom git notes as the pusher when a job pushed. Such a push queues nothing: a pipeline that pushes would never end.
pub const JOB: &str = "dayfly-job";
/// What git notes before the name of a person's token.
const TOKEN: &str = "token ";

/// What git is to note for a push with this token.
pub fn pusher_of(token: &str) -> String {
    format!("{TOKEN}{token}")
}

/// The name of the token that a push was made with.
pub fn token_of(pusher: &str) -> &str {
    pusher.strip_prefix(TOKEN).unwrap_or(pusher)
}

/// How a branch was moved since `seen`, oldest first. `head` is where it is, should git have noted nothing.
///
/// A branch that was moved away from `seen` and back before anybody looked was not moved.
pub fn unseen(updates: Vec<Update>, seen: Option<&str>, head: &str) -> Vec<Update> {
    if seen == Some(head) {
        return Vec::new();
    }
    let is_noted = updates.last().is_some_and(|last| last.commit == head);
    let from = updates
        .iter()
        .rposition(|update| Some(update.commit.as_str()) == seen)
        .map_or(0, |at| at + 1);
    let mut moved: Vec<Update> = updates.into_iter().skip(from).collect();
    if !is_noted {
        moved.push(Update {
            commit: head.to_owned(),
            pusher: String::new(),
        });
    }
    moved
}

/// Whether a push may queue pipelines.
pub fn counts(update: &Update) -> bool {
    update.pusher != JOB
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(commits: &[&str]) -> Vec<Update> {
        let update = |commit: &&str| Update {
            commit: (*commit).to_owned(),
            pusher: pusher_of("me"),
        };
        commits.iter().map(update).collect()
    }

    fn commits(updates: &[Update]) -> Vec<&str> {
        updates
            .iter()
            .map(|update| update.commit.as_str())
            .collect()
    }

    #[test]
    fn each_update_is_seen_once_and_none_is_left_out() {
        let noted = || updates(&["a", "b", "c"]);
        assert_eq!(commits(&unseen(noted(), None, "c")), ["a", "b", "c"]);
        assert_eq!(commits(&unseen(noted(), Some("a"), "c")), ["b", "c"]);
        assert!(unseen(noted(), Some("c"), "c").is_empty());
        // A branch that was set back.
        let back = updates(&["a", "b", "a"]);
        assert_eq!(commits(&unseen(back, Some("b"), "a")), ["a"]);
        // Git noted nothing of it.
        assert_eq!(commits(&unseen(Vec::new(), Some("a"), "b")), ["b"]);
        assert_eq!(commits(&unseen(noted(), Some("c"), "d")), ["d"]);
    }

    #[test]
    fn a_job_pushes_without_queueing() {
        let by = |pusher: &str| Update {
            commit: "a".to_owned(),
            pusher: pusher.to_owned(),
        };
        assert!(!counts(&by(JOB)));
        // A token may have any name.
        assert!(counts(&by(&pusher_of(JOB))));
        assert_eq!(token_of(&pusher_of("release bot")), "release bot");
    }
}
