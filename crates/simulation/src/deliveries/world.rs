//! The world: who lives, what time it is, what the receiver has, and what is judged.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::delivery::courier::{CourierCommand, CourierEvent, Held, TRY, Told};
use domain::delivery::schedule::TryOutcome;
use domain::delivery::{PartId, Sink};

use super::Happened;
use super::member::{Member, Task};
use super::table::{Row, Table};

/// How many stamps a batch holds that is told whole, and one that is too large for one event.
const SMALL: usize = 2;
const LARGE: usize = 9_000;
/// How many choices a history has.
const CHOICES: u64 = 80;
/// How long after the last fault everything has to be told: the longest pause, and a take-over.
const REST: TimeDelta = TimeDelta::minutes(70);
/// How long after a death another listener has told what it had in hand.
const TAKEN_OVER: TimeDelta = TimeDelta::seconds(30);

pub(super) struct World {
    chance: u64,
    now: DateTime<Utc>,
    table: Table,
    members: Vec<Option<Member>>,
    /// What the receiver was told: of each part, of how many parts it is.
    told: BTreeMap<PartId, BTreeSet<i32>>,
    /// Parts of which some receiver said that it will never take them.
    refused: BTreeSet<PartId>,
    /// Parts that are being told, by how many.
    telling: BTreeMap<PartId, u64>,
    happened: Happened,
    is_faulty: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time"),
            table: Table::default(),
            members: vec![None, None],
            told: BTreeMap::new(),
            refused: BTreeSet::new(),
            telling: BTreeMap::new(),
            happened: Happened::new(),
            is_faulty: true,
        }
    }

    pub(super) fn play(mut self) -> Result<Happened, String> {
        for _ in 0..CHOICES {
            self.choose();
            self.judge()?;
        }
        self.rest()?;
        Ok(self.happened)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 16) % bound
    }

    /// Tells whether a fault happens that has one chance in so many.
    fn fails(&mut self, one_in: u64) -> bool {
        self.is_faulty && self.below(one_in) == 0
    }

    fn happens(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn choose(&mut self) {
        let index = self.below(2) as usize;
        match (self.below(10), self.members[index].is_some()) {
            (0..=1 | 9, false) => {
                let sink = Sink::ALL[self.below(4) as usize / 3];
                let seed = self.below(1_000);
                self.members[index] = Some(Member::new(sink, seed, self.now));
                self.tell(index, CourierEvent::Time);
            }
            (0, true) => {
                if let Some(member) = self.members[index].take()
                    && member.in_hand() > 0
                {
                    self.happens("a listener that died with a part in hand");
                }
                self.telling.clear();
            }
            (1..=5, true) => {
                let sink = self.members[index].as_ref().map_or(Sink::Kafka, |member| member.sink);
                let size = if self.below(5) == 0 { LARGE } else { SMALL };
                let held = self.table.make(sink, size, self.now);
                if self.fails(4) {
                    self.happens("a batch whose maker never heard of it");
                } else {
                    self.tell(index, CourierEvent::Made(vec![held]));
                }
            }
            _ => {
                let milliseconds = [50, 500, 5_000, 30_000, 600_000][self.below(5) as usize];
                let time = self.below(milliseconds) as i64;
                self.pass(self.now + TimeDelta::milliseconds(time));
            }
        }
    }

    /// Lets time pass, with all that happens meanwhile.
    fn pass(&mut self, until: DateTime<Utc>) {
        loop {
            let next = |index: usize| Some((self.members[index].as_ref()?.next()?, index));
            let Some((time, index)) = (0..self.members.len()).filter_map(next).min() else { break };
            if time > until {
                break;
            }
            self.now = self.now.max(time);
            let task = self.members[index].as_mut().and_then(|member| member.due(self.now));
            match task {
                Some(task) => self.carry_out(index, task),
                None => self.tell(index, CourierEvent::Time),
            }
        }
        self.now = self.now.max(until);
    }

    fn tell(&mut self, index: usize, event: CourierEvent) {
        let Some(member) = &mut self.members[index] else { return };
        for command in member.step(self.now, event) {
            let task = match command {
                CourierCommand::Claim(limit) => Task::Claim(limit),
                CourierCommand::Tell(group) => {
                    assert!(!group.is_empty(), "an empty group");
                    Task::Tell(group)
                }
                CourierCommand::Note(notes) => Task::Note(notes),
            };
            let time = self.soon(if self.is_faulty { 900 } else { 100 });
            if let Some(member) = &mut self.members[index] {
                member.tasks.push((time, task));
            }
        }
    }

    fn soon(&mut self, milliseconds: u64) -> DateTime<Utc> {
        self.now + TimeDelta::milliseconds(self.below(milliseconds) as i64 + 1)
    }

    fn answer(&mut self, index: usize, milliseconds: u64, event: CourierEvent) {
        let time = self.soon(milliseconds);
        if let Some(member) = &mut self.members[index] {
            member.tasks.push((time, Task::Answer(event)));
        }
    }

    fn carry_out(&mut self, index: usize, task: Task) {
        let Some(sink) = self.members[index].as_ref().map(|member| member.sink) else { return };
        match task {
            Task::Answer(event) => {
                if let CourierEvent::Told(told) = &event {
                    for told in told {
                        if let Told::Tried { held, .. } = told {
                            self.telling.remove(&held.id);
                        }
                    }
                }
                self.tell(index, event);
            }
            Task::Claim(limit) => {
                let held = self.table.claim(sink, limit, self.now);
                if self.fails(6) {
                    self.happens("a look whose answer was lost");
                    self.answer(index, 3_000, CourierEvent::NotClaimed);
                } else {
                    self.answer(index, 200, CourierEvent::Claimed(held));
                }
            }
            Task::Note(notes) => {
                let foreign = self.table.note(&notes);
                if foreign > 0 {
                    self.happens("a note of a part that was in another hand");
                }
                if self.fails(5) {
                    self.happens("notes whose answer was lost");
                    self.answer(index, 3_000, CourierEvent::NotNoted(notes));
                } else {
                    self.answer(index, 200, CourierEvent::Noted);
                }
            }
            Task::Tell(group) => {
                let told = group.into_iter().map(|held| self.try_to_tell(held)).collect();
                // A listener may stand still in the middle of a try.
                let longest = match (self.is_faulty, self.fails(8)) {
                    (false, _) => 100,
                    (true, true) => 60_000,
                    (true, false) => TRY.as_millis() as u64,
                };
                self.answer(index, longest, CourierEvent::Told(told));
            }
        }
    }

    fn try_to_tell(&mut self, held: Held) -> Told {
        if !self.table.is_held(&held) {
            return Told::Untried;
        }
        let parts = self.table.rows[&held.id].parts;
        if parts.is_none() && held.size == LARGE {
            // Listeners of different versions may cut differently.
            let parts = 2 + self.below(3) as i32;
            let cut = self.table.cut(held, parts);
            if self.fails(5) {
                self.happens("a cut whose answer was lost");
                return Told::Untried;
            }
            return Told::Cut(cut);
        }
        let telling = self.telling.entry(held.id).or_default();
        *telling += 1;
        if *telling > 1 {
            self.happens("a part that was told twice at once");
        }
        let tried = |outcome, error: &str| Told::Tried {
            held,
            began: self.now,
            outcome,
            error: Some(error.to_owned()).filter(|error| !error.is_empty()),
        };
        let (tried_well, tried_in_vain, refused) = (
            tried(TryOutcome::Delivered, ""),
            tried(TryOutcome::Again(None), "no answer"),
            tried(TryOutcome::Refused, "gone"),
        );
        if self.fails(3) {
            return tried_in_vain;
        }
        if self.fails(12) {
            self.refused.insert(held.id);
            return refused;
        }
        self.told.entry(held.id).or_default().insert(parts.unwrap_or(1));
        if self.fails(5) {
            self.happens("an answer of the receiver that was lost");
            return tried_in_vain;
        }
        tried_well
    }

    fn judge(&self) -> Result<(), String> {
        for (id, parts) in &self.told {
            let Some(row) = self.table.rows.get(id) else {
                return Err(format!("{id:?} was told and is not committed"));
            };
            if parts.len() > 1 || row.parts.is_some_and(|of| !parts.contains(&of)) {
                return Err(format!(
                    "{id:?} was told as one of {parts:?} parts, and is one of {:?}",
                    row.parts
                ));
            }
        }
        for (id, row) in &self.table.rows {
            if row.is_delivered && !self.told.contains_key(id) {
                return Err(format!("{id:?} is said to be delivered, and nobody was told"));
            }
            if row.next.is_none() && !row.is_delivered && !self.refused.contains(id) {
                return Err(format!("{id:?} was given up, and nobody has refused it"));
            }
        }
        for member in self.members.iter().flatten() {
            if member.in_hand() > 32 {
                return Err("a listener tells more than 32 groups at once".to_owned());
            }
        }
        Ok(())
    }

    /// Ends the faults. Whatever has a listener is told in the end; what is due is told within the time of a take-over.
    fn rest(&mut self) -> Result<(), String> {
        self.is_faulty = false;
        let has = |sink: Sink| self.members.iter().flatten().any(|member| member.sink == sink);
        if self.table.rows.values().any(|row| row.next.is_some() && !has(row.sink)) {
            self.happens("a batch whose sink no listener had");
        }
        self.members = Sink::ALL.map(|sink| Some(Member::new(sink, 7, self.now))).into_iter().collect();
        self.telling.clear();
        for index in 0..self.members.len() {
            self.tell(index, CourierEvent::Time);
        }
        let due = |row: &Row| row.next.is_some_and(|next| next <= self.now + TimeDelta::seconds(20));
        let due: Vec<PartId> =
            self.table.rows.iter().filter(|(_, row)| due(row)).map(|(id, _)| *id).collect();
        self.pass(self.now + TAKEN_OVER);
        if let Some(late) = due.iter().find(|id| !self.told.contains_key(id)) {
            return Err(format!("{late:?} was not told within {TAKEN_OVER} of a death"));
        }
        self.pass(self.now + REST);
        self.judge()?;
        let is_missing = |id: &PartId, row: &Row| {
            row.parts
                .is_some_and(|of| (1..=of).any(|part| !self.table.rows.contains_key(&PartId { part, ..*id })))
        };
        if let Some((id, row)) = self.table.rows.iter().find(|(id, row)| is_missing(id, row)) {
            return Err(format!("a part of {id:?} is missing: {row:?}"));
        }
        match self.table.rows.iter().find(|(_, row)| row.next.is_some()) {
            Some((id, row)) => Err(format!("{id:?} still waits: {row:?}")),
            None => Ok(()),
        }
    }
}
