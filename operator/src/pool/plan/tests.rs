use super::*;
use crate::crd::pool::AgentPool;
use crate::pool::facts::{
    AgentContainer, Known, KnownPod, PodFact, PodPhase, Presence, Registration, SecretFact,
};
use crate::pool::validate::validate;
use dayfly_wire::ids::PoolId;
use proptest::prelude::*;
use serde_json::json;

mod histories;
mod limits;

const NOW: i64 = 1_000_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

fn now() -> Timestamp {
    at(0)
}

/// A pool with these scaling settings and templates.
#[allow(clippy::needless_pass_by_value)] // `json!` literals read better by value.
fn pool(scaling: serde_json::Value, templates: serde_json::Value) -> ValidPool {
    let object: AgentPool = serde_json::from_value(json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
        "metadata": { "name": "linux", "namespace": "ci", "uid": "u-1" },
        "spec": { "connection": "c", "pool": "p", "scaling": scaling, "templates": templates },
    }))
    .unwrap();
    validate(&object, "").unwrap()
}

fn simple(min_idle: i32, max_agents: i32) -> ValidPool {
    pool(
        json!({ "minIdle": min_idle, "maxAgents": max_agents }),
        json!([{ "name": "default" }]),
    )
}

fn registration(pool: &ValidPool, number: i64) -> Registration {
    Registration {
        id: AgentId(number),
        name: format!("linux-{number}"),
        enabled: true,
        online: false,
        created: Some(at(600)),
        changed: None,
        owner: "u-1".to_owned(),
        template: "default".to_owned(),
        hash: pool.templates[0].identity_hash.clone(),
    }
}

fn reserved(pool: &ValidPool, number: i64) -> Identity {
    let registration = registration(pool, number);
    Identity {
        name: registration.name.clone(),
        secret: Some(SecretFact {
            name: registration.name.clone(),
            pool_uid: "u-1".to_owned(),
            template: registration.template.clone(),
            hash: registration.hash.clone(),
            created: Some(at(600)),
        }),
        registration: Presence::Present(registration),
        pod: None,
        known: None,
        request: None,
        snapshot: Some(at(1)),
    }
}

fn pod(pool: &ValidPool, number: i64) -> PodFact {
    PodFact {
        name: format!("linux-{number}"),
        uid: format!("pod-{number}"),
        template: "default".to_owned(),
        hash: pool.templates[0].pod_hash.clone(),
        created: Some(at(60)),
        deletion: None,
        phase: PodPhase::Live,
        reason: String::new(),
        message: String::new(),
        agent: AgentContainer::Running,
        scheduled: Some(at(60)),
        blocked: None,
        accepted: None,
        busy: false,
    }
}

fn known(number: i64) -> Known {
    Known {
        pod: KnownPod::Created {
            uid: format!("pod-{number}"),
            at: at(60),
            seen: true,
        },
        ..Known::default()
    }
}

fn starting(pool: &ValidPool, number: i64) -> Identity {
    Identity {
        pod: Some(pod(pool, number)),
        known: Some(known(number)),
        ..reserved(pool, number)
    }
}

fn idle(pool: &ValidPool, number: i64, since: i64) -> Identity {
    let known = Known {
        listening: Some(at(since)),
        unsealed: true,
        ..known(number)
    };
    Identity {
        secret: None,
        known: Some(known),
        ..starting(pool, number)
    }
}

fn busy(pool: &ValidPool, number: i64, request: i64) -> Identity {
    let mut identity = idle(pool, number, 30);
    identity.request = Some(Request {
        agent: Some(AgentId(number)),
        received: Some(at(20)),
        ..waiting(request)
    });
    identity
}

fn waiting(id: i64) -> Request {
    Request {
        id: RequestId(id),
        queued: Some(at(100 - id)),
        demands: Vec::new(),
        agent: None,
        received: None,
    }
}

fn observed(identities: Vec<Identity>, requests: Vec<Request>) -> Observed {
    let held = identities
        .iter()
        .filter_map(|identity| identity.request.clone());
    let requests = requests
        .into_iter()
        .chain(held.collect::<Vec<_>>())
        .collect();
    Observed {
        snapshot: Some(Arc::new(QueueSnapshot {
            begun: at(1),
            pool: PoolId(1),
            requests,
            agents: identities
                .iter()
                .filter_map(|i| i.registration.present().cloned())
                .collect(),
            foreign: 0,
            parallelism: None,
        })),
        identities,
        writable: true,
        registering: BTreeMap::new(),
        backoff: BTreeMap::new(),
        started: 0,
        surplus_since: [("default".to_owned(), at(1000))].into(),
        swept: None,
        taken: BTreeMap::new(),
        living: ["u-1".to_owned()].into(),
        deleting: None,
    }
}

