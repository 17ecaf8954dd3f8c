//! What must hold for every sequence of arrivals, completions, rebalances and moments: checked against a
//! model that is too simple to be wrong, on a hand-moved clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;

use super::Position;
use super::ledger::OffsetLedgers;
use super::pending::{Admission, Message, PendingSet, Ticket};
use super::policy::{BatchLimits, Decision, Trigger, decide};
use crate::stamp::{ObjectCid, Stamp, TimeTolerance};

const CASES: u32 = 10_000;

#[derive(Clone, Debug)]
enum Step {
    /// A record arrives: partition, id, tolerance in minutes, created so many seconds ago. With `more`, others
    /// were fetched together with it, so that nothing is decided yet.
    Arrive { partition: i32, id: u16, tolerance: i32, age: i64, more: bool },
    /// The clock moves on by seconds, stopping at each due time on the way as the listener does.
    Pass(i64),
    /// The oldest batch that is being written is committed.
    Commit,
    /// A partition goes away and comes back under a new assignment, to be read again from its committed offset.
    Rebalance(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3, 0..60u16, 0..90i32, 0..6_000i64, prop::bool::weighted(0.7)).prop_map(
            |(partition, id, tolerance, age, more)| Step::Arrive { partition, id, tolerance, age, more }
        ),
        2 => (0..4_000i64).prop_map(Step::Pass),
        2 => Just(Step::Commit),
        1 => (0..3).prop_map(Step::Rebalance),
    ]
}

/// One listener, with Kafka's log and the database reduced to collections.
struct Listener {
    limits: BatchLimits,
    now: DateTime<Utc>,
    pending: PendingSet,
    ledgers: OffsetLedgers,
    writing: Vec<Vec<Ticket>>,
    assignments: HashMap<i32, u32>,
    next_assignment: u32,
    log: HashMap<i32, Vec<Stamp>>,
    committed: HashMap<i32, i64>,
    processed: HashMap<String, usize>,
}

impl Listener {
    fn new(min: usize, extra: usize) -> Self {
        let mut ledgers = OffsetLedgers::default();
        (0..3).for_each(|partition| ledgers.begin(partition, 1));
        Self {
            limits: BatchLimits::new(min, min + extra).expect("valid limits"),
            now: DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time"),
            pending: PendingSet::default(),
            ledgers,
            writing: Vec::new(),
            assignments: (0..3).map(|partition| (partition, 1)).collect(),
            next_assignment: 2,
            log: (0..3).map(|partition| (partition, Vec::new())).collect(),
            committed: HashMap::new(),
            processed: HashMap::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Arrive { partition, id, tolerance, age, more } => {
                let stamp = Stamp::new(
                    ObjectCid::parse(format!("cid-{id}")).expect("a valid id"),
                    TimeTolerance::from_minutes(tolerance).expect("a valid tolerance"),
                    self.now - TimeDelta::seconds(age),
                )
                .expect("a valid due time");
                let log = self.log.get_mut(&partition).expect("three partitions");
                log.push(stamp);
                let offset = log.len() as i64 - 1;
                self.read(partition, offset);
                if !more {
                    self.dispatch();
                }
            }
            Step::Pass(seconds) => {
                let end = self.now + TimeDelta::seconds(seconds);
                while let Some(due) = self.pending.next_due().filter(|due| *due <= end) {
                    self.now = due.max(self.now);
                    self.dispatch();
                }
                self.now = end;
                self.dispatch();
            }
            Step::Commit => {
                if !self.writing.is_empty() {
                    let batch = self.writing.remove(0);
                    self.commit(batch);
                }
            }
            Step::Rebalance(partition) => {
                self.pending.drop_partition(partition);
                if let Some(frontier) = self.ledgers.end(partition) {
                    self.store(partition, frontier);
                }
                self.assignments.insert(partition, self.next_assignment);
                self.ledgers.begin(partition, self.next_assignment);
                self.next_assignment += 1;
                let from = self.committed.get(&partition).copied().unwrap_or(0);
                for offset in from..self.log[&partition].len() as i64 {
                    self.read(partition, offset);
                }
                self.dispatch();
            }
        }
        self.check_frontiers();
    }

