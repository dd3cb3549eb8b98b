//! Whether a claim is granted. Pure.

use crate::pool::facts::KnownPod;
use dayfly_keys::cluster_token::ClusterClaims;
use dayfly_wire::identity::{Claim, MAX_NONCE};

/// What is remembered of the identity that is claimed.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<'a> {
    /// The namespace that its pod runs in.
    pub namespace: &'a str,
    /// Its pod.
    pub pod: &'a KnownPod,
    /// The nonce of the process that claimed it.
    pub nonce: Option<&'a str>,
    /// Whether it listens.
    pub listening: bool,
    /// Whether it has come to its end.
    pub ended: bool,
}

/// The claim is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// For the first time.
    First,
    /// Again, to the same process, whose answer was lost.
    Again,
}

/// The claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ClaimRefusal {
    /// A name or nonce that cannot be one.
    #[error("identity or nonce is malformed")]
    Malformed,
    /// The token is not one of this cluster for this audience and time.
    #[error("the token is not accepted")]
    Token,
    /// The token belongs to another pod than the identity.
    #[error("the token belongs to another pod")]
    WrongPod,
    /// The pod is in another namespace than the identity.
    #[error("the identity belongs to another namespace")]
    WrongNamespace,
    /// The pod was not made by this operator, or was made again by somebody else.
    #[error("the pod is not the one that was made for this identity")]
    WrongUid,
    /// Another process claimed it.
    #[error("the identity was claimed by another process")]
    Claimed,
    /// Its agent listens already.
    #[error("the identity is in use")]
    InUse,
    /// Not known: of an earlier leader, or removed.
    #[error("no such identity any more")]
    Unknown,
    /// The pod is being made; ask again.
    #[error("the pod is being made; ask again")]
    NotYet,
    /// The sealed key was changed.
    #[error("the identity was tampered with")]
    Tampered,
    /// Too many calls from one source.
    #[error("too many calls; wait")]
    TooMany,
    /// The operator cannot tell now; ask again.
    #[error("the operator is not ready; ask again")]
    NotReady,
}

impl ClaimRefusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Token => 401,
            Self::WrongPod | Self::WrongNamespace | Self::WrongUid => 403,
            Self::Claimed | Self::InUse => 409,
            Self::Unknown | Self::Tampered => 410,
            Self::TooMany => 429,
            Self::NotYet | Self::NotReady => 503,
        }
    }

    /// One word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Token => "token",
            Self::WrongPod => "wrong_pod",
            Self::WrongNamespace => "wrong_namespace",
            Self::WrongUid => "wrong_uid",
            Self::Claimed => "claimed",
            Self::InUse => "in_use",
            Self::Unknown => "unknown",
            Self::NotYet => "not_yet",
            Self::Tampered => "tampered",
            Self::TooMany => "too_many",
            Self::NotReady => "not_ready",
        }
    }

    /// Whether it happens in the normal course of things and is not worth a warning.
    pub fn is_expected(self) -> bool {
        matches!(self, Self::NotYet | Self::NotReady)
    }
}

/// Checks what does not need a token or memory.
///
/// # Errors
/// The claim is malformed.
pub fn well_formed(claim: &Claim) -> Result<(), ClaimRefusal> {
    let name = |text: &str| {
        text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
        })
    };
    let identity =
        !claim.identity.is_empty() && claim.identity.len() <= 63 && name(&claim.identity);
    let nonce = (16..=MAX_NONCE).contains(&claim.nonce.len())
        && claim.nonce.bytes().all(|b| b.is_ascii_graphic());
    if identity && nonce {
        Ok(())
    } else {
        Err(ClaimRefusal::Malformed)
    }
}

