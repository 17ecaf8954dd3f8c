//! The world: what is, and what happens when something is chosen.

mod delivery;
mod net;
mod process;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::batch::heart::{Failure, Moment, Wake};
use domain::stamp::Stamp;

use crate::database::{Database, Statement, stamp_of};
use crate::group::Group;
use crate::history::{Choice, Settings};
use crate::judge::facts::{Broken, Facts};
use crate::judge::offsets::Offsets;
use crate::log::{Log, What};
use crate::meetings::{Meeting, Meetings};
use crate::member::Process;

/// How many ids there are.
pub(crate) const IDS: usize = 64;
/// The most wakes at one moment: more are a heart that spins.
const WAKES: usize = 50;

/// Everything that a history happens to.
pub(crate) struct World {
    pub(crate) settings: Settings,
    /// Microseconds since the world began.
    pub(crate) now: i64,
    /// PostgreSQL's time when the world began, as far as its clock is right.
    start: DateTime<Utc>,
    pub(crate) log: Log,
    pub(crate) group: Group,
    pub(crate) database: Database,
    stamps: Vec<Option<Stamp>>,
    pub(crate) members: Vec<Option<Process>>,
    /// Members of the group whose process is dead, by listener.
    ghosts: Vec<(usize, u32)>,
    /// Statements that nobody waits for.
    zombies: VecDeque<Statement>,
    processes: u32,
    steps: u64,
    pub(crate) offsets: Offsets,
    pub(crate) meetings: Meetings,
    /// How often each kind of thing was chosen and happened.
    pub(crate) happened: BTreeMap<&'static str, u64>,
    trace: Option<String>,
    pub(crate) violation: Option<String>,
}

impl World {
    pub(crate) fn new(settings: Settings, traced: bool) -> Self {
        Self {
            settings,
            now: 0,
            start: DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default(),
            log: Log::new(settings.partitions),
            group: Group::new(settings.partitions, settings.members),
            database: Database::default(),
            stamps: vec![None; IDS],
            members: (0..settings.members).map(|_| None).collect(),
            ghosts: Vec::new(),
            zombies: VecDeque::new(),
            processes: 0,
            steps: 0,
            offsets: Offsets::default(),
            meetings: Meetings::default(),
            happened: BTreeMap::new(),
            trace: traced.then(String::new),
            violation: None,
        }
    }

    /// Returns what has happened, line by line.
    pub(crate) fn into_trace(self) -> String {
        self.trace.unwrap_or_default()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Lets something happen. Returns whether it could.
    pub(crate) fn apply(&mut self, choice: Choice) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let before = self.trace.as_ref().map(String::len);
        self.note(|| choice.to_string());
        let happened = self.choose(choice);
        if happened {
            *self.happened.entry(choice.word()).or_default() += 1;
        } else if let (Some(trace), Some(before)) = (&mut self.trace, before) {
            trace.truncate(before);
        }
        happened
    }

