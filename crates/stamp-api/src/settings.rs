//! The settings of `stamp-api`.

use std::net::SocketAddr;
use std::time::Duration;

use platform::kafka::KafkaSettings;
use platform::kafka::TopicSettings;
use platform::settings::{Environment, InvalidSetting, ProcessSettings, address, number, seconds};
use serde::Deserialize;
use store::settings::DatabaseSettings;

use crate::auth::settings::AuthSettings;
use crate::http::budget::LARGEST_BODY;

const DEFAULT_HTTP_ADDR: &str = "127.0.0.1:8000";
const DEFAULT_ADMIN_ADDR: &str = "127.0.0.1:9464";

/// What `stamp-api serve` runs with.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The address where clients reach the service.
    pub http_addr: SocketAddr,
    /// How long a connection is kept without a request.
    pub keep_alive: Duration,
    /// How many bytes of bodies may be in memory together.
    pub body_budget: usize,
    /// How long a stop first says on `/readyz` that the service goes, and serves on.
    pub shutdown_delay: Duration,
    /// The operators' address and the time to stop in.
    pub process: ProcessSettings,
    /// How to reach the database in which stamps are stored.
    pub database: DatabaseSettings,
    /// How to reach the brokers to which events are published.
    pub kafka: KafkaSettings,
    /// The topics, and how long a stamp may wait.
    pub topics: TopicSettings,
    /// Who may use the service.
    pub auth: AuthSettings,
}

impl ApiSettings {
    /// Reads all settings of the service.
    ///
    /// # Errors
    /// The first variable that is missing or can't be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            http_addr: Option<String>,
            http_keep_alive_secs: Option<String>,
            shutdown_delay_secs: Option<String>,
            http_body_budget_bytes: Option<String>,
        }
        let raw: Raw = environment.section()?;
        Ok(Self {
            http_addr: address("HTTP_ADDR", raw.http_addr, DEFAULT_HTTP_ADDR)?,
            // Longer than balancers keep theirs (60 s, most of them): who closes first must not be this side.
            keep_alive: seconds("HTTP_KEEP_ALIVE_SECS", raw.http_keep_alive_secs, 75, 1..=3_600)?,
            body_budget: number(
                "HTTP_BODY_BUDGET_BYTES",
                raw.http_body_budget_bytes,
                64 << 20,
                LARGEST_BODY..=1 << 40,
            )?,
            shutdown_delay: seconds("SHUTDOWN_DELAY_SECS", raw.shutdown_delay_secs, 0, 0..=3_600)?,
            process: process(environment)?,
            database: DatabaseSettings::from_environment(environment)?,
            kafka: KafkaSettings::from_environment(environment)?,
            topics: TopicSettings::from_environment(environment)?,
            auth: AuthSettings::from_environment(environment)?,
        })
    }
}

/// Reads `ADMIN_ADDR` and `SHUTDOWN_TIMEOUT_SECS`, which is all that a health check needs.
///
/// # Errors
/// If one of the variables can't be used.
pub fn process(environment: &Environment) -> Result<ProcessSettings, InvalidSetting> {
    ProcessSettings::from_environment(environment, DEFAULT_ADMIN_ADDR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<ApiSettings, InvalidSetting> {
        let database = [("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d")];
        let all = database.iter().chain(variables);
        let owned = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ApiSettings::from_environment(&Environment::from_variables(owned)?)
    }

    #[test]
    fn only_the_database_has_to_be_named() {
        let settings = settings(&[]).expect("defaults");
        assert_eq!(settings.http_addr.to_string(), "127.0.0.1:8000");
        assert_eq!(settings.process.admin_addr.to_string(), "127.0.0.1:9464");
        assert_eq!((settings.keep_alive.as_secs(), settings.shutdown_delay.as_secs()), (75, 0));
    }

    #[test]
    fn bodies_have_room_for_the_largest_one_at_least() {
        let bytes =
            |value| settings(&[("HTTP_BODY_BUDGET_BYTES", value)]).map(|settings| settings.body_budget);
        assert_eq!(bytes("8388608"), Ok(8 << 20));
        assert_eq!(bytes(""), Ok(64 << 20));
        for value in ["0", "8388607", "-1", "64M", "100000000000000000000"] {
            let error = bytes(value).expect_err(value).to_string();
            assert!(error.starts_with(&format!("HTTP_BODY_BUDGET_BYTES={value:?}")), "{error}");
        }
    }

    #[test]
    fn times_are_whole_seconds_within_an_hour() {
        for (name, zero_is_one) in [("HTTP_KEEP_ALIVE_SECS", false), ("SHUTDOWN_DELAY_SECS", true)] {
            assert_eq!(settings(&[(name, "0")]).is_ok(), zero_is_one, "{name}");
            assert!(settings(&[(name, "3600")]).is_ok() && settings(&[(name, "")]).is_ok(), "{name}");
            for value in ["-1", "3601", "1.5", "soon", "100000000000000000000"] {
                let error = settings(&[(name, value)]).expect_err(value).to_string();
                assert!(error.starts_with(&format!("{name}={value:?}")), "{error}");
            }
        }
    }
}
