//! How far partitions reach beyond what is committed, as the client's statistics tell it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::statistics::Partition;

use super::recreated::offsets;

/// For how long a transaction may be open before it counts as standing in the way: far longer than one takes that is at
/// work, and shorter than brokers let it stand (`transaction.timeout.ms`, a minute by default).
const PATIENCE: Duration = Duration::from_secs(10);

/// The offsets of one partition; a negative one is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionEnds {
    /// The offset that is committed.
    pub(crate) committed: i64,
    /// The offset after the last record that was read; 0 if none was.
    read: i64,
    /// The offset up to which nothing is left to be read.
    position: i64,
    /// The offset before which every transaction has ended: nothing from there on is handed out.
    stable: i64,
    /// The offset after the last record.
    high: i64,
}

/// Returns the offset up to which nothing is left to be read, as the client tells.
pub(crate) fn position(told: &Partition) -> i64 {
    told.app_offset.max(told.eof_offset).max(told.committed_offset)
}

impl PartitionEnds {
    /// Puts together what the client tells and which record was read last: the client counts the marks with which
    /// transactions end among what it has read.
    ///
    /// * `asked`: the end of the partition as the brokers told it, while the client fetches nothing that would tell it.
    pub(crate) fn new(told: &Partition, read: i64, asked: Option<i64>) -> Self {
        Self {
            committed: told.committed_offset,
            read,
            position: position(told),
            stable: told.ls_offset,
            high: told.hi_offset.max(asked.unwrap_or(-1)),
        }
    }

    /// Returns how many offsets are read and not committed, or not read. The marks with which transactions end have
    /// offsets too, and are no records: what was read to its end and is committed leaves none.
    pub(crate) fn lag(&self) -> i64 {
        let uncommitted = if self.read > 0 { self.read - self.committed.max(0) } else { 0 };
        let unread = if self.high > 0 { self.high - self.position.max(0) } else { 0 };
        uncommitted.max(0) + unread.max(0)
    }

    /// Returns the offset up to which everything is read, and the one after the last record; `None` if the end is not
    /// known.
    pub(crate) fn unread(&self) -> Option<(i64, i64)> {
        (self.high >= 0).then(|| (self.position.max(0), self.high))
    }

    /// Returns the offset up to which everything is read and stored, and the one after the last record; `None` if the end
    /// is not known.
    ///
    /// * `stored`: the offset after the last record that is stored and not committed, if there is one.
    pub(crate) fn unfinished(&self, stored: Option<i64>) -> Option<(i64, i64)> {
        let committed = stored.unwrap_or(self.committed).max(0);
        let (position, high) = self.unread()?;
        Some(if self.read > committed { (committed, high) } else { (position, high) })
    }

    /// Tells whether all that may be read was read, and there is more.
    fn is_held_back(&self) -> bool {
        self.stable >= 0 && self.high > self.stable && self.position >= self.stable
    }
}

/// Ends of partitions as the brokers tell them while a client is paused: it fetches nothing then, and knows only where
/// the partitions ended before.
#[derive(Debug, Default)]
pub(crate) struct AskedEnds(Mutex<HashMap<(String, i32), AskedEnd>>);

#[derive(Debug)]
struct AskedEnd {
    end: i64,
    /// Whether the client was paused at the last look.
    was_paused: bool,
}

impl AskedEnds {
    /// Asks the brokers for the ends of partitions while the client is paused. They stay known for one look longer: by
    /// then the client has fetched what tells it more. Where no answer comes, what is known stays. Blocks.
    pub(crate) fn look<'a, C: ConsumerContext>(
        &self,
        client: &BaseConsumer<C>,
        is_paused: bool,
        partitions: impl Iterator<Item = (&'a str, i32)>,
    ) {
        if !is_paused {
            return self.known().retain(|_, asked| std::mem::take(&mut asked.was_paused));
        }
        let questions = partitions.map(|(topic, partition)| (topic, partition, Offset::End));
        let Ok(answers) = offsets(client, questions) else { return };
        let mut known = self.known();
        for element in answers.elements() {
            if let Offset::Offset(end) = element.offset() {
                let partition = (element.topic().to_owned(), element.partition());
                known.insert(partition, AskedEnd { end, was_paused: true });
            }
        }
    }

