//! The memory that all bodies may take together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that are counted together.
const UNIT: usize = 1_024;
/// How long a body waits for memory: a client is answered within two seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The memory that is left for bodies. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    left: Arc<Semaphore>,
    units: usize,
}

/// Memory of one body, given back when it is dropped.
#[derive(Debug, Default)]
pub struct BodyShare(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    /// Returns a budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(units)), units }
    }

    /// Returns how many bytes are taken.
    pub fn taken(&self) -> usize {
        (self.units - self.left.available_permits()) * UNIT
    }

    /// Waits until there is memory for a body that has come to be so long. Returns false if there is none in time.
    pub async fn cover(&self, share: &mut BodyShare, bytes: usize) -> bool {
        let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(UNIT).saturating_sub(held);
        let Some(wanted) = u32::try_from(wanted).ok().filter(|wanted| *wanted > 0) else { return true };
        let more = Arc::clone(&self.left).acquire_many_owned(wanted);
        let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else { return false };
        match &mut share.0 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        true
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
}
