//! When something that has failed is tried again.

use std::time::Duration;

use crate::backoff::Backoff;

/// Tries of one kind.
#[derive(Debug)]
pub(in crate::batch) struct Retry {
    backoff: Backoff,
    until: Option<Duration>,
}

impl Retry {
    pub(in crate::batch) fn new(seed: u64) -> Self {
        Self { backoff: Backoff::new(seed), until: None }
    }

    /// Takes note of a success: the pauses begin anew.
    pub(in crate::batch) fn succeed(&mut self) {
        self.backoff.reset();
        self.until = None;
    }

    /// Returns how long the next try is away.
    pub(in crate::batch) fn fail(&mut self, elapsed: Duration) -> Duration {
        let delay = self.backoff.delay();
        self.until = Some(elapsed + delay);
        delay
    }

    /// Returns when the next try is due, if it is not yet.
    pub(in crate::batch) fn left(&self, elapsed: Duration) -> Option<Duration> {
        self.until.filter(|until| *until > elapsed)
    }
}
