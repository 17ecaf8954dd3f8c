//! Kafka: what every client is configured with, topics, whether the brokers can be reached, and what is common to all
//! records.

pub mod producer;
pub mod reachability;
pub mod record;
pub mod topics;

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use serde::Deserialize;

use crate::settings::{Environment, InvalidSetting};

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

    /// What every client starts from.
    pub fn client_config(&self) -> ClientConfig {
        self.client_config_with(&[])
    }

    /// The same with defaults of one kind of client. The operator's `KAFKA_CONF_…` variables have the last word.
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
}
