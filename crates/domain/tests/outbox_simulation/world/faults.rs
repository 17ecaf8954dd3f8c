//! What goes wrong in a world: answers, statements, producers and processes that are lost.

use super::*;

impl World {
    pub(super) fn answer(&mut self, index: usize) {
        let Some(answer) = self.answers.remove(index) else { return };
        self.hear(answer.process, answer.lane, Some(answer.event));
    }

    pub(super) fn lose_answer(&mut self, index: usize) {
        let Some(answer) = self.answers.remove(index) else { return };
        if matches!(answer.event, OutboxEvent::Stored { .. }) {
            self.judge.meetings.met("an answer lost after the commit");
        }
        self.hear(answer.process, answer.lane, answer.otherwise);
    }

    /// Brings a statement to nothing: its client may or may not know.
    pub(super) fn lose_statement(&mut self, index: usize) {
        let statement = self.statements.remove(index);
        let mut event = statement.sql.unanswered();
        if let Sql::Store { owner, .. } = statement.sql {
            if statement.begun {
                self.store.release(owner);
            }
            if self.now.is_multiple_of(2) {
                event = Some(OutboxEvent::NotStored(owner));
            }
        }
        if statement.is_orphan {
            return;
        }
        self.hear(statement.asker.process, statement.lane, event);
    }

    pub(super) fn stop_waiting(&mut self, index: usize) {
        let statement = &mut self.statements[index];
        if std::mem::replace(&mut statement.is_orphan, true) {
            return;
        }
        let (process, lane, event) = (statement.asker.process, statement.lane, statement.sql.unanswered());
        self.hear(process, lane, event);
    }

    pub(super) fn produce(&mut self, process: usize, alone: bool, extra: u64) {
        let most = if alone { 1 } else { 1 + (extra % 4) as usize };
        let batch = self.processes[process].batch(alone, most);
        let payloads: Vec<Payload> = batch.iter().map(|publication| publication.payload).collect();
        let is_taken = self.kafka.take(&payloads);
        if !is_taken && alone {
            self.judge.meetings.met("an event refused by itself");
        }
        if !is_taken && batch.len() > 1 {
            self.judge.meetings.met("a batch refused for one of its events");
        }
        for publication in batch {
            let event = if is_taken {
                OutboxEvent::Delivered { owner: publication.owner, number: publication.number }
            } else {
                OutboxEvent::Refused(publication)
            };
            self.processes[process].acknowledged.push_back(event);
        }
    }

    pub(super) fn crash(&mut self, process: usize) {
        let dead = self.processes.remove(process);
        let is_unmarked = |(owner, number): &(OwnerId, i64), payload: Payload| {
            let row = self.store.owners.get(owner);
            dead.own.contains(owner) && row.is_some_and(|row| *number > row.mark) && self.kafka.has(payload)
        };
        if self.store.pending.iter().any(|(key, payload)| is_unmarked(key, *payload)) {
            self.judge.meetings.met("a crash between publishing and the mark");
        }
        let is_orphaned = |((owner, _), payload)| dead.own.contains(&owner) && !self.kafka.has(payload);
        if self.store.unpublished().any(is_orphaned) {
            self.judge.meetings.met("a left event of a process that died");
        }
        for statement in &mut self.statements {
            statement.is_orphan |= statement.asker.process == dead.asker.process;
        }
    }

    pub(super) fn stop(&mut self, process: usize) {
        if !self.processes[process].together.is_empty() {
            self.judge.meetings.met("a stop with events on their way");
        }
        self.processes[process].is_stopping = true;
        self.tell(process, OutboxEvent::Stop);
    }

    pub(super) fn end(&mut self, process: usize) {
        self.tell(process, OutboxEvent::End);
        let ended = self.processes.remove(process);
        for statement in &mut self.statements {
            statement.is_orphan |= statement.asker.process == ended.asker.process;
        }
    }

    /// Lets what a producer held fail; some of it is in Kafka all the same.
    pub(super) fn fail_producer(&mut self, process: usize, extra: u64) {
        self.judge.meetings.met("a producer that fails with events on their way");
        let process = &mut self.processes[process];
        let held = process.together.drain(..).chain(process.alone.drain(..));
        for (index, publication) in held.enumerate() {
            if !self.kafka.is_away && extra >> (index % 32) & 1 == 1 {
                self.kafka.take(&[publication.payload]);
            }
            process.acknowledged.push_back(OutboxEvent::Lost(publication));
        }
    }
}
