//! What a heart commands, and what it has left undone when a step is over.

use domain::batch::assignment::{Assignment, Commit};
use domain::batch::heart::{Command, Wake};
use domain::batch::pending::PendingStamp;

use super::facts::{Broken, Facts};
use super::holdings::{Holdings, Parked, Work};
use crate::database::id_of;
use crate::meetings::{Meeting, Meetings};

impl Holdings {
    /// Judges a command at the moment it is given.
    pub(crate) fn commanded(
        &mut self,
        command: &Command<u32>,
        facts: &Facts<'_>,
        met: &mut Meetings,
    ) -> Broken {
        if self.has_failed {
            return Err("a heart that has failed goes on".to_owned());
        }
        match command {
            Command::Screen(screening) => {
                if self.is_screening {
                    return Err("two screenings at a time".to_owned());
                }
                self.is_screening = true;
                let is_far = |waiting: &PendingStamp| facts.is_distant(id_of(&waiting.stamp));
                // What is asked once more may have come closer meanwhile.
                if !self.is_asked_again && screening.stamps.iter().any(is_far) {
                    return Err("what is due late is kept in memory".to_owned());
                }
                if !self.is_asked_again && !screening.distant.iter().all(|distant| is_far(&distant.waiting)) {
                    return Err("what is due soon is left to the table".to_owned());
                }
                if !screening.distant.is_empty() {
                    met.count(Meeting::DistantStored);
                }
            }
            Command::Write(write) => self.judge_write(write, facts, met)?,
            Command::Probe(members) => {
                let ids: Vec<u8> = members.iter().map(|member| id_of(&member.stamp)).collect();
                self.judge_search(&ids)?;
                met.count(Meeting::RefusedBatchProbed);
                self.work = Some(Work::Probe(ids));
            }
            Command::Bury(member) => {
                let id = id_of(&member.stamp);
                self.judge_search(&[id])?;
                if !facts.refused.contains(&id) {
                    return Err(format!("id-{id} becomes a dead letter, and the database takes it"));
                }
                met.count(Meeting::CulpritBuried);
                self.work = Some(Work::Bury(id));
            }
            Command::Commit(commits) => {
                self.judge_names(commits)?;
                self.told.extend(commits.iter().map(|commit| (commit.assignment, commit.offset)));
            }
            Command::Finish { frontiers } => {
                if self.work.is_some() {
                    return Err("a stop does not wait for the work under way".to_owned());
                }
                self.judge_names(frontiers)?;
            }
            Command::Release { request, frontiers } => {
                let index = self.parked.iter().position(|parked| parked.request == *request);
                let Some(index) = index else {
                    return Err(format!("request {} is answered, and nobody has asked", request.0));
                };
                let Parked { assignments, .. } = self.parked.remove(index);
                if frontiers.iter().any(|commit| !assignments.contains(&commit.assignment)) {
                    return Err("a release commits what was not revoked".to_owned());
                }
            }
            Command::Retry { step, after } => {
                if after.is_zero() || *after > std::time::Duration::from_secs(2) {
                    return Err(format!("{step:?} is tried again after {after:?}"));
                }
                if !matches!(step, domain::batch::heart::Step::Screening) {
                    self.backoff_until = facts.now + after.as_nanos().div_ceil(1_000) as i64;
                }
            }
            Command::Fail(_) => self.has_failed = true,
            Command::CountDuplicates(_) => {}
        }
        Ok(())
    }

    /// Judges that a commit names an assignment that lasts, as far as the heart was told.
    fn judge_names(&self, commits: &[Commit]) -> Broken {
        for Commit { assignment: Assignment { partition, number }, .. } in commits {
            if self.live.get(partition).is_none_or(|live| live.number != *number) {
                return Err(format!("partition {partition} is committed after it was revoked"));
            }
        }
        Ok(())
    }

    /// Judges what was not done when a step is over. `wake` is when the heart looks again.
    pub(crate) fn judge_rest(&self, wake: Wake, facts: &Facts<'_>) -> Broken {
        let is_held_up = |parked: &&Parked| !parked.is_concerned || self.work.is_none();
        if let Some(parked) = self.parked.iter().find(is_held_up) {
            return Err(format!("request {} is held up, and no work concerns it", parked.request.0));
        }
        for (id, held) in &self.held {
            let assignment = Assignment { partition: held.partition, number: held.number };
            let offset = facts.log.record(held.record).offset;
            let is_passed = self.told.get(&assignment).is_some_and(|told| *told > offset);
            if is_passed && !self.stopping && self.is_backed(*held, facts) {
                return Err(format!("id-{id} is held, and the offset above it is not taken back"));
            }
        }
        let Some(at) = self.must_act_at(facts) else { return Ok(()) };
        if at <= facts.now {
            return Err(format!("the writer is free and does nothing about {:?}", self.waiting()));
        }
        let due = wake.due.and_then(|due| (due - facts.start).num_microseconds());
        let elapsed = wake.elapsed.map(|elapsed| elapsed.as_nanos().div_ceil(1_000) as i64);
        match due.into_iter().chain(elapsed).min() {
            Some(wake) if wake <= at => Ok(()),
            wake => Err(format!("the heart sleeps until {wake:?}, and something is owed at {at}")),
        }
    }
}
