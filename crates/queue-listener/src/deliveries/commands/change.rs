//! `deliveries retry` and `deliveries fail`

use chrono::{DateTime, Utc};
use clap::Args;
use domain::delivery::Sink;
use domain::stamp::parse_date;
use platform::settings::Environment;
use store::Database;
use store::deliveries::queries::{self, Again};

use super::super::settings::SinkSettings;
use crate::output::{Changes, Output};

/// Batches whose deliveries are changed together.
const PAGE: usize = 1_000;

/// Tells batches again: the failed parts of a failed delivery, all parts of a delivered one.
///
/// A batch without a delivery gets one for the sink that the environment names.
#[derive(Debug, Args)]
pub(super) struct Retry {
    #[command(flatten)]
    selector: RetrySelector,
    /// Say what would be told again, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RetrySelector {
    /// Only these batches.
    #[arg(long, value_name = "N", num_args = 1..)]
    batch: Option<Vec<i64>>,
    /// All batches whose delivery is given up.
    #[arg(long)]
    failed: bool,
    /// All batches that were made then or later (RFC 3339), delivered or not.
    #[arg(long, value_name = "TIME", value_parser = parse_date)]
    since: Option<DateTime<Utc>>,
}

/// Gives up what waits for a sink that no listener serves.
#[derive(Debug, Args)]
pub(super) struct Fail {
    /// The sink: kafka or webhook.
    #[arg(long, value_parser = sink)]
    sink: Sink,
    /// Only batches that were made before this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_date)]
    before: Option<DateTime<Utc>>,
    /// Say how much would be given up, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

fn sink(word: &str) -> Result<Sink, String> {
    Sink::of(word).ok_or_else(|| "kafka or webhook".to_owned())
}

impl Retry {
    pub(super) async fn run(
        self,
        database: &Database,
        environment: &Environment,
        output: Output,
    ) -> anyhow::Result<()> {
        let sink = SinkSettings::from_environment(environment)?.map(|settings| settings.target.sink());
        let RetrySelector { batch, failed: _, since } = self.selector;
        if let Some(batches) = &batch
            && let Some((missing, is_there)) = queries::not_retryable(database, batches, sink).await?
        {
            let why = if is_there {
                "has no delivery, and BATCH_SINK names no sink for one"
            } else {
                "does not exist"
            };
            anyhow::bail!("batch {missing} {why}; nothing was changed");
        }
        let again = match (batch, since) {
            (Some(batches), _) => Again::Batches(batches),
            (None, Some(since)) => Again::Since(since),
            (None, None) => Again::Failed,
        };
        let (mut selected, mut after) = (0, 0);
        loop {
            let page = queries::retry(database, &again, sink, after, PAGE as i64, self.dry_run).await?;
            selected += page.len();
            let Some(last) = page.last() else { break };
            after = *last;
        }
        let changed = if self.dry_run { 0 } else { selected };
        output.changes(Changes { selected, changed, dry_run: self.dry_run, ..Changes::default() })
    }
}

impl Fail {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        let Self { sink, before, dry_run } = self;
        if dry_run {
            let selected = queries::waiting(database, sink, before).await?;
            return output.changes(Changes { selected, dry_run, ..Changes::default() });
        }
        let mut changed = 0;
        loop {
            let page = queries::fail(database, sink, before, PAGE).await?;
            changed += page;
            if page < PAGE {
                break;
            }
        }
        output.changes(Changes { selected: changed, changed, ..Changes::default() })
    }
}
