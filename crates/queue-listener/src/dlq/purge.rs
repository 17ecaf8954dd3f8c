//! `dlq purge`

use chrono::{DateTime, Utc};
use clap::Args;
use domain::stamp::parse_date;
use store::Database;
use store::dead_letters::queries::{self, Filter};

use super::select;
use crate::output::{Changes, Output};

/// Rows of dead letters that are removed together.
const PAGE: usize = 1_000;

/// Removes dead letters for good.
#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    selector: PurgeSelector,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PurgeSelector {
    /// Only the dead letters with these ids.
    #[arg(long, value_name = "N", num_args = 1..)]
    id: Option<Vec<i64>>,
    /// All dead letters that were stored before this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_date)]
    before: Option<DateTime<Utc>>,
    /// All dead letters that were replayed and understood.
    #[arg(long)]
    replayed: bool,
}

impl Purge {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        let PurgeSelector { id, before, replayed } = self.selector;
        let filter = Filter { ids: id.clone(), before, resolved: replayed, ..Filter::default() };
        let selected = select(database, id.as_deref(), &filter).await?;
        let mut changes = Changes { selected: selected.len(), dry_run: self.dry_run, ..Changes::default() };
        if !self.dry_run {
            for page in selected.chunks(PAGE) {
                let ids = Some(page.iter().map(|(id, _)| *id).collect());
                changes.changed += queries::purge(database, Filter { ids, ..filter.clone() }).await?;
            }
        }
        output.changes(changes)
    }
}
