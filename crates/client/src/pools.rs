//! Pools.

use crate::{Client, Error};
use dayfly_wire::collection::Collection;
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
