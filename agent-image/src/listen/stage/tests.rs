//! The table of stages, and properties over arbitrary events.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn job(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

fn job_event(number: i64) -> Event {
    Event::Job {
        message: MessageId(number),
        job: job(1),
        request: RequestId(number),
    }
}

fn run(events: impl IntoIterator<Item = Event>) -> (Stage, Vec<Effect>) {
    let mut stage = Stage::Idle;
    let mut all = Vec::new();
    for event in events {
        let (next, effects) = stage.next(event);
        stage = next;
        all.extend(effects);
    }
    (stage, all)
}

fn ended(reported: Option<TaskResult>) -> Event {
    Event::WorkerEnded(WorkerEnd {
        reported,
        status: "exit code 1".to_owned(),
        ..WorkerEnd::default()
    })
}

#[test]
fn a_job_runs_and_the_agent_leaves() {
    let (stage, effects) = run([
        job_event(7),
        Event::LockHeld,
        Event::MayComplete,
        ended(Some(TaskResult::Failed)),
    ]);
    assert_eq!(stage, Stage::Left);
    assert_eq!(
        effects,
        [
            Effect::HoldLock(RequestId(7)),
            Effect::Acknowledge(MessageId(7)),
            Effect::PostAccepted(RequestId(7)),
            Effect::StartWorker,
            Effect::AllowCompletion,
            Effect::Leave {
                exit: Exit::Done,
                result: Some(TaskResult::Failed)
            },
        ]
    );
}

#[test]
fn an_idle_agent_leaves_when_asked_and_a_busy_one_does_not() {
    for event in [Event::Terminate, Event::IdleTooLong] {
        assert_eq!(run([event.clone()]).0, Stage::Left);
        let (stage, effects) = run([job_event(1), Event::LockHeld, event]);
        assert!(matches!(stage, Stage::Running(_)));
        assert!(
            !effects
                .iter()
                .any(|effect| matches!(effect, Effect::Leave { .. }))
        );
    }
}

#[test]
fn a_dead_worker_is_reported_when_the_operator_has_had_its_say() {
    let (_, effects) = run([job_event(1), Event::LockHeld, ended(None)]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::ReportEnd(_)))
    );
    let (stage, effects) = run([
        job_event(1),
        Event::LockHeld,
        ended(None),
        Event::MayComplete,
        Event::EndReported(true),
    ]);
    assert_eq!(stage, Stage::Left);
    let reported = effects.iter().find_map(|effect| match effect {
        Effect::ReportEnd(unreported) => Some(unreported.result),
        _ => None,
    });
    assert_eq!(reported, Some(TaskResult::Failed));
}

#[test]
fn a_canceled_job_gets_its_time_and_then_the_worker_is_killed() {
    let cancel = Event::Cancel {
        message: MessageId(2),
        job: job(1),
        timeout: Duration::from_secs(1),
    };
    let (_, effects) = run([job_event(1), Event::LockHeld, cancel, Event::CancelOverdue]);
    let minute = Duration::from_secs(60);
    assert_eq!(
        effects[4..],
        [
            Effect::Acknowledge(MessageId(2)),
            Effect::CancelWorker(minute),
            Effect::StartCancelClock(2 * minute),
            Effect::KillWorker,
        ]
    );
}

#[test]
fn a_cancellation_before_the_worker_runs_reaches_it_when_it_does() {
    let cancel = Event::Cancel {
        message: MessageId(2),
        job: job(1),
        timeout: Duration::from_secs(300),
    };
    let (_, effects) = run([job_event(1), cancel, Event::LockHeld]);
    let at = |wanted: &Effect| effects.iter().position(|effect| effect == wanted);
    let cancel = at(&Effect::CancelWorker(Duration::from_secs(300)));
    assert!(at(&Effect::StartWorker) < cancel && cancel.is_some());
}

fn any_event() -> impl Strategy<Value = Event> {
    let message = (1i64..9).prop_map(MessageId);
    prop_oneof![
        (1i64..9).prop_map(job_event),
        (message, 1u128..3).prop_map(|(message, number)| Event::Cancel {
            message,
            job: job(number),
            timeout: Duration::from_secs(90)
        }),
        Just(Event::LockHeld),
        Just(Event::LockRefused),
        Just(Event::LockLost),
        Just(Event::MayComplete),
        Just(Event::WorkerLostStepHost),
        Just(ended(None)),
        Just(ended(Some(TaskResult::Succeeded))),
        Just(Event::CancelOverdue),
        any::<bool>().prop_map(Event::EndReported),
        Just(Event::StepHostLost),
        Just(Event::ServiceRefuses),
        Just(Event::Terminate),
        Just(Event::IdleTooLong),
    ]
}

proptest! {
    /// Whatever happens: one job at most is locked, acknowledged as a job and started, one worker, one leave, and
    /// nothing after it.
    #[test]
    fn exactly_one_job(events in prop::collection::vec(any_event(), 0..40)) {
        let (_, effects) = run(events);
        let count = |wanted: fn(&Effect) -> bool| effects.iter().filter(|effect| wanted(effect)).count();
        prop_assert!(count(|effect| matches!(effect, Effect::HoldLock(_))) <= 1);
        prop_assert!(count(|effect| matches!(effect, Effect::PostAccepted(_))) <= 1);
        prop_assert!(count(|effect| matches!(effect, Effect::StartWorker)) <= 1);
        prop_assert!(count(|effect| matches!(effect, Effect::ReportEnd(_))) <= 1);
        let leaves = count(|effect| matches!(effect, Effect::Leave { .. }));
        prop_assert!(leaves <= 1);
        if leaves == 1 {
            let last = effects.last();
            prop_assert!(matches!(last, Some(Effect::Leave { .. })), "{last:?}");
        }
    }
}
