//! A limit for calls of the API server: a server that accepts and never answers must not hold up a loop.

use std::time::Duration;

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The call's end, or an error when it takes too long; whether it was carried out is not known then.
///
/// # Errors
/// What the call says, or that it took too long.
pub async fn within<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(ended) => ended,
        Err(_) => Err(kube::Error::Service(
            "the API server did not answer within 30 s".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_is_given_up() {
        let error = within(std::future::pending::<Result<(), _>>())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("30 s"), "{error}");
    }
}
