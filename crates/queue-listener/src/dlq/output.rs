//! What is printed: for people, or one JSON object a line. Nothing in it is obeyed by a terminal.

use std::io::{ErrorKind, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::terminal::json_line;

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// For programs.
    pub(super) json: bool,
}

/// What a command that changes something did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// How many rows were meant.
    pub(super) selected: usize,
    /// How many of them it changed.
    pub(super) changed: usize,
    /// It was not to change any.
    pub(super) dry_run: bool,
    /// It was interrupted.
    pub(super) interrupted: bool,
}

impl Output {
    /// Prints the last line: how many rows changed.
    ///
    /// # Errors
    /// As for [`line`].
    pub(super) fn changes(self, changes: Changes) -> anyhow::Result<()> {
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
/// If standard output can't be written to for another reason.
pub(super) fn line(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints an object for programs.
///
/// # Errors
/// As for [`line`].
pub(super) fn object(object: &Value) -> anyhow::Result<()> {
    line(&json_line(object))
}

/// A point in time for people.
pub(super) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
