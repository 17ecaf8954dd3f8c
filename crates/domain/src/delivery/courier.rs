//! What a listener does about deliveries: which it tells now, when it looks for those of others, what it notes.
//!
//! A part that is to be told has a row, which says until when somebody has it in hand. Who makes a batch has it in hand
//! first. A part is told only while enough of that time is left for a whole try; what is not told in time, because its
//! holder is slow or dead, is taken by whoever looks next. So a part may be told twice at once only where a try takes
//! longer than it may, and a note counts only if it is of who has the part in hand, unless it says that the receiver has
//! it.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::schedule::{Fate, Tries, TryOutcome, after};
use super::{PartId, Sink};
use crate::backoff::Backoff;
use crate::batch::heart::Moment;

/// How long a part is in somebody's hand.
pub const LEASE: TimeDelta = TimeDelta::seconds(20);
/// How long a try may take.
pub const TRY: Duration = Duration::from_secs(15);
/// What of [`LEASE`] must be left when a try begins: the try, and the reading before it.
const NEEDED: TimeDelta = TimeDelta::seconds(16);
/// How often a listener looks for parts that nobody has in hand.
const PERIOD: Duration = Duration::from_secs(1);
/// The most parts that wait in memory; the others are found in the table when their time comes.
const WAITING: usize = 10_000;
/// The most notes in one statement.
const NOTES: usize = 1_000;

/// A part in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Which part.
    pub id: PartId,
    /// How often the part was taken in hand: a note of an earlier time does not count.
    pub claim: i32,
    /// Until when the part is in hand.
    pub until: DateTime<Utc>,
    /// How many tries are noted.
    pub tries: u32,
    /// When the first try began, where one is noted.
    pub first_try: Option<DateTime<Utc>>,
    /// How many stamps the batch holds.
    pub size: usize,
}

/// What became of a part that was given out to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// There was a try.
    Tried {
        /// The part as it was given out.
        held: Held,
        /// When the try began.
        began: DateTime<Utc>,
        /// What became of the try.
        outcome: TryOutcome,
        /// What went wrong, for people.
        error: Option<String>,
    },
    /// The batch has several parts, which are in hand now.
    Cut(Vec<Held>),
    /// The part could not be read, or is in another hand: there was no try.
    Untried,
}

/// What is to be written into a part's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Which part.
    pub id: PartId,
    /// By which claim.
    pub claim: i32,
    /// When the try began.
    pub began: DateTime<Utc>,
    /// What becomes of the part.
    pub fate: Fate,
    /// What went wrong, for people.
    pub error: Option<String>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum CourierEvent {
    /// This listener has made batches whose first part is in its hand.
    Made(Vec<Held>),
    /// The look that was asked for has taken these in hand.
    Claimed(Vec<Held>),
    /// The look has failed.
    NotClaimed,
    /// A group that was given out is finished.
    Told(Vec<Told>),
    /// The notes are written.
    Noted,
    /// The notes are not known to be written.
    NotNoted(Vec<Note>),
    /// Time has passed.
    Time,
    /// Nothing new is to be begun.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum CourierCommand {
    /// Take up to so many parts in hand whose time has come.
    Claim(usize),
    /// Tell these parts.
    Tell(Vec<Held>),
    /// Write these notes.
    Note(Vec<Note>),
}

/// How much is told at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AtOnce {
    /// Groups.
    groups: usize,
    /// Parts in a group.
    parts: usize,
    /// Stamps in a group of more than one part.
    stamps: usize,
}

impl AtOnce {
    const fn of(sink: Sink) -> Self {
        match sink {
            Sink::Kafka => Self { groups: 2, parts: 1_000, stamps: 25_000 },
            // Each a request.
            Sink::Webhook => Self { groups: 32, parts: 1, stamps: usize::MAX },
        }
    }
}

/// Decides what a listener does about the deliveries of its sink.
#[derive(Debug)]
pub struct Courier {
    sink: Sink,
    limits: AtOnce,
    waiting: VecDeque<Held>,
    /// How many groups are being told.
    under_way: usize,
    notes: VecDeque<Note>,
    is_noting: bool,
    /// When notes are tried again.
    note_after: Duration,
    is_looking: bool,
    /// When to look next.
    look_after: Duration,
    is_stopping: bool,
    backoff: Backoff,
    chance: u64,
}

impl Courier {
    /// Returns the courier of a listener; the same seed spreads pauses in the same way.
    pub fn new(sink: Sink, seed: u64) -> Self {
        Self {
            sink,
            limits: AtOnce::of(sink),
            waiting: VecDeque::new(),
            under_way: 0,
            notes: VecDeque::new(),
            is_noting: false,
            note_after: Duration::ZERO,
            is_looking: false,
            look_after: Duration::ZERO,
            is_stopping: false,
            backoff: Backoff::new(seed),
            chance: seed | 1,
        }
    }

