//! Puts batches and dead letters into PostgreSQL, however long that takes.

use std::collections::HashSet;
use std::future::Future;

use domain::batch::policy::Trigger;
use platform::postgres::dead_letters::{self, DeadLetter};
use platform::postgres::processing::{self, Member, Processed};
use platform::postgres::{Database, DatabaseError, ErrorClass};
use platform::retry::Backoff;

/// Writes for one listener.
pub(crate) struct Writer {
    pub(crate) database: Database,
    /// What the instance is called in `batches.listener`.
    pub(crate) listener: String,
    /// Where its records come from.
    pub(crate) topic: String,
}

/// An error that no waiting mends. The process stops and names it.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct Unwritable {
    step: &'static str,
    source: DatabaseError,
}

impl Writer {
    /// Processes batches in one transaction; an outage is waited for.
    pub(crate) async fn process(
        &self,
        members: &[Member],
        triggers: &[Trigger],
    ) -> Result<Processed, Unwritable> {
        patiently("batches can't be written", || {
            processing::process(&self.database, members.to_vec(), triggers, &self.listener, &self.topic)
        })
        .await
    }

    /// Returns those of the ids whose stamps are processed.
    pub(crate) async fn processed_among(&self, ids: &[String]) -> Result<HashSet<String>, Unwritable> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        patiently("processed stamps can't be looked up", || processing::processed_among(&self.database, &ids))
            .await
    }

    /// Stores dead letters, each once.
    pub(crate) async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Unwritable> {
        if letters.is_empty() {
            return Ok(());
        }
        patiently("dead letters can't be written", || dead_letters::store(&self.database, letters)).await?;
        for letter in letters {
            let DeadLetter { topic, partition, offset, reason, detail, .. } = letter;
            tracing::warn!(topic, partition, offset, reason, detail, "a record became a dead letter");
        }
        Ok(())
    }
}

/// Tries until it works or no waiting can mend it.
async fn patiently<T, F>(step: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, Unwritable>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(source) if source.class() != ErrorClass::Transient => {
                return Err(Unwritable { step, source });
            }
            Err(error) => {
                let delay = backoff.delay();
                tracing::warn!(
                    error = error.to_string(),
                    delay_ms = delay.as_millis() as u64,
                    "{step}; trying again"
                );
                tokio::time::sleep(delay).await;
            }
        }
    }
}
