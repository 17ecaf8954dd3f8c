//! What must hold for the rule and the pending set alone, for every sequence of arrivals, completions and moments:
//! checked against a model that is too simple to be wrong, on a hand-moved clock. What several assignments, partitions
//! and members do to each other is the simulator's business.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;

use super::assignment::Position;
use super::pending::{Admission, PendingSet, PendingStamp, Ticket};
use super::policy::{BatchLimits, Decision, Trigger, decide};
use crate::stamp::{ObjectCid, Stamp, TimeTolerance};
use crate::trace::TraceContext;

const CASES: u32 = 5_000;

#[derive(Clone, Debug)]
enum Step {
    /// A stamp arrives: id, tolerance in minutes, created so many seconds ago. With `more`, others were fetched together
    /// with it, so that nothing is decided yet.
    Arrive { id: u16, tolerance: i32, age: i64, more: bool },
    /// The clock moves on by seconds, stopping at each due time on the way as the listener does.
    Pass(i64),
    /// The oldest batch that is being written is committed.
    Commit,
    /// The oldest batch that is being written has failed, and its stamps wait again.
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..60u16, 0..90i32, 0..6_000i64, prop::bool::weighted(0.7)).prop_map(
            |(id, tolerance, age, more)| Step::Arrive { id, tolerance, age, more }
        ),
        2 => (0..4_000i64).prop_map(Step::Pass),
        2 => Just(Step::Commit),
        1 => Just(Step::Fail),
    ]
}

/// The rule and the pending set, with the rest of a listener reduced to collections.
struct Listener {
    limits: BatchLimits,
    now: DateTime<Utc>,
    pending: PendingSet,
    writing: Vec<Vec<Ticket>>,
    received: BTreeSet<String>,
    processed: BTreeMap<String, usize>,
}

impl Listener {
    fn new(min: usize, extra: usize) -> Self {
        Self {
            limits: BatchLimits::new(min, min + extra).expect("valid limits"),
            now: DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time"),
            pending: PendingSet::default(),
            writing: Vec::new(),
            received: BTreeSet::new(),
            processed: BTreeMap::new(),
        }
    }

    fn run(&mut self, offset: i64, step: &Step) {
        match *step {
            Step::Arrive { id, tolerance, age, more } => {
                let stamp = stamp(&format!("cid-{id}"), tolerance, self.now - TimeDelta::seconds(age));
                let id = stamp.object_cid().as_str().to_owned();
                // Processed ones are looked up in the database before they are offered.
                if !self.processed.contains_key(&id) {
                    let admission = self.pending.insert(at(stamp, offset), |_| true);
                    let is_new = self.received.insert(id);
                    assert_eq!(
                        admission == Admission::Admitted,
                        is_new,
                        "an id is known until it is finished"
                    );
                }
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
            Step::Commit | Step::Fail if self.writing.is_empty() => {}
            Step::Commit => {
                for ticket in self.writing.remove(0) {
                    let id = self.pending.get(ticket).stamp.object_cid().as_str().to_owned();
                    *self.processed.entry(id).or_default() += 1;
                    self.pending.finish(ticket);
                }
            }
            Step::Fail => {
                let failed = self.writing.remove(0);
                failed.into_iter().rev().for_each(|ticket| self.pending.put_back(ticket, false));
                self.dispatch();
            }
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

    /// Lets all tolerances run out and all writes end.
    fn finish(&mut self) {
        self.run(0, &Step::Pass(100 * 3_600));
        while !self.writing.is_empty() {
            self.run(0, &Step::Commit);
        }
        let processed: BTreeSet<String> = self.processed.keys().cloned().collect();
        assert_eq!(self.received, processed, "nothing lost, nothing invented");
        assert!(self.processed.values().all(|times| *times == 1), "nothing twice");
    }
}

fn stamp(id: &str, tolerance: i32, created: DateTime<Utc>) -> Stamp {
    Stamp::new(
        ObjectCid::parse(id).expect("a valid id"),
        TimeTolerance::from_minutes(tolerance).expect("a valid tolerance"),
        created,
    )
    .expect("a valid due time")
    .with_trace(trace(id))
}

/// Returns the trace of a stamp: every other id has one.
fn trace(id: &str) -> Option<TraceContext> {
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    let number: u128 = digits.parse().expect("a number");
    TraceContext::new(number % 2 * number, 1, true)
}

fn at(stamp: Stamp, offset: i64) -> PendingStamp {
    PendingStamp {
        stamp,
        position: Position { partition: 0, lap: 1, offset },
        has_row: false,
        sent_late: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    // Break: in `decide` of batch/policy.rs, let a deadline batch take `pending` instead of `due`, or a full one
    // `pending` instead of `pending.min(limits.max)`.
    #[test]
    fn nothing_is_lost_doubled_early_or_held_past_its_due_time(
        min in 1..8usize, extra in 0..8usize, steps in vec(step(), 1..60)
    ) {
        let mut listener = Listener::new(min, extra);
        for (step, offset) in steps.iter().zip(0..) {
            listener.run(offset, step);
        }
        listener.finish();
    }

    // Break: leave the trace of a stamp that is gone to the next one in its slot, in `PendingSet::forget`.
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
                let stamp = stamp(&id, tolerance, start);
                let due = stamp.due();
                let admission = set.insert(at(stamp, arrival as i64), |_| true);
                prop_assert_eq!(admission == Admission::Duplicate, known);
                if !known {
                    model.insert(arrival as u64, (id, due));
                }
            } else {
                let taken: Vec<String> = set
                    .take(3, now)
                    .into_iter()
                    .map(|ticket| {
                        let stamp = set.get(ticket).stamp;
                        let id = stamp.object_cid().as_str().to_owned();
                        assert_eq!(stamp.trace().copied(), trace(&id));
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
