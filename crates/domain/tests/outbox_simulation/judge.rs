//! What must hold, judged by the models' own tables, and which meetings were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::outbox::OwnerId;

use super::kafka::Kafka;
use super::process::{LANES, Process};
use super::store::{Payload, Store};

/// Meetings that a history may have. A simulator that never has one of them says nothing about it.
pub(crate) const MEETINGS: [&str; 28] = [
    "an answer lost after the commit",
    "a store carried out after its client stopped waiting",
    "a store that found its owner retired",
    "a retirement that waits for a store under way",
    "a group for which there is no room",
    "an owner replaced by another",
    "a batch refused for one of its events",
    "an event refused by itself",
    "so many refused that nothing further is handed out",
    "a silent owner taken over",
    "a silent owner taken over twice while both live",
    "an own owner that looks silent",
    "a crash between publishing and the mark",
    "a stop with events on their way",
    "a producer that fails with events on their way",
    "a stamp that leaves after its event came out of Kafka",
    "a stamp that leaves before its event is published",
    "a stamp that leaves with its event below the mark",
    "a left event noted by a renewal",
    "a left event noted as its owner is forgotten",
    "a left event in a page",
    "a left event of a process that died",
    "an owner put back",
    "a take that commits after its owner was forgotten",
    "a take that dies",
    "a page read between a take's snapshot and its commit",
    "an old process that takes an owner over with left events",
    "an old process that raises a mark above a left event that is in no Kafka",
];

/// How often each meeting was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meetings(BTreeMap<&'static str, usize>);

impl Meetings {
    pub(crate) fn met(&mut self, meeting: &'static str) {
        assert!(MEETINGS.contains(&meeting), "{meeting} is listed");
        *self.0.entry(meeting).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (meeting, times) in &other.0 {
            *self.0.entry(meeting).or_default() += times;
        }
    }

    /// Returns the meetings that were not seen.
    pub(crate) fn never(&self) -> Vec<&'static str> {
        MEETINGS.into_iter().filter(|meeting| !self.0.contains_key(meeting)).collect()
    }
}

impl fmt::Display for Meetings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(meeting, times)| writeln!(formatter, "{times:8}  {meeting}"))
    }
}

/// Watches a history.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) meetings: Meetings,
    /// Who has taken which silent owner over.
    taken_over: BTreeMap<OwnerId, BTreeSet<u32>>,
    /// The owners that were put back.
    pub(crate) back: BTreeSet<OwnerId>,
    /// The owners of which a take was committed after they were forgotten.
    pub(crate) outlived: BTreeSet<OwnerId>,
}

impl Judge {
    /// Notes that a process has taken an owner over. `living`: the processes that live.
    pub(crate) fn takes_over(&mut self, process: u32, owner: OwnerId, living: &BTreeSet<u32>) {
        self.meetings.met("a silent owner taken over");
        let by = self.taken_over.entry(owner).or_default();
        if by.iter().any(|other| *other != process && living.contains(other)) {
            self.meetings.met("a silent owner taken over twice while both live");
        }
        by.insert(process);
    }

    /// Notes that a process has put an owner back.
    pub(crate) fn puts_back(&mut self, process: u32, owner: OwnerId) {
        self.meetings.met("an owner put back");
        self.back.insert(owner);
        self.taken_over.entry(owner).or_default().insert(process);
    }

    /// Checks after a step: what is below a mark, or of an owner that is gone, is in Kafka; and owners don't pile up.
    pub(crate) fn look(
        &self,
        store: &Store,
        kafka: &Kafka,
        processes: &[Process],
        culprits: usize,
    ) -> Result<(), String> {
        for ((owner, number), payload) in &store.pending {
            let row = store.owners.get(owner);
            if row.is_none_or(|row| *number <= row.mark) && !kafka.has(*payload) {
                return Err(format!(
                    "number {number} of {owner:?} is given up and was never published: {row:?}"
                ));
            }
        }
        Self::look_at_left(store, kafka)?;
        for process in processes {
            let kept =
                |owner: &&OwnerId| store.owners.contains_key(owner) && !self.taken_over.contains_key(owner);
            let own = process.own.iter().filter(kept).count();
            let most = LANES + 1 + culprits;
            if own > most {
                let process = process.asker.process;
                return Err(format!("process {process} has {own} owners, {most} at most are needed"));
            }
        }
        Ok(())
    }

    /// Checks that each stamp leaves once, and that what has left is in Kafka unless its event is kept.
    fn look_at_left(store: &Store, kafka: &Kafka) -> Result<(), String> {
        if store.departures + store.pending.len() != store.accepted.len() {
            return Err("a stamp left twice".to_owned());
        }
        for (place, payload) in &store.accepted {
            let is_kept = store.left.get(place).is_some_and(|row| !row.is_published);
            if !store.pending.contains_key(place) && !is_kept && !kafka.has(*payload) {
                return Err(format!(
                    "{place:?} has left, and its event was never published: {:?}",
                    store.left.get(place)
                ));
            }
        }
        Ok(())
    }

    /// Checks at rest: everything is published, and no owner is left over.
    pub(crate) fn rest(store: &Store, kafka: &Kafka, processes: &[Process]) -> Result<(), String> {
        let missing: Vec<&Payload> =
            store.accepted.values().filter(|payload| !kafka.has(**payload)).collect();
        if !missing.is_empty() {
            return Err(format!("never published: {missing:?}"));
        }
        let unnoted: Vec<_> = store.unpublished().collect();
        if !unnoted.is_empty() {
            return Err(format!("not known to be published: {unnoted:?}"));
        }
        let living: BTreeSet<u32> = processes.iter().map(|process| process.asker.process).collect();
        let left: Vec<_> =
            store.owners.iter().filter(|(_, row)| row.retired || !living.contains(&row.made_by)).collect();
        if !left.is_empty() {
            return Err(format!("left over: {left:?}"));
        }
        for process in processes {
            let id = process.asker.process;
            for standing in process.owners.standing() {
                if standing.outstanding > 0 || standing.unread_above.is_some() {
                    return Err(format!("process {id} is not at rest: {standing:?}"));
                }
            }
            if process.owners.refused() > 0 {
                return Err(format!("process {id} has refused events"));
            }
        }
        Ok(())
    }
}
