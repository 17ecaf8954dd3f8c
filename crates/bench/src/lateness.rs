//! Lateness: stamps that fall due one after the other, on an idle machine and beside a drain.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat};
use test_support::patience::within;
use test_support::{TestDatabase, TestTopic};
use uuid::Uuid;

use crate::bench::Bench;
use crate::drain::processed;
use crate::events::Events;
use crate::figures::Sample;
use crate::limits::{COMMIT, commits};
use crate::load::send_all;
use crate::requests::Prepared;
use crate::services::{Batches, PATIENCE, Programs};
use crate::stats::Distribution;
use crate::usage::Usage;

const PART: &str = "lateness";
/// How many stamps fall due.
const STAMPS: u64 = 2_000;
/// Over how many seconds the stamps fall due, each at a random instant.
const OVER: f64 = 60.0;
/// How many seconds before the first one they are sent.
const AHEAD: f64 = 2.0;
/// The stamps' tolerance in minutes; a creation date so far back makes up for it.
const MINUTES: i64 = 10;
/// Clients that send.
const CLIENTS: usize = 8;
/// No batch fills up before its stamps are due.
const ALONE: Batches = Batches { min: 100_000, max: 100_000 };
/// Batches of the drain beside.
const BESIDE: Batches = Batches { min: 100, max: 500 };
/// More events than these a second are not drained on this kind of machine: so many databases are made ready.
const FASTEST: f64 = 150_000.0;
/// Between two looks of who waits for batches to become visible.
const LOOK: Duration = Duration::from_millis(1);
/// So many of the last batches are looked at again: they become visible in any order.
const AGAIN: i64 = 100;
/// What is told of each run.
const SHARES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];
/// The steps that a round shows.
pub const STEPS: u32 = 2 * 2 * SHARES.len() as u32;

/// Measures once.
///
/// # Errors
/// If what measures fails.
pub async fn round(bench: &mut Bench, events: &Events) -> anyhow::Result<()> {
    let limit = commits(bench.another_seed(), Duration::from_secs(2)).await?;
    let seed = bench.another_seed();
    let idle = measure(bench, seed, &AtomicU64::new(1)).await?;
    add(bench, "idle", &idle, &limit, None);
    let (seed, drained) = (bench.another_seed(), AtomicU64::new(0));
    let beside = Beside::prepare(bench, events).await;
    let began = Instant::now();
    let busy = tokio::select! {
        busy = measure(bench, seed, &drained) => busy?,
        () = beside.drain(&drained) => anyhow::bail!("all was drained before the end"),
    };
    let rate = drained.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    add(bench, "beside a drain", &busy, &limit, Some(rate));
    Ok(())
}

fn add(bench: &mut Bench, which: &str, seen: &Seen, limit: &Distribution, drained: Option<f64>) {
    let mut usage = Some(&seen.usage);
    for (what, late) in [("processed", &seen.processed), ("visible to others", &seen.visible)] {
        for (share, percentile) in SHARES {
            let mut sample =
                Sample::new(late.at(share)).limit(COMMIT, limit.at(share)).also("max ms", late.max());
            // What is the same in all rows stands in the first.
            if let Some(usage) = usage.take() {
                sample = sample.peaks(usage);
                if let Some(rate) = drained {
                    sample = sample.also("drained/s", rate);
                }
            }
            bench.measured(PART, &format!("{which}, {what}, {percentile}"), "ms", sample);
        }
    }
}

/// How many milliseconds after their time stamps had left.
struct Seen {
    /// By `processed_at`.
    processed: Distribution,
    /// By when another connection saw the batch.
    visible: Distribution,
    usage: Usage,
}

