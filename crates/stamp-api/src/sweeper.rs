//! The last net: stamps that are pending long after they were due are published again.
//!
//! In a healthy run it finds nothing. What it finds was acknowledged by Kafka and lost all the same: by a broker
//! that lost its disk, by an offset that was moved past it, by a topic whose records expired. It must not multiply
//! the backlog of listeners that are off or behind, so it takes one page at a time, and each stamp twice at most.

use std::sync::Arc;
use std::time::Duration;

use platform::postgres::{Database, intake};
use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

use crate::relay::Publisher;

const PERIOD: Duration = Duration::from_secs(10);
/// Stamps that are taken together.
const PAGE: i64 = 1_000;

/// Sweeps until `stop`.
pub async fn run(publisher: Arc<Publisher>, database: Database, swept: IntCounter, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        if stop.run_until_cancelled(sweep(&publisher, &database, &swept)).await.is_none() {
            return;
        }
    }
}

async fn sweep(publisher: &Publisher, database: &Database, swept: &IntCounter) {
    let forgotten = match intake::sweep(database, PAGE).await {
        Ok(forgotten) if forgotten.is_empty() => return,
        Ok(forgotten) => forgotten,
        Err(error) => {
            tracing::warn!(error = error.to_string(), "the sweeper can't look after pending stamps");
            return;
        }
    };
    let stamps = forgotten.len();
    tracing::warn!(stamps, "stamps are pending long after they were due; published again");
    swept.inc_by(stamps as u64);
    if !publisher.publish_all(forgotten).await {
        tracing::warn!("Kafka refused some of them");
    }
}
