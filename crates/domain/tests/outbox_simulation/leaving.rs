//! Stamps that leave the table of pending stamps, and what the database keeps of their events.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use domain::outbox::OwnerId;

use super::store::{OwnerRow, PAGE, Payload, Store};

/// A stamp's place in the outbox.
pub(crate) type Place = (OwnerId, i64);

/// A row of `left_events`.
#[derive(Clone, Debug)]
pub(crate) struct LeftRow {
    pub(crate) payload: Payload,
    pub(crate) is_published: bool,
}

/// A take between its snapshot and its commit. Listeners take turns, so there is one at most.
#[derive(Clone, Debug)]
pub(crate) struct Taking {
    /// The pending rows that are held.
    pub(crate) held: BTreeSet<Place>,
    /// Those whose events were not published by the marks in the snapshot.
    pub(crate) unpublished: BTreeSet<Place>,
    pub(crate) since: u64,
}

/// Returns the places of an owner above a number.
pub(crate) fn above(owner: OwnerId, number: i64) -> RangeInclusive<Place> {
    (owner, number.saturating_add(1))..=(owner, i64::MAX)
}

impl Store {
    /// Takes the snapshot of a take, and holds its rows.
    pub(crate) fn begin_take(&mut self, held: BTreeSet<Place>, now: u64) {
        let is_unpublished =
            |(owner, number): &&Place| self.owners.get(owner).is_some_and(|row| row.mark < *number);
        let unpublished = held.iter().filter(is_unpublished).copied().collect();
        self.taking = Some(Taking { held, unpublished, since: now });
    }

    /// Lets the rows of a take leave. Returns the take.
    pub(crate) fn commit_take(&mut self) -> Option<Taking> {
        let taking = self.taking.take()?;
        for place in &taking.held {
            let Some(payload) = self.leave(*place) else { continue };
            if taking.unpublished.contains(place) {
                self.left.insert(*place, LeftRow { payload, is_published: false });
            }
        }
        Some(taking)
    }

    /// Tells whether a take holds a pending row.
    pub(crate) fn is_held(&self, place: &Place) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.held.contains(place))
    }

    /// Lets a stamp leave, by the table or because its event has come out of Kafka.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Payload> {
        let payload = self.pending.remove(&place)?;
        self.departures += 1;
        Some(payload)
    }

    /// Returns the left events that are not known to be published.
    pub(crate) fn unpublished(&self) -> impl Iterator<Item = (Place, Payload)> {
        let rows = self.left.iter().filter(|(_, row)| !row.is_published);
        rows.map(|(place, row)| (*place, row.payload))
    }

    /// Returns the left events of an owner that are not known to be published.
    pub(crate) fn unpublished_of(&self, owner: OwnerId) -> impl Iterator<Item = (i64, Payload)> {
        let rows = self.left.range(above(owner, i64::MIN)).filter(|(_, row)| !row.is_published);
        rows.map(|((_, number), row)| (*number, row.payload))
    }

    /// Notes the left events of an owner up to a number as published.
    pub(super) fn note(&mut self, owner: OwnerId, through: i64) {
        for (_, row) in self.left.range_mut((owner, i64::MIN)..=(owner, through)) {
            row.is_published = true;
        }
    }

    /// Reads a page of an owner's outbox. Older binaries know of no left events.
    pub(super) fn page(&self, owner: OwnerId, number: i64, with_left: bool) -> Vec<(i64, Payload)> {
        let mark = self.owners.get(&owner).filter(|_| with_left).map_or(number, |row| row.mark.max(number));
        let pending = self.pending.range(above(owner, mark)).take(PAGE);
        let mut rows: Vec<_> = pending.map(|((_, number), payload)| (*number, *payload)).collect();
        if with_left {
            rows.extend(self.unpublished_of(owner).filter(|(left, _)| *left > number).take(PAGE));
            rows.sort_unstable();
            rows.truncate(PAGE);
        }
        rows
    }

    /// Puts an owner back that is gone although left events of it are unpublished. Returns it with its mark.
    pub(super) fn put_back(&mut self, except: &[OwnerId], process: u32, now: u64) -> Option<(OwnerId, i64)> {
        // Rows are in the order of their numbers: the first of an owner is its lowest.
        let is_gone = |owner: &OwnerId| !except.contains(owner) && !self.owners.contains_key(owner);
        let ((owner, lowest), _) = self.unpublished().find(|((owner, _), _)| is_gone(owner))?;
        // All that is pending of an owner that was forgotten is published.
        let row = OwnerRow { mark: i64::MAX, retired: true, seen_at: Some(now), made_by: process };
        self.owners.insert(owner, row);
        Some((owner, lowest - 1))
    }
}