/// Decides. The token was checked before: signature, time, audience.
///
/// # Errors
/// The claim is refused.
pub fn claim_decision(
    claim: &Claim,
    token: &ClusterClaims,
    remembered: Option<Remembered<'_>>,
) -> Result<Grant, ClaimRefusal> {
    well_formed(claim)?;
    if token.pod_name != claim.identity {
        return Err(ClaimRefusal::WrongPod);
    }
    let remembered = remembered.ok_or(ClaimRefusal::Unknown)?;
    if token.namespace != remembered.namespace {
        return Err(ClaimRefusal::WrongNamespace);
    }
    match remembered.pod {
        KnownPod::None => return Err(ClaimRefusal::Unknown),
        KnownPod::Creating => return Err(ClaimRefusal::NotYet),
        KnownPod::Adopted { .. } => return Err(ClaimRefusal::InUse),
        KnownPod::Created { uid, .. } if *uid != token.pod_uid => {
            return Err(ClaimRefusal::WrongUid);
        }
        KnownPod::Created { .. } => {}
    }
    if remembered.ended {
        return Err(ClaimRefusal::Unknown);
    }
    if remembered.listening {
        return Err(ClaimRefusal::InUse);
    }
    match remembered.nonce {
        None => Ok(Grant::First),
        Some(nonce) if nonce == claim.nonce => Ok(Grant::Again),
        Some(_) => Err(ClaimRefusal::Claimed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const NONCE: &str = "0123456789abcdef";

    fn claim(identity: &str, nonce: &str) -> Claim {
        Claim {
            identity: identity.to_owned(),
            nonce: nonce.to_owned(),
        }
    }

    fn token(namespace: &str, pod: &str, uid: &str) -> ClusterClaims {
        ClusterClaims {
            namespace: namespace.to_owned(),
            pod_name: pod.to_owned(),
            pod_uid: uid.to_owned(),
            service_account: "default".to_owned(),
            expires: Timestamp::MAX,
        }
    }

    fn created() -> KnownPod {
        KnownPod::Created {
            uid: "u-1".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            seen: false,
        }
    }

    fn remembered(pod: &KnownPod) -> Remembered<'_> {
        Remembered {
            namespace: "ci",
            pod,
            nonce: None,
            listening: false,
            ended: false,
        }
    }

    fn decide(
        token: &ClusterClaims,
        remembered: Option<Remembered<'_>>,
    ) -> Result<Grant, ClaimRefusal> {
        claim_decision(&claim("linux-a", NONCE), token, remembered)
    }

    #[test]
    fn the_pod_that_was_made_for_the_identity_gets_it() {
        let pod = created();
        assert_eq!(
            decide(&token("ci", "linux-a", "u-1"), Some(remembered(&pod))),
            Ok(Grant::First)
        );
    }

    #[test]
    fn every_other_pod_is_refused() {
        let pod = created();
        for (token, refusal) in [
            (token("ci", "linux-b", "u-1"), ClaimRefusal::WrongPod),
            (
                token("other", "linux-a", "u-1"),
                ClaimRefusal::WrongNamespace,
            ),
            (token("ci", "linux-a", "u-2"), ClaimRefusal::WrongUid),
        ] {
            assert_eq!(decide(&token, Some(remembered(&pod))), Err(refusal));
        }
    }

    #[test]
    fn the_same_process_may_ask_again_until_it_listens_and_no_other_may() {
        let pod = created();
        let token = token("ci", "linux-a", "u-1");
        let claimed = Remembered {
            nonce: Some(NONCE),
            ..remembered(&pod)
        };
        assert_eq!(decide(&token, Some(claimed)), Ok(Grant::Again));
        let other = Remembered {
            nonce: Some("fedcba9876543210"),
            ..remembered(&pod)
        };
        assert_eq!(decide(&token, Some(other)), Err(ClaimRefusal::Claimed));
        let listening = Remembered {
            listening: true,
            ..claimed
        };
        assert_eq!(decide(&token, Some(listening)), Err(ClaimRefusal::InUse));
        let ended = Remembered {
            ended: true,
            ..claimed
        };
        assert_eq!(decide(&token, Some(ended)), Err(ClaimRefusal::Unknown));
    }

    #[test]
    fn what_is_not_remembered_is_not_granted() {
        let token = token("ci", "linux-a", "u-1");
        assert_eq!(decide(&token, None), Err(ClaimRefusal::Unknown));
        for (pod, refusal) in [
            (KnownPod::None, ClaimRefusal::Unknown),
            (KnownPod::Creating, ClaimRefusal::NotYet),
            (
                KnownPod::Adopted {
                    uid: "u-1".to_owned(),
                },
                ClaimRefusal::InUse,
            ),
        ] {
            assert_eq!(decide(&token, Some(remembered(&pod))), Err(refusal));
        }
    }

    #[test]
    fn names_and_nonces_that_cannot_be_one_are_malformed() {
        for (identity, nonce) in [
            ("", NONCE),
            ("UPPER", NONCE),
            ("a/../b", NONCE),
            ("linux-a", "short"),
            ("linux-a", &"n".repeat(MAX_NONCE + 1)),
            ("linux-a", "0123456789abcde\n"),
        ] {
            assert_eq!(
                well_formed(&claim(identity, nonce)),
                Err(ClaimRefusal::Malformed),
                "{identity:?} {nonce:?}"
            );
        }
    }
}
