//! How a history ends: faults stop, everything comes to rest, and whoever restarts finds nothing undone.

use crate::history::Choice;
use crate::judge::offsets::Offsets;
use crate::world::World;

/// The most turns of a world that comes to rest.
const TURNS: usize = 3_000;

impl World {
    /// Ends faults, lets all time pass, and judges; and once more after all listeners were started again, since only
    /// then a wrong offset shows. Returns how many losses are Kafka's own.
    pub(crate) fn come_to_rest(&mut self) -> u64 {
        while self.apply(Choice::Zombie {}) {}
        self.settle();
        self.judge_done();
        for member in 0..self.settings.members as i64 {
            if self.settings.clean {
                self.apply(Choice::Stop { member });
                self.drain();
            } else {
                self.apply(Choice::Crash { member });
            }
        }
        self.settle();
        self.judge_done()
    }

    fn judge_done(&mut self) -> u64 {
        if self.violation.is_some() {
            return 0;
        }
        self.judge_tables();
        let judged = self.offsets.judge_rest(&self.group, &self.database, &self.log);
        let excused = *judged.as_ref().unwrap_or(&0);
        self.judge(judged.map(|_| ()));
        excused
    }

    fn settle(&mut self) {
        let mut is_told = false;
        for _ in 0..TURNS {
            if self.violation.is_some() {
                return;
            }
            if self.turn() {
                continue;
            }
            match self.next() {
                Some(at) => self.advance(at.max(self.now)),
                None if is_told => {
                    let verdict = Offsets::judge_progress(&self.group, &self.log);
                    return self.judge(verdict);
                }
                // What a rebalance has refused is committed once more.
                None => {
                    is_told = true;
                    (0..self.settings.members as i64)
                        .for_each(|member| _ = self.apply(Choice::Known { member }));
                }
            }
        }
        self.judge(Err("the world never comes to rest".to_owned()));
    }

    /// Returns when something happens by itself, unless nets do no more than look.
    fn next(&self) -> Option<i64> {
        let members = 0..self.members.len();
        let callback = self.members.iter().flatten().filter_map(|process| process.client.callback.as_ref());
        let patience = callback.map(|callback| callback.until);
        let next = members.clone().filter_map(|member| self.heart_wake(member)).chain(patience).min();
        // Until shortly before a row is due, nobody looks: not each second of a week is tried.
        let row = self.next_row().map(|row| match row {
            row if row > self.now => row,
            _ => members.filter_map(|member| self.net_wake(member)).min().unwrap_or(self.now),
        });
        next.into_iter().chain(row).min()
    }

    /// Has everyone do what can be done. Returns whether anything could.
    fn turn(&mut self) -> bool {
        let mut any = false;
        for member in 0..self.settings.members as i64 {
            while self.has_ghost(member as usize) && self.apply(Choice::Expire { member }) {
                any = true;
            }
            any |= self.apply(Choice::Start { member });
            while self.apply(Choice::Shell { member }) {
                any = true;
            }
            for choice in [
                Choice::Control { member },
                Choice::Land { member },
                Choice::Heartbeat { member },
                Choice::Sync { member },
                Choice::Poll { member, records: 3 },
                Choice::Chunk { member },
                Choice::Execute { member, task: 0 },
                Choice::Answer { member, task: 0 },
                Choice::Execute { member, task: 1 },
                Choice::Answer { member, task: 1 },
                Choice::Execute { member, task: 2 },
                Choice::Answer { member, task: 2 },
            ] {
                any |= self.apply(choice);
            }
            for partition in 0..self.settings.partitions as i64 {
                any |= self.apply(Choice::Fetch { member, partition, records: 3 });
            }
        }
        any
    }
}
