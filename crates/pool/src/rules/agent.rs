//! Registering, replacing, changing and removing an agent.

use super::entities::{Agent, PROVISIONED, Request, status};
use super::refusal::{Kind, Refusal};
use dayfly_keys::public_key::PublicKey;
use dayfly_wire::agent::{self as wire, AgentAuthorization, AgentPublicKey, Capabilities};
use dayfly_wire::ids::{AgentId, ClientId, MessageId, PoolId};
use jiff::Timestamp;

const MAX_NAME: usize = 256;
const MAX_CAPABILITIES: usize = 2000;

/// Identifiers that the service chose for a new registration.
#[derive(Clone, Copy, Debug)]
pub struct Identifiers {
    /// The pool.
    pub pool: PoolId,
    /// The agent's id.
    pub agent: AgentId,
    /// The agent's client id.
    pub client: ClientId,
}

/// What to leave out of an agent's document.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Both capability sets are wanted.
    pub capabilities: bool,
    /// Only these properties are wanted; all without a list.
    pub properties: Option<Vec<String>>,
}

impl Detail {
    /// Everything.
    pub fn all() -> Self {
        Self {
            capabilities: true,
            properties: None,
        }
    }

    fn wants(&self, property: &str) -> bool {
        self.properties.as_ref().is_none_or(|wanted| {
            let mut wanted = wanted.iter();
            wanted.any(|name| name == "*" || name.eq_ignore_ascii_case(property))
        })
    }
}

/// A new registration from its document.
pub fn register(
    draft: wire::Agent,
    identifiers: Identifiers,
    now: Timestamp,
) -> Result<Agent, Refusal> {
    check_name(&draft.name)?;
    check_capabilities(&draft.system_capabilities)?;
    check_capabilities(&draft.user_capabilities)?;
    let key = public_key(&draft)?.ok_or_else(|| {
        Refusal::invalid("authorization.publicKey is needed to register an agent")
    })?;
    Ok(Agent {
        id: identifiers.agent,
        pool: identifiers.pool,
        single_use: is_single_use(&draft),
        name: draft.name,
        version: draft.version,
        os_description: draft.os_description,
        enabled: draft.enabled.unwrap_or(true),
        jobs_taken: 0,
        client_id: identifiers.client,
        key,
        key_version: 1,
        last_message: MessageId(0),
        system_capabilities: draft.system_capabilities,
        reported_capabilities: None,
        user_capabilities: draft.user_capabilities,
        properties: draft.properties,
        created_at: now,
        status_changed_at: now,
    })
}

/// Replaces a registration by PUT; true when the key changed, which ends the agent's tokens and session.
/// User capabilities stay: they belong to the administrator.
pub fn replace(agent: &mut Agent, draft: wire::Agent) -> Result<bool, Refusal> {
    check_capabilities(&draft.system_capabilities)?;
    let key = public_key(&draft)?;
    if !draft.name.is_empty() && draft.name != agent.name {
        check_name(&draft.name)?;
        agent.name.clone_from(&draft.name);
    }
    if !draft.properties.is_empty() {
        agent.single_use = is_single_use(&draft);
        agent.properties.clone_from(&draft.properties);
    }
    if !draft.system_capabilities.is_empty() {
        agent
            .system_capabilities
            .clone_from(&draft.system_capabilities);
        // What the agent said of itself was said of another registration.
        agent.reported_capabilities = None;
    }
    patch(agent, draft);
    let replaced = key.filter(|key| *key != agent.key);
    let changed = replaced.is_some();
    if let Some(key) = replaced {
        agent.key = key;
        agent.key_version += 1;
    }
    Ok(changed)
}

/// Changes what a PATCH names and nothing else.
pub fn patch(agent: &mut Agent, draft: wire::Agent) {
    if let Some(enabled) = draft.enabled {
        agent.enabled = enabled;
    }
    if draft.version.is_some() {
        agent.version = draft.version;
    }
    if draft.os_description.is_some() {
        agent.os_description = draft.os_description;
    }
}

/// Replaces all user capabilities.
pub fn set_user_capabilities(agent: &mut Agent, capabilities: Capabilities) -> Result<(), Refusal> {
    check_capabilities(&capabilities)?;
    agent.user_capabilities = capabilities;
    Ok(())
}

