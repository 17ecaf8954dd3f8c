//! The cases that the listener's rule was first written down with, on a hand-moved clock.

use chrono::{DateTime, TimeDelta, Utc};
use domain::batch::assignment::Position;
use domain::batch::pending::{PendingSet, PendingStamp};
use domain::batch::policy::{BatchLimits, Decision, Trigger, decide};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

/// A listener without Kafka and PostgreSQL, whose clock stands still until it is moved.
struct Listener {
    limits: BatchLimits,
    now: DateTime<Utc>,
    pending: PendingSet,
    offset: i64,
}

impl Listener {
    fn new(min: usize) -> Self {
        Self {
            limits: BatchLimits::new(min, 10).expect("valid limits"),
            now: DateTime::from_timestamp(1_767_225_600, 0).expect("a valid time"),
            pending: PendingSet::default(),
            offset: 0,
        }
    }

    /// Receives a stamp that was created so many minutes ago.
    fn receive(&mut self, id: &str, tolerance: i32, minutes_ago: i64) {
        let stamp = Stamp::new(
            ObjectCid::parse(id).expect("a valid id"),
            TimeTolerance::from_minutes(tolerance).expect("a valid tolerance"),
            self.now - TimeDelta::minutes(minutes_ago),
        )
        .expect("a valid due time");
        let position = Position { partition: 0, lap: 1, offset: self.offset };
        self.offset += 1;
        self.pending.insert(PendingStamp { stamp, position, has_row: false, sent_late: false }, |_| true);
    }

    fn minutes_pass(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
    }

    /// Returns everything that leaves now, batch by batch.
    fn leave(&mut self) -> Vec<(Trigger, Vec<String>)> {
        let mut batches = Vec::new();
        while let Decision::Process { trigger, size } =
            decide(self.limits, self.pending.waiting(self.now, self.limits.min(), false))
        {
            let tickets = self.pending.take(size, self.now);
            let id = |ticket| self.pending.get(ticket).stamp.object_cid().to_string();
            let ids = tickets.iter().copied().map(id).collect();
            for ticket in tickets {
                self.pending.finish(ticket);
            }
            batches.push((trigger, ids));
        }
        batches
    }
}

fn batch(trigger: Trigger, ids: &[&str]) -> (Trigger, Vec<String>) {
    (trigger, ids.iter().map(|id| (*id).to_owned()).collect())
}

#[test]
fn two_at_min_2_leave_together() {
    let mut listener = Listener::new(2);
    listener.receive("1", 10, 0);
    assert_eq!(listener.leave(), []);
    listener.receive("2", 10, 0);
    assert_eq!(listener.leave(), [batch(Trigger::MinBatchSize, &["1", "2"])]);
}

#[test]
fn at_min_2_a_due_one_that_comes_first_leaves_alone_and_one_after_it_waits() {
    let mut listener = Listener::new(2);
    listener.receive("due", 10, 11);
    assert_eq!(listener.leave(), [batch(Trigger::Deadline, &["due"])]);
    listener.receive("early", 10, 0);
    assert_eq!(listener.leave(), []);
    assert_eq!(listener.pending.len(), 1);
}

#[test]
fn two_that_are_not_due_wait_at_min_4() {
    let mut listener = Listener::new(4);
    listener.receive("1", 30, 0);
    listener.receive("2", 30, 0);
    assert_eq!(listener.leave(), []);
    assert_eq!(listener.pending.len(), 2);
}

#[test]
fn after_31_minutes_one_that_waited_and_a_second_that_is_due_leave_at_min_3() {
    let mut listener = Listener::new(3);
    listener.receive("waited", 30, 0);
    assert_eq!(listener.leave(), []);
    listener.minutes_pass(31);
    listener.receive("late", 30, 45);
    assert_eq!(listener.leave(), [batch(Trigger::Deadline, &["late", "waited"])]);
}

#[test]
fn twenty_five_at_min_2_and_max_10_leave_as_10_10_and_5() {
    let mut listener = Listener::new(2);
    (0..25).for_each(|id| listener.receive(&id.to_string(), 10, 0));
    let sizes: Vec<usize> = listener.leave().iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
}

#[test]
fn twenty_one_leave_as_10_and_10_and_the_last_waits() {
    let mut listener = Listener::new(2);
    (0..21).for_each(|id| listener.receive(&id.to_string(), 10, 0));
    assert_eq!(listener.leave().len(), 2);
    assert_eq!(listener.pending.len(), 1);
}
