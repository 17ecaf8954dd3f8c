//! Tells events to a topic.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::courier::TRY;
use domain::delivery::event::MEDIA_TYPE;
use domain::delivery::schedule::TryOutcome;
use platform::kafka::KafkaSettings;
use platform::kafka::producer::{PROMPT, Quiet, producer_config};
use platform::kafka::topics::{TopicMaker, TopicSpec};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Mutex;

use super::outgoing::{OutgoingEvent, Tried};

/// What of a try is left for the topic to be made.
const MAKE: Duration = Duration::from_secs(5);

/// A topic, which is made if it is missing.
pub(super) struct ToTopic {
    spec: TopicSpec,
    maker: TopicMaker,
    producer: FutureProducer<Quiet>,
    /// Whether the topic was there when it was last seen.
    is_there: Mutex<bool>,
}

impl ToTopic {
    /// Makes a producer; connections are opened when they are needed.
    ///
    /// # Errors
    /// If a client can't be made.
    pub(super) fn new(kafka: &KafkaSettings, spec: TopicSpec) -> KafkaResult<Self> {
        let mut config = producer_config(kafka, &PROMPT);
        config.set("message.timeout.ms", (TRY - MAKE).as_millis().to_string());
        let producer = config.create_with_context(Quiet)?;
        Ok(Self { spec, maker: TopicMaker::new(kafka)?, producer, is_there: Mutex::new(false) })
    }

    /// Makes a try.
    pub(super) async fn tell(&self, outgoing: OutgoingEvent, now: DateTime<Utc>) -> Tried {
        if let Err(error) = self.make().await {
            return (TryOutcome::Again(None), Some(error));
        }
        let key = outgoing.batch.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(MEDIA_TYPE) });
        let record = FutureRecord::to(&self.spec.name)
            .key(&key)
            .payload(&outgoing.body)
            .timestamp(now.timestamp_millis())
            .headers(headers);
        match self.producer.send(record, TRY - MAKE).await {
            Ok(_) => (TryOutcome::Delivered, None),
            Err((error, _)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
                    *self.is_there.lock().await = false;
                }
                let outcome = if is_refusal(&error) { TryOutcome::Refused } else { TryOutcome::Again(None) };
                (outcome, Some(error.to_string()))
            }
        }
    }

    /// Makes the topic if it is missing: one does it, the others wait.
    async fn make(&self) -> Result<(), String> {
        let mut is_there = self.is_there.lock().await;
        if !*is_there {
            let (name, limit) = (&self.spec.name, MAKE / 2);
            if !self.maker.look(name, limit).await.map_err(|error| error.to_string())? {
                self.maker.make(&self.spec, limit).await.map_err(|error| error.to_string())?;
            }
            *is_there = true;
        }
        Ok(())
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
