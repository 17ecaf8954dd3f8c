//! The client library with the thread that polls it: what was fetched ahead, callbacks that wait for the heart only
//! for a while, and commits under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::batch::assignment::{Assignment, Commit};
use domain::batch::heart::reader::Reader;
use domain::batch::heart::{Chunk, Event, Request};

/// How long a callback waits for the heart, in microseconds.
pub(crate) const PATIENCE: i64 = 1_000_000;
/// How many chunks wait for the heart at most.
pub(crate) const CHUNKS: usize = 4;

/// How far a partition is read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The offset that is read next.
    pub(crate) next: i64,
    /// The offset that is fetched next.
    pub(crate) fetch: i64,
    pub(crate) branch: usize,
    /// What was fetched and not read, by serial number.
    pub(crate) ahead: VecDeque<u32>,
}

/// The callback of a revocation, in the middle of which the thread stands.
#[derive(Debug)]
pub(crate) struct Callback {
    pub(crate) request: Request,
    pub(crate) until: i64,
    pub(crate) revoked: BTreeSet<i32>,
    /// The partitions that are assigned afterwards.
    pub(crate) added: Vec<i32>,
    pub(crate) reply: Option<Vec<(Commit, Evidence)>>,
}

/// When a commit was decided, so that it is judged by what was known then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    pub(crate) process: u32,
    pub(crate) step: u64,
}

/// A commit under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) generation: u32,
    pub(crate) commit: Commit,
    pub(crate) evidence: Evidence,
}

/// A chunk, and the serial numbers of its records for those who look on.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) chunk: Chunk<u32>,
    pub(crate) serials: Vec<u32>,
}

/// A client and the two queues between it and its heart.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) reader: Reader,
    pub(crate) id: u32,
    pub(crate) generation: u32,
    pub(crate) owned: BTreeMap<i32, Reading>,
    pub(crate) callback: Option<Callback>,
    pub(crate) commits: VecDeque<Sent>,
    /// What is committed, as far as the client knows.
    pub(crate) copy: BTreeMap<i32, i64>,
    pub(crate) control: VecDeque<Event<u32>>,
    pub(crate) chunks: VecDeque<Parcel>,
    pub(crate) last_request: u64,
    /// Whether the heart has too much to do, so that nothing is fetched.
    pub(crate) is_paused: bool,
}

impl Client {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            reader: Reader::default(),
            id,
            generation: 0,
            owned: BTreeMap::new(),
            callback: None,
            commits: VecDeque::new(),
            copy: BTreeMap::new(),
            control: VecDeque::new(),
            chunks: VecDeque::new(),
            last_request: 0,
            is_paused: false,
        }
    }

    pub(crate) fn owned(&self) -> BTreeSet<i32> {
        self.owned.keys().copied().collect()
    }

    /// Tells the heart of a revocation.
    pub(crate) fn revoke(&mut self, assignments: Vec<Assignment>, lost: bool) -> Request {
        self.last_request += 1;
        let request = Request(self.last_request);
        self.control.push_back(Event::Revoked { request, assignments, lost });
        request
    }

    /// Gives everything up to others: the group has removed this member, or the client is given up.
    pub(crate) fn lose_all(&mut self, id: u32) {
        let assignments = self.reader.revoke_all();
        if !assignments.is_empty() {
            self.revoke(assignments, true);
        }
        (self.id, self.generation) = (id, 0);
        self.owned.clear();
        self.commits.clear();
        self.copy.clear();
        self.callback = None;
    }

    /// Drops what was fetched ahead, to be fetched again. Returns how many records that were.
    pub(crate) fn pause(&mut self) -> usize {
        let drop = |reading: &mut Reading| {
            reading.fetch = reading.next;
            std::mem::take(&mut reading.ahead).len()
        };
        self.is_paused = true;
        self.owned.values_mut().map(drop).sum()
    }
}
