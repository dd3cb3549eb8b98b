//! Which credential belongs to a repository. Pure.

use super::step::StepError;
use super::system_connection;
use crate::git_credential::Stored;
use dayfly_wire::job::{JobMessage, Repository};

/// The credential of a repository: its endpoint's, or the job token for the service's own.
pub(crate) fn credential(
    message: &JobMessage,
    repository: &Repository,
) -> Result<Stored, StepError> {
    let reference = repository.endpoint.as_ref();
    let named = message.resources.endpoints.iter().find(|endpoint| {
        let by_id = reference.and_then(|reference| reference.id.as_ref());
        let by_name = reference.and_then(|reference| reference.name.as_ref());
        match (by_id, by_name) {
            (Some(id), _) => endpoint.id.as_ref() == Some(id),
            (None, Some(name)) => endpoint.name.eq_ignore_ascii_case(name),
            (None, None) => false,
        }
    });
    let unknown = || {
        StepError::Failed(
            "The repository's service connection has no credential that git can use.".to_owned(),
        )
    };
    let (user, secret) = match named.and_then(|endpoint| endpoint.authorization.as_ref()) {
        None => ("OAuth", system_connection(message).ok_or_else(unknown)?.1),
        Some(authorization) => {
            let parameter = |name: &str| {
                authorization
                    .parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value)
            };
            let user = parameter("username").map(|user| user.expose());
            match authorization.scheme.to_lowercase().as_str() {
                "oauth" => ("OAuth", parameter("AccessToken").ok_or_else(unknown)?),
                "usernamepassword" => (
                    user.unwrap_or_default(),
                    parameter("password").ok_or_else(unknown)?,
                ),
                _ => (
                    user.unwrap_or("x-access-token"),
                    ["AccessToken", "apitoken", "accessToken"]
                        .into_iter()
                        .find_map(parameter)
                        .ok_or_else(unknown)?,
                ),
            }
        }
    };
    Stored::new(&repository.properties.url, user, secret).ok_or_else(|| {
        StepError::Failed("The repository's URL is not an http or https URL.".to_owned())
    })
}
