//! `$(name)` in texts.

/// Replaces every `$(name)` for which there is a value; the values are not looked at again. A name that is not
/// known stays, and the search goes on behind its `$`, so that `$(date)` reaches the shell.
pub(crate) fn replace(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("$(") {
        let Some(length) = rest[start + 2..].find(')') else {
            break;
        };
        let name = &rest[start + 2..start + 2 + length];
        replaced.push_str(&rest[..start]);
        match value(name) {
            Some(value) => {
                replaced.push_str(&value);
                rest = &rest[start + 2 + length + 1..];
            }
            None => {
                replaced.push('$');
                rest = &rest[start + 1..];
            }
        }
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::replace;
    use proptest::prelude::*;

    #[test]
    fn table_of_macros() {
        let value = |name: &str| match name {
            "x" => Some("1".to_owned()),
            "again" => Some("$(x)".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("$(x)", "1"),
            ("a$(x)b$(x)", "a1b1"),
            ("$(date)", "$(date)"),
            ("$($(x))", "$(1)"),
            ("$(again)", "$(x)"),
            ("$(x", "$(x"),
            ("$$(x)", "$1"),
            ("ä$(x)ö", "ä1ö"),
        ] {
            assert_eq!(replace(text, value), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_known_changes_nothing(text in "[$()a-z]{0,40}") {
            prop_assert_eq!(replace(&text, |_| None), text);
        }
    }
}
