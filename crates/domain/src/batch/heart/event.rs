//! What goes into the heart and what comes out of it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::batch::assignment::{Assignment, Commit, Position};
use crate::batch::pending::PendingStamp;
use crate::batch::policy::Trigger;
use crate::stamp::Stamp;

/// The time, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// PostgreSQL's time, which decides what is due. It may jump.
    pub time: DateTime<Utc>,
    /// How long the process has run by its monotonic clock, which bounds all patience.
    pub elapsed: Duration,
}

/// Names a revocation, so that its answer finds back to who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request(pub u64);

/// Records that were fetched together, in the order of their reading.
#[derive(Debug)]
pub struct Chunk<X> {
    /// The records.
    pub records: Vec<Record<X>>,
    /// Assignments whose partition was read to its end for the first time.
    pub ends: Vec<Assignment>,
}

/// A record that was read.
#[derive(Debug)]
pub struct Record<X> {
    /// Assignment during which the record was read.
    pub assignment: Assignment,
    /// Kafka's offset of the record.
    pub offset: i64,
    /// Kafka's timestamp of the record in milliseconds since 1970, -1 if the record has none.
    pub timestamp: i64,
    /// What the record holds.
    pub content: Content<X>,
}

/// What a record holds, as far as the heart can read it.
#[derive(Debug)]
pub enum Content<X> {
    /// A stamp that was understood.
    Stamp(Stamp),
    /// What the database has to see first: a dead letter, or a record that says it is the replay of one.
    Other(X),
}

/// A stamp that is due so late that its event may be gone from Kafka by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distant {
    /// The stamp, and where its event was charged.
    pub waiting: PendingStamp,
    /// Kafka's timestamp of the stamp's record, in milliseconds since 1970; -1 for none, and for a replay's.
    pub timestamp: i64,
}

/// What the database is asked and told about a chunk before its stamps are admitted.
#[derive(Debug)]
pub struct Screening<X> {
    /// Assignments that were read to their end, to be handed back with the answer.
    pub ends: Vec<Assignment>,
    /// Stamps of which those are to be found that are processed already.
    pub stamps: Vec<PendingStamp>,
    /// Stamps that are due so late that they are stored in the table, where a row of theirs is not there yet.
    pub distant: Vec<Distant>,
    /// Other records that were read, each with its place.
    pub others: Vec<(Position, X)>,
}

impl<X> Screening<X> {
    pub(super) fn new(ends: Vec<Assignment>) -> Self {
        Self { ends, stamps: Vec::new(), distant: Vec::new(), others: Vec::new() }
    }
}

/// What the database has said to a [`Screening`].
#[derive(Debug, Default)]
pub struct Screened {
    /// The ends of the screening.
    pub ends: Vec<Assignment>,
    /// Those stamps of the screening that are not processed, and the replays that have turned out to be such stamps.
    pub stamps: Vec<PendingStamp>,
    /// The places of events that repeat a processed stamp.
    pub repeats: Vec<Position>,
    /// The places that need nothing more: dead letters and distant stamps that are stored now.
    pub finished: Vec<Position>,
}

/// Why the database did not do what it was told. The outcome of [`Slow`](Self::Slow) and
/// [`Unanswered`](Self::Unanswered) is not known: it may have been done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Values are refused: the same statement without them would work.
    Data,
    /// Nothing can be done now, and nothing was: a lock, no connection, read-only, overload.
    Unavailable,
    /// The statement itself took longer than it may.
    Slow,
    /// The answer was lost.
    Unanswered,
    /// No waiting mends the failure: a mistake of ours or of the schema's.
    Fatal,
}

