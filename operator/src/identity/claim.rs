//! starting -> claimed: checks who asks, opens the sealed key, answers with the identity.

use super::decision::{ClaimRefusal, well_formed};
use super::token::TokenChecker;
use crate::clock;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::deadline::within;
use crate::memory::Owner;
use crate::names;
use crate::pool::build::secret::SealedIdentity;
use crate::pool::validate::built_in;
use crate::report;
use dayfly_keys::cluster_token::ClusterClaims;
use dayfly_keys::sealing::{SealError, SealHeader};
use dayfly_wire::identity::{Claim, ClaimedIdentity};
use dayfly_wire::ids::AgentId;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Answers a claim.
///
/// # Errors
/// The claim is refused; nothing was given away.
pub async fn claim(
    context: &Arc<Context>,
    tokens: &TokenChecker,
    token: &str,
    claim: &Claim,
) -> Result<ClaimedIdentity, ClaimRefusal> {
    well_formed(claim)?;
    let claims = tokens.local(token).await?;
    // What can be decided without the API server is decided first; a hostile pod costs it nothing.
    if claims.pod_name != claim.identity {
        return Err(ClaimRefusal::WrongPod);
    }
    tokens.review(token, &claims).await?;
    let (_, owner) = context.memory.claim(claim, &claims, clock::now())?;
    let opened = open(context, &owner, claim).await;
    match opened {
        Ok((agent, sealed)) => answer(context, &owner, claim, &claims, agent, sealed),
        Err(ClaimRefusal::Tampered) => {
            tampered(context, &owner, &claim.identity).await;
            Err(ClaimRefusal::Tampered)
        }
        Err(refusal) => Err(refusal),
    }
}

/// Reads the Secret and opens it; what it says of itself must be what is remembered.
async fn open(
    context: &Context,
    owner: &Owner,
    claim: &Claim,
) -> Result<(AgentId, SealedIdentity), ClaimRefusal> {
    let api: Api<Secret> =
        Api::namespaced(context.kube.clone(), &context.args.identities_namespace);
    let secret = match within(api.get_opt(&claim.identity)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(ClaimRefusal::Unknown),
        Err(error) => {
            tracing::warn!(identity = claim.identity, %error, "failed to read a sealed identity");
            return Err(ClaimRefusal::NotReady);
        }
    };
    let blob = secret
        .data
        .and_then(|mut data| data.remove(names::SEALED_KEY))
        .ok_or(ClaimRefusal::Tampered)?;
    let (header, plain) = unseal(context, &blob.0).await?;
    let expected = SealHeader {
        agent_id: header.agent_id,
        namespace: owner.pool.namespace.clone(),
        name: claim.identity.clone(),
        pool_uid: owner.uid.clone(),
    };
    if header != expected {
        return Err(ClaimRefusal::Tampered);
    }
    let sealed = serde_json::from_slice(&plain).map_err(|_| ClaimRefusal::Tampered)?;
    Ok((header.agent_id, sealed))
}

async fn unseal(
    context: &Context,
    blob: &[u8],
) -> Result<(SealHeader, Zeroizing<Vec<u8>>), ClaimRefusal> {
    let opened = match context.sealing.keys().sealing.open(blob) {
        Err(SealError::UnknownKey(_)) => {
            // A key may have been added since.
            if let Err(error) = context
                .sealing
                .reload(&context.kube, &context.args.namespace)
                .await
            {
                tracing::warn!(%error, "failed to read the sealing keys again");
            }
            context.sealing.keys().sealing.open(blob)
        }
        other => other,
    };
    opened.map_err(|error| {
        tracing::warn!(%error, "a sealed identity does not open");
        ClaimRefusal::Tampered
    })
}

fn answer(
    context: &Context,
    owner: &Owner,
    claim: &Claim,
    claims: &ClusterClaims,
    agent_id: AgentId,
    sealed: SealedIdentity,
) -> Result<ClaimedIdentity, ClaimRefusal> {
    let connection = context.connections.get(&owner.connection);
    let endpoint = connection.endpoint().ok_or(ClaimRefusal::NotReady)?;
    let callback_token = context
        .sealing
        .keys()
        .callback
        .issue(&claim.identity, &claims.pod_uid)
        .ok_or(ClaimRefusal::NotReady)?;
    Ok(ClaimedIdentity {
        agent_id,
        agent_name: claim.identity.clone(),
        pool_id: sealed.pool_id,
        token_url: sealed.authorization_url.clone(),
        server_url: endpoint.url,
        client_id: sealed.client_id,
        authorization_url: sealed.authorization_url,
        private_key: sealed.private_key,
        agent_version: names::AGENT_VERSION.to_owned(),
        system_capabilities: built_in(Some(&claim.identity)),
        callback_token,
        // The operator decides when an idle agent leaves.
        idle_timeout_seconds: 0,
        ca_bundle: endpoint.ca_bundle,
        proxy: endpoint.proxy,
    })
}

/// The identity is burned: the next round replaces the agent.
async fn tampered(context: &Context, owner: &Owner, identity: &str) {
    context
        .memory
        .ended(identity, "the sealed identity was altered");
    let object = context.pools.find(&owner.pool, "");
    if let Some(Ok(pool)) = object.as_deref().map(|guarded| &guarded.0) {
        let note = format!("{identity}: the sealed identity was altered; the agent is replaced");
        context
            .reports
            .warning(&report::reference(pool), Reason::IdentityTampered, note)
            .await;
    }
    context.wakes.wake(&owner.pool);
}
