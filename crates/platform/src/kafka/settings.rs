//! How to reach Kafka, and the topics that both services know.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use serde::Deserialize;

use super::properties::{self, Properties, without_values};
use crate::settings::{Environment, InvalidSetting, number};

/// How to reach Kafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    bootstrap_servers: String,
    properties: Properties,
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
        check_servers(&bootstrap_servers)?;
        Ok(Self { bootstrap_servers, properties: properties::read(environment)? })
    }

    /// Makes a client of each kind and drops it: librdkafka judges some properties together, and then only.
    ///
    /// # Errors
    /// If a client can't be made; the error names the variables without which it can.
    pub fn try_out(&self, kinds: &[ClientKind]) -> Result<(), InvalidSetting> {
        for (kind, make) in kinds {
            let Err(error) = make(self) else { continue };
            let is_culprit = |name: &String| make(&self.without(name)).is_ok();
            let names: Vec<&String> = self.properties.keys().collect();
            let culprits: Vec<&String> = names.iter().copied().filter(|name| is_culprit(name)).collect();
            let named = if culprits.is_empty() { names } else { culprits };
            let named: Vec<&str> = named.iter().map(|name| &*self.properties[*name].variable).collect();
            let named =
                if named.is_empty() { "KAFKA_BOOTSTRAP_SERVERS".to_owned() } else { named.join(", ") };
            let values = self.properties.values().map(|property| &property.value);
            let why = without_values(&error.to_string(), values);
            return Err(InvalidSetting::secret(&named, format!("{kind} can't be made with it ({why})")));
        }
        Ok(())
    }

    fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.properties.remove(name);
        rest
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
            // A topic is made with its settings, or not at all.
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", "5000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, property) in &self.properties {
            config.set(name, property.value.expose());
        }
        config
    }
}

/// One kind of client: what people call it, and what makes one.
pub type ClientKind = (&'static str, fn(&KafkaSettings) -> KafkaResult<()>);

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

/// Makes sure that every broker has a name, and that its port is one.
fn check_servers(servers: &str) -> Result<(), InvalidSetting> {
    let is_one = |server: &str| {
        let address = server.split_once("://").map_or(server, |(_, address)| address);
        // The colons of an address of IPv6 are within brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (address, Some(9092)),
        };
        !host.is_empty() && !host.contains(char::is_whitespace) && port.is_some_and(|port: u16| port > 0)
    };
    if servers.split(',').map(str::trim).all(is_one) {
        return Ok(());
    }
    let accepted = "brokers as host:port, separated by commas";
    Err(InvalidSetting::new("KAFKA_BOOTSTRAP_SERVERS", servers, accepted))
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
    use rdkafka::producer::BaseProducer;

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
    fn brokers_have_names_and_ports() {
        for servers in ["a", "a:1", "a:9092,b:9093", "PLAINTEXT://a:1, b", "[::1]:9092", "127.0.0.1:9092"] {
            settings("KAFKA_BOOTSTRAP_SERVERS", servers).expect(servers);
        }
        for servers in [",", "a:0", "a:65536", "a:b", ":9092", "a:1,", "a b:1"] {
            let error = settings("KAFKA_BOOTSTRAP_SERVERS", servers).expect_err(servers).to_string();
            assert!(error.starts_with(&format!("KAFKA_BOOTSTRAP_SERVERS={servers:?}")), "{error}");
        }
    }

    #[test]
    fn what_no_client_can_be_made_with_is_found_out_and_named_without_its_value() {
        fn producer(kafka: &KafkaSettings) -> KafkaResult<()> {
            kafka.client_config().set("message.timeout.ms", "900").create::<BaseProducer>().map(drop)
        }
        let kinds: [ClientKind; 1] = [("a producer", producer)];
        for (variable, value) in [
            ("KAFKA_CONF_LINGER_MS", "1000"),
            ("KAFKA_CONF_QUEUE_BUFFERING_MAX_MS", "1000"),
            ("KAFKA_CONF_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_CONF_SSL_CA_LOCATION", "/no/canary"),
            ("KAFKA_CONF_SSL_CA_PEM", "canary"),
        ] {
            let variables = [(variable, value), ("KAFKA_CONF_SOCKET_KEEPALIVE_ENABLE", "true")];
            let needs_tls = variable.contains("SSL_CA").then_some(("KAFKA_CONF_SECURITY_PROTOCOL", "SSL"));
            let all: Vec<_> = variables.into_iter().chain(needs_tls).collect();
            let settings = KafkaSettings::from_environment(&environment(&all)).expect(variable);
            let error = settings.try_out(&kinds).expect_err(variable).to_string();
            assert!(error.contains(variable) && !error.contains("KEEPALIVE"), "{error}");
            assert!(!error.contains("canary") && !error.contains('\n'), "{error}");
        }
        settings("KAFKA_CONF_LINGER_MS", "5").expect("known").try_out(&kinds).expect("a producer");
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
