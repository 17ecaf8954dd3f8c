//! The environment, read once at the start. Nothing else in the project looks at environment variables.
//!
//! A section is a struct of optional strings that [`envy`] fills; its values are then parsed by the functions
//! below, so that every error names the variable, its value and what is accepted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A variable that is missing or has a value that can't be used. The service ends with exit code 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSetting {
    /// A required variable is not set.
    #[error("{name} is not set: {accepted}")]
    Missing {
        /// The variable.
        name: String,
        /// What it should hold.
        accepted: String,
    },
    /// A value that is not accepted.
    #[error("{name}={value:?} is not accepted: {accepted}")]
    Unacceptable {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What it should hold.
        accepted: String,
    },
    /// The same for a secret, without its value.
    #[error("{name} (not shown) is not accepted: {accepted}")]
    Secret {
        /// The variable.
        name: String,
        /// What it should hold.
        accepted: String,
    },
}

impl InvalidSetting {
    /// A value that is not accepted.
    pub fn new(name: &str, value: &str, accepted: impl Display) -> Self {
        Self::Unacceptable { name: name.to_owned(), value: value.to_owned(), accepted: accepted.to_string() }
    }

    /// A secret that is not accepted.
    pub fn secret(name: &str, accepted: impl Display) -> Self {
        Self::Secret { name: name.to_owned(), accepted: accepted.to_string() }
    }
}

/// A text that never shows up in logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(not shown)")
    }
}

/// Variables that may be given as `X_FILE`, the name of a file that holds the value.
const SECRETS: [&str; 3] = ["DATABASE_URL", "JWT_SECRET", "JWT_PUBLIC_KEY"];
const KAFKA_CONF: &str = "KAFKA_CONF_";

/// The variables of the process. An empty one counts as not set.
#[derive(Debug, Clone)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the process's environment and the files that `…_FILE` variables name.
    ///
    /// # Errors
    /// If such a file can't be read, or a variable is given both ways.
    pub fn from_process() -> Result<Self, InvalidSetting> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_variables(std::env::vars_os().filter_map(text))
    }

    /// The same from other variables: tests don't touch the process's own.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidSetting> {
        let mut all: HashMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let files: Vec<(String, String)> = all
            .iter()
            .filter_map(|(name, path)| Some((name.strip_suffix("_FILE")?.to_owned(), path.clone())))
            .filter(|(name, _)| SECRETS.contains(&name.as_str()) || name.starts_with(KAFKA_CONF))
            .collect();
        for (name, path) in files {
            let variable = format!("{name}_FILE");
            if all.contains_key(&name) {
                return Err(InvalidSetting::new(
                    &variable,
                    &path,
                    format!("{name} is set too; set one of them"),
                ));
            }
            let value = std::fs::read_to_string(&path).map_err(|error| {
                InvalidSetting::new(
                    &variable,
                    &path,
                    format!("the name of a file that can be read ({error})"),
                )
            })?;
            all.insert(name, value.trim_end_matches(['\n', '\r']).to_owned());
        }
        Ok(Self(all))
    }

    /// One variable.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Fills a struct of optional strings whose fields are named as the variables, in lower case.
    ///
    /// # Errors
    /// None for such a struct.
    pub fn section<T: DeserializeOwned>(&self) -> Result<T, InvalidSetting> {
        envy::from_iter(self.0.clone()).map_err(|error| InvalidSetting::Missing {
            name: "a variable".to_owned(),
            accepted: error.to_string(),
        })
    }

    /// The `KAFKA_CONF_…` variables as librdkafka names them: `KAFKA_CONF_SASL_PASSWORD` is `sasl.password`.
    pub fn kafka_conf(&self) -> BTreeMap<String, String> {
        let name = |variable: &str| Some(variable.strip_prefix(KAFKA_CONF)?.to_lowercase().replace('_', "."));
        self.0
            .iter()
            .filter(|(variable, _)| !variable.ends_with("_FILE"))
            .filter_map(|(variable, value)| Some((name(variable)?, value.clone())))
            .collect()
    }
}

