//! Commands that change something.

use crate::connect::Connection;
use crate::output;
use anyhow::Context;
use dayfly_client::AgentQuery;
use dayfly_wire::ids::{AgentId, RequestId};
use dayfly_wire::queue::GitRepository;

/// Makes a pool.
pub(crate) async fn create_pool(connection: &Connection, name: &str) -> anyhow::Result<()> {
    let pool = connection.client.create_pool(name).await?;
    output::remark(&format!("made pool {} with id {}", pool.name, pool.id));
    Ok(())
}

/// Makes a repository and prints where to push.
pub(crate) async fn create_repository(
    connection: &Connection,
    project: &str,
    name: String,
    branch: String,
) -> anyhow::Result<()> {
    let draft = GitRepository {
        name,
        default_branch: Some(branch),
        ..GitRepository::default()
    };
    let made = connection.client.create_repository(project, &draft).await?;
    output::line(made.remote_url.as_deref().unwrap_or_default())
}

/// Removes an agent by name or id.
pub(crate) async fn remove_agent(
    connection: &Connection,
    pool: &str,
    agent: &str,
) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    let id = match agent.parse::<AgentId>() {
        Ok(id) => id,
        Err(_) => {
            let query = AgentQuery {
                name: Some(agent.to_owned()),
                ..AgentQuery::default()
            };
            let found = connection.client.agents(pool, &query).await?;
            let found = found.first();
            found
                .with_context(|| format!("there is no agent {agent:?} in this pool"))?
                .id
        }
    };
    connection.client.delete_agent(pool, id).await?;
    output::remark(&format!("agent {agent} is gone"));
    Ok(())
}

/// Lets an agent take jobs, or not.
pub(crate) async fn enable_agent(
    connection: &Connection,
    pool: &str,
    agent: AgentId,
    enabled: bool,
) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    Ok(connection
        .client
        .set_agent_enabled(pool, agent, enabled)
        .await?)
}

/// Asks for the end of a job.
pub(crate) async fn cancel_job(
    connection: &Connection,
    project: &str,
    request: RequestId,
    reason: Option<String>,
) -> anyhow::Result<()> {
    connection
        .client
        .cancel_job(project, request, reason)
        .await?;
    output::remark(&format!("asked for the end of job {request}"));
    Ok(())
}