fn numbers(range: std::ops::Range<i64>, make: impl Fn(i64) -> Identity) -> Vec<Identity> {
    range.map(make).collect()
}

#[test]
fn an_empty_pool_fills_its_reserve_and_starts_nothing() {
    let pool = simple(0, 10);
    let plan = plan(&pool, &observed(vec![], vec![]), now());
    assert_eq!(plan.register, [(0, 5)].into());
    assert!(plan.start.is_empty() && plan.retire.is_empty());
    assert!(plan.nothing_left);
}

#[test]
fn each_waiting_request_starts_one_agent_and_the_reserve_is_filled_behind() {
    let pool = simple(0, 10);
    let plan = plan(
        &pool,
        &observed(
            numbers(0..5, |n| reserved(&pool, n)),
            vec![waiting(1), waiting(2)],
        ),
        now(),
    );
    assert_eq!(plan.start.len(), 2);
    assert_eq!(plan.register, [(0, 2)].into());
    let reasons: Vec<_> = plan.waiting.iter().map(|w| w.reason).collect();
    assert_eq!(reasons, [Reason::AgentStarting; 2]);
    assert_eq!(plan.limited_by, None);
}

#[test]
fn agents_that_start_or_idle_are_not_started_again() {
    let pool = simple(0, 10);
    let mut identities = numbers(0..5, |n| reserved(&pool, n));
    identities.push(starting(&pool, 10));
    identities.push(idle(&pool, 11, 5));
    let requests = vec![waiting(1), waiting(2), waiting(3)];
    assert_eq!(
        plan(&pool, &observed(identities, requests), now())
            .start
            .len(),
        1
    );
}

#[test]
fn the_last_reserved_identity_stays_until_another_is_registered() {
    let pool = simple(0, 10);
    let one = plan(
        &pool,
        &observed(vec![reserved(&pool, 1)], vec![waiting(1)]),
        now(),
    );
    assert!(one.start.is_empty());
    assert_eq!(
        one.register,
        [(0, 5)].into(),
        "reserve of 5, one there, one more for the job"
    );
    assert_eq!(one.waiting[0].reason, Reason::NoReserve);
    let two = plan(
        &pool,
        &observed(numbers(1..3, |n| reserved(&pool, n)), vec![waiting(1)]),
        now(),
    );
    assert_eq!(two.start.len(), 1);
}

#[test]
fn a_burst_is_bounded_by_max_agents_and_says_so() {
    let pool = simple(0, 3);
    let mut identities = numbers(0..5, |n| reserved(&pool, n));
    identities.extend(numbers(10..12, |n| busy(&pool, n, n)));
    let plan = plan(
        &pool,
        &observed(identities, (20..30).map(waiting).collect()),
        now(),
    );
    assert_eq!(plan.start.len(), 1);
    assert_eq!(plan.limited_by, Some(Reason::MaxAgents));
    assert_eq!(plan.desired, 3);
    let limited = plan
        .waiting
        .iter()
        .filter(|w| w.reason == Reason::MaxAgents)
        .count();
    assert_eq!((plan.waiting.len(), limited), (10, 9));
}

#[test]
fn a_request_that_our_agent_took_is_not_waiting_in_an_older_snapshot() {
    let pool = simple(0, 10);
    let mut observed = observed(numbers(0..5, |n| reserved(&pool, n)), vec![waiting(1)]);
    observed.taken = [(RequestId(1), at(0))].into();
    assert!(plan(&pool, &observed, now()).waiting.is_empty());
    observed.taken = [(RequestId(1), at(5))].into();
    assert_eq!(
        plan(&pool, &observed, now()).waiting.len(),
        1,
        "a later look knows better"
    );
}

#[test]
fn a_request_that_is_given_to_a_reserved_identity_starts_that_one() {
    let pool = simple(0, 10);
    let mut identities = numbers(0..4, |n| reserved(&pool, n));
    let mut request = waiting(1);
    request.agent = Some(AgentId(3));
    identities[3].request = Some(request);
    let plan = plan(&pool, &observed(identities, vec![]), now());
    assert_eq!(plan.start[0].identity, "linux-3");
}

