//! What is decided on the thread that polls, in the middle of the client's callbacks: the names of assignments, which
//! commits still count, and when a client is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::batch::assignment::{Assignment, Commit};

/// What a member knows of its own partitions, at this very moment.
#[derive(Debug, Default)]
pub struct Reader {
    last_number: u32,
    assigned: BTreeMap<i32, AssignedPartition>,
    /// Whether the partitions are paused: that nothing comes is wanted then.
    paused: bool,
    /// Suspects that were found to have records at the last look.
    found: Vec<Suspect>,
    /// Partitions that were found silent and of which nothing was heard since.
    silent: BTreeSet<i32>,
}

#[derive(Debug)]
struct AssignedPartition {
    assignment: Assignment,
    /// One past the last offset that was read.
    next: i64,
    read_to_end: bool,
    /// When the last record came, or the word that there are no more.
    heard: Duration,
    /// Everything below this offset was read, as far as the client tells: an offset that holds no record, such as the
    /// mark of a transaction, counts too.
    read_below: i64,
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Assignment during which the record was read.
    pub assignment: Assignment,
    /// Whether the record is the first one of its assignment.
    pub is_first: bool,
    /// Whether the offset goes back: the log was truncated, or the topic deleted and recreated.
    pub goes_back: bool,
}

/// A partition of which nothing was heard for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Assignment of the partition.
    pub assignment: Assignment,
    /// The offset below which everything was read.
    pub read_below: i64,
}

impl Reader {
    /// Takes partitions that were assigned, and names their assignments.
    pub fn assign(&mut self, partitions: &[i32], now: Duration) -> Vec<Assignment> {
        let mut begin = |partition: &i32| {
            self.last_number += 1;
            let assignment = Assignment { partition: *partition, number: self.last_number };
            let reading =
                AssignedPartition { assignment, next: 0, read_to_end: false, heard: now, read_below: 0 };
            self.assigned.insert(*partition, reading);
            assignment
        };
        partitions.iter().map(&mut begin).collect()
    }

    /// Gives partitions up that are taken away. Returns those that were assigned.
    pub fn revoke(&mut self, partitions: &[i32]) -> Vec<Assignment> {
        let mut end = |partition: &i32| {
            self.silent.remove(partition);
            Some(self.assigned.remove(partition)?.assignment)
        };
        partitions.iter().filter_map(&mut end).collect()
    }

    /// Gives everything up, as when the client is replaced. Returns what was assigned.
    pub fn revoke_all(&mut self) -> Vec<Assignment> {
        let partitions: Vec<i32> = self.assigned.keys().copied().collect();
        self.revoke(&partitions)
    }

    /// Takes note of a record. `None` if its partition is not assigned: whoever has it reads the record too.
    pub fn read(&mut self, partition: i32, offset: i64, now: Duration) -> Option<Read> {
        let reading = self.hear(partition, now)?;
        let (is_first, goes_back) = (reading.next == 0, offset < reading.next);
        (reading.next, reading.read_below) = (offset + 1, offset + 1);
        Some(Read { assignment: reading.assignment, is_first, goes_back })
    }

    /// Takes note that a partition was read to its end. Returns its assignment if that is news.
    pub fn reached_end(&mut self, partition: i32, now: Duration) -> Option<Assignment> {
        let reading = self.hear(partition, now)?;
        let is_news = !std::mem::replace(&mut reading.read_to_end, true);
        is_news.then_some(reading.assignment)
    }

    fn hear(&mut self, partition: i32, now: Duration) -> Option<&mut AssignedPartition> {
        self.silent.remove(&partition);
        let reading = self.assigned.get_mut(&partition)?;
        reading.heard = now;
        Some(reading)
    }

    /// Takes note of below which offset a partition was read, as the client tells. Returns its assignment.
    pub fn is_read_below(&mut self, partition: i32, offset: i64) -> Option<Assignment> {
        let reading = self.assigned.get_mut(&partition)?;
        reading.read_below = reading.read_below.max(offset);
        Some(reading.assignment)
    }

    /// Returns one past the last record of a partition that was read during its assignment, 0 if none was.
    pub fn next(&self, partition: i32) -> i64 {
        self.assigned.get(&partition).map_or(0, |reading| reading.next)
    }

    /// Takes note of whether the partitions are paused. Silence counts from the end of a pause.
    pub fn set_paused(&mut self, paused: bool, now: Duration) {
        self.paused = paused;
        self.assigned.values_mut().for_each(|reading| reading.heard = now);
    }

    /// Returns the commits whose assignments still last. A group takes any member's commit for any partition: one for a
    /// partition that was lost would move what its new owner has committed.
    pub fn still_ours(&self, commits: &[Commit]) -> Vec<Commit> {
        let is_ours = |commit: &&Commit| {
            let reading = self.assigned.get(&commit.assignment.partition);
            reading.is_some_and(|reading| reading.assignment == commit.assignment)
        };
        commits.iter().filter(is_ours).copied().collect()
    }

    /// Returns the partitions of which nothing was heard for so long. Whether they have records has to be asked.
    pub fn suspects(&self, silence: Duration, now: Duration) -> Vec<Suspect> {
        let is_silent =
            |reading: &&AssignedPartition| !self.paused && now.saturating_sub(reading.heard) >= silence;
        let suspect = |reading: &AssignedPartition| Suspect {
            assignment: reading.assignment,
            read_below: reading.read_below,
        };
        self.assigned.values().filter(is_silent).map(suspect).collect()
    }

