//! Making topics, and looking whether one that exists keeps its records long enough.

use std::sync::Arc;
use std::time::Duration;

use domain::message::topic_of;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use super::refusal::{Troubles, takes_an_operator};
use super::settings::{KafkaSettings, TopicSettings};
use crate::retry::backoff;

const LIMIT: Duration = Duration::from_secs(5);

/// A topic of the services as it should be.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Name of the topic.
    pub name: String,
    /// How many partitions the topic is made with; one that exists keeps its number.
    pub partitions: i32,
    /// How many replicas the topic is made with.
    pub replication_factor: i32,
    /// How long the topic must keep a record, if not for as long as the broker thinks best.
    pub retention: Option<Duration>,
}

impl TopicSpec {
    /// Returns the topics that either service makes when it starts: that of stamp events and, if there is one, that of
    /// all users' messages.
    pub fn of_both(settings: &TopicSettings) -> Vec<Self> {
        let stamps = Self::named(settings.stamp_topic.clone(), settings.stamp_topic_partitions, settings);
        std::iter::once(stamps).chain(Self::of_shared_messages(settings)).collect()
    }

    /// Returns the topic of all users' messages, which either service makes; `None` where each user has one.
    pub fn of_shared_messages(settings: &TopicSettings) -> Option<Self> {
        let name = settings.message_topic.clone()?;
        Some(Self::named(name, settings.message_topic_partitions, settings))
    }

    /// Returns the topic of one user's messages, which is made at the first send.
    pub fn of_user_messages(settings: &TopicSettings, recipient: Uuid) -> Self {
        Self::named(topic_of(recipient), settings.message_topic_partitions, settings)
    }

    fn named(name: String, partitions: i32, settings: &TopicSettings) -> Self {
        let (replication_factor, retention) = (settings.replication_factor, Some(settings.retention()));
        Self { name, partitions, replication_factor, retention }
    }
}

/// A topic that Kafka does not show, or that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Kafka has refused.
    #[error("topic {topic}: {code}")]
    Refused {
        /// Name of the topic.
        topic: String,
        /// Why Kafka has refused.
        code: RDKafkaErrorCode,
    },
    /// Kafka did not answer.
    #[error("topic {topic}: Kafka does not answer ({source})")]
    Unanswered {
        /// Name of the topic.
        topic: String,
        /// What the client says.
        source: KafkaError,
    },
}

impl TopicError {
    /// Returns what an error of the client's says about a topic.
    pub fn of(topic: &str, error: KafkaError) -> Self {
        let topic = topic.to_owned();
        match error.rdkafka_error_code() {
            // The broker's own codes are positive.
            Some(code) if code as i32 > 0 => Self::Refused { topic, code },
            _ => Self::Unanswered { topic, source: error },
        }
    }

    /// Returns the code with which Kafka has refused, or the client given up.
    pub fn code(&self) -> Option<RDKafkaErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unanswered { source, .. } => source.rdkafka_error_code(),
        }
    }

    /// Tells whether only Kafka's operator can mend what has failed.
    pub fn takes_an_operator(&self) -> bool {
        self.code().is_some_and(takes_an_operator)
    }
}

/// Makes topics and looks for them, over connections that stay. Cheap to clone.
#[derive(Clone)]
pub struct TopicMaker(Arc<AdminClient<Troubles>>);

