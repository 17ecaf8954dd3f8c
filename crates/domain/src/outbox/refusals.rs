//! Events that are to be published again: those that Kafka refused, and those that were lost on their way.

use std::collections::BTreeMap;

use super::{OwnerId, Publication};

/// Beats between two tries of a refused event, at most: it is published within this time once Kafka takes it.
const LONGEST_WAIT: u64 = 16;
/// Events that are tried again in one beat: a broker that refuses everything is asked, not flooded.
const RETRIES: usize = 1_000;
/// Events that were lost and are published again in one beat: a topic that is gone loses them all, again and again.
const LOST: usize = 10_000;

/// An event that was refused while it was alone.
#[derive(Debug)]
struct Refusal<P> {
    times: u32,
    again_at: u64,
    /// What it takes to publish the event; absent while that is on its way again.
    payload: Option<P>,
}

/// Events that wait to be published again.
#[derive(Debug)]
pub(super) struct Refusals<P> {
    refused: BTreeMap<(OwnerId, i64), Refusal<P>>,
    lost: BTreeMap<(OwnerId, i64), P>,
}

impl<P> Refusals<P> {
    pub(super) fn new() -> Self {
        Self { refused: BTreeMap::new(), lost: BTreeMap::new() }
    }

    /// Notes that an event was refused by itself. Returns whether it did not wait here already: a copy may be on its way
    /// from before its owner was left to others and came back.
    pub(super) fn refuse(&mut self, owner: OwnerId, number: i64, payload: P, beat: u64) -> bool {
        let waited = self.lost.remove(&(owner, number)).is_some();
        let refusal =
            self.refused.entry((owner, number)).or_insert(Refusal { times: 0, again_at: 0, payload: None });
        refusal.again_at = beat + LONGEST_WAIT.min(1 << refusal.times.min(16));
        refusal.times += 1;
        refusal.payload.replace(payload).is_none() && !waited
    }

    /// Notes that an event has to be published once more, as it was the first time. Returns whether it did not wait here
    /// already.
    pub(super) fn lose(&mut self, owner: OwnerId, number: i64, payload: P, beat: u64) -> bool {
        match self.refused.get_mut(&(owner, number)) {
            Some(refusal) => {
                refusal.again_at = beat + 1;
                refusal.payload.replace(payload).is_none()
            }
            None => self.lost.insert((owner, number), payload).is_none(),
        }
    }

    /// Takes the events that are to be tried again at this beat.
    pub(super) fn due(&mut self, beat: u64) -> Vec<Publication<P>> {
        let mut due = Vec::new();
        while due.len() < LOST
            && let Some(((owner, number), payload)) = self.lost.pop_first()
        {
            due.push(Publication { owner, number, payload, alone: false });
        }
        let refused = self.refused.iter_mut().filter(|(_, refusal)| refusal.again_at <= beat);
        let refused = refused.filter_map(|(&(owner, number), refusal)| {
            Some(Publication { owner, number, payload: refusal.payload.take()?, alone: true })
        });
        due.extend(refused.take(RETRIES));
        due
    }

    /// Forgets an event that Kafka has. Returns whether it waited here.
    pub(super) fn settle(&mut self, owner: OwnerId, number: i64) -> bool {
        let refused = self.refused.remove(&(owner, number));
        let lost = self.lost.remove(&(owner, number));
        lost.is_some() || refused.is_some_and(|refusal| refusal.payload.is_some())
    }

    /// Forgets an owner's events: somebody else publishes them.
    pub(super) fn drop_owner(&mut self, owner: OwnerId) {
        self.refused.retain(|key, _| key.0 != owner);
        self.lost.retain(|key, _| key.0 != owner);
    }

    /// Returns how many events Kafka has refused, and not taken since.
    pub(super) fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Returns how many events of an owner Kafka has refused, and not taken since.
    pub(super) fn refused_of(&self, owner: OwnerId) -> usize {
        self.refused.range((owner, i64::MIN)..=(owner, i64::MAX)).count()
    }

    /// Returns how many events wait in memory.
    pub(super) fn held(&self) -> usize {
        self.refused.len() + self.lost.len()
    }
}
