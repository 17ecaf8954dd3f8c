//! Patience with what is away, in a process among others.

use domain::backoff::Backoff;

/// Returns a backoff like no other process's.
pub fn backoff() -> Backoff {
    // A version 4 UUID is the random source that is already here.
    Backoff::new(uuid::Uuid::new_v4().as_u128() as u64)
}
