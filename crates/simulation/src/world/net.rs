//! What happens in and to the table's net of a listener.

use chrono::{DateTime, Utc};
use domain::batch::heart::Failure;
use domain::batch::net::{Net, NetCommand, NetEvent};

use super::World;
use crate::database::{Outcome, Statement, stamp_of};
use crate::judge::net::{NetWatch, judge_rows};
use crate::meetings::Meeting;
use crate::member::{Process, Task};

/// The place of the net's statement among those under way.
const NET: usize = 2;
/// For how long after the last records Kafka counts as feeding a listener, in microseconds.
const RECENTLY: i64 = 1_000_000;
/// The most statements that are served at once: so many that seconds pass in calm.
const SERVED: i64 = 50;

impl World {
    /// Starts a process that is dead, of today's release or of one that had no net.
    pub(super) fn start(&mut self, member: usize, is_old: bool) -> bool {
        if !self.start_heart(member, is_old) {
            return false;
        }
        if let Some(process) = self.members[member].as_mut().filter(|_| !is_old) {
            process.net = Some(Net::new(self.settings.seed.wrapping_add(u64::from(process.serial))));
            process.watch = NetWatch::new(self.now);
            self.step_net(member, NetEvent::Time);
        }
        true
    }

    /// Returns when a net looks again by itself.
    pub(crate) fn net_wake(&self, member: usize) -> Option<i64> {
        let process = self.members[member].as_ref().filter(|process| process.tasks[NET].is_none())?;
        self.micros(process.net.as_ref()?.wake())
    }

    /// Makes one step of a net, judged from the outside, and serves what it commands.
    pub(super) fn step_net(&mut self, member: usize, event: NetEvent) -> bool {
        let Some(mut process) = self.members[member].take() else { return false };
        let Some(net) = &mut process.net else {
            self.members[member] = Some(process);
            return true;
        };
        self.steps += 1;
        self.note(|| format!("    {member} < net {event:?}"));
        let mut met = std::mem::take(&mut self.meetings);
        process.watch.told(&event, &self.facts(), &mut met);
        self.meetings = met;
        let is_fed = process.heart.is_full() || process.fed_at.is_some_and(|at| self.now - at < RECENTLY);
        let command = net.step(self.moment(), is_fed, event);
        let wake = self.micros(net.wake());
        let mut verdict = Ok(());
        if let Some(command) = &command {
            self.note(|| format!("    {member} > net {command:?}"));
            verdict = process.watch.commanded(command, &self.facts());
        }
        let verdict = verdict.and_then(|()| process.watch.judge_rest(wake, &self.facts()));
        self.members[member] = Some(process);
        self.judge(verdict);
        match command {
            Some(NetCommand::Fail) => _ = self.crash(member),
            Some(command) => self.send(member, command),
            None => {}
        }
        true
    }

    fn send(&mut self, member: usize, command: NetCommand) {
        let others = || {
            let others = self.members.iter().enumerate().filter(|(other, _)| *other != member);
            others.filter_map(|(_, process)| process.as_ref())
        };
        let meeting = match &command {
            NetCommand::Look => others().any(Process::looks).then_some(Meeting::LookTogether),
            NetCommand::Take(rows) => {
                let is_ours = |row: &i64| rows.contains(row);
                others().any(|other| other.takes().iter().any(is_ours)).then_some(Meeting::TakeTogether)
            }
            NetCommand::PutOff(..) | NetCommand::Fail => None,
        };
        if let Some(meeting) = meeting {
            self.meetings.count(meeting);
        }
        if let Some(process) = &mut self.members[member] {
            process.tasks[NET] = Some(Task::new(Statement::Net(command)));
        }
        self.serve(member);
    }

    /// Executes and answers what a net has commanded, as long as it is served.
    fn serve(&mut self, member: usize) {
        let Some(process) = &mut self.members[member] else { return };
        if process.served > 0 && self.violation.is_none() {
            process.served -= 1;
            self.execute(member, NET as i64);
            self.answer(member, NET as i64);
        }
    }

