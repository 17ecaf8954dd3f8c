//! Tells events to a topic.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::courier::TRY;
use domain::delivery::event::MEDIA_TYPE;
use domain::delivery::schedule::TryOutcome;
use platform::kafka::KafkaSettings;
use platform::kafka::producer::{PROMPT, Quiet, producer_config};
use platform::kafka::topics::{TopicMaker, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::sync::Mutex;

use super::outgoing::{OutgoingEvent, Tried};

/// What of a try is left for the topic to be made.
const MAKE: Duration = Duration::from_secs(5);

/// A topic, which is made if it is missing.
pub(super) struct ToTopic {
    spec: TopicSpec,
    maker: TopicMaker,
    config: ClientConfig,
    /// The producer, and whether the topic was there when it was last seen.
    state: Mutex<Sending>,
}

/// What changes.
struct Sending {
    producer: FutureProducer<Quiet>,
    is_there: bool,
}

impl ToTopic {
    /// Makes a producer; connections are opened when they are needed.
    ///
    /// # Errors
    /// If a client can't be made.
    pub(super) fn new(kafka: &KafkaSettings, spec: TopicSpec) -> KafkaResult<Self> {
        let mut config = producer_config(kafka, &PROMPT);
        config.set("message.timeout.ms", (TRY - MAKE).as_millis().to_string());
        let state = Mutex::new(Sending { producer: config.create_with_context(Quiet)?, is_there: false });
        Ok(Self { spec, maker: TopicMaker::new(kafka)?, config, state })
    }

    /// Makes a try.
    pub(super) async fn tell(&self, outgoing: OutgoingEvent, now: DateTime<Utc>) -> Tried {
        let producer = match self.ready().await {
            Ok(producer) => producer,
            Err(error) => return (TryOutcome::Again(None), Some(error)),
        };
        let key = outgoing.batch.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(MEDIA_TYPE) });
        let record = FutureRecord::to(&self.spec.name)
            .key(&key)
            .payload(&outgoing.body)
            .timestamp(now.timestamp_millis())
            .headers(headers);
        match producer.send(record, TRY - MAKE).await {
            Ok(_) => (TryOutcome::Delivered, None),
            Err((error, _)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
                    self.state.lock().await.is_there = false;
                }
                let outcome = if is_refusal(&error) { TryOutcome::Refused } else { TryOutcome::Again(None) };
                (outcome, Some(error.to_string()))
            }
        }
    }

    /// Returns a producer, once the topic is there: one makes it if it is missing, the others wait.
    async fn ready(&self) -> Result<FutureProducer<Quiet>, String> {
        let mut state = self.state.lock().await;
        if !state.is_there {
            let (name, limit) = (&self.spec.name, MAKE / 2);
            if !self.maker.look(name, limit).await.map_err(|error| error.to_string())? {
                self.maker.make(&self.spec, limit).await.map_err(|error| error.to_string())?;
            }
            state.is_there = true;
        }
        // A refusal may end an idempotent producer for good (KIP-360); what it had not delivered fails and is tried again.
        if state.producer.client().fatal_error().is_some() {
            state.producer = self.config.create_with_context(Quiet).map_err(|error| error.to_string())?;
        }
        Ok(state.producer.clone())
    }
}

/// Tells whether Kafka will never take the record.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
        )
    )
}
