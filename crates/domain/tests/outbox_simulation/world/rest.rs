//! How a world comes to rest once the faults have ended.

use super::*;

/// Ticks at rest in which stamps still leave: longer than owners are silent.
const TAKES: u64 = 2 * SILENCE;

impl World {
    /// Ends all faults, and lets time go on until nothing is left to do.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        self.kafka.is_away = false;
        self.kafka.refused = None;
        self.kafka.refuses_all = false;
        if !self.has(Kind::Late) {
            self.settle_all()?;
        }
        let stamps_leave = self.has(Kind::Leave);
        self.kinds.clear();
        for process in &mut self.processes {
            process.is_stalled = false;
        }
        // The old ones end, and new ones take their places.
        let has_to_end = |process: &Process| process.is_stopping || process.asker.is_old;
        while let Some(ending) = self.processes.iter().position(has_to_end) {
            if !self.processes[ending].is_stopping {
                self.step(Step::Stop(ending), 0)?;
            }
            self.step(Step::End(ending), 0)?;
        }
        while self.processes.len() < PROCESSES {
            self.start();
        }
        let mut rest = Err("nothing happened".to_owned());
        for tick in 0..REST {
            // Whole outboxes are read, published and forgotten between the snapshot of a take and its commit.
            if stamps_leave && tick < TAKES && self.store.taking.is_none() {
                self.step(Step::BeginTake, tick * 3 + 2)?;
            }
            self.step(Step::Tick, 0)?;
            self.settle_all()?;
            if self.store.taking.is_some() {
                self.step(Step::CommitTake, 0)?;
            }
            rest = Judge::rest(&self.store, &self.kafka, &self.processes);
            if rest.is_ok() {
                return Ok(());
            }
        }
        rest
    }

    pub(super) fn settle_all(&mut self) -> Result<(), String> {
        for _ in 0..MOVES {
            if !self.settle()? {
                return Ok(());
            }
        }
        Err("it never comes to rest".to_owned())
    }

    /// Carries out what is asked and passes on what is answered. Returns whether there was anything.
    pub(super) fn settle(&mut self) -> Result<bool, String> {
        let mut moved = false;
        for index in (0..self.statements.len()).rev() {
            let before = (self.statements.len(), self.statements[index].begun);
            self.step(Step::Execute(index), 0)?;
            let is_begun = self.statements.get(index).is_some_and(|statement| statement.begun);
            moved |= before != (self.statements.len(), is_begun);
        }
        while !self.answers.is_empty() {
            self.step(Step::Answer(0), 0)?;
            moved = true;
        }
        for process in 0..self.processes.len() {
            for alone in [false, true] {
                let queue =
                    |process: &Process| if alone { process.alone.len() } else { process.together.len() };
                while queue(&self.processes[process]) > 0 {
                    self.step(Step::Produce { process, alone }, 3)?;
                    moved = true;
                }
            }
            while !self.processes[process].acknowledged.is_empty() {
                self.step(Step::Acknowledge(process), 0)?;
                moved = true;
            }
        }
        Ok(moved)
    }
}
