//! Sends messages to users' topics, for a client that waits until Kafka has them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::new_topics::NewTopics;
use chrono::{DateTime, Utc};
use domain::message::{self, Message};
use domain::trace::TraceContext;
use platform::kafka::KafkaSettings;
use platform::kafka::TopicSettings;
use platform::kafka::producer::{PROMPT, Quiet, producer_config, trace_headers};
use platform::kafka::refusal::takes_an_operator;
use platform::kafka::topics::{TopicError, TopicMaker, TopicSpec, is_there};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use tokio::time::Instant;
use uuid::Uuid;

/// How long making the topic and publishing may take together. A client is answered within 2 s.
const LIMIT: Duration = Duration::from_millis(1_800);
/// How long the producer tries: what it has not delivered by then it forgets, and the client is told so.
/// Twice that leaves time to make a topic in between.
const DELIVERY_LIMIT: Duration = Duration::from_millis(800);
/// Topics that one producer writes to. It keeps each of them in memory and asks for their leaders again and again, so
/// it is replaced before they become a burden.
const TOPICS_A_PRODUCER: usize = 10_000;

/// Where in Kafka a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The user's topic, or that of all.
    pub topic: String,
    /// The partition that the key leads to.
    pub partition: i32,
    /// Offset of the message's record in its partition.
    pub offset: i64,
    /// Key of the message's record: the user's uuid.
    pub key: String,
}

/// A message that Kafka has not acknowledged. Nothing sends it later; whether it was sent is not always known.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The topic may be missing.
    #[error("the topic can't be made")]
    Topic(#[source] TopicError),
    /// The sender has had too many topics made lately.
    #[error("the sender has had too many topics made")]
    TooManyTopics {
        /// The time after which another one may be made.
        retry_after: Duration,
    },
    /// Kafka took too long.
    #[error("Kafka did not take the message in time")]
    Late,
    /// The producer gave up, or Kafka refused.
    #[error("the message can't be published")]
    Delivery(#[source] KafkaError),
}

impl SendError {
    fn code(&self) -> Option<RDKafkaErrorCode> {
        match self {
            Self::Topic(error) => error.code(),
            Self::Late | Self::TooManyTopics { .. } => None,
            Self::Delivery(error) => error.rdkafka_error_code(),
        }
    }

    /// Tells whether the topic does not take a message of that size.
    pub fn is_too_large(&self) -> bool {
        self.code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
    }

    /// Tells whether trying again is in vain until Kafka's operator acts.
    pub fn takes_an_operator(&self) -> bool {
        self.code().is_some_and(takes_an_operator)
    }

    /// Returns the word by which it is counted.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::TooManyTopics { .. } => "too_many_topics",
            error if error.is_too_large() => "too_large",
            error if error.takes_an_operator() => "refused",
            Self::Topic(_) | Self::Late | Self::Delivery(_) => "unavailable",
        }
    }
}

/// Sends messages to users' topics.
pub struct Sender {
    kafka: KafkaSettings,
    topics: TopicSettings,
    maker: TopicMaker,
    producer: Mutex<Arc<Producer>>,
    new_topics: NewTopics,
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Who sends the message.
    pub sender: Uuid,
    /// The user whom the message is for.
    pub user: Uuid,
    /// The message itself.
    pub message: &'a Message,
    /// The record's time, by PostgreSQL's clock.
    pub now: DateTime<Utc>,
    /// Where the message was sent, if that is known.
    pub trace: Option<TraceContext>,
}

/// A producer, and the topics that it has found or made.
struct Producer {
    client: FutureProducer<Quiet>,
    known: Mutex<HashSet<String>>,
    /// How many messages Kafka has acknowledged.
    acknowledged: AtomicU64,
}

impl Sender {
    /// Makes the producer; connections are opened when they are needed.
    ///
    /// # Errors
    /// If a client can't be made.
    pub fn new(kafka: KafkaSettings, topics: TopicSettings, maker: TopicMaker) -> KafkaResult<Self> {
        let producer = Mutex::new(Arc::new(Producer::new(&kafka)?));
        Ok(Self { kafka, topics, maker, producer, new_topics: NewTopics::default() })
    }

