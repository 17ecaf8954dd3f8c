//! What happens in and to a listener's process.

use std::collections::VecDeque;

use chrono::TimeDelta;
use domain::batch::heart::{Command, Event, Failure, Heart, HeartSettings};
use domain::batch::net::NetEvent;
use domain::batch::policy::BatchLimits;

use super::{WAKES, World};
use crate::client::{Client, Evidence, Sent};
use crate::database::{Outcome, Statement, Surroundings};
use crate::judge::holdings::{Holdings, News};
use crate::judge::net::NetWatch;
use crate::meetings::Meeting;
use crate::member::{Process, Task, describe, written};

impl World {
    /// Starts a process that is dead, without a net.
    pub(super) fn start_heart(&mut self, member: usize, is_old: bool) -> bool {
        if self.members[member].is_some() {
            return false;
        }
        self.processes += 1;
        let serial = self.processes;
        let settings = HeartSettings {
            limits: BatchLimits::new(self.settings.min, self.settings.max).expect("min is not above max"),
            horizon: (self.settings.horizon_ms > 0)
                .then(|| TimeDelta::milliseconds(self.settings.horizon_ms)),
            seed: self.settings.seed.wrapping_add(u64::from(serial)),
        };
        self.members[member] = Some(Process {
            serial,
            heart: Heart::new(settings),
            client: Client::new(self.group.add(member)),
            outbox: VecDeque::new(),
            net: None,
            is_old,
            served: 0,
            fed_at: None,
            tasks: [None, None, None],
            holdings: Holdings::default(),
            watch: NetWatch::default(),
        });
        true
    }

    pub(super) fn crash(&mut self, member: usize) -> bool {
        let Some(process) = self.members[member].take() else { return false };
        let wrote = |task: &Task| {
            matches!((&task.statement, &task.outcome), (Statement::Write(_), Some(Outcome::Done)))
        };
        let is_told = process.outbox.iter().any(|(command, _)| matches!(command, Command::Commit(_)));
        if process.tasks.iter().flatten().any(wrote) || is_told || !process.client.commits.is_empty() {
            self.meetings.count(Meeting::CrashBeforeOffset);
        }
        self.ghosts.push((member, process.client.id));
        self.leave_statements(process);
        true
    }

    /// Leaves the statements of a process that ends: what the server was told goes on without who has told it.
    fn leave_statements(&mut self, process: Process) {
        let is_open = |task: &Task| task.outcome.is_none() && task.matters();
        let open = process.tasks.into_iter().flatten().filter(is_open);
        self.zombies.extend(open.map(|task| task.statement));
    }

    pub(super) fn stop(&mut self, member: usize) -> bool {
        let is_new = self.members[member].as_ref().is_some_and(|process| !process.holdings.is_stopping());
        if is_new && let Some(process) = &mut self.members[member] {
            // What the net has begun it ends, and then nothing follows.
            process.net = None;
            if !process.takes().is_empty() {
                self.meetings.count(Meeting::StopDuringTake);
            }
        }
        is_new && self.step(member, Event::Stop, &[])
    }

    pub(super) fn control(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let Some(event) = process.client.control.pop_front() else { return false };
        if matches!(&event, Event::Known(known) if process.holdings.is_stale(known)) {
            self.meetings.count(Meeting::StaleKnown);
        }
        self.step(member, event, &[])
    }

    pub(super) fn chunk(&mut self, member: usize) -> bool {
        while self.shell(member) {}
        let Some(process) = &mut self.members[member] else { return false };
        if !process.heart.has_room() {
            return false;
        }
        let Some(parcel) = process.client.chunks.pop_front() else { return false };
        process.fed_at = Some(self.now);
        self.step(member, Event::Fetched(parcel.chunk), &parcel.serials)
    }

    /// Tells a heart and a net that the time has come that each has named.
    pub(super) fn tick(&mut self, member: usize) {
        for _ in 0..WAKES {
            let is_over = |wake: Option<i64>| wake.is_some_and(|at| at <= self.now);
            let (heart, net) = (is_over(self.heart_wake(member)), is_over(self.net_wake(member)));
            if !heart && !net {
                return;
            }
            if heart {
                self.step(member, Event::Time, &[]);
                while self.shell(member) {}
            }
            if net {
                self.step_net(member, NetEvent::Time);
            }
        }
        self.judge(Err(format!("listener {member} wakes again and again at one moment")));
    }

    /// Makes one step of a heart, judged from the outside.
    fn step(&mut self, member: usize, event: Event<u32>, serials: &[u32]) -> bool {
        // The shell carries out what one step has said before it makes another.
        while self.shell(member) {}
        let Some(mut process) = self.members[member].take() else { return false };
        self.steps += 1;
        self.note(|| format!("    {member} < {}", describe(&event)));
        let mut met = std::mem::take(&mut self.meetings);
        process.holdings.told(&event, serials, &self.facts(), &mut met);
        let is_end_of_work = matches!(event, Event::Done | Event::Failed(_));
        let commands = process.heart.step(self.moment(), event);
        let mut verdict = Ok(());
        for command in commands {
            self.note(|| format!("    {member} > {command:?}"));
            verdict = verdict.and_then(|()| process.holdings.commanded(&command, &self.facts(), &mut met));
            if is_end_of_work && matches!(command, Command::Release { .. }) {
                met.count(Meeting::ReleaseInTime);
            }
            process.outbox.push_back((command, Evidence { process: process.serial, step: self.steps }));
        }
        let is_over = process.outbox.iter().any(|(command, _)| matches!(command, Command::Fail(_)));
        if !is_over {
            verdict = verdict.and_then(|()| process.holdings.judge_rest(process.heart.wake(), &self.facts()));
        }
        let News { given, repeats } = process.holdings.take_news();
        for (serial, assignment) in given {
            self.offsets.given(process.serial, assignment, serial, self.steps);
        }
        self.offsets.repeated(repeats);
        if process.holdings.is_held_up() {
            met.count(Meeting::RevokedDuringWrite);
        }
        self.meetings = met;
        self.members[member] = Some(process);
        self.judge(verdict);
        true
    }