    /// Returns when the courier wants to look again by itself.
    pub fn wake(&self) -> Option<Duration> {
        let look = (!self.is_looking && !self.is_stopping && self.room() > 0).then_some(self.look_after);
        let note = (!self.is_noting && !self.notes.is_empty()).then_some(self.note_after);
        look.into_iter().chain(note).min()
    }

    /// Tells whether nothing is under way and nothing is left to note.
    pub fn is_at_rest(&self) -> bool {
        self.under_way == 0 && !self.is_noting && self.notes.is_empty()
    }

    /// Takes an event in and returns what is to be done.
    pub fn step(&mut self, now: Moment, event: CourierEvent) -> Vec<CourierCommand> {
        match event {
            CourierEvent::Made(held) => {
                let room = WAITING.saturating_sub(self.waiting.len());
                self.waiting.extend(held.into_iter().take(room));
            }
            CourierEvent::Claimed(held) => {
                self.is_looking = false;
                self.backoff.reset();
                // More may be due than there was room for.
                if held.is_empty() {
                    self.look_after = now.elapsed + PERIOD;
                }
                self.waiting.extend(held);
            }
            CourierEvent::NotClaimed => {
                self.is_looking = false;
                self.look_after = now.elapsed + PERIOD.max(self.backoff.delay());
            }
            CourierEvent::Told(told) => {
                self.under_way -= 1;
                for told in told {
                    self.told(now, told);
                }
            }
            CourierEvent::Noted => {
                self.is_noting = false;
                self.backoff.reset();
            }
            CourierEvent::NotNoted(notes) => {
                self.is_noting = false;
                self.note_after = now.elapsed + self.backoff.delay();
                for note in notes.into_iter().rev() {
                    self.notes.push_front(note);
                }
            }
            CourierEvent::Time => {}
            CourierEvent::Stop => {
                self.is_stopping = true;
                self.waiting.clear();
            }
        }
        self.commands(now)
    }

    fn told(&mut self, now: Moment, told: Told) {
        match told {
            Told::Tried { held, began, outcome, error } => {
                let tries = Tries { count: held.tries + 1, first: held.first_try.unwrap_or(began) };
                let fate = after(self.sink, tries, outcome, now.time, self.chance());
                self.notes.push_back(Note { id: held.id, claim: held.claim, began, fate, error });
            }
            Told::Cut(parts) if !self.is_stopping => self.waiting.extend(parts),
            Told::Cut(_) | Told::Untried => {}
        }
    }

    fn commands(&mut self, now: Moment) -> Vec<CourierCommand> {
        let mut commands = Vec::new();
        while self.under_way < self.limits.groups {
            let group = self.group(now.time);
            if group.is_empty() {
                break;
            }
            self.under_way += 1;
            commands.push(CourierCommand::Tell(group));
        }
        if !self.is_noting && !self.notes.is_empty() && self.note_after <= now.elapsed {
            self.is_noting = true;
            let count = self.notes.len().min(NOTES);
            commands.push(CourierCommand::Note(self.notes.drain(..count).collect()));
        }
        let room = self.room();
        if !self.is_looking && !self.is_stopping && room > 0 && self.look_after <= now.elapsed {
            self.is_looking = true;
            self.look_after = now.elapsed + PERIOD;
            commands.push(CourierCommand::Claim(room));
        }
        commands
    }

    /// Returns how many more parts can be told soon.
    fn room(&self) -> usize {
        let AtOnce { groups, parts, .. } = self.limits;
        ((groups - self.under_way.min(groups)) * parts).saturating_sub(self.waiting.len())
    }

    /// Takes the next parts out that can be told together. Those that are not in hand for long enough are left to the
    /// table.
    fn group(&mut self, now: DateTime<Utc>) -> Vec<Held> {
        let (mut group, mut stamps) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            if next.until - now < NEEDED {
                self.waiting.pop_front();
                continue;
            }
            stamps += next.size;
            let is_full = group.len() == self.limits.parts || stamps > self.limits.stamps;
            if is_full && !group.is_empty() {
                break;
            }
            group.extend(self.waiting.pop_front());
        }
        group
    }

    /// Returns a number from 0 to 1.
    fn chance(&mut self) -> f64 {
        // Marsaglia's xorshift64.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        f64::from((self.chance >> 32) as u32) / f64::from(u32::MAX)
    }
}
