//! What leaves: which stamps, when, and what becomes of them.

use chrono::{DateTime, Utc};

use super::event::{Batch, Command, Failure, Member, Moment, Step, Wake, Write};
use super::state::{Heart, Screen, Suspects, TRANSACTION, Work};
use crate::batch::pending::{PendingStamp, Ticket};
use crate::batch::policy::{Decision, decide};

impl<X> Heart<X> {
    /// Takes note that the work under way has succeeded.
    pub(super) fn on_done(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        let Some(work) = self.work.take() else { return };
        if !matches!(work, Work::Probing(_)) {
            self.work_retry.succeed();
        }
        match work {
            Work::Probing(tickets) => {
                self.put_back(tickets, false);
                if self.suspects.is_empty() && std::mem::take(&mut self.is_refused) {
                    // The database takes the parts of what it refuses as a whole: asking at once would never end.
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
    }

    fn finish(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            let position = self.pending.finish(ticket);
            self.ledgers.complete(position);
        }
    }

    /// Takes note that the work under way has failed: what it holds waits again, and what leaves next is decided anew.
    pub(super) fn on_failed(&mut self, now: Moment, failure: Failure, commands: &mut Vec<Command<X>>) {
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
    }

    pub(super) fn drop_suspicion(&mut self) {
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
    pub(super) fn go_on(&mut self, now: Moment, commands: &mut Vec<Command<X>>) {
        self.wake = Wake::default();
        self.commit(now, commands);
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

    /// Returns when the next stamp falls due of a partition whose backlog nobody waits for.
    fn next_settled_due(&self) -> Option<DateTime<Utc>> {
        self.pending.next_due_where(|partition| !self.backlog.is_read(partition))
    }

    fn is_settled_due(&self, time: DateTime<Utc>) -> bool {
        self.next_settled_due().is_some_and(|due| due <= time)
    }

    fn member(&self, ticket: Ticket) -> Member {
        let PendingStamp { stamp, position, has_row, sent_late } = self.pending.get(ticket);
        Member { stamp, partition: position.partition, offset: position.offset, has_row, sent_late }
    }
}
