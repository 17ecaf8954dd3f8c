//! Patience with what is away: exponential backoff with jitter (M. Brooker, "Exponential Backoff And Jitter").

use std::time::Duration;

/// The longest that the first pause is; the shortest is half of it.
const FIRST: Duration = Duration::from_millis(50);
/// The longest that any pause is: what was away is noticed within this time when it is back.
const CAP: Duration = Duration::from_secs(2);

/// Pauses that grow up to a cap. Each is half to all of a time that doubles, so that many clients do not come back at the
/// same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    chance: u64,
}

impl Backoff {
    /// Returns pauses that begin short; the same seed gives the same ones.
    pub fn new(seed: u64) -> Self {
        // Spread by the golden ratio, so that small seeds differ soon. Zero is the one state that xorshift never leaves.
        Self { next: FIRST, chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Begins with short pauses again.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Returns how long to wait before the next try.
    pub fn delay(&mut self) -> Duration {
        // Marsaglia's xorshift64.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let share = (self.chance >> 32) as u32;
        let delay = self.next / 2 + (self.next / 2).mul_f64(f64::from(share) / f64::from(u32::MAX));
        self.next = (self.next * 2).min(CAP);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_cap_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(7);
        let mut within = |bound: u64| {
            let (delay, bound) = (backoff.delay(), Duration::from_millis(bound));
            assert!(delay >= bound / 2 && delay <= bound, "{delay:?}");
        };
        for bound in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            within(bound);
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn two_seeds_pause_differently() {
        assert_ne!(Backoff::new(1).delay(), Backoff::new(2).delay());
    }
}
