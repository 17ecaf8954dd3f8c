//! `queue-listener deliveries`: what operators do with deliveries of batches.

mod change;
mod look;

use clap::{Args, Subcommand};
use platform::settings::Environment;
use store::Database;
use store::readiness::require_database;
use store::settings::DatabaseSettings;

use crate::output::Output;

/// Lists, shows, retries and gives up deliveries of batches.
#[derive(Debug, Args)]
pub(crate) struct DeliveryCommands {
    #[command(subcommand)]
    command: DeliveriesCommand,
    /// Print one JSON object a line, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DeliveriesCommand {
    List(look::ListDeliveries),
    Show(look::ShowDelivery),
    Retry(change::Retry),
    Fail(change::Fail),
}

impl DeliveryCommands {
    /// Does what the command asks for.
    ///
    /// # Errors
    /// If a setting is wrong, a batch is missing, or PostgreSQL does not do its part.
    pub(crate) async fn run(self, environment: &Environment) -> anyhow::Result<()> {
        let settings = DatabaseSettings::from_environment(environment)?;
        let database = Database::new(&settings, "queue-listener deliveries")?;
        let output = Output { json: self.json };
        require_database(&database).await?;
        match self.command {
            DeliveriesCommand::List(list) => list.run(&database, output).await,
            DeliveriesCommand::Show(show) => show.run(&database, output).await,
            DeliveriesCommand::Retry(retry) => retry.run(&database, environment, output).await,
            DeliveriesCommand::Fail(fail) => fail.run(&database, output).await,
        }
    }
}
