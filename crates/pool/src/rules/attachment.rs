//! Attachments: what they may be called.

use super::refusal::Refusal;

const MAX_KIND: usize = 128;
const MAX_NAME: usize = 256;

/// A type and a name that may be kept and shown. They are never paths, and still look like none.
pub fn check(kind: &str, name: &str) -> Result<(), Refusal> {
    check_part("type", kind, MAX_KIND)?;
    check_part("name", name, MAX_NAME)
}

fn check_part(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || c == '/';
    if text.trim().is_empty() || text.chars().count() > most || text.chars().any(bad) {
        return Err(Refusal::invalid(format!(
            "{what}: an attachment's {what} has 1 to {most} characters, none of them a slash or a control character"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_have_no_slash() {
        assert!(check("DistributedTask.Core.Summary", "Build summary.md").is_ok());
        for (kind, name) in [
            ("", "a"),
            ("a", " "),
            ("a", "../b"),
            ("a", "b\n"),
            ("a/b", "c"),
        ] {
            assert!(check(kind, name).is_err(), "{kind:?} {name:?}");
        }
        assert!(check("a", &"n".repeat(MAX_NAME + 1)).is_err());
    }
}
