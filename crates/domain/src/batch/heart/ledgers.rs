//! Which offsets are finished, and up to where a group may commit.
//!
//! Deadlines finish records out of order, so "the highest finished offset" would skip those still waiting. What may be
//! committed is the *frontier*: the lowest offset that is received and not complete, or one past the last received
//! where nothing is outstanding. Offsets may have gaps.
//!
//! A ledger lives for one assignment. Within it an offset that goes back means that the log has other records from
//! there on: it was truncated (an unclean election), or the topic was deleted and recreated. What was charged from
//! that offset on is gone from Kafka and holds nothing up; what stands below waits as before. A new *lap* begins, so
//! that a record of the first lap completes nothing that has its offset in the second.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::assignment::{Assignment, Commit, Position};

/// The outstanding offsets of one assignment.
#[derive(Debug)]
struct Ledger {
    assignment: Assignment,
    /// The laps that the assignment has begun, the first and the last. No other assignment of the partition has one
    /// between them.
    begun: (u32, u32),
    /// The laps that still count, each from its first offset on, up to the next one's.
    laps: Vec<(i64, u32)>,
    incomplete: BTreeSet<i64>,
    /// One past the last received offset, `None` before the first.
    next: Option<i64>,
}

impl Ledger {
    fn lap_at(&self, offset: i64) -> Option<u32> {
        self.laps.iter().rev().find(|(from, _)| *from <= offset).map(|(_, lap)| *lap)
    }

    fn is_of(&self, position: Position) -> bool {
        self.assignment.partition == position.partition
            && (self.begun.0..=self.begun.1).contains(&position.lap)
    }

    fn begin_lap(&mut self, from: i64, lap: u32) {
        self.incomplete.split_off(&from);
        self.laps.retain(|(other, _)| *other < from);
        self.laps.push((from, lap));
        self.begun.1 = lap;
    }

    fn complete(&mut self, position: Position) {
        if self.lap_at(position.offset) == Some(position.lap) {
            self.incomplete.remove(&position.offset);
        }
    }

    fn frontier(&self) -> Option<i64> {
        self.incomplete.first().copied().or(self.next)
    }
}

/// The ledgers of all assignments: those that last, and those that end once the work under way has.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    live: BTreeMap<i32, Ledger>,
    leaving: Vec<Ledger>,
    /// The highest number of each partition's assignments: whatever carries a lower one has ended.
    begun: BTreeMap<i32, u32>,
    last_lap: u32,
}

impl Ledgers {
    /// Begins an assignment, unless it was begun before. Returns whether it is new.
    pub(super) fn begin(&mut self, assignment: Assignment) -> bool {
        let Assignment { partition, number } = assignment;
        if self.begun.get(&partition).is_some_and(|begun| *begun >= number) {
            return false;
        }
        self.begun.insert(partition, number);
        self.last_lap += 1;
        let laps = vec![(i64::MIN, self.last_lap)];
        let begun = (self.last_lap, self.last_lap);
        let ledger = Ledger { assignment, begun, laps, incomplete: BTreeSet::new(), next: None };
        self.live.insert(partition, ledger);
        true
    }

    /// Charges a received record: its offset is outstanding until [`complete`](Self::complete) names the returned
    /// position. `None` if the assignment has ended or is about to: somebody else will read the record again.
    pub(super) fn receive(&mut self, assignment: Assignment, offset: i64) -> Option<Position> {
        let Assignment { partition, .. } = assignment;
        let ledger = self.live.get_mut(&partition).filter(|ledger| ledger.assignment == assignment)?;
        if ledger.next.is_some_and(|next| offset < next) {
            self.last_lap += 1;
            ledger.begin_lap(offset, self.last_lap);
        }
        ledger.incomplete.insert(offset);
        ledger.next = Some(offset + 1);
        Some(Position { partition, lap: ledger.lap_at(offset)?, offset })
    }

    /// Marks a record as finished. One whose assignment has ended, or whose log has another one there, changes nothing.
    pub(super) fn complete(&mut self, position: Position) {
        let live = self.live.get_mut(&position.partition).into_iter();
        if let Some(ledger) = live.chain(&mut self.leaving).find(|ledger| ledger.is_of(position)) {
            ledger.complete(position);
        }
    }

    /// Tells whether an assignment's offset waits for this record.
    pub(super) fn is_charged(&self, position: Position) -> bool {
        let ledger = self.live.get(&position.partition).filter(|ledger| ledger.is_of(position));
        ledger.is_some_and(|ledger| ledger.lap_at(position.offset) == Some(position.lap))
    }

