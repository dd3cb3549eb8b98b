//! What keeps agents from starting, and what the status says of it.

use super::*;
use crate::pool::facts::{Blocked, Parallelism};
use crate::pool::validate::Retry;
use std::time::Duration;

fn reasons(plan: &Plan) -> Vec<Reason> {
    plan.waiting.iter().map(|waiting| waiting.reason).collect()
}

fn with_parallelism(observed: &mut Observed, total: usize, used: usize) {
    let snapshot = QueueSnapshot {
        parallelism: Some(Parallelism { total, used }),
        ..observed.snapshot.as_deref().unwrap().clone()
    };
    observed.snapshot = Some(Arc::new(snapshot));
}

#[test]
fn surge_starts_more_while_jobs_wait_and_nothing_when_none_does() {
    let pool = pool(json!({ "surge": 2 }), json!([{ "name": "default" }]));
    let reserve = numbers(0..8, |n| reserved(&pool, n));
    let waits = plan(&pool, &observed(reserve.clone(), vec![waiting(1)]), now());
    assert_eq!((waits.start.len(), waits.desired), (3, 3));
    let quiet = plan(&pool, &observed(reserve, vec![]), now());
    assert!(quiet.start.is_empty());
}

#[test]
fn starts_within_a_minute_are_bounded_and_the_rest_says_why_it_waits() {
    let pool = pool(
        json!({ "maxStartsPerMinute": 4 }),
        json!([{ "name": "default" }]),
    );
    let requests = vec![waiting(1), waiting(2), waiting(3)];
    let mut observed = observed(numbers(0..8, |n| reserved(&pool, n)), requests);
    observed.started = 2;
    let plan = plan(&pool, &observed, now());
    assert_eq!(plan.start.len(), 2);
    let starting = Reason::AgentStarting;
    assert_eq!(reasons(&plan), [starting, starting, Reason::RateLimit]);
    assert_eq!(plan.limited_by, Some(Reason::RateLimit));
}

#[test]
fn no_agent_starts_for_a_job_that_the_service_will_not_run() {
    let spec = |respect: bool| {
        pool(
            json!({ "respectParallelism": respect, "minIdle": 1 }),
            json!([{ "name": "default" }]),
        )
    };
    let pool = spec(true);
    let mut given = waiting(1);
    given.agent = Some(AgentId(3));
    let requests = vec![given, waiting(2), waiting(3)];
    let mut observed = observed(numbers(10..18, |n| reserved(&pool, n)), requests);
    with_parallelism(&mut observed, 5, 4);
    let first = plan(&pool, &observed, now());
    assert_eq!(
        first.start.len(),
        3,
        "one that has its licence, one free, one to idle"
    );
    assert_eq!(reasons(&first)[2], Reason::Parallelism);
    assert_eq!(first.limited_by, Some(Reason::Parallelism));
    assert!(first.waiting[2].message.contains("4 of at most 5"));
    with_parallelism(&mut observed, 5, 9);
    assert_eq!(plan(&pool, &observed, now()).start.len(), 2);
    assert_eq!(plan(&spec(false), &observed, now()).start.len(), 4);
}

#[test]
fn a_schedule_raises_and_lowers_the_numbers_and_is_named() {
    let pool = pool(
        json!({ "minIdle": 0, "maxAgents": 2, "schedules": [
            { "name": "always", "start": "00:00", "end": "24:00", "minIdle": 1, "maxAgents": 3 }] }),
        json!([{ "name": "default" }]),
    );
    let reserve = numbers(0..8, |n| reserved(&pool, n));
    let busy = plan(
        &pool,
        &observed(reserve, (1..6).map(waiting).collect()),
        now(),
    );
    assert_eq!((busy.start.len(), busy.desired), (3, 3));
    assert_eq!(busy.schedule.as_deref(), Some("always"));
    assert_eq!(busy.limited_by, Some(Reason::Schedule));
    assert!(busy.waiting[4].message.contains("always"));
}

#[test]
fn a_surplus_must_last_before_agents_go() {
    let pool = simple(0, 10);
    let mut observed = observed(vec![idle(&pool, 1, 400)], vec![]);
    for (since, leaves) in [(None, false), (Some(at(20)), false), (Some(at(30)), true)] {
        observed.surplus_since = since
            .map(|at| ("default".to_owned(), at))
            .into_iter()
            .collect();
        let plan = plan(&pool, &observed, now());
        assert_eq!(plan.surplus, [true]);
        assert_eq!(!plan.drain.is_empty(), leaves, "surplus since {since:?}");
    }
}

#[test]
fn a_pod_that_cannot_start_says_why_and_is_replaced_with_its_cause() {
    let pool = simple(0, 10);
    let stuck = |blocked: Blocked, age: i64| {
        let mut identity = starting(&pool, 1);
        let pod = identity.pod.as_mut().unwrap();
        pod.agent = AgentContainer::Waiting(String::new());
        (pod.created, pod.scheduled) = (Some(at(age)), Some(at(age - 1)));
        pod.blocked = Some(blocked);
        plan(&pool, &observed(vec![identity], vec![waiting(1)]), now())
    };
    let image = || Blocked::ImagePull("container job: ErrImagePull no such tag".to_owned());
    let nodes = || Blocked::Unschedulable("0/3 nodes are available".to_owned());
    let early = stuck(image(), 20);
    assert!(early.retire.is_empty());
    assert_eq!(early.limited_by, Some(Reason::ImagePullFailed));
    let late = stuck(image(), 40);
    assert_eq!(late.retire[0].end.reason, Reason::ImagePullFailed);
    assert!(late.retire[0].end.message.contains("no such tag") && late.retire[0].end.keep);
    let waits = stuck(nodes(), 200);
    assert!(waits.retire.is_empty(), "a node may be on its way");
    assert_eq!(reasons(&waits), [Reason::Unschedulable]);
    assert!(waits.waiting[0].message.contains("0/3 nodes"));
    let gone = stuck(nodes(), 301);
    assert_eq!(gone.retire[0].end.reason, Reason::Unschedulable);
}

