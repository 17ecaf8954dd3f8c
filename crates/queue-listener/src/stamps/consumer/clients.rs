//! The client of the stamps' group: one at a time, and a fresh one where it hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use domain::batch::assignment::Commit;
use platform::kafka::KafkaSettings;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;

use super::callbacks::{ConsumerState, StampCallbacks};
use super::watchdog::Watchdog;
use crate::group::member::{CLOSE_PATIENCE, commit, member};

/// Commits offsets for a running consumer.
pub(crate) struct OffsetCommitter(pub(super) CurrentClient);

/// The client that is in use; a fresh one may take its place.
#[derive(Clone, Default)]
pub(super) struct CurrentClient(Arc<Mutex<Weak<BaseConsumer<StampCallbacks>>>>);

impl CurrentClient {
    pub(super) fn get(&self) -> Option<Arc<BaseConsumer<StampCallbacks>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(super) fn set(&self, client: &Arc<BaseConsumer<StampCallbacks>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(client);
    }
}

impl OffsetCommitter {
    /// Commits what is still ours without waiting; what fails shows in [`Control::Known`](crate::stamps::control::Control::Known).
    pub(crate) fn commit(&self, commits: &[Commit]) {
        if let Some(client) = self.0.get() {
            let shared = &client.context().shared;
            // The lock lasts until the commit is sent: a rebalance that takes a partition away comes before or after.
            let reader = shared.reader();
            commit(&client, &shared.offsets(&reader.still_ours(commits)), CommitMode::Async);
        }
    }
}

/// Makes the clients, one after the other.
pub(super) struct Clients {
    pub(super) kafka: KafkaSettings,
    pub(super) group_id: String,
    pub(super) shared: Arc<ConsumerState>,
    pub(super) silence: Duration,
}

/// A client with a watchdog that looks after it.
pub(super) struct Watched {
    pub(super) client: Arc<BaseConsumer<StampCallbacks>>,
    /// Whether the watchdog has found that nothing more is to be expected of this client.
    pub(super) stuck: Arc<AtomicBool>,
}

impl Clients {
    /// Subscribes with a new client.
    pub(super) fn connect(&self) -> anyhow::Result<Watched> {
        let client: BaseConsumer<StampCallbacks> = config(&self.kafka, &self.group_id)
            .create_with_context(StampCallbacks::new(Arc::clone(&self.shared)))
            .context("the Kafka consumer can't be made")?;
        client.subscribe(&[&self.shared.topic])?;
        let (client, stuck) = (Arc::new(client), Arc::new(AtomicBool::new(false)));
        let watchdog = Watchdog { kafka: self.kafka.client_config(), silence: self.silence };
        tokio::spawn(watchdog.watch(Arc::downgrade(&client), Arc::clone(&stuck)));
        Ok(Watched { client, stuck })
    }
}

/// Makes a consumer and drops it.
///
/// # Errors
/// If the client can't be made.
pub(crate) fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
    config(kafka, "trial").create::<BaseConsumer>().map(drop)
}

fn config(kafka: &KafkaSettings, group_id: &str) -> ClientConfig {
    const DEFAULTS: [(&str, &str); 7] = [
        // What a killed listener had waits for so long. It is the least that brokers allow unless they are told to.
        ("session.timeout.ms", "6000"),
        // Members learn of a rebalance by their heartbeats, and each of its two rounds waits for all of them.
        ("heartbeat.interval.ms", "500"),
        // The default of a second halves the rate once the local queue has been full.
        ("fetch.queue.backoff.ms", "10"),
        // Bounds how long a backlog's last records wait for the word that there are no more.
        ("fetch.wait.max.ms", "100"),
        // A pause throws away what is fetched ahead: a few chunks keep the reading going, and more would be fetched
        // again and again. The first is for each partition, the second for the client, the third for one answer's
        // share of a partition.
        ("queued.min.messages", "4000"),
        ("queued.max.messages.kbytes", "4096"),
        ("fetch.message.max.bytes", "262144"),
    ];
    let mut config = member(kafka, group_id, &DEFAULTS);
    config.set("enable.partition.eof", "true").set("statistics.interval.ms", "2000");
    config
}

impl Watched {
    /// Leaves the group, which calls back to give the partitions back. A client that hangs is left to itself after
    /// a few seconds.
    pub(super) fn close(self, shared: &ConsumerState) {
        let (sender, closed) = mpsc::channel();
        let client = Arc::clone(&self.client);
        drop(self);
        let context = Arc::clone(client.context());
        // Dropping the client leaves the group, and may block.
        let closing = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
            drop(client);
            let _nobody_waits = sender.send(());
        });
        if closing.is_err() || closed.recv_timeout(CLOSE_PATIENCE).is_err() {
            tracing::warn!("the group was not left in time; its broker will notice");
        }
        context.replaced.store(true, Ordering::Release);
        shared.lose_everything();
    }
}
