//! Where the identity comes from: the operator, or a file for development.

use super::operator::{Callbacks, ClaimError, Operator};
use crate::args::ListenArgs;
use crate::exit::Exit;
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::identity::ClaimedIdentity;
use dayfly_wire::secret::SecretText;
use std::path::Path;
use std::sync::Arc;

/// The longest identity file.
const MAX_FILE: u64 = 1 << 20;

/// An identity, and how to tell the operator about its life.
pub(crate) struct Claimed {
    pub(crate) identity: ClaimedIdentity,
    pub(crate) callbacks: Option<Arc<Callbacks>>,
}

impl Claimed {
    /// The private key, which leaves nothing behind in the document.
    pub(crate) fn take_key(&mut self) -> Result<Arc<AgentKey>, Exit> {
        let text = std::mem::replace(
            &mut self.identity.private_key,
            SecretText::new(String::new()),
        );
        AgentKey::from_base64(&text).map(Arc::new).map_err(|error| {
            tracing::error!(%error, "failed to read the identity's private key");
            Exit::Setup
        })
    }
}

/// Claims the identity.
pub(crate) async fn claim(args: &ListenArgs) -> Result<Claimed, Exit> {
    match (&args.identity_file, &args.operator_url) {
        (Some(path), _) => from_file(path),
        (None, Some(url)) => from_operator(args, url).await,
        (None, None) => {
            tracing::error!("there is no identity: set DAYFLY_OPERATOR_URL or --identity-file");
            Err(Exit::Usage)
        }
    }
}

fn from_file(path: &Path) -> Result<Claimed, Exit> {
    let read = || {
        use std::io::Read;
        let mut text = zeroize::Zeroizing::new(Vec::new());
        std::fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_end(&mut text)?;
        // The parser's own words may repeat what it read.
        serde_json::from_slice(&text).map_err(|error| {
            std::io::Error::other(format!(
                "it is not an identity (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    };
    match read() {
        Ok(identity) => Ok(Claimed {
            identity,
            callbacks: None,
        }),
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "failed to read the identity file");
            Err(Exit::Usage)
        }
    }
}

async fn from_operator(args: &ListenArgs, url: &str) -> Result<Claimed, Exit> {
    let operator = Operator::new(url, args.operator_ca.as_deref()).map_err(|error| {
        tracing::error!(%error, "failed to prepare the operator's client; check DAYFLY_OPERATOR_URL and DAYFLY_OPERATOR_CA");
        Exit::Usage
    })?;
    let mut identity = operator
        .claim(&args.identity, &args.token_file)
        .await
        .map_err(|error| {
            tracing::error!(%error, identity = %args.identity, "failed to claim the identity");
            match error {
                ClaimError::Refused { .. } => Exit::ClaimRefused,
                ClaimError::Unreachable { .. } => Exit::OperatorUnreachable,
                ClaimError::Token { .. } => Exit::Setup,
            }
        })?;
    let token = std::mem::replace(&mut identity.callback_token, SecretText::new(String::new()));
    Ok(Claimed {
        identity,
        callbacks: Some(Arc::new(Callbacks::new(operator, token))),
    })
}
