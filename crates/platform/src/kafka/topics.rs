//! Making topics, and looking whether one that exists keeps its records long enough.

use std::time::Duration;

use anyhow::{anyhow, bail};
use domain::message::topic_of;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use super::settings::TopicSettings;

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
    /// How long the topic must keep a record.
    pub retention: Duration,
}

impl TopicSpec {
    /// Returns the topic of stamp events, which either service makes.
    pub fn of_stamps(settings: &TopicSettings) -> Self {
        Self::named(settings.stamp_topic.clone(), settings.stamp_topic_partitions, settings)
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
        let (replication_factor, retention) = (settings.replication_factor, settings.retention());
        Self { name, partitions, replication_factor, retention }
    }
}

/// Makes topics, over connections that stay.
pub struct TopicMaker(AdminClient<DefaultClientContext>);

impl TopicMaker {
    /// Makes a client; connections are opened when they are needed.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        config.create().map(Self)
    }

    /// Makes the topic if it is missing, within `limit`. Returns whether it was missing.
    ///
    /// # Errors
    /// If Kafka is away or refuses.
    pub async fn make(&self, spec: &TopicSpec, limit: Duration) -> anyhow::Result<bool> {
        let retention = spec.retention.as_millis().to_string();
        let replication = TopicReplication::Fixed(spec.replication_factor);
        let topic = NewTopic::new(&spec.name, spec.partitions, replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention);
        let made = self.0.create_topics([&topic], &options(limit)).await?;
        match made.into_iter().next() {
            Some(Ok(name)) => {
                tracing::info!(topic = name, partitions = spec.partitions, "topic made");
                Ok(true)
            }
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((name, code))) => bail!("topic {name} can't be made: {code}"),
            None => bail!("Kafka does not say whether topic {} was made", spec.name),
        }
    }
}

fn options(limit: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
}

/// Makes the topic if it is missing, and warns if it exists and drops records too early.
///
/// # Errors
/// If Kafka is away or refuses.
pub async fn ensure(config: &ClientConfig, spec: &TopicSpec) -> anyhow::Result<()> {
    let maker = TopicMaker::new(config)?;
    if maker.make(spec, LIMIT).await? {
        return Ok(());
    }
    warn_of_early_deletion(&maker.0, spec).await
}

/// How long a topic is taken to keep its records if that can't be asked: the default of brokers.
const USUAL_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Asks how long a topic keeps its records; `None` if it keeps them for ever. A broker that does not say is taken to
/// have the default of 7 days.
pub async fn retention(config: &ClientConfig, topic: &str) -> Option<Duration> {
    let asked = async {
        let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
        let described =
            admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options(LIMIT)).await.ok()?;
        let resource = described.into_iter().next()?.ok()?;
        resource.get("retention.ms")?.value.as_ref()?.parse::<i64>().ok()
    };
    match asked.await {
        Some(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        None => {
            tracing::warn!(topic, "how long the topic keeps its records can't be asked; taken for 7 days");
            Some(USUAL_RETENTION)
        }
    }
}

async fn warn_of_early_deletion(
    admin: &AdminClient<DefaultClientContext>,
    spec: &TopicSpec,
) -> anyhow::Result<()> {
    let described = admin.describe_configs([&ResourceSpecifier::Topic(&spec.name)], &options(LIMIT)).await?;
    let Some(Ok(resource)) = described.into_iter().next() else {
        return Err(anyhow!("the settings of topic {} can't be read", spec.name));
    };
    let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    // -1 keeps records for ever.
    let kept = value("retention.ms").parse::<i64>().unwrap_or(-1);
    let needed = spec.retention.as_millis() as i64;
    if kept >= 0 && kept < needed {
        tracing::warn!(
            topic = spec.name,
            retention_ms = kept,
            needed_ms = needed,
            "the topic drops records before the longest tolerance and a week have passed; raise its retention.ms"
        );
    }
    let policy = value("cleanup.policy");
    if policy.contains("compact") {
        tracing::warn!(
            topic = spec.name,
            policy,
            "compaction drops records that nobody has processed; use delete"
        );
    }
    Ok(())
}
