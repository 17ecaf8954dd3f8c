//! How a listener comes to have something in hand: what its heart is told, and what follows from that.

use std::collections::BTreeMap;

use domain::batch::assignment::{Assignment, Position};
use domain::batch::heart::{Event, Failure, Screened};

use super::facts::Facts;
use super::holdings::{Asked, BACKLOG, Held, Holdings, Live, Parked, Work};
use crate::database::id_of;
use crate::log::What;
use crate::meetings::{Meeting, Meetings};

impl Holdings {
    /// Takes note of what the heart is told.
    pub(crate) fn told(
        &mut self,
        event: &Event<u32>,
        serials: &[u32],
        facts: &Facts<'_>,
        met: &mut Meetings,
    ) {
        match event {
            Event::Assigned(assignments) => assignments.iter().for_each(|one| self.begin(*one, facts, met)),
            Event::Revoked { assignments, lost, request } => {
                let concerns = |id: &u8| {
                    self.held.get(id).is_some_and(|held| {
                        assignments.contains(&Assignment { partition: held.partition, number: held.number })
                    })
                };
                let is_concerned = self.in_work().iter().any(concerns);
                self.revoked(assignments, *lost, facts, met);
                if !lost {
                    let assignments = assignments.clone();
                    self.parked.push(Parked { request: *request, assignments, is_concerned });
                }
            }
            Event::Fetched(chunk) => {
                for (record, serial) in chunk.records.iter().zip(serials) {
                    self.fetched(record.assignment, *serial, facts, met);
                }
            }
            Event::Screened(screened) => self.screened(screened, facts, met),
            Event::Done => self.done(),
            Event::Failed(failure) => self.failed(*failure, met),
            Event::Stop => {
                self.stopping = true;
                if self.work.is_some() {
                    met.count(Meeting::StopDuringWrite);
                } else if self.backoff_until > facts.now {
                    met.count(Meeting::StopDuringBackoff);
                }
            }
            Event::ScreeningFailed(..) => (self.is_screening, self.is_asked_again) = (false, true),
            Event::Known(_) | Event::Time => {}
        }
        if let Event::Screened(Screened { ends, .. }) = event {
            let now = facts.now;
            for end in ends {
                let live = self.live.get_mut(&end.partition).filter(|live| live.number == end.number);
                if let Some(live) = live {
                    live.backlog_until = live.backlog_until.min(now);
                }
            }
        }
    }

    fn begin(&mut self, assignment: Assignment, facts: &Facts<'_>, met: &mut Meetings) {
        let Assignment { partition, number } = assignment;
        if self.begun.get(&partition).is_none_or(|begun| *begun < number) {
            self.begun.insert(partition, number);
            let backlog_until = facts.now + BACKLOG;
            self.live.insert(partition, Live { number, given: BTreeMap::new(), backlog_until });
            let is_here = |id: &u8| self.held.get(id).is_some_and(|held| held.partition == partition);
            if matches!(self.work, Some(Work::Write(_))) && self.in_work().iter().any(is_here) {
                met.count(Meeting::AssignedAgainDuringWrite);
            }
        }
    }

    fn revoked(&mut self, assignments: &[Assignment], lost: bool, facts: &Facts<'_>, met: &mut Meetings) {
        if !self.suspects.is_empty() {
            met.count(Meeting::ProbeInterrupted);
        }
        if self.backoff_until > facts.now && self.work.is_none() {
            met.count(Meeting::RevokedDuringBackoff);
        }
        if self.is_screening {
            met.count(Meeting::RevokedDuringScreening);
        }
        let taken = self.in_work();
        for assignment in assignments {
            let concerned =
                |id: &u8| self.held.get(id).is_some_and(|held| held.partition == assignment.partition);
            if lost && matches!(self.work, Some(Work::Write(_))) && taken.iter().any(concerned) {
                met.count(Meeting::LostDuringWrite);
            }
            let begun = self.begun.entry(assignment.partition).or_default();
            *begun = assignment.number.max(*begun);
            if self.is_live(*assignment) {
                self.live.remove(&assignment.partition);
                let suspects = &self.suspects;
                self.held.retain(|id, held| {
                    held.partition != assignment.partition || taken.contains(id) || suspects.contains(id)
                });
            }
        }
        let freed = std::mem::take(&mut self.suspects).into_iter().filter(|id| !taken.contains(id)).collect();
        self.put_back(freed, false);
    }

