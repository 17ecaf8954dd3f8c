//! Whether what lies below a committed offset is done.

use std::collections::BTreeMap;

use domain::batch::assignment::Assignment;

use super::facts::Broken;
use crate::client::Sent;
use crate::database::Database;
use crate::group::Group;
use crate::log::Log;

/// What was given to a heart of one assignment.
#[derive(Debug)]
struct Given {
    /// The branch of the log when the assignment began.
    branch: usize,
    /// Records by serial number, and the step in which they were given.
    records: BTreeMap<u32, u64>,
}

/// The records that each process was given, and what is committed of them.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// What was given to hearts, by process and assignment.
    given: BTreeMap<(u32, Assignment), Given>,
    /// Records that were completed as repeats, and the record whose stamp was held then.
    repeats: BTreeMap<u32, u32>,
}

impl Offsets {
    pub(crate) fn assigned(&mut self, process: u32, assignment: Assignment, branch: usize) {
        self.given.insert((process, assignment), Given { branch, records: BTreeMap::new() });
    }

    pub(crate) fn given(&mut self, process: u32, assignment: Assignment, serial: u32, step: u64) {
        self.repeats.remove(&serial);
        let given = self.given.get_mut(&(process, assignment)).expect("an assignment that was made");
        given.records.insert(serial, step);
    }

    pub(crate) fn repeated(&mut self, repeats: Vec<(u32, u32)>) {
        self.repeats.extend(repeats);
    }

    /// Judges a commit that the broker is about to take.
    pub(crate) fn judge(
        &self,
        sent: &Sent,
        sender: u32,
        group: &Group,
        database: &Database,
        log: &mut Log,
    ) -> Broken {
        let Assignment { partition, .. } = sent.commit.assignment;
        let offset = sent.commit.offset;
        if group.holder(partition) != Some(sender) {
            return Err(format!(
                "partition {partition} is committed to {offset} by a member that does not own it"
            ));
        }
        let given = &self.given[&(sent.evidence.process, sent.assignment())];
        let was_given =
            |serial: u32| given.records.get(&serial).is_some_and(|step| *step <= sent.evidence.step);
        let known = given
            .records
            .keys()
            .filter(|serial| was_given(**serial))
            .map(|serial| log.record(*serial).branch);
        let branch = known.max().unwrap_or(given.branch).max(given.branch);
        let all: Vec<u32> = log.from(partition as usize, 0).collect();
        for serial in all {
            let record = *log.record(serial);
            if record.offset >= offset {
                // Whoever comes next reads it.
                log.records[serial as usize].hidden = false;
                continue;
            }
            let is_covered = |(other, copy): (u32, &crate::log::Record)| {
                let committed = if copy.partition == partition {
                    Some(&offset)
                } else {
                    group.committed.get(&copy.partition)
                };
                other != serial && copy.id() == record.id() && copy.offset >= committed.copied().unwrap_or(0)
            };
            if database.is_done(serial, log) {
                continue;
            }
            if record.branch > branch && !was_given(serial) {
                // The log was cut behind the back of whoever committed.
                log.records[serial as usize].hidden = true;
                continue;
            }
            if record.id().is_some() && log.surviving().any(is_covered) {
                continue;
            }
            // Whoever was given it knows of it, whatever Kafka hides from others.
            if self.is_excused_repeat(serial, log) || (record.hidden && !was_given(serial)) {
                continue;
            }
            let how = if was_given(serial) {
                "what stands there is not done"
            } else {
                "nobody was given what stands there"
            };
            return Err(format!(
                "partition {partition} is committed to {offset}, above {}: {how}",
                record.offset
            ));
        }
        Ok(())
    }

    /// Tells whether a repeat is lost through Kafka's own doing: it is finished once the first is held. If Kafka then
    /// loses or hides the first's record, and the listener dies, both are lost.
    fn is_excused_repeat(&self, serial: u32, log: &Log) -> bool {
        let mut serial = serial;
        while let Some(of) = self.repeats.get(&serial) {
            if log.record(*of).gone || log.record(*of).hidden {
                return true;
            }
            serial = *of;
        }
        false
    }

    /// Judges the tables when everything is at rest. Returns how many losses are Kafka's own.
    pub(crate) fn judge_rest(&self, group: &Group, database: &Database, log: &Log) -> Result<u64, String> {
        let mut excused = 0;
        for (serial, record) in log.surviving() {
            if database.is_done(serial, log) {
                continue;
            }
            let is_below =
                group.committed.get(&record.partition).is_some_and(|committed| record.offset < *committed);
            let is_kafkas = record.hidden || self.is_excused_repeat(serial, log);
            if !is_below || !is_kafkas {
                return Err(format!(
                    "everything is at rest, and {:?} at {} of partition {} is not done",
                    record.what, record.offset, record.partition
                ));
            }
            excused += 1;
        }
        Ok(excused)
    }

    /// Judges whether what is done is committed.
    pub(crate) fn judge_progress(group: &Group, log: &Log) -> Broken {
        let behind = log.surviving().find(|(_, record)| match group.committed.get(&record.partition) {
            Some(committed) => *committed <= record.offset,
            // Offsets go with their topic. Nobody tells the client, and whoever comes next begins at the start.
            None => log.partitions[record.partition as usize].branch() == 0,
        });
        behind.map_or(Ok(()), |(_, record)| {
            Err(format!(
                "everything is done, and {} of partition {} is not committed",
                record.offset, record.partition
            ))
        })
    }
}

impl Sent {
    fn assignment(&self) -> Assignment {
        self.commit.assignment
    }
}
