//! How long the database has been asked something without an answer: a lock or a disk may hold every statement up
//! while the server itself answers well.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use platform::metrics::observed;
use prometheus::Registry;

/// What the database is asked at the moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stall(Arc<Mutex<Vec<Instant>>>);

/// The longest that an answer may take before people are told: far longer than any write takes in health.
const TOLERATED: Duration = Duration::from_secs(5);

impl Stall {
    /// Returns a stall that a metric shows.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let stall = Self::default();
        let shown = stall.clone();
        let help =
            "Seconds for which the database has not answered what it was asked; 0 if nothing is under way.";
        observed(registry, "queue_listener_stalled_seconds", help, move || shown.seconds() as i64)?;
        Ok(stall)
    }

    /// Waits for something that the database has to do, however often it is tried.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let _under_way = self.begin();
        work.await
    }

    /// Takes note that something which the database has to do is under way until the returned value is dropped.
    pub(crate) fn begin(&self) -> InProgress {
        let begun = Instant::now();
        self.begun().push(begun);
        InProgress { stall: self.clone(), begun }
    }

    /// Returns for how many seconds the oldest work has been under way, 0 if none is.
    pub(crate) fn seconds(&self) -> u64 {
        self.begun().iter().map(Instant::elapsed).max().unwrap_or_default().as_secs()
    }

    /// Returns what to say of the oldest work, once it has taken too long.
    pub(crate) fn reason(&self) -> Option<String> {
        let seconds = self.seconds();
        (seconds >= TOLERATED.as_secs())
            .then(|| format!("PostgreSQL has not taken for {seconds} s what is to be written"))
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work of the database that is under way until this value is dropped, with a cancellation too.
#[derive(Debug)]
pub(crate) struct InProgress {
    stall: Stall,
    begun: Instant,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut begun = self.stall.begun();
        if let Some(index) = begun.iter().position(|other| *other == self.begun) {
            begun.swap_remove(index);
        }
    }
}
