//! What becomes of stamps that leave: the parts of statements that make their batches, and what these answer.

use chrono::{DateTime, Utc};
use domain::batch::policy::Trigger;
use domain::delivery::Sink;
use domain::delivery::courier::LEASE;

use crate::clock::ClockSample;
use crate::durable::DURABLE;

/// Who makes batches, of what, and to whom they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// What the instance is called in `batches.listener`.
    pub listener: String,
    /// Topic that the batches are said to be of.
    pub topic: String,
    /// Where the batches are told, if anywhere.
    pub sink: Option<Sink>,
}

/// What the database made of the batches.
#[derive(Debug)]
pub struct Processed {
    /// What each member was won for, by position; `None` for one that somebody else has processed.
    pub won: Vec<Option<Won>>,
    /// The batches that were made.
    pub batches: Vec<MadeBatch>,
    /// The server's time when this call made batches, if it did.
    pub clock: Option<ClockSample>,
}

impl Processed {
    /// Adds what a further statement has made of the same members.
    pub(super) fn add(&mut self, further: Self) {
        for (won, again) in self.won.iter_mut().zip(further.won) {
            *won = won.or(again);
        }
        self.batches.extend(further.batches);
        self.clock = further.clock.or(self.clock);
    }

    /// Tells whether every member was won.
    pub(super) fn is_complete(&self) -> bool {
        !self.won.contains(&None)
    }
}

/// The batch that a stamp has become a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Won {
    /// Id of the batch.
    pub batch: i64,
    /// When the batch was made.
    pub processed_at: DateTime<Utc>,
}

/// A batch that the database has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBatch {
    /// Id of the batch.
    pub id: i64,
    /// Why the batch left.
    pub trigger: Trigger,
    /// How many stamps the batch holds.
    pub size: usize,
    /// When the batch was made.
    pub processed_at: DateTime<Utc>,
    /// The positions of its stamps in what was written, in the order of their internal ids. None where nobody is told of
    /// the batch, and where the order is not known.
    pub members: Vec<usize>,
}

/// Returns the trigger of a batch by its name, which the table keeps to the two that there are.
pub(crate) fn trigger_of(name: &str) -> Trigger {
    if name == Trigger::Deadline.as_str() { Trigger::Deadline } else { Trigger::MinBatchSize }
}

/// Returns the part of a statement that makes batches of what the part `won` has won: a row for each stamp, with the id of
/// its batch as `batch_id`. The part `numbered` names the batches that there may be: `batch`, `trigger` and `id`. What
/// comes of them is told by `sized`, with a `size` for each that is made, and by `batched`, when they were made: all at the
/// same time. With a
/// sink they are to be delivered, and the maker has them in hand.
pub(super) fn make(listener: &str, topic: &str, sink: Option<Sink>) -> String {
    let lease = LEASE.num_seconds();
    let delivered = sink.map_or_else(String::new, |sink| {
        format!(
            ", delivered AS (
                INSERT INTO deliveries (batch_id, sink, next_attempt_at)
                SELECT id, '{sink}', clock_timestamp() + make_interval(secs => {lease}) FROM sized WHERE {DURABLE}
            )"
        )
    });
    format!(
        "sized AS MATERIALIZED (
            SELECT n.batch, n.trigger, n.id, w.size
            FROM (SELECT batch_id, count(*)::int4 AS size FROM won WHERE {DURABLE} GROUP BY batch_id) AS w
            JOIN numbered n ON n.id = w.batch_id
            ORDER BY n.id
        ), batched AS (
            INSERT INTO batches (id, trigger, size, listener, topic, processed_at)
            SELECT id, trigger, size, {listener}, {topic}, (SELECT clock_timestamp()) FROM sized
            RETURNING processed_at
        ){delivered}"
    )
}

/// Returns the part of a statement that makes stamps members of their batches whose pending rows the part `taken` has
/// taken. The coordinates of an event are null where they are not known.
pub(super) fn join(taken: &str, topic: &str) -> String {
    format!(
        "joined AS (
            INSERT INTO processed_stamps
                (stamp_id, batch_id, time_tolerance, created_date, kafka_topic, kafka_partition, kafka_offset)
            SELECT stamp_id, batch_id, time_tolerance, created_date, nullif(kafka_topic, {topic}), kafka_partition,
                kafka_offset
            FROM {taken} WHERE {DURABLE} ORDER BY stamp_id
        )"
    )
}
