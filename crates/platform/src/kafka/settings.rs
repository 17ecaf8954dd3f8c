//! How to reach Kafka, and the topics that both services know.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use serde::Deserialize;

use crate::settings::{Environment, InvalidSetting, number};

/// librdkafka properties that carry a promise of the services, and the reason a person is told.
const PROMISES: [(&str, &str); 17] = [
    ("acks", "an event counts as published once all in-sync replicas have it"),
    ("request.required.acks", "an event counts as published once all in-sync replicas have it"),
    ("enable.idempotence", "a retry must not publish an event twice"),
    ("delivery.report.only.error", "the outbox is told of every acknowledgement"),
    ("transactional.id", "PostgreSQL is where things are made atomic"),
    ("enable.auto.commit", "an offset is committed once its record is processed"),
    ("enable.auto.offset.store", "an offset is committed once its record is processed"),
    ("auto.commit.interval.ms", "an offset is committed once its record is processed"),
    ("auto.offset.reset", "nothing that is in a topic is skipped"),
    ("partition.assignment.strategy", "partitions move one by one, cooperative-sticky"),
    ("group.protocol", "partitions move one by one, cooperative-sticky"),
    ("group.remote.assignor", "partitions move one by one, cooperative-sticky"),
    ("group.instance.id", "a listener that is gone must not hold its partitions"),
    ("group.id", "KAFKA_GROUP_ID and MESSAGE_GROUP_ID name the groups"),
    ("enable.partition.eof", "the end of a partition tells when a backlog is read"),
    ("statistics.interval.ms", "they tell a listener which offsets are committed"),
    ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS names the brokers"),
];

/// How to reach Kafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    bootstrap_servers: String,
    conf: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Reads `KAFKA_BOOTSTRAP_SERVERS` and the `KAFKA_CONF_…` variables.
    ///
    /// # Errors
    /// If librdkafka does not know a property or its value, or a property would break a promise.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            kafka_bootstrap_servers: Option<String>,
        }
        let raw: Raw = environment.section()?;
        let bootstrap_servers = raw.kafka_bootstrap_servers.unwrap_or_else(|| "127.0.0.1:9092".to_owned());
        let settings = Self { bootstrap_servers, conf: environment.kafka_conf() };
        for (name, value) in &settings.conf {
            check(name, value)?;
        }
        Ok(settings)
    }

    /// Returns what every client starts from.
    pub fn client_config(&self) -> ClientConfig {
        self.client_config_with(&[])
    }

    /// Returns what one kind of client starts from: its defaults and all that every client has. The operator's
    /// `KAFKA_CONF_…` variables have the last word.
    pub fn client_config_with(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "stamp-service")
            .set("reconnect.backoff.max.ms", "2000")
            // A broker that does not answer is noticed, not waited for.
            .set("socket.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", "5000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.conf {
            config.set(name, value);
        }
        config
    }
}

fn check(name: &str, value: &str) -> Result<(), InvalidSetting> {
    let variable = format!("KAFKA_CONF_{}", name.to_uppercase().replace('.', "_"));
    let refused = |why: &str| {
        if ["password", "secret", "key", "token"].iter().any(|word| name.contains(word)) {
            InvalidSetting::secret(&variable, why)
        } else {
            InvalidSetting::new(&variable, value, why)
        }
    };
    if let Some((_, promise)) = PROMISES.iter().find(|(promised, _)| *promised == name) {
        return Err(refused(&format!("{name} can't be changed: {promise}")));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, why, ..)) => {
            Err(refused(&format!("a property of librdkafka and a value that it takes ({why})")))
        }
        Err(error) => Err(refused(&format!("a property of librdkafka and a value that it takes ({error})"))),
    }
}

/// The topics that both services know.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// The topic of stamp events.
    pub stamp_topic: String,
    /// With how many partitions the topic of stamp events is made.
    pub stamp_topic_partitions: i32,
    /// The one topic of all users' messages; `None` if each user has a topic, named by their uuid.
    pub message_topic: Option<String>,
    /// With how many partitions the topic of all users' messages, or each user's, is made.
    pub message_topic_partitions: i32,
    /// With how many replicas topics are made.
    pub replication_factor: i32,
    /// The longest tolerance that HTTP accepts, in minutes; retention counts from it.
    pub max_time_tolerance_minutes: i32,
}

impl TopicSettings {
    /// Reads `STAMP_TOPIC`, `STAMP_TOPIC_PARTITIONS`, `MESSAGE_TOPIC`, `MESSAGE_TOPIC_PARTITIONS`,
    /// `TOPIC_REPLICATION_FACTOR`, `MAX_TIME_TOLERANCE_MINUTES`.
    ///
    /// # Errors
    /// If one of the variables has a value that can't be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            stamp_topic: Option<String>,
            stamp_topic_partitions: Option<String>,
            message_topic: Option<String>,
            message_topic_partitions: Option<String>,
            topic_replication_factor: Option<String>,
            max_time_tolerance_minutes: Option<String>,
        }
        let raw: Raw = environment.section()?;
        // With the five minutes that a date may be ahead, well below the 366 days after which the listener takes
        // an event for a mistake.
        let minutes_in_a_year = 365 * 24 * 60;
        let partitions = 1..=10_000;
        let stamp_topic = raw.stamp_topic.unwrap_or_else(|| "topic_data_created".to_owned());
        let stamp_topic = topic_name("STAMP_TOPIC", stamp_topic)?;
        let message_topic = raw.message_topic.map(|name| message_topic(name, &stamp_topic)).transpose()?;
        // A user's messages are few and stay in order; those of all are spread.
        let message_partitions = if message_topic.is_some() { 12 } else { 1 };
        Ok(Self {
            stamp_topic,
            stamp_topic_partitions: number(
                "STAMP_TOPIC_PARTITIONS",
                raw.stamp_topic_partitions,
                12,
                partitions.clone(),
            )?,
            message_topic,
            message_topic_partitions: number(
                "MESSAGE_TOPIC_PARTITIONS",
                raw.message_topic_partitions,
                message_partitions,
                partitions,
            )?,
            replication_factor: number("TOPIC_REPLICATION_FACTOR", raw.topic_replication_factor, 1, 1..=100)?,
            max_time_tolerance_minutes: number(
                "MAX_TIME_TOLERANCE_MINUTES",
                raw.max_time_tolerance_minutes,
                10_080,
                0..=minutes_in_a_year,
            )?,
        })
    }

    /// Returns how long Kafka must keep a record: the longest tolerance and 7 days.
    pub fn retention(&self) -> Duration {
        let minutes = u64::try_from(self.max_time_tolerance_minutes).unwrap_or_default();
        Duration::from_secs(minutes * 60 + 7 * 24 * 3_600)
    }
}

