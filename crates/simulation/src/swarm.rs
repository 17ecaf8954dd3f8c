//! Derives histories from seeds. Each switches on a few kinds of faults only (A. Groce and others, "Swarm Testing"):
//! where everything happens evenly, nothing goes far enough.

use crate::history::{Choice, History, Settings};
use crate::run::{Outcome, run_chosen};

/// The kinds of faults that a history may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Rebalances,
    Removals,
    Crashes,
    Stops,
    Outages,
    SlowAnswers,
    LostAnswers,
    Refusals,
    Truncations,
    Recreations,
    Retention,
    Gaps,
    LostCommits,
    Rows,
    Garbage,
    Fatal,
    Jumps,
    Upgrades,
}

const FAULTS: [Fault; 22] = [
    // What most faults need to show comes more often.
    Fault::Rebalances,
    Fault::Rebalances,
    Fault::Rebalances,
    Fault::Removals,
    Fault::Removals,
    Fault::Crashes,
    Fault::Stops,
    Fault::Outages,
    Fault::SlowAnswers,
    Fault::LostAnswers,
    Fault::Refusals,
    Fault::Truncations,
    Fault::Recreations,
    Fault::Retention,
    Fault::Gaps,
    Fault::LostCommits,
    Fault::Rows,
    Fault::Rows,
    Fault::Garbage,
    Fault::Fatal,
    Fault::Jumps,
    Fault::Upgrades,
];

/// A source of chance whose numbers never change with a version (S. Vigna's splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> i64 {
        (self.next() % bound as u64) as i64
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len()) as usize]
    }
}

/// The source of a history's choices.
struct Swarm {
    chance: Chance,
    settings: Settings,
    faults: Vec<Fault>,
    /// How many ids collide.
    ids: usize,
    /// The times that stamps take to fall due, and that are waited for.
    spans: &'static [i64],
    length: usize,
    tries: usize,
}

const SHORT: &[i64] = &[0, 0, 1, 10, 100, 500, 1_000, 3_000];
const LONG: &[i64] = &[-60_000, 0, 1_000, 5_000, 60_000, 3_600_000, 86_400_000, 1_209_600_000];
const MINUTE: i64 = 60_000;

