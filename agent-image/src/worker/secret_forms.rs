//! The forms in which a secret may turn up in output: quoted, escaped, encoded, line by line.

use crate::worker::mask::MINIMUM_LENGTH;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;

/// A base64 core or an encoded form below this length would match by chance.
const MINIMUM_ENCODED: usize = 6;

/// Every text to search for so that `secret` does not show.
pub(crate) fn forms(secret: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for plain in plain_forms(secret) {
        found.extend(encoded_forms(&plain));
        found.insert(plain);
    }
    found.retain(|form| form.len() >= MINIMUM_LENGTH);
    found
}

/// The secret itself, without what surrounds it, and each of its lines.
fn plain_forms(secret: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in std::iter::once(secret).chain(secret.lines()) {
        let trimmed = text.trim();
        if trimmed.len() < MINIMUM_LENGTH || is_marker(trimmed) {
            continue;
        }
        found.insert(text.to_owned());
        found.insert(trimmed.to_owned());
        found.insert(unquoted(trimmed).to_owned());
    }
    found.retain(|text| text.trim().len() >= MINIMUM_LENGTH);
    found
}

/// `-----BEGIN PRIVATE KEY-----` and the like say nothing.
fn is_marker(line: &str) -> bool {
    line.starts_with("-----") && line.ends_with("-----") && !line.contains('\n')
}

fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

fn encoded_forms(plain: &str) -> Vec<String> {
    let mut found = vec![
        percent_command(plain, true),
        percent_command(plain, false),
        uri(plain, false),
        uri(plain, true),
        json(plain),
        xml(plain, ["&quot;", "&apos;"]),
        xml(plain, ["&#34;", "&#39;"]),
        interpreted(plain),
        plain.replace('\'', r"'\''"),
        // As the trace of a condition writes it.
        plain.replace('\'', "''"),
        plain.replace('\\', r"\\"),
    ];
    found.extend(base64_forms(plain.as_bytes()));
    found.push(hex(plain.as_bytes()));
    found.push(hex(plain.as_bytes()).to_uppercase());
    found.retain(|form| form.len() >= MINIMUM_LENGTH);
    found
}

/// The escaping of logging commands.
fn percent_command(text: &str, percent: bool) -> String {
    let text = if percent {
        text.replace('%', "%AZP25")
    } else {
        text.to_owned()
    };
    text.replace('\r', "%0D").replace('\n', "%0A")
}

/// With the digits of escapes in lower case, as some write them.
fn uri(text: &str, lower: bool) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ if lower => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    unquoted(&quoted).to_owned()
}

/// What `echo -e` makes of a text.
fn interpreted(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(escaped @ ('\\' | '\'' | '"'))) => found.push(escaped),
            ('\\', Some('t')) => found.push('\t'),
            ('\\', Some('n')) => found.push('\n'),
            ('\\', Some('r')) => found.push('\r'),
            (other, _) => {
                found.push(other);
                continue;
            }
        }
        characters.next();
    }
    found
}

fn xml(text: &str, [double, single]: [&str; 2]) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', double)
        .replace('\'', single)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 of the secret, and of the secret somewhere inside a longer text: for each of the three positions in a
/// group of three bytes, the characters that do not depend on the neighbours.
fn base64_forms(bytes: &[u8]) -> Vec<String> {
    let mut found = vec![STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
    for shift in 0..3_usize {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let whole_bits = shifted.len() * 8 / 6;
        let from = (shift * 8).div_ceil(6);
        for encoded in [
            STANDARD_NO_PAD.encode(&shifted),
            URL_SAFE_NO_PAD.encode(&shifted),
        ] {
            found.extend(encoded.get(from..whole_bits).map(ToOwned::to_owned));
        }
    }
    found.retain(|form| form.len() >= MINIMUM_ENCODED);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::mask::Masker;

    fn leaks(secret: &str, text: &str) -> bool {
        let mut masker = Masker::default();
        let _ = masker.add(secret);
        !masker.mask(text).contains("***")
    }

    #[test]
    fn every_common_encoding_is_known() {
        let secret = r#"p&ss"w<rd' 100%"#;
        for shown in [
            secret.to_owned(),
            percent_command(secret, true),
            percent_command(secret, false),
            uri(secret, false),
            uri(secret, true),
            json(secret),
            xml(secret, ["&quot;", "&apos;"]),
            xml(secret, ["&#34;", "&#39;"]),
            hex(secret.as_bytes()),
            hex(secret.as_bytes()).to_uppercase(),
            r#"'p&ss"w<rd'\'' 100%'"#.to_owned(),
            r#"Expanded: eq('p&ss"w<rd'' 100%', 'x')"#.to_owned(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ] {
            assert!(!leaks(secret, &shown), "{shown}");
        }
    }

    #[test]
    fn a_secret_with_backslashes_is_known_as_a_shell_shows_it() {
        for (secret, shown) in [
            (r"one\\two\'", r"one\two'"),
            (r"pass\tword", "pass\tword"),
            (r"pass\word", r"pass\word"),
        ] {
            assert!(!leaks(secret, shown), "{shown}");
            assert!(!leaks(secret, secret), "{secret}");
        }
    }

    #[test]
    fn base64_hides_a_secret_behind_any_prefix() {
        let secret = "correct-horse";
        for prefix in ["", "u:", "us:", "OAuth:", "x-access-token:"] {
            let header = STANDARD.encode(format!("{prefix}{secret}"));
            assert!(!leaks(secret, &header), "{prefix}");
        }
    }

    #[test]
    fn each_line_of_a_key_is_known_but_not_its_markers() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQ\r\n-----END KEY-----\n";
        assert!(!leaks(key, "MIIEvQIBADANBg"));
        assert!(!leaks(key, "kqhkiG9w0BAQ"));
        assert!(leaks(key, "-----BEGIN KEY-----"));
    }

    #[test]
    fn quotes_and_space_around_a_secret_are_not_needed() {
        assert!(!leaks("\"quoted\"", "quoted"));
        assert!(!leaks("  spaced\n", "spaced"));
    }
}
