//! The registration of an identity.

use crate::names;
use crate::pool::validate::{ValidPool, ValidTemplate, built_in};
use dayfly_keys::public_key::PublicKey;
use dayfly_wire::agent::{Agent, AgentAuthorization, Capabilities, Property, SINGLE_USE};

/// What is posted to the service: offline, for one job, with the public key.
///
/// The marks are among the system capabilities too, until a session replaces these: should this process die before
/// the user capabilities are there, the registration can still be told to be ours.
pub fn registration(identity: &str, key: &PublicKey, marks: &Capabilities) -> Agent {
    let mut system = built_in(Some(identity));
    let ours = marks.iter().filter(|(name, _)| name.starts_with("Dayfly."));
    system.extend(ours.map(|(name, value)| (name.clone(), value.clone())));
    Agent {
        name: identity.to_owned(),
        version: Some(names::AGENT_VERSION.to_owned()),
        os_description: Some("Linux".to_owned()),
        enabled: Some(true),
        provisioning_state: Some("Provisioned".to_owned()),
        max_parallelism: Some(1),
        authorization: Some(AgentAuthorization {
            public_key: Some(key.to_wire()),
            ..AgentAuthorization::default()
        }),
        system_capabilities: system,
        user_capabilities: marks.clone(),
        properties: [(SINGLE_USE.to_owned(), Property::boolean(true))].into(),
        ..Agent::default()
    }
}

/// The user capabilities, which opening a session leaves alone: the template's, and our marks.
pub fn user_capabilities(
    pool: &ValidPool,
    template: &ValidTemplate,
    cluster: &str,
) -> Capabilities {
    let owner = names::owner_mark(cluster, &pool.namespace, &pool.name, &pool.uid);
    let mut capabilities = template.capabilities.clone();
    capabilities.extend([
        (names::CAPABILITY_OWNER.to_owned(), owner),
        (names::CAPABILITY_TEMPLATE.to_owned(), template.name.clone()),
        (
            names::CAPABILITY_HASH.to_owned(),
            template.identity_hash.clone(),
        ),
    ]);
    capabilities
}
