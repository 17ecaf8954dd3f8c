//! For how long the oldest record that is not read has waited, as far as this process has seen.
//!
//! A record's own timestamp would not tell: a quiet partition's last one is old, and producers' clocks differ. So the
//! ends of partitions are remembered with the times at which they were seen.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::ends::PartitionEnds;

/// The most ends of a partition that are remembered; of more than that every other one is forgotten.
const REMEMBERED: usize = 256;

/// What is remembered of partitions that are not read to their end.
#[derive(Debug)]
pub(crate) struct Behind<P> {
    /// Ends of each partition beyond what was read, the oldest first: when each was seen, and the offset.
    seen: HashMap<P, VecDeque<(Duration, i64)>>,
}

impl<P> Default for Behind<P> {
    fn default() -> Self {
        Self { seen: HashMap::new() }
    }
}

impl<P: Eq + Hash> Behind<P> {
    /// Takes note of how far a partition was read at a time, and where it ends.
    pub(crate) fn note(&mut self, partition: P, ends: &PartitionEnds, now: Duration) {
        let (position, high) = ends.unread();
        let seen = self.seen.entry(partition).or_default();
        // A topic that was recreated, or whose log was truncated, ends earlier than before.
        seen.retain(|(_, end)| *end > position && *end <= high);
        if high > seen.back().map_or(position, |(_, end)| *end) {
            seen.push_back((now, high));
        }
        if seen.len() > REMEMBERED {
            let mut index = 0;
            seen.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// Forgets the partitions that are somebody else's now.
    pub(crate) fn keep(&mut self, ours: impl Fn(&P) -> bool) {
        self.seen.retain(|partition, seen| !seen.is_empty() && ours(partition));
    }

    /// Returns for how long the oldest unread record of any partition has been known to be there, 0 if none is unread.
    pub(crate) fn longest(&self, now: Duration) -> Duration {
        let oldest = self.seen.values().filter_map(|seen| Some(seen.front()?.0)).min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::ends::tests::ends;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns a partition that is read and committed up to `position` and ends at `high`.
    fn partition(position: i64, high: i64) -> PartitionEnds {
        ends(position, position, position, high, high)
    }

    // Break: look at the youngest end in `longest`, `seen.back()`.
    #[test]
    fn the_oldest_unread_record_counts_from_when_it_was_first_seen() {
        let mut behind = Behind::default();
        for (now, position, high, expected, why) in [
            (0, 5, 5, 0, "all is read"),
            (10, 5, 8, 0, "three have come"),
            (20, 5, 9, 10, "the first of them has waited for 10 s"),
            (30, 7, 9, 20, "one of the three is left"),
            (40, 8, 9, 20, "the fourth was seen at 20 s"),
            (50, 9, 9, 0, "all is read again"),
            (60, 9, 12, 0, "others"),
            (70, 0, 2, 0, "the topic was recreated"),
            (80, 1, 2, 10, "and is not read"),
        ] {
            behind.note((), &partition(position, high), at(now));
            assert_eq!(behind.longest(at(now)), at(expected), "{why}");
        }
    }

    // Break: forget nothing in `keep`.
    #[test]
    fn of_all_partitions_the_longest_wait_counts_until_somebody_else_has_the_partition() {
        let mut behind = Behind::default();
        behind.note(0, &partition(0, 1), at(0));
        behind.note(1, &partition(0, 1), at(4));
        assert_eq!(behind.longest(at(10)), at(10));
        behind.keep(|partition| *partition == 1);
        assert_eq!(behind.longest(at(10)), at(6));
    }

    // Break: forget the first instead of the second of two.
    #[test]
    fn a_partition_that_stands_still_for_a_day_takes_little_memory_and_is_a_day_behind() {
        let mut behind = Behind::default();
        for second in 0..86_400 {
            behind.note((), &partition(0, second + 1), at(second as u64));
        }
        assert_eq!(behind.longest(at(86_400)), at(86_400));
        assert!(behind.seen[&()].len() <= REMEMBERED);
    }
}
