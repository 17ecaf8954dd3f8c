//! Intake: one stamp a request, with few and many connections.

use std::time::Duration;

use test_support::TestTopic;

use crate::bench::Bench;
use crate::figures::Sample;
use crate::limits::{COMMIT, commits};
use crate::load::{Counted, Span, send_for};
use crate::requests::{Form, Numbers};
use crate::services::Service;
use crate::table::counted;
use crate::usage::Meter;

const PART: &str = "intake";
/// Connections that are kept, each with one request under way.
const CONNECTIONS: [usize; 5] = [1, 8, 64, 256, 512];
/// The steps that a round shows.
pub const STEPS: u32 = CONNECTIONS.len() as u32;
/// What is not counted of a step.
pub const WARM_UP: Duration = Duration::from_secs(1);
/// The limit needs less: it has nothing that becomes warm, and answers many more requests.
const SPAN_OF_LIMIT: Span = Span { warm_up: Duration::from_millis(300), time: Duration::from_millis(1_500) };
const LIMIT: &str = "does nothing";

/// Measures the intake once.
///
/// # Errors
/// If what measures fails.
pub async fn round(bench: &mut Bench) -> anyhow::Result<()> {
    let (database, topic) = (bench.database().await, TestTopic::new(12).await);
    let api = bench.programs.api(&database, topic.name()).await;
    let nothing = bench.programs.nothing().await;
    let time = bench.options.step();
    let commits = commits(bench.another_seed(), time.min(Duration::from_secs(2))).await?;
    for connections in CONNECTIONS {
        let seed = bench.another_seed();
        let limit = send(&nothing, SPAN_OF_LIMIT, connections, seed, &Meter::new()).await?;
        let meter = bench.servers.meter().and("api", api.id());
        let sent = send(&api, Span { warm_up: WARM_UP, time }, connections, seed, &meter).await?;
        api.published().await;
        let mut sample = sample(&sent).limit(LIMIT, limit.rate());
        if connections == 1 {
            sample = sample.limit(COMMIT, 1e3 / commits.mean());
        }
        bench.measured(PART, &counted(connections as u64, "connection"), "stamps/s", sample);
    }
    Ok(())
}

/// Lets stamps come in until the servers are warm: Kafka's code is compiled while it runs.
///
/// # Errors
/// If what measures fails.
pub async fn warm_up(bench: &mut Bench) -> anyhow::Result<()> {
    bench.prepares("warming the servers up");
    let (database, topic) = (bench.database().await, TestTopic::new(12).await);
    let api = bench.programs.api(&database, topic.name()).await;
    for connections in CONNECTIONS {
        let span = Span { warm_up: Duration::ZERO, time: Duration::from_secs(2) };
        send(&api, span, connections, bench.another_seed(), &Meter::new()).await?;
    }
    api.published().await;
    Ok(())
}

/// Sends stamps, one a request, for a while.
///
/// # Errors
/// If what measures fails.
pub async fn send(
    service: &Service,
    span: Span,
    connections: usize,
    seed: u64,
    meter: &Meter,
) -> anyhow::Result<Counted> {
    let client = |client| Form::new(Numbers::endless(seed, client, connections), None);
    send_for(service.address, span, (0..connections).map(client).collect(), meter).await
}

/// Returns a sample of what was counted.
pub fn sample(counted: &Counted) -> Sample {
    let mut sample = Sample::new(counted.rate())
        .also("p50 ms", counted.latency.at(0.5))
        .also("p99 ms", counted.latency.at(0.99))
        .usage(&counted.usage, counted.stamps as f64);
    for (name, count) in [("failures", counted.failures), ("503 Retry-After", counted.put_off)] {
        if count > 0 {
            sample = sample.also(name, count as f64);
        }
    }
    sample
}
