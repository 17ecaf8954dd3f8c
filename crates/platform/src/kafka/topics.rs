//! Making topics, and looking whether one that exists keeps its records long enough.

use std::time::Duration;

use anyhow::{anyhow, bail};
use domain::message::topic_of;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use crate::settings::TopicSettings;

const LIMIT: Duration = Duration::from_secs(5);

/// A topic as it should be.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it is made with; one that exists keeps its number.
    pub partitions: i32,
    /// How many replicas it is made with.
    pub replication_factor: i32,
    /// How long it must keep a record.
    pub retention: Duration,
}

impl TopicSpec {
    /// The topic of stamp events, which either service makes.
    pub fn of_stamps(settings: &TopicSettings) -> Self {
        Self::named(settings.stamp_topic.clone(), settings.stamp_topic_partitions, settings)
    }

    /// The topic of all users' messages, which either service makes; `None` where each user has one.
    pub fn of_shared_messages(settings: &TopicSettings) -> Option<Self> {
        let name = settings.message_topic.clone()?;
        Some(Self::named(name, settings.message_topic_partitions, settings))
    }

    /// The topic of one user's messages, which is made at the first send.
    pub fn of_user_messages(settings: &TopicSettings, recipient: Uuid) -> Self {
        Self::named(topic_of(recipient), settings.message_topic_partitions, settings)
    }

    fn named(name: String, partitions: i32, settings: &TopicSettings) -> Self {
        let (replication_factor, retention) = (settings.replication_factor, settings.retention());
        Self { name, partitions, replication_factor, retention }
    }
}

/// Makes the topic if it is missing, and warns if it exists and drops records too early.
///
/// # Errors
/// If Kafka is away or refuses.
pub async fn ensure(config: &ClientConfig, spec: &TopicSpec) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let retention = spec.retention.as_millis().to_string();
    let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication_factor))
        .set("cleanup.policy", "delete")
        .set("retention.ms", &retention);
    for result in admin.create_topics([&topic], &options).await? {
        match result {
            Ok(name) => tracing::info!(topic = name, partitions = spec.partitions, "topic made"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                warn_of_early_deletion(&admin, spec, &options).await?;
            }
            Err((name, code)) => bail!("topic {name} can't be made: {code}"),
        }
    }
    Ok(())
}

async fn warn_of_early_deletion(
    admin: &AdminClient<DefaultClientContext>,
    spec: &TopicSpec,
    options: &AdminOptions,
) -> anyhow::Result<()> {
    let described = admin.describe_configs([&ResourceSpecifier::Topic(&spec.name)], options).await?;
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
