//! What happens between the group, the client and the thread that polls.

use std::collections::BTreeSet;

use domain::batch::assignment::Commit;
use domain::batch::heart::{Chunk, Content, Event, Record};

use super::World;
use crate::client::{CHUNKS, Callback, Evidence, PATIENCE, Parcel, Reading, Sent};
use crate::log::What;
use crate::meetings::Meeting;

/// How many records a client fetches ahead of each partition.
const AHEAD: usize = 6;

/// What a client says where it knows of no committed offset.
const NO_OFFSET: i64 = -1_001;

impl World {
    pub(super) fn heartbeat(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let client = &mut process.client;
        if client.callback.is_some() {
            return false;
        }
        if !self.group.has(client.id) {
            let id = self.group.add(member);
            client.lose_all(id);
            return true;
        }
        if !self.group.is_waiting_for(client.id) {
            return false;
        }
        let (id, owned) = (client.id, client.owned());
        // One connection keeps the order.
        while self.land(member, true) {}
        self.group.join(id, &owned);
        true
    }

    pub(super) fn sync(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let client = &mut process.client;
        if client.callback.is_some() {
            return false;
        }
        let Some(outcome) = self.group.sync(client.id) else { return false };
        client.generation = self.group.generation;
        let owned = client.owned();
        let revoked: BTreeSet<i32> = owned.difference(&outcome).copied().collect();
        let added: Vec<i32> = outcome.difference(&owned).copied().collect();
        if revoked.is_empty() {
            self.assign(member, &added);
        } else {
            let partitions: Vec<i32> = revoked.iter().copied().collect();
            let assignments = client.reader.revoke(&partitions);
            let request = client.revoke(assignments, false);
            let until = self.now + PATIENCE;
            client.callback = Some(Callback { request, until, revoked, added, reply: None });
        }
        true
    }

    fn assign(&mut self, member: usize, added: &[i32]) {
        let elapsed = self.elapsed();
        let Some(process) = &mut self.members[member] else { return };
        if added.is_empty() {
            return;
        }
        let client = &mut process.client;
        let assignments = client.reader.assign(added, elapsed);
        for assignment in &assignments {
            let partition = assignment.partition;
            let log = &self.log.partitions[partition as usize];
            let committed = self.group.committed.get(&partition).copied();
            let next = committed.unwrap_or(log.start);
            client.owned.insert(
                partition,
                Reading { next, fetch: next, branch: log.branch(), ahead: std::collections::VecDeque::new() },
            );
            client.copy.extend(committed.map(|committed| (partition, committed)));
            self.offsets.assigned(process.serial, *assignment, log.branch());
        }
        client.control.push_back(Event::Assigned(assignments));
    }

    /// Has the group hear of a member no more; the dead of the listener come first.
    pub(super) fn expire(&mut self, member: usize) -> bool {
        let ghost = self.ghosts.iter().position(|(slot, _)| *slot == member);
        let living = || self.members[member].as_ref().map(|process| process.client.id);
        let id = ghost.map(|index| self.ghosts.remove(index).1).or_else(living);
        id.is_some_and(|id| self.group.remove(id))
    }

    pub(super) fn replace(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        if process.client.callback.is_some() {
            return false;
        }
        self.group.remove(process.client.id);
        process.client.lose_all(self.group.add(member));
        true
    }

    pub(super) fn fetch(&mut self, member: usize, partition: usize, records: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        if process.client.callback.is_some() || process.client.is_paused {
            return false;
        }
        let Some(reading) = process.client.owned.get_mut(&(partition as i32)) else { return false };
        let log = &self.log.partitions[partition];
        let before = (reading.fetch, reading.branch);
        if let Some(cut) = log.cut_since(reading.branch) {
            // What the log has no more is read no more, and the reader is put where it was cut.
            reading.branch = log.branch();
            reading.ahead.retain(|serial| self.log.record(*serial).offset < cut);
            reading.fetch = reading.fetch.min(cut);
            reading.next = reading.next.min(cut);
        }
        if reading.fetch < log.start || reading.fetch > log.end {
            reading.fetch = log.start;
        }
        let wanted = records.min(AHEAD.saturating_sub(reading.ahead.len()));
        let found: Vec<u32> = self.log.from(partition, reading.fetch).take(wanted).collect();
        if wanted > 0 {
            let last = found.last().map_or(reading.fetch, |serial| self.log.record(*serial).offset + 1);
            reading.fetch = if found.len() < wanted { log.end } else { last };
        }
        reading.ahead.extend(found);
        if reading.ahead.is_empty() {
            reading.next = reading.fetch;
        }
        before != (reading.fetch, reading.branch)
    }

