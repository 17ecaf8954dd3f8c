//! When something that has failed is tried again: exponential backoff with jitter (M. Brooker, "Exponential Backoff
//! And Jitter"), without a source of chance.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// What was away is noticed within this when it is back.
const CAP: Duration = Duration::from_secs(2);

/// Tries of one kind.
#[derive(Debug)]
pub(super) struct Retry {
    next: Duration,
    until: Option<Duration>,
    chance: u64,
}

impl Retry {
    pub(super) fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self { next: FIRST, until: None, chance: seed | 1 }
    }

    /// Begins anew.
    pub(super) fn succeed(&mut self) {
        (self.next, self.until) = (FIRST, None);
    }

    /// Returns how long the next try is away: half to all of a time that doubles with each failure.
    pub(super) fn fail(&mut self, elapsed: Duration) -> Duration {
        // Marsaglia's xorshift64.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let share = (self.chance >> 32) as u32;
        let delay = self.next / 2 + (self.next / 2).mul_f64(f64::from(share) / f64::from(u32::MAX));
        self.next = (self.next * 2).min(CAP);
        self.until = Some(elapsed + delay);
        delay
    }

    /// When the next try is due, if it is not yet.
    pub(super) fn left(&self, elapsed: Duration) -> Option<Duration> {
        self.until.filter(|until| *until > elapsed)
    }
}