    /// Makes a producer and drops it.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
        Producer::new(kafka).map(drop)
    }

    /// Returns how many topics of users were made.
    pub fn topics_made(&self) -> u64 {
        self.new_topics.made()
    }

    /// Sends a message to a user and waits until Kafka has it, making the topic if it is missing.
    ///
    /// # Errors
    /// After 1.8 s at the latest, if Kafka is away or refuses, or the sender has had too many topics made.
    pub async fn send(&self, message: Outgoing<'_>) -> Result<Sent, SendError> {
        let user = message.user;
        let spec = TopicSpec::of_shared_messages(&self.topics)
            .unwrap_or_else(|| TopicSpec::of_user_messages(&self.topics, user));
        let deadline = Instant::now() + LIMIT;
        let producer = self.current();
        if !producer.known().contains(&spec.name) {
            self.make(&producer, &spec, message.sender, deadline).await?;
            producer.known().insert(spec.name.clone());
            return self.deliver(&producer, &spec, message, deadline).await;
        }
        let outcome = self.deliver(&producer, &spec, message, deadline).await;
        let Err(error) = outcome else { return outcome };
        producer.known().remove(&spec.name);
        // The topic may have been deleted since. The client, which has known it, does not tell that from an outage in
        // time; but if it has to be made now, the message is not in it.
        if !matches!(self.make(&producer, &spec, message.sender, deadline).await, Ok(true))
            || !self.replace(&producer)
        {
            return Err(error);
        }
        self.deliver(&self.current(), &spec, message, deadline).await
    }

    /// Makes the topic if it is missing, while there is time to publish afterwards. Returns whether it was missing.
    async fn make(
        &self,
        producer: &Arc<Producer>,
        spec: &TopicSpec,
        sender: Uuid,
        deadline: Instant,
    ) -> Result<bool, SendError> {
        let limit = (deadline - DELIVERY_LIMIT).saturating_duration_since(Instant::now());
        let made = async {
            // What is there needs no right to be made, and counts for nobody.
            if producer.finds(&spec.name, limit).await.map_err(SendError::Topic)? {
                return Ok(false);
            }
            let leave = self.new_topics.take(sender, std::time::Instant::now());
            leave.map_err(|retry_after| SendError::TooManyTopics { retry_after })?;
            let made = self.maker.make(spec, limit).await;
            match &made {
                Ok(true) => self.new_topics.count(),
                Ok(false) | Err(_) => self.new_topics.give_back(sender),
            }
            made.map_err(SendError::Topic)
        };
        let made = tokio::time::timeout(limit, made).await;
        made.map_err(|_elapsed| SendError::Late)?
    }

    async fn deliver(
        &self,
        producer: &Arc<Producer>,
        spec: &TopicSpec,
        Outgoing { user, message, now, trace, .. }: Outgoing<'_>,
        deadline: Instant,
    ) -> Result<Sent, SendError> {
        if Instant::now() > deadline - DELIVERY_LIMIT {
            return Err(SendError::Late);
        }
        let (key, value) = (user.to_string(), message::record::encode(message));
        let headers = trace_headers(trace.as_ref());
        let record = FutureRecord::to(&spec.name)
            .key(&key)
            .payload(&value)
            .timestamp(now.timestamp_millis())
            .headers(headers);
        let acknowledged = producer.acknowledged.load(Ordering::Relaxed);
        let sending = producer.client.send(record, Duration::ZERO);
        match tokio::time::timeout(DELIVERY_LIMIT, sending).await {
            Ok(Ok(Delivery { partition, offset, .. })) => {
                producer.acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(Sent { topic: spec.name.clone(), partition, offset, key })
            }
            Ok(Err((error, _))) => {
                // An idempotent producer that has failed for good stays so (KIP-360).
                if producer.client.client().fatal_error().is_some() {
                    self.replace(producer);
                }
                Err(SendError::Delivery(error))
            }
            Err(_elapsed) => {
                // The client itself looks for late messages once a second only. A purge takes what others have under
                // way too, so it is for an outage: where only this topic is late, the message may still be sent.
                if producer.acknowledged.load(Ordering::Relaxed) == acknowledged {
                    producer.client.purge(PurgeConfig::default().queue().inflight().non_blocking());
                }
                Err(SendError::Late)
            }
        }
    }

    /// Returns the present producer, which has room for one more topic.
    fn current(&self) -> Arc<Producer> {
        let current = Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner));
        if current.known().len() < TOPICS_A_PRODUCER {
            return current;
        }
        self.replace(&current);
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new producer in the place of an old one; what that one has under way, it finishes. Returns whether there
    /// is a new one.
    fn replace(&self, old: &Arc<Producer>) -> bool {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, old) {
            return true;
        }
        match Producer::new(&self.kafka) {
            Ok(producer) => {
                tracing::debug!("a new producer for messages takes the place of the old one");
                *current = Arc::new(producer);
                true
            }
            Err(error) => {
                tracing::error!(error = error.to_string(), "no new producer can be made");
                false
            }
        }
    }
}

impl Producer {
    fn new(kafka: &KafkaSettings) -> KafkaResult<Self> {
        let limit = DELIVERY_LIMIT.as_millis().to_string();
        let client =
            producer_config(kafka, &PROMPT).set("message.timeout.ms", limit).create_with_context(Quiet)?;
        Ok(Self { client, known: Mutex::default(), acknowledged: AtomicU64::default() })
    }

    /// Looks whether there is a topic. The client knows the topic then, as it does once it has published.
    async fn finds(self: &Arc<Self>, topic: &str, limit: Duration) -> Result<bool, TopicError> {
        let (producer, name) = (Arc::clone(self), topic.to_owned());
        let looking =
            tokio::task::spawn_blocking(move || is_there(producer.client.client(), &name, limit)).await;
        looking.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| TopicError::of(topic, error))
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
