//! `dlq replay`

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use clap::Args;
use domain::stamp::parse_date;
use indicatif::ProgressBar;
use platform::kafka::KafkaSettings;
use platform::settings::Environment;
use platform::shutdown::{self, CancellationToken};
use store::Database;
use store::clock::PostgresClock;
use store::dead_letters::queries::{self, Filter, WholeLetter};
use store::dead_letters::replays;

use super::publisher::{ReplayPublisher, is_outage};
use super::select;
use crate::output::{Changes, Output};

/// Dead letters that are published and marked together, unless they are larger than a page may be.
const PAGE: usize = 500;
const PAGE_BYTES: i64 = 16 << 20;
/// The number of replays in vain after which `--all` leaves a dead letter alone.
const MAX_REPLAYS: i32 = 3;

/// Publishes dead letters once more to the topic they came from.
///
/// Takes those that wait: no replay of them is under way or has succeeded. It can be interrupted and run again;
/// what Kafka has acknowledged is not sent again.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    selector: ReplaySelector,
    /// Of the topic's dead letters, only those that were stored then or later (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_date, requires = "topic", conflicts_with_all = ["id", "all"])]
    since: Option<DateTime<Utc>>,
    /// Say what would be published, and publish nothing.
    #[arg(long)]
    dry_run: bool,
    /// At most so many records a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Leave out dead letters that came back from so many replays [default: 3 with --all, else no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    max_replays: Option<i32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ReplaySelector {
    /// Only the dead letters with these ids.
    #[arg(long, value_name = "N", num_args = 1..)]
    id: Option<Vec<i64>>,
    /// All dead letters of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// All dead letters that wait.
    #[arg(long)]
    all: bool,
}

impl Replay {
    pub(super) async fn run(
        self,
        database: &Database,
        environment: &Environment,
        output: Output,
    ) -> anyhow::Result<()> {
        let kafka = KafkaSettings::from_environment(environment)?;
        kafka.try_out(&[("the producer of replays", ReplayPublisher::try_out)])?;
        let ReplaySelector { id, topic, all } = self.selector;
        let replays_below = self.max_replays.or(all.then_some(MAX_REPLAYS));
        let filter = Filter {
            ids: id.clone(),
            topic,
            since: self.since,
            replays_below,
            waiting: true,
            ..Filter::default()
        };
        let selected = select(database, id.as_deref(), &filter).await?;
        let changes = Changes { selected: selected.len(), dry_run: self.dry_run, ..Changes::default() };
        if self.dry_run || selected.is_empty() {
            return output.changes(changes);
        }
        let clock = PostgresClock::synchronised(database).await;
        let publisher = ReplayPublisher::new(&kafka, clock).context("the Kafka producer can't be made")?;
        let run = Run { database, publisher, changes, refused: None, stop: shutdown::on_signal()? };
        run.replay(&selected, self.rate, output).await
    }
}

/// A replay under way.
struct Run<'a> {
    database: &'a Database,
    publisher: ReplayPublisher,
    changes: Changes,
    /// The first dead letter that Kafka did not take, and why.
    refused: Option<(i64, String)>,
    stop: CancellationToken,
}

impl Run<'_> {
    async fn replay(
        mut self,
        selected: &[(i64, i32)],
        rate: Option<u32>,
        output: Output,
    ) -> anyhow::Result<()> {
        // Draws on standard error, and only if that is a terminal.
        let progress = ProgressBar::new(selected.len() as u64);
        // A page is what an interruption waits for: at a low rate no more than a second.
        let size = rate.map_or(PAGE, |rate| PAGE.min(rate as usize));
        let mut pause = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut result = Ok(());
        for page in pages(selected, size) {
            if self.stop.run_until_cancelled(&mut pause).await.is_none() {
                self.changes.interrupted = true;
                break;
            }
            let pace = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * page.len() as u32 / rate);
            pause = Box::pin(tokio::time::sleep(pace));
            result = self.replay_page(page).await;
            if result.is_err() {
                break;
            }
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        output.changes(self.changes)?;
        result?;
        match self.refused {
            None => Ok(()),
            Some((id, why)) => anyhow::bail!("Kafka did not take all of them; dead letter {id}: {why}"),
        }
    }

    /// Publishes a page, waits for Kafka, and notes what it has.
    async fn replay_page(&mut self, page: &[(i64, i32)]) -> anyhow::Result<()> {
        // Somebody else may have replayed or removed some of them since.
        let ids = Some(page.iter().map(|(id, _)| *id).collect());
        let waiting = Filter { ids, waiting: true, ..Filter::default() };
        let letters = queries::load(self.database, waiting).await?;
        let (mut published, mut outage) = (Vec::new(), None);
        for (letter, delivery) in letters.iter().zip(self.publisher.publish(&letters).await) {
            let WholeLetter { summary, .. } = letter;
            match delivery {
                Ok(()) => published.push((summary.id, summary.replays)),
                Err(error) if is_outage(&error) => outage = Some(error),
                Err(error) => drop(self.refused.get_or_insert_with(|| (summary.id, error.to_string()))),
            }
        }
        replays::mark_replayed(self.database, &published)
            .await
            .context("what Kafka has can't be marked and will be sent again")?;
        self.changes.changed += published.len();
        outage.map_or(Ok(()), |error| Err(anyhow!("Kafka does not take them now: {error}")))
    }
}

/// Cuts the selection into pages of bounded length and weight.
fn pages(selected: &[(i64, i32)], size: usize) -> impl Iterator<Item = &[(i64, i32)]> {
    let mut rest = selected;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, value): &&(i64, i32)| {
            bytes += i64::from(*value);
            bytes <= PAGE_BYTES
        };
        let length = rest.iter().take(size).take_while(fits).count().max(1).min(rest.len());
        let (page, after) = rest.split_at(length);
        rest = after;
        (!page.is_empty()).then_some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_in_rows_and_bytes_but_never_empty() {
        let rows = |sizes: &[i32]| sizes.iter().map(|size| (0, *size)).collect::<Vec<_>>();
        let cut = |sizes: &[i32]| pages(&rows(sizes), 3).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(cut(&[]), Vec::<usize>::new());
        assert_eq!(cut(&[1, 1, 1, 1]), [3, 1]);
        let all = PAGE_BYTES as i32;
        assert_eq!(cut(&[1, all, all + 1, 1, all - 1]), [1, 1, 1, 2]);
    }
}
