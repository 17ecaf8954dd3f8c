//! The stamps that wait for their batch.
//!
//! One slab holds the stamps; three light indexes over its slots answer the three questions that the
//! listener asks: is this id known, who is due next, who came first. A waiting stamp with an id of 36
//! characters costs about 140 bytes in all, so that a million of them stay below 150 MB.

mod slot;

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use chrono::{DateTime, Utc};
use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use self::slot::{Due, NONE, Slot};
use super::assignment::Position;
use super::policy::Waiting;
use crate::stamp::{ObjectCid, Stamp};
use crate::trace::TraceContext;

/// A stamp that was received and is not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingStamp {
    /// The stamp, with the values that its event carries.
    pub stamp: Stamp,
    /// Where the event of the stamp was read.
    pub position: Position,
    /// Whether the database had the stamp's row when it was asked; the stamp of another producer has none.
    pub has_row: bool,
    /// Whether its record was sent too late for the stamp's time to be kept, as far as the record tells.
    pub sent_late: bool,
}

/// Names a stamp that was taken for processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u32);

/// What became of a stamp that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The stamp waits from now on.
    Admitted,
    /// A stamp with this `object_cid` waits or is being processed already: this one counts for nothing.
    ///
    /// The repeat's offset may be completed at once: the first one's is still outstanding.
    Duplicate,
    /// A stamp with this `object_cid` is known, but no committed offset waits for it any more: its assignment ended, or
    /// its record is gone from the log. It carries this position from now on.
    Rehomed,
}

/// The waiting stamps and those taken for processing, each `object_cid` once.
#[derive(Debug)]
pub struct PendingSet {
    slots: Slab<Slot>,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The due times of the waiting stamps.
    by_due: BTreeSet<Due>,
    first: u32,
    last: u32,
    /// The traces of those stamps that have one, by slot: most have none, and a slot has no room to spare.
    traces: HashMap<u32, TraceContext>,
}

impl Default for PendingSet {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            by_id: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            by_due: BTreeSet::new(),
            first: NONE,
            last: NONE,
            traces: HashMap::new(),
        }
    }
}

impl PendingSet {
    /// Offers a stamp, in O(log n). `is_charged` tells whether a committed offset still waits for a position.
    pub fn insert(&mut self, pending: PendingStamp, is_charged: impl Fn(Position) -> bool) -> Admission {
        let PendingStamp { stamp, position, has_row, sent_late } = pending;
        if let Some(slot) = self.slot_of(stamp.object_cid()) {
            let known = &mut self.slots[slot as usize];
            if is_charged(known.position()) {
                return Admission::Duplicate;
            }
            (known.partition, known.lap, known.offset) = (position.partition, position.lap, position.offset);
            return Admission::Rehomed;
        }
        let hash = self.hasher.hash_one(stamp.object_cid().as_str());
        let trace = stamp.trace().copied();
        let (object_cid, time_tolerance, created_date) = stamp.into_parts();
        let slot = self.slots.insert(Slot {
            object_cid,
            created: created_date.timestamp_micros(),
            offset: position.offset,
            partition: position.partition,
            lap: position.lap,
            time_tolerance,
            earlier: NONE,
            later: NONE,
            taken: false,
            doubtful: false,
            has_row,
            sent_late,
        }) as u32;
        self.traces.extend(trace.map(|trace| (slot, trace)));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_id
            .insert_unique(hash, slot, |slot| hasher.hash_one(slots[*slot as usize].object_cid.as_str()));
        self.by_due.insert(self.due_of(slot));
        self.append(slot);
        Admission::Admitted
    }

    /// Tells whether a stamp with this id waits or is being processed.
    pub fn contains(&self, object_cid: &ObjectCid) -> bool {
        self.slot_of(object_cid).is_some()
    }

    /// Returns how many stamps wait; those taken for processing are not among them.
    pub fn len(&self) -> usize {
        self.by_due.len()
    }

    /// Tells whether no stamp waits.
    pub fn is_empty(&self) -> bool {
        self.by_due.is_empty()
    }

