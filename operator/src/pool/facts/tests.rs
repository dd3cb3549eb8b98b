use super::*;
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn registration(number: i64) -> Registration {
    Registration {
        id: AgentId(number),
        name: format!("linux-{number}"),
        enabled: true,
        online: false,
        created: Some(at(0)),
        changed: None,
        owner: "u-1".to_owned(),
        template: "default".to_owned(),
        hash: "h".to_owned(),
    }
}

fn snapshot(begun: i64, agents: Vec<Registration>) -> Option<Arc<QueueSnapshot>> {
    let (pool, requests) = (PoolId(1), Vec::new());
    Some(Arc::new(QueueSnapshot {
        begun: at(begun),
        pool,
        requests,
        agents,
        foreign: 0,
        parallelism: None,
    }))
}

fn lists(snapshot: Option<Arc<QueueSnapshot>>, known: Vec<(&str, Known)>) -> Lists {
    Lists {
        snapshot,
        secrets: Vec::new(),
        pods: Vec::new(),
        known: known
            .into_iter()
            .map(|(name, known)| (name.to_owned(), known))
            .collect(),
        gone: BTreeMap::new(),
    }
}

fn only(lists: Lists, now: i64) -> Identity {
    let mut joined = join("u-1", lists, at(now));
    assert_eq!(joined.len(), 1, "{joined:?}");
    joined.remove(0)
}

fn made(second: i64) -> Known {
    Known {
        registered: Some((at(second), registration(1))),
        sealed: Some(at(second)),
        ..Known::default()
    }
}

#[test]
fn what_this_process_made_is_there_before_any_list_shows_it() {
    let identity = only(lists(snapshot(10, vec![]), vec![("linux-1", made(11))]), 12);
    assert!(identity.registration.present().is_some());
    assert!(identity.secret.is_some());
}

#[test]
fn a_later_look_that_does_not_show_it_knows_better() {
    let identity = only(lists(snapshot(20, vec![]), vec![("linux-1", made(11))]), 30);
    assert_eq!(identity.registration, Presence::Absent);
    assert_eq!(identity.secret, None, "ten seconds are enough for a watch");
}

#[test]
fn without_a_look_nothing_is_known_of_registrations() {
    let identity = only(lists(None, vec![("linux-1", Known::default())]), 0);
    assert_eq!(identity.registration, Presence::Unknown);
}

#[test]
fn what_was_disabled_since_the_look_is_disabled() {
    let disabled = |second| Known {
        disabled: Some(at(second)),
        ..Known::default()
    };
    let enabled = |begun, known| {
        let identity = only(
            lists(
                snapshot(begun, vec![registration(1)]),
                vec![("linux-1", known)],
            ),
            30,
        );
        identity.registration.present().unwrap().enabled
    };
    assert!(!enabled(10, disabled(11)));
    assert!(enabled(12, disabled(11)), "somebody enabled it again");
}

#[test]
fn what_was_removed_since_the_look_is_gone_and_may_be_found_again_by_a_later_one() {
    let join_after = |removed, begun| {
        let mut lists = lists(snapshot(begun, vec![registration(1)]), vec![]);
        lists.gone = [("linux-1".to_owned(), at(removed))].into();
        join("u-1", lists, at(removed + 1)).len()
    };
    assert_eq!(join_after(11, 10), 0);
    assert_eq!(join_after(11, 12), 1, "its deletion did not take");
}

#[test]
fn registrations_of_other_pools_are_not_joined() {
    let mut other = registration(1);
    other.owner = "u-2".to_owned();
    assert!(join("u-1", lists(snapshot(1, vec![other]), vec![]), at(2)).is_empty());
}

#[test]
fn a_deleted_secret_is_gone_whatever_the_watch_shows() {
    let known = Known {
        unsealed: true,
        ..made(1)
    };
    let mut lists = lists(
        snapshot(10, vec![registration(1)]),
        vec![("linux-1", known)],
    );
    lists.secrets = vec![SecretFact {
        name: "linux-1".to_owned(),
        pool_uid: "u-1".to_owned(),
        template: "default".to_owned(),
        hash: "h".to_owned(),
        created: Some(at(1)),
    }];
    assert_eq!(only(lists, 2).secret, None);
}
