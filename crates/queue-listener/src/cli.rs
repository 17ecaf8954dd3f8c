//! The commands a person types.

use clap::{Parser, Subcommand};
use platform::settings::{Environment, ProcessSettings};
use platform::{healthcheck, shutdown, telemetry};

use crate::app;
use crate::settings::{ADMIN_ADDR, Settings};

/// Takes stamp events from Kafka and processes them in batches, none later than its sender allowed.
///
/// Settings come from environment variables.
#[derive(Debug, Parser)]
#[command(name = "queue-listener", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Listens until SIGTERM or SIGINT; this is what happens without a command.
    Run,
    /// Ends with 0 if the service that listens on `ADMIN_ADDR` is ready.
    Healthcheck,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`InvalidSetting`](platform::settings::InvalidSetting) for a bad configuration, else what went wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        let environment = Environment::from_process()?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => {
                let settings = Settings::from_environment(&environment)?;
                telemetry::init(&environment)?;
                app::start(settings, shutdown::on_signal()?)?.join().await
            }
            Command::Healthcheck => {
                let process = ProcessSettings::from_environment(&environment, ADMIN_ADDR)?;
                healthcheck::ready(process.admin_addr).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