impl TopicMaker {
    /// Makes a client; connections are opened when they are needed.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn new(kafka: &KafkaSettings) -> KafkaResult<Self> {
        let client = kafka.client_config().create_with_context(Troubles::default())?;
        Ok(Self(Arc::new(client)))
    }

    /// Returns why Kafka does not talk with the client, as far as it is known.
    pub fn trouble(&self) -> Option<&'static str> {
        self.0.inner().context().last()
    }

    /// Forgets that reason: Kafka talks with the client.
    pub(super) fn forget_trouble(&self) {
        self.0.inner().context().forget();
    }

    /// Looks within `limit` whether there is a topic.
    ///
    /// # Errors
    /// If Kafka is away, or hides the topic.
    pub async fn look(&self, topic: &str, limit: Duration) -> Result<bool, TopicError> {
        let (client, name) = (Arc::clone(&self.0), topic.to_owned());
        let looked = tokio::task::spawn_blocking(move || is_there(client.inner(), &name, limit)).await;
        let looked = looked.unwrap_or(Err(KafkaError::Canceled));
        looked.map_err(|error| TopicError::of(topic, error))
    }

    /// Makes a topic within `limit`. Returns whether it was missing.
    ///
    /// # Errors
    /// If Kafka is away or refuses.
    pub async fn make(&self, spec: &TopicSpec, limit: Duration) -> Result<bool, TopicError> {
        let retention = spec.retention.map(|retention| retention.as_millis().to_string());
        let replication = TopicReplication::Fixed(spec.replication_factor);
        let mut topic =
            NewTopic::new(&spec.name, spec.partitions, replication).set("cleanup.policy", "delete");
        if let Some(retention) = &retention {
            topic = topic.set("retention.ms", retention);
        }
        let made = self.0.create_topics([&topic], &options(limit)).await;
        let made = made.map_err(|error| TopicError::of(&spec.name, error))?;
        match made.into_iter().next() {
            Some(Ok(topic)) => {
                tracing::info!(kafka.topic = topic, kafka.partition_count = spec.partitions, "topic made");
                Ok(true)
            }
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((topic, code))) => Err(TopicError::Refused { topic, code }),
            None => Err(TopicError::of(&spec.name, KafkaError::Canceled)),
        }
    }

    /// Makes a topic if it is missing, and warns if it is there and drops records too early. What is there needs no
    /// right to make it.
    ///
    /// # Errors
    /// If Kafka is away or refuses.
    pub async fn ensure(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        if self.look(&spec.name, LIMIT).await? {
            return self.warn_of_early_deletion(spec).await;
        }
        self.make(spec, LIMIT).await.map(drop)
    }

    async fn warn_of_early_deletion(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        let Some(needed_ms) = spec.retention.map(|retention| retention.as_millis() as i64) else {
            return Ok(());
        };
        let topic = &spec.name;
        let described = match describe(&self.0, topic).await {
            Ok(described) => described,
            Err(error) if error.takes_an_operator() => {
                tracing::warn!(
                    kafka.topic = topic,
                    kafka.needed_ms = needed_ms,
                    "what the topic keeps can't be read; see to it that its retention.ms is no less and its cleanup.policy delete"
                );
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // -1 keeps records for ever.
        let retention_ms = described("retention.ms").parse::<i64>().unwrap_or(-1);
        if (0..needed_ms).contains(&retention_ms) {
            tracing::warn!(
                kafka.topic = topic,
                kafka.retention_ms = retention_ms,
                kafka.needed_ms = needed_ms,
                "the topic drops records before the longest tolerance and a week have passed; raise its retention.ms"
            );
        }
        let policy = described("cleanup.policy");
        if policy.contains("compact") {
            tracing::warn!(
                kafka.topic = topic,
                kafka.cleanup_policy = policy,
                "compaction drops records that nobody has processed; use delete"
            );
        }
        Ok(())
    }
}

/// Looks whether there is a topic; blocks for up to `limit`.
///
/// # Errors
/// If Kafka is away, or hides the topic.
pub fn is_there<C: ClientContext>(client: &Client<C>, topic: &str, limit: Duration) -> KafkaResult<bool> {
    let metadata = client.fetch_metadata(Some(topic), limit)?;
    let error = metadata.topics().first().and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
    match error {
        // A topic that was just made has no leader yet.
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(true),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(false),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

fn options(limit: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
}

/// Returns a topic's settings by their names, empty where there is none.
async fn describe<C: ClientContext>(
    client: &AdminClient<C>,
    topic: &str,
) -> Result<impl Fn(&str) -> String, TopicError> {
    let described = client.describe_configs([&ResourceSpecifier::Topic(topic)], &options(LIMIT)).await;
    let described = described.map_err(|error| TopicError::of(topic, error))?;
    let refused = |code| TopicError::Refused { topic: topic.to_owned(), code };
    let resource = described.into_iter().next().ok_or(refused(RDKafkaErrorCode::UnknownTopic))?;
    let resource = resource.map_err(refused)?;
    Ok(move |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default())
}

/// How long a topic is taken to keep its records if that can't be asked: the default of brokers.
const USUAL_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Asks how long a topic keeps its records; `None` if it keeps them for ever. A broker that refuses to say, or says
/// nothing for some seconds, is taken to have the default of 7 days.
pub async fn retention(kafka: &KafkaSettings, topic: &str) -> Option<Duration> {
    match tokio::time::timeout(LIMIT, ask_retention(kafka, topic)).await {
        Ok(Some(millis)) => u64::try_from(millis).ok().map(Duration::from_millis),
        _ => {
            tracing::warn!(
                kafka.topic = topic,
                "how long the topic keeps its records can't be asked; taken for 7 days"
            );
            Some(USUAL_RETENTION)
        }
    }
}

/// Asks until there is an answer or a refusal: a broker may not know yet a topic that was made a moment ago.
async fn ask_retention(kafka: &KafkaSettings, topic: &str) -> Option<i64> {
    let maker = TopicMaker::new(kafka).ok()?;
    let mut backoff = backoff();
    loop {
        match describe(&maker.0, topic).await {
            Ok(described) => return described("retention.ms").parse().ok(),
            Err(error) if error.takes_an_operator() => return None,
            Err(_) => tokio::time::sleep(backoff.delay()).await,
        }
    }
}
