//! Lets a history happen, and holds it against the laws after every step.

use crate::laws::{self, Broken, ensure};
use crate::operation::{Demands, Offer, Operation, Step};
use crate::world::{Job, Look, Outcome, World};
use dayfly_pool_service::testing::TestError;
use dayfly_wire::agent::AgentStatus;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RequestId;

/// Why a history is not as it should be.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The service does not keep a law.
    Broken(Broken),
    /// The service failed.
    Failed(TestError),
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<TestError> for Fault {
    fn from(error: TestError) -> Self {
        Self::Failed(error)
    }
}

/// Lets all of it happen on a new service, and then sees to it that every job ends; answers how many were taken.
pub(crate) async fn happen(history: &[Step]) -> Result<usize, Fault> {
    let mut world = World::new().await?;
    let mut before = world.look().await?;
    for step in history {
        for part in parts(step) {
            before = take(&mut world, &before, &part)
                .await
                .map_err(|fault| match fault {
                    Fault::Broken(broken) => Fault::Broken(broken.at(&part)),
                    failed @ Fault::Failed(_) => failed,
                })?;
        }
    }
    let taken = world.jobs.iter().filter(|job| job.taken_by.is_some());
    let taken = taken.count();
    drain(&mut world, before).await?;
    world.service.store.close().await;
    Ok(taken)
}

fn parts(step: &Step) -> Vec<Step> {
    let Step::Take { agent } = *step else {
        return vec![step.clone()];
    };
    let again = true;
    [
        Operation::Poll { agent, again },
        Operation::Acknowledge { agent },
        Operation::Renew { agent },
    ]
    .map(Step::One)
    .into()
}

async fn take(world: &mut World, before: &Look, step: &Step) -> Result<Look, Fault> {
    for agent in &mut world.agents {
        agent.offers = vec![agent.offer];
        agent.was_enabled = agent.enabled;
    }
    let operations = match step {
        Step::One(operation) => vec![*operation],
        Step::Together(operations) => operations.clone(),
        Step::Take { .. } | Step::Restart => {
            world.restart().await?;
            Vec::new()
        }
    };
    let registered = world.agents.len();
    let operations: Vec<Operation> = operations
        .into_iter()
        .map(|operation| operation.among(registered))
        .collect();
    let alone = operations.len() == 1;
    world.was_concurrent |= operations.len() > 1;
    let performed = operations.iter().map(|operation| world.perform(*operation));
    let outcomes = futures::future::join_all(performed).await;
    let after = world.look().await?;
    for (operation, outcome) in operations.iter().zip(outcomes) {
        let outcome = outcome?;
        if alone {
            laws::follows(world, before, &after, *operation, &outcome)?;
        }
        remember(world, &after, *operation, outcome, alone)?;
    }
    if !alone {
        settle(world, &after, &operations);
    }
    laws::hold(world, before, &after, alone)?;
    laws::remember_assignments(world, &after);
    Ok(after)
}

/// What the test cannot know after several operations at once, it learns from the service, or does without.
fn settle(world: &mut World, after: &Look, operations: &[Operation]) {
    for agent in &mut world.agents {
        if let Some(document) = after.agents.get(&agent.id) {
            agent.settle(document);
        }
    }
    for operation in operations {
        if let Operation::Finish {
            agent,
            leaving: true,
        } = operation
            && let Some(agent) = world.agent_mut(*agent)
            && let Some(session) = &mut agent.session
        {
            // It may be this session that will take no further job, or the one before.
            session.leaving = true;
        }
    }
}

/// What the test knows after an operation.
fn remember(
    world: &mut World,
    after: &Look,
    operation: Operation,
    outcome: Outcome,
    alone: bool,
) -> Result<(), Broken> {
    match (operation, outcome) {
        (Operation::Register { offer, single_use }, Outcome::Registered(document)) => {
            world.remember(*document, offer, single_use);
        }
        (Operation::Queue { demands, .. }, Outcome::Queued(queued)) => {
            world.jobs.push(new_job(queued.request_id, demands));
        }
        (
            Operation::Poll { agent, .. }
            | Operation::Acknowledge { agent }
            | Operation::Renew { agent }
            | Operation::RenewAny { agent, .. },
            outcome,
        ) => listened(world, after, agent, operation, outcome, alone)?,
        (operation, outcome) => administered(world, operation, outcome),
    }
    Ok(())
}

fn new_job(id: RequestId, demands: Demands) -> Job {
    Job {
        id,
        demands,
        taken_by: None,
        maybe_taken: false,
        renewed: Vec::new(),
    }
}