/// Makes a history from a seed and plays it.
pub fn seeded(seed: u64) -> (History, Outcome) {
    let mut swarm = Swarm::new(seed);
    let mut history = History { settings: swarm.settings, choices: Vec::new() };
    let outcome = run_chosen(&mut history, |length| swarm.next(length));
    (history, outcome)
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut faults = Vec::new();
        for _ in 0..2 + chance.below(3) {
            let fault = chance.one_of(&FAULTS);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        let min = 1 + chance.below(4) as usize;
        let settings = Settings {
            seed,
            members: chance.one_of(&[1, 2, 2, 2, 3]),
            partitions: 1 + chance.below(3) as usize,
            min,
            max: min + chance.below(4) as usize,
            horizon_ms: chance.one_of(&[0, 0, 2_000, 10 * MINUTE]),
            clean: chance.below(3) == 0,
        };
        Self {
            settings,
            ids: chance.one_of(&[4, 8, 16, 40]),
            spans: chance.one_of(&[SHORT, SHORT, LONG]),
            length: 60 + chance.below(160) as usize,
            tries: 0,
            faults,
            chance,
        }
    }

    fn next(&mut self, length: usize) -> Option<Choice> {
        self.tries += 1;
        if length >= self.length || self.tries > 20 * self.length {
            return None;
        }
        // All listeners are started first; who dies is started by a later choice.
        if self.tries <= self.settings.members {
            let member = self.tries as i64 - 1;
            let is_old = self.faults.contains(&Fault::Upgrades) && self.chance.below(2) == 0;
            return Some(if is_old { Choice::StartOld { member } } else { Choice::Start { member } });
        }
        Some(match self.chance.below(14) {
            0 => self.fault(),
            1 | 2 => self.append(),
            3 => Choice::Wait { ms: self.chance.one_of(SHORT) },
            4 if self.chance.below(4) == 0 => Choice::Wait { ms: self.chance.one_of(self.spans).max(0) },
            5 if self.chance.below(3) == 0 => Choice::Start { member: self.member() },
            _ => self.progress(),
        })
    }

    fn member(&mut self) -> i64 {
        self.chance.below(self.settings.members)
    }

    fn partition(&mut self) -> i64 {
        self.chance.below(self.settings.partitions)
    }

    fn append(&mut self) -> Choice {
        let (partition, id) = (self.partition(), self.chance.below(self.ids));
        let due_in_ms = self.chance.one_of(self.spans);
        Choice::Append { partition, id, due_in_ms }
    }

    /// Returns what a calm world does next.
    fn progress(&mut self) -> Choice {
        let member = self.member();
        let task = self.chance.below(3);
        match self.chance.below(29) {
            0..=1 => Choice::Heartbeat { member },
            2..=3 => Choice::Sync { member },
            4..=7 => Choice::Fetch { member, partition: self.partition(), records: 1 + self.chance.below(3) },
            8..=11 => Choice::Poll { member, records: 1 + self.chance.below(3) },
            12..=14 => Choice::Control { member },
            15..=18 => Choice::Chunk { member },
            19 => Choice::Shell { member },
            20..=22 => Choice::Execute { member, task },
            23..=25 => Choice::Answer { member, task },
            26 => Choice::Land { member },
            27 => Choice::Serve { member, statements: 1 + self.chance.below(12) },
            _ => Choice::Known { member },
        }
    }

    fn fault(&mut self) -> Choice {
        let (member, partition) = (self.member(), self.partition());
        let task = self.chance.one_of(&[0, 1, 1, 2, 2]);
        match self.chance.one_of(&self.faults) {
            Fault::Rebalances => Choice::Move { partition, member },
            Fault::Removals => self.chance.one_of(&[
                Choice::Expire { member },
                Choice::Replace { member },
                Choice::Expire { member },
            ]),
            Fault::Crashes => Choice::Crash { member },
            Fault::Stops => Choice::Stop { member },
            Fault::Outages => Choice::Unavailable { member, task },
            Fault::SlowAnswers => self.chance.one_of(&[
                Choice::Slow { member, task },
                Choice::Zombie {},
                Choice::Slow { member, task },
                Choice::Forget {},
            ]),
            Fault::LostAnswers => self.chance.one_of(&[
                Choice::Unanswered { member, task },
                Choice::Unanswered { member, task },
                Choice::Zombie {},
                Choice::Forget {},
            ]),
            Fault::Refusals => Choice::Refuse { id: self.chance.below(self.ids) },
            Fault::Truncations => Choice::Truncate { partition, records: 1 + self.chance.below(3) },
            Fault::Recreations => Choice::Recreate { partition },
            Fault::Retention => Choice::Retain { partition, records: 1 + self.chance.below(3) },
            Fault::Gaps => Choice::Gap { partition },
            Fault::LostCommits => {
                self.chance.one_of(&[Choice::LoseCommit { member }, Choice::LoseAnswer { member }])
            }
            Fault::Rows => self.row(member),
            Fault::Upgrades => self.chance.one_of(&[
                Choice::StartOld { member },
                Choice::Start { member },
                Choice::Stop { member },
            ]),
            Fault::Garbage => {
                let id = self.chance.below(self.ids);
                let due_in_ms = self.chance.one_of(self.spans);
                self.chance
                    .one_of(&[Choice::Garbage { partition }, Choice::Replay { partition, id, due_in_ms }])
            }
            Fault::Jumps => {
                Choice::Jump { ms: self.chance.one_of(&[-3_600_000, -500, -1, 1, 500, 3_600_000]) }
            }
            Fault::Fatal => {
                if self.chance.below(4) == 0 {
                    Choice::Fatal { member, task }
                } else {
                    Choice::Start { member }
                }
            }
        }
    }

    /// Returns what concerns the rows of the table, and who takes them.
    fn row(&mut self, member: i64) -> Choice {
        let id = self.chance.below(self.ids);
        let due_in_ms = self.chance.one_of(self.spans);
        match self.chance.below(20) {
            0 => Choice::Endless { id },
            1..=4 => Choice::Busy { member },
            5..=6 => Choice::Locked { member, id },
            // What is refused together with others is what a net has most to do with.
            7 => Choice::Refuse { id },
            _ => Choice::Row { id, due_in_ms },
        }
    }
}