    pub(super) fn poll(&mut self, member: usize, records: usize) -> bool {
        let elapsed = self.elapsed();
        let Some(process) = &mut self.members[member] else { return false };
        let client = &mut process.client;
        if let Some(callback) = &client.callback {
            let is_over = callback.reply.is_some() || self.now >= callback.until;
            return is_over && self.return_from_callback(member);
        }
        if client.chunks.len() >= CHUNKS {
            if client.is_paused {
                return false;
            }
            if client.pause() > 0 {
                self.meetings.count(Meeting::PauseDrops);
            }
            return true;
        }
        let was_paused = std::mem::take(&mut client.is_paused);
        let mut parcel =
            Parcel { chunk: Chunk { records: Vec::new(), ends: Vec::new() }, serials: Vec::new() };
        for (partition, reading) in &mut client.owned {
            while parcel.serials.len() < records {
                let Some(serial) = reading.ahead.pop_front() else { break };
                let (offset, what) = (self.log.record(serial).offset, self.log.record(serial).what);
                reading.next = if reading.ahead.is_empty() { reading.fetch } else { offset + 1 };
                let Some(read) = client.reader.read(*partition, offset, elapsed) else { continue };
                let stamp = |id: u8| self.stamps[usize::from(id)].clone().expect("a stamp that was appended");
                let content = match what {
                    What::Stamp(id) => Content::Stamp(stamp(id)),
                    What::Replay(_) | What::Garbage => Content::Other(serial),
                };
                parcel.chunk.records.push(Record {
                    assignment: read.assignment,
                    offset,
                    timestamp: -1,
                    content,
                });
                parcel.serials.push(serial);
            }
            let log = &self.log.partitions[*partition as usize];
            if reading.ahead.is_empty() && reading.fetch == log.end && reading.branch == log.branch() {
                parcel.chunk.ends.extend(client.reader.reached_end(*partition, elapsed));
            }
        }
        let is_any = !parcel.serials.is_empty() || !parcel.chunk.ends.is_empty();
        if is_any {
            client.chunks.push_back(parcel);
        }
        is_any || was_paused
    }

    /// Ends the callback of a revocation, answered or not.
    fn return_from_callback(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let Some(callback) = process.client.callback.take() else { return false };
        for (commit, evidence) in callback.reply.unwrap_or_default() {
            self.commit_now(member, commit, evidence);
        }
        let Some(process) = &mut self.members[member] else { return false };
        for partition in &callback.revoked {
            process.client.owned.remove(partition);
            process.client.copy.remove(partition);
        }
        if self.group.has(process.client.id) {
            self.assign(member, &callback.added);
            self.group.rebalance();
        }
        true
    }

    pub(super) fn known(&mut self, member: usize) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let client = &mut process.client;
        let mut known = Vec::new();
        for (partition, reading) in &client.owned {
            let offset = client.copy.get(partition).copied().unwrap_or(NO_OFFSET);
            let assignment = client.reader.is_read_below(*partition, reading.next);
            known.extend(assignment.map(|assignment| Commit { assignment, offset }));
        }
        let is_any = !known.is_empty() && !matches!(client.control.back(), Some(Event::Known(_)));
        if is_any {
            client.control.push_back(Event::Known(known));
        }
        is_any
    }

    /// Has the next asynchronous commit reach the broker.
    pub(super) fn land(&mut self, member: usize, is_answered: bool) -> bool {
        let Some(process) = &mut self.members[member] else { return false };
        let Some(sent) = process.client.commits.pop_front() else { return false };
        self.reach(member, &sent, is_answered);
        true
    }

    pub(super) fn lose_commit(&mut self, member: usize) -> bool {
        self.members[member].as_mut().is_some_and(|process| process.client.commits.pop_front().is_some())
    }

    /// Makes a commit whose answer is waited for.
    pub(super) fn commit_now(&mut self, member: usize, commit: Commit, evidence: Evidence) {
        while self.land(member, true) {}
        let Some(process) = &self.members[member] else { return };
        let sent = Sent { generation: process.client.generation, commit, evidence };
        self.reach(member, &sent, true);
    }

    fn reach(&mut self, member: usize, sent: &Sent, is_answered: bool) {
        let Some(process) = &mut self.members[member] else { return };
        let id = process.client.id;
        if !self.group.takes(id, sent.generation) {
            self.meetings.count(Meeting::CommitRefused);
            return;
        }
        let verdict = self.offsets.judge(sent, id, &self.group, &self.database, &mut self.log);
        let Commit { assignment, offset } = sent.commit;
        self.group.committed.insert(assignment.partition, offset);
        if is_answered {
            process.client.copy.insert(assignment.partition, offset);
        } else {
            self.meetings.count(Meeting::CommitNotKnown);
        }
        self.note(|| format!("    partition {} is committed to {offset}", assignment.partition));
        self.judge(verdict);
    }
}
