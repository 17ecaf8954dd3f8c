//! How many topics one sender may have made: each is a burden on every broker for ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// New topics that a sender may have made at once.
const AT_ONCE: f64 = 100.0;
/// How long it takes until a sender may have one more made.
const REFILL: Duration = Duration::from_secs(6);
/// Senders that are remembered before those are forgotten who may have all made at once again.
const REMEMBERED: usize = 10_000;

/// A bucket of tokens for each sender (the token bucket of RFC 2697): a new topic takes one.
#[derive(Debug, Default)]
pub struct NewTopics {
    buckets: Mutex<HashMap<Uuid, Bucket>>,
    made: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    seen: Instant,
}

impl Bucket {
    /// Returns what the bucket holds at a time.
    fn at(self, now: Instant) -> Self {
        let refilled = now.saturating_duration_since(self.seen).as_secs_f64() / REFILL.as_secs_f64();
        Self { tokens: (self.tokens + refilled).min(AT_ONCE), seen: now }
    }
}

impl NewTopics {
    /// Takes leave for a new topic. Fails with the time after which there is some again.
    pub fn take(&self, sender: Uuid, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| bucket.at(now).tokens < AT_ONCE);
        }
        let bucket = buckets.entry(sender).or_insert(Bucket { tokens: AT_ONCE, seen: now });
        *bucket = bucket.at(now);
        if bucket.tokens < 1.0 {
            return Err(REFILL.mul_f64(1.0 - bucket.tokens));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Gives leave back that was not used: the topic was not made, or was there.
    pub fn give_back(&self, sender: Uuid) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&sender) {
            bucket.tokens = (bucket.tokens + 1.0).min(AT_ONCE);
        }
    }

    /// Takes note of a topic that was made.
    pub fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many topics were made.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_at_once_and_then_ten_a_minute_for_each_sender() {
        let (topics, begin) = (NewTopics::default(), Instant::now());
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for _ in 0..100 {
            topics.take(one, begin).expect("at once");
        }
        assert_eq!(topics.take(one, begin), Err(REFILL));
        topics.take(other, begin).expect("somebody else's are not counted");
        let later = begin + Duration::from_secs(60);
        let taken = (0..20).filter(|_| topics.take(one, later).is_ok()).count();
        assert_eq!(taken, 10);
        topics.give_back(one);
        topics.take(one, later).expect("what was given back");
        assert!(topics.take(one, later).is_err());
    }

    #[test]
    fn who_may_have_all_made_again_is_forgotten() {
        let (topics, begin) = (NewTopics::default(), Instant::now());
        for sender in 0..REMEMBERED as u128 {
            topics.take(Uuid::from_u128(sender), begin).expect("the first one");
        }
        topics.take(Uuid::from_u128(u128::MAX), begin + Duration::from_secs(600)).expect("the first one");
        assert_eq!(topics.buckets.lock().expect("no panic").len(), 1);
    }
}
