//! What must be so, whatever happens in whatever order.

use crate::operation::{Operation, Step};
use crate::world::{Agent, Job, Look, Outcome, World};
use dayfly_pool_service::rules::refusal::Kind;
use dayfly_pool_service::rules::request::LOCK;
use dayfly_wire::agent::AgentStatus;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, RequestId};
use dayfly_wire::request::JobRequest;

/// A law that was not kept.
#[derive(Debug)]
pub(crate) struct Broken(String);

impl Broken {
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }

    pub(crate) fn at(self, step: &Step) -> Self {
        Self(format!("{} (after {step:?})", self.0))
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn ensure(so: bool, otherwise: impl FnOnce() -> String) -> Result<(), Broken> {
    if so { Ok(()) } else { Err(Broken(otherwise())) }
}

/// The agent that holds a request, or held it when it ended.
fn holder(request: &JobRequest) -> Option<AgentId> {
    request.reserved_agent.as_ref().map(|agent| agent.id)
}

fn is_open(request: &JobRequest) -> bool {
    request.result.is_none()
}

/// Laws about all jobs and agents, between two looks.
pub(crate) fn hold(world: &World, before: &Look, after: &Look, alone: bool) -> Result<(), Broken> {
    for job in &world.jobs {
        let request = after.requests.get(&job.id);
        let request = request.ok_or_else(|| Broken(format!("job {} is lost", job.id)))?;
        ends_once(before.requests.get(&job.id), request)?;
        is_in_shape(job, request, after)?;
        keeps_its_agent(job, request)?;
        was_given_rightly(world, job, before.requests.get(&job.id), request)?;
    }
    nobody_holds_two(after)?;
    nobody_stands_idle(world, after)?;
    if alone {
        the_first_is_first(world, before, after)?;
    }
    Ok(())
}

fn ends_once(before: Option<&JobRequest>, after: &JobRequest) -> Result<(), Broken> {
    let ended = before.filter(|before| !is_open(before));
    ensure(ended.is_none_or(|ended| ended == after), || {
        format!("ended job {} changed", after.request_id)
    })?;
    ensure(is_open(after) == after.finish_time.is_none(), || {
        format!(
            "job {} has a result or a time of its end, and not both",
            after.request_id
        )
    })
}

fn is_in_shape(job: &Job, request: &JobRequest, after: &Look) -> Result<(), Broken> {
    let id = job.id;
    if !is_open(request) {
        return ensure(request.locked_until.is_none(), || {
            format!("ended job {id} is locked")
        });
    }
    let Some(assigned) = request.assign_time else {
        let free = holder(request).is_none()
            && request.locked_until.is_none()
            && request.receive_time.is_none();
        return ensure(free, || format!("waiting job {id} is locked or held"));
    };
    let agent = holder(request).and_then(|holder| after.agents.get(&holder));
    let agent = agent.ok_or_else(|| Broken(format!("job {id} is held by nobody that there is")))?;
    let until = job.renewed.iter().max().copied();
    let until = until.unwrap_or(assigned + LOCK);
    ensure(request.locked_until == Some(until), || {
        format!(
            "job {id} is locked until {:?}, and not {until}",
            request.locked_until
        )
    })?;
    ensure(until > after.now, || {
        format!("the lock of job {id} lapsed, and nothing followed")
    })?;
    let listens = agent.status == Some(AgentStatus::Online);
    let at_it = job.taken_by.is_some() || job.maybe_taken || request.receive_time.is_some();
    ensure(listens || at_it, || {
        format!(
            "job {id} is reserved for agent {}, which is away and never took it",
            agent.id
        )
    })
}

fn keeps_its_agent(job: &Job, request: &JobRequest) -> Result<(), Broken> {
    let Some(taken_by) = job.taken_by else {
        return Ok(());
    };
    ensure(holder(request) == Some(taken_by), || {
        format!(
            "job {} was taken by agent {taken_by} and is with {:?}",
            job.id,
            holder(request)
        )
    })
}

fn was_given_rightly(
    world: &World,
    job: &Job,
    before: Option<&JobRequest>,
    after: &JobRequest,
) -> Result<(), Broken> {
    let given = |request: &JobRequest| (holder(request), request.assign_time);
    let Some(to) = holder(after).filter(|_| before.map(given) != Some(given(after))) else {
        return Ok(());
    };
    let agent = world.agents.iter().find(|agent| agent.id == to);
    let agent = agent.ok_or_else(|| Broken(format!("job {} was given to a stranger", job.id)))?;
    let able = agent
        .offers
        .iter()
        .any(|offer| offer.satisfies(job.demands));
    ensure(able, || {
        format!(
            "job {} was given to agent {to}, which does not satisfy it",
            job.id
        )
    })?;
    ensure(agent.was_enabled, || {
        format!("job {} was given to disabled agent {to}", job.id)
    })?;
    ensure(!agent.single_use || agent.assigned.is_empty(), || {
        format!(
            "job {} was given to agent {to}, which was good for one",
            job.id
        )
    })
}

fn nobody_holds_two(after: &Look) -> Result<(), Broken> {
    let mut holders: Vec<_> = after
        .requests
        .values()
        .filter(|request| is_open(request))
        .filter_map(holder)
        .collect();
    let held = holders.len();
    holders.sort();
    holders.dedup();
    ensure(holders.len() == held, || {
        "an agent holds two jobs".to_owned()
    })
}

/// A job that an idle agent could take does not wait.
fn nobody_stands_idle(world: &World, after: &Look) -> Result<(), Broken> {
    let idle = world
        .agents
        .iter()
        .filter(|agent| is_idle(world, agent, after));
    let idle: Vec<&Agent> = idle.collect();
    let waiting = world.jobs.iter().filter(|job| {
        let request = &after.requests[&job.id];
        is_open(request) && request.assign_time.is_none()
    });
    for job in waiting {
        let could = idle.iter().find(|agent| agent.offer.satisfies(job.demands));
        ensure(could.is_none(), || {
            format!(
                "job {} waits, and agent {:?} is idle",
                job.id,
                could.map(|agent| agent.id)
            )
        })?;
    }
    Ok(())
}

fn is_idle(world: &World, agent: &Agent, after: &Look) -> bool {
    let online = after.agents.get(&agent.id).is_some_and(|document| {
        document.status == Some(AgentStatus::Online) && document.enabled == Some(true)
    });
    // The session that is open may be one that the test did not see open, when things happen at once.
    let stays = agent
        .session
        .as_ref()
        .is_some_and(|session| !session.leaving);
    let usable = !agent.single_use || (agent.assigned.is_empty() && !world.was_concurrent);
    let holds = after
        .requests
        .values()
        .any(|request| is_open(request) && holder(request) == Some(agent.id));
    online && stays && usable && !holds
}

/// Jobs are given in the queue's order.
fn the_first_is_first(world: &World, before: &Look, after: &Look) -> Result<(), Broken> {
    let waits = |look: &Look, id: RequestId| {
        look.requests
            .get(&id)
            .is_some_and(|request| is_open(request) && request.assign_time.is_none())
    };
    for given in &world.jobs {
        let now = holder(&after.requests[&given.id]);
        let was = before.requests.get(&given.id).and_then(holder);
        let Some(agent) = world
            .agents
            .iter()
            .find(|agent| now == Some(agent.id) && now != was)
        else {
            continue;
        };
        let earlier = world.jobs.iter().filter(|job| job.id < given.id);
        for job in earlier.filter(|job| waits(before, job.id) && waits(after, job.id)) {
            ensure(!agent.offer.satisfies(job.demands), || {
                format!(
                    "job {} was given to agent {} before job {}",
                    given.id, agent.id, job.id
                )
            })?;
        }
    }
    Ok(())
}

/// What follows from one operation that happened alone.
pub(crate) fn follows(
    world: &World,
    before: &Look,
    after: &Look,
    operation: Operation,
    outcome: &Outcome,
) -> Result<(), Broken> {
    let of = |agent| world.agent(agent).map(|agent| (agent, agent.id));
    match operation {
        Operation::Register { .. } => ensure(matches!(outcome, Outcome::Registered(_)), || {
            "a registration was refused".to_owned()
        }),
        Operation::Queue { demands, .. } => {
            let Outcome::Queued(queued) = outcome else {
                return Err(Broken("a job was not queued".to_owned()));
            };
            let registered = world.agents.iter().filter(|agent| !agent.deleted);
            let able = registered
                .filter(|agent| agent.offer.satisfies(demands))
                .count()
                > 0;
            ensure(queued.result.is_none() == able, || {
                format!(
                    "job {} was {:?}, and able agents: {able}",
                    queued.request_id, queued.result
                )
            })
        }
        Operation::Open { agent } => {
            let Some((agent, id)) = of(agent) else {
                return Ok(());
            };
            let listens = before
                .agents
                .get(&id)
                .is_some_and(|agent| agent.status == Some(AgentStatus::Online));
            match outcome {
                Outcome::Opened(_) => {
                    ensure(!listens && !agent.deleted, || "a second session".to_owned())
                }
                Outcome::Refused(Kind::SessionConflict) => {
                    ensure(listens, || "a session in the way of nothing".to_owned())
                }
                _ => ensure(agent.deleted, || "a session was refused".to_owned()),
            }
        }
        Operation::Delete { agent } => {
            let Some((_, id)) = of(agent) else {
                return Ok(());
            };
            ensure(
                !matches!(outcome, Outcome::Done) || !after.agents.contains_key(&id),
                || format!("deleted agent {id} is there"),
            )?;
            let busy = world.jobs.iter().any(|job| {
                job.taken_by == Some(id) && before.requests.get(&job.id).is_some_and(is_open)
            });
            ensure(
                !busy || matches!(outcome, Outcome::Refused(Kind::JobStillRunning)),
                || format!("agent {id} was deleted at work"),
            )
        }
        Operation::Renew { agent } | Operation::RenewAny { agent, .. } => {
            renewal(world, before, operation, agent, outcome)
        }
        Operation::Poll { agent, again } => message(world, before, agent, again, outcome),
        Operation::Finish { agent, .. } => {
            let seen = of(agent).and_then(|(agent, _)| agent.seen.as_ref());
            let Some(seen) = seen.filter(|_| matches!(outcome, Outcome::Done)) else {
                return Ok(());
            };
            ensure(
                after.requests[&seen.request].result == Some(TaskResult::Succeeded),
                || {
                    format!(
                        "the result of job {} is not what its agent reported",
                        seen.request
                    )
                },
            )
        }
        Operation::End { job } | Operation::Cancel { job } => {
            let Some(job) = world.job(job) else {
                return Ok(());
            };
            ensure(matches!(outcome, Outcome::Done), || {
                format!("the end of job {} was refused", job.id)
            })?;
            let now = matches!(operation, Operation::End { .. })
                || (job.taken_by.is_none() && !job.maybe_taken);
            ensure(!now || !is_open(&after.requests[&job.id]), || {
                format!("job {} did not end", job.id)
            })
        }
        _ => Ok(()),
    }
}

fn renewal(
    world: &World,
    before: &Look,
    operation: Operation,
    agent: usize,
    outcome: &Outcome,
) -> Result<(), Broken> {
    let Some(agent) = world.agent(agent) else {
        return Ok(());
    };
    let request = match operation {
        Operation::RenewAny { job, .. } => world.job(job).map(|job| job.id),
        _ => agent.seen.as_ref().map(|seen| seen.request),
    };
    let Some(request) = request else {
        return Ok(());
    };
    let request = &before.requests[&request];
    let holds = is_open(request) && holder(request) == Some(agent.id);
    ensure(holds == matches!(outcome, Outcome::Renewed(_)), || {
        format!(
            "agent {} holds job {}: {holds}, and its renewal says otherwise",
            agent.id, request.request_id
        )
    })
}

fn message(
    world: &World,
    before: &Look,
    agent: usize,
    again: bool,
    outcome: &Outcome,
) -> Result<(), Broken> {
    let Some(agent) = world.agent(agent) else {
        return Ok(());
    };
    let id = agent.id;
    let held = before
        .requests
        .values()
        .find(|request| is_open(request) && holder(request) == Some(id));
    match outcome {
        Outcome::Job(seen) => ensure(
            held.is_some_and(|held| held.request_id == seen.request),
            || {
                format!(
                    "agent {id} was sent job {}, which it does not hold",
                    seen.request
                )
            },
        ),
        Outcome::Cancellation(_, cancellation) => {
            let about = before
                .requests
                .values()
                .find(|request| request.job_id == Some(cancellation.job_id));
            ensure(about.and_then(holder) == Some(id), || {
                format!("agent {id} was sent the cancellation of another's job")
            })
        }
        Outcome::Nothing => {
            let listens = agent.session.is_some() && again;
            let untaken = held.filter(|held| held.receive_time.is_none() && listens);
            let waits =
                untaken.and_then(|held| world.jobs.iter().find(|job| job.id == held.request_id));
            ensure(
                waits.is_none_or(|job| job.taken_by.is_some() || job.maybe_taken),
                || format!("agent {id} asks, and the message of its job is not there"),
            )
        }
        _ => Ok(()),
    }
}

/// Remembers who was given what.
pub(crate) fn remember_assignments(world: &mut World, after: &Look) {
    for request in after.requests.values() {
        if let Some(agent) = world
            .agents
            .iter_mut()
            .find(|agent| holder(request) == Some(agent.id))
        {
            agent.assigned.insert(request.request_id);
        }
    }
}
