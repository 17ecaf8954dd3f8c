//! What a heart knows. [`step`](super::step) and [`work`](super::work) change it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::backlog::Backlogs;
use super::event::{Request, Screening, Wake};
use super::ledgers::Ledgers;
use crate::batch::assignment::{Assignment, Commit};
use crate::batch::pending::{PendingSet, Ticket};
use crate::batch::policy::BatchLimits;
use crate::batch::retry::Retry;

/// The settings of a heart.
#[derive(Clone, Copy, Debug)]
pub struct HeartSettings {
    /// How many stamps make a batch.
    pub limits: BatchLimits,
    /// A stamp that is due later than this from now is stored in the table instead of being waited for in memory:
    /// Kafka may not keep its record for so long. `None` where the topic keeps records for ever.
    pub horizon: Option<TimeDelta>,
    /// Lets the listeners of a group try again at different moments.
    pub seed: u64,
}

/// The most stamps in one transaction, unless a single batch is larger.
pub const TRANSACTION: usize = 10_000;
/// The most stamps that may wait although they are ready to leave; beyond them nothing more is read.
const ROOM: usize = 2 * TRANSACTION;

/// The least time between two commits of offsets. Kafka takes one in milliseconds; where each of many small batches is
/// followed by one, they pile up before the group's coordinator, and the heartbeats behind them.
pub const COMMIT_PAUSE: Duration = Duration::from_millis(100);

/// A revocation that waits for the work under way.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) request: Request,
    pub(super) assignments: Vec<Assignment>,
}

/// The screening of a chunk.
#[derive(Debug)]
pub(super) enum Screen<X> {
    Idle,
    Running,
    /// The database could not answer; the same screening is asked again.
    Waiting(Screening<X>),
}

/// The state of one listener. `X` is what the heart can't read: a dead letter, or a record that says it is a replay.
#[derive(Debug)]
pub struct Heart<X> {
    pub(super) settings: HeartSettings,
    pub(super) pending: PendingSet,
    pub(super) ledgers: Ledgers,
    pub(super) backlog: Backlogs,
    pub(super) screen: Screen<X>,
    pub(super) screen_retry: Retry,
    pub(super) work: Option<Work>,
    pub(super) work_retry: Retry,
    /// Stamps that go into one transaction at the moment.
    pub(super) transaction: usize,
    pub(super) suspects: Vec<Suspects>,
    /// Whether a batch was refused of which no culprit is buried yet.
    pub(super) is_refused: bool,
    pub(super) revocations: Vec<Revocation>,
    /// What is committed of each assignment, as the client told last or was told since.
    pub(super) committed: BTreeMap<i32, Commit>,
    /// The offset that the client was told last of each partition: it may be on its way still, whatever is known.
    pub(super) told: BTreeMap<i32, i64>,
    /// From when on offsets may be committed again, by the monotonic clock.
    pub(super) next_commit: Duration,
    pub(super) stopping: bool,
    pub(super) wake: Wake,
}

impl<X> Heart<X> {
    /// Returns a heart with nothing to do.
    pub fn new(settings: HeartSettings) -> Self {
        Self {
            settings,
            pending: PendingSet::default(),
            ledgers: Ledgers::default(),
            backlog: Backlogs::default(),
            screen: Screen::Idle,
            screen_retry: Retry::new(settings.seed),
            work: None,
            work_retry: Retry::new(settings.seed.rotate_left(32)),
            transaction: TRANSACTION,
            suspects: Vec::new(),
            is_refused: false,
            revocations: Vec::new(),
            committed: BTreeMap::new(),
            told: BTreeMap::new(),
            next_commit: Duration::ZERO,
            stopping: false,
            wake: Wake::default(),
        }
    }

    /// Returns when a step with [`Event::Time`](super::Event::Time) is due, if nothing else happens before.
    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// Tells whether another chunk may come in: one is screened at a time, and what is ready to leave but does not get
    /// away is bounded.
    pub fn has_room(&self) -> bool {
        matches!(self.screen, Screen::Idle) && !self.stopping && !self.is_full()
    }

    /// Tells whether as many stamps wait as may.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= self.settings.limits.min().max(ROOM)
    }

    /// Returns how many stamps wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns when the next waiting stamp falls due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.pending.next_due()
    }
}

/// What the writer is doing.
#[derive(Debug)]
pub(super) enum Work {
    /// Batches are being written, so many of them.
    Writing(Vec<Ticket>, usize),
    /// Members of a refused batch are tried without effect.
    Probing(Vec<Ticket>),
    /// A stamp that the database refuses becomes a dead letter.
    Burying(Ticket),
}

impl Work {
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Self::Writing(tickets, _) | Self::Probing(tickets) => tickets,
            Self::Burying(ticket) => vec![ticket],
        }
    }

    pub(super) fn tickets(&self) -> &[Ticket] {
        match self {
            Self::Writing(tickets, _) | Self::Probing(tickets) => tickets,
            Self::Burying(ticket) => std::slice::from_ref(ticket),
        }
    }
}

/// Members of a batch that the database has refused, or may refuse.
#[derive(Debug)]
pub(super) struct Suspects {
    pub(super) tickets: Vec<Ticket>,
    /// Whether the database has refused just these stamps: one of them at least is the culprit.
    pub(super) refused: bool,
}
