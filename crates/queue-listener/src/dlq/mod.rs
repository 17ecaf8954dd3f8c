//! `queue-listener dlq`: what operators do with dead letters.
//!
//! [`list`] and [`show`] look, [`replay`] publishes them once more, [`purge`] removes them. Everything that is
//! printed goes through `output`, which lets nothing through that a terminal would obey.

mod list;
mod publisher;
mod purge;
mod replay;
mod show;

use clap::{Args, Subcommand};
use platform::settings::Environment;
use store::Database;
use store::dead_letters::queries::{self, Filter};
use store::readiness::require_database;
use store::settings::DatabaseSettings;

use crate::output::Output;

/// Lists, shows, replays and removes dead letters: the records that could not be understood.
#[derive(Debug, Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    command: DlqCommand,
    /// Print one JSON object a line, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    List(list::List),
    Show(show::Show),
    Replay(replay::Replay),
    Purge(purge::Purge),
}

impl Dlq {
    /// Does what the command asks for.
    ///
    /// # Errors
    /// If a setting is wrong, a dead letter is missing, or PostgreSQL or Kafka don't do their part.
    pub(crate) async fn run(self, environment: &Environment) -> anyhow::Result<()> {
        let settings = DatabaseSettings::from_environment(environment)?;
        let database = Database::new(&settings, "queue-listener dlq")?;
        let output = Output { json: self.json };
        match self.command {
            DlqCommand::List(list) => list.run(&database, output).await,
            DlqCommand::Show(show) => show.run(&database, output).await,
            DlqCommand::Replay(replay) => replay.run(&database, environment, output).await,
            DlqCommand::Purge(purge) => purge.run(&database, output).await,
        }
    }
}

/// Selects dead letters and returns their ids and about how many bytes each takes.
///
/// # Errors
/// If a dead letter that was named does not exist, or the database can't be asked.
async fn select(
    database: &Database,
    named: Option<&[i64]>,
    filter: &Filter,
) -> anyhow::Result<Vec<(i64, i32)>> {
    require_database(database).await?;
    if let Some(named) = named {
        let there = Filter { ids: Some(named.to_vec()), ..Filter::default() };
        let there = queries::select(database, there).await?;
        let is_there = |id: &i64| there.iter().any(|(there, _)| there == id);
        if let Some(missing) = named.iter().find(|id| !is_there(id)) {
            anyhow::bail!("there is no dead letter {missing}; nothing was changed");
        }
    }
    Ok(queries::select(database, filter.clone()).await?)
}