    /// Tells whether the assignment has ended, or is about to, during which a record was read.
    pub(super) fn has_ended(&self, position: Position) -> bool {
        !self.live.get(&position.partition).is_some_and(|ledger| ledger.is_of(position))
    }

    /// Lets an assignment's outstanding records finish, but charges no more. Returns whether it lasted until now.
    pub(super) fn leave(&mut self, assignment: Assignment) -> bool {
        let Assignment { partition, number } = assignment;
        let begun = self.begun.entry(partition).or_default();
        *begun = number.max(*begun);
        let lasts = self.live.get(&partition).is_some_and(|ledger| ledger.assignment == assignment);
        if lasts {
            self.leaving.extend(self.live.remove(&partition));
        }
        lasts
    }

    /// Tells whether a position is of an assignment that is about to end.
    pub(super) fn leaves(&self, assignment: Assignment, position: Position) -> bool {
        self.leaving.iter().any(|ledger| ledger.assignment == assignment && ledger.is_of(position))
    }

    /// Ends an assignment and returns its last frontier.
    pub(super) fn end(&mut self, assignment: Assignment) -> Option<i64> {
        let index = self.leaving.iter().position(|ledger| ledger.assignment == assignment)?;
        self.leaving.remove(index).frontier()
    }

    /// Returns what may be committed for every assignment that lasts.
    pub(super) fn frontiers(&self) -> impl Iterator<Item = Commit> {
        let frontier =
            |ledger: &Ledger| Some(Commit { assignment: ledger.assignment, offset: ledger.frontier()? });
        self.live.values().filter_map(frontier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Assignment = Assignment { partition: 3, number: 1 };
    const SECOND: Assignment = Assignment { partition: 3, number: 2 };

    fn frontier(ledgers: &Ledgers) -> Option<i64> {
        ledgers.frontiers().next().map(|commit| commit.offset)
    }

    /// Returns a ledger that has received these offsets, and their positions.
    fn received(offsets: &[i64]) -> (Ledgers, Vec<Position>) {
        let mut ledgers = Ledgers::default();
        ledgers.begin(FIRST);
        let positions =
            offsets.iter().map(|offset| ledgers.receive(FIRST, *offset).expect("charged")).collect();
        (ledgers, positions)
    }

    // Break: let `Ledger::frontier` in batch/heart/ledgers.rs return `self.next`.
    #[test]
    fn the_frontier_never_passes_an_incomplete_offset_and_steps_over_gaps() {
        let (mut ledgers, positions) = received(&[5, 6, 90]);
        ledgers.complete(positions[2]);
        ledgers.complete(positions[1]);
        assert_eq!(frontier(&ledgers), Some(5));
        ledgers.complete(positions[0]);
        assert_eq!(frontier(&ledgers), Some(91));
    }

    #[test]
    fn what_is_about_to_end_finishes_what_it_has_and_takes_no_more() {
        let (mut ledgers, positions) = received(&[4]);
        assert!(ledgers.leave(FIRST));
        assert_eq!(ledgers.receive(FIRST, 5), None);
        assert!(ledgers.leaves(FIRST, positions[0]) && ledgers.has_ended(positions[0]));
        ledgers.complete(positions[0]);
        assert_eq!(ledgers.end(FIRST), Some(5));
        assert_eq!(ledgers.end(FIRST), None);
    }

    #[test]
    fn assignments_of_one_partition_do_not_touch_each_other_even_while_both_last() {
        let (mut ledgers, first) = received(&[7]);
        ledgers.leave(FIRST);
        ledgers.begin(SECOND);
        let second = ledgers.receive(SECOND, 7).expect("charged");
        ledgers.complete(first[0]);
        assert_eq!((frontier(&ledgers), ledgers.end(FIRST)), (Some(7), Some(8)));
        assert!(ledgers.is_charged(second));
        assert!(!ledgers.begin(FIRST), "a number that has ended does not begin again");
        assert_eq!(ledgers.receive(FIRST, 8), None);
    }

    #[test]
    fn an_offset_that_goes_back_begins_a_lap_and_leaves_what_lies_below() {
        let (mut ledgers, old) = received(&[10, 11, 12]);
        let new = ledgers.receive(FIRST, 11).expect("charged");
        ledgers.complete(old[1]);
        assert!(ledgers.is_charged(new) && !ledgers.is_charged(old[1]) && ledgers.is_charged(old[0]));
        assert!(!ledgers.has_ended(old[1]), "its assignment lasts");
        ledgers.complete(new);
        assert_eq!(frontier(&ledgers), Some(10));
        ledgers.complete(old[0]);
        assert_eq!(frontier(&ledgers), Some(12), "12 of the first lap is gone from the log");
    }
}
