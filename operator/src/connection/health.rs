//! How a service takes a credential, and when it may be asked again. Pure.

use crate::crd::conditions::Reason;
use dayfly_client::Error;
use jiff::{SignedDuration, Timestamp};

/// The first wait after a refusal; doubled up to [`LONGEST`].
const FIRST: SignedDuration = SignedDuration::from_secs(30);
/// The longest wait after refusals.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// How long a service is left alone that wants to be, and does not say how long.
const SILENCE: SignedDuration = SignedDuration::from_secs(30);
/// The longest that a service is left alone because it wants to be.
pub(super) const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// The standing of a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None`: not asked yet. `Some(Ok)`: accepted. `Some(Err)`: refused.
    pub verdict: Option<Result<(), (Reason, String)>>,
    /// Whether the last call got an answer.
    pub reachable: Option<Result<(), String>>,
    refusals: u32,
    closed_until: Option<Timestamp>,
    silent_until: Option<Timestamp>,
}

/// Whether the service may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not before then.
    Closed(Timestamp),
}

impl Standing {
    /// Until when the service wants to be left alone, if it does.
    pub fn silent_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.silent_until.filter(|until| now < *until)
    }

    /// The service wants to be left alone, whatever it answered else.
    pub fn be_silent(&mut self, until: Timestamp, now: Timestamp) {
        let until = until.min(now + LONGEST_SILENCE);
        self.silent_until = self.silent_until.max(Some(until));
    }

    /// Whether writes are worth a try.
    pub fn is_accepted(&self) -> bool {
        matches!(self.verdict, Some(Ok(())))
    }

    /// Whether both say the same to people.
    pub fn same_verdict(&self, other: &Self) -> bool {
        self.verdict == other.verdict
            && self.reachable == other.reachable
            && self.silent_until == other.silent_until
    }

    /// Whether to ask. While the credential is refused, one caller at a time gets through: the first one to come
    /// after the wait closes the gate behind it.
    pub fn gate(&mut self, now: Timestamp) -> Gate {
        if let Some(until) = self.silent_until(now) {
            return Gate::Closed(until);
        }
        match self.closed_until {
            Some(until) if until > now => Gate::Closed(until),
            Some(_) => {
                self.closed_until = Some(now + FIRST);
                Gate::Open
            }
            None => Gate::Open,
        }
    }

    /// Learns from the end of a call.
    pub fn learn(&mut self, error: Option<&Error>, now: Timestamp) {
        match error {
            None => {
                *self = Self {
                    verdict: Some(Ok(())),
                    reachable: Some(Ok(())),
                    silent_until: self.silent_until,
                    ..Self::default()
                };
            }
            Some(error) if error.is_credential_rejected() => {
                self.reachable = Some(Ok(()));
                self.verdict = Some(Err((Reason::CredentialRejected, error.to_string())));
                let wait = FIRST.saturating_mul(1 << self.refusals.min(4)).min(LONGEST);
                self.refusals = self.refusals.saturating_add(1);
                self.closed_until = Some(now + wait);
            }
            Some(Error::Transport(problem)) => self.reachable = Some(Err(problem.clone())),
            Some(Error::Server { .. }) => {
                self.reachable = Some(Err(error.map_or_else(String::new, ToString::to_string)))
            }
            Some(Error::Throttled { after }) => {
                self.reachable = Some(Ok(()));
                let wait = after.and_then(|after| SignedDuration::try_from(after).ok());
                self.be_silent(now + wait.unwrap_or(SILENCE).min(LONGEST_SILENCE), now);
            }
            // Refusals of one call say nothing about the credential as such; whoever called deals with them.
            Some(
                Error::Forbidden(_)
                | Error::NotFound(_)
                | Error::Conflict(_)
                | Error::Refused { .. },
            ) => {
                self.reachable = Some(Ok(()));
                if self.verdict.is_none() {
                    self.verdict = Some(Ok(()));
                }
            }
            // What cannot be read may be from somebody on the way.
            Some(_) => self.reachable = Some(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refused_credential_is_tried_rarely_and_by_one_caller_at_a_time() {
        let mut standing = Standing::default();
        standing.learn(Some(&Error::SignInPage), at(0));
        assert!(!standing.is_accepted());
        assert_eq!(standing.gate(at(29)), Gate::Closed(at(30)));
        assert_eq!(standing.gate(at(30)), Gate::Open);
        assert_eq!(
            standing.gate(at(30)),
            Gate::Closed(at(60)),
            "the second caller waits"
        );
        standing.learn(Some(&Error::Unauthorized(None)), at(31));
        assert_eq!(standing.gate(at(32)), Gate::Closed(at(91)));
        for _ in 0..20 {
            standing.learn(Some(&Error::Unauthorized(None)), at(100));
        }
        assert_eq!(
            standing.gate(at(101)),
            Gate::Closed(at(400)),
            "five minutes at most"
        );
        standing.learn(None, at(500));
        assert!(standing.is_accepted());
        assert_eq!(standing.gate(at(500)), Gate::Open);
    }

    #[test]
    fn whoever_is_asked_to_wait_leaves_the_service_alone_and_keeps_its_credential() {
        let mut standing = Standing::default();
        standing.learn(None, at(0));
        let wait = |seconds| Error::Throttled {
            after: Some(std::time::Duration::from_secs(seconds)),
        };
        standing.learn(Some(&wait(20)), at(0));
        assert!(standing.is_accepted());
        assert_eq!(standing.gate(at(19)), Gate::Closed(at(20)));
        // A call that was under way ends well: the wish stands.
        standing.learn(None, at(1));
        assert_eq!(standing.gate(at(19)), Gate::Closed(at(20)));
        assert_eq!(standing.gate(at(20)), Gate::Open);
        standing.learn(Some(&wait(999_999)), at(30));
        assert_eq!(
            standing.silent_until(at(31)),
            Some(at(330)),
            "within bounds"
        );
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_no_acceptance() {
        let mut standing = Standing::default();
        let nonsense = Error::Decode {
            call: "token",
            problem: String::new(),
        };
        standing.learn(Some(&nonsense), at(0));
        assert_eq!(standing.verdict, None);
        standing.learn(Some(&Error::CredentialRefused("no".to_owned())), at(0));
        assert!(!standing.is_accepted());
        assert_eq!(standing.gate(at(29)), Gate::Closed(at(30)));
    }

    #[test]
    fn an_unreachable_service_says_nothing_about_the_credential() {
        let mut standing = Standing::default();
        standing.learn(None, at(0));
        standing.learn(Some(&Error::Transport("refused".to_owned())), at(1));
        assert!(standing.is_accepted());
        assert!(matches!(standing.reachable, Some(Err(_))));
    }
}
