//! What must be masked from the first line on: every secret that a job message carries. Pure.

use super::mask::{Masker, is_too_short};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_wire::job::{JobMessage, SYSTEM_CONNECTION};
use dayfly_wire::secret::SecretText;

/// Parameters of endpoints that are no secrets, in lower case.
const OPEN_PARAMETERS: [&str; 15] = [
    "role",
    "scope",
    "tenantid",
    "issuedat",
    "expiresat",
    "audience",
    "authenticationtype",
    "authorizationtype",
    "accesstokentype",
    "accesstokenfetchingmethod",
    "usewindowssecurity",
    "unsecured",
    "oauthaccesstokenissupplied",
    "completecallbackpayload",
    "acceptuntrustedcertificates",
];

/// What could not be masked, for the job's first step to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmasked {
    /// Variables whose value is too short.
    pub(crate) short: Vec<String>,
    /// How many mask expressions are not understood.
    pub(crate) expressions: usize,
}

/// Fills a masker from a job message: all at once, since every addition indexes all secrets afresh.
pub(crate) fn add_all(masker: &mut Masker, message: &JobMessage) -> Unmasked {
    let mut unmasked = Unmasked::default();
    let mut secrets = Vec::new();
    for (name, variable) in &message.variables {
        let Some(value) = variable.value.as_ref().filter(|_| variable.is_secret) else {
            continue;
        };
        if is_too_short(value.expose()) {
            unmasked.short.push(name.clone());
        }
        secrets.push(value.duplicate());
    }
    for hint in &message.mask {
        let Some(pattern) = &hint.value else {
            continue;
        };
        if !hint.kind.eq_ignore_ascii_case("regex") {
            continue;
        }
        // The expression itself is masked too: it shows what it hides.
        secrets.push(pattern.duplicate());
        match literal(pattern.expose()) {
            Some(text) => secrets.push(text.into()),
            None if masker.add_expression(pattern.expose()) => {}
            None => unmasked.expressions += 1,
        }
    }
    for (endpoint, name, value) in parameters(message) {
        let open = OPEN_PARAMETERS.contains(&name.to_lowercase().as_str());
        if open && endpoint != SYSTEM_CONNECTION {
            continue;
        }
        secrets.push(value.into());
        let headers = ["OAuth", "", "x-access-token"].map(|user| format!("{user}:{value}"));
        secrets.extend(headers.map(|header| STANDARD.encode(header).into()));
    }
    let files = message.resources.secure_files.iter();
    secrets.extend(
        files
            .filter_map(|file| file.ticket.as_ref())
            .map(SecretText::duplicate),
    );
    // What is too short is told above.
    let _ = masker.add_all(secrets.iter().map(SecretText::expose));
    unmasked
}

fn parameters(message: &JobMessage) -> impl Iterator<Item = (&str, &str, &str)> {
    message.resources.endpoints.iter().flat_map(|endpoint| {
        endpoint
            .authorization
            .iter()
            .flat_map(|authorization| &authorization.parameters)
            .map(|(name, value)| (endpoint.name.as_str(), name.as_str(), value.expose()))
    })
}

/// The text that an expression matches when it is nothing but an escaped text.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                escaped if escaped.is_ascii_alphanumeric() => return None,
                escaped => text.push(escaped),
            },
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return None;
            }
            plain => text.push(plain),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> JobMessage {
        serde_json::from_value(serde_json::json!({
            "plan": {"scopeIdentifier": uuid::Uuid::nil(), "planId": uuid::Uuid::nil()},
            "timeline": {"id": uuid::Uuid::nil()}, "jobId": uuid::Uuid::nil(), "requestId": 1,
            "resources": {"endpoints": [{"name": "SystemVssConnection", "authorization":
                {"scheme": "OAuth", "parameters": {"AccessToken": "eyJ.job.token"}}},
                {"name": "other", "authorization":
                {"scheme": "Token", "parameters": {"apitoken": "abcdef", "scope": "public"}}}],
                "secureFiles": [{"id": "1", "name": "key", "ticket": "tick3t"}]},
            "mask": [{"type": "regex", "value": "li\\.ter\\$al"}, {"type": "regex", "value": "s[ab]+t"},
                {"type": "regex", "value": "(?<=a)b"}],
            "variables": {"pw": {"value": "hunter2", "isSecret": true},
                "pin": {"value": "12", "isSecret": true}, "open": {"value": "visible"}}
        }))
        .unwrap()
    }

    #[test]
    fn everything_secret_in_a_message_is_masked() {
        let mut masker = Masker::default();
        let unmasked = add_all(&mut masker, &message());
        for text in ["hunter2", "li.ter$al", "eyJ.job.token", "abcdef", "tick3t"] {
            assert_eq!(masker.mask(text), "***", "{text}");
        }
        let header = STANDARD.encode("OAuth:eyJ.job.token");
        assert_eq!(masker.mask(&header), "***");
        assert_eq!(masker.mask("visible public"), "visible public");
        assert_eq!(masker.mask("the saabt"), "the ***");
        assert_eq!(unmasked.short, ["pin"]);
        assert_eq!(unmasked.expressions, 1);
    }
}