fn message_topic(value: String, stamp_topic: &str) -> Result<String, InvalidSetting> {
    const NAME: &str = "MESSAGE_TOPIC";
    let value = topic_name(NAME, value)?;
    if value == stamp_topic {
        Err(InvalidSetting::new(NAME, &value, "another topic than STAMP_TOPIC"))
    } else if uuid::Uuid::try_parse(&value).is_ok() {
        Err(InvalidSetting::new(NAME, &value, "a topic that is no uuid, which is one user's; or nothing"))
    } else {
        Ok(value)
    }
}

fn topic_name(name: &str, value: String) -> Result<String, InvalidSetting> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if value.len() > 249 || !value.bytes().all(legal) || value == "." || value == ".." {
        return Err(InvalidSetting::new(
            name,
            &value,
            "a topic name of 1 to 249 letters, digits, dots, _ and -",
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, value: &str) -> Result<KafkaSettings, InvalidSetting> {
        let variables = [(name.to_owned(), value.to_owned())];
        KafkaSettings::from_environment(&Environment::from_variables(variables).expect("no files are named"))
    }

    #[test]
    fn a_property_reaches_librdkafka_under_its_own_name() {
        let config = settings("KAFKA_CONF_SECURITY_PROTOCOL", "SASL_SSL").expect("known").client_config();
        assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
    }

    #[test]
    fn the_operator_has_the_last_word_on_a_default() {
        let defaults = [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "3000")];
        let config = settings("KAFKA_CONF_SESSION_TIMEOUT_MS", "6000").expect("known");
        let config = config.client_config_with(&defaults);
        assert_eq!(config.get("session.timeout.ms"), Some("6000"));
        assert_eq!(config.get("heartbeat.interval.ms"), Some("3000"));
    }

    #[test]
    fn unknown_properties_and_broken_promises_are_refused_by_name() {
        for (name, value, expected) in [
            ("KAFKA_CONF_NO_SUCH_THING", "1", "KAFKA_CONF_NO_SUCH_THING=\"1\""),
            ("KAFKA_CONF_SOCKET_TIMEOUT_MS", "soon", "KAFKA_CONF_SOCKET_TIMEOUT_MS=\"soon\""),
            ("KAFKA_CONF_ACKS", "0", "in-sync replicas"),
            ("KAFKA_CONF_AUTO_OFFSET_RESET", "latest", "nothing that is in a topic is skipped"),
            ("KAFKA_CONF_GROUP_INSTANCE_ID", "me", "must not hold its partitions"),
        ] {
            let error = settings(name, value).expect_err(name).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let settings =
            TopicSettings::from_environment(&environment(&[("STAMP_TOPIC", "")])).expect("defaults");
        assert_eq!(settings.stamp_topic, "topic_data_created");
    }

    #[test]
    fn each_user_has_a_topic_unless_one_is_named_for_all() {
        let read = |variables: &[(&str, &str)]| TopicSettings::from_environment(&environment(variables));
        let settings = read(&[]).expect("defaults");
        assert_eq!((settings.message_topic, settings.message_topic_partitions), (None, 1));
        let settings = read(&[("MESSAGE_TOPIC", "user_messages")]).expect("a name");
        let shared = (settings.message_topic.as_deref(), settings.message_topic_partitions);
        assert_eq!(shared, (Some("user_messages"), 12));
        let settings = read(&[("MESSAGE_TOPIC", "m"), ("MESSAGE_TOPIC_PARTITIONS", "3")]).expect("valid");
        assert_eq!(settings.message_topic_partitions, 3);
        for (variables, why) in [
            (&[("MESSAGE_TOPIC", "topic_data_created")][..], "the stamps' default"),
            (&[("STAMP_TOPIC", "s"), ("MESSAGE_TOPIC", "s")], "the stamps'"),
            (&[("MESSAGE_TOPIC", "018f3b1c-7c5e-7abc-8def-0123456789ab")], "a user's"),
            (&[("MESSAGE_TOPIC", "a b")], "no name for a topic"),
            (&[("MESSAGE_TOPIC_PARTITIONS", "0")], "no partition"),
        ] {
            let error = read(variables).expect_err(why).to_string();
            assert!(error.starts_with("MESSAGE_TOPIC"), "{why}: {error}");
        }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment::from_variables(owned).expect("no files are named")
    }
}
