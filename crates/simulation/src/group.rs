//! A consumer group as its coordinator sees it: members, generations, two-step cooperative rebalances, and commits that
//! are checked by member and generation, but not by ownership.

use std::collections::{BTreeMap, BTreeSet};

/// How far a rebalance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Stable,
    /// Members are waited for.
    Preparing,
    /// All members have come, and the leader has not said yet who gets what.
    Completing,
}

/// A member of the group.
#[derive(Debug)]
struct Member {
    /// The listener that the member is.
    slot: usize,
    joined: bool,
    /// The outcome that the member has yet to hear.
    outcome: Option<BTreeSet<i32>>,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    members: BTreeMap<u32, Member>,
    last_member: u32,
    /// Which listener the assignor wants to have each partition.
    pub(crate) target: Vec<usize>,
    /// The member that has each partition. Whoever is to give it up has it until it joins without it.
    holders: BTreeMap<i32, u32>,
    pub(crate) committed: BTreeMap<i32, i64>,
}

impl Group {
    pub(crate) fn new(partitions: usize, listeners: usize) -> Self {
        Self {
            generation: 0,
            phase: Phase::Stable,
            members: BTreeMap::new(),
            last_member: 0,
            target: (0..partitions).map(|partition| partition % listeners).collect(),
            holders: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, slot: usize) -> u32 {
        self.last_member += 1;
        self.members.insert(self.last_member, Member { slot, joined: false, outcome: None });
        self.rebalance();
        self.last_member
    }

    pub(crate) fn remove(&mut self, id: u32) -> bool {
        self.holders.retain(|_, holder| *holder != id);
        let removed = self.members.remove(&id).is_some();
        if removed {
            self.rebalance();
        }
        removed
    }

    pub(crate) fn has(&self, id: u32) -> bool {
        self.members.contains_key(&id)
    }

    pub(crate) fn holder(&self, partition: i32) -> Option<u32> {
        self.holders.get(&partition).copied()
    }

    /// Begins a round: all members have to join.
    pub(crate) fn rebalance(&mut self) {
        self.phase = Phase::Preparing;
        for member in self.members.values_mut() {
            (member.joined, member.outcome) = (false, None);
        }
        if self.members.is_empty() {
            self.phase = Phase::Stable;
        }
    }

    pub(crate) fn is_waiting_for(&self, id: u32) -> bool {
        self.phase == Phase::Preparing && self.members.get(&id).is_some_and(|member| !member.joined)
    }

    /// Joins a member to the round with what it has.
    pub(crate) fn join(&mut self, id: u32, owned: &BTreeSet<i32>) {
        self.holders.retain(|partition, holder| *holder != id || owned.contains(partition));
        self.members.get_mut(&id).expect("a member joins").joined = true;
        if self.members.values().all(|member| member.joined) {
            self.complete();
        }
    }

    fn complete(&mut self) {
        self.generation += 1;
        self.phase = Phase::Completing;
        for (partition, target) in (0..).zip(&self.target) {
            let by_slot = |(id, member): (&u32, &Member)| (member.slot == *target).then_some(*id);
            let wanted = self.members.iter().find_map(by_slot);
            let wanted = wanted.or_else(|| self.members.keys().copied().nth(*target % self.members.len()));
            // Whoever has it must give it up first.
            let holder =
                wanted.filter(|wanted| self.holders.get(&partition).is_none_or(|known| known == wanted));
            for (id, member) in &mut self.members {
                let outcome = member.outcome.get_or_insert_default();
                if Some(*id) == holder {
                    outcome.insert(partition);
                }
            }
            if let Some(holder) = holder {
                self.holders.insert(partition, holder);
            }
        }
    }

    /// Returns the outcome of the round, once for each member.
    pub(crate) fn sync(&mut self, id: u32) -> Option<BTreeSet<i32>> {
        if self.phase == Phase::Preparing {
            return None;
        }
        let outcome = self.members.get_mut(&id)?.outcome.take()?;
        self.phase = Phase::Stable;
        Some(outcome)
    }

    /// Tells whether a commit is taken, as a broker decides it: whoever is of the group and of its generation may commit
    /// anything.
    pub(crate) fn takes(&self, id: u32, generation: u32) -> bool {
        self.has(id) && generation == self.generation && self.phase != Phase::Completing
    }
}
