//! What must hold, judged by the models' own tables, and which meetings were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::outbox::OwnerId;

use super::kafka::Kafka;
use super::process::{LANES, Process};
use super::store::{Payload, Store};

/// Meetings that a history may have. A simulator that never has one of them says nothing about it.
pub(crate) const MEETINGS: [&str; 15] = [
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
        for process in processes {
            let kept =
                |owner: &&OwnerId| store.owners.contains_key(owner) && !self.taken_over.contains_key(owner);
            let own = process.own.iter().filter(kept).count();
            let most = LANES + 1 + culprits;
            if own > most {
                return Err(format!("process {} has {own} owners, {most} at most are needed", process.id));
            }
        }
        Ok(())
    }

    /// Checks at rest: everything is published, and no owner is left over.
    pub(crate) fn rest(store: &Store, kafka: &Kafka, processes: &[Process]) -> Result<(), String> {
        let missing: Vec<&Payload> = store.pending.values().filter(|payload| !kafka.has(**payload)).collect();
        if !missing.is_empty() {
            return Err(format!("never published: {missing:?}"));
        }
        let living: BTreeSet<u32> = processes.iter().map(|process| process.id).collect();
        let left: Vec<_> =
            store.owners.iter().filter(|(_, row)| row.retired || !living.contains(&row.made_by)).collect();
        if !left.is_empty() {
            return Err(format!("left over: {left:?}"));
        }
        for process in processes {
            for standing in process.owners.standing() {
                if standing.outstanding > 0 || standing.unread_above.is_some() {
                    return Err(format!("process {} is not at rest: {standing:?}", process.id));
                }
            }
            if process.owners.refused() > 0 {
                return Err(format!("process {} has refused events", process.id));
            }
        }
        Ok(())
    }
}
