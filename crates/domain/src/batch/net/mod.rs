//! The table's net: stamps whose time came half a second ago leave by the table, whether or not Kafka has their events.
//!
//! [`Net::step`] takes one [`NetEvent`] in and returns the [`NetCommand`] that follows from it, without I/O and without a
//! clock. Once a second it looks at which stamps fall due within the next one, keeps those few in memory, and takes what
//! is pending still when each has been due for [`GRACE`]. Who wins a stamp, this or a batch of Kafka's, the database
//! decides.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::heart::{Failure, Moment, Wake};
use super::retry::Retry;

/// How long a stamp has been due before it is taken from the table: in health, its event was read and it has left.
pub const GRACE: TimeDelta = TimeDelta::milliseconds(500);
/// How far ahead a look sees.
pub const AHEAD: TimeDelta = TimeDelta::seconds(1);
/// The most stamps that a look sees, and that are taken before the next one. While Kafka brings a backlog of due stamps,
/// each that is taken comes as a repeat later.
pub const SEEN: usize = 1_000;

/// How far apart looks are, unless there is more than a look sees and nothing comes from Kafka.
const PERIOD: Duration = Duration::from_secs(1);
/// How far apart takes are: so what falls due one after the other leaves together, and in health, where there is nothing
/// to take, little is asked.
const PACE: Duration = Duration::from_millis(100);
/// How long to wait while another listener takes.
const TURN: Duration = Duration::from_millis(250);

/// A stamp that a look has found pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Number of the stamp's row.
    pub row: i64,
    /// When the stamp is due; `None` if that is no time at all, as infinity is none.
    pub due: Option<DateTime<Utc>>,
}

/// Why a stamp is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The database refuses the values of the stamp.
    Refused,
    /// The stamp's due time is no time.
    NoTime,
}

/// What happens to the net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// A [`NetCommand::Look`] has found these stamps, the most overdue first.
    Seen(Vec<Seen>),
    /// A [`NetCommand::Take`] or [`NetCommand::PutOff`] is done: what it names has left, is somebody else's in hand, or is
    /// left alone for now.
    Done,
    /// A [`NetCommand::Take`] is done, and all that it names has left before or is in somebody's hand.
    NoneLeft,
    /// Another listener takes: nothing was taken.
    NotOurTurn,
    /// A command has failed, and nothing of it is known to be done.
    Failed(Failure),
    /// The time has come that [`Net::wake`] named, or time has passed.
    Time,
}

/// What is to be done. One command at a time: the next follows from its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetCommand {
    /// See which stamps are due or will be within [`AHEAD`], up to [`SEEN`] of them.
    Look,
    /// Process those of these rows that are pending still and have been due for [`GRACE`].
    Take(Vec<i64>),
    /// Leave a row alone for a while, longer each time, and tell of it.
    PutOff(i64, Obstacle),
    /// End: a step has failed in a way that no waiting mends.
    Fail,
}

/// What is under way.
#[derive(Debug)]
enum Doing {
    Looking,
    /// So many of the kept rows are taken, from the first on.
    Taking(usize),
    /// The last of the suspects are taken.
    Isolating,
    /// The last of the obstacles is put off.
    PuttingOff,
}

/// The state of one listener's net.
#[derive(Debug)]
pub struct Net {
    /// What the last look has seen and was not taken since, the most overdue first.
    kept: VecDeque<(DateTime<Utc>, i64)>,
    /// Whether there may be more than the last look has seen.
    is_more: bool,
    /// Rows that are taken apart from others, because the database has refused them together.
    suspects: Vec<Vec<i64>>,
    obstacles: Vec<(i64, Obstacle)>,
    doing: Option<Doing>,
    /// Rows that are taken at a time at the moment.
    portion: usize,
    next_look: Duration,
    next_take: Duration,
    /// Nothing is taken before, since another listener takes.
    our_turn: Duration,
    retry: Retry,
    wake: Wake,
}

impl Net {
    /// Returns a net that begins with a look. The seed lets listeners try again at different moments.
    pub fn new(seed: u64) -> Self {
        Self {
            kept: VecDeque::new(),
            is_more: false,
            suspects: Vec::new(),
            obstacles: Vec::new(),
            doing: None,
            portion: SEEN,
            next_look: Duration::ZERO,
            next_take: Duration::ZERO,
            our_turn: Duration::ZERO,
            retry: Retry::new(seed),
            wake: Wake::default(),
        }
    }

    /// Returns when a step with [`NetEvent::Time`] is due, if nothing else happens before.
    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// Takes an event in and returns what is to be done about it, if anything is. `is_fed`: Kafka brings records, or so
    /// many wait that no more are read.
    pub fn step(&mut self, now: Moment, is_fed: bool, event: NetEvent) -> Option<NetCommand> {
        match event {
            NetEvent::Time => {}
            NetEvent::Failed(Failure::Fatal) => return Some(NetCommand::Fail),
            NetEvent::Failed(failure) => self.on_failed(now, failure),
            NetEvent::NotOurTurn => {
                self.doing = None;
                self.our_turn = now.elapsed + TURN;
            }
            NetEvent::Seen(seen) => {
                self.doing = None;
                self.retry.succeed();
                self.keep(seen);
            }
            NetEvent::Done => self.on_done(),
            NetEvent::NoneLeft => {
                // As many in somebody's hand as a look sees would be seen again and again without a pause.
                self.is_more = false;
                self.on_done();
            }
        }
        self.wake = Wake::default();
        if self.doing.is_some() {
            return None;
        }
        self.next(now, is_fed)
    }

