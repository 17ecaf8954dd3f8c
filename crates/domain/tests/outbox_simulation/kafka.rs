//! Kafka: a topic, whether it is there, and what it refuses.

use std::collections::BTreeMap;

use super::store::Payload;

/// A topic, and what Kafka refuses.
#[derive(Debug, Default)]
pub(crate) struct Kafka {
    pub(crate) is_away: bool,
    /// An event that is refused with every batch that holds it.
    pub(crate) refused: Option<Payload>,
    pub(crate) refuses_all: bool,
    records: BTreeMap<Payload, usize>,
}

impl Kafka {
    /// Takes a batch or refuses it whole.
    pub(crate) fn take(&mut self, batch: &[Payload]) -> bool {
        if self.refuses_all || self.refused.is_some_and(|refused| batch.contains(&refused)) {
            return false;
        }
        for payload in batch {
            *self.records.entry(*payload).or_default() += 1;
        }
        true
    }

    /// Tells whether an event is in the topic.
    pub(crate) fn has(&self, payload: Payload) -> bool {
        self.records.contains_key(&payload)
    }

    /// Returns how many records of an event the topic holds.
    pub(crate) fn records(&self, payload: Payload) -> usize {
        self.records.get(&payload).copied().unwrap_or_default()
    }
}