/// Parses a number within a range.
///
/// # Errors
/// If it is none, or lies outside.
pub fn number<N>(
    name: &str,
    value: Option<String>,
    default: N,
    range: RangeInclusive<N>,
) -> Result<N, InvalidSetting>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(value) = value else { return Ok(default) };
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        InvalidSetting::new(name, &value, format!("a whole number from {} to {}", range.start(), range.end()))
    })
}

/// Parses `true` or `false`.
///
/// # Errors
/// If it is something else.
pub fn flag(name: &str, value: Option<String>, default: bool) -> Result<bool, InvalidSetting> {
    let Some(value) = value else { return Ok(default) };
    value.parse().map_err(|_| InvalidSetting::new(name, &value, "true or false"))
}

/// Parses an address to listen on.
///
/// # Errors
/// If it is not an IP address with a port.
pub fn address(name: &str, value: Option<String>, default: &str) -> Result<SocketAddr, InvalidSetting> {
    let value = value.unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|_| {
        InvalidSetting::new(
            name,
            &value,
            "an IP address and a port, such as 127.0.0.1:8000; port 0 picks a free one",
        )
    })
}

/// The topics that both services know.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// The topic of stamp events.
    pub stamp_topic: String,
    /// With how many partitions it is made.
    pub stamp_topic_partitions: i32,
    /// The one topic of all users' messages; `None` if each user has a topic, named by their uuid.
    pub message_topic: Option<String>,
    /// With how many partitions it, or each user's topic, is made.
    pub message_topic_partitions: i32,
    /// With how many replicas topics are made.
    pub replication_factor: i32,
    /// The longest tolerance that HTTP accepts, in minutes; retention counts from it.
    pub max_time_tolerance_minutes: i32,
}

impl TopicSettings {
    /// Reads `STAMP_TOPIC`, `STAMP_TOPIC_PARTITIONS`, `MESSAGE_TOPIC`, `MESSAGE_TOPIC_PARTITIONS`,
    /// `TOPIC_REPLICATION_FACTOR`, `MAX_TIME_TOLERANCE_MINUTES`.
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

    /// How long Kafka must keep a record: the longest tolerance and 7 days.
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

/// What every process has: an address for its operators and a time to stop in.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_addr: SocketAddr,
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
}

impl ProcessSettings {
    /// Reads `ADMIN_ADDR` and `SHUTDOWN_TIMEOUT_SECS`.
    pub fn from_environment(
        environment: &Environment,
        default_admin_addr: &str,
    ) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            admin_addr: Option<String>,
            shutdown_timeout_secs: Option<String>,
        }
        let raw: Raw = environment.section()?;
        Ok(Self {
            admin_addr: address("ADMIN_ADDR", raw.admin_addr, default_admin_addr)?,
            shutdown_timeout: Duration::from_secs(number(
                "SHUTDOWN_TIMEOUT_SECS",
                raw.shutdown_timeout_secs,
                10,
                1..=3_600,
            )?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment::from_variables(owned).expect("no files are named")
    }

    #[test]
    fn an_error_names_the_variable_its_value_and_what_is_accepted() {
        let error = TopicSettings::from_environment(&environment(&[("STAMP_TOPIC_PARTITIONS", "twelve")]));
        assert_eq!(
            error.expect_err("not a number").to_string(),
            "STAMP_TOPIC_PARTITIONS=\"twelve\" is not accepted: a whole number from 1 to 10000"
        );
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

    #[test]
    fn kafka_conf_variables_carry_librdkafkas_names() {
        let conf = environment(&[("KAFKA_CONF_SECURITY_PROTOCOL", "SASL_SSL"), ("OTHER", "x")]).kafka_conf();
        assert_eq!(conf, BTreeMap::from([("security.protocol".to_owned(), "SASL_SSL".to_owned())]));
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let file = std::env::temp_dir().join(format!("secret-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "canary\n").expect("a temporary file");
        let environment = environment(&[("JWT_SECRET_FILE", &file.to_string_lossy())]);
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(environment.get("JWT_SECRET").as_deref(), Some("canary"));
    }

    #[test]
    fn a_secret_given_both_ways_is_refused() {
        let both = [("JWT_SECRET", "a"), ("JWT_SECRET_FILE", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert!(Environment::from_variables(both).is_err());
    }
}
