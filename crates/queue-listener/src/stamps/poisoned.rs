//! Notices a partition whose records die: a producer that changed its format, say. Processing goes on; people
//! are told.

use std::collections::{HashMap, VecDeque};

use domain::batch::assignment::Assignment;

/// How many of a partition's last records are looked at.
const WINDOW: usize = 1_000;
/// How many dead records among the last ones are too many: more than a fifth.
const TOO_MANY: usize = WINDOW / 5;
/// How many dead records in a row are too many, however few records there were before.
const IN_A_ROW: usize = 100;

/// The recent fates of records, by partition.
#[derive(Debug, Default)]
pub(crate) struct Poisoned {
    partitions: HashMap<i32, Recent>,
    /// The number of each partition's last assignment that has ended: its records may be under way still.
    ended: HashMap<i32, u32>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Whether each of the last records died, oldest first.
    window: VecDeque<bool>,
    dead: usize,
    in_a_row: usize,
    raised: bool,
}

impl Poisoned {
    /// Takes a record into account, in order of the offsets.
    pub(crate) fn note(&mut self, assignment: Assignment, dead: bool) {
        let Assignment { partition, number } = assignment;
        if self.ended.get(&partition).is_some_and(|ended| number <= *ended) {
            return;
        }
        let recent = self.partitions.entry(partition).or_default();
        recent.window.push_back(dead);
        recent.dead += usize::from(dead);
        if recent.window.len() > WINDOW && recent.window.pop_front() == Some(true) {
            recent.dead -= 1;
        }
        recent.in_a_row = if dead { recent.in_a_row + 1 } else { 0 };
        let full = recent.window.len() == WINDOW;
        let raised = recent.in_a_row >= IN_A_ROW || full && recent.dead > TOO_MANY;
        if raised && !recent.raised {
            tracing::error!(
                kafka.partition = partition,
                kafka.dead = recent.dead,
                kafka.dead_in_a_row = recent.in_a_row,
                "too many records die"
            );
        } else if recent.raised && !raised {
            tracing::info!(kafka.partition = partition, "records are understood again");
        }
        recent.raised = raised;
    }

    /// Forgets a partition that is somebody else's now.
    pub(crate) fn forget(&mut self, assignment: Assignment) {
        self.ended.insert(assignment.partition, assignment.number);
        self.partitions.remove(&assignment.partition);
    }

    /// Returns how many partitions have too many dead records.
    pub(crate) fn raised(&self) -> usize {
        self.partitions.values().filter(|recent| recent.raised).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(partition: i32) -> Assignment {
        Assignment { partition, number: 1 }
    }

    fn poisoned(records: impl IntoIterator<Item = bool>) -> Poisoned {
        let mut poisoned = Poisoned::default();
        records.into_iter().for_each(|dead| poisoned.note(of(0), dead));
        poisoned
    }

    #[test]
    fn a_hundred_dead_in_a_row_raise_it_and_one_that_lives_ends_it() {
        assert_eq!(poisoned([true; 99]).raised(), 0);
        let mut poisoned = poisoned([true; 100]);
        assert_eq!(poisoned.raised(), 1);
        poisoned.note(of(0), false);
        assert_eq!(poisoned.raised(), 0);
    }

    #[test]
    fn more_than_a_fifth_of_the_last_thousand_raise_it() {
        let one_in = |n: usize| move |record: usize| record.is_multiple_of(n);
        assert_eq!(poisoned((0..1_000).map(one_in(5))).raised(), 0, "exactly a fifth");
        assert_eq!(poisoned((0..999).map(one_in(4))).raised(), 0, "too few to tell");
        assert_eq!(poisoned((0..1_000).map(one_in(4))).raised(), 1);
        let recovered = (0..1_000).map(one_in(4)).chain(std::iter::repeat_n(false, 300));
        assert_eq!(poisoned(recovered).raised(), 0);
    }

    #[test]
    fn partitions_are_told_apart() {
        let mut poisoned = poisoned([true; 100]);
        poisoned.note(of(1), false);
        assert_eq!(poisoned.raised(), 1);
        poisoned.forget(of(0));
        assert_eq!(poisoned.raised(), 0);
    }
    #[test]
    fn records_that_were_under_way_when_their_partition_left_count_no_more() {
        let mut poisoned = poisoned([false]);
        poisoned.forget(of(0));
        (0..IN_A_ROW).for_each(|_| poisoned.note(of(0), true));
        assert_eq!(poisoned.raised(), 0);
        let again = Assignment { partition: 0, number: 2 };
        (0..IN_A_ROW).for_each(|_| poisoned.note(again, true));
        assert_eq!(poisoned.raised(), 1);
    }
}