    /// Returns when the next waiting stamp falls due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.by_due.first().and_then(|due| DateTime::from_timestamp_micros(due.micros()))
    }

    /// Returns when the next waiting stamp falls due whose partition is one of these.
    pub fn next_due_where(&self, is_one: impl Fn(i32) -> bool) -> Option<DateTime<Utc>> {
        let due = self.by_due.iter().find(|due| is_one(self.slots[due.slot as usize].partition))?;
        DateTime::from_timestamp_micros(due.micros())
    }

    /// Sums up what the batching rule looks at. `due` is counted no further than `limit`.
    pub fn waiting(&self, now: DateTime<Utc>, limit: usize, reading_backlog: bool) -> Waiting {
        Waiting {
            pending: self.len(),
            due: self.due(now).take(limit).count(),
            next_due: self.next_due(),
            reading_backlog,
        }
    }

    /// Takes up to `size` stamps for processing: the due ones first, by due time, then in order of arrival.
    ///
    /// The stamps stay known until [`finish`](Self::finish) is called for each.
    pub fn take(&mut self, size: usize, now: DateTime<Utc>) -> Vec<Ticket> {
        let mut taken: Vec<u32> = self.due(now).take(size).collect();
        for &slot in &taken {
            self.withdraw(slot);
        }
        while taken.len() < size && self.first != NONE {
            let slot = self.first;
            self.withdraw(slot);
            taken.push(slot);
        }
        for &slot in &taken {
            self.slots[slot as usize].taken = true;
        }
        taken.into_iter().map(Ticket).collect()
    }

    /// Returns the stamp behind a ticket.
    ///
    /// # Panics
    /// If the ticket was finished before.
    pub fn get(&self, ticket: Ticket) -> PendingStamp {
        let slot = &self.slots[ticket.0 as usize];
        let created_date = DateTime::from_timestamp_micros(slot.created).unwrap_or_default();
        PendingStamp {
            stamp: Stamp::new(slot.object_cid.clone(), slot.time_tolerance, created_date)
                .expect("these parts were a stamp before")
                .with_trace(self.traces.get(&ticket.0).copied()),
            position: slot.position(),
            has_row: slot.has_row,
            sent_late: slot.sent_late,
        }
    }

    /// Returns where the event behind a ticket was read last.
    ///
    /// # Panics
    /// If the ticket was finished before.
    pub fn position(&self, ticket: Ticket) -> Position {
        self.slots[ticket.0 as usize].position()
    }

    /// Tells whether the answer to an earlier write of a stamp was lost.
    ///
    /// # Panics
    /// If the ticket was finished before.
    pub fn is_doubtful(&self, ticket: Ticket) -> bool {
        self.slots[ticket.0 as usize].doubtful
    }

    /// Lets a stamp that was taken wait again, before all others in order of arrival. With `doubtful` the answer to
    /// the stamp's write was lost.
    ///
    /// # Panics
    /// If the ticket was finished before.
    pub fn put_back(&mut self, ticket: Ticket, doubtful: bool) {
        let slot = ticket.0;
        self.by_due.insert(self.due_of(slot));
        let first = std::mem::replace(&mut self.first, slot);
        match first {
            NONE => self.last = slot,
            first => self.slots[first as usize].earlier = slot,
        }
        let message = &mut self.slots[slot as usize];
        (message.taken, message.earlier, message.later) = (false, NONE, first);
        message.doubtful |= doubtful;
    }

    /// Forgets a stamp that was taken, and returns where its event was read last.
    ///
    /// # Panics
    /// If the ticket was finished before.
    pub fn finish(&mut self, ticket: Ticket) -> Position {
        self.forget(ticket.0)
    }

    /// Forgets the waiting stamps of a partition; those being processed stay known until they are finished.
    pub fn drop_partition(&mut self, partition: i32) {
        let dropped: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.partition == partition && !slot.taken)
            .map(|(slot, _)| slot as u32)
            .collect();
        for &slot in &dropped {
            self.withdraw(slot);
            self.forget(slot);
        }
    }

    fn due(&self, now: DateTime<Utc>) -> impl Iterator<Item = u32> {
        self.by_due.range(..=Due::new(now.timestamp_micros(), NONE)).map(|due| due.slot)
    }

    fn due_of(&self, slot: u32) -> Due {
        Due::new(self.slots[slot as usize].due(), slot)
    }

    fn slot_of(&self, object_cid: &ObjectCid) -> Option<u32> {
        let hash = self.hasher.hash_one(object_cid.as_str());
        self.by_id.find(hash, |slot| self.slots[*slot as usize].object_cid == *object_cid).copied()
    }

    /// Removes a slot from the order of due times and of arrival.
    fn withdraw(&mut self, slot: u32) {
        let Slot { earlier, later, .. } = self.slots[slot as usize];
        self.by_due.remove(&self.due_of(slot));
        match earlier {
            NONE => self.first = later,
            earlier => self.slots[earlier as usize].later = later,
        }
        match later {
            NONE => self.last = earlier,
            later => self.slots[later as usize].earlier = earlier,
        }
    }

    /// Adds a slot at the end of the order of arrival.
    fn append(&mut self, slot: u32) {
        self.slots[slot as usize].earlier = self.last;
        match self.last {
            NONE => self.first = slot,
            last => self.slots[last as usize].later = slot,
        }
        self.last = slot;
    }

    fn forget(&mut self, slot: u32) -> Position {
        let gone = self.slots.remove(slot as usize);
        self.traces.remove(&slot);
        let hash = self.hasher.hash_one(gone.object_cid.as_str());
        if let Ok(entry) = self.by_id.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        gone.position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::TimeTolerance;

    fn message(id: &str, offset: i64) -> PendingStamp {
        PendingStamp {
            stamp: Stamp::new(
                ObjectCid::parse(id.to_owned()).expect("a valid id"),
                TimeTolerance::from_minutes(10).expect("a valid tolerance"),
                DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time"),
            )
            .expect("a valid due time"),
            position: Position { partition: 0, lap: 1, offset },
            has_row: false,
            sent_late: false,
        }
    }

    #[test]
    fn an_id_that_is_being_processed_is_still_known() {
        let mut set = PendingSet::default();
        set.insert(message("a", 0), |_| true);
        let taken = set.take(1, DateTime::UNIX_EPOCH);
        assert!(set.is_empty());
        assert_eq!(set.insert(message("a", 1), |_| true), Admission::Duplicate);
        set.finish(taken[0]);
        assert_eq!(set.insert(message("a", 2), |_| true), Admission::Admitted);
    }

    #[test]
    fn a_repeat_of_one_whose_assignment_ended_takes_its_place() {
        let mut set = PendingSet::default();
        set.insert(message("a", 4), |_| true);
        assert_eq!(set.insert(message("a", 9), |_| false), Admission::Rehomed);
        let taken = set.take(1, DateTime::UNIX_EPOCH);
        assert_eq!(set.finish(taken[0]).offset, 9);
    }

    #[test]
    fn dropping_a_partition_leaves_what_is_being_processed() {
        let mut set = PendingSet::default();
        set.insert(message("a", 0), |_| true);
        set.insert(message("b", 1), |_| true);
        let taken = set.take(1, DateTime::UNIX_EPOCH);
        set.drop_partition(0);
        assert!(set.is_empty());
        assert_eq!(set.next_due(), None);
        assert_eq!(set.get(taken[0]).stamp.object_cid().as_str(), "a");
    }
}
