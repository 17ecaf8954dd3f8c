//! The listener's settings.

use domain::batch::policy::BatchLimits;
use platform::kafka::KafkaSettings;
use platform::kafka::TopicSettings;
use platform::settings::{Environment, InvalidSetting, ProcessSettings, number};
use serde::Deserialize;
use store::settings::DatabaseSettings;
use store::stamps::processing::Maker;

use crate::deliveries::settings::SinkSettings;

/// Where operators reach the listener unless they say otherwise.
pub(crate) const ADMIN_ADDR: &str = "127.0.0.1:9465";

/// Everything that the environment tells the listener.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// The listener's address for operators and the time it may take to stop.
    pub process: ProcessSettings,
    /// How to reach the database.
    pub database: DatabaseSettings,
    /// How to reach the brokers.
    pub kafka: KafkaSettings,
    /// The topics that both services know.
    pub topics: TopicSettings,
    /// The consumer group of stamps.
    pub group_id: String,
    /// The consumer group of users' messages.
    pub message_group_id: String,
    /// How many stamps make a batch.
    pub limits: BatchLimits,
    /// What this instance is called in `batches.listener`.
    pub instance_id: String,
    /// Where batches are told, if anywhere.
    pub(crate) sink: Option<SinkSettings>,
}

impl ListenerSettings {
    /// Reads all settings of the listener.
    ///
    /// # Errors
    /// If a variable is missing or has a value that can't be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            kafka_group_id: Option<String>,
            message_group_id: Option<String>,
            min_batch_size: Option<String>,
            max_batch_size: Option<String>,
            instance_id: Option<String>,
        }
        let raw: Raw = environment.section()?;
        let given = raw.max_batch_size.clone().unwrap_or_default();
        let min = number("MIN_BATCH_SIZE", raw.min_batch_size, 2, 1..=10_000_000)?;
        let max = number("MAX_BATCH_SIZE", raw.max_batch_size, min.max(10), 1..=10_000_000)?;
        let limits = BatchLimits::new(min, max)
            .map_err(|error| InvalidSetting::new("MAX_BATCH_SIZE", &given, error))?;
        let group_id = raw.kafka_group_id.unwrap_or_else(|| "user_group".to_owned());
        let message_group_id = raw.message_group_id.unwrap_or_else(|| "notary-service".to_owned());
        if message_group_id == group_id {
            let accepted = "another group than KAFKA_GROUP_ID: stamps and messages are read apart";
            return Err(InvalidSetting::new("MESSAGE_GROUP_ID", &message_group_id, accepted));
        }
        Ok(Self {
            process: ProcessSettings::from_environment(environment, ADMIN_ADDR)?,
            database: DatabaseSettings::from_environment(environment)?,
            kafka: KafkaSettings::from_environment(environment)?,
            topics: TopicSettings::from_environment(environment)?,
            group_id,
            message_group_id,
            limits,
            instance_id: raw.instance_id.unwrap_or_else(host_and_process),
            sink: SinkSettings::from_environment(environment)?,
        })
    }
}

impl ListenerSettings {
    /// Returns who makes this listener's batches.
    pub(crate) fn maker(&self) -> Maker {
        Maker {
            listener: self.instance_id.clone(),
            topic: self.topics.stamp_topic.clone(),
            sink: self.sink.as_ref().map(|sink| sink.target.sink()),
        }
    }
}

fn host_and_process() -> String {
    format!("{}-{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<ListenerSettings, InvalidSetting> {
        let variables = [("DATABASE_URL", "postgres://u:p@h/d")].iter().chain(variables);
        let owned = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ListenerSettings::from_environment(&Environment::from_variables(owned).expect("no files are named"))
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = settings(&[]).expect("defaults");
        assert_eq!((settings.limits.min(), settings.limits.max()), (2, 10));
        assert_eq!((&*settings.group_id, &*settings.message_group_id), ("user_group", "notary-service"));
        assert_eq!(settings.process.admin_addr.port(), 9465);
    }

    #[test]
    fn stamps_and_messages_are_read_in_two_groups() {
        let groups = [("KAFKA_GROUP_ID", "one"), ("MESSAGE_GROUP_ID", "one")];
        let error = settings(&groups).expect_err("one group").to_string();
        assert!(error.starts_with("MESSAGE_GROUP_ID=\"one\""), "{error}");
        assert!(settings(&[("KAFKA_GROUP_ID", "notary-service")]).is_err());
    }

    #[test]
    fn a_min_above_max_is_refused_with_both_numbers() {
        let error = settings(&[("MIN_BATCH_SIZE", "11"), ("MAX_BATCH_SIZE", "10")]).expect_err("impossible");
        assert!(error.to_string().contains("min_batch_size 11 and max_batch_size 10"), "{error}");
        assert!(settings(&[("MIN_BATCH_SIZE", "0")]).is_err());
    }
}
