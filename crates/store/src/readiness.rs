//! Whether the database can be asked, and whether its schema serves this version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use futures_util::future::BoxFuture;

use crate::clock::ClockSample;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::migrations::{SchemaState, schema_state};
use domain::backoff::Backoff;
use platform::retry::backoff;

/// Returns a probe for [`Health`](platform::health::Health): why the database can't do its part. Once the schema
/// serves this version it is not looked at again.
pub fn probe(database: Database) -> impl Fn() -> BoxFuture<'static, Option<String>> + Send + Sync {
    let schema_usable = Arc::new(AtomicBool::new(false));
    move || {
        let (database, schema_usable) = (database.clone(), Arc::clone(&schema_usable));
        Box::pin(async move {
            if schema_usable.load(Ordering::Relaxed) {
                return ClockSample::of(&database)
                    .await
                    .err()
                    .map(|_| "PostgreSQL does not answer".to_owned());
            }
            match schema_state(&database).await {
                Ok(SchemaState::Usable) => {
                    schema_usable.store(true, Ordering::Relaxed);
                    None
                }
                Ok(SchemaState::Outdated { missing }) => Some(outdated(&missing)),
                Err(_) => Some("PostgreSQL does not answer".to_owned()),
            }
        })
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
/// If the database's schema is older than this version needs.
pub async fn wait_for_database(database: &Database) -> Result<(), SchemaOutdated> {
    let mut backoff = backoff();
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
