//! Whether the process can do its work, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::sync::watch;

use crate::clock::ClockSample;
use crate::kafka::reachability::Reachability;
use crate::postgres::migrations::{SchemaState, schema_state};
use crate::postgres::{Database, DatabaseError};
use crate::retry::Backoff;

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// All is well.
    Ready,
    /// The work goes on, but something needs attention.
    Degraded(Vec<String>),
    /// Nothing can be done at the moment.
    NotReady(Vec<String>),
}

/// A further condition: `Some` with the reason while it is not met.
pub type Condition = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Knows what the process depends on.
pub struct Health {
    database: Database,
    kafka: watch::Receiver<Reachability>,
    schema_usable: AtomicBool,
    required: Vec<Condition>,
    desired: Vec<Condition>,
}

impl Health {
    /// A process that depends on a database and on Kafka.
    pub fn new(database: Database, kafka: watch::Receiver<Reachability>) -> Self {
        Self {
            database,
            kafka,
            schema_usable: AtomicBool::new(false),
            required: Vec::new(),
            desired: Vec::new(),
        }
    }

    /// Adds a condition without which the process is not ready.
    #[must_use]
    pub fn require(mut self, condition: Condition) -> Self {
        self.required.push(condition);
        self
    }

    /// Adds a condition without which the process is degraded.
    #[must_use]
    pub fn desire(mut self, condition: Condition) -> Self {
        self.desired.push(condition);
        self
    }

    /// Looks at everything.
    pub async fn check(&self) -> Readiness {
        let mut missing: Vec<String> = self.required.iter().filter_map(|condition| condition()).collect();
        let mut wanting: Vec<String> = self.desired.iter().filter_map(|condition| condition()).collect();
        missing.extend(self.check_database().await);
        match *self.kafka.borrow() {
            Reachability::Reachable => {}
            Reachability::NotYet => missing.push("Kafka has not answered yet".to_owned()),
            Reachability::Away => wanting.push("Kafka does not answer".to_owned()),
        }
        if !missing.is_empty() {
            missing.extend(wanting);
            return Readiness::NotReady(missing);
        }
        if wanting.is_empty() { Readiness::Ready } else { Readiness::Degraded(wanting) }
    }

    async fn check_database(&self) -> Option<String> {
        if self.schema_usable.load(Ordering::Relaxed) {
            return ClockSample::of(&self.database)
                .await
                .err()
                .map(|_| "PostgreSQL does not answer".to_owned());
        }
        match schema_state(&self.database).await {
            Ok(SchemaState::Usable) => {
                self.schema_usable.store(true, Ordering::Relaxed);
                None
            }
            Ok(SchemaState::Outdated { missing }) => Some(outdated(&missing)),
            Err(_) => Some("PostgreSQL does not answer".to_owned()),
        }
    }
}

fn outdated(missing: &str) -> String {
    format!("the database lacks migration {missing}; run: stamp-api migrate")
}

/// The database's schema is older than this version needs.
#[derive(Debug, thiserror::Error)]
#[error("{}", outdated(.0))]
pub struct SchemaOutdated(String);

/// Makes sure, without waiting for it, that the database serves this version: for commands that people type.
///
/// # Errors
/// If the database can't be asked or its schema is older than this version needs.
pub async fn require_database(database: &Database) -> anyhow::Result<()> {
    match schema_state(database).await.context("the database can't be asked")? {
        SchemaState::Usable => Ok(()),
        SchemaState::Outdated { missing } => Err(SchemaOutdated(missing).into()),
    }
}

/// Waits, for as long as it takes, until the database answers.
///
/// # Errors
/// If its schema is older than this version needs.
pub async fn wait_for_database(database: &Database) -> Result<(), SchemaOutdated> {
    let mut backoff = Backoff::default();
    loop {
        match schema_state(database).await {
            Ok(SchemaState::Usable) => return Ok(()),
            Ok(SchemaState::Outdated { missing }) => return Err(SchemaOutdated(missing)),
            Err(error) => wait(&mut backoff, &error).await,
        }
    }
}

async fn wait(backoff: &mut Backoff, error: &DatabaseError) {
    let delay = backoff.delay();
    tracing::warn!(error = error.to_string(), delay_ms = delay.as_millis() as u64, "waiting for PostgreSQL");
    tokio::time::sleep(delay).await;
}

/// Shares a process's health between its servers.
pub type SharedHealth = Arc<Health>;