#[test]
fn min_idle_is_kept_beside_what_is_busy() {
    let pool = simple(2, 10);
    let mut identities = numbers(0..5, |n| reserved(&pool, n));
    identities.push(busy(&pool, 10, 1));
    identities.push(idle(&pool, 11, 5));
    let plan = plan(&pool, &observed(identities, vec![]), now());
    assert_eq!(plan.start.len(), 1);
    assert_eq!(plan.desired, 3);
}

#[test]
fn the_first_template_that_satisfies_all_demands_claims_a_job_and_others_say_what_lacks() {
    let pool = pool(
        json!({}),
        json!([{ "name": "default" }, { "name": "java", "capabilities": { "java": "21" } }]),
    );
    let demand = |id, demand: &str| Request {
        demands: vec![demand.to_owned()],
        ..waiting(id)
    };
    let requests = vec![
        waiting(1),
        demand(2, "java -equals 21"),
        demand(3, "java -equals 8"),
        demand(4, "Agent.Version -gtVersion 2.182.1"),
    ];
    let plan = plan(&pool, &observed(vec![], requests), now());
    let by: Vec<_> = plan
        .waiting
        .iter()
        .map(|w| (w.request.0, w.template))
        .collect();
    assert_eq!(by, [(1, Some(0)), (2, Some(1)), (3, None), (4, Some(0))]);
    assert!(plan.waiting[2].message.contains("java -equals 8"));
    assert_eq!(plan.waiting[2].reason, Reason::NoTemplate);
}

#[test]
fn surplus_idle_agents_are_disabled_first_and_removed_by_a_later_look() {
    let pool = simple(1, 10);
    let mut identities = numbers(0..5, |n| reserved(&pool, n));
    identities.extend([
        idle(&pool, 10, 400),
        idle(&pool, 11, 500),
        idle(&pool, 12, 10),
    ]);
    let first = plan(&pool, &observed(identities.clone(), vec![]), now());
    assert_eq!(
        first.drain,
        ["linux-11", "linux-10"],
        "the longest idle first, never below minIdle"
    );
    assert!(first.retire.is_empty());
    let disabled = |identity: &mut Identity, at: Timestamp| {
        identity.known.as_mut().unwrap().disabled = Some(at);
        if let Presence::Present(registration) = &mut identity.registration {
            registration.enabled = false;
        }
    };
    disabled(&mut identities[5], at(0));
    disabled(&mut identities[6], at(5));
    let second = plan(&pool, &observed(identities, vec![]), now());
    let retired: Vec<_> = second
        .retire
        .iter()
        .map(|r| (r.identity.as_str(), r.only_if_idle))
        .collect();
    assert_eq!(
        retired,
        [("linux-11", true)],
        "only the one that a later look has shown without a request"
    );
}

#[test]
fn a_busy_agent_is_never_touched_but_disabled_and_marked() {
    let pool = simple(0, 0);
    let mut identity = busy(&pool, 1, 1);
    identity.known.as_mut().unwrap().accepted = Some((RequestId(1), at(20)));
    identity.pod.as_mut().unwrap().hash = "outdated".to_owned();
    let plan = plan(&pool, &observed(vec![identity], vec![]), now());
    assert!(plan.retire.is_empty() && plan.drain.is_empty());
    let mark = Mark {
        identity: "linux-1".to_owned(),
        request: Some(RequestId(1)),
        disable: true,
        patch: true,
    };
    assert_eq!(plan.mark, [mark]);
}

#[test]
fn the_services_word_alone_disables_at_once_and_patches_after_a_moment() {
    let pool = simple(0, 10);
    let mut identity = busy(&pool, 1, 1);
    let first = plan(&pool, &observed(vec![identity.clone()], vec![]), now());
    assert_eq!((first.mark[0].disable, first.mark[0].patch), (true, false));
    assert_eq!(first.reserved_seen, ["linux-1"]);
    identity.known.as_mut().unwrap().reserved_seen = Some(at(3));
    let later = plan(&pool, &observed(vec![identity], vec![]), now());
    assert!(later.mark[0].patch);
}

#[test]
fn an_outdated_idle_agent_leaves_and_an_outdated_reserve_waits_for_its_successor() {
    let pool = simple(1, 10);
    let mut old_pod = idle(&pool, 1, 1);
    old_pod.pod.as_mut().unwrap().hash = "outdated".to_owned();
    let mut old_reserve = reserved(&pool, 2);
    old_reserve.secret.as_mut().unwrap().hash = "outdated".to_owned();
    let alone = plan(
        &pool,
        &observed(vec![old_pod.clone(), old_reserve.clone()], vec![]),
        now(),
    );
    assert_eq!(alone.drain, ["linux-1"]);
    assert!(alone.retire.is_empty(), "it is the only placeholder");
    let followed = plan(
        &pool,
        &observed(vec![old_reserve, reserved(&pool, 3)], vec![]),
        now(),
    );
    assert_eq!(followed.retire[0].identity, "linux-2");
}

