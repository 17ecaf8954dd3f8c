//! Drain: events that wait in Kafka, into batches.

use std::time::Duration;

use anyhow::ensure;
use test_support::patience::polled;
use test_support::{Template, TestDatabase};
use uuid::Uuid;

use crate::bench::Bench;
use crate::events::{Events, READING};
use crate::figures::Sample;
use crate::limits::{Bare, INSERT};
use crate::rows;
use crate::servers::{checkpoint, now};
use crate::services::{Batches, PATIENCE, Service};
use crate::usage::Usage;

const PART: &str = "drain";
/// The unit of a drain.
pub const UNIT: &str = "stamps/s";
/// Bounds of batches, small ones, middling ones and great ones.
const SIZES: [Batches; 3] =
    [Batches { min: 2, max: 10 }, Batches { min: 100, max: 500 }, Batches { min: 1_000, max: 10_000 }];
/// The steps that a round shows.
pub const STEPS: u32 = 2 * SIZES.len() as u32;

/// What is drained in every round.
pub struct Stock {
    /// Events, of which the databases below know none or each second one.
    pub events: Events,
    /// A database that knows each second stamp.
    half: Template,
}

impl Stock {
    /// Publishes events and stores half of the stamps.
    ///
    /// # Errors
    /// If a stamp is not stored.
    pub async fn prepare(bench: &mut Bench) -> anyhow::Result<Self> {
        let events = publish(bench).await?;
        bench.prepares("storing half of the stamps");
        let database = bench.database().await;
        rows::store(bench, &database, events.seed, 2, events.count, &events.created).await?;
        Ok(Self { events, half: database.closed() })
    }
}

/// Publishes the events of a run.
///
/// # Errors
/// If PostgreSQL does not tell the time.
pub async fn publish(bench: &mut Bench) -> anyhow::Result<Events> {
    let (seed, count) = (bench.another_seed(), bench.options.events);
    bench.prepares(&format!("publishing {count} events"));
    Ok(Events::publish(12, seed, count, now().await?).await)
}

/// Measures the drain once.
///
/// # Errors
/// If what measures fails, or if a stamp is missing.
pub async fn round(bench: &mut Bench, stock: &Stock) -> anyhow::Result<()> {
    let reading = stock.events.read()?;
    for (template, which) in [(None, "without rows"), (Some(&stock.half), "half with rows")] {
        for size in SIZES {
            let (seed, count) = (bench.another_seed(), stock.events.count);
            // One half of the limit before and one after: what else the machine does meanwhile slows down both.
            let bare = Bare::new().await;
            let before = bare.insert(seed, 0..count / 2).await?;
            let database = template.unwrap_or(&bench.template).copy().await;
            let drained = drain(bench, &database, &stock.events, Listeners::one(size)).await?;
            drop(database);
            let after = bare.insert(seed, count / 2..count).await?;
            let sample = drained
                .sample()
                .limit(INSERT, count as f64 / (before + after))
                .limit(READING, reading)
                .also("insert before", (count / 2) as f64 / before)
                .also("insert after", (count - count / 2) as f64 / after);
            bench.measured(PART, &format!("{which}, {}/{}", size.min, size.max), UNIT, sample);
        }
    }
    Ok(())
}

/// What a drain came to.
pub struct Drained {
    /// Stamps a second, between the first batch and the last one, or the last one told.
    pub rate: f64,
    stamps: f64,
    batches: f64,
    usage: Usage,
}

impl Drained {
    /// Returns a sample without limits.
    pub fn sample(&self) -> Sample {
        Sample::new(self.rate)
            .also("stamps a batch", self.stamps / self.batches)
            .usage(&self.usage, self.stamps)
    }
}

/// Who drains.
#[derive(Debug, Clone, Copy)]
pub struct Listeners<'a> {
    /// How many there are.
    pub count: u32,
    /// The size of their batches.
    pub size: Batches,
    /// The topic that they tell of their batches, if any.
    pub told: Option<&'a str>,
}