/// What happens to a listener. `X` is what the heart can't read.
#[derive(Debug)]
pub enum Event<X> {
    /// Partitions were assigned. It comes before or after the first records of these assignments.
    Assigned(Vec<Assignment>),
    /// Partitions are taken away. Somebody waits for [`Command::Release`], for a while, unless they are `lost`.
    Revoked {
        /// Name of the revocation, for [`Command::Release`].
        request: Request,
        /// Assignments that are taken away.
        assignments: Vec<Assignment>,
        /// Whether the partitions are somebody else's already: nothing may be committed.
        lost: bool,
    },
    /// What is committed, as far as the client knows: less than it was told if a rebalance refused that.
    Known(Vec<Commit>),
    /// Records came. Only while [`Heart::has_room`](super::Heart::has_room).
    Fetched(Chunk<X>),
    /// A [`Command::Screen`] has succeeded.
    Screened(Screened),
    /// A [`Command::Screen`] has failed.
    ScreeningFailed(Screening<X>, Failure),
    /// A [`Command::Write`], [`Command::Probe`] or [`Command::Bury`] has succeeded: each member was won, or lost to
    /// somebody who has processed it.
    Done,
    /// A [`Command::Write`], [`Command::Probe`] or [`Command::Bury`] has failed, and nothing of it is known to be done.
    Failed(Failure),
    /// The time has come that [`Heart::wake`](super::Heart::wake) named, or time has passed.
    Time,
    /// The listener is to end.
    Stop,
}

/// A stamp of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The stamp with the values of its event.
    pub stamp: Stamp,
    /// Partition of the stamp's record.
    pub partition: i32,
    /// Offset of the stamp's record.
    pub offset: i64,
    /// Whether the database had the stamp's row when it was asked.
    pub has_row: bool,
    /// Whether the stamp's record was sent too late for its time to be kept.
    pub sent_late: bool,
}

/// Stamps that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Why the stamps leave.
    pub trigger: Trigger,
    /// The stamps, `max_batch_size` of them at most.
    pub members: Vec<Member>,
}

/// Batches that are written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The batches.
    pub batches: Vec<Batch>,
    /// Whether the answer to an earlier write of some of the stamps was lost: those that it has processed count as won.
    pub doubtful: bool,
}

/// The step that is tried again, or has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asking and telling the database about a chunk.
    Screening,
    /// Writing batches, or trying members of a refused one.
    Writing,
    /// Storing a stamp that the database refuses as a dead letter.
    Burying,
}

/// What is to be done. `X` is what the heart can't read.
#[derive(Debug)]
pub enum Command<X> {
    /// Store a screening's dead letters and distant stamps, find out which of its stamps are processed, and answer with
    /// [`Event::Screened`] or [`Event::ScreeningFailed`]. One at a time.
    Screen(Screening<X>),
    /// Write exactly these batches in one transaction, and answer with [`Event::Done`] or [`Event::Failed`]. One of
    /// write, probe and bury at a time.
    Write(Write),
    /// Write these stamps as one batch and take it back, to see whether the database refuses them.
    Probe(Vec<Member>),
    /// Store a stamp that the database refuses as a dead letter.
    Bury(Member),
    /// Commit these offsets without waiting, those of assignments that have ended excepted.
    Commit(Vec<Commit>),
    /// Give partitions back: what may be committed for them, to whoever waits for this request.
    Release {
        /// Name of the revocation for whose answer somebody waits.
        request: Request,
        /// Offsets that may be committed for the partitions.
        frontiers: Vec<Commit>,
    },
    /// Count so many events that repeat a stamp.
    CountDuplicates(usize),
    /// Tell that a step is tried again after so long.
    Retry {
        /// The step that is tried again.
        step: Step,
        /// How long the next try is away.
        after: Duration,
    },
    /// End: a step has failed in a way that no waiting mends.
    Fail(Step),
    /// End: everything that was under way is finished, and this may be committed last.
    Finish {
        /// Offsets that may be committed last.
        frontiers: Vec<Commit>,
    },
}

/// When the heart looks again by itself: at whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// When a stamp falls due, by PostgreSQL's time.
    pub due: Option<DateTime<Utc>>,
    /// When a patience ends, by the monotonic clock of [`Moment::elapsed`].
    pub elapsed: Option<Duration>,
}

impl Wake {
    pub(in crate::batch) fn no_later_than(&mut self, elapsed: Duration) {
        self.elapsed = Some(self.elapsed.map_or(elapsed, |known| known.min(elapsed)));
    }
}
