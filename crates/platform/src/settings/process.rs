//! The settings that every process has.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::environment::Environment;
use super::invalid::InvalidSetting;
use super::values::{address, seconds};

/// The settings that every process has: an address for its operators and a time to stop in.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_addr: SocketAddr,
    /// How long a stop of the process may take.
    pub shutdown_timeout: Duration,
}

impl ProcessSettings {
    /// Reads `ADMIN_ADDR` and `SHUTDOWN_TIMEOUT_SECS`.
    ///
    /// # Errors
    /// If one of the variables has a value that can't be used.
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
            shutdown_timeout: seconds("SHUTDOWN_TIMEOUT_SECS", raw.shutdown_timeout_secs, 10, 1..=3_600)?,
        })
    }
}
