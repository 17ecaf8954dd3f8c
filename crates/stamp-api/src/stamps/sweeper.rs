//! The last net: stamps that are pending long after they were due are published again.
//!
//! In a healthy run it finds nothing. What it finds was acknowledged by Kafka and lost all the same: by a broker
//! that lost its disk, by an offset that was moved past it, by a topic whose records expired. It must not multiply
//! the backlog of listeners that are off or behind, so it takes one page at a time, and each stamp twice at most.

use std::sync::Arc;
use std::time::Duration;

use domain::stamp::Stamp;
use prometheus::IntCounter;
use store::stamps::sweep;
use store::{Database, DatabaseError};
use tokio_util::sync::CancellationToken;

use crate::stamps::publisher::Publisher;

const PERIOD: Duration = Duration::from_secs(10);
/// Stamps that are taken from the database together.
const PAGE: i64 = 1_000;

/// Sweeps until `stop`.
pub async fn run(publisher: Arc<Publisher>, database: Database, swept: IntCounter, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        let round = async {
            publish_distant(&publisher, &database).await;
            sweep(&publisher, &database, &swept).await;
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// Publishes the stamps that have waited in the table alone and are due now, page by page.
async fn publish_distant(publisher: &Publisher, database: &Database) {
    loop {
        let Some(due) = taken(sweep::take_distant(database, PAGE).await) else { return };
        let stamps = due.len();
        tracing::info!(stamps, "stamps that waited in the table are due; their events are published");
        if !publish(publisher, due).await || (stamps as i64) < PAGE {
            return;
        }
    }
}

/// Publishes a page of the stamps that are pending long after they were due.
async fn sweep(publisher: &Publisher, database: &Database, swept: &IntCounter) {
    let Some(forgotten) = taken(sweep::sweep(database, PAGE).await) else { return };
    let stamps = forgotten.len();
    tracing::warn!(stamps, "stamps are pending long after they were due; published again");
    swept.inc_by(stamps as u64);
    publish(publisher, forgotten).await;
}

/// Returns what was taken, if anything was.
fn taken(result: Result<Vec<Stamp>, DatabaseError>) -> Option<Vec<Stamp>> {
    let taken = result.inspect_err(|error| {
        tracing::warn!(error = error.to_string(), "the sweeper can't look after pending stamps");
    });
    taken.ok().filter(|taken| !taken.is_empty())
}

async fn publish(publisher: &Publisher, stamps: Vec<Stamp>) -> bool {
    let published = publisher.publish_all(stamps).await;
    if !published {
        tracing::warn!("Kafka refused some of them");
    }
    published
}
