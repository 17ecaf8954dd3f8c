//! What a listener has in hand, as anyone can tell who hears what its heart is told and what it commands. From this
//! follows what it owes: it is kept apart from the heart and asks nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use domain::batch::assignment::{Assignment, Commit};
use domain::batch::heart::Request;

use super::facts::Facts;

/// How long the backlog of a partition may be waited for, in microseconds.
pub(super) const BACKLOG: i64 = 1_000_000;

/// An assignment of which the heart was told.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) number: u32,
    /// The records that the heart was given, by offset; an offset that goes back ends those above it.
    pub(super) given: BTreeMap<i64, u32>,
    pub(super) backlog_until: i64,
}

/// A stamp that was admitted and is not finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The record that stands for the stamp.
    pub(super) record: u32,
    pub(super) partition: i32,
    pub(super) number: u32,
    /// Whether the answer to a write of the stamp was lost.
    pub(super) doubtful: bool,
}

/// What the writer was told to do last.
#[derive(Debug)]
pub(super) enum Work {
    Write(Vec<Vec<u8>>),
    Probe(Vec<u8>),
    Bury(u8),
}

impl Work {
    pub(super) fn ids(&self) -> Vec<u8> {
        match self {
            Self::Write(batches) => batches.concat(),
            Self::Probe(ids) => ids.clone(),
            Self::Bury(id) => vec![*id],
        }
    }
}

/// A stamp that waits for the answer to its screening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) serial: u32,
    pub(super) assignment: Assignment,
}

/// A revocation that is not answered.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) request: Request,
    pub(super) assignments: Vec<Assignment>,
    /// Whether the work under way concerned the revocation when it came.
    pub(super) is_concerned: bool,
}

/// What a step of the heart has brought.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Records that were given, and during which assignment.
    pub(crate) given: Vec<(u32, Assignment)>,
    /// Records that were completed because the stamp of another one was held, each with that other one.
    pub(crate) repeats: Vec<(u32, u32)>,
}

/// All that one process has in hand.
#[allow(clippy::struct_excessive_bools, reason = "each says one thing that was told or commanded")]
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    pub(super) begun: BTreeMap<i32, u32>,
    pub(super) live: BTreeMap<i32, Live>,
    pub(super) held: BTreeMap<u8, Held>,
    /// Members of a refused batch that are not cleared.
    pub(super) suspects: BTreeSet<u8>,
    pub(super) asked: Vec<Asked>,
    pub(super) is_screening: bool,
    /// Whether the last screening has failed.
    pub(super) is_asked_again: bool,
    pub(super) work: Option<Work>,
    pub(super) parked: Vec<Parked>,
    pub(super) backoff_until: i64,
    pub(super) stopping: bool,
    /// Whether the heart has said that it ends.
    pub(super) has_failed: bool,
    /// How many batches the last write had that was slow.
    pub(super) slow: Option<usize>,
    pub(super) news: News,
    /// The last commit that was commanded for each assignment.
    pub(super) told: BTreeMap<Assignment, i64>,
}

impl Holdings {
    /// Tells whether a stamp is held.
    pub(crate) fn holds(&self, id: u8) -> bool {
        self.held.contains_key(&id)
    }

    /// Returns the stamps in the work under way.
    pub(crate) fn in_work(&self) -> Vec<u8> {
        self.work.as_ref().map(Work::ids).unwrap_or_default()
    }

    /// Tells whether what is known of commits is less than what was commanded.
    pub(crate) fn is_stale(&self, known: &[Commit]) -> bool {
        known.iter().any(|commit| self.told.get(&commit.assignment).is_some_and(|told| *told > commit.offset))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Tells whether a revocation waits for the work under way.
    pub(crate) fn is_held_up(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Takes what the last step has brought.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Returns the held stamps that could leave.
    pub(super) fn waiting(&self) -> BTreeSet<u8> {
        let taken = self.in_work();
        let waits = |id: &u8| !taken.contains(id) && !self.suspects.contains(id);
        self.held.keys().copied().filter(waits).collect()
    }

    pub(super) fn is_live(&self, assignment: Assignment) -> bool {
        self.live.get(&assignment.partition).is_some_and(|live| live.number == assignment.number)
    }

    /// Tells whether the log, as far as the heart was told, still has the record that stands for a stamp.
    pub(super) fn is_backed(&self, held: Held, facts: &Facts<'_>) -> bool {
        let live = self.live.get(&held.partition).filter(|live| live.number == held.number);
        live.is_some_and(|live| live.given.get(&facts.log.record(held.record).offset) == Some(&held.record))
    }

    /// Returns until when the backlog of a stamp's partition is waited for.
    fn backlog(&self, id: u8) -> i64 {
        self.live.get(&self.held[&id].partition).map_or(0, |live| live.backlog_until)
    }

    pub(super) fn is_backlog_read(&self, now: i64) -> bool {
        self.live.values().any(|live| live.backlog_until > now)
    }

    pub(super) fn is_settled(&self, id: u8, now: i64) -> bool {
        self.backlog(id) <= now
    }

    /// Returns by when the writer must be told to do something.
    pub(super) fn must_act_at(&self, facts: &Facts<'_>) -> Option<i64> {
        if self.work.is_some() || self.stopping {
            return None;
        }
        let waiting = self.waiting();
        let due = waiting.iter().map(|id| facts.due(*id).max(self.backlog(*id))).min();
        let all_read = self.live.values().map(|live| live.backlog_until).max().unwrap_or(0);
        let full = (waiting.len() >= facts.max).then_some(0);
        let enough = (waiting.len() >= facts.min).then_some(all_read);
        let suspects = (!self.suspects.is_empty()).then_some(0);
        let first = [due, full, enough, suspects].into_iter().flatten().min();
        first.map(|first| first.max(self.backoff_until).max(facts.now))
    }
}
