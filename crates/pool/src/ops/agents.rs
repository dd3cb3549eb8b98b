//! Agents: register, read, replace, change, remove.

use super::dispatch::{dispatch_freed, dispatch_pool};
use super::endings::end_session;
use super::pools::existing_pool;
use crate::rules::access::{Caller, Scope, require_agent_reader};
use crate::rules::agent::{self, Detail, Identifiers};
use crate::rules::entities::{Agent, Request};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::role::require_in_pool;
use crate::rules::{queue, request};
use crate::service::{Failure, Service, Unit};
use crate::store::agents::Listed;
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::{agents, messages, requests, sessions};
use dayfly_wire::agent::{Agent as AgentDocument, Capabilities};
use dayfly_wire::demand::Demand;
use dayfly_wire::ids::{AgentId, ClientId, PoolId};
use dayfly_wire::request::JobRequest;
use std::collections::HashMap;
use uuid::Uuid;

/// What an agent's document is to hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only agents that satisfy these demands.
    pub demands: Vec<String>,
    /// Only these properties; all without a list.
    pub properties: Option<Vec<String>>,
    /// Both capability sets.
    pub capabilities: bool,
    /// The request that it holds.
    pub assigned_request: bool,
    /// The request that it finished last.
    pub last_completed_request: bool,
}

impl Service {
    /// A pool's agents, all or those of one name, that satisfy the demands.
    pub async fn agents(
        &self,
        caller: &Caller,
        pool: PoolId,
        name: Option<&str>,
        wanted: Wanted,
    ) -> Result<Vec<AgentDocument>, Failure> {
        require_in_pool(caller, Scope::AgentPools, pool)?;
        for demand in &wanted.demands {
            let parsed = demand.parse::<Demand>();
            parsed.map_err(|error| Refusal::invalid(format!("demands: {error}")))?;
        }
        self.settle().await?;
        let mut conn = self.store.read().await?;
        existing_pool(&mut conn, pool).await?;
        let mut listed = agents::of_pool(&mut conn, pool, name).await?;
        listed.retain(|listed| queue::satisfies(&wanted.demands, &listed.agent));
        let mut held: HashMap<AgentId, Request> = HashMap::new();
        if wanted.assigned_request {
            let requests = requests::held(&mut conn, pool).await?;
            held.extend(
                requests
                    .into_iter()
                    .filter_map(|request| Some((request.agent?, request))),
            );
        }
        let mut documents = Vec::with_capacity(listed.len());
        for listed in listed {
            let held = held.remove(&listed.agent.id);
            let mut document = self.agent_document(&listed, held, &wanted);
            if wanted.last_completed_request {
                document.last_completed_request =
                    last_completed(&mut conn, listed.agent.id).await?;
            }
            documents.push(document);
        }
        Ok(documents)
    }

    /// One agent.
    pub async fn agent(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: AgentId,
        wanted: Wanted,
    ) -> Result<AgentDocument, Failure> {
        require_agent_reader(caller, pool, id)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let listed = existing_agent(&mut conn, pool, id).await?;
        let mut held = None;
        if wanted.assigned_request {
            held = requests::held_by(&mut conn, id).await?;
        }
        let mut document = self.agent_document(&listed, held, &wanted);
        if wanted.last_completed_request {
            document.last_completed_request = last_completed(&mut conn, id).await?;
        }
        Ok(document)
    }

