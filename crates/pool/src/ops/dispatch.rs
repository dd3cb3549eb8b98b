//! Gives waiting jobs to idle agents, and puts messages into agents' queues.

use crate::rules::entities::{Agent, Message, Request};
use crate::rules::request::Load;
use crate::rules::{queue, request};
use crate::service::{Failure, Unit};
use crate::store::dialect::Conn;
use crate::store::requests::QueuePlace;
use crate::store::{agents, messages, requests, sessions};
use dayfly_wire::ids::{AgentId, MessageId, PoolId, RequestId};
use dayfly_wire::message::kind;

/// Agents, and requests, that are looked at first. Mostly the first will do.
const FEW: i64 = 2;
/// Those that are looked at in one go at most: a long queue or a large pool is not loaded whole for one job.
const PAGE: i64 = 50;

/// How many are looked at after so many did not do.
fn more(few: i64) -> i64 {
    few.saturating_mul(5).min(PAGE)
}

/// How many jobs run, and how many may.
pub async fn load(conn: &mut Conn, limit: Option<i64>) -> Result<Load, Failure> {
    let running = match limit {
        Some(_) => requests::count_held(conn).await?,
        None => 0,
    };
    Ok(Load { running, limit })
}

async fn room(unit: &mut Unit<'_>) -> Result<usize, Failure> {
    let limit = unit.service().settings.limits.parallel_jobs;
    Ok(load(unit.conn(), limit).await?.room())
}

/// A job's place became free: what waits in its pool may have it, and where jobs are limited over all pools, what
/// waits in any other.
pub async fn dispatch_freed(unit: &mut Unit<'_>, pool: PoolId) -> Result<(), Failure> {
    dispatch_pool(unit, pool).await?;
    if unit.service().settings.limits.parallel_jobs.is_some() {
        for other in requests::pools_that_wait(unit.conn()).await? {
            dispatch_pool(unit, other).await?;
        }
    }
    Ok(())
}

/// Pairs whatever waits in a pool with whatever is idle there.
pub async fn dispatch_pool(unit: &mut Unit<'_>, pool: PoolId) -> Result<(), Failure> {
    let now = unit.now;
    let mut agent = AgentId(0);
    let mut size = FEW;
    loop {
        let first = requests::waiting(unit.conn(), pool, QueuePlace::START, 1).await?;
        if first.is_empty() || room(unit).await? == 0 {
            return Ok(());
        }
        let idle = agents::idle(unit.conn(), pool, now, agent, size).await?;
        let Some(last) = idle.last() else {
            return Ok(());
        };
        agent = last.id;
        size = more(size);
        serve(unit, pool, idle).await?;
    }
}

/// Goes through the queue with these agents until each has a job or none is left for it.
async fn serve(unit: &mut Unit<'_>, pool: PoolId, mut idle: Vec<Agent>) -> Result<(), Failure> {
    let mut after = QueuePlace::START;
    let mut size = FEW;
    while !idle.is_empty() && room(unit).await? > 0 {
        let mut waiting = requests::waiting(unit.conn(), pool, after, size).await?;
        let Some(last) = waiting.last() else {
            return Ok(());
        };
        after = QueuePlace::after(last);
        size = more(size);
        assign(unit, &mut waiting, &mut idle).await?;
    }
    Ok(())
}

/// Gives one new request to an idle agent. Those that wait before it could use none of them, or they would have.
pub async fn dispatch_request(unit: &mut Unit<'_>, waiting: Request) -> Result<Request, Failure> {
    let now = unit.now;
    let mut agent = AgentId(0);
    let mut size = FEW;
    let mut waiting = [waiting];
    while room(unit).await? > 0 {
        let mut idle = agents::idle(unit.conn(), waiting[0].pool, now, agent, size).await?;
        let Some(last) = idle.last() else {
            break;
        };
        agent = last.id;
        size = more(size);
        assign(unit, &mut waiting, &mut idle).await?;
        if !waiting[0].is_waiting() {
            break;
        }
    }
    let [request] = waiting;
    Ok(request)
}

/// Assigns what the rules pair; agents that got a job are taken out of `idle`.
async fn assign(
    unit: &mut Unit<'_>,
    waiting: &mut [Request],
    idle: &mut Vec<Agent>,
) -> Result<(), Failure> {
    let now = unit.now;
    let mut busy = Vec::new();
    let room = room(unit).await?;
    for (index, agent) in queue::pair(waiting, idle).into_iter().take(room) {
        let (Some(waiting), Some(agent)) = (waiting.get_mut(index), idle.get_mut(agent)) else {
            continue;
        };
        request::assign(waiting, agent, now);
        requests::update(unit.conn(), waiting).await?;
        sessions::count_held(unit.conn(), agent.id).await?;
        send(unit, agent, kind::JOB, waiting.id, String::new()).await?;
        unit.wake_followers(waiting.id);
        busy.push(agent.id);
    }
    idle.retain(|agent| !busy.contains(&agent.id));
    Ok(())
}

/// Puts a message into an agent's queue, and writes the agent back.
pub async fn send(
    unit: &mut Unit<'_>,
    agent: &mut Agent,
    kind: &str,
    request: RequestId,
    body: String,
) -> Result<(), Failure> {
    agent.last_message = MessageId(agent.last_message.0 + 1);
    let message = Message {
        agent: agent.id,
        id: agent.last_message,
        kind: kind.to_owned(),
        request,
        body,
    };
    messages::insert(unit.conn(), &message).await?;
    agents::update(unit.conn(), agent).await?;
    unit.wake_agent(agent.id);
    Ok(())
}
