//! `dlq list`

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use domain::stamp::parse_date;
use store::Database;
use store::dead_letters::queries::{self, Filter, LetterSummary};
use store::readiness::require_database;

use crate::output::{Output, line, object};
use crate::terminal::escaped;

/// Lists dead letters, the newest first.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only the dead letters of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only the dead letters with this reason, such as `not_json`.
    #[arg(long)]
    reason: Option<String>,
    /// Only the dead letters that were stored then or later (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_date)]
    since: Option<DateTime<Utc>>,
    /// At most so many dead letters.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl List {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        require_database(database).await?;
        let Self { topic, reason, since, limit } = self;
        let filter = Filter { topic, reason, since, ..Filter::default() };
        let letters = queries::list(database, filter, limit.into()).await?;
        if output.json {
            return letters.iter().try_for_each(|letter| object(&serde_json::to_value(letter)?));
        }
        if letters.is_empty() {
            return line("no dead letters");
        }
        line(&table(&letters).to_string())
    }
}

/// Returns one line for each dead letter, so that the usual ones fit a terminal of 80 columns and `grep` finds them;
/// `show` has the rest.
fn table(letters: &[LetterSummary]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["ID", "received", "topic-partition@offset", "reason", "replays", "state"]);
    for letter in letters {
        table.add_row([
            letter.id.to_string(),
            letter.received_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            format!("{}-{}@{}", escaped(&letter.topic), letter.partition, letter.offset),
            escaped(&letter.reason),
            letter.replays.to_string(),
            state(letter).to_owned(),
        ]);
    }
    table
}

fn state(letter: &LetterSummary) -> &'static str {
    match (letter.resolved_at, letter.replayed_at) {
        (Some(_), _) => "resolved",
        (None, Some(_)) => "replayed",
        (None, None) => "waiting",
    }
}
