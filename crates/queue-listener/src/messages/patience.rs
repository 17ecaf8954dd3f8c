//! Patience with a database that is away, for what is done one after the other.

use std::future::Future;

use platform::retry::backoff;
use store::{DatabaseError, ErrorClass};

/// An error that no waiting mends. The process stops and names it.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(super) struct Unwritable {
    step: &'static str,
    source: DatabaseError,
}

/// Tries something until it works or no waiting can mend it.
pub(super) async fn patiently<T, F>(
    step: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Unwritable>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    let mut backoff = backoff();
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(source) if source.class() != ErrorClass::Transient => {
                return Err(Unwritable { step, source });
            }
            Err(error) => {
                let delay = backoff.delay();
                let delay_ms = delay.as_millis() as u64;
                tracing::warn!(error = error.to_string(), retry.delay_ms = delay_ms, "{step}; trying again");
                tokio::time::sleep(delay).await;
            }
        }
    }
}
