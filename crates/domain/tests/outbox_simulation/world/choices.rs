//! What can happen next in a world.

use super::*;

impl World {
    /// Returns what can happen next: in health, and as a fault.
    pub(super) fn possible(&self) -> (Vec<Step>, Vec<Step>) {
        let (mut usual, mut faults) = (Vec::new(), Vec::new());
        let is_late = |since: u64| self.now - since >= PROMPT;
        let something_is_late = self.statements.iter().any(|statement| is_late(statement.since))
            || self.answers.iter().any(|answer| is_late(answer.since))
            || self.store.taking.as_ref().is_some_and(|taking| is_late(taking.since));
        if self.has(Kind::Late) || !something_is_late {
            usual.push(Step::Tick);
        }
        usual.extend((0..self.statements.len()).map(Step::Execute));
        usual.extend((0..self.answers.len()).map(Step::Answer));
        for (index, process) in self.processes.iter().enumerate() {
            self.possible_of(index, process, &mut usual, &mut faults);
        }
        if self.has(Kind::Loss) {
            faults.extend((0..self.answers.len()).map(Step::LoseAnswer));
            faults.extend((0..self.statements.len()).map(Step::LoseStatement));
        }
        if self.has(Kind::Late) {
            faults.extend((0..self.statements.len()).map(Step::StopWaiting));
        }
        if self.has(Kind::Away) {
            faults.push(if self.kafka.is_away { Step::ComeBack } else { Step::GoAway });
        }
        if self.has(Kind::Refusal) {
            faults.push(if self.kafka.refused.is_some() { Step::TakeAgain } else { Step::Refuse });
        }
        if self.has(Kind::RefusalOfAll) {
            faults.push(if self.kafka.refuses_all { Step::TakeAll } else { Step::RefuseAll });
        }
        if self.processes.len() < PROCESSES {
            usual.push(Step::Start);
        }
        if self.has(Kind::Leave) {
            self.possible_of_listeners(&mut usual, &mut faults);
        }
        (usual, faults)
    }

    fn possible_of(&self, index: usize, process: &Process, usual: &mut Vec<Step>, faults: &mut Vec<Step>) {
        if process.is_stalled {
            faults.push(Step::GoOn(index));
            return;
        }
        for lane in 0..LANES {
            if !process.storing[lane] && process.owners.has_owner(lane) && !process.is_stopping {
                usual.push(Step::Submit { process: index, lane, repeats: false });
                if self.has(Kind::Repeat) {
                    usual.push(Step::Submit { process: index, lane, repeats: true });
                }
            }
        }
        for (alone, queue) in [(false, &process.together), (true, &process.alone)] {
            if !queue.is_empty() && !self.kafka.is_away {
                usual.push(Step::Produce { process: index, alone });
            }
        }
        if !process.acknowledged.is_empty() {
            usual.push(Step::Acknowledge(index));
        }
        if process.is_stopping {
            usual.push(Step::End(index));
        } else if self.has(Kind::Stop) {
            faults.push(Step::Stop(index));
        }
        if self.has(Kind::Crash) {
            faults.push(Step::Crash(index));
        }
        if self.has(Kind::Stall) {
            faults.push(Step::Stall(index));
        }
        if self.has(Kind::ProducerFailure) && !(process.together.is_empty() && process.alone.is_empty()) {
            faults.push(Step::FailProducer(index));
        }
    }

    fn possible_of_listeners(&self, usual: &mut Vec<Step>, faults: &mut Vec<Step>) {
        if self.in_kafka().next().is_some() {
            usual.push(Step::LeaveByKafka);
        }
        if let Some(taking) = &self.store.taking {
            // Most takes have something happen in between.
            let commits = if self.now > taking.since { &mut *usual } else { &mut *faults };
            commits.push(Step::CommitTake);
            faults.push(Step::LoseTake);
        } else if !self.store.pending.is_empty() {
            usual.push(Step::BeginTake);
        }
    }
}
