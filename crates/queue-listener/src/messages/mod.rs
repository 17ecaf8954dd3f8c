//! Users' messages: from their topics to rows, beside the stamps and independent of them.
//!
//! ```text
//! poller (one thread polls) ─► platform::messages (decode, store a chunk) ─► PostgreSQL
//!        └─ what is stored ─► callbacks (per partition) ─► offset commit
//! ```
//!
//! A record is finished once its chunk is stored, and chunks are stored one after the other. So the last offset of
//! each partition is all that has to be known, and no ledger is needed.

mod callbacks;
mod patience;
mod poller;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use domain::message::record::Recipients;
use platform::kafka::KafkaSettings;
use store::Database;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::poller::Poller;
use crate::group::member::CLOSE_PATIENCE;
use crate::metrics::Metrics;

/// The names of users' topics, as `domain::message::topic_of` writes them: canonical uuids and nothing else.
const USERS_TOPICS: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// What it takes to listen for messages.
pub(crate) struct Parts {
    pub(crate) kafka: KafkaSettings,
    pub(crate) group_id: String,
    /// The one topic of all users; `None` if each has a topic.
    pub(crate) topic: Option<String>,
    pub(crate) database: Database,
    pub(crate) metrics: Metrics,
    /// Set once the group was joined, or there is nothing yet to join it for.
    pub(crate) joined: Arc<AtomicBool>,
    /// How long a stop waits for what is being stored.
    pub(crate) patience: Duration,
}

impl Parts {
    fn subscription(&self) -> &str {
        self.topic.as_deref().unwrap_or(USERS_TOPICS)
    }

    fn recipients(&self) -> Recipients {
        if self.topic.is_some() { Recipients::FromKey } else { Recipients::FromTopic }
    }
}

/// Stores messages until `stop`, then leaves the group; gives up on that after a few seconds.
///
/// # Errors
/// If the client can't be made, or the database refuses what no waiting mends.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> anyhow::Result<()> {
    let patience = parts.patience;
    let poller = Poller::start(parts, stop.clone())?;
    let (sender, mut ended) = oneshot::channel();
    std::thread::Builder::new().name("messages-poll".to_owned()).spawn(move || {
        // Its end leaves the group.
        let result = poller.run();
        let _nobody_waits = sender.send(result);
    })?;
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(patience + CLOSE_PATIENCE.min(patience)).await;
    };
    tokio::select! {
        result = &mut ended => result.context("the thread that polls for messages panicked")?,
        () = stopped => {
            tracing::warn!("the group of messages was not left in time; its broker will notice");
            Ok(())
        }
    }
}
