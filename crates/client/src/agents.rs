//! Agents of a pool: needs a credential that may manage the pool, but for an agent's own record.

use crate::{Client, Error};
use dayfly_wire::agent::{Agent, Capabilities};
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::{AgentId, PoolId};
use reqwest::Method;

/// What a list of agents should hold.
#[derive(Clone, Debug, Default)]
pub struct AgentQuery {
    /// Only the agent of this name.
    pub name: Option<String>,
    /// With capabilities.
    pub include_capabilities: bool,
    /// With the request that each holds.
    pub include_assigned_request: bool,
}

impl Client {
    /// The pool's agents.
    pub async fn agents(&self, pool: PoolId, query: &AgentQuery) -> Result<Vec<Agent>, Error> {
        let mut call = self
            .call("list agents", Method::GET, &agents_path(pool))
            .query(
                "includeCapabilities",
                query.include_capabilities.to_string(),
            )
            .query(
                "includeAssignedRequest",
                query.include_assigned_request.to_string(),
            );
        if let Some(name) = &query.name {
            call = call.query("agentName", name);
        }
        Ok(self.send(call).await?.json::<Collection<Agent>>()?.value)
    }

    /// One agent, with its capabilities and the request that it holds.
    pub async fn agent(&self, pool: PoolId, id: AgentId) -> Result<Agent, Error> {
        let call = self
            .call("read agent", Method::GET, &agent_path(pool, id))
            .query("includeCapabilities", "true")
            .query("includeAssignedRequest", "true");
        self.send(call).await?.json()
    }

    /// Registers an agent; the answer holds its id and how it gets its token.
    pub async fn register_agent(&self, pool: PoolId, agent: &Agent) -> Result<Agent, Error> {
        let call = self
            .call("register agent", Method::POST, &agents_path(pool))
            .json(agent)?;
        self.send(call).await?.json()
    }

    /// Replaces an agent's registration, its key above all.
    pub async fn replace_agent(&self, pool: PoolId, agent: &Agent) -> Result<Agent, Error> {
        let path = agent_path(pool, agent.id);
        self.send(self.call("replace agent", Method::PUT, &path).json(agent)?)
            .await?
            .json()
    }

    /// Lets an agent take jobs, or not.
    pub async fn set_agent_enabled(
        &self,
        pool: PoolId,
        id: AgentId,
        enabled: bool,
    ) -> Result<(), Error> {
        let body = serde_json::json!({ "id": id, "enabled": enabled });
        let call = self
            .call("enable agent", Method::PATCH, &agent_path(pool, id))
            .json(&body)?;
        self.send(call).await.map(drop)
    }

    /// Replaces all user capabilities of an agent.
    pub async fn put_user_capabilities(
        &self,
        pool: PoolId,
        id: AgentId,
        capabilities: &Capabilities,
    ) -> Result<(), Error> {
        let path = format!("{}/usercapabilities", agent_path(pool, id));
        let call = self
            .call("put capabilities", Method::PUT, &path)
            .json(capabilities)?;
        self.send(call).await.map(drop)
    }

    /// Deletes a registration; one that is gone already is as good as deleted.
    pub async fn delete_agent(&self, pool: PoolId, id: AgentId) -> Result<(), Error> {
        let call = self.call("delete agent", Method::DELETE, &agent_path(pool, id));
        match self.send(call).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn agents_path(pool: PoolId) -> String {
    format!("/_apis/distributedtask/pools/{pool}/agents")
}

fn agent_path(pool: PoolId, id: AgentId) -> String {
    format!("{}/{id}", agents_path(pool))
}
