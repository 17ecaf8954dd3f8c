//! What may be written, and how it is cut into batches.

use std::collections::BTreeSet;

use domain::batch::heart::{Batch, Write};
use domain::batch::policy::Trigger;

use super::facts::{Broken, Facts};
use super::holdings::{Holdings, Work};
use crate::database::id_of;
use crate::meetings::{Meeting, Meetings};

impl Holdings {
    pub(super) fn judge_write(&mut self, write: &Write, facts: &Facts<'_>, met: &mut Meetings) -> Broken {
        self.judge_writer(facts.now)?;
        if !self.suspects.is_empty() {
            return Err("stamps are written before a culprit is found".to_owned());
        }
        if write.batches.is_empty() {
            return Err("nothing is written".to_owned());
        }
        let mut waiting = self.waiting();
        let is_backlog_read = self.is_backlog_read(facts.now);
        let is_due = |id: &u8| facts.due(*id) <= facts.now;
        for batch in &write.batches {
            let ids: Vec<u8> = batch.members.iter().map(|member| id_of(&member.stamp)).collect();
            let is_settled_due = waiting.iter().any(|id| is_due(id) && self.is_settled(*id, facts.now));
            if is_backlog_read && is_settled_due {
                met.count(Meeting::DueDuringBacklog);
            }
            if is_backlog_read && !is_settled_due && waiting.len() < facts.max {
                return Err(format!("{ids:?} do not wait for the backlog"));
            }
            self.judge_members(batch, facts)?;
            judge_batch(batch.trigger, &ids, &waiting, facts)?;
            waiting.retain(|id| !ids.contains(id));
        }
        let batches: Vec<Vec<u8>> = write
            .batches
            .iter()
            .map(|batch| batch.members.iter().map(|member| id_of(&member.stamp)).collect())
            .collect();
        let doubtful = batches.iter().flatten().any(|id| self.held[id].doubtful);
        if write.doubtful != doubtful {
            return Err(format!("a write is called doubtful: {}, and it is {doubtful}", write.doubtful));
        }
        if self.slow.take().is_some_and(|slow| batches.len() < slow) {
            met.count(Meeting::DividedAfterSlow);
        }
        self.work = Some(Work::Write(batches));
        Ok(())
    }

    /// Judges that the members of a batch are what is held: the values of the event, and where its record stands now.
    fn judge_members(&self, batch: &Batch, facts: &Facts<'_>) -> Broken {
        for member in &batch.members {
            let id = id_of(&member.stamp);
            let Some(held) = self.held.get(&id) else {
                return Err(format!("id-{id} is written, and this member does not hold it"));
            };
            let record = facts.log.record(held.record);
            if (member.partition, member.offset) != (record.partition, record.offset) {
                return Err(format!("id-{id} is written with the coordinates of another record"));
            }
            if facts.stamps[usize::from(id)].as_ref() != Some(&member.stamp) {
                return Err(format!("id-{id} is written with other values"));
            }
        }
        Ok(())
    }

    /// Judges a probe or a burial.
    pub(super) fn judge_search(&self, ids: &[u8]) -> Broken {
        self.judge_writer(0)?;
        let innocent = ids.iter().find(|id| !self.suspects.contains(id));
        innocent.map_or(Ok(()), |id| Err(format!("id-{id} is searched, and nobody has refused it")))
    }

    fn judge_writer(&self, now: i64) -> Broken {
        if self.work.is_some() {
            return Err("two works at a time".to_owned());
        }
        if self.stopping {
            return Err("work is begun after a stop".to_owned());
        }
        if self.backoff_until > now && now > 0 {
            return Err("a write does not wait for its time".to_owned());
        }
        Ok(())
    }
}

fn judge_batch(trigger: Trigger, ids: &[u8], waiting: &BTreeSet<u8>, facts: &Facts<'_>) -> Broken {
    let distinct: BTreeSet<u8> = ids.iter().copied().collect();
    if distinct.len() != ids.len() || !distinct.is_subset(waiting) {
        return Err(format!("{ids:?} leave, and {waiting:?} wait"));
    }
    let due: BTreeSet<u8> = waiting.iter().copied().filter(|id| facts.due(*id) <= facts.now).collect();
    let (expected, size) = if waiting.len() >= facts.min {
        (Trigger::MinBatchSize, waiting.len().min(facts.max))
    } else {
        (Trigger::Deadline, due.len())
    };
    if trigger != expected || ids.len() != size {
        return Err(format!("{ids:?} leave by {trigger:?}, and {waiting:?} wait, of which {due:?} are due"));
    }
    // The due ones go first; below min they are all that goes.
    let later = ids.iter().filter(|id| !due.contains(id)).count();
    let left = due.difference(&distinct).count();
    if later > 0 && (left > 0 || trigger == Trigger::Deadline) {
        return Err(format!("{ids:?} leave, and {due:?} are due"));
    }
    Ok(())
}
