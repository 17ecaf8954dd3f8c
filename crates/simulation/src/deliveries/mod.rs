//! Deliveries of batches in a modelled world: listeners with real [couriers](domain::delivery::courier) on a model of
//! the table of deliveries and of a receiver that fails as receivers do.
//!
//! [`play`] makes a history out of a number, plays it and judges it: what is committed is told at least once, nothing is
//! told that is not committed, nothing is given up but by the rule, and what a dead listener had in hand is told by
//! another within thirty seconds.

mod member;
mod table;
mod world;

use std::collections::BTreeMap;

/// What happened in a history, by name.
pub type Happened = BTreeMap<&'static str, u64>;

/// What has to happen somewhere among many histories: where it never does, the models are too kind.
pub const MEETINGS: [&str; 9] = [
    "a batch whose maker never heard of it",
    "a listener that died with a part in hand",
    "an answer of the receiver that was lost",
    "a look whose answer was lost",
    "notes whose answer was lost",
    "a note of a part that was in another hand",
    "a part that was told twice at once",
    "a cut whose answer was lost",
    "a batch whose sink no listener had",
];

/// Plays the history of a seed.
///
/// # Errors
/// The promise that was broken, in words.
pub fn play(seed: u64) -> Result<Happened, String> {
    world::World::new(seed).play()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_told_whatever_fails_and_whoever_dies() {
        let mut happened = Happened::new();
        for seed in 0..3_000 {
            for (what, count) in play(seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}")) {
                *happened.entry(what).or_default() += count;
            }
        }
        for meeting in MEETINGS {
            assert!(happened.contains_key(meeting), "it never happened: {meeting}; {happened:?}");
        }
    }
}
