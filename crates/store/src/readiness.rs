//! Whether the database can be of use: it answers, takes writes, holds text as Unicode, and its schema serves this
//! version.

use std::time::Duration;

use anyhow::Context as _;
use platform::retry::backoff;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::migrations::{self, WrongEncoding};

/// What a database is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// The database serves this version; one with a newer schema does too.
    Usable,
    /// The database does not answer.
    Away,
    /// The database takes no writes: it is a standby, or somebody has made it read-only.
    ReadOnly,
    /// The schema is older than this version needs.
    Outdated {
        /// Name of the first migration that is missing.
        missing: String,
    },
    /// The database holds text in an encoding that lacks most characters.
    WrongEncoding(WrongEncoding),
}

impl DatabaseState {
    /// Names of the states, in the order of [`ordinal`](Self::ordinal).
    pub const NAMES: [&str; 5] = ["usable", "away", "read_only", "outdated", "wrong_encoding"];

    /// Returns the state's place among [`NAMES`](Self::NAMES).
    pub fn ordinal(&self) -> usize {
        match self {
            Self::Usable => 0,
            Self::Away => 1,
            Self::ReadOnly => 2,
            Self::Outdated { .. } => 3,
            Self::WrongEncoding(_) => 4,
        }
    }

    /// Returns why the database is of no use, and what to do, in one sentence; `None` if it is of use.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Usable => None,
            Self::Away => Some("PostgreSQL does not answer".to_owned()),
            Self::ReadOnly => Some("PostgreSQL takes no writes: it is a standby, or read-only".to_owned()),
            Self::Outdated { missing } => {
                Some(format!("the database lacks migration {missing}; run: stamp-api migrate"))
            }
            Self::WrongEncoding(wrong) => Some(wrong.to_string()),
        }
    }

    /// Tells whether waiting won't help: a person has to act before the service can start.
    fn is_final(&self) -> bool {
        matches!(self, Self::Outdated { .. } | Self::WrongEncoding(_))
    }
}

/// A database that can be of no use before a person acts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnusableDatabase(String);

/// Looks what a database is good for.
///
/// # Errors
/// If the database can't be asked.
pub async fn look(database: &Database) -> Result<DatabaseState, DatabaseError> {
    database
        .ask(|session| {
            Box::pin(async move {
                let row = match session.query_one(&question(APPLIED), &[]).await {
                    Err(error) if error.is_missing_table() => {
                        session.query_one(&question("'{}'"), &[]).await?
                    }
                    answer => answer?,
                };
                let applied: Vec<String> = row.try_get(2)?;
                Ok(state(row.try_get(0)?, row.try_get(1)?, &applied))
            })
        })
        .await
}

/// The versions of the migrations that have run.
const APPLIED: &str = "ARRAY(SELECT version::text FROM __diesel_schema_migrations)";

/// Returns the one question about a database: its encoding, whether it is read-only, and what `applied` selects.
fn question(applied: &str) -> String {
    format!(
        "SELECT current_setting('server_encoding'), current_setting('transaction_read_only')::bool, {applied}::text[]"
    )
}

fn state(encoding: String, is_read_only: bool, applied: &[String]) -> DatabaseState {
    if let Err(wrong) = migrations::check_encoding(encoding) {
        return DatabaseState::WrongEncoding(wrong);
    }
    match migrations::missing(applied) {
        Some(missing) => DatabaseState::Outdated { missing },
        None if is_read_only => DatabaseState::ReadOnly,
        None => DatabaseState::Usable,
    }
}

/// Looks every second what the database is good for, tells the log when that changes, and returns what was seen last.
/// However often a process is asked for its readiness, the database is asked no more often.
pub fn watch(database: Database, stop: CancellationToken) -> watch::Receiver<DatabaseState> {
    const PERIOD: Duration = Duration::from_secs(1);
    let (seen, receiver) = watch::channel(DatabaseState::Away);
    tokio::spawn(async move {
        loop {
            let (state, error) = match look(&database).await {
                Ok(state) => (state, None),
                Err(error) => (DatabaseState::Away, Some(error.to_string())),
            };
            if state == DatabaseState::ReadOnly {
                database.forget_idle();
            }
            let changed = seen.send_if_modified(|last| std::mem::replace(last, state.clone()) != state);
            match (changed, state.reason()) {
                (true, Some(reason)) => tracing::warn!(error, "{reason}"),
                (true, None) => tracing::info!("PostgreSQL can be written to"),
                (false, _) => {}
            }
            if stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
                return;
            }
        }
    });
    receiver
}

/// Makes sure, without waiting for it, that the database serves this version: for commands that people type.
///
/// # Errors
/// If the database can't be asked, or can be of no use.
pub async fn require_database(database: &Database) -> anyhow::Result<()> {
    let state = look(database).await.context("the database can't be asked")?;
    // What only reads goes well on a standby; for what writes, the server says so itself.
    let reason = state.reason().filter(|_| state.is_final());
    reason.map_or(Ok(()), |reason| Err(UnusableDatabase(reason).into()))
}

/// Waits, for as long as it takes, until the database can be written to.
///
/// # Errors
/// If a person has to act first: the schema is older than this version needs, or the encoding lacks characters.
pub async fn wait_for_database(database: &Database) -> Result<(), UnusableDatabase> {
    let mut backoff = backoff();
    loop {
        let error = match look(database).await {
            Ok(state) => match state.reason() {
                None => return Ok(()),
                Some(reason) if state.is_final() => return Err(UnusableDatabase(reason)),
                Some(reason) => {
                    database.forget_idle();
                    reason
                }
            },
            Err(error) => error.to_string(),
        };
        let delay = backoff.delay();
        tracing::warn!(error, retry.delay_ms = delay.as_millis() as u64, "waiting for PostgreSQL");
        tokio::time::sleep(delay).await;
    }
}