/// An agent goes unless it works: a request that it took keeps it, one that it never acknowledged goes back.
pub fn check_removable(agent: &Agent, held: Option<&Request>) -> Result<(), Refusal> {
    match held {
        Some(request) if request.acknowledged_at.is_some() || request.received_at.is_some() => {
            Err(Refusal::new(
                Kind::JobStillRunning,
                format!(
                    "agent {} cannot be deleted: it runs request {}; cancel or finish that first",
                    agent.name, request.id
                ),
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// The agent as a document.
pub fn document(
    agent: &Agent,
    online: bool,
    detail: &Detail,
    authorization_url: &str,
) -> wire::Agent {
    let capabilities = |set: &Capabilities| {
        if detail.capabilities {
            set.clone()
        } else {
            Capabilities::new()
        }
    };
    wire::Agent {
        id: agent.id,
        name: agent.name.clone(),
        version: agent.version.clone(),
        os_description: agent.os_description.clone(),
        enabled: Some(agent.enabled),
        status: Some(status(online)),
        provisioning_state: Some(PROVISIONED.to_owned()),
        max_parallelism: Some(1),
        created_on: Some(agent.created_at),
        status_changed_on: Some(agent.status_changed_at),
        authorization: Some(AgentAuthorization {
            authorization_url: Some(authorization_url.to_owned()),
            client_id: Some(agent.client_id),
            public_key: Some(agent.key.clone()),
        }),
        system_capabilities: capabilities(agent.shown_capabilities()),
        user_capabilities: capabilities(&agent.user_capabilities),
        assigned_request: None,
        last_completed_request: None,
        properties: agent
            .properties
            .iter()
            .filter(|(name, _)| detail.wants(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | '"' | '<' | '>' | '|');
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(bad) {
        return Err(Refusal::invalid(format!(
            "name: an agent's name has 1 to {MAX_NAME} characters, none of them a control character or one of / \\ \" < > |"
        )));
    }
    Ok(())
}

/// Capabilities that may be kept.
pub fn check_capabilities(capabilities: &Capabilities) -> Result<(), Refusal> {
    if capabilities.len() > MAX_CAPABILITIES {
        return Err(Refusal::invalid(format!(
            "an agent has at most {MAX_CAPABILITIES} capabilities"
        )));
    }
    Ok(())
}

fn public_key(draft: &wire::Agent) -> Result<Option<AgentPublicKey>, Refusal> {
    let key = draft
        .authorization
        .as_ref()
        .and_then(|authorization| authorization.public_key.as_ref());
    key.map(|key| {
        PublicKey::from_wire(key)
            .map(|key| key.to_wire())
            .map_err(|error| Refusal::invalid(format!("authorization.publicKey: {error}")))
    })
    .transpose()
}

fn is_single_use(draft: &wire::Agent) -> bool {
    draft
        .properties
        .get(wire::SINGLE_USE)
        .is_some_and(|property| match &property.value {
            serde_json::Value::Bool(value) => *value,
            serde_json::Value::String(text) => text.eq_ignore_ascii_case("true"),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{POOL, agent, at, request};
    use super::*;
    use dayfly_wire::agent::Property;

    fn identifiers() -> Identifiers {
        Identifiers {
            pool: POOL,
            agent: AgentId(1),
            client: ClientId(uuid::Uuid::from_u128(1)),
        }
    }

    fn draft(name: &str) -> wire::Agent {
        use base64::Engine;
        let modulus = base64::engine::general_purpose::STANDARD.encode([0xc5; 256]);
        wire::Agent {
            name: name.to_owned(),
            authorization: Some(AgentAuthorization {
                public_key: Some(AgentPublicKey {
                    exponent: "AQAB".to_owned(),
                    modulus,
                }),
                ..AgentAuthorization::default()
            }),
            ..wire::Agent::default()
        }
    }

    #[test]
    fn a_registration_needs_a_name_and_a_key() {
        assert!(register(draft("one"), identifiers(), at(0)).is_ok());
        for bad in ["", "  ", "a/b", "a\nb"] {
            assert!(
                register(draft(bad), identifiers(), at(0)).is_err(),
                "{bad:?}"
            );
        }
        let keyless = wire::Agent {
            name: "one".to_owned(),
            ..wire::Agent::default()
        };
        assert!(register(keyless, identifiers(), at(0)).is_err());
    }

    #[test]
    fn single_use_is_a_property_however_it_is_written() {
        for (property, expected) in [
            (Property::boolean(true), true),
            (Property::text("True"), true),
            (Property::boolean(false), false),
            (Property::text("no"), false),
        ] {
            let mut draft = draft("one");
            draft
                .properties
                .insert(wire::SINGLE_USE.to_owned(), property);
            let registered = register(draft, identifiers(), at(0)).unwrap();
            assert_eq!(registered.single_use, expected);
        }
    }

    #[test]
    fn only_another_key_counts_as_a_change_of_key() {
        let mut registered = register(draft("one"), identifiers(), at(0)).unwrap();
        assert!(!replace(&mut registered, draft("one")).unwrap());
        assert_eq!(registered.key_version, 1);
        let mut other = draft("one");
        if let Some(key) = other
            .authorization
            .as_mut()
            .and_then(|a| a.public_key.as_mut())
        {
            key.exponent = "AAED".to_owned();
        }
        assert!(replace(&mut registered, other).unwrap());
        assert_eq!(registered.key_version, 2);
    }

    #[test]
    fn an_agent_at_work_stays() {
        let mut held = request(5, &[]);
        assert!(check_removable(&agent(1, &[]), None).is_ok());
        assert!(check_removable(&agent(1, &[]), Some(&held)).is_ok());
        held.acknowledged_at = Some(at(1));
        let refusal = check_removable(&agent(1, &[]), Some(&held)).unwrap_err();
        assert_eq!(refusal.kind, Kind::JobStillRunning);
    }
}
