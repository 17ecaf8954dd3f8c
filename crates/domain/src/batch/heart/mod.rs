//! The heart of a listener: everything that it decides about stamps, without I/O.
//!
//! [`Heart::step`] takes one [`Event`] in and returns the [`Command`]s that follow from it; a thin shell carries them
//! out and reports what became of them. Whatever can be decided about partitions, offsets, batches and retries is
//! decided here, so that the same choices give the same commands and millions of orders of events can be tried.
//!
//! A second, smaller machine is the [`Reader`](reader::Reader), which lives on the thread that polls: it names
//! assignments, guards commits, and tells when a client has to be given up.
//!
//! Work is named by an [`Assignment`], a partition together with the number of its assignment. A partition that is
//! taken away and comes back is another assignment, and what was begun under the first moves nothing in the second.

mod backlog;
mod event;
mod ledgers;
pub mod reader;
mod retry;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::backlog::Backlog;
pub use self::event::{
    Assignment, Batch, Chunk, Command, Commit, Content, Distant, Event, Failure, Member, Moment, Record,
    Request, Screened, Screening, Step, Wake, Write,
};
use self::ledgers::Ledgers;
pub use self::ledgers::Position;
use self::retry::Retry;
use self::work::{Suspects, Work};
use super::pending::{Admission, PendingSet, PendingStamp};
use super::policy::BatchLimits;

/// What a heart is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many stamps make a batch.
    pub limits: BatchLimits,
    /// A stamp that is due later than this from now is stored in the table instead of being waited for in memory:
    /// Kafka may not keep its record for so long. `None` where the topic keeps records for ever.
    pub horizon: Option<TimeDelta>,
    /// Lets the listeners of a group try again at different moments.
    pub seed: u64,
}

/// Stamps in one transaction, unless a single batch is larger.
pub const TRANSACTION: usize = 10_000;
/// Stamps that may wait although they are ready to leave; beyond them nothing more is read.
const ROOM: usize = 2 * TRANSACTION;

/// A revocation that waits for the work under way.
#[derive(Debug)]
struct Revocation {
    request: Request,
    assignments: Vec<Assignment>,
}

/// What is screened.
#[derive(Debug)]
enum Screen<X> {
    Idle,
    Running,
    /// The database could not answer; the same is asked again.
    Waiting(Screening<X>),
}

/// The state of one listener. `X` is what the heart can't read: a dead letter, or a record that says it is a replay.
#[derive(Debug)]
pub struct Heart<X> {
    settings: Settings,
    pending: PendingSet,
    ledgers: Ledgers,
    backlog: Backlog,
    screen: Screen<X>,
    screen_retry: Retry,
    work: Option<Work>,
    work_retry: Retry,
    /// Stamps that go into one transaction at the moment.
    transaction: usize,
    suspects: Vec<Suspects>,
    /// A batch was refused, and no culprit is buried yet.
    is_refused: bool,
    revocations: Vec<Revocation>,
    /// What is committed of each assignment, as the client told last or was told since.
    committed: BTreeMap<i32, Commit>,
    stopping: bool,
    wake: Wake,
}

