//! Deliveries: what it costs a drain to tell a topic of every batch.

use test_support::TestTopic;

use crate::bench::Bench;
use crate::drain::{Listeners, UNIT, drain};
use crate::events::Events;
use crate::services::Batches;

const PART: &str = "deliveries";
/// The limit: the same drain, in the same round, that tells nobody.
const SILENT: &str = "without a sink";
/// Bounds of batches, small ones and great ones.
const SIZES: [Batches; 2] = [Batches { min: 2, max: 10 }, Batches { min: 1_000, max: 10_000 }];
/// The steps that a round shows.
pub const STEPS: u32 = SIZES.len() as u32;

/// Measures deliveries once.
///
/// # Errors
/// If what measures fails, or if a stamp is missing.
pub async fn round(bench: &mut Bench, events: &Events) -> anyhow::Result<()> {
    for size in SIZES {
        // One half of the limit before and one after: what else the machine does meanwhile slows down both.
        let before = drain(bench, &bench.database().await, events, Listeners::one(size)).await?.rate;
        let topic = TestTopic::new(12).await;
        let listeners = Listeners { told: Some(topic.name()), ..Listeners::one(size) };
        let told = drain(bench, &bench.database().await, events, listeners).await?;
        let after = drain(bench, &bench.database().await, events, Listeners::one(size)).await?.rate;
        let sample = told.sample().limit(SILENT, f64::midpoint(before, after));
        bench.measured(PART, &format!("to a topic, {}/{}", size.min, size.max), UNIT, sample);
    }
    Ok(())
}
