//! Listeners, who let stamps leave, and what that meets.

use super::super::leaving::{Place, above};
use super::*;

impl World {
    /// Returns the pending rows that listeners may process because their events have come out of Kafka.
    pub(super) fn in_kafka(&self) -> impl Iterator<Item = Place> {
        let rows = self.store.pending.iter();
        rows.filter(|(place, payload)| self.kafka.has(**payload) && !self.store.is_held(place))
            .map(|(place, _)| *place)
    }

    pub(super) fn leave_by_kafka(&mut self, extra: u64) {
        let places: Vec<Place> = self.in_kafka().collect();
        if let Some(place) = places.get(extra as usize % places.len().max(1)) {
            self.store.leave(*place);
            self.judge.meetings.met("a stamp that leaves after its event came out of Kafka");
        }
    }

    /// Takes up to three neighbours.
    pub(super) fn begin_take(&mut self, extra: u64) {
        let skipped = extra as usize / 3 % self.store.pending.len().max(1);
        let places = self.store.pending.keys().skip(skipped).take(1 + (extra % 3) as usize);
        let places = places.copied().collect();
        self.store.begin_take(places, self.now);
    }

    pub(super) fn commit_take(&mut self) {
        let Some(taking) = self.store.commit_take() else { return };
        if taking.held.len() > taking.unpublished.len() {
            self.judge.meetings.met("a stamp that leaves with its event below the mark");
        }
        for place in &taking.unpublished {
            if self.store.accepted.get(place).is_some_and(|payload| !self.kafka.has(*payload)) {
                self.judge.meetings.met("a stamp that leaves before its event is published");
            }
            if !self.store.owners.contains_key(&place.0) {
                self.judge.meetings.met("a take that commits after its owner was forgotten");
                self.judge.outlived.insert(place.0);
            }
        }
    }

    /// Brings a take to nothing.
    pub(super) fn lose_take(&mut self) {
        self.store.taking = None;
        self.judge.meetings.met("a take that dies");
    }

    /// Notes what a statement meets of stamps that have left, before it is carried out.
    pub(super) fn notice_left(&mut self, asker: Asker, sql: &Sql) {
        let (store, kafka, meetings) = (&self.store, &self.kafka, &mut self.judge.meetings);
        let has_left = |(owner, from, through): (OwnerId, i64, i64)| {
            store.unpublished_of(owner).any(|(number, _)| (from..=through).contains(&number))
        };
        match sql {
            Sql::Renew(marks) if asker.is_old => {
                let is_passed_over = |owner, mark| {
                    let mut left = store.unpublished_of(owner);
                    left.any(|(number, payload)| number <= mark && !kafka.has(payload))
                };
                if marks.iter().any(|(owner, mark)| is_passed_over(*owner, *mark)) {
                    meetings.met("an old process that raises a mark above a left event that is in no Kafka");
                }
            }
            Sql::Renew(marks) if marks.iter().any(|(owner, mark)| has_left((*owner, 0, *mark))) => {
                meetings.met("a left event noted by a renewal");
            }
            Sql::Forget(owner) if !asker.is_old && has_left((*owner, 0, i64::MAX)) => {
                meetings.met("a left event noted as its owner is forgotten");
            }
            Sql::Read(owner, number) => {
                if !asker.is_old && has_left((*owner, number + 1, i64::MAX)) {
                    meetings.met("a left event in a page");
                }
                let mut held = store.taking.iter().flat_map(|taking| &taking.unpublished);
                if held.any(|place| above(*owner, *number).contains(place)) {
                    meetings.met("a page read between a take's snapshot and its commit");
                }
            }
            _ => {}
        }
    }

    /// Notes that a look has found an owner: one that was silent, or one that was gone.
    pub(super) fn found(&mut self, asker: Asker, owner: OwnerId, was_gone: bool) {
        if was_gone {
            self.judge.puts_back(asker.process, owner);
            return;
        }
        if asker.is_old && self.store.unpublished_of(owner).next().is_some() {
            self.judge.meetings.met("an old process that takes an owner over with left events");
        }
        let living = self.processes.iter().map(|process| process.asker.process).collect();
        self.judge.takes_over(asker.process, owner, &living);
    }
}