    fn read(&mut self, partition: i32, offset: i64) {
        let stamp = self.log[&partition][offset as usize].clone();
        let position = Position { partition, assignment: self.assignments[&partition], offset };
        assert!(self.ledgers.receive(position), "a record of the current assignment is charged");
        // Processed ones are looked up in the database before they are offered.
        if self.processed.contains_key(stamp.object_cid().as_str()) {
            self.ledgers.complete(position);
            return;
        }
        let ledgers = &self.ledgers;
        match self.pending.insert(Message { stamp, position }, |known| ledgers.is_current(known)) {
            Admission::Admitted | Admission::Rehomed => {}
            Admission::Duplicate => self.ledgers.complete(position),
        }
    }

    /// Lets everything leave that the rule lets leave, and checks the rule from the outside.
    fn dispatch(&mut self) {
        loop {
            let before = self.pending.len();
            let waiting = self.pending.waiting(self.now, self.limits.min(), false);
            let Decision::Process { trigger, size } = decide(self.limits, waiting) else {
                break;
            };
            let batch = self.pending.take(size, self.now);
            assert!(!batch.is_empty() && batch.len() <= self.limits.max(), "no empty batch, none above max");
            assert_eq!(self.pending.len(), before - batch.len());
            let due: Vec<bool> =
                batch.iter().map(|ticket| self.pending.get(*ticket).stamp.due() <= self.now).collect();
            match trigger {
                Trigger::MinBatchSize => {
                    assert!(before >= self.limits.min(), "the size rule needs min messages");
                }
                Trigger::Deadline => {
                    assert!(before < self.limits.min(), "below min only");
                    assert!(due.iter().all(|due| *due), "nothing early");
                }
            }
            assert!(due.is_sorted_by(|first, second| first >= second), "due ones go first");
            self.writing.push(batch);
        }
        assert!(self.pending.len() < self.limits.min(), "nothing waits that makes a batch");
        assert!(
            self.pending.next_due().is_none_or(|due| due > self.now),
            "nothing is held past its due time"
        );
    }

    fn commit(&mut self, batch: Vec<Ticket>) {
        for ticket in batch {
            let id = self.pending.get(ticket).stamp.object_cid().as_str().to_owned();
            *self.processed.entry(id).or_default() += 1;
            let position = self.pending.finish(ticket);
            self.ledgers.complete(position);
        }
        let frontiers: Vec<_> = self.ledgers.frontiers().collect();
        for (partition, frontier) in frontiers {
            self.store(partition, frontier);
        }
    }

    fn store(&mut self, partition: i32, frontier: i64) {
        let committed = self.committed.entry(partition).or_default();
        assert!(frontier >= *committed, "a committed offset never moves back");
        *committed = frontier;
    }

    /// Everything below a committed offset is processed, or its first copy is still to be read elsewhere.
    fn check_frontiers(&self) {
        for (partition, committed) in &self.committed {
            for stamp in &self.log[partition][..*committed as usize] {
                let id = stamp.object_cid();
                let uncommitted = self.log.iter().any(|(other, log)| {
                    let from = self.committed.get(other).copied().unwrap_or(0) as usize;
                    log[from..].iter().any(|stamp| stamp.object_cid() == id)
                });
                assert!(
                    self.processed.contains_key(id.as_str()) || uncommitted,
                    "{id} lies below the committed offset and nobody will process it"
                );
            }
        }
    }

