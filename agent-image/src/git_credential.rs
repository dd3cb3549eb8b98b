//! `git-credential`: answers git's question for a credential, for one repository's URL and nothing else.

use crate::args::GitCredentialArgs;
use crate::exit::Exit;
use dayfly_wire::secret::SecretText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// The longest question and the longest credential.
const MAX: u64 = 1 << 20;

/// A credential and where it belongs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    protocol: String,
    host: String,
    path: String,
    user: String,
    secret: SecretText,
}

impl Stored {
    /// A credential for a repository's URL; `None` when it is not an HTTP URL.
    pub(crate) fn new(url: &str, user: &str, secret: &SecretText) -> Option<Self> {
        let url = reqwest::Url::parse(url).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        Some(Self {
            protocol: url.scheme().to_owned(),
            host,
            path: plain_path(url.path()),
            user: user.to_owned(),
            secret: secret.duplicate(),
        })
    }

    /// For the descriptor.
    pub(crate) fn to_bytes(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(serde_json::to_vec(self)?))
    }

    fn belongs_to(&self, question: &BTreeMap<&str, &str>) -> bool {
        let asked = |name: &str| question.get(name).copied().unwrap_or_default();
        asked("protocol") == self.protocol
            && asked("host").eq_ignore_ascii_case(&self.host)
            && plain_path(asked("path")) == self.path
    }
}

/// Git asks without the slash in front and with percent signs resolved.
fn plain_path(path: &str) -> String {
    let mut plain = Vec::with_capacity(path.len());
    let mut bytes = path.trim_matches('/').bytes();
    while let Some(byte) = bytes.next() {
        let decoded = (byte == b'%')
            .then(|| {
                let mut ahead = bytes.clone();
                let digits = [ahead.next()?, ahead.next()?];
                let value = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
                bytes = ahead;
                Some(value)
            })
            .flatten();
        plain.push(decoded.unwrap_or(byte));
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Answers git. Without an answer git fails, because it may not ask a person.
pub(crate) fn answer(args: &GitCredentialArgs) -> Exit {
    if args.operation != "get" {
        return Exit::Done;
    }
    match try_answer(args.descriptor) {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!(%error, "failed to answer git");
            Exit::Setup
        }
    }
}

fn try_answer(descriptor: i32) -> io::Result<()> {
    // Opened anew, so that every helper reads from the start.
    let file = std::fs::File::open(format!("/proc/self/fd/{descriptor}"))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX).read_to_end(&mut bytes)?;
    let stored: Stored = serde_json::from_slice(&bytes)
        .map_err(|_| io::Error::other("the descriptor holds no credential"))?;
    let mut question = String::new();
    io::stdin().take(MAX).read_to_string(&mut question)?;
    let question = question
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    if !stored.belongs_to(&question) {
        return Ok(());
    }
    let reply = Zeroizing::new(format!(
        "username={}\npassword={}\n",
        stored.user,
        stored.secret.expose()
    ));
    io::stdout().write_all(reply.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belongs(url: &str, question: &[(&str, &str)]) -> bool {
        let secret = SecretText::from("token");
        let stored = Stored::new(url, "OAuth", &secret).unwrap();
        stored.belongs_to(&question.iter().copied().collect())
    }

    #[test]
    fn only_the_repository_s_own_url_is_answered() {
        let url = "http://pool:8080/default/my%20demo/_git/demo";
        let right = [
            ("protocol", "http"),
            ("host", "pool:8080"),
            ("path", "default/my demo/_git/demo"),
        ];
        assert!(belongs(url, &right));
        for (at, wrong) in [
            (0, "https"),
            (1, "evil:8080"),
            (2, "default/other/_git/demo"),
        ] {
            let mut question = right;
            question[at].1 = wrong;
            assert!(!belongs(url, &question), "{wrong}");
        }
        assert!(!belongs(url, &right[..2]));
    }

    #[test]
    fn only_http_has_credentials() {
        assert!(Stored::new("ssh://h/x", "u", &SecretText::from("s")).is_none());
        assert!(Stored::new("file:///x", "u", &SecretText::from("s")).is_none());
    }
}