#[test]
fn while_the_credential_is_refused_the_reserve_is_used_and_nothing_is_asked_of_the_service() {
    let pool = simple(3, 10);
    let mut gone = reserved(&pool, 9);
    gone.secret = None;
    let mut identities = numbers(0..5, |n| reserved(&pool, n));
    identities.push(gone);
    let mut observed = observed(identities, vec![]);
    observed.writable = false;
    let plan = plan(&pool, &observed, now());
    assert_eq!(plan.start.len(), 3);
    assert!(plan.register.is_empty() && plan.drain.is_empty() && plan.retire.is_empty());
    assert_eq!(
        plan.total.retired, 1,
        "its registration is deleted after renewal"
    );
}

#[test]
fn every_abnormal_end_fails_the_request_with_the_reason() {
    let pool = simple(0, 10);
    let with = |change: &dyn Fn(&mut Identity)| {
        let mut identity = busy(&pool, 1, 7);
        change(&mut identity);
        plan(&pool, &observed(vec![identity], vec![]), now())
    };
    type Case<'a> = (&'a dyn Fn(&mut Identity), Reason, &'static str);
    let cases: [Case<'_>; 4] = [
        (
            &|i| i.pod = None,
            Reason::AgentLost,
            "deleted while it was at work",
        ),
        (
            &|i| {
                let pod = i.pod.as_mut().unwrap();
                (pod.phase, pod.reason, pod.message) = (
                    PodPhase::Failed,
                    "Evicted".to_owned(),
                    "low on memory".to_owned(),
                );
            },
            Reason::AgentEvicted,
            "low on memory",
        ),
        (
            &|i| {
                let ended = AgentContainer::Terminated {
                    code: 137,
                    reason: "OOMKilled".to_owned(),
                };
                i.pod.as_mut().unwrap().agent = ended;
            },
            Reason::AgentFailed,
            "137 (OOMKilled)",
        ),
        (
            &|i| i.pod.as_mut().unwrap().deletion = Some(at(60)),
            Reason::AgentLost,
            "node does not answer",
        ),
    ];
    for (change, reason, words) in cases {
        let retire = &with(change).retire[0];
        assert_eq!(
            (retire.end.reason, retire.request),
            (reason, Some(RequestId(7)))
        );
        assert!(
            retire.end.is_abnormal() && retire.end.message.contains(words),
            "{:?}",
            retire.end
        );
    }
}

#[test]
fn a_plain_deletion_lets_a_busy_agent_finish() {
    let pool = simple(0, 10);
    let mut identity = busy(&pool, 1, 7);
    identity.pod.as_mut().unwrap().deletion = Some(at(-3600));
    let plan = plan(&pool, &observed(vec![identity], vec![]), now());
    assert!(plan.retire.is_empty());
    assert_eq!(plan.total.busy, 1);
}

#[test]
fn an_agent_that_does_not_come_up_is_replaced_with_the_kubelets_word() {
    let pool = simple(0, 10);
    let mut identity = starting(&pool, 1);
    let pod = identity.pod.as_mut().unwrap();
    (pod.created, pod.agent) = (
        Some(at(301)),
        AgentContainer::Waiting("ImagePullBackOff".to_owned()),
    );
    let plan = plan(&pool, &observed(vec![identity], vec![]), now());
    assert_eq!(plan.retire[0].end.reason, Reason::StartupTimeout);
    assert!(plan.retire[0].end.message.contains("ImagePullBackOff"));
}

#[test]
fn an_agent_that_ends_before_it_listened_is_a_failed_start() {
    let pool = simple(0, 10);
    let mut identity = starting(&pool, 1);
    identity.pod.as_mut().unwrap().agent = AgentContainer::Terminated {
        code: 0,
        reason: "Completed".to_owned(),
    };
    let plan = plan(&pool, &observed(vec![identity], vec![]), now());
    assert_eq!(plan.retire[0].end.reason, Reason::AgentFailed);
}

