//! What is printed: for people, or one JSON object a line. Nothing in it is obeyed by a terminal.

use std::io::{ErrorKind, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::terminal::json_line;

/// How a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether one JSON object a line is printed, for programs.
    pub(crate) json: bool,
}

/// What a command did that changes dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// How many dead letters were meant.
    pub(crate) selected: usize,
    /// How many dead letters the command changed.
    pub(crate) changed: usize,
    /// Whether the command was not to change any.
    pub(crate) dry_run: bool,
    /// Whether the command was interrupted.
    pub(crate) interrupted: bool,
}

impl Output {
    /// Prints the last line: how many rows changed.
    ///
    /// # Errors
    /// If standard output can't be written to, unless whoever reads has stopped reading.
    pub(crate) fn changes(self, changes: Changes) -> anyhow::Result<()> {
        let Changes { selected, changed, dry_run, interrupted } = changes;
        if self.json {
            return object(&json!({
                "selected": selected, "changed": changed, "dry_run": dry_run, "interrupted": interrupted
            }));
        }
        let rows = |count: usize| if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
        let summary = match (dry_run, interrupted) {
            (true, _) => format!("{} would change, {changed} changed: a dry run", rows(selected)),
            (_, true) => format!("{} of {selected} changed: interrupted, run it again", rows(changed)),
            _ => format!("{} changed", rows(changed)),
        };
        line(&summary)
    }
}

/// Prints a line that is safe already. Whoever reads may stop reading, as `head` does.
///
/// # Errors
/// If standard output can't be written to, unless whoever reads has stopped reading.
pub(crate) fn line(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints an object for programs.
///
/// # Errors
/// If standard output can't be written to, unless whoever reads has stopped reading.
pub(crate) fn object(object: &Value) -> anyhow::Result<()> {
    line(&json_line(object))
}

/// Returns a point in time as text for people.
pub(crate) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
