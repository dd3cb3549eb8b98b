use super::*;
use crate::pool::facts::{AgentContainer, PodPhase};
use dayfly_wire::ids::AgentId;

const NONCE: &str = "0123456789abcdef";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn owner() -> Owner {
    Owner {
        pool: PoolKey {
            namespace: "ci".to_owned(),
            name: "linux".to_owned(),
        },
        uid: "u-1".to_owned(),
        connection: "contoso".to_owned(),
    }
}

fn registration() -> Registration {
    Registration {
        id: AgentId(7),
        name: "linux-a".to_owned(),
        enabled: true,
        online: false,
        created: None,
        changed: None,
        owner: "u-1".to_owned(),
        template: "default".to_owned(),
        hash: String::new(),
    }
}

fn token(uid: &str) -> ClusterClaims {
    ClusterClaims {
        namespace: "ci".to_owned(),
        pod_name: "linux-a".to_owned(),
        pod_uid: uid.to_owned(),
        service_account: "default".to_owned(),
        expires: Timestamp::MAX,
    }
}

fn claim() -> Claim {
    Claim {
        identity: "linux-a".to_owned(),
        nonce: NONCE.to_owned(),
    }
}

/// An identity whose pod was created with uid `p-1`.
fn started() -> Memory {
    let memory = Memory::default();
    memory.begin_registration("linux-a", owner(), "default");
    memory.registered("linux-a", registration(), at(1));
    memory.sealed("linux-a", at(1));
    memory.creating_pod("linux-a", &owner(), at(1));
    memory.pod_created("linux-a", "p-1", at(2));
    memory
}

fn pod(phase: PodPhase) -> PodFact {
    PodFact {
        name: "linux-a".to_owned(),
        uid: "p-1".to_owned(),
        template: "default".to_owned(),
        hash: String::new(),
        created: None,
        deletion: None,
        phase,
        reason: String::new(),
        message: String::new(),
        agent: AgentContainer::Running,
        scheduled: None,
        blocked: None,
        accepted: None,
        busy: false,
    }
}

#[test]
fn an_identity_goes_through_its_life() {
    let memory = started();
    assert_eq!(
        memory.claim(&claim(), &token("p-1"), at(3)).unwrap().0,
        Grant::First
    );
    assert_eq!(
        memory.listening("linux-a", at(4)),
        Some(SignedDuration::from_secs(2))
    );
    assert_eq!(memory.listening("linux-a", at(5)), None, "told once");
    let taken = memory.accepted("linux-a", RequestId(9), at(6));
    assert_eq!(
        (taken.first, taken.listened),
        (true, Some(SignedDuration::from_secs(2)))
    );
    assert!(!memory.accepted("linux-a", RequestId(9), at(7)).first);
    let times = memory.take_patch("linux-a").unwrap();
    assert_eq!(
        (times.claimed, times.accepted, times.request),
        (Some(at(3)), Some(at(6)), Some(RequestId(9)))
    );
    assert_eq!(memory.take_patch("linux-a"), None, "one patch");
    memory.finished("linux-a", at(8));
    memory.forget("linux-a", "u-1", at(9));
    let view = memory.view("u-1", "contoso");
    assert!(view.known.is_empty());
    assert_eq!(view.gone["linux-a"], at(9));
    assert_eq!(
        view.taken[&RequestId(9)],
        at(6),
        "an older look must not start another agent for it"
    );
}

#[test]
fn a_claim_is_decided_and_remembered_in_one_step() {
    let memory = started();
    assert!(memory.claim(&claim(), &token("p-1"), at(3)).is_ok());
    let other = Claim {
        nonce: "fedcba9876543210".to_owned(),
        ..claim()
    };
    assert_eq!(
        memory.claim(&other, &token("p-1"), at(3)).unwrap_err(),
        ClaimRefusal::Claimed
    );
    assert_eq!(
        memory.claim(&claim(), &token("p-2"), at(3)).unwrap_err(),
        ClaimRefusal::WrongUid
    );
    memory.ended("linux-a", "altered");
    assert_eq!(
        memory.claim(&claim(), &token("p-1"), at(3)).unwrap_err(),
        ClaimRefusal::Unknown
    );
}

#[test]
fn callbacks_are_heard_from_the_right_pod_only() {
    let memory = started();
    assert_eq!(
        memory.holder("linux-a", "p-1").unwrap().agent,
        Some(AgentId(7))
    );
    assert!(memory.holder("linux-a", "p-2").is_none());
    assert!(memory.holder("linux-b", "p-1").is_none());
}

#[test]
fn after_a_restart_only_pods_without_a_sealed_key_are_taken_over() {
    let sealed: BTreeSet<String> = ["linux-a".to_owned()].into();
    let memory = Memory::default();
    memory.adopt(&owner(), &[pod(PodPhase::Live)], &sealed);
    assert!(!memory.knows("linux-a"));
    memory.adopt(&owner(), &[pod(PodPhase::Failed)], &BTreeSet::new());
    assert!(!memory.knows("linux-a"), "an ended pod has no agent");
    memory.adopt(&owner(), &[pod(PodPhase::Live)], &BTreeSet::new());
    assert!(memory.holder("linux-a", "p-1").is_some());
    assert_eq!(
        memory.claim(&claim(), &token("p-1"), at(3)).unwrap_err(),
        ClaimRefusal::InUse
    );
}

#[test]
fn a_registration_under_way_is_counted_and_not_shown() {
    let memory = Memory::default();
    memory.begin_registration("linux-a", owner(), "default");
    let view = memory.view("u-1", "contoso");
    assert_eq!(view.registering["default"], 1);
    assert!(view.known.is_empty());
    memory.registered("linux-a", registration(), at(1));
    memory.sealed("linux-a", at(1));
    let view = memory.view("u-1", "contoso");
    assert!(view.registering.is_empty() && view.known.contains_key("linux-a"));
}

#[test]
fn one_operation_at_a_time_and_longer_waits_after_failures() {
    let memory = started();
    assert!(memory.begin("linux-a", &owner()));
    assert!(!memory.begin("linux-a", &owner()));
    let held = |memory: &Memory| memory.view("u-1", "contoso").known["linux-a"].held_until;
    memory.end_failed("linux-a", at(10));
    assert_eq!(held(&memory), Some(at(11)));
    memory.end_failed("linux-a", at(20));
    assert_eq!(held(&memory), Some(at(22)));
    memory.end("linux-a");
    assert_eq!(held(&memory), None);
}

#[test]
fn what_is_remembered_of_the_past_is_bounded_in_time() {
    let memory = started();
    memory.accepted("linux-a", RequestId(9), at(6));
    memory.forget("linux-a", "u-1", at(9));
    memory.prune(at(9 + 601));
    let view = memory.view("u-1", "contoso");
    assert!(view.gone.is_empty() && view.taken.is_empty());
}