    /// Registers an agent.
    pub async fn register_agent(
        &self,
        caller: &Caller,
        pool: PoolId,
        draft: AgentDocument,
    ) -> Result<AgentDocument, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let settings = existing_pool(unit.conn(), pool).await?.settings;
        check_name_is_free(&mut unit, pool, &draft.name).await?;
        let identifiers = Identifiers {
            pool,
            agent: AgentId(counters::next(unit.conn(), Counter::Agent).await?),
            client: ClientId(Uuid::new_v4()),
        };
        let mut registered = agent::register(draft, identifiers, unit.now)?;
        registered.single_use |= settings.single_use_agents;
        agents::insert(unit.conn(), &registered).await?;
        unit.commit().await?;
        Ok(self.full_document(&registered, false))
    }

    /// Replaces an agent. Another public key ends what the old one had opened.
    pub async fn replace_agent(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: AgentId,
        draft: AgentDocument,
    ) -> Result<AgentDocument, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let mut listed = existing_agent(unit.conn(), pool, id).await?;
        if !draft.name.is_empty() && !draft.name.eq_ignore_ascii_case(&listed.agent.name) {
            check_name_is_free(&mut unit, pool, &draft.name).await?;
        }
        let key_changed = agent::replace(&mut listed.agent, draft)?;
        agents::update(unit.conn(), &listed.agent).await?;
        if key_changed && let Some(session) = sessions::of_agent(unit.conn(), id).await? {
            end_session(&mut unit, &session).await?;
        }
        finish_change(unit, self, pool, id).await
    }

    /// Changes what the document names.
    pub async fn change_agent(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: AgentId,
        draft: AgentDocument,
    ) -> Result<AgentDocument, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let mut listed = existing_agent(unit.conn(), pool, id).await?;
        agent::patch(&mut listed.agent, draft);
        agents::update(unit.conn(), &listed.agent).await?;
        finish_change(unit, self, pool, id).await
    }

    /// Replaces all user capabilities.
    pub async fn set_user_capabilities(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: AgentId,
        capabilities: Capabilities,
    ) -> Result<AgentDocument, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let mut listed = existing_agent(unit.conn(), pool, id).await?;
        agent::set_user_capabilities(&mut listed.agent, capabilities)?;
        agents::update(unit.conn(), &listed.agent).await?;
        finish_change(unit, self, pool, id).await
    }

    /// Removes an agent, its session and its queue, unless it works.
    pub async fn delete_agent(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: AgentId,
    ) -> Result<(), Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        self.settle().await?;
        let mut unit = self.begin().await?;
        let listed = existing_agent(unit.conn(), pool, id).await?;
        let held = requests::held_by(unit.conn(), id).await?;
        agent::check_removable(&listed.agent, held.as_ref())?;
        // Withdraws a request that the agent never took.
        if let Some(session) = sessions::of_agent(unit.conn(), id).await? {
            end_session(&mut unit, &session).await?;
        } else {
            super::endings::withdraw_from(&mut unit, id).await?;
        }
        messages::delete_of_agent(unit.conn(), id).await?;
        agents::delete(unit.conn(), id).await?;
        unit.wake_agent(id);
        dispatch_freed(&mut unit, pool).await?;
        unit.commit().await?;
        Ok(())
    }

    fn full_document(&self, agent: &Agent, online: bool) -> AgentDocument {
        agent::document(agent, online, &Detail::all(), &self.authorization_url())
    }

    fn agent_document(
        &self,
        listed: &Listed,
        held: Option<Request>,
        wanted: &Wanted,
    ) -> AgentDocument {
        let online = listed.is_online(self.now());
        let detail = Detail {
            capabilities: wanted.capabilities,
            properties: wanted.properties.clone(),
        };
        let mut document =
            agent::document(&listed.agent, online, &detail, &self.authorization_url());
        document.assigned_request = held.map(|held| {
            Box::new(request::document(
                &held,
                Some(listed.agent.reference(online)),
            ))
        });
        document
    }
}

/// The request that an agent finished last.
async fn last_completed(conn: &mut Conn, id: AgentId) -> Result<Option<Box<JobRequest>>, Failure> {
    let ended = requests::ended_of_agent(conn, id, 1).await?;
    let last = ended.first();
    Ok(last.map(|request| Box::new(request::document(request, None))))
}

/// A pool's agent, or the refusal that says that it is not there.
pub async fn existing_agent(conn: &mut Conn, pool: PoolId, id: AgentId) -> Result<Listed, Failure> {
    existing_pool(conn, pool).await?;
    let listed = agents::find(conn, pool, id).await?;
    Ok(listed.ok_or_else(|| {
        Refusal::new(
            Kind::AgentNotFound,
            format!("there is no agent {id} in pool {pool}"),
        )
    })?)
}

async fn check_name_is_free(unit: &mut Unit<'_>, pool: PoolId, name: &str) -> Result<(), Failure> {
    if agents::of_pool(unit.conn(), pool, Some(name))
        .await?
        .is_empty()
    {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::AgentExists,
        format!("pool {pool} has an agent {name:?} already; replace it or delete it first"),
    )
    .into())
}

/// An agent that changed may be able to take what waits.
async fn finish_change(
    mut unit: Unit<'_>,
    service: &Service,
    pool: PoolId,
    id: AgentId,
) -> Result<AgentDocument, Failure> {
    dispatch_pool(&mut unit, pool).await?;
    let listed = existing_agent(unit.conn(), pool, id).await?;
    let online = listed.is_online(unit.now);
    unit.commit().await?;
    Ok(service.full_document(&listed.agent, online))
}
