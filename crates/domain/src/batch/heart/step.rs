//! What comes in: assignments and revocations, records, and what the database says to them before their stamps wait.

use super::event::{
    Chunk, Command, Content, Distant, Event, Failure, Moment, Record, Request, Screened, Screening, Step,
};
use super::state::{COMMIT_PAUSE, Heart, Revocation, Screen, Work};
use crate::batch::assignment::{Assignment, Commit, Position};
use crate::batch::pending::{Admission, PendingStamp};
use crate::batch::promise::is_sent_late;

impl<X> Heart<X> {
    /// Takes an event in and returns what is to be done about it, in order.
    pub fn step(&mut self, now: Moment, event: Event<X>) -> Vec<Command<X>> {
        let mut commands = Vec::new();
        match event {
            Event::Assigned(assignments) => self.on_assigned(now, &assignments),
            Event::Revoked { request, assignments, lost } => {
                self.on_revoked(request, assignments, lost, &mut commands);
            }
            Event::Known(known) => self.on_known(known),
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

    pub(super) fn release(&mut self, revocation: Revocation, commands: &mut Vec<Command<X>>) {
        let Revocation { request, assignments } = revocation;
        let frontiers = assignments
            .into_iter()
            .filter_map(|assignment| Some(Commit { assignment, offset: self.ledgers.end(assignment)? }))
            .collect();
        commands.push(Command::Release { request, frontiers });
    }

    fn on_known(&mut self, known: Vec<Commit>) {
        for commit in known {
            self.committed.insert(commit.assignment.partition, commit);
        }
    }

    fn on_fetched(&mut self, now: Moment, chunk: Chunk<X>, commands: &mut Vec<Command<X>>) {
        let mut screening = Screening::new(chunk.ends);
        for Record { assignment, offset, timestamp, content } in chunk.records {
            // A client may hand its first records over before it is known that they are ours.
            self.on_assigned(now, &[assignment]);
            let Some(position) = self.ledgers.receive(assignment, offset) else { continue };
            match content {
                Content::Stamp(stamp) => {
                    let sent_late = is_sent_late(stamp.due(), timestamp);
                    let waiting = PendingStamp { stamp, position, has_row: false, sent_late };
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
        self.screen(screening, commands);
    }

    fn is_distant(&self, now: Moment, waiting: &PendingStamp) -> bool {
        self.settings.horizon.is_some_and(|horizon| waiting.stamp.due() - now.time > horizon)
    }

    pub(super) fn screen(&mut self, screening: Screening<X>, commands: &mut Vec<Command<X>>) {
        self.screen = Screen::Running;
        commands.push(Command::Screen(screening));
    }

    fn on_screened(&mut self, now: Moment, screened: Screened, commands: &mut Vec<Command<X>>) {
        let Screened { ends, stamps, repeats, finished } = screened;
        self.screen = Screen::Idle;
        self.screen_retry.succeed();
        for position in finished {
            self.ledgers.complete(position);
        }
        for position in repeats {
            if !self.ledgers.has_ended(position) {
                self.finish_duplicate(position, commands);
            }
        }
        let mut distant = Vec::new();
        for waiting in stamps {
            if self.ledgers.has_ended(waiting.position) {
                continue;
            }
            if self.is_distant(now, &waiting) {
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

    /// Commits the frontiers that have moved, with a [`COMMIT_PAUSE`] between those that go on. Lower ones at once: while
    /// the higher one stands, whoever comes next misses what a topic that begins again has below.
    pub(super) fn commit(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        // What the client knows may be lower than what it was told, which is still on its way then.
        let told = |commit: &Commit| self.told.get(&commit.assignment.partition).copied();
        let goes_back = |commit: &Commit| told(commit).is_some_and(|told| commit.offset < told);
        let is_known = |commit: &Commit| self.committed.get(&commit.assignment.partition) == Some(commit);
        let moved: Vec<Commit> =
            self.ledgers.frontiers().filter(|commit| goes_back(commit) || !is_known(commit)).collect();
        if moved.is_empty() {
            return;
        }
        if now.elapsed < self.next_commit && !moved.iter().any(goes_back) {
            self.wake.no_later_than(self.next_commit);
            return;
        }
        self.next_commit = now.elapsed + COMMIT_PAUSE;
        for commit in &moved {
            self.committed.insert(commit.assignment.partition, *commit);
            self.told.insert(commit.assignment.partition, commit.offset);
        }
        commands.push(Command::Commit(moved));
    }
}
