//! Pools.

use crate::{Client, Error};
use dayfly_wire::collection::Collection;
use dayfly_wire::credential::CredentialStanding;
use dayfly_wire::pool::AgentPool;
use reqwest::Method;

const POOLS: &str = "/_apis/distributedtask/pools";

impl Client {
    /// The pool of that name, compared without regard to case; `None` when there is none or it is not visible.
    pub async fn find_pool(&self, name: &str) -> Result<Option<AgentPool>, Error> {
        let call = self
            .call("find pool", Method::GET, POOLS)
            .query("poolName", name)
            .query("poolType", "Automation");
        let pools: Collection<AgentPool> = self.send(call).await?.json()?;
        Ok(pools
            .value
            .into_iter()
            .find(|pool| pool.name.eq_ignore_ascii_case(name)))
    }

    /// Whether the credential may manage the pool of that name, as far as the service tells.
    pub async fn manages_pool(&self, name: &str) -> Result<bool, Error> {
        let call = self
            .call("find managed pool", Method::GET, POOLS)
            .query("poolName", name)
            .query("actionFilter", "manage");
        let pools: Collection<AgentPool> = self.send(call).await?.json()?;
        let mut pools = pools.value.into_iter();
        Ok(pools.any(|pool| pool.name.eq_ignore_ascii_case(name)))
    }

    /// What the service tells of the credential; `None` when it tells nothing, as Azure DevOps does.
    pub async fn credential_standing(&self) -> Result<Option<CredentialStanding>, Error> {
        let call = self.call("read credential", Method::GET, "/_apis/dayfly/credential");
        match self.send(call).await {
            Ok(answer) => answer.json().map(Some),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pools that the credential may see.
    pub async fn pools(&self) -> Result<Vec<AgentPool>, Error> {
        let answer = self
            .send(self.call("list pools", Method::GET, POOLS))
            .await?;
        Ok(answer.json::<Collection<AgentPool>>()?.value)
    }

    /// Makes a pool.
    pub async fn create_pool(&self, name: &str) -> Result<AgentPool, Error> {
        let body = serde_json::json!({ "name": name, "poolType": "automation" });
        self.send(self.call("create pool", Method::POST, POOLS).json(&body)?)
            .await?
            .json()
    }
}
