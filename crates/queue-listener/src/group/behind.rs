//! For how long the oldest record that is not finished has waited, as far as this process has seen.
//!
//! A record's own timestamp would not tell: a quiet partition's last one is old, and producers' clocks differ. So the
//! ends of partitions are remembered with the times at which they were seen.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// The most ends of a partition that are remembered; with more of them they are remembered half as often.
const REMEMBERED: usize = 256;
/// How far apart remembered ends are at first.
const SPACING: Duration = Duration::from_secs(1);

/// What is remembered of partitions that are not finished to their end.
#[derive(Debug)]
pub(crate) struct Behind<P>(HashMap<P, SeenEnds>);

/// Ends of a partition beyond what is finished, the oldest first: when each was seen, and the offset.
#[derive(Debug)]
struct SeenEnds {
    ends: VecDeque<(Duration, i64)>,
    /// How far apart they are at least.
    spacing: Duration,
}

impl<P> Default for Behind<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: Eq + Hash> Behind<P> {
    /// Takes note of up to which offset a partition was finished at a time, and where it ended.
    pub(crate) fn note(&mut self, partition: P, (position, high): (i64, i64), now: Duration) {
        let new = || SeenEnds { ends: VecDeque::new(), spacing: SPACING };
        let SeenEnds { ends, spacing } = self.0.entry(partition).or_insert_with(new);
        // A topic that was recreated, or whose log was truncated, ends earlier than before.
        ends.retain(|(_, end)| *end > position && *end <= high);
        let is_new = match ends.back() {
            None => {
                *spacing = SPACING;
                high > position
            }
            Some((seen, end)) => high > *end && now.saturating_sub(*seen) >= *spacing,
        };
        if is_new {
            ends.push_back((now, high));
        }
        if ends.len() > REMEMBERED {
            *spacing *= 2;
            let mut index = 0;
            ends.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// Forgets the partitions that are somebody else's now.
    pub(crate) fn keep(&mut self, ours: impl Fn(&P) -> bool) {
        self.0.retain(|partition, seen| !seen.ends.is_empty() && ours(partition));
    }

    /// Returns for how long the oldest unfinished record of any partition has been known to be there, 0 if there is none.
    pub(crate) fn longest(&self, now: Duration) -> Duration {
        let oldest = self.0.values().filter_map(|seen| Some(seen.ends.front()?.0)).min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
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
            behind.note((), (position, high), at(now));
            assert_eq!(behind.longest(at(now)), at(expected), "{why}");
        }
    }

    // Break: forget nothing in `keep`.
    #[test]
    fn of_all_partitions_the_longest_wait_counts_until_somebody_else_has_the_partition() {
        let mut behind = Behind::default();
        behind.note(0, (0, 1), at(0));
        behind.note(1, (0, 1), at(4));
        assert_eq!(behind.longest(at(10)), at(10));
        behind.keep(|partition| *partition == 1);
        assert_eq!(behind.longest(at(10)), at(6));
    }

    // Break: leave `spacing` as it is when there are too many ends.
    #[test]
    fn a_partition_that_stands_still_for_a_day_takes_little_memory_and_is_known_to_be_as_late_as_it_is() {
        const DAY: u64 = 86_400;
        let mut behind = Behind::default();
        for second in 0..DAY {
            behind.note((), (0, second as i64 + 1), at(second));
        }
        assert_eq!(behind.longest(at(DAY)), at(DAY));
        assert!(behind.0[&()].ends.len() <= REMEMBERED);
        // Half of it is read at last: what comes next came half a day ago, or some minutes less.
        behind.note((), (DAY as i64 / 2, DAY as i64), at(DAY));
        let longest = behind.longest(at(DAY));
        assert!(longest <= at(DAY / 2) && longest > at(DAY / 2 - 600), "{longest:?}");
    }
}