    /// Keeps what a look has seen, and forgets what the one before has: what is pending still was seen again.
    fn keep(&mut self, seen: Vec<Seen>) {
        self.is_more = seen.len() >= SEEN;
        self.kept.clear();
        for Seen { row, due } in seen {
            match due {
                Some(due) => self.kept.push_back((due, row)),
                None => self.obstacles.push((row, Obstacle::NoTime)),
            }
        }
    }

    fn on_done(&mut self) {
        self.retry.succeed();
        match self.doing.take() {
            Some(Doing::Taking(count)) => {
                self.kept.drain(..count);
                self.portion = (2 * self.portion).min(SEEN);
            }
            Some(Doing::Isolating) => drop(self.suspects.pop()),
            Some(Doing::PuttingOff) => drop(self.obstacles.pop()),
            Some(Doing::Looking) | None => {}
        }
    }

    fn on_failed(&mut self, now: Moment, failure: Failure) {
        match (failure, self.doing.take()) {
            (Failure::Data, Some(Doing::Taking(count))) => {
                self.suspects.push(self.kept.drain(..count).map(|(_, row)| row).collect());
                self.divide();
            }
            (Failure::Data, Some(Doing::Isolating)) => self.divide(),
            // What can't be put off either is seen again soon, and stands in nobody's way until then.
            (Failure::Data, Some(Doing::PuttingOff)) => drop(self.obstacles.pop()),
            (failure, doing) => {
                if failure == Failure::Slow {
                    self.take_less(doing.as_ref());
                }
                self.retry.fail(now.elapsed);
            }
        }
    }

    /// Takes fewer rows at a time than took too long.
    fn take_less(&mut self, doing: Option<&Doing>) {
        match doing {
            Some(Doing::Taking(count)) => self.portion = (count / 2).max(1),
            Some(Doing::Isolating) if self.suspects.last().is_some_and(|rows| rows.len() > 1) => {
                self.divide();
            }
            _ => {}
        }
    }

    /// Divides the suspects that were refused last, until the culprit stands alone.
    fn divide(&mut self) {
        let Some(mut refused) = self.suspects.pop() else { return };
        if let [culprit] = refused[..] {
            self.obstacles.push((culprit, Obstacle::Refused));
            return;
        }
        let later = refused.split_off(refused.len() / 2);
        self.suspects.push(later);
        self.suspects.push(refused);
    }

    /// Begins what can be begun, or finds out when to look again.
    fn next(&mut self, now: Moment, is_fed: bool) -> Option<NetCommand> {
        if let Some(until) = self.retry.left(now.elapsed) {
            self.wake.no_later_than(until);
            return None;
        }
        if let Some((row, obstacle)) = self.obstacles.last() {
            self.doing = Some(Doing::PuttingOff);
            return Some(NetCommand::PutOff(*row, *obstacle));
        }
        // What a backlog brings by Kafka is left to Kafka; what nothing brings is taken without a pause.
        let is_urgent = self.is_more && !is_fed;
        if let Some(command) = self.take(now, is_urgent) {
            return Some(command);
        }
        // Suspects wait for their turn alone. A look would see them once more, and they would be taken twice.
        if !self.suspects.is_empty() {
            return None;
        }
        if now.elapsed >= self.next_look || (is_urgent && self.kept.is_empty()) {
            self.next_look = now.elapsed + PERIOD;
            self.doing = Some(Doing::Looking);
            return Some(NetCommand::Look);
        }
        self.wake.no_later_than(self.next_look);
        None
    }

    fn take(&mut self, now: Moment, is_urgent: bool) -> Option<NetCommand> {
        let begin = if is_urgent { self.our_turn } else { self.our_turn.max(self.next_take) };
        let suspects = self.suspects.last();
        let ready =
            self.kept.iter().take(self.portion).take_while(|(due, _)| *due + GRACE <= now.time).count();
        if suspects.is_none() && ready == 0 {
            self.wake.due = self.kept.front().map(|(due, _)| *due + GRACE);
            return None;
        }
        // Suspects are on their way already: only who else takes holds them up.
        let begin = if suspects.is_some() { self.our_turn } else { begin };
        if now.elapsed < begin {
            self.wake.no_later_than(begin);
            return None;
        }
        let (doing, rows) = match suspects {
            Some(rows) => (Doing::Isolating, rows.clone()),
            None => (Doing::Taking(ready), self.kept.iter().take(ready).map(|(_, row)| *row).collect()),
        };
        self.next_take = now.elapsed + PACE;
        self.doing = Some(doing);
        Some(NetCommand::Take(rows))
    }
}