    /// Decides which suspects have records that don't come, knowing where their partitions end. A client with any is
    /// given up.
    ///
    /// A link that was away comes back to the question and to the client at once, and either may be the first to hear.
    /// So a suspect counts only if it still is one when the answer has come, and was found so at the look before.
    pub fn convict(
        &mut self,
        suspects: &[Suspect],
        end_of: impl Fn(i32) -> Option<i64>,
        silence: Duration,
        now: Duration,
    ) -> Vec<i32> {
        let still = self.suspects(silence, now);
        let is_stuck = |suspect: &&Suspect| {
            still.contains(suspect)
                && end_of(suspect.assignment.partition).is_some_and(|end| end > suspect.read_below)
        };
        let found: Vec<Suspect> = suspects.iter().filter(is_stuck).copied().collect();
        let before = std::mem::replace(&mut self.found, found);
        let twice = self.found.iter().filter(|suspect| before.contains(suspect));
        let stuck: Vec<i32> = twice.map(|suspect| suspect.assignment.partition).collect();
        self.silent.extend(&stuck);
        stuck
    }

    /// Returns how many partitions are assigned.
    pub fn assigned(&self) -> usize {
        self.assigned.len()
    }

    /// Returns how many partitions were found silent and have not been heard of since.
    pub fn silent(&self) -> usize {
        self.silent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(30);
    const NOW: Duration = Duration::from_secs(100);

    fn reader(partitions: &[i32]) -> Reader {
        let mut reader = Reader::default();
        reader.assign(partitions, Duration::ZERO);
        reader
    }

    #[test]
    fn every_assignment_has_a_number_of_its_own() {
        let mut reader = Reader::default();
        let first = reader.assign(&[0, 1], NOW);
        assert_eq!(reader.revoke(&[0, 7]), first[..1]);
        let again = reader.assign(&[0], NOW);
        assert!(first[0].number < first[1].number && first[1].number < again[0].number);
    }

    #[test]
    fn a_commit_counts_only_while_its_very_assignment_lasts() {
        let mut reader = Reader::default();
        let first = Commit { assignment: reader.assign(&[0], NOW)[0], offset: 5 };
        assert_eq!(reader.still_ours(&[first]), [first]);
        reader.revoke(&[0]);
        assert_eq!(reader.still_ours(&[first]), []);
        let again = Commit { assignment: reader.assign(&[0], NOW)[0], offset: 3 };
        assert_eq!(reader.still_ours(&[first, again]), [again]);
    }

    #[test]
    fn a_record_of_a_partition_that_is_not_assigned_is_nobody_s() {
        let mut reader = reader(&[0]);
        reader.revoke(&[0]);
        assert_eq!(reader.read(0, 3, NOW), None);
    }

    #[test]
    fn an_offset_that_goes_back_is_noticed() {
        let mut reader = reader(&[0]);
        let told = |read: Option<Read>| read.map(|read| (read.is_first, read.goes_back));
        assert_eq!(told(reader.read(0, 5, NOW)), Some((true, false)));
        assert_eq!(told(reader.read(0, 9, NOW)), Some((false, false)));
        assert_eq!(told(reader.read(0, 7, NOW)), Some((false, true)));
    }

    #[test]
    fn a_partition_is_suspected_until_something_is_heard_of_it_unless_it_is_paused() {
        let mut reader = reader(&[0, 1]);
        assert_eq!(reader.suspects(SILENCE, NOW).len(), 2);
        reader.read(0, 0, NOW);
        let left = reader.suspects(SILENCE, NOW);
        assert_eq!(left.iter().map(|suspect| suspect.assignment.partition).collect::<Vec<_>>(), [1]);
        reader.set_paused(true, NOW);
        assert_eq!(reader.suspects(Duration::ZERO, NOW), []);
        reader.set_paused(false, NOW);
        assert_eq!(reader.suspects(SILENCE, NOW), [], "the time begins anew");
    }

    #[test]
    fn a_client_is_given_up_for_records_that_don_t_come() {
        let mut reader = reader(&[0, 1]);
        let suspects = reader.suspects(SILENCE, NOW);
        let end_of = |partition: i32| (partition == 1).then_some(4);
        assert!(reader.convict(&suspects, end_of, SILENCE, NOW).is_empty(), "one look is not enough");
        assert_eq!(reader.convict(&suspects, end_of, SILENCE, NOW), [1]);
        assert_eq!(reader.silent(), 1);
        reader.read(1, 0, NOW);
        assert_eq!(reader.silent(), 0);
    }

    #[test]
    fn who_was_heard_of_while_the_brokers_were_asked_is_suspected_no_more() {
        let mut reader = reader(&[0]);
        let suspects = reader.suspects(SILENCE, NOW);
        // The link is back, and the answer comes first. Then comes a record.
        assert!(reader.convict(&suspects, |_| Some(9), SILENCE, NOW).is_empty());
        reader.read(0, 0, NOW);
        assert!(reader.convict(&suspects, |_| Some(9), SILENCE, NOW).is_empty());
        let mut moved = self::reader(&[0]);
        let suspects = moved.suspects(SILENCE, NOW);
        moved.convict(&suspects, |_| Some(9), SILENCE, NOW);
        moved.revoke(&[0]);
        moved.assign(&[0], NOW);
        assert!(moved.convict(&suspects, |_| Some(9), SILENCE, NOW).is_empty(), "it is another assignment");
    }
}