impl Listeners<'_> {
    /// Returns a single one that tells nobody.
    pub fn one(size: Batches) -> Self {
        Self { count: 1, size, told: None }
    }
}

/// Drains all events into a database by some listeners of a new group. Where batches are told, the drain ends with the last
/// one that is.
///
/// # Errors
/// If a stamp is missing.
pub async fn drain(
    bench: &Bench,
    database: &TestDatabase,
    events: &Events,
    listeners: Listeners<'_>,
) -> anyhow::Result<Drained> {
    let Listeners { count, size, told } = listeners;
    checkpoint(database).await;
    let before = Seen::of(database).await;
    let group = Uuid::new_v4().to_string();
    let sink = told.map(|topic| [("BATCH_SINK", "kafka"), ("BATCH_TOPIC", topic)]);
    let sink = sink.as_ref().map_or(&[][..], |variables| &variables[..]);
    let (mut running, mut meter) = (Vec::new(), bench.servers.meter());
    for _ in 0..count {
        let listener = bench.programs.listener(database, events.topic.name(), &group, size, sink).await;
        meter = meter.and("listener", listener.id());
        running.push(listener);
    }
    let measuring = meter.begin();
    // Fewer than make a batch may be left over.
    let rest = u64::from(count * (size.min - 1));
    processed(&running, (events.count - rest) as f64).await;
    if told.is_some() {
        let untold = || database.number("SELECT count(*) FROM deliveries WHERE delivered_at IS NULL");
        polled(Duration::from_millis(200), PATIENCE, "all is told", untold, |untold| *untold == 0).await;
    }
    let usage = measuring.end();
    drop(running);
    let seen = Seen::of(database).await;
    let processed = seen.processed - before.processed;
    ensure!(
        (events.count - rest..=events.count).contains(&(processed as u64)),
        "{processed} of {} stamps were processed",
        events.count
    );
    let (rate, batches) = rate(database, before.batch).await;
    Ok(Drained { rate, stamps: processed as f64, batches, usage })
}

/// Waits until listeners have processed so many stamps. Their metrics are asked: a query would be one more thing that the
/// database does.
pub async fn processed(listeners: &[Service], count: f64) {
    let processed = || async {
        let mut sum = 0.0;
        for listener in listeners {
            sum += listener.processed().await;
        }
        sum
    };
    // Far less than the slowest machine does.
    let limit = PATIENCE + Duration::from_secs_f64(count / 1_000.0);
    polled(Duration::from_millis(200), limit, "all is drained", processed, |sum| *sum >= count).await;
}

/// What a database says of its batches.
struct Seen {
    processed: i64,
    /// The last batch.
    batch: i64,
}

impl Seen {
    async fn of(database: &TestDatabase) -> Self {
        let sql = "SELECT coalesce(sum(size), 0)::bigint, coalesce(max(id), 0) FROM batches";
        let row = &database.query(sql, &[]).await[0];
        Self { processed: row.get(0), batch: row.get(1) }
    }
}

/// Returns stamps a second between the first of the batches after one and the last of them or the last one told, and how
/// many batches these are.
async fn rate(database: &TestDatabase, after: i64) -> (f64, f64) {
    let sql = "WITH own AS (SELECT size, processed_at FROM batches WHERE id > $1),
                    ends AS (SELECT min(processed_at) AS first, greatest(max(processed_at),
                        (SELECT max(delivered_at) FROM deliveries WHERE batch_id > $1)) AS last FROM own)
               SELECT (sum(size) FILTER (WHERE processed_at > first))::float8,
                      extract(epoch FROM max(last) - min(first))::float8, count(*)::float8
               FROM own, ends";
    let row = &database.query(sql, &[&after]).await[0];
    (row.get::<_, f64>(0) / row.get::<_, f64>(1), row.get(2))
}