    pub(super) fn begin_to_serve(&mut self, member: usize, statements: i64) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        if process.net.is_none() || process.served > 0 || statements <= 0 {
            return false;
        }
        process.served = statements.min(SERVED);
        if process.tasks[NET].is_some() {
            self.serve(member);
        }
        true
    }

    pub(super) fn answer_net(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let Some(task) = process.tasks[NET].take_if(|task| task.outcome.is_some()) else { return false };
        task.net_answer().is_some_and(|event| self.step_net(member, event))
    }

    /// Tells a net that its statement has failed, which may be so or not.
    pub(super) fn fail_net(&mut self, member: usize, task: Task, failure: Failure) -> bool {
        let is_open = task.outcome.is_none();
        if let Statement::Net(NetCommand::Take(rows)) = &task.statement {
            if failure == Failure::Slow && rows.len() > 1 {
                self.meetings.count(Meeting::TakeSlow);
            }
            let has_left =
                |row: &i64| u8::try_from(*row).is_ok_and(|id| self.database.by_table.contains(&id));
            if matches!(task.outcome, Some(Outcome::Done)) && rows.iter().any(has_left) {
                self.meetings.count(Meeting::TakeAnswerLost);
            }
        }
        if is_open && matches!(failure, Failure::Slow | Failure::Unanswered) && task.matters() {
            self.zombies.push_back(task.statement);
        }
        self.step_net(member, NetEvent::Failed(failure))
    }

    /// Has the server say to a take that it is another listener's turn.
    pub(super) fn busy(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        if process.takes().is_empty() {
            return false;
        }
        let task = process.tasks[NET].as_mut().filter(|task| task.outcome.is_none());
        task.map(|task| task.outcome = Some(Outcome::NotOurTurn)).is_some()
    }

    /// Has the server execute a take, except for a row that somebody has locked.
    pub(super) fn execute_locked(&mut self, member: usize, id: u8) -> bool {
        let takes = |process: &Process| process.takes().contains(&i64::from(id));
        let time = self.time();
        let is_open = self.members[member].as_ref().is_some_and(|process| {
            takes(process) && process.tasks[NET].as_ref().is_some_and(|task| task.outcome.is_none())
        });
        let Some(row) = self.database.pending.rows.get_mut(&id).filter(|_| is_open) else { return false };
        row.since = time;
        self.meetings.count(Meeting::TakeLocked);
        self.execute_but(member, NET, Some(id))
    }

    /// Counts what meets when rows leave by the table, or can't be put off.
    pub(super) fn count_taken(&mut self, taken: &[u8], is_put_off: bool) {
        if is_put_off {
            self.meetings.count(Meeting::PutOffTogether);
        }
        let Self { members, meetings, database, .. } = self;
        let any = |is: &dyn Fn(&Process) -> bool| members.iter().flatten().any(is);
        let met = [
            (any(&|process| process.is_old), Meeting::TakenBesideOld),
            (any(&|process| taken.iter().any(|id| process.holdings.holds(*id))), Meeting::TakenWhileHeld),
            (any(&|process| process.writes().iter().any(|id| taken.contains(id))), Meeting::TakenDuringWrite),
            (taken.iter().any(|id| database.stored.contains(id)), Meeting::DistantTaken),
        ];
        if !taken.is_empty() {
            met.iter().filter(|(is, _)| *is).for_each(|(_, meeting)| meetings.count(*meeting));
        }
    }

    /// Stores what the API has accepted, or a row without a due time.
    pub(super) fn store(&mut self, id: u8, due: Option<DateTime<Utc>>) -> bool {
        let time = self.time();
        if self.is_endless(id) || (due.is_none() && self.stamps[usize::from(id)].is_some()) {
            return false;
        }
        let due = due.map(|due| self.stamps[usize::from(id)].get_or_insert_with(|| stamp_of(id, due)).due());
        self.database.store(id, due, time)
    }

    /// Tells whether the row of a stamp has no due time, so that no event of it can be read.
    pub(super) fn is_endless(&self, id: u8) -> bool {
        self.database.pending.rows.get(&id).is_some_and(|row| row.due.is_none())
    }

    /// Returns when a net has to do with the next row: some time before it is due.
    pub(crate) fn next_row(&self) -> Option<i64> {
        let is_netted = self.members.iter().flatten().any(|process| process.net.is_some());
        let time = self.time();
        let rows = self.database.wanting().filter(|_| is_netted);
        let at = |due: DateTime<Utc>| self.now + (due - time).num_microseconds().unwrap_or(0) - RECENTLY;
        rows.map(|(_, row)| row.due.map_or(self.now, at)).min()
    }

    /// Judges the tables when everything is at rest.
    pub(crate) fn judge_tables(&mut self) {
        let is_netted = self.members.iter().flatten().any(|process| process.net.is_some());
        let batches = crate::judge::net::judge_batches(&self.database, self.settings.max);
        let rows = if is_netted { judge_rows(&self.database) } else { Ok(()) };
        self.judge(batches.and(rows));
    }
}