impl<X> Heart<X> {
    /// A heart with nothing to do.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            pending: PendingSet::default(),
            ledgers: Ledgers::default(),
            backlog: Backlog::default(),
            screen: Screen::Idle,
            screen_retry: Retry::new(settings.seed),
            work: None,
            work_retry: Retry::new(settings.seed.rotate_left(32)),
            transaction: TRANSACTION,
            suspects: Vec::new(),
            is_refused: false,
            revocations: Vec::new(),
            committed: BTreeMap::new(),
            stopping: false,
            wake: Wake::default(),
        }
    }

    /// Takes an event in and returns what is to be done about it, in order.
    pub fn step(&mut self, now: Moment, event: Event<X>) -> Vec<Command<X>> {
        let mut commands = Vec::new();
        match event {
            Event::Assigned(assignments) => self.on_assigned(now, &assignments),
            Event::Revoked { request, assignments, lost } => {
                self.on_revoked(request, assignments, lost, &mut commands);
            }
            Event::Known(known) => self.on_known(known, &mut commands),
            Event::Fetched(chunk) => self.on_fetched(now, chunk, &mut commands),
            Event::Screened(screened) => self.on_screened(now, screened, &mut commands),
            Event::ScreeningFailed(screening, failure) => {
                self.on_screening_failed(now, screening, failure, &mut commands);
            }
            Event::Done => self.on_done(now, &mut commands),
            Event::Failed(failure) => self.on_failed(now, failure, &mut commands),
            Event::Time => {}
            Event::Stop => self.stopping = true,
        }
        // What ends begins nothing more.
        if !matches!(commands.last(), Some(Command::Fail(_))) {
            self.go_on(now, &mut commands);
        }
        commands
    }

    /// When a step with [`Event::Time`] is due, if nothing else happens before.
    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// Tells whether another chunk may come in: one is screened at a time, and what is ready to leave but does not get
    /// away is bounded.
    pub fn has_room(&self) -> bool {
        matches!(self.screen, Screen::Idle)
            && !self.stopping
            && self.pending.len() < self.settings.limits.min().max(ROOM)
    }

    /// How many stamps wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When the next waiting stamp falls due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.pending.next_due()
    }

    fn on_assigned(&mut self, now: Moment, assignments: &[Assignment]) {
        for assignment in assignments {
            if self.ledgers.begin(*assignment) {
                self.backlog.begin(*assignment, now.elapsed);
            }
        }
    }

    fn on_revoked(
        &mut self,
        request: Request,
        assignments: Vec<Assignment>,
        lost: bool,
        commands: &mut Vec<Command<X>>,
    ) {
        for assignment in &assignments {
            self.backlog.end(*assignment);
            if self.ledgers.leave(*assignment) {
                self.pending.drop_partition(assignment.partition);
            }
        }
        // Whoever is suspected is found again, if need be.
        self.drop_suspicion();
        let revocation = Revocation { request, assignments };
        if lost {
            for assignment in &revocation.assignments {
                self.ledgers.end(*assignment);
            }
        } else if self.is_waited_for(&revocation) {
            self.revocations.push(revocation);
        } else {
            self.release(revocation, commands);
        }
    }

    /// Tells whether the work under way concerns what is revoked. Nothing else is worth a rebalance's wait.
    fn is_waited_for(&self, revocation: &Revocation) -> bool {
        let tickets = self.work.as_ref().map_or(&[][..], Work::tickets);
        tickets.iter().any(|ticket| {
            let position = self.pending.position(*ticket);
            revocation.assignments.iter().any(|assignment| self.ledgers.leaves(*assignment, position))
        })
    }

    fn release(&mut self, revocation: Revocation, commands: &mut Vec<Command<X>>) {
        let Revocation { request, assignments } = revocation;
        let frontiers = assignments
            .into_iter()
            .filter_map(|assignment| Some(Commit { assignment, offset: self.ledgers.end(assignment)? }))
            .collect();
        commands.push(Command::Release { request, frontiers });
    }

    fn on_known(&mut self, known: Vec<Commit>, commands: &mut Vec<Command<X>>) {
        for commit in known {
            self.committed.insert(commit.assignment.partition, commit);
        }
        self.commit(commands);
    }

    fn on_fetched(&mut self, now: Moment, chunk: Chunk<X>, commands: &mut Vec<Command<X>>) {
        let mut screening = Screening::new(chunk.ends);
        for Record { assignment, offset, timestamp, content } in chunk.records {
            // A client may hand its first records over before it is known that they are ours.
            self.on_assigned(now, &[assignment]);
            let Some(position) = self.ledgers.receive(assignment, offset) else { continue };
            match content {
                Content::Stamp(stamp) => {
                    let waiting = PendingStamp { stamp, position };
                    if self.pending.contains(waiting.stamp.object_cid()) {
                        self.admit(waiting, commands);
                    } else if self.is_distant(now, &waiting) {
                        screening.distant.push(Distant { waiting, timestamp });
                    } else {
                        screening.stamps.push(waiting);
                    }
                }
                Content::Other(other) => screening.others.push((position, other)),
            }
        }
        // An offset that goes back is committed at once: while the higher one stands, whoever comes next misses what is
        // there now. The database may take long to answer, and until then what the client knows may look like the lower
        // one although the higher one is still on its way.
        self.commit(commands);
        self.screen(screening, commands);
    }

    fn is_distant(&self, now: Moment, waiting: &PendingStamp) -> bool {
        self.settings.horizon.is_some_and(|horizon| waiting.stamp.due() - now.time > horizon)
    }

    fn screen(&mut self, screening: Screening<X>, commands: &mut Vec<Command<X>>) {
        self.screen = Screen::Running;
        commands.push(Command::Screen(screening));
    }

    fn on_screened(&mut self, now: Moment, screened: Screened, commands: &mut Vec<Command<X>>) {
        let Screened { ends, stamps, processed, finished } = screened;
        self.screen = Screen::Idle;
        self.screen_retry.succeed();
        for position in finished {
            self.ledgers.complete(position);
        }
        let mut distant = Vec::new();
        for waiting in stamps {
            if self.ledgers.has_ended(waiting.position) {
                continue;
            }
            if processed.contains(waiting.stamp.object_cid().as_str()) {
                self.finish_duplicate(waiting.position, commands);
            } else if self.is_distant(now, &waiting) {
                // A replay has turned out to be one.
                distant.push(Distant { waiting, timestamp: -1 });
            } else {
                self.admit(waiting, commands);
            }
        }
        // Only now is what stands before the end in the pending set.
        for assignment in ends {
            self.backlog.end(assignment);
        }
        self.commit(commands);
        if !distant.is_empty() {
            self.screen(Screening { distant, ..Screening::new(Vec::new()) }, commands);
        }
    }

    fn on_screening_failed(
        &mut self,
        now: Moment,
        screening: Screening<X>,
        failure: Failure,
        commands: &mut Vec<Command<X>>,
    ) {
        if matches!(failure, Failure::Data | Failure::Fatal) {
            commands.push(Command::Fail(Step::Screening));
            return;
        }
        self.screen = Screen::Waiting(screening);
        let after = self.screen_retry.fail(now.elapsed);
        commands.push(Command::Retry { step: Step::Screening, after });
    }

    fn admit(&mut self, waiting: PendingStamp, commands: &mut Vec<Command<X>>) {
        let (position, ledgers) = (waiting.position, &self.ledgers);
        match self.pending.insert(waiting, |known| ledgers.is_charged(known)) {
            Admission::Admitted | Admission::Rehomed => {}
            Admission::Duplicate => self.finish_duplicate(position, commands),
        }
    }

    fn finish_duplicate(&mut self, position: Position, commands: &mut Vec<Command<X>>) {
        self.ledgers.complete(position);
        match commands.last_mut() {
            Some(Command::CountDuplicates(count)) => *count += 1,
            _ => commands.push(Command::CountDuplicates(1)),
        }
    }

    /// Commits what has moved.
    fn commit(&mut self, commands: &mut Vec<Command<X>>) {
        // Lower too: what a topic that begins again has below is read again.
        let moved: Vec<Commit> = self
            .ledgers
            .frontiers()
            .filter(|commit| self.committed.get(&commit.assignment.partition) != Some(commit))
            .collect();
        if !moved.is_empty() {
            for commit in &moved {
                self.committed.insert(commit.assignment.partition, *commit);
            }
            commands.push(Command::Commit(moved));
        }
    }
}

/// Bounds how long a due stamp of a partition that was just assigned may wait for the rest of its backlog.
pub const BACKLOG_PATIENCE: Duration = Duration::from_secs(1);
