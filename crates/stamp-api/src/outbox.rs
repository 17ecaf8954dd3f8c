//! The numbers of this process's outbox: which are given out, and up to which everything is in Kafka.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::batch::Position;
use domain::batch::ledger::OffsetLedgers;

/// The numbers under one owner. Shared by the intake, which gives them out, and the relay, which finishes them.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
}

/// The owner under which stamps are stored at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its row in the database.
    pub id: i64,
    /// Counts the owners of this process: what was numbered under an earlier one moves nothing any more.
    pub epoch: u32,
}

/// How the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Up to here everything is in Kafka.
    pub published_through: i64,
    /// How many numbers are given out and not finished.
    pub outstanding: usize,
    /// For how long, about, the oldest of them has been.
    pub oldest: Duration,
}

/// An outbox counts its numbers as a partition counts its offsets; there is one.
const OUTBOX: i32 = 0;

#[derive(Debug)]
struct State {
    owner: Owner,
    next: i64,
    numbers: OffsetLedgers,
    /// Some of this owner's stamps are not on their way to Kafka and have to be read from the database.
    incomplete: bool,
    /// From when on which numbers were given out, for the age of the oldest.
    marks: VecDeque<(i64, Instant)>,
}

impl Outbox {
    /// An outbox under a first owner.
    pub fn new(owner: i64) -> Self {
        let mut numbers = OffsetLedgers::default();
        numbers.begin(OUTBOX, 1);
        let owner = Owner { id: owner, epoch: 1 };
        Self {
            state: Mutex::new(State { owner, next: 1, numbers, incomplete: false, marks: VecDeque::new() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present owner.
    pub fn owner(&self) -> Owner {
        self.state().owner
    }

    /// Goes on under a new owner, from number 1.
    pub fn begin(&self, owner: i64) {
        let mut state = self.state();
        let epoch = state.owner.epoch + 1;
        state.owner = Owner { id: owner, epoch };
        state.numbers.begin(OUTBOX, epoch);
        (state.next, state.incomplete) = (1, false);
        state.marks.clear();
    }

    /// Gives out so many numbers, from the returned one on. They are outstanding until they are finished.
    pub fn number(&self, count: usize) -> (Owner, i64) {
        let mut state = self.state();
        let (owner, first) = (state.owner, state.next);
        state.next += count as i64;
        for seq in first..state.next {
            state.numbers.receive(Position { partition: OUTBOX, assignment: owner.epoch, offset: seq });
        }
        (owner, first)
    }

    /// A number's stamp is in Kafka, or was not stored.
    pub fn finish(&self, epoch: u32, seq: i64) {
        self.state().numbers.complete(Position { partition: OUTBOX, assignment: epoch, offset: seq });
    }

    /// Stamps of this owner are not all on their way: its outbox has to be read from the database.
    pub fn give_up(&self, epoch: u32) {
        let mut state = self.state();
        if state.owner.epoch == epoch {
            state.incomplete = true;
        }
    }

    /// Tells whether the present owner was given up.
    pub fn is_given_up(&self) -> bool {
        self.state().incomplete
    }

    /// Looks how the outbox stands.
    pub fn backlog(&self) -> Backlog {
        let now = Instant::now();
        let mut state = self.state();
        let published_through = state.numbers.frontier(OUTBOX).unwrap_or(1) - 1;
        let next = state.next;
        state.marks.push_back((next, now));
        while state.marks.front().is_some_and(|(next, _)| *next <= published_through + 1) {
            state.marks.pop_front();
        }
        let oldest = state.marks.front().map_or(Duration::ZERO, |(_, since)| now - *since);
        Backlog { published_through, outstanding: state.numbers.outstanding(OUTBOX), oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_never_passes_a_number_that_is_outstanding() {
        let outbox = Outbox::new(7);
        let (owner, first) = outbox.number(3);
        assert_eq!((owner, first), (Owner { id: 7, epoch: 1 }, 1));
        outbox.finish(1, 2);
        outbox.finish(1, 3);
        assert_eq!(outbox.backlog().published_through, 0);
        outbox.finish(1, 1);
        assert_eq!(outbox.backlog().published_through, 3);
        assert_eq!(outbox.backlog().outstanding, 0);
    }

    #[test]
    fn an_acknowledgement_under_an_earlier_owner_moves_nothing() {
        let outbox = Outbox::new(7);
        outbox.number(1);
        outbox.give_up(1);
        assert!(outbox.is_given_up());
        outbox.begin(8);
        assert!(!outbox.is_given_up());
        outbox.number(1);
        outbox.finish(1, 1);
        assert_eq!(outbox.backlog().published_through, 0);
        outbox.give_up(1);
        assert!(!outbox.is_given_up());
    }
}