#[test]
fn a_new_leader_replaces_what_had_not_claimed_and_leaves_the_rest_alone() {
    let pool = simple(0, 10);
    let unclaimed = Identity {
        known: None,
        ..starting(&pool, 1)
    };
    let adopted = Known {
        pod: KnownPod::Adopted {
            uid: "pod-2".to_owned(),
        },
        ..Known::default()
    };
    let listening = Identity {
        known: Some(adopted.clone()),
        ..idle(&pool, 2, 5)
    };
    let mut working = busy(&pool, 3, 7);
    working.pod.as_mut().unwrap().uid = "pod-2".to_owned();
    working.known = Some(adopted);
    let plan = plan(
        &pool,
        &observed(vec![unclaimed, listening, working], vec![]),
        now(),
    );
    let retired: Vec<_> = plan.retire.iter().map(|r| r.identity.as_str()).collect();
    assert_eq!(retired, ["linux-1"]);
    assert_eq!((plan.total.idle, plan.total.busy), (1, 1));
}

#[test]
fn a_new_leader_keeps_a_finished_agent_in_mind_until_it_could_ask_for_its_registration() {
    let pool = simple(0, 10);
    let known = Known {
        pod: KnownPod::Adopted {
            uid: "pod-1".to_owned(),
        },
        finished: Some(at(1)),
        ..Known::default()
    };
    let finished = Identity {
        pod: None,
        known: Some(known),
        ..idle(&pool, 1, 5)
    };
    let unasked = Identity {
        registration: Presence::Unknown,
        snapshot: None,
        ..finished.clone()
    };
    let mut blind = observed(vec![unasked], vec![]);
    (blind.snapshot, blind.writable) = (None, false);
    let waits = plan(&pool, &blind, now());
    assert!(waits.retire.is_empty() && !waits.nothing_left);
    let sees = plan(&pool, &observed(vec![finished], vec![]), now());
    assert_eq!(sees.retire.len(), 1);
}

#[test]
fn failed_pods_are_kept_up_to_the_history_and_its_time() {
    let pool = simple(0, 10);
    let failed = |number: i64, age: i64| {
        let mut identity = starting(&pool, number);
        let pod = identity.pod.as_mut().unwrap();
        (pod.phase, pod.created) = (PodPhase::Failed, Some(at(age)));
        Identity {
            registration: Presence::Absent,
            secret: None,
            known: None,
            ..identity
        }
    };
    let mut identities = numbers(0..7, |n| failed(n, 10 + n));
    identities.push(failed(8, 4000));
    let plan = plan(&pool, &observed(identities, vec![]), now());
    assert_eq!(plan.forget, ["linux-5", "linux-6", "linux-8"]);
    assert_eq!(plan.total.live(), 0, "failed pods are never capacity");
}

#[test]
fn registrations_without_a_living_owner_are_swept_when_old_enough() {
    let pool = simple(0, 10);
    let mut observed = observed(vec![], vec![]);
    let foreign = |number: i64, age: i64, owner: &str| Registration {
        created: Some(at(age)),
        owner: owner.to_owned(),
        ..registration(&pool, number)
    };
    let agents = vec![
        foreign(1, 400, "gone"),
        foreign(2, 100, "gone"),
        foreign(3, 400, "u-1"),
    ];
    let snapshot = QueueSnapshot {
        agents,
        ..observed.snapshot.as_deref().unwrap().clone()
    };
    observed.snapshot = Some(Arc::new(snapshot));
    let plan = plan(&pool, &observed, now());
    assert_eq!(plan.orphans, [(AgentId(1), "linux-1".to_owned())]);
}

#[test]
fn a_deletion_drains_and_gives_up_on_jobs_after_the_deadline() {
    let pool = simple(2, 10);
    let identities = vec![
        reserved(&pool, 1),
        starting(&pool, 2),
        idle(&pool, 3, 5),
        busy(&pool, 4, 7),
    ];
    let mut observed = observed(identities, vec![waiting(9)]);
    observed.deleting = Some(at(5));
    let early = plan(&pool, &observed, now());
    let retired: Vec<_> = early.retire.iter().map(|r| r.identity.as_str()).collect();
    assert_eq!(retired, ["linux-1", "linux-2"]);
    assert_eq!(early.drain, ["linux-3"]);
    assert!(early.start.is_empty() && early.register.is_empty() && !early.nothing_left);
    observed.deleting = Some(at(601));
    let late = plan(&pool, &observed, now());
    assert_eq!(late.retire.len(), 4);
    assert_eq!(late.retire[3].request, Some(RequestId(7)));
}

