//! `.artifactignore`: which files of a published folder stay out of the artifact. Pure.

use super::place::inside;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file, in the folder that is published.
pub(crate) const IGNORE_FILE: &str = ".artifactignore";
/// What stays out when there is no such file.
const WITHOUT_FILE: &str = "/.git/\n";
/// How long the file may be, in bytes.
pub(crate) const LONGEST: u64 = 1 << 20;

/// Patterns as git knows them. The last one that matches a file decides, and only then those that match a folder
/// above it: other than with git, a file comes back whose folder is ignored.
pub(crate) struct Ignored(Gitignore);

impl Ignored {
    /// Reads the patterns; the error names the line.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut builder = GitignoreBuilder::new("");
        for (line, number) in text.lines().zip(1..) {
            builder.add_line(None, line).map_err(|error| {
                format!("Line {number} of {IGNORE_FILE} is no pattern: {error}.")
            })?;
        }
        let built = builder.build();
        built
            .map(Self)
            .map_err(|error| format!("{IGNORE_FILE} cannot be used: {error}."))
    }

    /// What counts where there is no file.
    pub(crate) fn without_file() -> Result<Self, String> {
        Self::read(WITHOUT_FILE)
    }

    /// Whether a file, named as below the folder, stays out. The library insists on a path that leads somewhere below.
    pub(crate) fn has(&self, path: &str) -> bool {
        inside(path).is_some_and(|path| self.0.matched_path_or_any_parents(path, false).is_ignore())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_git_s_and_the_last_one_decides() {
        for (text, path, ignored) in [
            ("", ".git/config", false),
            ("*.map", "js/deep/a.map", true),
            ("/*.map", "js/a.map", false),
            ("# *.js\n\n", "a.js", false),
            ("node_modules/", "web/node_modules/x/y.js", true),
            ("node_modules/", "node_modules", false),
            ("*.log\n!keep.log", "keep.log", false),
            ("!keep.log\n*.log", "keep.log", true),
            ("**/*\n!out/bin/**.*", "out/bin/a.dll", false),
            ("**/*\n!out/bin/**.*", "out/src/a.c", true),
            (
                "**/*\n!dist/\n!dist/**\n!package.json",
                "dist/a/b.js",
                false,
            ),
            (
                "**/*\n!dist/\n!dist/**\n!package.json",
                "package.json",
                false,
            ),
            (".artifactignore", IGNORE_FILE, true),
            ("*.map", IGNORE_FILE, false),
        ] {
            let read = Ignored::read(text).unwrap();
            assert_eq!(read.has(path), ignored, "{text:?} {path}");
        }
    }

    #[test]
    fn without_a_file_only_the_repository_s_inside_stays_out() {
        let ignored = Ignored::without_file().unwrap();
        assert!(ignored.has(".git/HEAD") && ignored.has(".git/objects/00/11"));
        assert!(!ignored.has("deep/.git/HEAD") && !ignored.has(".gitignore") && !ignored.has("a"));
    }

    #[test]
    fn a_line_that_is_no_pattern_is_named() {
        let problem = Ignored::read("fine\na[z-a]\n").err().unwrap();
        assert!(
            problem.starts_with("Line 2 of .artifactignore"),
            "{problem}"
        );
    }

    #[test]
    fn what_leads_nowhere_is_not_looked_for() {
        for path in [".///", "/a", "../a", ""] {
            assert!(!Ignored::read("*").unwrap().has(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_name_breaks_it(text in "[a/*?!#\\[\\]\\\\ .\n-]{0,40}", path in "[a/ .]{1,20}") {
            if let Ok(read) = Ignored::read(&text) && !path.starts_with('/') {
                let _ = read.has(&path);
            }
        }
    }
}
