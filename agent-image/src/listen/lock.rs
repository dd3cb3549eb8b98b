//! The job's lock: taken before the worker starts, renewed on its own clock.

use super::driver::Happening;
use super::stage::Event;
use crate::backoff::{between, jitter};
use crate::clock;
use dayfly_client::{Client, Error};
use dayfly_wire::error::key;
use dayfly_wire::ids::{PoolId, RequestId};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_secs(60);
const FIRST_TRIES: u32 = 5;
/// A lock that lapsed this long ago is lost, although nobody said so.
const LAPSED: Duration = Duration::from_secs(300);

/// Takes the lock and holds it until the task is aborted or the lock is lost.
pub(crate) async fn hold(
    client: Client,
    pool: PoolId,
    request: RequestId,
    events: mpsc::Sender<Happening>,
) {
    let Some(mut until) = first(&client, pool, request).await else {
        return send(&events, Event::LockRefused).await;
    };
    send(&events, Event::LockHeld).await;
    loop {
        sleep(INTERVAL).await;
        let mut errors = 0;
        loop {
            match client.renew_request(pool, request).await {
                Ok(renewed) => {
                    until = renewed.locked_until;
                    break;
                }
                Err(error) if is_lost(&error) || has_lapsed(until, clock::now()) => {
                    tracing::error!(%error, %request, "the job's lock is lost");
                    return send(&events, Event::LockLost).await;
                }
                Err(error) => {
                    tracing::warn!(%error, %request, "failed to renew the job's lock; trying again");
                    sleep(error_wait(errors)).await;
                    errors += 1;
                }
            }
        }
    }
}

async fn send(events: &mpsc::Sender<Happening>, event: Event) {
    let _ = events.send(event.into()).await;
}

async fn first(client: &Client, pool: PoolId, request: RequestId) -> Option<Option<Timestamp>> {
    for attempt in 1..=FIRST_TRIES {
        match client.renew_request(pool, request).await {
            Ok(renewed) => return Some(renewed.locked_until),
            Err(error) => {
                tracing::warn!(%error, %request, attempt, "failed to take the job's lock");
                if is_lost(&error) {
                    return None;
                }
            }
        }
        sleep(between(
            Duration::from_secs(1),
            Duration::from_secs(10),
            jitter(),
        ))
        .await;
    }
    None
}

fn error_wait(errors: u32) -> Duration {
    let (least, most) = if errors < 5 { (5, 15) } else { (15, 30) };
    between(
        Duration::from_secs(least),
        Duration::from_secs(most),
        jitter(),
    )
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound(_))
        || error.type_key() == Some(key::JOB_NOT_FOUND)
        || error.type_key() == Some("TaskAgentJobTokenExpiredException")
}

fn has_lapsed(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| now.duration_since(until).unsigned_abs() > LAPSED && now > until)
}
