//! Steady: from HTTP to processed, at a rate that leaves the machine air.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use test_support::patience::within;
use test_support::{TestDatabase, TestTopic};

use crate::bench::Bench;
use crate::figures::Sample;
use crate::ids::text;
use crate::intake;
use crate::limits::{COMMIT, commits};
use crate::load::Span;
use crate::pace::{Pace, Sent, ServerClock, send};
use crate::services::{Batches, PATIENCE, Service};
use crate::stats::Distribution;
use crate::usage::Meter;

const PART: &str = "steady";
/// Stamps a second that a small installation may see.
const LITTLE: f64 = 1_000.0;
/// What is sent before anything is counted: the tables and the client's connections have begun by then.
const WARM_UP: Duration = Duration::from_secs(2);
/// For how long each rate is counted: the slowest thousandth are eight stamps at the lower one.
const TIME: Duration = Duration::from_secs(8);
/// Each stamp that is there leaves.
const SINGLE: Batches = Batches { min: 1, max: 1_000 };
/// Connections that find out the maximum.
const MOST: usize = 64;
/// Ids that are asked for at once.
const PAGE: usize = 5_000;
/// What is told of each rate.
const SHARES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];
/// The steps that a round shows.
pub const STEPS: u32 = 2 * SHARES.len() as u32;

/// Both services on a database and a topic of their own.
pub struct Flow {
    /// Takes the stamps in.
    pub api: Service,
    /// Makes batches of them.
    pub listener: Service,
    /// Measures both services, their servers and the clients.
    pub meter: Meter,
    /// Where the stamps go. It stays for as long as the services: they would complain.
    pub database: TestDatabase,
    _topic: TestTopic,
}

impl Flow {
    /// Starts both services. The listener lets each stamp leave at once.
    pub async fn start(bench: &Bench) -> Self {
        let (database, topic) = (bench.database().await, TestTopic::new(12).await);
        let api = bench.programs.api(&database, topic.name()).await;
        let listener = bench.programs.listener(&database, topic.name(), topic.name(), SINGLE, &[]).await;
        listener.ready().await;
        let meter = bench.servers.meter().and("api", api.id()).and("listener", listener.id());
        Self { api, listener, meter, database, _topic: topic }
    }

    /// Returns how many stamps a second the API takes at most while the listener works, and waits until all are
    /// processed.
    ///
    /// # Errors
    /// If what measures fails.
    pub async fn maximum(&self, seed: u64) -> anyhow::Result<f64> {
        let span = Span { warm_up: Duration::from_secs(1), time: Duration::from_secs(2) };
        let counted = intake::send(&self.api, span, MOST, seed, &Meter::new()).await?;
        self.processed().await;
        Ok(counted.rate())
    }

    /// Waits until all that is stored is processed.
    pub async fn processed(&self) {
        let stored = self.database.number("SELECT count(*) FROM stamps").await as f64;
        let processed = || async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.listener.processed().await
        };
        within(PATIENCE, "all stamps are processed", processed, |processed| *processed >= stored).await;
    }

    /// Sends at a steady rate. Returns what was sent, and how many milliseconds it took from HTTP to processed.
    ///
    /// # Errors
    /// If what measures fails, or if a stamp that was taken is not processed.
    pub async fn run(&self, pace: Pace, seed: u64) -> anyhow::Result<(Sent, Distribution)> {
        let clock = ServerClock::of(&self.database).await;
        let sent = send(self.api.address, pace, seed, &self.meter).await?;
        self.processed().await;
        let mut asked: HashMap<String, Instant> =
            sent.stamps.iter().map(|(number, asked, _)| (text(seed, *number), *asked)).collect();
        let ids: Vec<String> = asked.keys().cloned().collect();
        let sql = "SELECT object_cid, extract(epoch FROM processed_at)::float8 FROM stamp_states
                   WHERE object_cid = ANY($1) AND state = 'processed'";
        let mut took = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            for row in self.database.query(sql, &[&page]).await {
                let (id, processed): (String, f64) = (row.get(0), row.get(1));
                took.extend(asked.remove(&id).map(|asked| (processed - clock.seconds(asked)) * 1e3));
            }
        }
        ensure!(asked.is_empty(), "{} stamps are not processed", asked.len());
        Ok((sent, Distribution::of(took)))
    }
}

/// Measures once.
///
/// # Errors
/// If what measures fails.
pub async fn round(bench: &mut Bench) -> anyhow::Result<()> {
    let limit = commits(bench.another_seed(), Duration::from_secs(2)).await?;
    let flow = Flow::start(bench).await;
    let maximum = flow.maximum(bench.another_seed()).await?;
    for (rate, name) in [(LITTLE, "1,000/s"), (maximum / 2.0, "half of the maximum")] {
        let pace = Pace { rate, warm_up: WARM_UP, time: TIME, every: 1 };
        let (sent, took) = flow.run(pace, bench.another_seed()).await?;
        let answers = Distribution::of(sent.stamps.iter().map(|(_, _, answer)| *answer).collect());
        for (share, percentile) in SHARES {
            let mut sample = Sample::new(took.at(share)).limit(COMMIT, limit.at(share));
            sample = sample.also("answer ms", answers.at(share));
            if share < 0.9 {
                let rate = sent.stored as f64 / TIME.as_secs_f64();
                sample = sample.also("stamps/s", rate).usage(&sent.usage, sent.stored as f64);
            }
            if sent.failures > 0 {
                sample = sample.also("failures", sent.failures as f64);
            }
            bench.measured(PART, &format!("{name}, {percentile}"), "ms", sample);
        }
    }
    Ok(())
}
