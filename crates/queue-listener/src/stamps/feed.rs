//! Whether Kafka feeds this listener.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long ago the last records came at most while Kafka feeds a listener.
const RECENTLY: Duration = Duration::from_secs(1);

/// Knows whether Kafka brings records, or so many wait that no more are read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed(Arc<LastRecords>);

#[derive(Debug, Default)]
struct LastRecords {
    last: Mutex<Option<Instant>>,
    is_full: AtomicBool,
}

impl Feed {
    /// Takes note that records came.
    pub(crate) fn came(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes note of whether so many wait that no more are read.
    pub(crate) fn is_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Tells whether what is due comes, or has come, by Kafka.
    pub(crate) fn is_fed(&self) -> bool {
        let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_full.load(Ordering::Relaxed) || last.is_some_and(|last| last.elapsed() < RECENTLY)
    }
}
