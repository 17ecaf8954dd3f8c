//! Stamps that have their rows before anything is measured: they came over HTTP, as all stamps with rows do, so that
//! nothing here depends on what the tables are like.

use anyhow::ensure;
use test_support::{TestDatabase, TestTopic};

use crate::bench::Bench;
use crate::bulk::is_available;
use crate::load::send_all;
use crate::requests::{Bulk, Form, Numbers, STAMPS_OF_BULK};

/// Clients that send many stamps a request.
const BULK_CLIENTS: usize = 4;
/// Clients that send one stamp a request: so many share a transaction.
const CLIENTS: usize = 256;

/// Stores the stamp of every `step`th number below `end`. Their events go to a topic that nobody reads.
///
/// # Errors
/// If a stamp is not stored.
pub async fn store(
    bench: &Bench,
    database: &TestDatabase,
    seed: u64,
    step: u64,
    end: u64,
    created: &str,
) -> anyhow::Result<()> {
    let topic = TestTopic::new(12).await;
    let api = bench.programs.api(database, topic.name()).await;
    let count = end.div_ceil(step);
    let numbers = |client, clients| Numbers::every(step, end, seed, client, clients);
    let divides = count.is_multiple_of(BULK_CLIENTS as u64 * STAMPS_OF_BULK);
    let counted = if divides && is_available(api.address).await? {
        let client = |client| Bulk::new(numbers(client, BULK_CLIENTS), Some(created));
        send_all(api.address, (0..BULK_CLIENTS).map(client).collect()).await?
    } else {
        let client = |client| Form::new(numbers(client, CLIENTS), Some(created));
        send_all(api.address, (0..CLIENTS).map(client).collect()).await?
    };
    ensure!(counted.stamps == count, "{} of {count} stamps were stored", counted.stamps);
    api.published().await;
    api.stop().await;
    database.run("VACUUM ANALYZE").await;
    Ok(())
}
