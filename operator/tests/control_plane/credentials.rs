//! A credential that ends: what is told, what goes on without it, how rarely it is tried, and what its renewal brings.

use crate::support::installation::{FIRST, Installation, Setup};
use crate::support::{DEADLINE, until};
use dayfly_operator::crd::connection::{PoolConnection, PoolConnectionStatus};
use dayfly_pool_service::testing::ALL_SCOPES;
use dayfly_wire::secret::SecretText;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

/// Calls with a refused credential that may be under way when it ends: lists, and what is made for the reserve.
const UNDER_WAY: u64 = 8;

impl Installation {
    async fn status(&self) -> PoolConnectionStatus {
        let api: Api<PoolConnection> =
            Api::namespaced(self.kube.clone(), &format!("system-{}", self.mark));
        let object = api.get("local").await.unwrap();
        object.status.unwrap_or_default()
    }

    /// Waits until the credential stands so; what is said of it.
    async fn stands(&self, wanted: &str) -> String {
        until(wanted, DEADLINE, async || {
            let status = self.status().await;
            let mut conditions = status.conditions.iter();
            let found = conditions.find(|one| one.kind == "CredentialsValid");
            match found {
                Some(one) if one.reason == wanted => Ok(one.message.clone()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until an agent listens, the reserve is full, and nobody is left to be removed.
    async fn is_whole(&self) {
        until("the pool to be whole", DEADLINE, async || {
            let pool = self.agent_pools().get(self.pool_name()).await;
            let status = pool.map_err(|error| error.to_string())?.status;
            let agents = status.unwrap_or_default().agents;
            let whole = agents.idle == 1 && agents.reserved >= 2 && agents.retired == 0;
            whole.then_some(()).ok_or_else(|| format!("{agents:?}"))
        })
        .await;
    }

    async fn give(&self, pat: &SecretText) {
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), &format!("system-{}", self.mark));
        let patch = Patch::Merge(json!({ "stringData": { "pat": pat.expose() } }));
        let params = PatchParams::default();
        api.patch("pat", &params, &patch).await.unwrap();
    }

    /// Waits for an Event on the connection.
    async fn hears_of(&self, reason: &str) {
        let api: Api<Event> = Api::namespaced(self.kube.clone(), &format!("system-{}", self.mark));
        until(reason, DEADLINE, async || {
            let all = ListParams::default();
            let events = api.list(&all).await.map_err(|error| error.to_string())?;
            let mut reasons = events
                .items
                .iter()
                .filter_map(|event| event.reason.as_deref());
            let heard = reasons.any(|one| one == reason);
            heard.then_some(()).ok_or_else(|| "not heard".to_owned())
        })
        .await;
    }

    fn refused(&self) -> u64 {
        self.service.service().metrics.unauthorized.get()
    }
}

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.pool["reserve"]["size"] = 2.into();
    setup.pool["scaling"]["minIdle"] = 1.into();
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_credential_jobs_run_from_the_reserve_and_the_service_is_left_alone() {
    let Some(installation) = Installation::prepare(setup()).await else {
        return;
    };
    let service = &installation.service;
    let life = Some(SignedDuration::from_hours(2));
    let pat = service.pat_named("operator", ALL_SCOPES, life).await;
    installation.give(&pat.unwrap()).await;
    installation.operators.start(FIRST);
    installation.is_whole().await;
    let said = installation.stands("CredentialExpiring").await;
    let status = installation.status().await;
    let end = status.credential_expires.unwrap();
    assert!(said.contains(&end), "{said}");
    installation.hears_of("CredentialExpiring").await;

    service.revoke("operator").await.unwrap();
    let said = installation.stands("CredentialRejected").await;
    assert!(said.contains("identities are left"), "{said}");
    installation.hears_of("CredentialRejected").await;
    let before = installation.refused();
    // The first is taken by the agent that listens, the second by its successor from the reserve.
    for _ in 0..2 {
        let job = installation.queue(1).await;
        installation.wait_until_ended(&job, DEADLINE).await;
        installation.assert_ran_once(&job).await;
    }
    let tried = installation.refused() - before;
    assert!(tried <= UNDER_WAY, "{tried} calls were refused meanwhile");

    let renewed = service.pat_named("renewed", ALL_SCOPES, None).await;
    installation.give(&renewed.unwrap()).await;
    installation.stands("Accepted").await;
    installation.is_whole().await;
    let status = installation.status().await;
    assert_eq!(status.credential_expires, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_expires_says_when_it_did() {
    let Some(installation) = Installation::prepare(setup()).await else {
        return;
    };
    let service = &installation.service;
    let life = Some(SignedDuration::from_secs(20));
    let pat = service.pat_named("operator", ALL_SCOPES, life).await;
    installation.give(&pat.unwrap()).await;
    installation.operators.start(FIRST);
    installation.stands("CredentialExpiring").await;
    let said = installation.stands("CredentialRejected").await;
    assert!(said.contains("it ended at"), "{said}");
}
