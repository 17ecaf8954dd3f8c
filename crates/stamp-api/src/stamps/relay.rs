//! From the outbox to Kafka: what goes on until everything that was stored is published.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::outbox::{OutboxEvent, Publication};
use domain::stamp::Stamp;
use platform::kafka::KafkaSettings;
use store::Database;
use store::clock::PostgresClock;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, PAGE, Wanted};
use super::owners;
use super::publisher::{Packing, Publisher};

/// From so many events at once on, the next ones are gathered: the client library sends a partition's events in a request
/// of its own, and a request costs the broker and this process more than the events in it.
const MANY: usize = 16;
/// For how long events are gathered where many come.
const GATHERED: Duration = Duration::from_millis(5);

/// The work that goes on until everything that was stored is published.
pub struct Relay {
    /// A publisher that packs events together, and one that sends each alone.
    publishers: [Arc<Publisher>; 2],
    parts: JoinSet<()>,
    closed: CancellationToken,
}

impl Relay {
    /// Starts two publishers and what keeps the owners.
    ///
    /// # Errors
    /// If a client can't be made.
    pub fn start(
        kafka: &KafkaSettings,
        topic: &str,
        outbox: &Arc<Outbox>,
        database: &Database,
        clock: &Arc<PostgresClock>,
        wanted: Wanted,
    ) -> anyhow::Result<Self> {
        let publisher = |packing| {
            let (outbox, clock) = (Arc::clone(outbox), Arc::clone(clock));
            let publisher = Publisher::new(kafka.clone(), topic.to_owned(), packing, outbox, clock);
            publisher.map(Arc::new).context("the Kafka producer can't be made")
        };
        let publishers = [publisher(Packing::Together)?, publisher(Packing::Alone)?];
        let closed = CancellationToken::new();
        let mut parts = JoinSet::new();
        for (publisher, events) in publishers.iter().zip([wanted.together, wanted.alone]) {
            parts.spawn(publish(Arc::clone(publisher), Arc::clone(outbox), events, closed.clone()));
        }
        parts.spawn(owners::keep(Arc::clone(outbox), database.clone(), wanted.database, closed.clone()));
        Ok(Self { publishers, parts, closed })
    }

    /// Waits for a part that ends by itself.
    ///
    /// # Errors
    /// If the part has panicked.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        self.parts.join_next().await.unwrap_or(Ok(()))
    }

    /// Publishes what was handed out, as far as that takes no longer than `limit`, and twice that with what is on
    /// its way.
    ///
    /// # Errors
    /// If a part has panicked.
    pub async fn stop(self, limit: Duration) -> Result<(), JoinError> {
        self.closed.cancel();
        if tokio::time::timeout(limit, self.parts.join_all()).await.is_err() {
            tracing::warn!("not everything was handed to Kafka; the outbox keeps the rest");
        }
        let flushed =
            self.publishers.map(|publisher| tokio::task::spawn_blocking(move || publisher.flush(limit)));
        for flushed in flushed {
            flushed.await?;
        }
        Ok(())
    }
}

/// Publishes what the outbox hands out, until `stop` and until nothing handed out is left.
async fn publish(
    publisher: Arc<Publisher>,
    outbox: Arc<Outbox>,
    mut wanted: mpsc::UnboundedReceiver<Publication<Stamp>>,
    stop: CancellationToken,
) {
    let mut publications = Vec::new();
    loop {
        tokio::select! {
            biased;
            1.. = wanted.recv_many(&mut publications, PAGE) => {}
            () = stop.cancelled() => return,
        }
        let are_many = publications.len() >= MANY;
        for publication in publications.drain(..) {
            // An owner that others have taken over is theirs to publish.
            if outbox.is_outstanding(&publication) {
                publisher.publish(publication).await;
            } else {
                outbox.tell(OutboxEvent::Lost(publication));
            }
        }
        if are_many {
            // A stop does not wait for more.
            let _stopped = tokio::time::timeout(GATHERED, stop.cancelled()).await;
        }
    }
}
