//! `deliveries list` and `deliveries show`

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use domain::stamp::format_date;
use serde_json::{Value, json};
use store::Database;
use store::deliveries::queries::{self, Delivery, DeliveryState};

use crate::output::{Output, line, object, shown};
use crate::terminal::escaped;

/// Lists deliveries, those of the newest batches first.
#[derive(Debug, Args)]
pub(super) struct ListDeliveries {
    /// Only deliveries of this state: waiting, delivered or failed.
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
    /// At most so many deliveries.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Shows the delivery of a batch, part by part.
#[derive(Debug, Args)]
pub(super) struct ShowDelivery {
    /// Id of the batch.
    #[arg(value_name = "BATCH")]
    batch: i64,
}

fn state(word: &str) -> Result<DeliveryState, String> {
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == word);
    state.ok_or_else(|| "waiting, delivered or failed".to_owned())
}

impl ListDeliveries {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        print(&queries::list(database, self.state, self.limit.into()).await?, output, None)
    }
}

impl ShowDelivery {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        let parts = queries::parts(database, self.batch).await?;
        if parts.is_empty() {
            anyhow::bail!(
                "batch {} has no delivery: it was made while no sink was set, or does not exist",
                self.batch
            );
        }
        print(&parts, output, Some(()))
    }
}

/// Prints deliveries, or the parts of one.
fn print(deliveries: &[Delivery], output: Output, are_parts: Option<()>) -> anyhow::Result<()> {
    let numbered = deliveries.iter().zip(1..).map(|(one, part)| (one, are_parts.map(|()| part)));
    if output.json {
        return numbered.map(|(one, part)| to_json(one, part)).try_for_each(|one| object(&one));
    }
    if deliveries.is_empty() {
        return line("no deliveries");
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["batch", "part", "sink", "state", "tries", "next", "delivered", "last error"]);
    for (one, part) in numbered {
        table.add_row([
            one.batch.to_string(),
            part.map_or_else(|| format!("1-{}", one.parts), |part: i32| format!("{part}/{}", one.parts)),
            escaped(&one.sink),
            one.state.as_str().to_owned(),
            one.attempts.to_string(),
            time(one.next_attempt_at),
            time(one.delivered_at),
            escaped(one.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    line(&table.to_string())
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map(shown).unwrap_or_default()
}

fn to_json(delivery: &Delivery, part: Option<i32>) -> Value {
    let mut json = json!({
        "batch": delivery.batch,
        "parts": delivery.parts,
        "sink": delivery.sink,
        "state": delivery.state.as_str(),
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at.map(format_date),
        "delivered_at": delivery.delivered_at.map(format_date),
        "last_error": delivery.last_error,
    });
    if let Some(part) = part {
        json["part"] = part.into();
    }
    json
}