    /// Lets all tolerances run out and all writes end.
    fn finish(&mut self) {
        self.run(&Step::Pass(100 * 3_600));
        while !self.writing.is_empty() {
            self.run(&Step::Commit);
        }
        let sent: HashSet<&str> =
            self.log.values().flatten().map(|stamp| stamp.object_cid().as_str()).collect();
        let processed: HashSet<&str> = self.processed.keys().map(String::as_str).collect();
        assert_eq!(sent, processed, "nothing lost, nothing invented");
        assert!(self.processed.values().all(|times| *times == 1), "nothing twice");
        for (partition, log) in &self.log {
            let committed = self.committed.get(partition).copied().unwrap_or(0);
            let finished = self.ledgers.frontier(*partition).unwrap_or(committed);
            assert_eq!(finished, log.len() as i64, "every offset is finished");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn nothing_is_lost_doubled_early_or_held_past_its_due_time(
        min in 1..8usize, extra in 0..8usize, steps in vec(step(), 1..60)
    ) {
        let mut listener = Listener::new(min, extra);
        for step in &steps {
            listener.run(step);
        }
        listener.finish();
    }

    #[test]
    fn the_frontier_never_passes_an_incomplete_offset(
        gaps in vec(1..5i64, 1..40), completions in vec(any::<prop::sample::Index>(), 0..60)
    ) {
        let mut ledgers = OffsetLedgers::default();
        ledgers.begin(0, 1);
        let offsets: Vec<i64> =
            gaps.iter().scan(0, |offset, gap| { *offset += gap; Some(*offset) }).collect();
        let mut outstanding = BTreeSet::new();
        let at = |offset| Position { partition: 0, assignment: 1, offset };
        for &offset in &offsets {
            ledgers.receive(at(offset));
            outstanding.insert(offset);
        }
        for index in completions {
            let offset = *index.get(&offsets);
            let before = ledgers.frontier(0);
            ledgers.complete(at(offset));
            outstanding.remove(&offset);
            let expected = outstanding.first().copied().unwrap_or(offsets[offsets.len() - 1] + 1);
            prop_assert_eq!(ledgers.frontier(0), Some(expected));
            prop_assert!(ledgers.frontier(0) >= before);
        }
    }

    #[test]
    fn the_pending_set_agrees_with_a_plain_map(steps in vec((0..40u16, 0..50i32, 0..4u8), 1..120)) {
        let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
        let mut set = PendingSet::default();
        let mut model: BTreeMap<u64, (String, DateTime<Utc>)> = BTreeMap::new();
        for (arrival, (id, tolerance, action)) in steps.into_iter().enumerate() {
            let now = start + TimeDelta::minutes(i64::from(tolerance));
            if action < 3 {
                let id = format!("cid-{id}");
                let known = model.values().any(|(other, _)| *other == id);
                let stamp = Stamp::new(
                    ObjectCid::parse(id.clone()).expect("a valid id"),
                    TimeTolerance::from_minutes(tolerance).expect("a valid tolerance"),
                    start,
                ).expect("a valid due time");
                let due = stamp.due();
                let position = Position { partition: 0, assignment: 1, offset: arrival as i64 };
                let admission = set.insert(Message { stamp, position }, |_| true);
                prop_assert_eq!(admission == Admission::Duplicate, known);
                if !known {
                    model.insert(arrival as u64, (id, due));
                }
            } else {
                let taken: Vec<String> = set
                    .take(3, now)
                    .into_iter()
                    .map(|ticket| {
                        let id = set.get(ticket).stamp.object_cid().as_str().to_owned();
                        set.finish(ticket);
                        id
                    })
                    .collect();
                let mut due: Vec<_> = model.iter().filter(|(_, (_, due))| *due <= now).collect();
                due.sort_by_key(|(_, (_, due))| *due);
                let ids: BTreeSet<&String> = taken.iter().collect();
                prop_assert_eq!(ids.len(), taken.len());
                prop_assert_eq!(taken.len(), model.len().min(3));
                let expected_due: Vec<_> = due.iter().take(3).map(|(_, (_, due))| *due).collect();
                let taken_due: Vec<_> = taken
                    .iter()
                    .take(expected_due.len())
                    .map(|id| model.values().find(|(other, _)| other == id).expect("a known id").1)
                    .collect();
                prop_assert_eq!(taken_due, expected_due);
                let rest: Vec<_> = model
                    .iter()
                    .filter(|(_, (_, due))| *due > now)
                    .map(|(_, (id, _))| id.clone())
                    .take(taken.len() - due.len().min(3))
                    .collect();
                prop_assert_eq!(&taken[due.len().min(3)..], &rest[..], "then in order of arrival");
                model.retain(|_, (id, _)| !taken.contains(id));
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.next_due(), model.values().map(|(_, due)| *due).min());
        }
    }
}
