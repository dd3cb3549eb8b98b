//! How far the tokens of a pipeline's jobs reach, on the service's database: whoever may queue jobs cannot widen it.

use crate::args::PlaceArgs;
use crate::output;
use crate::pat::open;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::{Change, TokenScope};

/// Which pipeline, and what is to hold.
#[derive(clap::Args)]
pub(crate) struct ReachArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The project.
    #[arg(long, default_value = "demo")]
    project: String,
    /// The pipeline's name, as jobs are queued under it.
    name: String,
    /// What its jobs read: the sources of their project, or of the whole collection.
    #[arg(long, value_name = "project|collection")]
    token_scope: Option<TokenScope>,
    /// Whether its jobs push to their own repository.
    #[arg(long, value_name = "true|false")]
    token_pushes: Option<bool>,
    /// Whether every script sees the token as SYSTEM_ACCESSTOKEN without mapping it.
    #[arg(long, value_name = "true|false")]
    token_scripts: Option<bool>,
}

/// Changes what is named, and shows what holds then.
pub(crate) async fn run(args: ReachArgs) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let store = open(&args.place.place()).await?;
    let ReachArgs {
        project,
        name,
        token_scope,
        token_pushes,
        token_scripts,
        ..
    } = args;
    let change = Change {
        scope: token_scope,
        pushes: token_pushes,
        scripts: token_scripts,
    };
    let holds = reach::change(&store, &project, &name, change, now).await?;
    store.close().await;
    let pushes = holds.pushes.to_string();
    let scripts = holds.scripts.to_string();
    let row = vec![project, name, holds.scope.to_string(), pushes, scripts];
    output::table(
        &[
            "PROJECT",
            "PIPELINE",
            "TOKEN SCOPE",
            "TOKEN PUSHES",
            "TOKEN SCRIPTS",
        ],
        &[row],
    )
}