    fn choose(&mut self, choice: Choice) -> bool {
        match choice {
            Choice::Append { partition, id, due_in_ms } => self.append(partition, id, due_in_ms, What::Stamp),
            Choice::Replay { partition, id, due_in_ms } => {
                self.append(partition, id, due_in_ms, What::Replay)
            }
            Choice::Garbage { partition } => {
                self.in_partition(partition, |world, index| world.push(index, What::Garbage))
            }
            Choice::Gap { partition } => self.in_partition(partition, |world, index| {
                world.log.gap(index);
                true
            }),
            Choice::Retain { partition, records } => {
                self.in_partition(partition, |world, index| world.log.retain(index, records.max(0) as usize))
            }
            Choice::Truncate { partition, records } => self
                .in_partition(partition, |world, index| world.log.truncate(index, records.max(0) as usize)),
            Choice::Recreate { partition } => self.in_partition(partition, Self::recreate),
            Choice::Refuse { id } => self.of_id(id, |world, id| {
                world.stamps[usize::from(id)].is_none() && world.database.refused.insert(id)
            }),
            Choice::Row { id, due_in_ms } => {
                let due = self.time() + TimeDelta::milliseconds(due_in_ms);
                self.of_id(id, |world, id| world.store(id, Some(due)))
            }
            Choice::Endless { id } => self.of_id(id, |world, id| world.store(id, None)),
            Choice::Move { partition, member } => self.in_partition(partition, |world, index| {
                let target = member.max(0) as usize % world.members.len();
                let moves = std::mem::replace(&mut world.group.target[index], target) != target;
                if moves {
                    world.group.rebalance();
                }
                moves
            }),
            Choice::Zombie {} => self.rise(),
            Choice::Forget {} => self.zombies.pop_front().is_some(),
            Choice::Jump { ms } => self.jump(ms),
            Choice::Wait { ms } => {
                self.advance(self.now + ms.max(0) * 1_000);
                true
            }
            Choice::Heartbeat { member } => self.of_member(member, Self::heartbeat),
            Choice::Sync { member } => self.of_member(member, Self::sync),
            Choice::Expire { member } => self.of_member(member, Self::expire),
            Choice::Replace { member } => self.of_member(member, Self::replace),
            Choice::Fetch { member, partition, records } => self.of_member(member, |world, member| {
                world.in_partition(partition, |world, index| {
                    world.fetch(member, index, records.max(0) as usize)
                })
            }),
            Choice::Poll { member, records } => {
                self.of_member(member, |world, member| world.poll(member, records.max(0) as usize))
            }
            Choice::Known { member } => self.of_member(member, Self::known),
            Choice::Land { member } => self.of_member(member, |world, member| world.land(member, true)),
            Choice::LoseAnswer { member } => {
                self.of_member(member, |world, member| world.land(member, false))
            }
            Choice::LoseCommit { member } => self.of_member(member, Self::lose_commit),
            Choice::Control { member } => self.of_member(member, Self::control),
            Choice::Chunk { member } => self.of_member(member, Self::chunk),
            Choice::Shell { member } => self.of_member(member, Self::shell),
            Choice::Execute { member, task } => {
                self.of_member(member, |world, member| world.execute(member, task))
            }
            Choice::Answer { member, task } => {
                self.of_member(member, |world, member| world.answer(member, task))
            }
            Choice::Unavailable { member, task } => self.failing(member, task, Failure::Unavailable),
            Choice::Slow { member, task } => self.failing(member, task, Failure::Slow),
            Choice::Unanswered { member, task } => self.failing(member, task, Failure::Unanswered),
            Choice::Fatal { member, task } => self.failing(member, task, Failure::Fatal),
            Choice::Crash { member } => self.of_member(member, Self::crash),
            Choice::Start { member } => self.of_member(member, |world, member| world.start(member, false)),
            Choice::StartOld { member } => self.of_member(member, |world, member| world.start(member, true)),
            Choice::Serve { member, statements } => {
                self.of_member(member, |world, member| world.begin_to_serve(member, statements))
            }
            Choice::Busy { member } => self.of_member(member, Self::busy),
            Choice::Locked { member, id } => self.of_member(member, |world, member| {
                world.of_id(id, |world, id| world.execute_locked(member, id))
            }),
            Choice::Stop { member } => self.of_member(member, Self::stop),
        }
    }

    fn in_partition(&mut self, partition: i64, happen: impl FnOnce(&mut Self, usize) -> bool) -> bool {
        let index = partition.max(0) as usize % self.settings.partitions;
        happen(self, index)
    }

    fn of_member(&mut self, member: i64, happen: impl FnOnce(&mut Self, usize) -> bool) -> bool {
        let index = member.max(0) as usize % self.settings.members;
        happen(self, index)
    }

    fn of_id(&mut self, id: i64, happen: impl FnOnce(&mut Self, u8) -> bool) -> bool {
        happen(self, (id.max(0) as usize % IDS) as u8)
    }

    fn failing(&mut self, member: i64, task: i64, failure: Failure) -> bool {
        self.of_member(member, |world, member| world.fail(member, task, failure))
    }

    fn append(&mut self, partition: i64, id: i64, due_in_ms: i64, what: impl FnOnce(u8) -> What) -> bool {
        self.of_id(id, |world, id| {
            if world.is_endless(id) {
                return false;
            }
            let due = world.time() + TimeDelta::milliseconds(due_in_ms);
            world.stamps[usize::from(id)].get_or_insert_with(|| stamp_of(id, due));
            world.in_partition(partition, |world, index| world.push(index, what(id)))
        })
    }

