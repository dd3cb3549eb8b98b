//! The connection of the commands that talk to a service.

use anyhow::Context;
use dayfly_client::{Client, Credential};
use dayfly_wire::ids::PoolId;
use dayfly_wire::secret::SecretText;

const URL: &str = "DAYFLY_POOL_URL";
const TOKEN: &str = "DAYFLY_POOL_TOKEN";
const CA_BUNDLE: &str = "DAYFLY_POOL_CA_BUNDLE";

/// A client with the token of the environment.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
}

impl Connection {
    /// The connection that the environment describes. The token comes that way, and not as an option, because a
    /// command line can be read by every process of the machine.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let url = std::env::var(URL).with_context(|| {
            format!("set {URL} to the service's URL, for example http://127.0.0.1:8080/default")
        })?;
        let token = std::env::var(TOKEN).with_context(|| {
            format!("set {TOKEN} to a token; `dayfly-pool pat create --help` says how to make one")
        })?;
        let ca_bundle = match std::env::var(CA_BUNDLE) {
            Ok(path) => Some(
                std::fs::read_to_string(&path)
                    .with_context(|| format!("failed to read {path}, which {CA_BUNDLE} names"))?,
            ),
            Err(_) => None,
        };
        let client = Client::builder(url)
            .credential(Credential::Pat(SecretText::new(token)))
            .user_agent(concat!("dayfly-pool/", env!("CARGO_PKG_VERSION")))
            .ca_bundle(ca_bundle)
            .attempts(3)
            .build()?;
        Ok(Self { client })
    }

    /// The id of a pool that must be there.
    pub(crate) async fn pool(&self, name: &str) -> anyhow::Result<PoolId> {
        let pool = self.client.find_pool(name).await?;
        let pool = pool.with_context(|| {
            format!("there is no pool {name:?}; `dayfly-pool pools list` shows those there are")
        })?;
        Ok(pool.id)
    }
}
