//! Bulk intake: a thousand stamps a request.

use std::net::SocketAddr;
use std::time::Duration;

use test_support::TestTopic;

use crate::bench::Bench;
use crate::http::{Connection, post};
use crate::intake::{WARM_UP, sample};
use crate::limits::{Bare, INSERT, ROWS};
use crate::load::{Span, send_for};
use crate::requests::{BULK, Bulk, Numbers};
use crate::servers::checkpoint;
use crate::services::Service;
use crate::table::counted;

const PART: &str = "bulk intake";
const UNIT: &str = "stamps/s";
/// Connections that are kept, each with one request under way: one, and as many as two cores can be busy with.
const CONNECTIONS: [usize; 2] = [1, 4];
/// Clients with the greatest requests that are allowed, far more than there is room for at once.
const CROWD: usize = 64;
/// The most stamps of a request.
const MOST_STAMPS: usize = 10_000;
/// A little less than the 8 MiB that are allowed.
const MOST_BYTES: usize = 8 * 1_024 * 1_024 - 4 * 1_024;
/// For how long the crowd sends: who finds no room waits for 2 s.
const TIME_OF_CROWD: Duration = Duration::from_secs(5);
const CROWDED: &str = "8 MiB a request, 64 connections";
/// The steps that a round shows.
pub const STEPS: u32 = CONNECTIONS.len() as u32 + 1;

/// Measures the bulk intake once.
///
/// # Errors
/// If what measures fails.
pub async fn round(bench: &mut Bench) -> anyhow::Result<()> {
    let (database, topic) = (bench.database().await, TestTopic::new(12).await);
    let api = bench.programs.api(&database, topic.name()).await;
    let what = |connections| format!("1,000 a request, {}", counted(connections as u64, "connection"));
    if !is_available(api.address).await? {
        for what in CONNECTIONS.into_iter().map(what).chain([CROWDED.to_owned()]) {
            bench.missing(PART, &what, UNIT, "not available");
        }
        return Ok(());
    }
    for connections in CONNECTIONS {
        let seed = bench.another_seed();
        let client = |client| Bulk::new(Numbers::endless(seed, client, connections), None);
        let clients = (0..connections).map(client).collect();
        let meter = bench.servers.meter().and("api", api.id());
        let span = Span { warm_up: WARM_UP, time: bench.options.step() };
        checkpoint(&database).await;
        let sent = send_for(api.address, span, clients, &meter).await?;
        let published = api.published().await;
        checkpoint(&database).await;
        let rows = sent.stamps.max(ROWS);
        let limit = rows as f64 / Bare::new().await.insert(seed, 0..rows).await?;
        let sample = sample(&sent).limit(INSERT, limit).also("published after s", published);
        bench.measured(PART, &what(connections), UNIT, sample);
    }
    crowd(bench, &api).await
}

/// Measures what becomes of more than there is room for.
async fn crowd(bench: &mut Bench, api: &Service) -> anyhow::Result<()> {
    let seed = bench.another_seed();
    let client = |client| Bulk::padded(Numbers::endless(seed, client, CROWD), MOST_STAMPS, MOST_BYTES);
    let clients = (0..CROWD).map(client).collect();
    let meter = bench.servers.meter().and("api", api.id());
    let span = Span { warm_up: Duration::ZERO, time: TIME_OF_CROWD };
    let sent = send_for(api.address, span, clients, &meter).await?;
    let taken = sent.stamps as f64 / MOST_STAMPS as f64;
    bench.measured(PART, CROWDED, UNIT, sample(&sent).also("taken", taken));
    Ok(())
}

/// Tells whether the API has the route.
///
/// # Errors
/// If it does not answer.
pub async fn is_available(address: SocketAddr) -> anyhow::Result<bool> {
    let request = post(BULK, "application/json", "[]");
    let mut connection = Connection::open(address).await?;
    let status = connection.exchange(&request).await?.status;
    Ok(!matches!(status, 404 | 405))
}