    /// Has the shell carry out the next command.
    pub(super) fn shell(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let Some((command, evidence)) = process.outbox.pop_front() else { return false };
        match command {
            Command::Screen(screening) => process.tasks[0] = Some(Task::new(Statement::Screen(screening))),
            Command::Write(write) => {
                let task = Task::new(Statement::Write(write));
                let ids = task.written();
                process.tasks[1] = Some(task);
                let other = self.members.iter().enumerate().filter(|(other, _)| *other != member);
                if other.flat_map(|(_, other)| other).flat_map(Process::writes).any(|id| ids.contains(&id)) {
                    self.meetings.count(Meeting::RaceForStamp);
                }
            }
            Command::Probe(members) => process.tasks[1] = Some(Task::new(Statement::Probe(members))),
            Command::Bury(culprit) => process.tasks[1] = Some(Task::new(Statement::Bury(culprit))),
            Command::Commit(commits) => {
                let ours = process.client.reader.still_ours(&commits);
                if ours.len() < commits.len() {
                    self.meetings.count(Meeting::CommitAfterLoss);
                }
                let generation = process.client.generation;
                process.client.commits.extend(ours.into_iter().map(|commit| Sent {
                    generation,
                    commit,
                    evidence,
                }));
            }
            Command::Release { request, frontiers } => {
                let callback =
                    process.client.callback.as_mut().filter(|callback| callback.request == request);
                match callback {
                    Some(callback) => {
                        callback.reply =
                            Some(frontiers.into_iter().map(|commit| (commit, evidence)).collect());
                    }
                    None => self.meetings.count(Meeting::ReleaseTooLate),
                }
            }
            Command::Fail(_) => _ = self.crash(member),
            Command::Finish { frontiers } => {
                for commit in process.client.reader.still_ours(&frontiers) {
                    self.commit_now(member, commit, evidence);
                }
                if let Some(process) = self.members[member].take() {
                    self.group.remove(process.client.id);
                    self.leave_statements(process);
                }
            }
            Command::CountDuplicates(_) | Command::Retry { .. } => {}
        }
        true
    }

    pub(super) fn execute(&mut self, member: usize, task: i64) -> bool {
        self.execute_but(member, place(task), None)
    }

    /// Executes a statement that finds one row locked, maybe.
    pub(super) fn execute_but(&mut self, member: usize, place: usize, locked: Option<u8>) -> bool {
        let time = self.time();
        let Some(process) = &mut self.members[member] else { return false };
        let Some(task) = process.tasks[place].as_mut().filter(|task| task.outcome.is_none()) else {
            return false;
        };
        let around =
            Surroundings { stamps: &self.stamps, log: &self.log, time, max: self.settings.max, locked };
        let mut execution = self.database.execute(&task.statement, &around);
        let taken = std::mem::take(&mut execution.taken);
        task.outcome = Some(execution.outcome);
        if execution.lost > 0 {
            self.meetings.count(Meeting::RaceLost);
        }
        self.count_taken(&taken, execution.is_put_off);
        true
    }

    pub(super) fn answer(&mut self, member: usize, task: i64) -> bool {
        while self.shell(member) {}
        if place(task) == 2 {
            return self.answer_net(member);
        }
        let Some(process) = &mut self.members[member] else { return false };
        let task = &mut process.tasks[place(task)];
        if task.as_ref().is_none_or(|task| task.outcome.is_none()) {
            return false;
        }
        let event = task.take().and_then(Task::answer);
        event.is_some_and(|event| self.step(member, event, &[]))
    }

    pub(super) fn fail(&mut self, member: usize, task: i64, failure: Failure) -> bool {
        while self.shell(member) {}
        let Some(process) = &mut self.members[member] else { return false };
        let task = &mut process.tasks[place(task)];
        let Some(failing) = task.take() else { return false };
        // Where the server has done it, it can't say that it has not.
        if failing.outcome.is_some() && matches!(failure, Failure::Unavailable | Failure::Fatal) {
            *task = Some(failing);
            return false;
        }
        if matches!(failing.statement, Statement::Net(_)) {
            return self.fail_net(member, failing, failure);
        }
        if matches!((&failing.statement, &failing.outcome), (Statement::Write(_), Some(Outcome::Done))) {
            self.meetings.count(Meeting::AnswerLostAfterCommit);
        }
        let (event, left) = failing.fail(failure);
        self.zombies.extend(left);
        self.step(member, event, &[])
    }

    /// Executes a statement after all that nobody waits for.
    pub(super) fn rise(&mut self) -> bool {
        let Some(statement) = self.zombies.pop_front() else { return false };
        let ids = written(&statement);
        if self.members.iter().flatten().flat_map(Process::writes).any(|id| ids.contains(&id)) {
            self.meetings.count(Meeting::ZombieAfterRetry);
        }
        let (time, max) = (self.time(), self.settings.max);
        let around = Surroundings { stamps: &self.stamps, log: &self.log, time, max, locked: None };
        let execution = self.database.execute(&statement, &around);
        if !execution.taken.is_empty() {
            self.meetings.count(Meeting::ZombieTake);
        }
        self.count_taken(&execution.taken, execution.is_put_off);
        true
    }
}

/// Returns where a statement stands among those under way.
fn place(task: i64) -> usize {
    task.clamp(0, 2) as usize
}
