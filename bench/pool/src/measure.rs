//! What is measured, one after the other on the same service.

use crate::agent::{self, Agent, Held, Times};
use crate::args::Args;
use crate::client::{Client, read};
use crate::process;
use crate::report::{Better, Row, percentile, progress};
use crate::server::Server;
use anyhow::{Context, Result, ensure};
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::ids::{PoolId, RequestId};
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Calls at once while things are made.
const AT_ONCE: usize = 64;
/// Over how long an idle service's time is taken.
const IDLE: Duration = Duration::from_secs(10);
/// The longest that anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(120);
const ROUND_TRIPS: usize = 500;
const LISTS: usize = 500;
/// Jobs that wait while the unfinished ones are listed.
const UNFINISHED: usize = 20;
const MEGABYTE: f64 = 1_000_000.0;
/// One call's worth of log.
const PIECE: usize = 1_000_000;

/// Goals.
const MEMORY: f64 = 400.0;
const WAKE: f64 = 50.0;
const JOBS: f64 = 500.0;
const LIST: f64 = 10.0;

/// Everything, in the order of the table.
pub(crate) async fn all(args: &Args, server: &Server) -> Result<Vec<Row>> {
    let client = Client::new(server)?;
    // One key for all: what is measured is the service, and not how fast keys are made.
    let key = AgentKey::generate()?;
    let mut rows = Vec::new();
    let floor = round_trip(&client).await?;
    rows.push(Row::new(
        "round trip, nothing asked, p50",
        percentile(&floor, 50),
        "ms",
        None,
    ));
    rows.push(Row::new(
        "round trip, nothing asked, p99",
        percentile(&floor, 99),
        "ms",
        None,
    ));
    rows.extend(log(args, &client, &key).await?);
    rows.extend(list(args, &client, &key, percentile(&floor, 50)).await?);
    rows.extend(parked(args, server, &client, &key, percentile(&floor, 50)).await?);
    Ok(rows)
}

/// The least that any call costs.
async fn round_trip(client: &Client) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        client.is_well().await?;
        samples.push(milliseconds(begun.elapsed()));
    }
    Ok(samples)
}

async fn log(args: &Args, client: &Client, key: &AgentKey) -> Result<Vec<Row>> {
    progress(&format!("appending {} MB to a log", args.log));
    let name = unique("log");
    let pool = client.create_pool(&name).await?;
    let agent = agent::open(client, pool, key).await?;
    client.queue(&name).await?;
    let job = agent.take().await?;
    let log = agent.create_log(&job).await?;
    let line = "2026-01-02T03:04:05.6789012Z a line of a log as compilers write them, of a hundred characters...\n";
    let piece = line.repeat(PIECE / line.len());
    let begun = Instant::now();
    for _ in 0..args.log {
        agent.append(&job, &log, piece.clone()).await?;
    }
    let rate = to_f64(args.log * piece.len()) / MEGABYTE / begun.elapsed().as_secs_f64();
    agent.finish(&job).await?;
    Ok(vec![
        Row::new("log appended", rate, "MB/s", None).better(Better::Higher),
    ])
}

async fn list(args: &Args, client: &Client, key: &AgentKey, floor: f64) -> Result<Vec<Row>> {
    progress(&format!("making {} finished requests", args.finished));
    let name = unique("list");
    let pool = client.create_pool(&name).await?;
    // Nobody is registered there: each ends at once.
    queue_many(client, &name, args.finished).await?;
    agent::register(client, pool, key).await?;
    queue_many(client, &name, UNFINISHED).await?;
    let path = format!("/_apis/distributedtask/pools/{pool}/jobrequests?completedRequestCount=0");
    let mut samples = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        let listed: serde_json::Value = read(client.admin(Method::GET, &path)).await?;
        samples.push(milliseconds(begun.elapsed()));
        ensure!(
            listed["count"] == UNFINISHED,
            "{} are listed",
            listed["count"]
        );
    }
    let named = |what: &str| format!("unfinished listed, {} finished, {what}", args.finished);
    let p50 = percentile(&samples, 50);
    Ok(vec![
        Row::new(named("p50"), p50, "ms", None),
        Row::new(named("p99"), percentile(&samples, 99), "ms", Some(LIST)),
        Row::new(named("p50 against a round trip"), p50 / floor, "x", None),
    ])
}

async fn parked(
    args: &Args,
    server: &Server,
    client: &Client,
    key: &AgentKey,
    floor: f64,
) -> Result<Vec<Row>> {
    let name = unique("parked");
    let pool = client.create_pool(&name).await?;
    let before = server.pid.map(process::resident).transpose()?;
    let agents = open_many(client, pool, key, args.listeners).await?;
    let (telling, mut told) = unbounded_channel();
    let (taken, mut deliveries) = unbounded_channel();
    let (hold, up) = watch::channel(false);
    let held = Held { taken, up };
    let mut listening = JoinSet::new();
    for agent in agents {
        listening.spawn(agent.work(telling.clone(), held.clone()));
        // The service takes so many connections of one source at once on which nobody has shown a credential yet.
        if listening.len().is_multiple_of(AT_ONCE) {
            client.wait_parked(listening.len(), LIMIT).await?;
        }
    }
    client.wait_parked(args.listeners, LIMIT).await?;
    let mut rows = Vec::new();
    if let (Some(pid), Some(before)) = (server.pid, before) {
        rows.extend(idle(args, pid, before).await?);
    }
    rows.extend(wakes(args, client, &name, &mut told, floor).await?);
    rows.extend(jobs(args, client, &name, &mut told).await?);
    while deliveries.try_recv().is_ok() {}
    client.wait_parked(args.listeners, LIMIT).await?;
    hold.send_replace(true);
    rows.push(burst(args, client, &name, &mut deliveries).await?);
    hold.send_replace(false);
    for _ in 0..in_a_burst(args) {
        next(&mut told).await?;
    }
    listening.abort_all();
    Ok(rows)
}