#[test]
fn failed_starts_hold_up_their_own_template_for_a_while_and_no_other() {
    let pool = pool(
        json!({}),
        json!([{ "name": "default" }, { "name": "java", "capabilities": { "java": "21" } }]),
    );
    let of_java = |number: i64| {
        let mut identity = reserved(&pool, number);
        let secret = identity.secret.as_mut().unwrap();
        (secret.template, secret.hash) =
            ("java".to_owned(), pool.templates[1].identity_hash.clone());
        identity
    };
    let mut identities = numbers(0..3, |n| reserved(&pool, n));
    identities.extend(numbers(10..13, of_java));
    let java = Request {
        demands: vec!["java".to_owned()],
        ..waiting(2)
    };
    let backoffs = crate::backoff::Backoffs::default();
    let retry = Retry {
        initial: Duration::from_secs(4),
        max: Duration::from_secs(8),
    };
    let mut observed = observed(identities, vec![waiting(1), java]);
    let why = (Reason::ImagePullFailed, "no such tag");
    for (failed, until) in [(0, 4), (4, 12), (12, 20), (20, 28)] {
        backoffs.failed("u-1", "default", retry, why, at(-failed));
        observed.backoff = backoffs.of("u-1");
        let held = plan(&pool, &observed, at(-until + 1));
        let started: Vec<_> = held.start.iter().map(|start| start.template).collect();
        assert_eq!(started, [1], "only java starts until {until}");
        assert_eq!(held.waiting[0].reason, Reason::ImagePullFailed);
        assert_eq!(
            plan(&pool, &observed, at(-until)).start.len(),
            2,
            "tried again"
        );
    }
}

#[test]
fn a_job_that_runs_too_long_is_failed_with_the_limit() {
    let mut pool = simple(0, 10);
    let mut identity = busy(&pool, 1, 7);
    identity.known.as_mut().unwrap().accepted = Some((RequestId(7), at(601)));
    let observed = observed(vec![identity], vec![]);
    assert!(
        plan(&pool, &observed, now()).retire.is_empty(),
        "no limit is set"
    );
    pool.job_timeout = Some(Duration::from_secs(600));
    let retire = plan(&pool, &observed, now()).retire.remove(0);
    assert_eq!(
        (retire.end.reason, retire.request),
        (Reason::JobTimeout, Some(RequestId(7)))
    );
    assert!(retire.end.message.contains("10m"));
}

#[test]
fn a_lost_job_is_left_to_the_service_where_the_pool_says_so() {
    let mut pool = simple(0, 10);
    let lost = Identity {
        pod: None,
        ..busy(&pool, 1, 7)
    };
    let observed = observed(vec![lost], vec![]);
    assert!(!plan(&pool, &observed, now()).retire[0].spare_request);
    pool.on_loss = crate::crd::lifecycle::InfrastructureLoss::None;
    assert!(plan(&pool, &observed, now()).retire[0].spare_request);
}

#[test]
fn pods_that_ended_well_are_kept_up_to_their_own_history() {
    let mut pool = simple(0, 10);
    let ended = |number: i64| {
        let mut identity = starting(&pool, number);
        let pod = identity.pod.as_mut().unwrap();
        pod.phase = PodPhase::Succeeded;
        pod.created = Some(at(number));
        Identity {
            registration: Presence::Absent,
            secret: None,
            known: None,
            ..identity
        }
    };
    let identities = numbers(10..14, ended);
    let observed = observed(identities, vec![]);
    assert_eq!(
        plan(&pool, &observed, now()).retire.len(),
        4,
        "none is kept by default"
    );
    pool.succeeded_history = 2;
    let plan = plan(&pool, &observed, now());
    assert!(plan.retire.is_empty());
    assert_eq!(plan.forget, ["linux-12", "linux-13"]);
    assert_eq!((plan.total.failed, plan.total.live()), (0, 0));
}

#[test]
fn orphans_are_removed_once_an_interval() {
    let pool = simple(0, 10);
    let mut observed = observed(vec![], vec![]);
    let orphan = Registration {
        created: Some(at(400)),
        owner: "gone".to_owned(),
        ..registration(&pool, 1)
    };
    let snapshot = QueueSnapshot {
        agents: vec![orphan],
        ..observed.snapshot.as_deref().unwrap().clone()
    };
    observed.snapshot = Some(Arc::new(snapshot));
    observed.swept = Some(at(59));
    let early = plan(&pool, &observed, now());
    assert_eq!((early.orphans.len(), early.orphaned), (0, 1));
    observed.swept = Some(at(60));
    assert_eq!(plan(&pool, &observed, now()).orphans.len(), 1);
}
