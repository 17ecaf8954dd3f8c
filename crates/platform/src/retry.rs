//! Patience with what is away: exponential backoff with full jitter
//! (M. Brooker, "Exponential Backoff And Jitter").

use std::time::Duration;

/// Grows from one wait to the next, up to a cap; each wait is a random part of it, so that many clients do not
/// come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    /// Starts at `first` and never waits longer than `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { next: first, cap }
    }

    /// How long to wait before the next try.
    pub fn delay(&mut self) -> Duration {
        let bound = self.next;
        self.next = (self.next * 2).min(self.cap);
        // A version 4 UUID is the random source that is already here.
        let random = uuid::Uuid::new_v4().as_u128() as u32;
        bound.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }
}

impl Default for Backoff {
    /// From 50 ms to 2 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for bound in [100, 200, 400, 400] {
            let delay = backoff.delay();
            assert!(
                delay >= Duration::from_millis(bound / 2) && delay <= Duration::from_millis(bound),
                "{delay:?}"
            );
        }
    }
}
