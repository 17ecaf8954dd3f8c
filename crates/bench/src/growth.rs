//! Growth: what more stamps, listeners, partitions, pending stamps and time change. Here the limit is the same thing
//! before anything has grown.

use std::time::Duration;

use test_support::{TestDatabase, TestTopic};

use crate::bench::Bench;
use crate::drain::{self, Listeners, drain};
use crate::events::Events;
use crate::figures::Sample;
use crate::intake;
use crate::load::Span;
use crate::pace::Pace;
use crate::rows;
use crate::servers::{checkpoint, now};
use crate::services::Batches;
use crate::stats::Distribution;
use crate::steady::Flow;
use crate::table::counted;

const PART: &str = "growth";
/// The name of the limit: the same with nothing grown.
const BEFORE: &str = "before";
const UNIT: &str = "stamps/s";
const MILLION: u64 = 1_000_000;
/// Batches of what is measured.
const MIDDLING: Batches = Batches { min: 100, max: 500 };
/// Batches of what only fills the tables.
const GREAT: Batches = Batches { min: 1_000, max: 10_000 };
/// Connections of the intake.
const CONNECTIONS: usize = 64;
const LISTENERS: [u32; 3] = [1, 2, 4];
const PARTITIONS: [i32; 3] = [1, 12, 96];
/// Into how many parts the time of the flow is divided.
const PARTS_OF_FLOW: u64 = 6;
/// Of how many requests of the flow one is looked at.
const LOOKED_AT: usize = 50;
/// The steps that are shown.
pub const STEPS: u32 =
    2 * 3 + LISTENERS.len() as u32 + PARTITIONS.len() as u32 + 2 * 2 + PARTS_OF_FLOW as u32;

/// Measures once.
///
/// # Errors
/// If what measures fails, or if a stamp is missing.
pub async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    stamps(bench).await?;
    {
        let events = drain::publish(bench).await?;
        listeners(bench, &events).await?;
        pending(bench, &events).await?;
    }
    partitions(bench).await?;
    flow(bench).await
}

/// Measures with ever more stamps in the tables, all of them processed but what the intake brings.
async fn stamps(bench: &mut Bench) -> anyhow::Result<()> {
    let database = bench.database().await;
    let (mut drains, mut intakes) = (Grown::default(), Grown::default());
    let mut stored = 0;
    for millions in [0, 1, bench.options.millions] {
        let missing = (millions * MILLION).saturating_sub(stored);
        if missing > 0 {
            bench.prepares(&format!("bringing the tables to {millions} million stamps"));
            stored += missing;
            let (seed, created) = (bench.another_seed(), now().await?);
            let events = Events::publish(12, seed, missing, created).await;
            drain(bench, &database, &events, Listeners::one(GREAT)).await?;
        }
        database.run("VACUUM ANALYZE").await;
        let what = counted(millions * MILLION, "stamp") + " in the tables";
        intake(bench, &database, &what, &mut intakes).await?;
        let events = drain::publish(bench).await?;
        stored += events.count;
        let drained = drain(bench, &database, &events, Listeners::one(MIDDLING)).await?;
        drains.add(bench, &format!("drain, {what}"), drained.sample());
    }
    Ok(())
}

async fn listeners(bench: &mut Bench, events: &Events) -> anyhow::Result<()> {
    let mut grown = Grown::default();
    for listeners in LISTENERS {
        let drained = drain(
            bench,
            &bench.database().await,
            events,
            Listeners { count: listeners, ..Listeners::one(MIDDLING) },
        )
        .await?;
        grown.add(bench, &format!("drain, {}", counted(u64::from(listeners), "listener")), drained.sample());
    }
    Ok(())
}

async fn partitions(bench: &mut Bench) -> anyhow::Result<()> {
    let mut grown = Grown::default();
    for partitions in PARTITIONS {
        let (seed, created) = (bench.another_seed(), now().await?);
        let events = Events::publish(partitions, seed, bench.options.events, created).await;
        let drained = drain(bench, &bench.database().await, &events, Listeners::one(MIDDLING)).await?;
        grown.add(bench, &format!("drain, {}", counted(partitions as u64, "partition")), drained.sample());
    }
    Ok(())
}

