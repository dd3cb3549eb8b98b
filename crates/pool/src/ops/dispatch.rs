//! Gives waiting jobs to idle agents, and puts messages into agents' queues.

use crate::rules::entities::{Agent, Message, Request};
use crate::rules::{queue, request};
use crate::service::{Failure, Unit};
use crate::store::{agents, messages, requests};
use dayfly_wire::ids::{MessageId, PoolId, RequestId};
use dayfly_wire::message::kind;

/// Pairs whatever waits in a pool with whatever is idle there.
pub async fn dispatch_pool(unit: &mut Unit<'_>, pool: PoolId) -> Result<(), Failure> {
    let now = unit.now;
    let idle = agents::idle(unit.conn(), pool, now).await?;
    if idle.is_empty() {
        return Ok(());
    }
    let waiting = requests::waiting(unit.conn(), pool).await?;
    assign(unit, waiting, idle).await.map(drop)
}

/// Pairs one new request with an idle agent. Those that wait before it could use none of them, or they would have.
pub async fn dispatch_request(
    unit: &mut Unit<'_>,
    waiting: Request,
) -> Result<Vec<Request>, Failure> {
    let now = unit.now;
    let idle = agents::idle(unit.conn(), waiting.pool, now).await?;
    assign(unit, vec![waiting], idle).await
}

async fn assign(
    unit: &mut Unit<'_>,
    mut waiting: Vec<Request>,
    mut idle: Vec<Agent>,
) -> Result<Vec<Request>, Failure> {
    let now = unit.now;
    for (index, agent) in queue::pair(&waiting, &idle) {
        let (Some(waiting), Some(agent)) = (waiting.get_mut(index), idle.get_mut(agent)) else {
            continue;
        };
        request::assign(waiting, agent, now);
        requests::update(unit.conn(), waiting).await?;
        send(unit, agent, kind::JOB, waiting.id, String::new()).await?;
        unit.wake_followers(waiting.id);
    }
    Ok(waiting)
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
