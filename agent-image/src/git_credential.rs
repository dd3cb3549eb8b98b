//! `git-credential`: answers git's question for a credential, for the job's repositories and nothing else.

use crate::args::GitCredentialArgs;
use crate::exit::Exit;
use dayfly_wire::secret::SecretText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// The longest question and the longest credential.
const MAX: u64 = 1 << 20;

/// How far a credential goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reach {
    /// One repository, and its large files.
    Repository,
    /// All repositories of a collection.
    Collection,
}

/// What git may be told: the first that reaches what it asks for.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Credentials(pub(crate) Vec<Stored>);

impl Credentials {
    /// For the descriptor.
    pub(crate) fn to_bytes(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(serde_json::to_vec(self)?))
    }

    fn for_question(&self, question: &BTreeMap<&str, &str>) -> Option<&Stored> {
        self.0.iter().find(|stored| stored.belongs_to(question))
    }
}

/// A credential and where it belongs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    reach: Reach,
    protocol: String,
    host: String,
    path: String,
    user: String,
    secret: SecretText,
}

impl Stored {
    /// A credential for a repository's URL; `None` when it is not an HTTP URL.
    pub(crate) fn new(url: &str, user: &str, secret: &SecretText) -> Option<Self> {
        Self::reaching(Reach::Repository, url, user, secret)
    }

    /// A credential for all repositories below a collection's URL; `None` when it is not an HTTP URL.
    pub(crate) fn of_collection(url: &str, user: &str, secret: &SecretText) -> Option<Self> {
        Self::reaching(Reach::Collection, url, user, secret)
    }

    /// A credential for a proxy; `None` when its URL is not one.
    pub(crate) fn of_proxy(url: &str, user: &str, secret: &SecretText) -> Option<Self> {
        let mut stored = Self::reaching(Reach::Repository, url, user, secret)?;
        stored.path = String::new();
        Some(stored)
    }

    fn reaching(reach: Reach, url: &str, user: &str, secret: &SecretText) -> Option<Self> {
        let url = reqwest::Url::parse(url).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        Some(Self {
            reach,
            protocol: url.scheme().to_owned(),
            host,
            path: plain_path(url.path()),
            user: user.to_owned(),
            secret: secret.duplicate(),
        })
    }

    fn belongs_to(&self, question: &BTreeMap<&str, &str>) -> bool {
        let asked = |name: &str| question.get(name).copied().unwrap_or_default();
        asked("protocol") == self.protocol
            && asked("host").eq_ignore_ascii_case(&self.host)
            && self.reaches(&plain_path(asked("path")))
    }

    fn reaches(&self, path: &str) -> bool {
        match self.reach {
            Reach::Repository => is_of_repository(path, &self.path),
            Reach::Collection => is_of_collection(path, &self.path),
        }
    }
}

/// The repository itself, or where its large files are asked for.
fn is_of_repository(path: &str, repository: &str) -> bool {
    let Some(rest) = path.strip_prefix(repository) else {
        return false;
    };
    let rest = rest.strip_prefix(".git").unwrap_or(rest);
    rest.is_empty() || rest == "/info/lfs" || rest.starts_with("/info/lfs/")
}

/// A repository of the collection, by the form that its paths have.
fn is_of_collection(path: &str, collection: &str) -> bool {
    let below = if collection.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(collection)
            .and_then(|rest| rest.strip_prefix('/'))
    };
    let Some(below) = below else {
        return false;
    };
    let mut parts = below.split('/');
    parts.clone().all(|part| !matches!(part, "." | "..")) && parts.any(|part| part == "_git")
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
    let credentials: Credentials = serde_json::from_slice(&bytes)
        .map_err(|_| io::Error::other("the descriptor holds no credential"))?;
    let mut question = String::new();
    io::stdin().take(MAX).read_to_string(&mut question)?;
    let question = question
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let Some(stored) = credentials.for_question(&question) else {
        return Ok(());
    };
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
    fn large_files_belong_to_their_repository() {
        let url = "https://host/org/app/_git/demo";
        let asked = |path| [("protocol", "https"), ("host", "host"), ("path", path)];
        for path in [
            "org/app/_git/demo.git/info/lfs",
            "org/app/_git/demo/info/lfs/objects/batch",
            "org/app/_git/demo.git",
        ] {
            assert!(belongs(url, &asked(path)), "{path}");
        }
        for path in [
            "org/app/_git/demo2",
            "org/app/_git/demo.git/info/lfs2",
            "org/app/_git/demo/../other",
            "org/app",
        ] {
            assert!(!belongs(url, &asked(path)), "{path}");
        }
    }

    #[test]
    fn a_collection_s_credential_is_for_its_repositories() {
        let secret = SecretText::from("token");
        let answers = |collection: &str, path: &str| {
            let stored = Stored::of_collection(collection, "OAuth", &secret).unwrap();
            let asked = [("protocol", "https"), ("host", "host"), ("path", path)];
            stored.belongs_to(&asked.into_iter().collect())
        };
        assert!(answers("https://host/org/", "org/app/_git/lib"));
        assert!(answers("https://host", "app/_git/lib.git/info/lfs"));
        for path in [
            "organisation/app/_git/lib",
            "org/app/lib",
            "org/../other/_git/lib",
            "other/_git/lib",
        ] {
            assert!(!answers("https://host/org", path), "{path}");
        }
        let other = [
            ("protocol", "https"),
            ("host", "evil"),
            ("path", "org/a/_git/lib"),
        ];
        let stored = Stored::of_collection("https://host/org", "OAuth", &secret).unwrap();
        assert!(!stored.belongs_to(&other.into_iter().collect()));
    }

    #[test]
    fn only_http_has_credentials() {
        assert!(Stored::new("ssh://h/x", "u", &SecretText::from("s")).is_none());
        assert!(Stored::new("file:///x", "u", &SecretText::from("s")).is_none());
    }
}
