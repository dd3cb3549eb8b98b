//! Which credentials belong to a checkout. Pure.

use super::step::StepError;
use super::system_connection;
use crate::git_credential::{Credentials, Stored};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_wire::job::{JobMessage, Repository};
use dayfly_wire::secret::SecretText;
use zeroize::Zeroizing;

/// What git may be told while it checks a repository out. Submodules may be other repositories of the job, or of the
/// service that issued the job token: it comes back to nobody else.
pub(crate) fn credentials(
    message: &JobMessage,
    repository: &Repository,
    submodules: bool,
) -> Result<Credentials, StepError> {
    let mut all = vec![credential(message, repository)?];
    if submodules {
        let others = message.resources.repositories.iter();
        all.extend(others.filter_map(|other| credential(message, other).ok()));
        all.extend(
            system_connection(message).and_then(|(connection, token)| {
                Stored::of_collection(&connection.url, USER, token)
            }),
        );
    }
    Ok(Credentials(all))
}

/// A piece of git's configuration by which later steps authenticate as this checkout did.
pub(crate) fn kept_credential(
    message: &JobMessage,
    repository: &Repository,
    submodules: bool,
) -> Result<Zeroizing<String>, StepError> {
    let (user, secret) = user_and_secret(message, repository)?;
    let mut text = Zeroizing::new(String::new());
    let url = &repository.properties.url;
    section(&mut text, url, user, secret)?;
    // For the submodules. It comes last: git sends the header of a longer URL instead of a shorter one's only when the
    // longer one was read first, and both otherwise.
    if submodules && let Some((connection, token)) = system_connection(message) {
        section(&mut text, &connection.url, USER, token)?;
    }
    Ok(text)
}

fn section(text: &mut String, url: &str, user: &str, secret: &SecretText) -> Result<(), StepError> {
    let header = if user == USER {
        Zeroizing::new(format!("bearer {}", secret.expose()))
    } else {
        let pair = Zeroizing::new(format!("{user}:{}", secret.expose()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Zeroizing::new(format!("basic {}", encoded.as_str()))
    };
    for part in [url, header.as_str()] {
        if part
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\\'))
        {
            return Err(StepError::Failed(
                "The repository's URL or credential holds characters that git's configuration cannot."
                    .to_owned(),
            ));
        }
    }
    for part in [
        "[http \"",
        url,
        "\"]\n\textraheader = \"AUTHORIZATION: ",
        &header,
        "\"\n",
    ] {
        text.push_str(part);
    }
    Ok(())
}

/// The user of the job token.
const USER: &str = "OAuth";

/// The credential of a repository: its endpoint's, or the job token for the service's own.
fn credential(message: &JobMessage, repository: &Repository) -> Result<Stored, StepError> {
    let (user, secret) = user_and_secret(message, repository)?;
    Stored::new(&repository.properties.url, user, secret).ok_or_else(|| {
        StepError::Failed("The repository's URL is not an http or https URL.".to_owned())
    })
}

fn user_and_secret<'a>(
    message: &'a JobMessage,
    repository: &'a Repository,
) -> Result<(&'a str, &'a SecretText), StepError> {
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
    match named.and_then(|endpoint| endpoint.authorization.as_ref()) {
        None => Ok((USER, system_connection(message).ok_or_else(unknown)?.1)),
        Some(authorization) => {
            let parameter = |name: &str| {
                authorization
                    .parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value)
            };
            let user = parameter("username").map(|user| user.expose());
            Ok(match authorization.scheme.to_lowercase().as_str() {
                "oauth" => (USER, parameter("AccessToken").ok_or_else(unknown)?),
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
            })
        }
    }
}
