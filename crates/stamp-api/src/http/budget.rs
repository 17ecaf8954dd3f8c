//! The memory that all bodies may take together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest body of any route, which the budget has room for at least.
pub const LARGEST_BODY: usize = 8 << 20;

/// Bytes that are counted together.
const UNIT: usize = 1_024;
/// How long a body waits for memory: a client is answered within two seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// The part of the budget that large bodies leave to small ones, where there is room for the largest without it: an
/// eighth, thousands of small ones.
const LEFT_TO_SMALL: usize = 8;

/// Large bodies that are understood at the same time. What is made of one meanwhile is up to three times as long as the
/// body, and no part of the budget; and one after the other they go faster than the database takes what is in them.
const TURNS: usize = 1;

/// The memory that is left for bodies. Cheap to clone.
///
/// Whoever waits for much is served in its turn, and holds up who comes later and wants little. So large bodies wait
/// for each other first, and then find their memory in what the small ones leave.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    left: Arc<Semaphore>,
    left_to_large: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    units: usize,
}

/// Memory of one body, given back when it is dropped.
#[derive(Debug, Default)]
pub struct BodyShare {
    held: Option<OwnedSemaphorePermit>,
    _as_large: Option<OwnedSemaphorePermit>,
}

impl BodyShare {
    /// Returns how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * UNIT
    }
}

impl BodyBudget {
    /// Returns a budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        let to_small = (units / LEFT_TO_SMALL).min(units.saturating_sub(LARGEST_BODY / UNIT));
        let left_to_large = Arc::new(Semaphore::new(units - to_small));
        let (left, turns) = (Arc::new(Semaphore::new(units)), Arc::new(Semaphore::new(TURNS)));
        Self { left, left_to_large, turns, units }
    }

    /// Returns how many bytes are taken.
    pub fn taken(&self) -> usize {
        (self.units - self.left.available_permits()) * UNIT
    }

    /// Waits until there is memory for a body that has come to be so long. Returns false if there is none in time.
    pub async fn cover(&self, share: &mut BodyShare, bytes: usize) -> bool {
        let wanted = bytes.div_ceil(UNIT).saturating_sub(share.bytes() / UNIT);
        let Some(wanted) = u32::try_from(wanted).ok().filter(|wanted| *wanted > 0) else { return true };
        let more = Arc::clone(&self.left).acquire_many_owned(wanted);
        let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else { return false };
        match &mut share.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        true
    }

    /// Waits until there is memory for the whole of a large body. Returns none if there is none in time.
    pub async fn reserve(&self, bytes: usize) -> Option<BodyShare> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let share = async {
            let as_large = Arc::clone(&self.left_to_large).acquire_many_owned(units).await.ok()?;
            let held = Arc::clone(&self.left).acquire_many_owned(units).await.ok()?;
            Some(BodyShare { held: Some(held), _as_large: Some(as_large) })
        };
        tokio::time::timeout(PATIENCE, share).await.ok()?
    }

    /// Waits for a turn to understand a large body, until which it is only kept.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_finds_no_memory_is_refused_and_what_is_given_back_is_there_for_others() {
        let budget = BodyBudget::new(10 * UNIT);
        let (mut one, mut other) = (BodyShare::default(), BodyShare::default());
        assert!(budget.cover(&mut one, 1).await && budget.cover(&mut one, UNIT).await);
        assert_eq!(budget.taken(), UNIT);
        assert!(budget.cover(&mut one, 6 * UNIT - 1).await);
        assert_eq!(budget.taken(), 6 * UNIT);
        assert!(!budget.cover(&mut other, 5 * UNIT).await);
        drop(one);
        assert!(budget.cover(&mut other, 5 * UNIT).await);
        assert_eq!(budget.taken(), 5 * UNIT);
    }

    // Break: make `LEFT_TO_SMALL` a million.
    #[tokio::test(start_paused = true)]
    async fn large_bodies_that_wait_for_memory_leave_room_for_small_ones() {
        let budget = BodyBudget::new(8 * LARGEST_BODY);
        let mut large = Vec::new();
        while let Some(share) = budget.reserve(LARGEST_BODY).await {
            large.push(share);
        }
        assert_eq!((large.len(), budget.taken()), (7, 7 * LARGEST_BODY));
        let (asked, mut small) = (tokio::time::Instant::now(), BodyShare::default());
        let waiting = budget.reserve(LARGEST_BODY);
        let (refused, ()) = tokio::join!(waiting, async {
            assert!(budget.cover(&mut small, LARGEST_BODY).await);
            assert_eq!(asked.elapsed(), Duration::ZERO);
        });
        assert!(refused.is_none() && asked.elapsed() == PATIENCE);
        drop(large);
        assert!(budget.reserve(LARGEST_BODY).await.is_some_and(|share| share.bytes() == LARGEST_BODY));
    }

    #[tokio::test(start_paused = true)]
    async fn the_smallest_budget_has_room_for_the_largest_body() {
        let budget = BodyBudget::new(LARGEST_BODY);
        let all = budget.reserve(LARGEST_BODY).await.expect("room");
        assert!(budget.reserve(1).await.is_none());
        drop(all);
        assert_eq!(budget.taken(), 0);
    }
}