    /// Returns the end of a partition, if it was asked for.
    pub(crate) fn of(&self, topic: &str, partition: i32) -> Option<i64> {
        self.known().get(&(topic.to_owned(), partition)).map(|asked| asked.end)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, i32), AskedEnd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The partitions in which an open transaction stands before other records.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    /// Where each stands, and since when.
    since: HashMap<i32, (i64, Duration)>,
}

impl HeldBack {
    /// Takes note of where a partition stands at a time. Returns whether it counts as held back from now on.
    pub(crate) fn note(&mut self, partition: i32, ends: &PartitionEnds, now: Duration) -> bool {
        if !ends.is_held_back() {
            self.since.remove(&partition);
            return false;
        }
        let since = self.since.entry(partition).or_insert((ends.stable, now));
        if since.0 != ends.stable {
            *since = (ends.stable, now);
        }
        now.saturating_sub(since.1) >= PATIENCE
    }

    /// Forgets the partitions that are somebody else's now.
    pub(crate) fn keep(&mut self, ours: impl Fn(i32) -> bool) {
        self.since.retain(|partition, _| ours(*partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(committed: i64, read: i64, position: i64, stable: i64, high: i64) -> PartitionEnds {
        PartitionEnds { committed, read, position, stable, high }
    }

    #[test]
    fn lag_counts_what_is_left_to_be_read_and_what_is_read_and_not_committed() {
        const NONE: i64 = -1_001;
        for (ends, expected, why) in [
            (ends(10, 10, 10, 10, 10), 0, "all is done"),
            (ends(10, 10, 11, 11, 11), 0, "a mark of a transaction at the end"),
            (ends(7, 10, 10, 10, 10), 3, "three are read and not committed"),
            (ends(7, 7, 7, 10, 10), 3, "three are not read"),
            (ends(10, 10, 10, 10, 15), 5, "five behind an open transaction"),
            (ends(NONE, 0, NONE, 0, 4), 4, "nothing was read yet"),
            (ends(NONE, 0, 0, 0, 0), 0, "an empty partition"),
            (ends(NONE, 0, NONE, NONE, NONE), 0, "nothing is known"),
            (ends(9, 4, 9, 9, 9), 0, "what was read again is committed"),
        ] {
            assert_eq!(ends.lag(), expected, "{why}");
        }
    }

    // Break: leave `stored` out of `unfinished`.
    #[test]
    fn what_is_stored_is_finished_whether_or_not_it_is_committed() {
        for (ends, stored, expected, why) in [
            (ends(4, 4, 4, 9, 9), None, (4, 9), "five are not read"),
            (ends(4, 9, 9, 9, 9), None, (4, 9), "five are read and not stored"),
            (ends(4, 9, 9, 9, 9), Some(7), (7, 9), "three of them are stored"),
            (ends(4, 9, 9, 9, 9), Some(9), (9, 9), "all are, and the commit fails"),
            (ends(9, 9, 9, 9, 12), None, (9, 12), "three have come since"),
        ] {
            assert_eq!(ends.unfinished(stored), Some(expected), "{why}");
        }
    }

    #[test]
    fn a_transaction_that_stays_open_is_told_from_one_that_goes_on_and_from_a_backlog() {
        let mut held = HeldBack::default();
        let at = Duration::from_secs;
        assert!(!held.note(0, &ends(5, 5, 5, 5, 9), at(0)));
        assert!(!held.note(0, &ends(5, 5, 5, 5, 9), at(9)));
        assert!(held.note(0, &ends(5, 5, 5, 5, 12), at(10)));
        assert!(!held.note(0, &ends(5, 5, 5, 7, 12), at(12)), "another one");
        assert!(!held.note(0, &ends(5, 6, 6, 7, 12), at(30)), "there is more to be read before it");
        assert!(!held.note(0, &ends(12, 12, 12, 12, 12), at(40)), "it has ended");
        assert!(!held.note(0, &ends(12, 12, 12, 12, 13), at(41)));
        held.keep(|_| false);
        assert!(!held.note(0, &ends(12, 12, 12, 12, 13), at(60)), "it was somebody else's meanwhile");
    }
}
