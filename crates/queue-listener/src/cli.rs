//! The commands a person types.

use clap::{Parser, Subcommand};
use platform::settings::{Environment, ProcessSettings};
use platform::spans::Sampling;
use platform::{healthcheck, shutdown, spans, telemetry};

use crate::app;
use crate::deliveries::commands::DeliveryCommands;
use crate::deliveries::echo::WebhookEcho;
use crate::dlq::Dlq;
use crate::settings::{ADMIN_ADDR, ListenerSettings};

/// Takes stamp events from Kafka and processes them in batches, none later than its sender allowed.
///
/// Settings come from environment variables.
#[derive(Debug, Parser)]
#[command(name = "queue-listener", version)]
pub struct ListenerCli {
    #[command(subcommand)]
    command: Option<ListenerCommand>,
}

#[derive(Debug, Subcommand)]
enum ListenerCommand {
    /// Listens until SIGTERM or SIGINT; this is what happens without a command.
    Run,
    Dlq(Dlq),
    Deliveries(DeliveryCommands),
    WebhookEcho(WebhookEcho),
    /// Ends with 0 if the service that listens on `ADMIN_ADDR` is ready, and prints what it says of itself.
    Healthcheck,
}

impl ListenerCli {
    /// Does what the command asks for.
    ///
    /// # Errors
    /// [`InvalidSetting`](platform::settings::InvalidSetting) for a bad configuration, else what went wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        let environment = Environment::from_process()?;
        match self.command.unwrap_or(ListenerCommand::Run) {
            ListenerCommand::Run => {
                let settings = ListenerSettings::from_environment(&environment)?;
                telemetry::init(&environment)?;
                spans::init(&environment, "queue-listener", Sampling::Everything)?;
                app::start(settings, shutdown::on_signal()?)?.join().await
            }
            ListenerCommand::Dlq(dlq) => dlq.run(&environment).await,
            ListenerCommand::Deliveries(deliveries) => deliveries.run(&environment).await,
            ListenerCommand::WebhookEcho(echo) => echo.run(&environment).await,
            ListenerCommand::Healthcheck => {
                let process = ProcessSettings::from_environment(&environment, ADMIN_ADDR)?;
                println!("{}", healthcheck::ready(process.admin_addr).await?);
                Ok(())
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
        ListenerCli::command().debug_assert();
    }

    #[test]
    fn what_replay_and_purge_work_on_is_said_in_exactly_one_way() {
        let parses = |line: &str| ListenerCli::try_parse_from(line.split(' ')).is_ok();
        for right in [
            "queue-listener dlq replay --id 1 2 --dry-run",
            "queue-listener dlq replay --topic t --since 2026-01-01T00:00:00Z --rate 5 --json",
            "queue-listener dlq replay --all --max-replays 1",
            "queue-listener dlq purge --before 2026-01-01T00:00:00Z",
            "queue-listener dlq --json purge --replayed",
        ] {
            assert!(parses(right), "{right}");
        }
        for wrong in [
            "queue-listener dlq",
            "queue-listener dlq replay",
            "queue-listener dlq replay --all --id 1",
            "queue-listener dlq replay --all --since 2026-01-01T00:00:00Z",
            "queue-listener dlq replay --topic t --since yesterday",
            "queue-listener dlq replay --all --rate 0",
            "queue-listener dlq purge",
            "queue-listener dlq purge --replayed --before 2026-01-01T00:00:00Z",
            "queue-listener dlq show",
        ] {
            assert!(!parses(wrong), "{wrong}");
        }
    }
}
