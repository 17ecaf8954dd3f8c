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
use super::pending::{Admission, PendingSet, PendingStamp, Ticket};
use super::policy::{BatchLimits, Decision, decide};

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

/// What the writer is doing.
#[derive(Debug)]
enum Work {
    /// Batches are being written, so many of them.
    Writing(Vec<Ticket>, usize),
    /// Members of a refused batch are tried without effect.
    Probing(Vec<Ticket>),
    /// A stamp that the database refuses becomes a dead letter.
    Burying(Ticket),
}

impl Work {
    fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Self::Writing(tickets, _) | Self::Probing(tickets) => tickets,
            Self::Burying(ticket) => vec![ticket],
        }
    }

    fn tickets(&self) -> &[Ticket] {
        match self {
            Self::Writing(tickets, _) | Self::Probing(tickets) => tickets,
            Self::Burying(ticket) => std::slice::from_ref(ticket),
        }
    }
}

/// Members of a batch that the database has refused, or may refuse.
#[derive(Debug)]
struct Suspects {
    tickets: Vec<Ticket>,
    /// The database has refused just these: one of them at least is the culprit.
    refused: bool,
}

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

    /// The work under way has succeeded.
    fn on_done(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        let Some(work) = self.work.take() else { return };
        if !matches!(work, Work::Probing(_)) {
            self.work_retry.succeed();
        }
        match work {
            Work::Probing(tickets) => {
                self.put_back(tickets, false);
                if self.suspects.is_empty() && std::mem::take(&mut self.is_refused) {
                    // It takes the parts of what it refuses as a whole: asking at once would never end.
                    let after = self.work_retry.fail(now.elapsed);
                    commands.push(Command::Retry { step: Step::Writing, after });
                }
            }
            Work::Writing(tickets, _) => {
                self.transaction = (self.transaction * 2).min(TRANSACTION);
                self.finish(tickets);
            }
            Work::Burying(ticket) => {
                self.is_refused = false;
                self.finish(vec![ticket]);
            }
        }
        self.settle_revocations(commands);
        self.commit(commands);
    }

    fn finish(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            let position = self.pending.finish(ticket);
            self.ledgers.complete(position);
        }
    }

    /// The work under way has failed: what it holds waits again, and what leaves next is decided anew.
    fn on_failed(&mut self, now: Moment, failure: Failure, commands: &mut Vec<Command<X>>) {
        let Some(work) = self.work.take() else { return };
        let step = match work {
            Work::Burying(_) => Step::Burying,
            Work::Writing(..) | Work::Probing(_) => Step::Writing,
        };
        match (failure, work) {
            (Failure::Fatal, _) | (Failure::Data, Work::Burying(_)) => {
                commands.push(Command::Fail(step));
                return;
            }
            (Failure::Data, Work::Probing(tickets) | Work::Writing(tickets, 1)) => {
                self.is_refused = true;
                self.suspects.push(Suspects { tickets, refused: true });
            }
            (Failure::Data, work) => {
                // Fewer batches at a time, until the one with the culprit stands alone.
                self.shrink(&work);
                self.put_back(work.into_tickets(), false);
            }
            (Failure::Unavailable | Failure::Slow | Failure::Unanswered, work) => {
                if failure == Failure::Slow {
                    self.shrink(&work);
                }
                let after = self.work_retry.fail(now.elapsed);
                commands.push(Command::Retry { step, after });
                let doubtful = failure != Failure::Unavailable && matches!(work, Work::Writing(..));
                self.put_back(work.into_tickets(), doubtful);
                self.drop_suspicion();
            }
        }
        self.settle_revocations(commands);
        self.commit(commands);
    }

    fn drop_suspicion(&mut self) {
        self.is_refused = false;
        for Suspects { tickets, .. } in std::mem::take(&mut self.suspects) {
            self.put_back(tickets, false);
        }
    }

    /// Halves what goes into one transaction; a single batch is never cut.
    fn shrink(&mut self, work: &Work) {
        self.transaction = (work.tickets().len() / 2).max(1);
    }

    /// Lets stamps wait again that were taken; those of assignments that have ended are somebody else's.
    fn put_back(&mut self, tickets: Vec<Ticket>, doubtful: bool) {
        for ticket in tickets.into_iter().rev() {
            if self.ledgers.has_ended(self.pending.position(ticket)) {
                self.pending.finish(ticket);
            } else {
                self.pending.put_back(ticket, doubtful);
            }
        }
    }

    fn settle_revocations(&mut self, commands: &mut Vec<Command<X>>) {
        for revocation in std::mem::take(&mut self.revocations) {
            self.release(revocation, commands);
        }
    }

    /// Starts what can be started, and finds out when to look again.
    fn go_on(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        self.wake = Wake::default();
        if self.stopping {
            if self.work.is_none() {
                commands.push(Command::Finish { frontiers: self.ledgers.frontiers().collect() });
            }
            return;
        }
        if let Screen::Waiting(_) = self.screen {
            match self.screen_retry.left(now.elapsed) {
                Some(until) => self.wake.no_later_than(until),
                None => {
                    if let Screen::Waiting(screening) = std::mem::replace(&mut self.screen, Screen::Idle) {
                        self.screen(screening, commands);
                    }
                }
            }
        }
        if self.work.is_some() {
            return;
        }
        if let Some(until) = self.work_retry.left(now.elapsed) {
            self.wake.no_later_than(until);
            return;
        }
        if !self.isolate(commands) {
            self.dispatch(now, commands);
        }
    }

    /// Looks for the culprit among the members of a refused batch. Returns whether there is any such work.
    fn isolate(&mut self, commands: &mut Vec<Command<X>>) -> bool {
        let Some(Suspects { mut tickets, refused }) = self.suspects.pop() else { return false };
        if refused && let [culprit] = tickets[..] {
            commands.push(Command::Bury(self.member(culprit)));
            self.work = Some(Work::Burying(culprit));
            return true;
        }
        if refused {
            // The later half first, so that those who are put back wait in the order in which they came.
            let later = tickets.split_off(tickets.len() / 2);
            let earlier = std::mem::replace(&mut tickets, later);
            self.suspects.push(Suspects { tickets: earlier, refused: false });
        }
        commands.push(Command::Probe(tickets.iter().map(|ticket| self.member(*ticket)).collect()));
        self.work = Some(Work::Probing(tickets));
        true
    }

    /// Lets everything leave that the rule lets leave.
    fn dispatch(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        let backlog_until = self.backlog.waited_for_until(now.elapsed);
        let mut write = Write::default();
        let mut tickets = Vec::new();
        let mut is_settled_due = backlog_until.is_some() && self.is_settled_due(now.time);
        while tickets.len() < self.transaction {
            let reading_backlog = backlog_until.is_some() && !is_settled_due;
            let waiting = self.pending.waiting(now.time, self.settings.limits.min(), reading_backlog);
            match decide(self.settings.limits, waiting) {
                // A single batch may be larger.
                Decision::Process { size, .. }
                    if !tickets.is_empty() && tickets.len() + size > self.transaction =>
                {
                    break;
                }
                Decision::Process { trigger, size } => {
                    let batch = self.pending.take(size, now.time);
                    write.doubtful |= batch.iter().any(|ticket| self.pending.is_doubtful(*ticket));
                    let members = batch.iter().map(|ticket| self.member(*ticket)).collect();
                    write.batches.push(Batch { trigger, members });
                    tickets.extend(batch);
                    is_settled_due = is_settled_due && self.is_settled_due(now.time);
                }
                Decision::WaitUntil(due) => {
                    self.wake.due = Some(due);
                    break;
                }
                Decision::WaitForArrival => {
                    if let Some(until) = backlog_until {
                        self.wake.no_later_than(until);
                        self.wake.due = self.next_settled_due();
                    }
                    break;
                }
            }
        }
        if !tickets.is_empty() {
            self.wake.due = None;
            self.work = Some(Work::Writing(tickets, write.batches.len()));
            commands.push(Command::Write(write));
        }
    }

    /// Due times of partitions whose backlog nobody waits for.
    fn next_settled_due(&self) -> Option<DateTime<Utc>> {
        self.pending.next_due_where(|partition| !self.backlog.is_read(partition))
    }

    fn is_settled_due(&self, time: DateTime<Utc>) -> bool {
        self.next_settled_due().is_some_and(|due| due <= time)
    }

    fn member(&self, ticket: Ticket) -> Member {
        let PendingStamp { stamp, position } = self.pending.get(ticket);
        Member { stamp, partition: position.partition, offset: position.offset }
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