/// What so many parked listeners cost when nothing happens.
async fn idle(args: &Args, pid: u32, before: f64) -> Result<Vec<Row>> {
    progress("looking at the idle service");
    let used = process::processor_time(pid)?;
    tokio::time::sleep(IDLE).await;
    let used = process::processor_time(pid)?.saturating_sub(used);
    let resident = process::resident(pid)?;
    let each = (resident - before) / to_f64(args.listeners.max(1));
    let named = |what: &str| format!("{} parked listeners: {what}", args.listeners);
    let percent = 100.0 * used.as_secs_f64() / IDLE.as_secs_f64();
    Ok(vec![
        Row::new(
            named("resident memory"),
            resident / MEGABYTE,
            "MB",
            Some(MEMORY),
        ),
        Row::new(named("resident memory of each"), each / 1000.0, "kB", None),
        Row::new(named("idle processor"), percent, "% of a core", None),
    ])
}

async fn wakes(
    args: &Args,
    client: &Client,
    pool: &str,
    told: &mut UnboundedReceiver<Result<Times>>,
    floor: f64,
) -> Result<Vec<Row>> {
    progress(&format!(
        "waking {} listeners, one after the other",
        args.wakes
    ));
    let mut samples = Vec::new();
    for _ in 0..args.wakes {
        client.wait_parked(args.listeners, LIMIT).await?;
        let begun = Instant::now();
        let queued = client.queue(pool).await?;
        let times = next(told).await?;
        ensure!(
            times.request == queued.request_id,
            "another job was delivered"
        );
        samples.push(milliseconds(
            times.delivered.saturating_duration_since(begun),
        ));
    }
    let named = |what: &str| format!("queued to delivered, {} parked, {what}", args.listeners);
    let p50 = percentile(&samples, 50);
    Ok(vec![
        Row::new(named("p50"), p50, "ms", None),
        Row::new(named("p99"), percentile(&samples, 99), "ms", Some(WAKE)),
        Row::new(named("p50 against a round trip"), p50 / floor, "x", None),
    ])
}

/// As many jobs as it takes, from the queue to their end: queued, delivered, acknowledged, locked, with a log, ended.
async fn jobs(
    args: &Args,
    client: &Client,
    pool: &str,
    told: &mut UnboundedReceiver<Result<Times>>,
) -> Result<Vec<Row>> {
    progress(&format!("running {} jobs", args.jobs));
    let begun = Instant::now();
    let queueing = queue_many(client, pool, args.jobs);
    let ending = async {
        let mut ended: HashMap<RequestId, Times> = HashMap::new();
        while ended.len() < args.jobs {
            let times = next(told).await?;
            let again = ended.insert(times.request, times);
            ensure!(again.is_none(), "a job was delivered twice");
        }
        Ok(ended)
    };
    let ((), ended) = tokio::try_join!(queueing, ending)?;
    let rate = |last: Option<Instant>| {
        let last = last.unwrap_or(begun).saturating_duration_since(begun);
        to_f64(args.jobs) / last.as_secs_f64()
    };
    let delivered = ended.values().map(|times| times.delivered).max();
    let finished = ended.values().map(|times| times.finished).max();
    Ok(vec![
        Row::new(
            "jobs that end meanwhile: queued and delivered",
            rate(delivered),
            "1/s",
            None,
        )
        .better(Better::Higher),
        Row::new(
            "jobs queued, delivered and finished",
            rate(finished),
            "1/s",
            None,
        )
        .better(Better::Higher),
    ])
}

fn in_a_burst(args: &Args) -> usize {
    args.jobs.min(args.listeners)
}

/// As many jobs at once as there are agents for: queued, delivered, acknowledged and locked, none ended meanwhile.
async fn burst(
    args: &Args,
    client: &Client,
    pool: &str,
    deliveries: &mut UnboundedReceiver<Instant>,
) -> Result<Row> {
    let count = in_a_burst(args);
    progress(&format!("delivering {count} jobs at once"));
    let begun = Instant::now();
    let delivering = async {
        let mut last = begun;
        for _ in 0..count {
            let next = tokio::time::timeout(LIMIT, deliveries.recv()).await;
            let next = next.context("timed out waiting for the delivery of a job")?;
            last = last.max(next.context("no agent is left")?);
        }
        Ok(last)
    };
    let ((), last) = tokio::try_join!(queue_many(client, pool, count), delivering)?;
    let rate = to_f64(count) / last.duration_since(begun).as_secs_f64();
    let name = format!("burst of {count} jobs: queued and delivered");
    Ok(Row::new(name, rate, "1/s", Some(JOBS)).better(Better::Higher))
}

async fn next(told: &mut UnboundedReceiver<Result<Times>>) -> Result<Times> {
    let next = tokio::time::timeout(LIMIT, told.recv()).await;
    next.context("timed out waiting for the end of a job")?
        .context("no agent is left")?
}

async fn queue_many(client: &Client, pool: &str, count: usize) -> Result<()> {
    stream::iter(0..count)
        .map(|_| client.queue(pool))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

async fn open_many(
    client: &Client,
    pool: PoolId,
    key: &AgentKey,
    count: usize,
) -> Result<Vec<Agent>> {
    progress(&format!("opening {count} sessions"));
    stream::iter(0..count)
        .map(|_| agent::open(client, pool, key))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn unique(what: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("bench-{what}-{random}")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[allow(clippy::cast_precision_loss)] // Counts here are far below what a double holds.
fn to_f64(count: usize) -> f64 {
    count as f64
}
