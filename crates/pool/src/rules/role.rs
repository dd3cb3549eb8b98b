//! Who may do what in which pool.
//!
//! A role bounds what the scopes of a credential allow: both are needed. Whoever was never given a role anywhere is bound
//! by the scopes alone; whoever was given one reaches no pool without a role.

use super::access::{Caller, Scope, require_scope};
use super::refusal::{Kind, Refusal};
use dayfly_wire::ids::PoolId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Stands for every pool that has no role of its own.
pub const EVERY_POOL: PoolId = PoolId(0);

/// What somebody may do in a pool; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Nothing: the pool is not shown either.
    #[serde(rename = "none")]
    Nothing,
    /// See the pool, its agents and its requests.
    Reader,
    /// Queue jobs to it.
    User,
    /// Manage the pool, its agents and its requests.
    Administrator,
}

const ROLES: [(Role, &str); 4] = [
    (Role::Nothing, "none"),
    (Role::Reader, "reader"),
    (Role::User, "user"),
    (Role::Administrator, "administrator"),
];

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        let found = ROLES.iter().find(|(role, _)| *role == self);
        found.map_or("", |(_, name)| name)
    }

    /// What it allows, as Azure DevOps calls the permission.
    fn permission(self) -> &'static str {
        match self {
            Self::Nothing => "no",
            Self::Reader => "View",
            Self::User => "Use",
            Self::Administrator => "Manage",
        }
    }

    /// The role that a scope needs in a pool.
    fn for_scope(scope: Scope) -> Self {
        match scope {
            Scope::AgentPools => Self::Reader,
            Scope::BuildExecute => Self::User,
            Scope::AgentPoolsManage => Self::Administrator,
            Scope::Build | Scope::Code | Scope::CodeWrite => Self::Nothing,
        }
    }

    /// The role that a client's `actionFilter` asks for.
    pub fn for_action(filter: &str) -> Result<Self, Refusal> {
        match filter.to_lowercase().as_str() {
            "" | "0" | "none" => Ok(Self::Reader),
            "2" | "manage" => Ok(Self::Administrator),
            "16" | "use" => Ok(Self::User),
            _ => Err(Refusal::invalid(format!(
                "actionFilter: {filter:?} is none of none, manage and use"
            ))),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = ROLES
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(role, _)| *role).ok_or_else(|| {
            Refusal::invalid(format!(
                "{text:?} is no role: none, reader, user or administrator"
            ))
        })
    }
}

/// What somebody was given, pool by pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// Nothing was ever said: the scopes count alone.
    #[default]
    Unset,
    /// These, and no other.
    Given(BTreeMap<PoolId, Role>),
}

impl Roles {
    /// The roles that are kept of somebody.
    pub fn of(kept: impl IntoIterator<Item = (PoolId, Role)>) -> Self {
        let given: BTreeMap<_, _> = kept.into_iter().collect();
        if given.is_empty() {
            Self::Unset
        } else {
            Self::Given(given)
        }
    }

    /// The role in a pool.
    pub fn in_pool(&self, pool: PoolId) -> Role {
        match self {
            Self::Unset => Role::Administrator,
            Self::Given(given) => {
                let role = given.get(&pool).or_else(|| given.get(&EVERY_POOL));
                role.copied().unwrap_or(Role::Nothing)
            }
        }
    }
}

/// The roles that a caller has, if roles are what bounds it: agents and jobs have their own bounds.
fn roles_of(caller: &Caller) -> &Roles {
    match caller {
        Caller::Administrator { roles, .. } => roles,
        Caller::Listener(_) | Caller::Job(_) => &Roles::Unset,
    }
}

/// Whether a caller has at least this role in a pool.
pub fn has_role(caller: &Caller, pool: PoolId, wanted: Role) -> bool {
    roles_of(caller).in_pool(pool) >= wanted
}

/// Somebody with this scope, and with the role that it needs in this pool.
pub fn require_in_pool(caller: &Caller, wanted: Scope, pool: PoolId) -> Result<(), Refusal> {
    require_scope(caller, wanted)?;
    check_role(
        &caller.name(),
        roles_of(caller),
        pool,
        Role::for_scope(wanted),
    )
}

/// Somebody with this scope, and with the role that it needs in every pool.
pub fn require_in_every_pool(caller: &Caller, wanted: Scope) -> Result<(), Refusal> {
    require_in_pool(caller, wanted, EVERY_POOL)
}

/// Somebody of this name has at least this role in the pool.
pub fn check_role(name: &str, roles: &Roles, pool: PoolId, wanted: Role) -> Result<(), Refusal> {
    if roles.in_pool(pool) >= wanted {
        return Ok(());
    }
    let place = match pool {
        EVERY_POOL => "every pool".to_owned(),
        pool => format!("pool {pool}"),
    };
    Err(Refusal::new(
        Kind::Denied,
        format!(
            "Access denied. {name} needs {} permissions for {place}: somebody at the service gives the role {wanted} \
             with `dayfly-pool roles set`",
            wanted.permission()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: PoolId = PoolId(1);
    const DEPLOY: PoolId = PoolId(2);

    fn somebody(scopes: &str, roles: Roles) -> Caller {
        Caller::Administrator {
            name: "ci".to_owned(),
            scopes: scopes.parse().unwrap(),
            roles,
        }
    }

    #[test]
    fn without_any_role_the_scopes_count_alone() {
        let manager = somebody("agentpools_manage", Roles::of([]));
        assert!(require_in_pool(&manager, Scope::AgentPoolsManage, LINUX).is_ok());
        assert!(require_in_every_pool(&manager, Scope::AgentPoolsManage).is_ok());
        assert!(require_in_pool(&manager, Scope::BuildExecute, LINUX).is_err());
    }

    #[test]
    fn a_role_bounds_the_scopes_and_gives_none() {
        let given = Roles::of([(LINUX, Role::Administrator), (DEPLOY, Role::User)]);
        let all = somebody("agentpools_manage,build_execute", given.clone());
        assert!(require_in_pool(&all, Scope::AgentPoolsManage, LINUX).is_ok());
        assert!(require_in_pool(&all, Scope::BuildExecute, DEPLOY).is_ok());
        let refusal = require_in_pool(&all, Scope::AgentPoolsManage, DEPLOY).unwrap_err();
        assert_eq!(refusal.kind, Kind::Denied);
        assert!(
            refusal.message.contains("needs Manage permissions"),
            "{refusal}"
        );
        assert!(require_in_pool(&all, Scope::AgentPools, PoolId(3)).is_err());
        assert!(require_in_every_pool(&all, Scope::AgentPoolsManage).is_err());
        let reads = somebody("agentpools", given);
        assert!(require_in_pool(&reads, Scope::AgentPoolsManage, LINUX).is_err());
    }

    #[test]
    fn the_role_of_a_pool_goes_before_that_of_every_pool() {
        let roles = Roles::of([(EVERY_POOL, Role::User), (DEPLOY, Role::Nothing)]);
        assert_eq!(roles.in_pool(LINUX), Role::User);
        assert_eq!(roles.in_pool(DEPLOY), Role::Nothing);
    }

    #[test]
    fn roles_are_written_as_they_are_read() {
        for (role, name) in ROLES {
            assert_eq!(name.parse::<Role>(), Ok(role));
            assert_eq!(role.to_string(), name);
        }
        assert!("owner".parse::<Role>().is_err());
        assert_eq!(Role::for_action("Use"), Ok(Role::User));
        assert_eq!(Role::for_action("2"), Ok(Role::Administrator));
        assert!(Role::for_action("destroy").is_err());
    }
}