/// Lets stamps fall due as soon as something is being drained.
async fn measure(bench: &Bench, seed: u64, drained: &AtomicU64) -> anyhow::Result<Seen> {
    let (database, topic) = (bench.database().await, TestTopic::new(12).await);
    let api = bench.programs.api(&database, topic.name()).await;
    let listener = bench.programs.listener(&database, topic.name(), topic.name(), ALONE, &[]).await;
    listener.ready().await;
    let drains = || async { drained.load(Ordering::Relaxed) };
    within(PATIENCE, "something is being drained", drains, |drained| *drained > 0).await;
    let meter = bench.servers.meter().and("api", api.id()).and("listener", listener.id());
    let measuring = meter.begin();
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let first: f64 = database.query(sql, &[]).await[0].get::<_, f64>(0) + AHEAD;
    let sent = send_all(api.address, clients(seed, first)).await?;
    ensure!(sent.stamps == STAMPS, "{} of {STAMPS} stamps were stored", sent.stamps);
    let seen = watch(&database).await?;
    let usage = measuring.end();
    let (mut processed, mut visible) = (Vec::new(), Vec::new());
    let sql =
        "SELECT batch_id, extract(epoch FROM process_after)::float8, extract(epoch FROM processed_at)::float8
               FROM stamp_states WHERE state = 'processed'";
    for row in database.query(sql, &[]).await {
        let (batch, due, left): (i64, f64, f64) = (row.get(0), row.get(1), row.get(2));
        processed.push((left - due) * 1e3);
        visible.extend(seen.get(&batch).map(|seen| (seen - due) * 1e3));
    }
    ensure!(visible.len() == STAMPS as usize, "{} of {STAMPS} stamps were seen to leave", visible.len());
    Ok(Seen { processed: Distribution::of(processed), visible: Distribution::of(visible), usage })
}

/// Returns clients with stamps that fall due at random instants from one on.
fn clients(seed: u64, first: f64) -> Vec<Prepared> {
    let client = |client: usize| {
        let numbers = (client as u64..STAMPS).step_by(CLIENTS);
        let stamps: Vec<(u64, String)> = numbers
            .map(|number| {
                let created = first + rand::random_range(0.0..OVER) - (MINUTES * 60) as f64;
                let date = DateTime::from_timestamp_micros((created * 1e6) as i64).unwrap_or_default();
                (number, date.to_rfc3339_opts(SecondsFormat::Micros, true))
            })
            .collect();
        Prepared::new(seed, &stamps, MINUTES)
    };
    (0..CLIENTS).map(client).collect()
}

/// Looks for batches over another connection until all stamps have left. Returns when each was seen, in seconds since
/// 1970.
async fn watch(database: &TestDatabase) -> anyhow::Result<HashMap<i64, f64>> {
    let client = database.connect().await;
    let sql =
        "SELECT id, size::bigint, extract(epoch FROM clock_timestamp())::float8 FROM batches WHERE id > $1";
    let look = client.prepare(sql).await?;
    let (mut seen, mut last, mut left) = (HashMap::new(), 0_i64, 0_i64);
    let limit = Instant::now() + Duration::from_secs_f64(AHEAD + OVER) + PATIENCE / 10;
    while left < STAMPS as i64 {
        ensure!(Instant::now() < limit, "{left} of {STAMPS} stamps have left");
        for row in client.query(&look, &[&(last - AGAIN)]).await? {
            let (batch, size, now): (i64, i64, f64) = (row.get(0), row.get(1), row.get(2));
            // It is seen again, and what counts is the first time.
            seen.entry(batch).or_insert_with(|| {
                left += size;
                now
            });
            last = last.max(batch);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(seen)
}

/// A second listener on a topic of its own, with databases of its own on the same servers.
struct Beside<'a> {
    programs: Programs,
    events: &'a Events,
    databases: Vec<TestDatabase>,
}

impl<'a> Beside<'a> {
    /// Makes the databases ready: the events are drained anew, again and again, each time into another one. All stay
    /// until the end, for dropping one would make PostgreSQL write a checkpoint.
    async fn prepare(bench: &Bench, events: &'a Events) -> Self {
        let count = (FASTEST * (AHEAD + OVER) / events.count as f64).ceil() as usize + 1;
        let mut databases = Vec::with_capacity(count);
        for _ in 0..count {
            databases.push(bench.database().await);
        }
        Self { programs: bench.programs.clone(), events, databases }
    }

    /// Drains into one database after the other and counts.
    async fn drain(&self, drained: &AtomicU64) {
        let rest = u64::from(BESIDE.min - 1);
        for database in &self.databases {
            let group = Uuid::new_v4().to_string();
            let listener =
                self.programs.listener(database, self.events.topic.name(), &group, BESIDE, &[]).await;
            let before = drained.load(Ordering::Relaxed);
            let listeners = [listener];
            let all = (self.events.count - rest) as f64;
            let counts = async {
                loop {
                    drained.store(before + listeners[0].processed().await as u64, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            tokio::select! {
                () = processed(&listeners, all) => {}
                () = counts => {}
            }
            drained.store(before + self.events.count, Ordering::Relaxed);
        }
    }
}
