//! `dlq show`

use chrono::DateTime;
use clap::Args;
use domain::record::text::{to_bytes, to_text};
use serde_json::{Value, json};
use store::Database;
use store::dead_letters::queries::{self, Filter, WholeLetter};
use store::readiness::require_database;

use crate::output::{self, Output, line, shown};
use crate::terminal::escaped;

/// Shows everything about one dead letter.
///
/// Bytes are shown as text, or as \x… in hex where they are none.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Id of the dead letter, as `list` has it.
    id: i64,
}

impl Show {
    pub(super) async fn run(self, database: &Database, output: Output) -> anyhow::Result<()> {
        require_database(database).await?;
        let filter = Filter { ids: Some(vec![self.id]), ..Filter::default() };
        let Some(letter) = queries::load(database, filter).await?.pop() else {
            anyhow::bail!("there is no dead letter {}", self.id);
        };
        if output.json {
            return output::object(&object(&letter)?);
        }
        lines(&letter).iter().try_for_each(|(name, value)| line(&format!("{name:<12} {value}")))
    }
}

fn object(letter: &WholeLetter) -> serde_json::Result<Value> {
    let mut object = serde_json::to_value(&letter.summary)?;
    object["key"] = json!(letter.key.as_deref().map(to_text));
    object["value"] = json!(letter.value.as_deref().map(to_text));
    object["headers"] = letter.headers.clone();
    Ok(object)
}

fn lines(letter: &WholeLetter) -> Vec<(&'static str, String)> {
    let WholeLetter { summary, key, value, headers } = letter;
    let optional = |time: Option<_>| time.map_or_else(|| "-".to_owned(), shown);
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or_else(|| "(none)".to_owned(), visible);
    let timestamp = DateTime::from_timestamp_millis(summary.timestamp).filter(|_| summary.timestamp >= 0);
    let mut lines = vec![
        ("id", summary.id.to_string()),
        ("topic", escaped(&summary.topic)),
        ("partition", summary.partition.to_string()),
        ("offset", summary.offset.to_string()),
        ("timestamp", format!("{} ({})", summary.timestamp, optional(timestamp))),
        ("reason", escaped(&summary.reason)),
        ("detail", escaped(&summary.detail)),
        ("received at", shown(summary.received_at)),
        ("replays", summary.replays.to_string()),
        ("replayed at", optional(summary.replayed_at)),
        ("resolved at", optional(summary.resolved_at)),
        ("key", bytes(key)),
        ("value", bytes(value)),
    ];
    for header in headers.as_array().into_iter().flatten() {
        let text = |member: &str| {
            header[member].as_str().map_or_else(|| "(none)".to_owned(), |text| visible(&to_bytes(text)))
        };
        lines.push(("header", format!("{}: {}", text("key"), text("value"))));
    }
    lines
}

/// Returns bytes as text for a terminal: hex is shown as it is, and in text every backslash is doubled.
fn visible(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => escaped(text),
        Err(_) => to_text(bytes),
    }
}
