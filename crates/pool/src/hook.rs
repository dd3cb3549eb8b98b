//! Tells somebody, an operator most of all, that a queue has changed, so that it need not ask.
//!
//! A call says only that something changed. Changes that come while a call is under way are one more call; a call that
//! fails is not made again, because whoever is called asks now and then anyway.

use crate::service::Service;
use dayfly_wire::secret::SecretText;
use std::fmt;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long nothing is sent after a call that failed.
const REST: Duration = Duration::from_secs(1);

/// Whom to call.
pub struct WakeHook {
    /// Where to.
    pub url: String,
    /// What proves to be this service: sent as the password of HTTP Basic.
    pub secret: SecretText,
}

impl fmt::Debug for WakeHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeHook")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Rings when a queue has changed.
#[derive(Default)]
pub struct QueueBell(Notify);

impl QueueBell {
    /// A queue has changed.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

impl Service {
    /// Calls the hook, if there is one, until the service ends.
    pub async fn keep_calling(&self) {
        let Some(hook) = &self.settings.wake_hook else {
            return;
        };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = self.call_for_ever(hook) => {}
        }
    }

    async fn call_for_ever(&self, hook: &WakeHook) {
        let client = match client() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "failed to set up the hook's client; nobody is called");
                return;
            }
        };
        let mut failing = false;
        loop {
            self.queue_bell.0.notified().await;
            let problem = call(&client, hook).await.err();
            if let Some(problem) = &problem {
                self.metrics.hook_failures.inc();
                // Once, until it works again.
                if !failing {
                    tracing::warn!(url = hook.url, problem, "failed to call the hook");
                }
                tokio::time::sleep(REST).await;
            } else {
                self.metrics.hook_calls.inc();
            }
            failing = problem.is_some();
        }
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        // The secret goes where the administrator said, and nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("dayfly-pool/", env!("CARGO_PKG_VERSION")))
        .timeout(LIMIT)
        .build()
}

async fn call(client: &reqwest::Client, hook: &WakeHook) -> Result<(), String> {
    let request = client
        .post(&hook.url)
        .basic_auth("dayfly-pool", Some(hook.secret.expose()));
    let response = request.send().await.map_err(|error| error.to_string())?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(format!("it answered {}", response.status()))
    }
}
