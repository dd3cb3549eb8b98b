//! Roles in pools, on the service's database: whoever has a token cannot widen what it may do.

use crate::output::{self, Printed};
use crate::principals::Data;
use clap::Subcommand;
use dayfly_pool_service::ops::roles;
use dayfly_pool_service::rules::role::Role;

#[derive(Subcommand)]
pub(crate) enum RolesCommand {
    /// Give a role to whoever has a name. From the first one on, the name reaches no pool without a role.
    Set {
        #[command(flatten)]
        data: Data,
        /// Whose: the name of personal access tokens or of a service principal.
        name: String,
        /// What: reader (see it), user (queue jobs to it), administrator (manage it and its agents), or none.
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        place: Place,
    },
    /// Take a role. What other pools say stays, and so does that the name reaches no pool without a role.
    Unset {
        #[command(flatten)]
        data: Data,
        /// Whose.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Forget that a name was ever given a role: its scopes count alone again, in every pool.
    Clear {
        #[command(flatten)]
        data: Data,
        /// Whose.
        name: String,
    },
    /// List all roles.
    List {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        printed: Printed,
    },
}

/// Where a role counts.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// In this pool.
    #[arg(long)]
    pool: Option<String>,
    /// In every pool that has no role of its own, and for making pools and uploading tasks.
    #[arg(long)]
    every_pool: bool,
}

/// Does what the command line says.
pub(crate) async fn run(command: RolesCommand) -> anyhow::Result<()> {
    match command {
        RolesCommand::Set {
            data,
            name,
            role,
            place,
        } => {
            let store = data.open().await?;
            roles::set(&store, &name, place.pool.as_deref(), role).await?;
            let place = place
                .pool
                .map_or("every pool".to_owned(), |pool| format!("pool {pool}"));
            output::remark(&format!("{name} is {role} in {place}"));
            Ok(())
        }
        RolesCommand::Unset { data, name, place } => {
            Ok(roles::unset(&data.open().await?, &name, place.pool.as_deref()).await?)
        }
        RolesCommand::Clear { data, name } => Ok(roles::clear(&data.open().await?, &name).await?),
        RolesCommand::List { data, printed } => {
            let listed = roles::list(&data.open().await?).await?;
            printed.list(&listed, &["NAME", "POOL", "ROLE"], |each| {
                let pool = each.pool.as_deref().unwrap_or("(every pool)");
                vec![each.name.clone(), pool.to_owned(), each.role.to_string()]
            })
        }
    }
}