/// Measures without and with as many pending stamps as there are events.
async fn pending(bench: &mut Bench, events: &Events) -> anyhow::Result<()> {
    let (mut drains, mut intakes) = (Grown::default(), Grown::default());
    for count in [0, events.count] {
        let database = bench.database().await;
        if count > 0 {
            bench.prepares(&format!("storing {count} stamps"));
            rows::store(bench, &database, bench.seed.wrapping_neg(), 1, count, &events.created).await?;
        }
        let what = counted(count, "pending stamp");
        intake(bench, &database, &what, &mut intakes).await?;
        let drained = drain(bench, &database, events, Listeners::one(MIDDLING)).await?;
        drains.add(bench, &format!("drain, {what}"), drained.sample());
    }
    Ok(())
}

async fn intake(
    bench: &mut Bench,
    database: &TestDatabase,
    what: &str,
    grown: &mut Grown,
) -> anyhow::Result<()> {
    let topic = TestTopic::new(12).await;
    let api = bench.programs.api(database, topic.name()).await;
    checkpoint(database).await;
    let span = Span { warm_up: intake::WARM_UP, time: 2 * bench.options.step() };
    let meter = bench.servers.meter().and("api", api.id());
    let sent = intake::send(&api, span, CONNECTIONS, bench.another_seed(), &meter).await?;
    api.published().await;
    api.stop().await;
    grown.add(bench, &format!("intake, {what}"), intake::sample(&sent));
    Ok(())
}

/// Lets stamps flow at half of the maximum for as long as was asked for, and looks at what becomes of time, memory and
/// tables meanwhile.
async fn flow(bench: &mut Bench) -> anyhow::Result<()> {
    let flow = Flow::start(bench).await;
    let rate = flow.maximum(bench.another_seed()).await? / 2.0;
    let minutes = bench.options.minutes;
    let time = Duration::from_secs(60 * minutes / PARTS_OF_FLOW);
    let mut grown = Grown::default();
    for part in 1..=PARTS_OF_FLOW {
        let pace = Pace { rate, warm_up: Duration::ZERO, time, every: LOOKED_AT };
        let (sent, took) = flow.run(pace, bench.another_seed()).await?;
        let answers = Distribution::of(sent.stamps.iter().map(|(_, _, answer)| *answer).collect());
        let mut sample = Sample::new(took.at(0.99))
            .also("p50 ms", took.at(0.5))
            .also("answer p99 ms", answers.at(0.99))
            .also("stamps/s", sent.stored as f64 / time.as_secs_f64())
            .also("failures", sent.failures as f64);
        for (name, value) in tables(&flow.database).await {
            sample = sample.also(name, value);
        }
        let sample = sample.usage(&sent.usage, sent.stored as f64);
        let what = format!("half of the maximum, p99, {part}/{PARTS_OF_FLOW} of {minutes} minutes");
        grown.add_in(bench, &what, "ms", sample);
    }
    Ok(())
}

/// Returns what the tables take and what is left over in them.
async fn tables(database: &TestDatabase) -> [(&'static str, f64); 4] {
    let sql = "SELECT pg_database_size(current_database())::float8 / 1048576,
                      pg_database_size(current_database())::float8 / greatest(1, (SELECT count(*) FROM stamps)),
                      sum(n_dead_tup)::float8, sum(autovacuum_count)::float8
               FROM pg_stat_user_tables";
    let row = &database.query(sql, &[]).await[0];
    let names = ["tables MiB", "bytes a stamp", "dead rows", "vacuums"];
    std::array::from_fn(|index| (names[index], row.get(index)))
}

/// Samples that are compared with the first of them.
#[derive(Debug, Default)]
struct Grown {
    before: Option<f64>,
}

impl Grown {
    fn add(&mut self, bench: &mut Bench, what: &str, sample: Sample) {
        self.add_in(bench, what, UNIT, sample);
    }

    fn add_in(&mut self, bench: &mut Bench, what: &str, unit: &'static str, sample: Sample) {
        let before = *self.before.get_or_insert(sample.value());
        bench.measured(PART, what, unit, sample.limit(BEFORE, before));
    }
}