#[test]
fn paused_and_failing_templates_start_nothing_and_say_why() {
    let mut pool = simple(0, 10);
    let identities = numbers(0..5, |n| reserved(&pool, n));
    let mut observed = observed(identities, vec![waiting(1)]);
    let hold = |reason, message: &str| Hold {
        until: at(-5),
        reason,
        message: message.to_owned(),
    };
    observed.backoff = [("default".to_owned(), hold(Reason::QuotaExceeded, "full"))].into();
    let failing = plan(&pool, &observed, now());
    assert!(failing.start.is_empty());
    assert_eq!(
        (
            failing.waiting[0].reason,
            failing.waiting[0].message.as_str()
        ),
        (Reason::QuotaExceeded, "full")
    );
    let key = crate::backoff::registration_key("default");
    observed.backoff = [(key, hold(Reason::RegistrationFailed, "no permission"))].into();
    let unregistered = plan(&pool, &observed, now());
    assert_eq!(unregistered.start.len(), 1, "what is registered starts");
    assert!(unregistered.register.is_empty());
    pool.paused = true;
    assert_eq!(
        plan(&pool, &observed, now()).waiting[0].reason,
        Reason::Paused
    );
}

/// An identity in any stage, told by a number.
fn any_identity(pool: &ValidPool, number: i64, kind: u8) -> Identity {
    match kind {
        0 => reserved(pool, number),
        1 => starting(pool, number),
        2 => idle(pool, number, 1000),
        3 => busy(pool, number, 1000 + number),
        4 => Identity {
            pod: None,
            ..busy(pool, number, 1000 + number)
        },
        _ => Identity {
            secret: None,
            ..reserved(pool, number)
        },
    }
}

proptest! {
    /// Whatever is there: limits hold, busy agents are left alone, nobody is started and removed at once.
    #[test]
    fn a_plan_keeps_its_limits(
        min_idle in 0..5_i32,
        max_agents in 5..20_i32,
        kinds in prop::collection::vec(0..6_u8, 0..40),
        queued in 0..40_i64,
        writable: bool,
    ) {
        let pool = simple(min_idle, max_agents);
        let identities: Vec<_> =
            kinds.iter().enumerate().map(|(n, kind)| any_identity(&pool, n as i64, *kind)).collect();
        let mut observed = observed(identities, (2000..2000 + queued).map(waiting).collect());
        observed.writable = writable;
        let plan = plan(&pool, &observed, now());
        let live = plan.total.live();
        prop_assert!(plan.start.is_empty() || live + plan.start.len() <= pool.max_agents);
        let reserved = kinds.iter().filter(|kind| **kind == 0).count();
        prop_assert!(plan.start.len() <= reserved.saturating_sub(1), "the last one stays");
        let touched: BTreeSet<&str> = plan
            .retire
            .iter()
            .map(|r| r.identity.as_str())
            .chain(plan.drain.iter().map(String::as_str))
            .collect();
        for start in &plan.start {
            prop_assert!(!touched.contains(start.identity.as_str()));
        }
        for (number, kind) in kinds.iter().enumerate() {
            let name = format!("linux-{number}");
            prop_assert!(*kind != 3 || !touched.contains(name.as_str()), "{} is busy", name);
        }
        prop_assert_eq!(plan.waiting.len() as i64, queued);
        prop_assert!(writable || (plan.register.is_empty() && plan.drain.is_empty()));
    }

    /// Starting what the plan says is enough: planned again at once, nothing more is started.
    #[test]
    fn a_plan_converges(min_idle in 0..5_i32, queued in 0..12_i64, reserve in 0..30_i64) {
        let pool = simple(min_idle, 10);
        let requests: Vec<_> = (2000..2000 + queued).map(waiting).collect();
        let first = plan(&pool, &observed(numbers(0..reserve, |n| reserved(&pool, n)), requests.clone()), now());
        let started: BTreeSet<_> = first.start.iter().map(|start| start.identity.clone()).collect();
        let identities = numbers(0..reserve, |n| {
            if started.contains(&format!("linux-{n}")) { starting(&pool, n) } else { reserved(&pool, n) }
        });
        let second = plan(&pool, &observed(identities, requests), now());
        let wanted = (queued + i64::from(min_idle)).min(10) as usize;
        let possible = (reserve as usize).saturating_sub(1);
        prop_assert_eq!(first.start.len(), wanted.min(possible));
        prop_assert!(second.start.is_empty() || started.len() < wanted);
    }
}
