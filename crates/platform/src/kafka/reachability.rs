//! Whether Kafka's brokers answer.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::topics::{TopicSpec, ensure};
use crate::retry::backoff;

/// What is known of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Kafka has not answered since the process started, or our topics are not made yet.
    NotYet,
    /// Kafka answers.
    Reachable,
    /// Kafka answered once and does not now.
    Away,
}

const PERIOD: Duration = Duration::from_secs(2);

/// Waits for Kafka, makes the topics, then goes on looking whether a broker answers, until `stop`.
pub fn watch(
    config: ClientConfig,
    topics: Vec<TopicSpec>,
    stop: CancellationToken,
) -> watch::Receiver<Reachability> {
    let (sender, receiver) = watch::channel(Reachability::NotYet);
    tokio::spawn(async move {
        stop.run_until_cancelled(keep_looking(config, topics, sender)).await;
    });
    receiver
}

async fn keep_looking(config: ClientConfig, topics: Vec<TopicSpec>, sender: watch::Sender<Reachability>) {
    let mut backoff = backoff();
    for topic in &topics {
        while let Err(error) = ensure(&config, topic).await {
            tracing::warn!(topic = topic.name, error = format!("{error:#}"), "waiting for Kafka");
            tokio::time::sleep(backoff.delay()).await;
        }
    }
    let Ok(client) = config.create::<AdminClient<DefaultClientContext>>() else {
        return;
    };
    let client = Arc::new(client);
    let topic = topics.first().map(|topic| topic.name.clone());
    loop {
        let (client, topic) = (Arc::clone(&client), topic.clone());
        let answer = tokio::task::spawn_blocking(move || {
            client.inner().fetch_metadata(topic.as_deref(), PERIOD).map(drop)
        });
        let now = match answer.await {
            Ok(Ok(())) => Reachability::Reachable,
            _ => Reachability::Away,
        };
        let before = sender.send_replace(now);
        match (before, now) {
            (Reachability::Reachable, Reachability::Away) => tracing::warn!("Kafka does not answer"),
            (Reachability::Away, Reachability::Reachable) => tracing::info!("Kafka answers again"),
            _ => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}