    fn push(&mut self, partition: usize, what: What) -> bool {
        if let What::Stamp(id) = what
            && self.database.by_table.contains(&id)
            && !self.log.records.iter().any(|record| record.id() == Some(id))
        {
            self.meetings.count(Meeting::TakenBeforeEvent);
        }
        let committed = self.group.committed.get(&(partition as i32)).copied().unwrap_or(0);
        self.log.append(partition, what, committed);
        true
    }

    fn recreate(&mut self, partition: usize) -> bool {
        let recreated = self.log.recreate(partition);
        if recreated {
            // Offsets go with their topic.
            self.group.committed.remove(&(partition as i32));
            let is_held = |record: &crate::log::Record| {
                let holds = |process: &Process| record.id().is_some_and(|id| process.holdings.holds(id));
                record.partition == partition as i32 && self.members.iter().flatten().any(holds)
            };
            if self.log.records.iter().any(is_held) {
                self.meetings.count(Meeting::RecreationWithWaiting);
            }
        }
        recreated
    }

    fn jump(&mut self, ms: i64) -> bool {
        // Bounded, so that no due time leaves the calendar.
        self.start += TimeDelta::milliseconds(ms.clamp(-100_000_000, 100_000_000));
        self.members.iter_mut().flatten().for_each(|process| process.watch.jumped(self.now));
        true
    }

    /// Lets time pass from event to event. The shell is quick compared to the clock.
    pub(crate) fn advance(&mut self, to: i64) {
        for _ in 0..WAKES * 1_000 {
            self.drain();
            let wake = |member: usize| Some((self.wake(member)?, member));
            let Some((at, member)) = (0..self.members.len()).filter_map(wake).min() else { break };
            if at > to || self.violation.is_some() {
                break;
            }
            self.now = self.now.max(at);
            self.tick(member);
        }
        self.now = self.now.max(to);
    }

    /// Returns when a heart looks again by itself.
    pub(crate) fn heart_wake(&self, member: usize) -> Option<i64> {
        self.micros(self.members[member].as_ref()?.heart.wake())
    }

    /// Returns when a listener does something by itself.
    fn wake(&self, member: usize) -> Option<i64> {
        self.heart_wake(member).into_iter().chain(self.net_wake(member)).min()
    }

    /// Returns when a wake is, in microseconds of the world.
    fn micros(&self, wake: Wake) -> Option<i64> {
        let due = wake.due.and_then(|due| (due - self.start).num_microseconds());
        let elapsed = wake.elapsed.map(|elapsed| elapsed.as_nanos().div_ceil(1_000) as i64);
        due.into_iter().chain(elapsed).min()
    }

    /// Carries all commands out.
    pub(crate) fn drain(&mut self) {
        for member in 0..self.members.len() {
            while self.shell(member) {}
        }
    }

    pub(crate) fn has_ghost(&self, member: usize) -> bool {
        self.ghosts.iter().any(|(slot, _)| *slot == member)
    }

    fn time(&self) -> DateTime<Utc> {
        self.start + TimeDelta::microseconds(self.now)
    }

    fn moment(&self) -> Moment {
        Moment { time: self.time(), elapsed: self.elapsed() }
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now.unsigned_abs())
    }

    fn facts(&self) -> Facts<'_> {
        let Settings { min, max, horizon_ms, .. } = self.settings;
        Facts {
            log: &self.log,
            stamps: &self.stamps,
            refused: &self.database.refused,
            pending: &self.database.pending,
            now: self.now,
            start: self.start,
            min,
            max,
            horizon: (horizon_ms > 0).then(|| TimeDelta::milliseconds(horizon_ms)),
        }
    }

    /// Writes a line down, if somebody reads.
    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
            // A string takes everything.
            _ = writeln!(trace, "{seconds:>8}.{micros:06} {}", line());
        }
    }

    pub(crate) fn judge(&mut self, verdict: Broken) {
        if let Err(violation) = verdict {
            self.note(|| format!("*** {violation}"));
            self.violation.get_or_insert(violation);
        }
    }
}
