//! Pools: what they may be called, and what may change.

use super::entities::{Pool, PoolSettings};
use super::refusal::{Kind, Refusal};
use dayfly_wire::pool::{AgentPool, NO_OPTIONS, PoolChange, SINGLE_USE_AGENTS};
use uuid::Uuid;

const MAX_NAME: usize = 128;
const MAX_PROPERTIES: usize = 100;
const AUTOMATION: &str = "automation";

/// A name that a pool may have.
pub fn name(given: &str) -> Result<String, Refusal> {
    let name = given.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!(
            "name: a pool's name has 1 to {MAX_NAME} characters, none of them a control character"
        )));
    }
    Ok(name.to_owned())
}

/// Changes what is named, but for the name itself.
pub fn change(settings: &mut PoolSettings, change: PoolChange) -> Result<(), Refusal> {
    let PoolChange {
        name: _,
        pool_type,
        auto_provision,
        auto_update,
        target_size,
        options,
        properties,
    } = change;
    if pool_type.is_some_and(|kind| !kind.eq_ignore_ascii_case(AUTOMATION)) {
        return Err(Refusal::invalid(
            "poolType: there are pools for automation only",
        ));
    }
    if let Some(options) = options {
        settings.single_use_agents = match options.as_str() {
            _ if options.eq_ignore_ascii_case(NO_OPTIONS) => false,
            _ if options.eq_ignore_ascii_case(SINGLE_USE_AGENTS) => true,
            _ => {
                return Err(Refusal::invalid(format!(
                    "options: {NO_OPTIONS} or {SINGLE_USE_AGENTS}"
                )));
            }
        };
    }
    settings.auto_provision = auto_provision.unwrap_or(settings.auto_provision);
    settings.auto_update = auto_update.unwrap_or(settings.auto_update);
    settings.target_size = target_size.or(settings.target_size);
    for (name, value) in properties {
        match value {
            Some(value) => settings.properties.insert(name, value),
            None => settings.properties.remove(&name),
        };
    }
    if settings.properties.len() > MAX_PROPERTIES {
        return Err(super::limits::too_many(
            "a pool",
            "properties",
            MAX_PROPERTIES,
        ));
    }
    Ok(())
}

/// A pool goes when nothing of it is in use.
pub fn check_removable(pool: &Pool, agents: i64, unfinished: usize) -> Result<(), Refusal> {
    if agents == 0 && unfinished == 0 {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::Exists,
        format!(
            "pool {} cannot be deleted: it has {agents} agents and {unfinished} unfinished jobs; delete and cancel those first",
            pool.name
        ),
    ))
}

/// The pool as a document.
pub fn document(pool: Pool, size: i64, scope: Uuid) -> AgentPool {
    let settings = pool.settings;
    AgentPool {
        id: pool.id,
        name: pool.name,
        created_on: Some(pool.created_at),
        is_hosted: false,
        pool_type: AUTOMATION.to_owned(),
        size,
        is_legacy: false,
        options: if settings.single_use_agents {
            SINGLE_USE_AGENTS.to_owned()
        } else {
            NO_OPTIONS.to_owned()
        },
        scope: Some(scope),
        auto_provision: settings.auto_provision,
        auto_update: settings.auto_update,
        auto_size: settings.target_size.is_some(),
        target_size: settings.target_size,
        properties: settings.properties,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_wire::agent::Property;

    #[test]
    fn what_is_not_named_stays() {
        let mut settings = PoolSettings::default();
        let first = PoolChange {
            auto_update: Some(true),
            options: Some("SingleUseAgents".to_owned()),
            properties: [("a".to_owned(), Some(Property::text("1")))].into(),
            ..PoolChange::default()
        };
        change(&mut settings, first).unwrap();
        let second = PoolChange {
            target_size: Some(3),
            properties: [("a".to_owned(), None)].into(),
            ..PoolChange::default()
        };
        change(&mut settings, second).unwrap();
        assert!(settings.auto_update && settings.single_use_agents);
        assert_eq!(settings.target_size, Some(3));
        assert!(settings.properties.is_empty());
        for wrong in [
            PoolChange {
                options: Some("elasticPool".to_owned()),
                ..PoolChange::default()
            },
            PoolChange {
                pool_type: Some("deployment".to_owned()),
                ..PoolChange::default()
            },
        ] {
            assert!(change(&mut settings, wrong).is_err());
        }
    }
}