    fn fetched(&mut self, assignment: Assignment, serial: u32, facts: &Facts<'_>, met: &mut Meetings) {
        let begun = self.begun.get(&assignment.partition).copied().unwrap_or(0);
        if begun < assignment.number {
            met.count(Meeting::ChunkBeforeAssigned);
        }
        self.begin(assignment, facts, met);
        let record = facts.log.record(serial);
        let Some(live) =
            self.live.get_mut(&assignment.partition).filter(|live| live.number == assignment.number)
        else {
            met.count(if begun > assignment.number {
                Meeting::ChunkOfOldAssignment
            } else {
                Meeting::ChunkAfterRevoked
            });
            return;
        };
        let gone = live.given.split_off(&record.offset);
        let holds = |given: &BTreeMap<i64, u32>| {
            self.held.values().any(|held| given.values().any(|one| *one == held.record))
        };
        if !gone.is_empty() {
            if holds(&gone) {
                met.count(Meeting::TruncationOfWaiting);
            }
            if holds(&live.given) {
                met.count(Meeting::TruncationAboveWaiting);
            }
        }
        live.given.insert(record.offset, serial);
        self.news.given.push((serial, assignment));
        match record.what {
            What::Stamp(id) if self.holds(id) => self.admit(id, serial, assignment, facts, met),
            What::Stamp(_) | What::Replay(_) => self.asked.push(Asked { serial, assignment }),
            What::Garbage => {}
        }
    }

    fn admit(&mut self, id: u8, serial: u32, at: Assignment, facts: &Facts<'_>, met: &mut Meetings) {
        let new = Held { record: serial, partition: at.partition, number: at.number, doubtful: false };
        let Some(known) = self.held.get(&id).copied() else {
            self.held.insert(id, new);
            return;
        };
        if self.is_backed(known, facts) {
            self.news.repeats.push((serial, known.record));
            if known.partition != at.partition {
                met.count(Meeting::RepeatAcrossPartitions);
            }
        } else {
            let in_work = self.in_work().contains(&id);
            met.count(if in_work { Meeting::RehomedDuringWrite } else { Meeting::Rehomed });
            self.held.insert(id, Held { doubtful: known.doubtful, ..new });
        }
    }

    fn screened(&mut self, screened: &Screened, facts: &Facts<'_>, met: &mut Meetings) {
        (self.is_screening, self.is_asked_again) = (false, false);
        let mut asked = std::mem::take(&mut self.asked);
        let is_at = |asked: &Asked, position: Position| {
            let record = facts.log.record(asked.serial);
            (record.partition, record.offset) == (position.partition, position.offset)
        };
        for repeat in &screened.repeats {
            let Some(index) = asked.iter().position(|asked| is_at(asked, *repeat)) else { continue };
            if self.is_live(asked.remove(index).assignment) {
                met.count(Meeting::ProcessedAtScreening);
            }
        }
        for waiting in &screened.stamps {
            let id = id_of(&waiting.stamp);
            let is_it = |asked: &Asked| {
                is_at(asked, waiting.position) && facts.log.record(asked.serial).id() == Some(id)
            };
            let Some(index) = asked.iter().position(is_it) else { continue };
            let Asked { serial, assignment } = asked.remove(index);
            if !self.is_live(assignment) {
                continue;
            }
            if facts.is_distant(id) {
                met.count(Meeting::DistantReplay);
                // The stamp is asked about once more, and stored.
                self.asked.push(Asked { serial, assignment });
            } else {
                self.admit(id, serial, assignment, facts, met);
            }
        }
    }

    fn done(&mut self) {
        match self.work.take() {
            Some(Work::Probe(ids)) => self.put_back(ids, false),
            Some(work) => work.ids().iter().for_each(|id| {
                self.suspects.remove(id);
                self.held.remove(id);
            }),
            None => {}
        }
    }

    fn failed(&mut self, failure: Failure, met: &mut Meetings) {
        let Some(work) = self.work.take() else { return };
        let ids = work.ids();
        match (failure, &work) {
            (Failure::Fatal, _) | (Failure::Data, Work::Bury(_)) => {}
            (Failure::Data, Work::Write(batches)) if batches.len() > 1 => self.put_back(ids, false),
            (Failure::Data, _) => self.suspects.extend(ids),
            (Failure::Unavailable | Failure::Slow | Failure::Unanswered, _) => {
                if !self.suspects.is_empty() {
                    met.count(Meeting::ProbeInterrupted);
                }
                if let (Failure::Slow, Work::Write(batches)) = (failure, &work) {
                    self.slow = Some(batches.len());
                    if batches.len() == 1 {
                        met.count(Meeting::SlowSingleBatch);
                    }
                }
                let doubtful = failure != Failure::Unavailable && matches!(work, Work::Write(_));
                let suspects = std::mem::take(&mut self.suspects);
                self.put_back(ids, doubtful);
                self.put_back(suspects.into_iter().collect(), false);
            }
        }
    }

    /// Lets stamps wait again that were taken, unless their assignment is over.
    fn put_back(&mut self, ids: Vec<u8>, doubtful: bool) {
        for id in ids {
            self.suspects.remove(&id);
            let Some(held) = self.held.get(&id).copied() else { continue };
            if self.is_live(Assignment { partition: held.partition, number: held.number }) {
                self.held.insert(id, Held { doubtful: held.doubtful || doubtful, ..held });
            } else {
                self.held.remove(&id);
            }
        }
    }
}
