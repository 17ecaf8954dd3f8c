//! The commands a person types.

use clap::{Parser, Subcommand};
use platform::settings::Environment;
use platform::spans::Sampling;
use platform::{healthcheck, shutdown, spans, telemetry};
use store::clock;
use store::migrations;
use store::settings::DatabaseSettings;

use crate::app;
use crate::auth::issue::{self, Grant};
use crate::auth::settings::AuthSettings;
use crate::settings::{ApiSettings, process};

/// Takes stamps in over HTTP, stores them in PostgreSQL and publishes their events to Kafka.
///
/// Settings come from environment variables.
#[derive(Debug, Parser)]
#[command(name = "stamp-api", version)]
pub struct ApiCli {
    #[command(subcommand)]
    command: Option<ApiCommand>,
}

#[derive(Debug, Clone, Subcommand)]
enum ApiCommand {
    /// Serves HTTP until SIGTERM or SIGINT; this is what happens without a command.
    Serve,
    /// Brings the database's schema up to this version.
    Migrate,
    /// Prints a token for a user, signed with `JWT_SECRET` (HS256).
    Token(Grant),
    /// Ends with 0 if the service that listens on `ADMIN_ADDR` is ready, and prints what it says of itself.
    Healthcheck,
}

impl ApiCli {
    /// Does what the command asks for.
    ///
    /// # Errors
    /// [`InvalidSetting`](platform::settings::InvalidSetting) for a bad configuration, else what went wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        let environment = Environment::from_process()?;
        match self.command.unwrap_or(ApiCommand::Serve) {
            ApiCommand::Serve => serve(&environment).await,
            ApiCommand::Migrate => migrate(&environment).await,
            ApiCommand::Token(grant) => token(&environment, &grant),
            ApiCommand::Healthcheck => {
                println!("{}", healthcheck::ready(process(&environment)?.admin_addr).await?);
                Ok(())
            }
        }
    }
}

async fn serve(environment: &Environment) -> anyhow::Result<()> {
    let settings = ApiSettings::from_environment(environment)?;
    telemetry::init(environment)?;
    spans::init(environment, "stamp-api", Sampling::AsSet)?;
    app::serve(settings, shutdown::on_signal()?).await
}

async fn migrate(environment: &Environment) -> anyhow::Result<()> {
    let settings = DatabaseSettings::from_environment(environment)?;
    telemetry::init(environment)?;
    let applied = migrations::migrate(&settings).await?;
    for name in &applied {
        println!("applied {name}");
    }
    if applied.is_empty() {
        println!("nothing to do: the schema is up to date");
    }
    Ok(())
}

fn token(environment: &Environment, grant: &Grant) -> anyhow::Result<()> {
    let settings = AuthSettings::from_environment(environment)?;
    println!("{}", issue::token(&settings, grant, clock::host_time())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        ApiCli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        let cli = ApiCli::try_parse_from(["stamp-api"]).expect("no command is fine");
        assert!(cli.command.is_none());
        assert!(ApiCli::try_parse_from(["stamp-api", "serf"]).is_err());
    }
}
