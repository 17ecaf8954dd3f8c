//! Which offsets are finished, and up to where a group may commit.
//!
//! Deadlines finish records out of order, so "the highest finished offset" would skip those still waiting.
//! What may be committed is the *frontier*: the lowest offset that is received and not complete, or one past
//! the last received where nothing is outstanding. Offsets may have gaps.

use std::collections::{BTreeSet, HashMap};

use super::Position;

/// The outstanding offsets of one partition during one assignment.
#[derive(Debug)]
struct Ledger {
    assignment: u32,
    incomplete: BTreeSet<i64>,
    /// One past the last received offset, `None` before the first.
    next: Option<i64>,
    /// No more records are charged: the assignment is about to end.
    sealed: bool,
}

impl Ledger {
    fn frontier(&self) -> Option<i64> {
        self.incomplete.first().copied().or(self.next)
    }
}

/// The ledgers of all partitions that are assigned at the moment.
///
/// A ledger lives for one assignment. Records and completions that carry another one are ignored.
#[derive(Debug, Default)]
pub struct OffsetLedgers {
    partitions: HashMap<i32, Ledger>,
}

impl OffsetLedgers {
    /// Begins an assignment of a partition; one that lasted until now is forgotten.
    pub fn begin(&mut self, partition: i32, assignment: u32) {
        let ledger = Ledger { assignment, incomplete: BTreeSet::new(), next: None, sealed: false };
        self.partitions.insert(partition, ledger);
    }

    /// Charges a received record: its offset is outstanding until [`complete`](Self::complete) names it.
    ///
    /// A record of an assignment that has ended or is about to is not charged and `false` is returned: somebody
    /// else will read it again.
    pub fn receive(&mut self, position: Position) -> bool {
        let Some(ledger) = self.partitions.get_mut(&position.partition) else {
            return false;
        };
        if ledger.assignment != position.assignment || ledger.sealed {
            return false;
        }
        ledger.incomplete.insert(position.offset);
        ledger.next = ledger.next.max(Some(position.offset + 1));
        true
    }

    /// Marks a record as finished. One of an ended assignment changes nothing.
    pub fn complete(&mut self, position: Position) {
        if let Some(ledger) = self.partitions.get_mut(&position.partition)
            && ledger.assignment == position.assignment
        {
            ledger.incomplete.remove(&position.offset);
        }
    }

    /// Tells whether records of a position's assignment are still charged.
    pub fn is_current(&self, position: Position) -> bool {
        self.partitions
            .get(&position.partition)
            .is_some_and(|ledger| ledger.assignment == position.assignment && !ledger.sealed)
    }

    /// Returns the offset that may be committed for a partition, `None` where nothing was received.
    /// Reading it changes nothing.
    pub fn frontier(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).and_then(Ledger::frontier)
    }

    /// Returns the frontier of every partition that has one.
    pub fn frontiers(&self) -> impl Iterator<Item = (i32, i64)> {
        self.partitions.iter().filter_map(|(partition, ledger)| Some((*partition, ledger.frontier()?)))
    }

    /// How many of a partition's records are received and not finished.
    pub fn outstanding(&self, partition: i32) -> usize {
        self.partitions.get(&partition).map_or(0, |ledger| ledger.incomplete.len())
    }

    /// Lets a partition's outstanding records finish, but charges no more.
    pub fn seal(&mut self, partition: i32) {
        if let Some(ledger) = self.partitions.get_mut(&partition) {
            ledger.sealed = true;
        }
    }

    /// Ends a partition's assignment and returns its last frontier.
    pub fn end(&mut self, partition: i32) -> Option<i64> {
        self.partitions.remove(&partition).and_then(|ledger| ledger.frontier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(assignment: u32, offset: i64) -> Position {
        Position { partition: 3, assignment, offset }
    }

    fn begun() -> OffsetLedgers {
        let mut ledgers = OffsetLedgers::default();
        ledgers.begin(3, 1);
        ledgers
    }

    #[test]
    fn out_of_order_completion_does_not_move_the_frontier() {
        let mut ledgers = begun();
        for offset in [10, 11, 12] {
            assert!(ledgers.receive(at(1, offset)));
        }
        ledgers.complete(at(1, 12));
        ledgers.complete(at(1, 11));
        assert_eq!(ledgers.frontier(3), Some(10));
        ledgers.complete(at(1, 10));
        assert_eq!(ledgers.frontier(3), Some(13));
    }

    #[test]
    fn gaps_between_offsets_are_stepped_over() {
        let mut ledgers = begun();
        ledgers.receive(at(1, 5));
        ledgers.receive(at(1, 90));
        ledgers.complete(at(1, 5));
        assert_eq!(ledgers.frontier(3), Some(90));
        ledgers.complete(at(1, 90));
        assert_eq!(ledgers.frontier(3), Some(91));
    }

    #[test]
    fn a_completion_of_an_ended_assignment_is_ignored() {
        let mut ledgers = begun();
        ledgers.receive(at(1, 7));
        assert_eq!(ledgers.end(3), Some(7));
        ledgers.begin(3, 2);
        ledgers.receive(at(2, 7));
        ledgers.complete(at(1, 7));
        assert_eq!(ledgers.frontier(3), Some(7));
    }

    #[test]
    fn a_record_of_an_ended_assignment_is_not_charged() {
        let mut ledgers = begun();
        ledgers.end(3);
        assert!(!ledgers.receive(at(1, 8)), "nobody is assigned");
        ledgers.begin(3, 2);
        assert!(!ledgers.receive(at(1, 8)), "somebody else is");
        assert_eq!(ledgers.frontier(3), None);
    }

    #[test]
    fn a_new_assignment_starts_anew_even_below_the_old_offsets() {
        let mut ledgers = begun();
        ledgers.receive(at(1, 500));
        ledgers.complete(at(1, 500));
        ledgers.begin(3, 2);
        ledgers.receive(at(2, 0));
        assert_eq!(ledgers.frontier(3), Some(0));
    }

    #[test]
    fn a_sealed_ledger_finishes_what_it_has_and_takes_no_more() {
        let mut ledgers = begun();
        ledgers.receive(at(1, 4));
        ledgers.seal(3);
        assert!(!ledgers.receive(at(1, 5)));
        assert!(!ledgers.is_current(at(1, 4)));
        ledgers.complete(at(1, 4));
        assert_eq!(ledgers.end(3), Some(5));
    }

    #[test]
    fn a_partition_without_records_has_no_frontier() {
        let mut ledgers = begun();
        assert_eq!(ledgers.frontier(3), None);
        assert_eq!(ledgers.end(3), None);
    }
}