fn listened(
    world: &mut World,
    after: &Look,
    number: usize,
    operation: Operation,
    outcome: Outcome,
    alone: bool,
) -> Result<(), Broken> {
    let Some(agent) = world.agent_mut(number) else {
        return Ok(());
    };
    let id = agent.id;
    match outcome {
        Outcome::Job(seen) => {
            agent.last = Some(seen.message);
            let request = seen.request;
            agent.seen = Some(seen);
            ensure(
                !world
                    .jobs
                    .iter()
                    .any(|job| job.id == request && job.taken_by.is_some_and(|by| by != id)),
                || format!("job {request} was sent to agent {id}, and another has taken it"),
            )?;
        }
        Outcome::Cancellation(message, _) => agent.last = Some(message),
        Outcome::Renewed(renewed) => {
            let until = renewed.locked_until;
            took(world, renewed.request_id, id)?;
            if let (Some(job), Some(until)) = (world.job_mut(renewed.request_id), until) {
                job.renewed.push(until);
            }
        }
        Outcome::Done if matches!(operation, Operation::Acknowledge { .. }) => {
            let session = agent.session.as_ref().map(|session| session.id);
            let seen = agent.seen.as_ref();
            let Some(seen) = seen.filter(|seen| agent.last == Some(seen.message)) else {
                return Ok(());
            };
            let (request, same_session) = (seen.request, session == Some(seen.session));
            let held = after.requests.get(&request).is_some_and(|held| {
                held.result.is_none() && held.reserved_agent.as_ref().is_some_and(|by| by.id == id)
            });
            // A message of an earlier session is not in the queue any more: acknowledging it takes nothing.
            if alone && same_session && held {
                took(world, request, id)?;
            } else if !alone && let Some(job) = world.job_mut(request) {
                job.maybe_taken = true;
            }
        }
        _ => {}
    }
    Ok(())
}

fn took(
    world: &mut World,
    request: RequestId,
    agent: dayfly_wire::ids::AgentId,
) -> Result<(), Broken> {
    let Some(job) = world.job_mut(request) else {
        return Ok(());
    };
    let before = job.taken_by.replace(agent);
    ensure(before.is_none_or(|before| before == agent), || {
        format!("job {request} was taken by agent {agent}, and by another before")
    })
}

fn administered(world: &mut World, operation: Operation, outcome: Outcome) {
    let (Operation::Change { agent: number, .. }
    | Operation::Enable { agent: number, .. }
    | Operation::ReplaceKey { agent: number }
    | Operation::Delete { agent: number }
    | Operation::Open { agent: number }
    | Operation::Close { agent: number }
    | Operation::Finish { agent: number, .. }) = operation
    else {
        return;
    };
    let Some(agent) = world.agent_mut(number) else {
        return;
    };
    match (operation, outcome) {
        (Operation::Change { offer, .. }, Outcome::Done) => {
            agent.offer = offer;
            agent.offers.push(offer);
        }
        (Operation::Enable { enabled, .. }, Outcome::Done) => {
            agent.enabled = enabled;
            agent.was_enabled |= enabled;
        }
        (_, Outcome::KeyReplaced) => agent.key_was_replaced(),
        (Operation::Delete { .. }, Outcome::Done) => {
            agent.deleted = true;
            agent.session = None;
        }
        (_, Outcome::Opened(session)) => agent.session = Some(session),
        (Operation::Close { .. }, Outcome::Done) => agent.session = None,
        (Operation::Finish { leaving, .. }, Outcome::Done) => {
            if let Some(session) = &mut agent.session {
                session.leaving |= leaving;
            }
        }
        _ => {}
    }
}

/// Everybody leaves, one agent comes that can do everything: whatever waits must come to it, in the queue's order.
async fn drain(world: &mut World, before: Look) -> Result<(), Fault> {
    let step = Step::One(Operation::Pass { seconds: 660 });
    let after = take(world, &before, &step).await?;
    ensure(
        after
            .agents
            .values()
            .all(|agent| agent.status != Some(AgentStatus::Online)),
        || "an agent is online that asked for nothing for eleven minutes".to_owned(),
    )?;
    let waiting: Vec<RequestId> = unfinished(&after);
    let Outcome::Registered(document) = world.register_almighty().await.map_err(TestError::from)?
    else {
        return Ok(());
    };
    world.agents.clear();
    world.was_concurrent = false;
    // What it offers is not what an offer can say; that it satisfies everything is what counts below.
    world.remember(*document, Offer([Some(2); 3]), false);
    let mut ended = Vec::new();
    perform(world, Operation::Open { agent: 0 }).await?;
    while ended.len() < waiting.len() {
        let again = true;
        let Outcome::Job(seen) = perform(world, Operation::Poll { agent: 0, again }).await? else {
            let left = &waiting[ended.len()..];
            return Err(Broken::new(format!("jobs {left:?} wait and are given to nobody")).into());
        };
        ended.push(seen.request);
        world.agents[0].last = Some(seen.message);
        world.agents[0].seen = Some(seen);
        perform(world, Operation::Acknowledge { agent: 0 }).await?;
        perform(world, Operation::Renew { agent: 0 }).await?;
        let leaving = false;
        let outcome = perform(world, Operation::Finish { agent: 0, leaving }).await?;
        ensure(matches!(outcome, Outcome::Done), || {
            "the end of a job was not taken".to_owned()
        })?;
    }
    ensure(ended == waiting, || {
        format!("jobs {waiting:?} waited and {ended:?} were given, in this order")
    })?;
    let end = world.look().await?;
    ensure(unfinished(&end).is_empty(), || {
        "a job did not end".to_owned()
    })?;
    let succeeded = |id| end.requests[id].result == Some(TaskResult::Succeeded);
    ensure(waiting.iter().all(succeeded), || {
        "a job did not succeed".to_owned()
    })?;
    Ok(())
}

async fn perform(world: &mut World, operation: Operation) -> Result<Outcome, Fault> {
    let outcome = world.perform(operation).await?;
    if let Outcome::Opened(session) = &outcome {
        world.agents[0].session = Some(session.clone());
    }
    Ok(outcome)
}

fn unfinished(look: &Look) -> Vec<RequestId> {
    let open = look
        .requests
        .values()
        .filter(|request| request.result.is_none());
    open.map(|request| request.request_id).collect()
}
